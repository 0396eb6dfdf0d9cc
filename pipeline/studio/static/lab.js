// The lab of a run: what another head, or more of the giant, would be like.

import { get, post } from "./api.js";
import { Curves } from "./curves.js";
import { h, keep, notice, put } from "./dom.js";
import { change as said, figures, forgotten, overlay } from "./experiments.js";
import * as knobs from "./knobs.js";
import { follow } from "./live.js";
import { network } from "./network.js";
import { duration, figure, named } from "./words.js";

const SOON = 150;
const DRAW = 250;
// With a rate for a head, and a head that knows nothing: what the guides warn of.
const DESTROY = { "head.features": "last", "head.kind": "untrained", "head.begin": "random", "fine_tune.unfreeze": "all", "fine_tune.learning_rate": 0.01, "fine_tune.epochs": 3 };
const NEEDS = {
  extract: "The giant has to read the examples once more: what it gives there is not stored yet.",
  fine_tune: "Blocks of the giant are trained.",
};
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

class Lab {
  constructor(page, id, about) {
    this.base = `/api/runs/${encodeURIComponent(id)}/lab`;
    this.id = id;
    this.about = about;
    this.settings = {};
    this.kept = [];
    this.run = null;
    this.now = null;
    this.against = "";
    this.ticked = new Set();
    this.closed = false;
    this.counted = about.first;
    this.leave = () => {};
    this.places = Object.fromEntries(["head", "network", "controls", "result", "job", "forgot", "kept"].map((name) => [name, h("div")]));
    const { head, network: drawing, controls, result, job, forgot, kept } = this.places;
    put(page, head, drawing, h("div", { class: "bench" }, controls, h("div", {}, job, result, forgot)), kept);
  }

  // What a setting is, changed or not.
  at(key) {
    return key in this.settings ? this.settings[key] : knobs.at(this.about.config, key);
  }

