// A giant as a drawing: what is frozen of it, and what crosses where it is cut.

import { h } from "./dom.js";

const count = (value) => (value < 1e3 ? String(value) : value < 1e6 ? `${Number((value / 1e3).toPrecision(3))} k` : `${Number((value / 1e6).toPrecision(3))} M`);

export function bytes(value) {
  let rest = value;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 1000 || unit === "GB") return `${unit === "B" || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${unit}`;
    rest /= 1000;
  }
  return "";
}

const shape = (sizes) => sizes.map((size) => size ?? "length").join("\u2009×\u200b\u2009");
const crossing = (block) => block.crossing.map(shape).join(" and ");

// first: the first block that is trained, or null; choose: called with that, or with null.
export function network(blocks, first, examples, choose) {
  const at = first === null ? blocks.length : blocks.findIndex((block) => block.name === first);
  const parts = blocks.map((block, index) => {
    const trained = index >= at;
    const told = `${block.name}: ${trained ? "trained" : "frozen"}, ${count(block.weights)} weights in ${block.layers} layers`;
    return h("button", { class: `block ${trained ? "trained" : "frozen"}${index === at ? " cut" : ""}`, "aria-pressed": index === at ? "true" : "false", title: told, "aria-label": `Train from ${block.name} on. ${told}`, onclick: () => choose(block.name) }, h("b", {}, block.name.replaceAll("_", "\u200b_")), h("span", {}, count(block.weights)), h("span", { class: "dim" }, crossing(block)));
  });
  const head = h("button", { class: `block trained head${first === null ? " cut" : ""}`, "aria-pressed": first === null ? "true" : "false", "aria-label": "Train the head alone", onclick: () => choose(null) }, h("b", {}, "head"), h("span", {}, "always"), h("span", {}, "trained"));
  return h("div", {}, h("div", { class: "net", role: "group", "aria-label": "The network, from its input to its head" }, parts, head), h("p", {}, said(blocks, at, examples)));
}

function said(blocks, at, examples) {
  const whole = blocks.reduce((sum, block) => sum + block.weights, 0);
  if (at >= blocks.length) return `The giant is frozen: all ${count(whole)} weights of its ${blocks.length} blocks stay as they are, and only the head is trained.`;
  const trained = blocks.slice(at).reduce((sum, block) => sum + block.weights, 0);
  const cut = blocks[at];
  const each = cut.ragged ? `${bytes(cut.bytes)} a step of it` : `${bytes(cut.bytes)} an example, ${bytes(cut.bytes * examples)} for all ${examples.toLocaleString()}`;
  if (at === 0) return `Nothing is frozen: all ${count(whole)} weights are trained, from the decoded input on.`;
  return `${cut.name} and what follows is trained: ${count(trained)} of ${count(whole)} weights. What crosses before it is kept, ${crossing(cut)}: ${each}.`;
}
