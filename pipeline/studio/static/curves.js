// Curves of a phase of training, by uPlot.

import { h, put } from "./dom.js";
import { state } from "./stopping.js";
import { figure, named } from "./words.js";

const colours = () => {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
};

// The mean of those before, weighing less what is further back; each is a mean of half a second.
function smoothed(values, share = 0.6) {
  let mean = null;
  let weight = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = share * (mean ?? 0) + (1 - share) * value;
    weight = share * weight + (1 - share);
    return mean / weight;
  });
}

function marks(phase, lines) {
  return {
    hooks: {
      draw: [
        (plot) => {
          const { ctx, bbox } = plot;
          const colour = colours();
          ctx.save();
          ctx.setLineDash([5, 4]);
          ctx.lineWidth = devicePixelRatio;
          for (const { x, y, name, of } of lines()) {
            ctx.strokeStyle = ctx.fillStyle = colour(of);
            ctx.beginPath();
            if (x !== undefined) {
              const at = plot.valToPos(x, "x", true);
              if (at < bbox.left || at > bbox.left + bbox.width) continue;
              ctx.moveTo(at, bbox.top);
              ctx.lineTo(at, bbox.top + bbox.height);
              ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
              const right = at + 90 * devicePixelRatio > bbox.left + bbox.width;
              ctx.textAlign = right ? "right" : "left";
              ctx.fillText(name, at + (right ? -6 : 6) * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
            } else {
              const at = plot.valToPos(y, "y", true);
              if (at < bbox.top || at > bbox.top + bbox.height) continue;
              ctx.moveTo(bbox.left, at);
              ctx.lineTo(bbox.left + bbox.width, at);
            }
            ctx.stroke();
          }
          ctx.restore();
        },
      ],
    },
  };
}

export class Chart {
  // series: {name, colour (1-4), faint, dash}; data(): columns; lines(): what is marked.
  constructor(title, series, data, { lines = () => [], log = false, phase } = {}) {
    this.title = title;
    this.series = series;
    this.data = data;
    this.options = { lines, log, phase };
    this.plot = null;
    this.box = h("div", { class: "plot" });
    this.tip = h("div", { class: "tip", "aria-hidden": "true" });
    const keys = series.length < 2 ? null : h("span", { class: "keys" }, series.map((each) => h("span", { class: `k${each.colour}${each.faint ? " faint" : ""}` }, h("i"), h("span", {}, each.name))));
    this.element = h("figure", {}, h("figcaption", {}, title, keys), this.box, this.tip);
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(this.box);
  }

  make() {
    const colour = colours();
    const { lines, log, phase } = this.options;
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const width = Math.max(200, this.box.clientWidth);
    this.plot = new uPlot(
      {
        width,
        height: 220,
        cursor: { y: false, points: { size: 7 } },
        legend: { show: false },
        scales: { x: { time: false }, y: log ? { distr: 3 } : {} },
        axes: [
          { ...axis, size: 30, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
          { ...axis, grid: { ...axis.grid, filter: decades(log) }, size: 58, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) },
        ],
        series: [
          {},
          ...this.series.map((each) => ({
            stroke: colour(["one", "two", "three", "four"][each.colour - 1]) + (each.faint ? "55" : ""),
            width: each.faint ? 1 : 2,
            spanGaps: true,
            points: { show: (plot, index) => !each.faint && plot.data[index].filter((value) => value !== null && value !== undefined).length < 2, size: 7 },
          })),
        ],
        hooks: { setCursor: [(plot) => this.point(plot)] },
        plugins: [marks(phase, lines)],
      },
      this.data(),
      this.box,
    );
    this.box.querySelector("canvas").setAttribute("role", "img");
    this.box.querySelector("canvas").setAttribute("aria-label", this.title);
  }

  point(plot) {
    const index = plot.cursor.idx;
    if (index === null || index === undefined) {
      this.tip.textContent = "";
      return;
    }
    const told = this.series.map((each, at) => [each, plot.data[at + 1]?.[index]]).filter(([each, value]) => value !== null && value !== undefined && !each.faint);
    this.tip.textContent = told.length ? `Epoch ${figure(plot.data[0][index]).replace(/\.?0+$/, "")}: ${told.map(([each, value]) => `${each.name} ${figure(value)}`).join(", ")}` : "";
  }

  draw() {
    if (this.plot) this.plot.setData(this.data());
    else if (this.box.clientWidth) this.make();
  }

  fit() {
    if (!this.plot) this.make();
    else if (this.box.clientWidth !== this.plot.width) this.plot.setSize({ width: Math.max(200, this.box.clientWidth), height: 220 });
  }

  remove() {
    this.watch.disconnect();
    this.plot?.destroy();
  }
}

// On a logarithmic axis, a line for each power of ten is enough.
const decades = (log) => (_, ticks) =>
  log ? ticks.map((tick) => (tick && Math.abs(Math.log10(tick) % 1) < 1e-9 ? tick : null)) : ticks;

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return value.toExponential(0).replace("e+", "e");
  return String(Number(value.toPrecision(3)));
}

