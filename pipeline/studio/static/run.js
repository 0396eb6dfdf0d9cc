// One run: its flow, its curves while it trains, and what came of it.

import { get, post } from "./api.js";
import { Curves } from "./curves.js";
import { h, keep, notice, put } from "./dom.js";
import { flow } from "./flow.js";
import { follow } from "./live.js";
import { said, state } from "./stopping.js";
import { brief, clock, day, duration, figure, kind, named } from "./words.js";

const DRAW = 250;

const isLive = (run) => run.outcome === "running";
const seconds = (since) => Math.max(0, (Date.now() - Date.parse(since)) / 1000);

// By how fast it goes, or else by what it took before.
function left(stage) {
  if (stage.status !== "running") return null;
  const { progress } = stage;
  const spent = seconds(stage.began);
  if (progress?.total && progress.done) return (spent * (progress.total - progress.done)) / progress.done;
  return stage.expected ? Math.max(0, stage.expected - spent) : null;
}

function remaining(run) {
  let sum = 0;
  for (const stage of run.stages) {
    if (stage.status === "running") sum += left(stage) ?? 0;
    else if (stage.status === "would run") {
      if (stage.expected === null || stage.expected === undefined) return null;
      sum += stage.expected;
    }
  }
  return sum || null;
}

function facts(run) {
  const at = run.stages.findIndex((stage) => stage.status === "running");
  const spent = isLive(run) ? seconds(run.started) : run.seconds;
  const rest = isLive(run) ? remaining(run) : null;
  const told = [
    ["Took", duration(spent)],
    rest && ["Left, about", duration(rest)],
    isLive(run) && at >= 0 && ["Stage", [`${at + 1} `, h("small", {}, `of ${run.stages.length}`)]],
    !isLive(run) && ["Stages", [`${run.stages.filter((stage) => stage.status === "ran").length} `, h("small", {}, `ran of ${run.stages.length}`)]],
    ...Object.entries(run.figures).map(([name, value]) => [named(name), figure(value)]),
    run.version && ["Version", run.version],
    ["Began", h("small", {}, day(run.started))],
  ];
  return h("dl", { class: "facts" }, told.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function working(run) {
  const stage = run.stages.find((each) => each.status === "running");
  if (!stage?.progress) return null;
  const { work, done, total, note } = stage.progress;
  return h("p", { class: "dim small number" }, `${stage.name}: ${total ? `${done} of ${total} ` : ""}${work}${note ? `, ${note}` : ""}`);
}

function outcome(run) {
  if (isLive(run)) return null;
  const reasons = run.ended.reasons ?? [];
  const failed = /^(failed|killed|stopped)/.test(run.outcome);
  if (!reasons.length && !failed) return null;
  const again = failed ? h("p", { class: "dim" }, "The same command again goes on where it ended.") : null;
  return h("section", { class: "card" }, h("h2", {}, run.ended.blessed ? "Why it is blessed" : failed ? "What happened" : "Why it is not blessed"), failed ? h("p", {}, `${run.outcome}.`) : null, h("ul", {}, reasons.map((reason) => h("li", {}, reason))), again);
}

export async function runPage(page, known, id) {
  const [run, about] = await Promise.all([get(`/api/runs/${encodeURIComponent(id)}`), known]);
  document.title = `${run.recipe} · Shoulders studio`;
  const places = Object.fromEntries(["head", "alerts", "facts", "flow", "training", "outcome", "log"].map((name) => [name, h("div")]));
  put(page, Object.values(places));
  let chosen = null;
  let curves = null;
  let asked = "";
  let gone = false;
  let wrong = "";
  let lost = false;

  function head() {
    const pill = h("span", { class: `pill ${kind(run.outcome)}` }, brief(run.outcome), run.outcome === "pushed" ? ` ${run.version ?? ""}` : "");
    const stage = run.phases.find((phase) => !phase.ended && run.stages.find((each) => each.name === phase.stage)?.status === "running")?.stage;
    const end = isLive(run) && stage && !about.read_only ? h("button", { disabled: asked === stage, "data-stage": stage, onclick: () => endTraining(stage) }, asked === stage ? "Ending …" : "End training, keep the best") : null;
    const data = run.stages.some((each) => each.name === "ingest" && each.status !== "would run" && each.status !== "running") ? h("a", { class: "button", href: `/runs/${encodeURIComponent(id)}/data` }, "Data") : null;
    const report = run.has.report ? h("a", { class: "button", href: `/runs/${encodeURIComponent(id)}/report`, target: "_blank", rel: "noopener" }, "Report") : null;
    const lab = run.stages.some((each) => each.name === "train_head" && ["ran", "reused", "skipped"].includes(each.status)) && !about.read_only ? h("a", { class: "button", href: `/runs/${encodeURIComponent(id)}/lab` }, "Lab") : null;
    keep(places.head, h("div", { class: "head" }, h("h1", {}, run.recipe), pill, lost ? h("span", { class: "dim small" }, "not connected, trying again") : null, h("span", { class: "push" }, end, data, lab, report)), h("p", { class: "dim mono" }, run.run_id));
  }

  async function endTraining(stage) {
    asked = stage;
    head();
    try {
      await post(`/api/runs/${encodeURIComponent(id)}/end`, { stage });
      notice("Training ends with this step, and the best so far is kept.");
    } catch (error) {
      asked = "";
      head();
      notice(`${error.message}.`);
    }
  }

  function alerts() {
    const told = run.alerts.map((alert) => h("li", { class: alert.level }, h("b", {}, `${alert.stage}: `), `${alert.message}.`));
    if (gone) told.unshift(h("li", { class: "error" }, h("b", {}, "This run is gone: "), "its record was removed from the store."));
    if (wrong) told.unshift(h("li", { class: "error" }, h("b", {}, "This page tells nothing more: "), `${wrong}.`));
    keep(places.alerts, told.length ? h("ul", { class: "alerts", "aria-label": "Alerts" }, told) : null);
  }

  function training() {
    const phases = run.phases.filter((phase) => phase.epochs.length || phase.steps.length || !phase.ended);
    if (!phases.length) {
      put(places.training);
      return;
    }
    const live = phases.find((phase) => !phase.ended);
    const own = [...phases].reverse().find((phase) => !phase.stage.includes("."));
    const phase = phases.find((each) => key(each) === chosen) ?? (isLive(run) ? live : null) ?? own ?? phases.at(-1);
    if (curves?.phase !== phase) {
      curves?.remove();
      curves = new Curves(phase);
      const tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Phases of training" }, phases.map((each) => h("button", { role: "tab", "aria-selected": each === phase ? "true" : "false", onclick: () => { chosen = key(each); training(); } }, label(each))));
      put(places.training, h("section", { class: "card" }, h("h2", {}, "Training"), phases.length > 1 ? tabs : null, h("div", { class: "stop" }), curves.element));
      places.training.dataset.tabs = phases.length;
    } else if (Number(places.training.dataset.tabs) !== phases.length) {
      curves.remove();
      curves = null;
      training();
      return;
    }
    explain(phase);
    curves.draw();
  }

  function explain(phase) {
    const now = state(phase);
    const boxes = now.patience > 0 && now.patience <= 30 && !phase.ended ? Array.from({ length: now.patience }, (_, at) => h("i", { class: at < now.waited ? "used" : "" })) : null;
    const place = places.training.querySelector(".stop");
    const gauge = boxes ? h("div", { class: "patience", role: "img", "aria-label": `${now.left} of ${now.patience} epochs of patience are left` }, boxes) : null;
    put(place, gauge ?? h("span"), h("p", {}, said(phase)));
  }

  function log() {
    const told = run.messages.slice(-200);
    keep(places.log, told.length ? h("section", { class: "card" }, h("h2", {}, "Messages"), h("ul", { class: "log", tabindex: 0, "aria-label": "Messages" }, told.map((each) => h("li", {}, h("time", { datetime: each.time }, clock(each.time)), h("span", { class: "stage" }, each.stage ?? ""), h("span", {}, each.message))))) : null);
  }

  function graph() {
    const before = places.flow.querySelector(".flow");
    const at = before?.scrollLeft;
    const box = h("div", { class: "flow", tabindex: 0, role: "group", "aria-label": "Stages" }, flow(run, left));
    const legend = h("div", { class: "legend", "aria-hidden": "true" }, ["ran", "running", "reused", "skipped"].map((name) => h("span", {}, h("i", { class: name }), name)));
    put(places.flow, h("section", { class: "card" }, h("h2", {}, "Flow"), box, working(run), legend));
    if (at !== undefined) box.scrollLeft = at;
    else box.querySelector(".running")?.scrollIntoView?.({ inline: "center", block: "nearest" });
  }

  function draw() {
    head();
    alerts();
    put(places.facts, h("section", { class: "card" }, facts(run)));
    graph();
    training();
    keep(places.outcome, outcome(run));
    log();
  }

  draw();
  let timer = 0;
  const soon = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      draw();
    }, DRAW);
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => {
    curves?.remove();
    curves = null;
    draw();
  };
  scheme.addEventListener("change", redraw);
  // One that has just ended may have more to tell.
  const goesOn = isLive(run) || (run.offset > 0 && !run.ended.event);
  const close = goesOn ? follow(run, async (what) => {
    if (what === "over") {
      try {
        const { outcome, says, seconds, figures, version, has } = await get(`/api/runs/${encodeURIComponent(id)}`);
        Object.assign(run, { outcome, says, seconds, figures, version, has });
        if (/^(failed|killed|stopped)/.test(outcome)) for (const stage of run.stages) if (stage.status === "running") stage.status = "failed";
      } catch (error) {
        gone = error.status === 404;
        if (!gone) wrong = error.message;
      }
    }
    lost = what === "lost";
    soon();
  }) : () => {};
  const tick = isLive(run) ? setInterval(() => isLive(run) && put(places.facts, h("section", { class: "card" }, facts(run))), 1000) : 0;
  return () => {
    close();
    clearInterval(tick);
    clearTimeout(timer);
    curves?.remove();
    scheme.removeEventListener("change", redraw);
  };
}

const key = (phase) => `${phase.stage} ${phase.name}`;
const label = (phase) => (phase.name.includes(" ") ? `${phase.stage} ${phase.name.slice(phase.name.indexOf(" ") + 1)}` : phase.stage);
