// The models that were pushed: their versions, what they say, and the way back.

import { get, post, send } from "./api.js";
import { card, enlarge } from "./data.js";
import { gauge, h, notice, put } from "./dom.js";
import { record } from "./sound.js";
import { day, figure, named } from "./words.js";

const at = (model) => `/api/models/${encodeURIComponent(model)}`;

function head(title, ...rest) {
  return h("div", { class: "head" }, h("h1", {}, title), rest);
}

export async function modelsPage(page) {
  const models = await get("/api/models");
  if (!models.length) {
    put(page, head("Models"), h("div", { class: "card empty" }, h("h2", {}, "No model yet"), h("p", { class: "dim" }, "A run pushes its model here when it is blessed.")));
    return undefined;
  }
  const rows = models.map(({ model, place, versions }) => {
    const [newest] = versions;
    const main = Object.entries(newest.figures)[0];
    return h(
      "tr",
      {},
      h("td", { class: "name" }, h("a", { href: `/models/${encodeURIComponent(model)}` }, model), h("div", { class: "dim small mono" }, place)),
      h("td", {}, h("span", { class: "pill good" }, `version ${newest.version}`)),
      h("td", { class: "right main number" }, main ? [figure(main[1]), h("div", { class: "dim small" }, named(main[0]))] : h("span", { class: "dim" }, "–")),
      h("td", { class: "right number" }, `${versions.length} version${versions.length === 1 ? "" : "s"}`),
    );
  });
  const titles = ["Model", "Served", "Main figure", "Kept"].map((name, index) => h("th", { scope: "col", class: index > 1 ? "right" : null }, name));
  put(page, head("Models"), h("div", { class: "card runs" }, h("table", {}, h("thead", {}, h("tr", {}, titles)), h("tbody", {}, rows))));
  return undefined;
}

function bars(probabilities) {
  const sorted = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  const rows = sorted.slice(0, 8).map(([label, share]) => [h("span", { class: "label" }, label), gauge(share, label), h("span", { class: "number" }, `${(100 * share).toFixed(1)} %`)]);
  const rest = sorted.length - rows.length;
  return [h("div", { class: "bars" }, rows), rest > 0 ? h("p", { class: "dim small" }, `and ${rest} more`) : null];
}

const KNOWN = { known: "like what it was trained on", distance: "distance to the nearest of these", nearest: "the nearest, by its id" };

function said(answer) {
  if (!answer.valid) return h("p", {}, "It cannot be read as an example of this kind.");
  const told = [];
  for (const [name, value] of Object.entries(answer)) {
    if (name === "valid" || name === "version" || name in KNOWN) continue;
    if (value && typeof value === "object" && !Array.isArray(value)) told.push(h("h3", {}, named(name)), bars(value));
    else told.push(h("p", {}, h("span", { class: "dim" }, `${named(name)}: `), Array.isArray(value) ? value.map((each) => (typeof each === "number" ? figure(each) : String(each))).join(", ") || "none" : typeof value === "number" ? figure(value) : String(value)));
  }
  if (answer.known === false) told.unshift(h("p", { class: "pill warn" }, "unlike all that it was trained on"));
  for (const [name, words] of Object.entries(KNOWN)) {
    if (name in answer && name !== "known") told.push(h("p", { class: "dim small" }, `${words}: `, h("span", { class: "mono" }, typeof answer[name] === "number" ? figure(answer[name]) : answer[name])));
  }
  return told;
}

// Where an example is given, by what the model reads.
function giving(modality, ask) {
  if (modality === "text") {
    const text = h("textarea", { rows: 4, placeholder: "A sentence, as a client would send it", "aria-label": "Text" });
    const button = h("button", { class: "main", onclick: () => text.value && ask(new Blob([text.value]), text.value) }, "Ask");
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) button.click();
    });
    return [text, button];
  }
  const accept = modality === "sound" ? "audio/*" : "image/*";
  const what = modality === "sound" ? "a recording" : "a photograph";
  const file = h("input", { type: "file", accept, "aria-label": `Choose ${what}`, onchange: () => file.files[0] && ask(file.files[0], file.files[0].name) });
  const drop = h("label", { class: "drop" }, h("b", {}, `Drop ${what}`), h("span", { class: "dim small" }, "or choose one"), file);
  for (const name of ["dragover", "dragenter"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [given] = event.dataTransfer.files;
    if (given) ask(given, given.name);
  });
  return [drop, modality === "sound" ? record((wav) => ask(wav, "recording.wav")) : null];
}

function shown(modality, blob, name) {
  if (modality === "text") return h("blockquote", {}, name);
  const url = URL.createObjectURL(blob);
  const media = modality === "sound" ? h("audio", { controls: true, src: url }) : h("img", { src: url, alt: name, class: "asked", onload: enlarge });
  media.addEventListener("error", () => media.replaceWith(h("p", { class: "dim" }, `${name} cannot be shown by this browser.`)));
  return [media, h("p", { class: "dim small" }, name)];
}

// What is shown of a target, and its legend, in pixels: the page itself may not tell how high it is.
const HIGH = { image: 220, text: 150, sound: 320 };

// What of it counted, and what it is like, where somebody wants to know.
function because(model, version, modality, blob) {
  const place = h("div");
  const button = h("button", { onclick: async () => {
    button.disabled = true;
    put(place, h("p", { class: "dim small" }, "Asking with parts of it left out …"));
    const why = send(`${at(model)}/${version}/why`, blob).then(({ page, parts }) => h("iframe", { class: "why", height: HIGH[modality] * parts, src: page, title: "What of it counted" }), (error) => h("p", { role: "alert" }, `${error.message}.`));
    const near = send(`${at(model)}/${version}/near`, blob).then((found) => nearest(found, modality), (error) => h("p", { class: "dim small" }, `${error.message}.`));
    put(place, await why, h("p", { class: "dim small" }, "Looking for what it is like …"));
    put(place, place.firstChild, await near);
    button.remove();
  } }, "Why?");
  return [button, place];
}