const numbers = (phase) => phase.epochs.map((epoch) => epoch + 1);

function lossChart(phase) {
  const series = [
    { name: "steps, smoothed", colour: 1, faint: true },
    { name: "training", colour: 1 },
    { name: "validation", colour: 2 },
  ];
  const data = () => {
    const steps = phase.steps.map((step) => step / (phase.steps_an_epoch || 1));
    const epochs = numbers(phase);
    const { loss = [], val_loss = [] } = phase.figures;
    if (!steps.length) return [epochs, epochs.map(() => null), loss, val_loss];
    if (!epochs.length) return [steps, smoothed(phase.losses), steps.map(() => null), steps.map(() => null)];
    return uPlot.join([[steps, smoothed(phase.losses)], [epochs, loss, val_loss]]);
  };
  return new Chart("Loss", series, data, { phase, lines: () => (watches(phase, "val_loss") ? stops(phase) : []) });
}

const watches = (phase, name) => (phase.stopping.monitor ?? "val_loss") === name;

function stops(phase) {
  const now = state(phase);
  if (!now.best) return [];
  const kept = phase.ended && phase.best_epoch !== null ? phase.best_epoch : now.best.epoch;
  const lines = [{ x: kept + 1, name: phase.ended ? "kept" : "best so far", of: "good" }];
  if (!phase.ended) lines.push({ y: now.line, of: "good" });
  const trigger = now.best.epoch + 1 + now.patience;
  if (trigger <= now.epochs && now.patience) lines.push({ x: trigger, name: "ends here", of: "bad" });
  return lines;
}

function figureCharts(phase) {
  const names = Object.keys(phase.figures).filter((name) => name.startsWith("val_") && name !== "val_loss");
  return names.slice(0, 2).map((name) => {
    const plain = name.replace("val_", "");
    const series = [{ name: "training", colour: 1 }, { name: "validation", colour: 2 }];
    const data = () => [numbers(phase), phase.figures[plain] ?? [], phase.figures[name] ?? []];
    return new Chart(named(plain)[0].toUpperCase() + named(plain).slice(1), series, data, { phase, lines: () => (watches(phase, name) ? stops(phase) : []) });
  });
}

function rateChart(phase) {
  return new Chart("Learning rate", [{ name: "learning rate", colour: 4 }], () => [numbers(phase), phase.figures.learning_rate ?? []], { phase });
}

function updateChart(phase) {
  const groups = Object.keys(phase.updates);
  const chosen = groups.length > 4 ? [...new Set([groups[0], groups[Math.floor(groups.length / 2)], groups.at(-2), groups.at(-1)])] : groups;
  if (!chosen.length) return null;
  const series = chosen.map((name, at) => ({ name, colour: at + 1 }));
  const positive = (values) => values.map((value) => (value > 0 ? value : null));
  return new Chart("Size of a step beside the weights (0.001 is usual)", series, () => [numbers(phase), ...chosen.map((name) => positive(phase.updates[name]))], { phase, log: true });
}

export class Curves {
  constructor(phase) {
    this.phase = phase;
    this.charts = [];
    this.element = h("div", { class: "charts" });
    this.shape = "";
    this.draw();
  }

  draw() {
    const shape = JSON.stringify([Object.keys(this.phase.figures), Object.keys(this.phase.updates), this.phase.steps.length > 0]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.remove();
      this.charts = [lossChart(this.phase), ...figureCharts(this.phase), rateChart(this.phase), updateChart(this.phase)].filter(Boolean);
      put(this.element, this.charts.map((chart) => chart.element));
    }
    for (const chart of this.charts) chart.draw();
  }

  remove() {
    for (const chart of this.charts) chart.remove();
    this.charts = [];
  }
}