  set(key, value) {
    if (same(value, knobs.at(this.about.config, key))) delete this.settings[key];
    else this.settings[key] = value;
    if (key.startsWith("fine_tune.unfreeze") && this.about.config.strategy !== "given") this.settings.strategy = "given";
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.ask(), SOON);
  }

  load(settings) {
    this.settings = { ...settings };
    this.controls();
    this.draw();
    this.ask();
  }

  async start() {
    this.head();
    this.controls();
    put(this.places.result, h("section", { class: "card dim" }, "Opening what the run has stored …"));
    const [blocks] = await Promise.all([get(`${this.base}/network`), this.ask()]);
    this.blocks = blocks;
    this.draw();
    const busy = this.about.jobs.find((job) => job.state === "running");
    if (busy) this.follow(busy.id, busy.settings);
    await this.list();
  }

  head() {
    const reset = h("button", { onclick: () => this.load({}) }, "As in the run");
    put(this.places.head, h("div", { class: "head" }, h("h1", {}, `Lab of ${this.about.recipe}`), h("span", { class: "push" }, reset, h("a", { class: "button", href: `/runs/${encodeURIComponent(this.id)}` }, "The run"))), h("p", { class: "dim" }, `Tried on what the run has stored of ${this.about.counts.train.toLocaleString()} examples to train with, and compared on the ${this.about.counts.validation.toLocaleString()} to validate with. No test example is looked at.`));
  }

  first() {
    const unfreeze = this.at("fine_tune.unfreeze");
    if (!("fine_tune.unfreeze" in this.settings)) return this.about.first;
    if (unfreeze === "all") return this.blocks[0].name;
    if (unfreeze === 0) return null;
    // A share or a number of blocks is counted by the server.
    return this.blocks.some((block) => block.name === unfreeze) ? unfreeze : this.counted;
  }

  draw() {
    if (!this.blocks) return;
    const scroll = this.places.network.querySelector(".net")?.scrollLeft;
    const examples = this.about.counts.train * (Number(this.at("augment.views")) || 1) + this.about.counts.validation;
    const choose = (block) => {
      this.set("fine_tune.unfreeze", block === null ? 0 : block === this.blocks[0].name ? "all" : block);
      this.draw();
      this.controls();
      this.places.network.querySelector("[aria-pressed=true]").focus();
    };
    put(this.places.network, h("section", { class: "card" }, h("h2", {}, "What is frozen"), network(this.blocks, this.first(), examples, choose)));
    this.drawn = this.first();
    const net = this.places.network.querySelector(".net");
    net.scrollLeft = scroll ?? net.scrollWidth;
  }

  controls() {
    const change = (key, value) => {
      this.set(key, value);
      if (key === "head.features" || key === "augment.views") {
        this.controls();
        this.draw();
      }
    };
    const make = (specs) => specs.map((spec) => knobs.knob(spec, this.at(spec.key), knobs.at(this.about.config, spec.key), change));
    const specs = knobs.head(this.about.task);
    const exact = this.at("head.features") === "taps";
    const fine = this.at("fine_tune.unfreeze") !== 0 || this.about.config.strategy !== "given";
    put(
      this.places.controls,
      h("section", { class: "card knobs" }, h("h2", {}, "Head"), make(specs.filter((spec) => !spec.of)), exact ? h("p", { class: "dim small" }, "A head on taps is linear and fitted exactly: it has no epochs and no rate.") : make(specs.filter((spec) => spec.of))),
      h("section", { class: "card knobs" }, h("h2", {}, "Fine-tuning"), fine ? null : h("p", { class: "dim small" }, "Choose a block above to train it and what follows."), make(knobs.tuning.filter((spec) => fine || spec.key === "augment.views"))),
      h("section", { class: "card" }, h("h2", {}, "Destroy the giant"), h("p", { class: "dim small" }, "Train all of it at the rate of a head, with a head that knows nothing: what it had learned is gone within a few steps."), h("button", { onclick: () => this.load(DESTROY) }, "Set it up")),
    );
  }

  async ask() {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    const settings = { ...this.settings };
    this.places.result.classList.add("waiting");
    try {
      const found = await post(`${this.base}/answer`, { settings, against: this.against });
      this.counted = found.first;
      if (this.drawn !== undefined && this.first() !== this.drawn) this.draw();
      if (found.needs) this.needs(settings, found.needs);
      else this.tell(found);
    } catch (error) {
      put(this.places.result, h("section", { class: "card", role: "alert" }, h("h2", {}, "This cannot be tried"), h("p", {}, `${error.message}.`)));
      put(this.places.forgot);
    }
    this.asking = false;
    this.places.result.classList.remove("waiting");
    if (this.again) {
      this.again = false;
      await this.ask();
    }
  }

  tell(found) {
    this.now = found;
    if (!Object.keys(found.settings).length) {
      this.run = found;
      this.against ||= found.id;
    }
    this.chart?.remove();
    const shown = [["now", found], ...(this.run && this.run.id !== found.id ? [["the run", this.run]] : []), ...this.kept.filter((each) => this.ticked.has(each.id) && each.id !== found.id).map((each) => [said(each.settings), each])].slice(0, 4);
    this.chart = overlay(shown);
    const isKept = this.kept.some((each) => each.id === found.id);
    const keep = h("button", { disabled: isKept, onclick: () => this.keep(found) }, isKept ? "Kept" : "Keep");
    put(
      this.places.result,
      h("section", { class: "card", "aria-live": "polite" }, h("div", { class: "head" }, h("h2", {}, said(found.settings)), h("span", { class: "push" }, keep, h("button", { onclick: () => this.fork(found, false) }, "Fork as run …"))), figures(found), beside(found, this.nameOf(this.against)), h("p", { class: "dim small" }, `It has ${found.kept}. Answered in ${duration(found.seconds)}.`), h("div", { class: "fork" })),
      this.chart ? h("section", { class: "card" }, h("div", { class: "charts" }, this.chart.element)) : null,
    );
    this.chart?.draw();
    put(this.places.forgot, forgotten(found));
  }

  nameOf(id) {
    const found = this.kept.find((each) => each.id === id);
    return found ? said(found.settings) : "the run";
  }

  needs(settings, stage) {
    put(this.places.forgot);
    const go = h("button", { class: "main", onclick: () => this.compute(settings) }, "Compute it");
    put(this.places.result, h("section", { class: "card" }, h("h2", {}, said(settings)), h("p", {}, NEEDS[stage] ?? `${stage} takes long.`, " What is computed is stored, and a run with these settings reuses it."), go));
  }

  async compute(settings) {
    try {
      const { id } = await post(`${this.base}/compute`, { settings });
      this.follow(id, settings);
    } catch (error) {
      notice(`${error.message}.`);
    }
  }

  follow(id, settings) {
    if (this.closed) return;
    this.leave();
    const state = { run_id: this.id, offset: 0, stages: [], phases: [], alerts: [], messages: [], began: {}, ended: {} };
    let curves = null;
    put(this.places.result);
    put(this.places.forgot);
    const told = h("p", { class: "dim small number" }, "Beginning …");
    const place = h("div");
    const act = (stage) => post(`${this.base}/${id}/end`, { stage }).catch((error) => notice(`${error.message}.`));
    const buttons = h("span", { class: "push" });
    put(this.places.job, h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, said(settings)), h("span", { class: "pill busy" }, "at work"), buttons), told, place));
    const draw = () => {
      const stage = state.stages.find((each) => each.status === "running");
      const phase = state.phases.findLast((each) => each.stage === stage?.name) ?? state.phases.at(-1);
      const { work, done, total, note } = stage?.progress ?? {};
      told.textContent = stage ? `${stage.name}: ${total ? `${done} of ${total} ` : ""}${work ?? "at work"}${note ? `, ${note}` : ""}` : "Beginning …";
      if (phase && curves?.phase !== phase) {
        curves?.remove();
        curves = new Curves(phase);
        put(place, curves.element);
      }
      curves?.draw();
      keep(buttons, phase && !phase.ended ? h("button", { "data-stage": phase.stage, onclick: () => act(phase.stage) }, "End training, keep the best") : null, h("button", { onclick: () => act("") }, "Stop"));
    };
    draw();
    let timer = 0;
    const close = follow(state, (what) => {
      timer ||= setTimeout(() => {
        timer = 0;
        draw();
      }, DRAW);
      if (what !== "over") return;
      clearTimeout(timer);
      this.done(id, settings, curves).catch((error) => put(this.places.result, h("section", { class: "card", role: "alert" }, h("p", {}, `${error.message}.`))));
    }, `${this.base}/${id}`);
    this.leave = () => {
      close();
      clearTimeout(timer);
      curves?.remove();
    };
  }

  async done(id, settings, curves) {
    if (this.closed) return;
    curves?.remove();
    put(this.places.job);
    const { jobs } = await get(this.base);
    const job = jobs.find((each) => each.id === id);
    if (job?.state === "failed" || job?.state === "stopped") {
      put(this.places.result, h("section", { class: "card", role: "alert" }, h("h2", {}, said(settings)), h("p", {}, job.state === "stopped" ? "It was stopped." : `It did not come to its end: ${job.why}.`)));
      return;
    }
    await this.list();
    const found = this.kept.find((each) => each.id === id);
    if (found) this.tell(found);
  }

  async keep(found) {
    try {
      await post(`${this.base}/answer`, { settings: found.settings, against: this.against, keep: true });
      await this.list();
      this.tell(found);
    } catch (error) {
      notice(`${error.message}.`);
    }
  }

  async fork(found, start) {
    const place = this.places.result.querySelector(".fork");
    put(place, h("p", { class: "dim" }, start ? "It begins …" : "Writing the recipe …"));
    try {
      const { command, run_id } = await post(`${this.base}/fork`, { settings: found.settings, start });
      if (run_id) {
        history.pushState(null, "", `/runs/${encodeURIComponent(run_id)}`);
        dispatchEvent(new PopStateEvent("popstate"));
        return;
      }
      put(place, h("p", {}, "A run with these settings, which reuses all that was computed here:"), h("pre", { class: "mono" }, command), h("button", { class: "main", onclick: () => this.fork(found, true) }, "Start it"));
    } catch (error) {
      put(place, h("p", { role: "alert" }, `${error.message}.`));
    }
  }

  async list() {
    this.kept = await get(`${this.base}/experiments?against=${this.against}`);
    if (!this.kept.length) {
      put(this.places.kept, h("section", { class: "card dim" }, "Nothing is kept yet. ", "Change something above; what is worth it can be kept here, and be what others are compared with."));
      return;
    }
    const names = Object.keys(this.kept[0].figures);
    const titles = ["", "Experiment", ...names.map(named), ""];
    const rows = this.kept.map((each) => {
      const tick = h("input", { type: "checkbox", checked: this.ticked.has(each.id), "aria-label": `Show the curve of ${said(each.settings)}`, onchange: () => {
        this.ticked[tick.checked ? "add" : "delete"](each.id);
        if (this.now) this.tell(this.now);
      } });
      const cells = names.map((name) => {
        const told = each.beside.find((one) => one.name === name);
        const verdict = told && each.id !== this.against ? h("div", { class: `small ${{ better: "good", worse: "bad" }[told.verdict] ?? "dim"}` }, told.verdict) : null;
        return h("td", { class: "number" }, figure(each.figures[name]), verdict);
      });
      const against = each.id === this.against ? h("span", { class: "pill" }, "compared with") : h("button", { onclick: () => this.compare(each.id) }, "Compare with it");
      return h("tr", {}, h("td", {}, tick), h("td", {}, h("button", { class: "link", onclick: () => this.load(each.settings) }, said(each.settings))), cells, h("td", { class: "right" }, against));
    });
    put(this.places.kept, h("section", { class: "card" }, h("h2", {}, "Kept"), h("div", { class: "scroll" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, titles.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows)))));
  }

  async compare(id) {
    this.against = id;
    await Promise.all([this.list(), this.ask()]);
  }

  close() {
    this.closed = true;
    clearTimeout(this.soon);
    this.chart?.remove();
    this.leave();
  }
}

function beside(found, name) {
  if (!found.beside?.length) return null;
  return h("p", { class: "dim small" }, `Beside ${name}, on the same ${found.beside[0].count.toLocaleString()} examples, with 95 % intervals of the difference.`);
}

export async function labPage(page, known, id) {
  const [shell, about] = await Promise.all([known, get(`/api/runs/${encodeURIComponent(id)}/lab`)]);
  if (shell.read_only) throw new Error("the studio was started with --read-only, and computes nothing");
  document.title = `Lab of ${about.recipe} · Shoulders studio`;
  const lab = new Lab(page, id, about);
  lab.start().catch((error) => put(lab.places.network, h("section", { class: "card", role: "alert" }, h("h2", {}, "This cannot be opened"), h("p", {}, `${error.message}.`))));
  return () => lab.close();
}
