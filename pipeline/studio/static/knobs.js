// What an experiment may change, as controls.

import { h } from "./dom.js";

const log = (key, label, low, high) => ({ key, label, kind: "log", low, high });
const range = (key, label, low, high, step) => ({ key, label, kind: "range", low, high, step });
const choice = (key, label, options) => ({ key, label, kind: "choice", options });
const numbers = (...values) => values.map((value) => [value, String(value)]);

const BY_EPOCHS = "Of a head that is trained by epochs";

export const head = (tasks) => [
  choice("head.features", "Reads", [["auto", "what is better"], ["last", "the last layer"], ["taps", "all blocks (taps)"]]),
  { ...log("head.learning_rate", "Learning rate", 1e-5, 1), of: BY_EPOCHS },
  { ...range("head.epochs", "Epochs, at most", 1, 100, 1), of: BY_EPOCHS },
  { ...range("head.patience", "Patience", 0, 30, 1), of: BY_EPOCHS },
  { ...range("head.warmup_epochs", "Warm-up epochs", 0, 10, 0.5), of: BY_EPOCHS },
  { ...choice("head.hidden", "Hidden units", numbers(0, 32, 64, 128, 256, 512, 1024)), of: BY_EPOCHS },
  { ...range("head.dropout", "Dropout", 0, 0.9, 0.05), of: BY_EPOCHS },
  { ...choice("head.weight_decay", "Weight decay", numbers(0, 0.001, 0.01, 0.1, 1)), of: BY_EPOCHS },
  { ...choice("head.mixup", "MixUp", numbers(0, 0.2, 0.4, 1)), of: BY_EPOCHS },
  ...tasks.map((task) => range(`${task}.label_smoothing`, "Label smoothing", 0, 0.4, 0.01)),
];

export const tuning = [
  log("fine_tune.learning_rate", "Learning rate", 1e-7, 1e-1),
  range("fine_tune.epochs", "Epochs, at most", 1, 50, 1),
  range("fine_tune.patience", "Patience", 0, 20, 1),
  range("fine_tune.warmup_epochs", "Warm-up epochs", 0, 5, 0.5),
  range("fine_tune.layer_decay", "Layer decay", 0.5, 1, 0.05),
  choice("fine_tune.l2_sp", "Drawn back (L2-SP)", numbers(0, 0.01, 0.1, 1, 10)),
  choice("fine_tune.lora_rank", "LoRA rank", numbers(0, 2, 4, 8, 16)),
  choice("augment.views", "Views of each example", numbers(1, 2, 4, 8, 16)),
];

export const at = (config, key) => key.split(".").reduce((found, part) => found?.[part], config);

export const shown = (value) => {
  if (typeof value !== "number") return String(value ?? "–");
  if (value && Math.abs(value) < 1e-3) return value.toExponential(1).replace(".0e", "e");
  return String(Number(value.toPrecision(3)));
};

// A control; `change` is called with its new value. What there is not in the config has none.
export function knob(spec, value, usual, change) {
  const { key, label, kind } = spec;
  if (value === undefined || value === null) return null;
  const name = h("span", {}, label);
  const told = h("output", { class: "number" }, shown(value));
  const changed = JSON.stringify(value) !== JSON.stringify(usual);
  const title = changed ? `${key}, ${shown(usual)} in the run` : key;
  if (kind === "choice") {
    const known = spec.options.some(([each]) => each === value) ? spec.options : [[value, shown(value)], ...spec.options];
    const input = h("select", { onchange: () => change(key, known[input.selectedIndex][0]) }, known.map(([each, text]) => h("option", { selected: each === value }, text)));
    return h("label", { class: `knob${changed ? " changed" : ""}`, title }, name, input);
  }
  const isLog = kind === "log";
  const low = isLog ? Math.log10(spec.low) : spec.low;
  const high = isLog ? Math.log10(spec.high) : spec.high;
  const position = typeof value === "number" ? (isLog ? Math.log10(value) : value) : low;
  const read = () => (isLog ? Number((10 ** Number(input.value)).toPrecision(2)) : Number(input.value));
  const input = h("input", { type: "range", min: Math.min(low, position), max: Math.max(high, position), step: isLog ? "any" : spec.step, "aria-label": label });
  input.value = position;
  input.addEventListener("input", () => {
    told.textContent = shown(read());
    change(key, read());
  });
  return h("label", { class: `knob${changed ? " changed" : ""}`, title }, name, input, told);
}
