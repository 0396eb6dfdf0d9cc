// What experiments came to: figures beside those of another, their curves, and what was forgotten.

import { Chart } from "./curves.js";
import { gauge, h } from "./dom.js";
import { shown } from "./knobs.js";
import { figure, named } from "./words.js";

const KINDS = { better: "good", worse: "bad" };

function verdict(told) {
  const apart = told.value - told.other;
  const words = told.verdict === "better" || told.verdict === "worse" ? `${told.verdict} by ${figure(Math.abs(apart))}` : told.verdict;
  return [h("span", { class: `pill ${KINDS[told.verdict] ?? ""}` }, words), h("small", { class: "dim number" }, ` ${signed(told.low)} to ${signed(told.high)}`)];
}

const signed = (value) => `${value < 0 ? "−" : "+"}${figure(Math.abs(value))}`;

export function figures(found) {
  const beside = Object.fromEntries((found.beside ?? []).map((told) => [told.name, told]));
  return h("dl", { class: "facts" }, Object.entries(found.figures).map(([name, value]) => h("div", {}, h("dt", {}, `Validation ${named(name)}`), h("dd", {}, figure(value)), beside[name] ? h("dd", { class: "beside" }, verdict(beside[name])) : null)));
}

const SECTIONS = { head: "head ", fine_tune: "tuning " };
const unfrozen = (first) => (first === 0 ? "all frozen" : first === "all" ? "nothing frozen" : `trained from ${shown(first)} on`);

function changed([key, value]) {
  if (key === "fine_tune.unfreeze") return unfrozen(value);
  const [section, ...name] = key.split(".");
  return `${SECTIONS[section] ?? ""}${(name.join(" ") || section).replaceAll("_", " ")} ${shown(value)}`;
}

// What an experiment changes, in words.
export const change = (settings) => {
  const rest = Object.entries(settings).filter(([key]) => key !== "strategy" || !("fine_tune.unfreeze" in settings));
  return rest.map(changed).join(", ") || "As in the run";
};

// What is minimized is not what is compared where one of these is another.
const OWN_LOSS = /\.(label_smoothing|focal_gamma|class_weights|positive_weights|loss|delta)$/;
const losses = (found) => found.phases.flatMap((phase) => phase.epochs.map((row) => row.val_loss));

// Where the last phase of the longest one begins.
function begins(experiments) {
  const phases = experiments.map(([, found]) => found.phases.filter((phase) => phase.epochs.length)).sort((one, other) => other.length - one.length)[0];
  if (phases.length < 2) return [];
  const before = phases.slice(0, -1).reduce((sum, phase) => sum + phase.epochs.length, 0);
  return [{ x: before + 1, name: named(phases.at(-1).name), of: "dim" }];
}

// Up to four, of which the first is on top. A head that is fitted exactly has no epochs and is a level line; of such alone there
// is no chart. experiments: [[name, experiment], …].
export function overlay(experiments) {
  if (!experiments.some(([, found]) => losses(found).length)) return null;
  const apart = experiments.some(([, { settings }]) => Object.keys(settings).some((key) => OWN_LOSS.test(key)));
  const rows = experiments.map(([name, found], at) => ({ name, colour: at + 1, values: losses(found), level: found.figures.loss })).reverse();
  const longest = Math.max(2, ...rows.map(({ values }) => values.length));
  const xs = Array.from({ length: longest }, (_, at) => at + 1);
  const data = () => [xs, ...rows.map(({ values, level }) => xs.map((_, at) => (values.length ? values[at] ?? null : apart ? null : level)))];
  return new Chart(apart ? "Validation loss by epoch, of each what it minimizes" : "Validation loss by epoch", rows, data, { lines: () => begins(experiments) });
}

export function forgotten(found) {
  const told = found.forgotten;
  if (!told) return null;
  const bars = told.blocks.filter((row) => row.cka !== null).map((row) => [h("span", { class: "label" }, row.block), gauge(row.cka, `How alike ${row.block} is, in percent`), h("span", { class: "number" }, row.cka.toFixed(2))]);
  const own = told.own_head;
  const source = own?.accuracy !== undefined && own?.accuracy !== null ? ` Of ${own.source_examples} examples of its own task it gets ${figure(own.accuracy)} right; it was ${figure(own.accuracy_before)}.` : "";
  const moved = told.blocks.map((row) => row.moved).filter((value) => value !== null);
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "What the giant forgot"),
    h("p", { class: "dim" }, "How alike the features of each block are to what they were (CKA): 1 is the same, 0 is something else altogether."),
    bars.length ? h("div", { class: "bars" }, bars) : null,
    h("p", {}, `Its weights have moved by up to ${Number((100 * Math.max(0, ...moved)).toPrecision(2))} % of their length.`, own ? ` The head that it came with says the same of ${Math.round(100 * own.agreement)} % of our examples.${source}` : ""),
  );
}
