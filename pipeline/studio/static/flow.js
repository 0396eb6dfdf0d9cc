// The flow as a graph: a lane a branch, from left to right.

import { svg } from "./dom.js";
import { duration } from "./words.js";

const WIDE = 138;
const HIGH = 46;
const GAP = { x: 26, y: 22 };
const TOP = 18;

const branch = (name) => (name.includes(".") ? name.slice(0, name.lastIndexOf(".")) : "");
const plain = (name) => name.slice(name.lastIndexOf(".") + 1);

// Without those that others imply: what needs b, which needs a, need not be shown to need a.
function reduced(stages, after) {
  const above = new Map();
  for (const { name } of stages) {
    const own = (after[name] ?? []).filter((each) => above.has(each));
    above.set(name, new Set(own.flatMap((each) => [each, ...above.get(each)])));
  }
  const implied = (name, each) => (after[name] ?? []).some((other) => other !== each && above.get(other)?.has(each));
  return Object.fromEntries(stages.map(({ name }) => [name, (after[name] ?? []).filter((each) => above.has(each) && !implied(name, each))]));
}

// Each as far right as what it needs asks for, and none upon another.
function places(stages, after) {
  const lanes = ["", ...new Set(stages.map((stage) => branch(stage.name)).filter(Boolean))];
  const column = new Map();
  const taken = new Set();
  for (const { name } of stages) {
    const lane = lanes.indexOf(branch(name));
    let at = Math.max(0, ...after[name].filter((each) => column.has(each)).map((each) => column.get(each) + 1));
    while (taken.has(`${lane} ${at}`)) at += 1;
    taken.add(`${lane} ${at}`);
    column.set(name, at);
  }
  const high = lanes.length * (HIGH + GAP.y + TOP);
  const of = (name) => ({ x: column.get(name) * (WIDE + GAP.x), y: TOP + lanes.indexOf(branch(name)) * (HIGH + GAP.y + TOP) });
  return { lanes, of, wide: (Math.max(0, ...column.values()) + 1) * (WIDE + GAP.x) - GAP.x + 4, high };
}

const STATUS = { "would run": "would", ran: "ran", helped: "ran", reused: "reused", skipped: "skipped", running: "running", failed: "failed" };

function second(stage, left) {
  if (stage.status === "running") return left ? `~${duration(left)} left` : "at work";
  if (stage.status === "would run") return stage.expected ? `~${duration(stage.expected)}` : "to come";
  if (stage.status === "ran" || stage.status === "helped") return duration(stage.seconds);
  return stage.status ?? "";
}

function node(stage, at, left) {
  const done = stage.progress?.total ? stage.progress.done / stage.progress.total : 0;
  const status = stage.status ?? "would run";
  const title = `${stage.name}: ${status}${stage.seconds ? `, ${duration(stage.seconds)}` : ""}`;
  return svg(
    "g",
    { class: STATUS[status] ?? "would", transform: `translate(${at.x + 1} ${at.y})`, "data-stage": stage.name },
    svg("title", {}, [title, ...(stage.remarks ?? [])].join("\n")),
    svg("rect", { width: WIDE, height: HIGH, rx: 8 }),
    status === "running" && done ? svg("rect", { class: "gauge", x: 1, y: HIGH - 5, width: Math.max(2, (WIDE - 2) * done), height: 4, rx: 2 }) : null,
    svg("text", { class: "name", x: 11, y: 20 }, plain(stage.name)),
    svg("text", { class: "second", x: 11, y: 36 }, second(stage, left)),
  );
}

export function flow(run, left) {
  const after = reduced(run.stages, run.began.after ?? {});
  const { lanes, of, wide, high } = places(run.stages, after);
  const status = new Map(run.stages.map((stage) => [stage.name, stage.status]));
  const edges = run.stages.flatMap(({ name }) =>
    after[name].map((each) => {
      const from = of(each);
      const to = of(name);
      const [x1, y1, x2, y2] = [from.x + WIDE + 1, from.y + HIGH / 2, to.x + 1, to.y + HIGH / 2];
      // In one lane, past what is between.
      const over = y1 === y2 && x2 - x1 > WIDE;
      const path = over ? `M${x1} ${y1}c12 0 8 ${HIGH / 2 + 9} 20 ${HIGH / 2 + 9}H${x2 - 20}c12 0 8 ${-HIGH / 2 - 9} 20 ${-HIGH / 2 - 9}` : `M${x1} ${y1}C${x1 + GAP.x} ${y1} ${x2 - GAP.x} ${y2} ${x2} ${y2}`;
      return svg("path", { class: `edge${status.get(name) === "would run" ? "" : " done"}`, d: path });
    }),
  );
  const titles = lanes.map((lane, at) => lane && svg("text", { class: "lane", x: 2, y: TOP + at * (HIGH + GAP.y + TOP) - 7 }, lane));
  const label = `The flow: ${run.stages.length} stages, ${run.stages.filter((stage) => stage.status === "ran").length} ran`;
  return svg("svg", { width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": label }, edges, titles, run.stages.map((stage) => node(stage, of(stage.name), left(stage))));
}