function nearest({ run_id, of, rows }, modality) {
  if (!rows.length) return h("p", { class: "dim small" }, "The run that made it is gone, and what it was trained on with it.");
  const base = `/api/runs/${encodeURIComponent(run_id)}`;
  return [h("h3", {}, `Most like it, of ${of.toLocaleString()} that it was trained on`), h("div", { class: "near" }, rows.map((row) => card(base, modality, row, `cosine ${row.cosine.toFixed(3)}`)))];
}

function trying(model, versions) {
  const usable = versions.filter((each) => !each.damaged);
  if (!usable.length) return null;
  const { modality } = usable[0];
  const chosen = new Set([usable[0].version]);
  const place = h("div", { class: "asking" });
  let turn = 0;

  async function ask(blob, name) {
    const mine = ++turn;
    const columns = [...chosen].sort((one, other) => other - one).map((version) => [version, h("div", { class: "answer" }, h("h3", {}, `Version ${version}`), h("p", { class: "dim" }, "asking …"))]);
    put(place, h("div", { class: "given" }, shown(modality, blob, name)), columns.map(([, column]) => column));
    await Promise.all(columns.map(async ([version, column]) => {
      let told;
      try {
        told = said(await send(`${at(model)}/${version}/ask`, blob));
      } catch (error) {
        told = h("p", { role: "alert" }, `${error.message}.`);
      }
      if (mine === turn) put(column, h("h3", {}, `Version ${version}`), told, because(model, version, modality, blob));
    }));
  }

  const picks = usable.slice(0, 12).map(({ version }) => h("label", { class: "choice" }, h("input", { type: "checkbox", checked: chosen.has(version), onchange: (event) => (event.target.checked ? chosen.add(version) : chosen.delete(version)) }), `version ${version}`));
  return h("section", { class: "card" }, h("h2", {}, "Ask it"), usable.length > 1 ? h("p", { class: "choices" }, picks) : null, h("div", { class: "giving" }, giving(modality, ask)), place);
}

function back(model, version, refresh) {
  const reason = h("input", { type: "text", required: true, placeholder: "Why; it is kept with the versions", "aria-label": "Reason" });
  const go = h("button", { class: "main" }, `Publish version ${version} again`);
  const form = h("form", { class: "back", onsubmit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    try {
      const made = await post(`${at(model)}/rollback`, { to: version, reason: reason.value });
      notice(`Version ${made.version} is what version ${version} was.`);
      refresh();
    } catch (error) {
      go.disabled = false;
      notice(`${error.message}.`);
    }
  } }, reason, go);
  return form;
}

export async function modelPage(page, known, id) {
  const [models, about] = await Promise.all([get("/api/models"), known]);
  const found = models.find((each) => each.model === id);
  if (!found) throw new Error(`there is no model ${id}`);
  document.title = `${id} · Shoulders studio`;
  const table = h("section", { class: "card runs" });

  async function check(version, place) {
    put(place, h("span", { class: "dim" }, "checking …"));
    try {
      const { same } = await post(`${at(id)}/${version}/check`, {});
      put(place, h("span", { class: "pill good" }, same ? `says the same of ${same} examples` : "whole; it has no golden examples"));
    } catch (error) {
      put(place, h("span", { class: "pill bad" }, error.message));
    }
  }

  function rows({ versions }) {
    return versions.map((each) => {
      const main = Object.entries(each.figures)[0];
      const place = h("span");
      const actions = h("td", { class: "right acts" }, place, " ", about.read_only ? null : h("button", { onclick: () => check(each.version, place) }, "Check"), " ", each.served || about.read_only || each.damaged ? null : h("button", { onclick: (event) => event.target.closest("td").replaceChildren(back(id, each.version, refresh)) }, "Roll back to it"));
      return h(
        "tr",
        {},
        h("td", {}, h("b", {}, each.version), each.served ? [" ", h("span", { class: "pill good" }, "served")] : null, each.damaged ? [" ", h("span", { class: "pill bad" }, "damaged")] : null, each.reason ? h("div", { class: "dim small" }, each.reason) : null),
        h("td", { class: "right main number" }, main ? [figure(main[1]), h("div", { class: "dim small" }, named(main[0]))] : h("span", { class: "dim" }, "–")),
        h("td", { class: "dim when" }, each.time ? day(each.time) : "", each.run_id ? h("div", { class: "small" }, h("a", { href: `/runs/${encodeURIComponent(each.run_id)}` }, "its run")) : null),
        actions,
      );
    });
  }

  function draw(model) {
    const titles = ["Version", "Main figure", "Pushed", ""].map((name, index) => h("th", { scope: "col", class: ["", "right", "when", "right"][index] }, name));
    put(table, h("table", {}, h("thead", {}, h("tr", {}, titles)), h("tbody", {}, rows(model))));
  }

  async function refresh() {
    draw((await get("/api/models")).find((each) => each.model === id));
  }

  draw(found);
  const [newest] = found.versions;
  const labels = newest.labels.slice(0, 12).join(", ") + (newest.labels.length > 12 ? ` and ${newest.labels.length - 12} more` : "");
  const asks = about.read_only ? h("p", { class: "card dim" }, "The studio was started with --read-only: it asks no model.") : trying(id, found.versions);
  put(page, head(id), h("p", { class: "dim" }, `It reads ${newest.reads}${labels ? ` and says ${labels}` : ""}.`), asks, table);
  return undefined;
}
