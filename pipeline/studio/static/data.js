// The examples of a run: all of them by scrolling, those that were set aside, and those in doubt.

import { get, post } from "./api.js";
import { h, notice, put } from "./dom.js";
import { figure } from "./words.js";

const CHUNK = 120;
const SIZES = { image: { wide: 168, high: 196 }, text: { wide: 420, high: 132 }, sound: { wide: 300, high: 128 } };

const answer = (value) => (Array.isArray(value) ? value.join(", ") : typeof value === "number" ? figure(value) : String(value ?? "–"));

// What has few pixels is shown by its pixels.
export const enlarge = ({ target }) => target.classList.toggle("tiny", target.naturalWidth < 64);

function shown(base, modality, { id, name }) {
  const address = `${base}/data/${encodeURIComponent(id)}/raw`;
  if (modality === "image") return h("img", { src: address, alt: name, loading: "lazy", decoding: "async", onload: enlarge });
  if (modality === "sound") return h("audio", { controls: true, preload: "none", src: address });
  const text = h("blockquote", { class: "clipped" });
  fetch(address).then((found) => found.text()).then((content) => (text.textContent = content), () => (text.textContent = name));
  return text;
}

export function card(base, modality, row, said = row.split) {
  const told = Object.entries(row.facts ?? {}).map(([key, value]) => `${key.replaceAll("_", " ")} ${answer(value)}`).join("\n");
  return h("figure", { class: `example ${modality}`, title: told }, shown(base, modality, row), h("figcaption", {}, h("b", {}, row.answers.map(answer).join("; ")), h("span", { class: "dim" }, ` ${said}`), h("div", { class: "dim mono clipped", title: row.name }, row.name)));
}

// A grid of which only what is seen is there, however much there is.
class Grid {
  constructor(base, query) {
    this.base = base;
    this.query = query;
    this.chunks = new Map();
    this.total = 0;
    this.space = h("div", { class: "space" });
    this.element = h("div", { class: "grid", tabindex: 0, role: "group", "aria-label": "Examples" }, this.space);
    this.element.addEventListener("scroll", () => this.draw());
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.element);
  }

  async chunk(number) {
    if (!this.chunks.has(number)) {
      this.chunks.set(number, []);
      const found = await get(`${this.base}/data?${this.query}&from=${number * CHUNK}&count=${CHUNK}`);
      this.chunks.set(number, found.rows);
      this.last = found;
      this.total = found.total;
      this.modality = found.modality;
    }
    return this.chunks.get(number);
  }

  draw() {
    if (!this.modality || !this.element.clientWidth) return;
    const { wide, high } = SIZES[this.modality] ?? SIZES.text;
    const columns = Math.max(1, Math.floor(this.element.clientWidth / wide));
    const rows = Math.ceil(this.total / columns);
    this.space.style.height = `${rows * high}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / high) - 2);
    const last = Math.min(rows, Math.ceil((this.element.scrollTop + this.element.clientHeight) / high) + 2);
    const kept = new Map([...this.space.children].map((child) => [Number(child.dataset.at), child]));
    const seen = [];
    const width = this.element.clientWidth / columns;
    for (let at = first * columns; at < Math.min(this.total, last * columns); at += 1) {
      const number = Math.floor(at / CHUNK);
      const row = this.chunks.get(number)?.[at % CHUNK];
      if (!row) {
        if (!this.chunks.has(number)) this.chunk(number).then(() => this.draw(), (error) => notice(`${error.message}.`));
        continue;
      }
      const place = kept.get(at) ?? h("div", { class: "cell", "data-at": at }, card(this.base, this.modality, row));
      place.style.transform = `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * high}px)`;
      place.style.width = `${width}px`;
      place.style.height = `${high}px`;
      seen.push(place);
    }
    if (seen.length !== this.space.children.length || seen.some((child, index) => child !== this.space.children[index])) this.space.replaceChildren(...seen);
  }

  remove() {
    this.watch.disconnect();
  }
}

function choices(name, counts, all) {
  return h("select", { "aria-label": name }, h("option", { value: "" }, all), Object.entries(counts).sort(([one], [other]) => one.localeCompare(other, undefined, { numeric: true })).map(([value, count]) => h("option", { value }, `${value} (${count.toLocaleString()})`)));
}

async function browse(place, base) {
  const first = await get(`${base}/data?count=1`);
  const split = choices("Split", first.splits, "All splits");
  const label = choices("Label", first.labels, "All labels");
  const part = choices("Part", first.parts, "All parts");
  const words = h("input", { type: "search", placeholder: "Words of a name", "aria-label": "Search names" });
  const count = h("span", { class: "dim number" });
  const box = h("div");
  let grid = null;

  async function find() {
    grid?.remove();
    const mine = (grid = new Grid(base, new URLSearchParams({ split: split.value, label: label.value, part: part.value, words: words.value }).toString()));
    await mine.chunk(0);
    if (mine !== grid) return;
    count.textContent = `${mine.total.toLocaleString()} example${mine.total === 1 ? "" : "s"}`;
    put(box, mine.total ? mine.element : h("p", { class: "dim" }, "No example is like that."));
    mine.draw();
  }

  let soon = 0;
  for (const each of [split, label, part]) each.addEventListener("change", find);
  words.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(find, 200);
  });
  put(place, h("div", { class: "filters" }, split, Object.keys(first.labels).length > 1 ? label : null, Object.keys(first.parts).length ? part : null, words, count), box);
  await find();
}

async function aside(place, base) {
  const rows = await get(`${base}/quarantined`);
  if (!rows.length) {
    put(place, h("p", { class: "dim" }, "Nothing was set aside: every example could be used."));
    return;
  }
  put(place, h("div", { class: "scroll" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["Example", "Answer", "Why it is not used"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, rows.slice(0, 1000).map((row) => h("tr", {}, h("td", { class: "mono" }, row.name), h("td", {}, (row.answers ?? []).map(answer).join("; ")), h("td", {}, row.reason)))))));
}

async function doubts(place, base, about) {
  const rows = await get(`${base}/suspects`);
  if (!rows.length) {
    put(place, h("p", { class: "dim" }, "No label is in doubt."));
    return;
  }
  const { modality } = await get(`${base}/data?count=1`);
  const actions = new Map();
  const write = h("button", { class: "main", disabled: true }, "Write the patch");
  const told = h("p", { class: "dim" });
  write.addEventListener("click", async () => {
    try {
      const { path } = await post(`${base}/patch`, [...actions.values()]);
      put(told, "Written. Give it to the next run: ", h("code", {}, `--data.patch ${path}`));
    } catch (error) {
      notice(`${error.message}.`);
    }
  });

  function deciding(row) {
    const group = h("div", { class: "decide", role: "group", "aria-label": `What to do with ${row.name}` });
    const buttons = [["relabel", `It is ${row.suggested}`], ["keep", `It is ${row.given}`], ["drop", "Leave it out"]].map(([action, words]) => h("button", { "aria-pressed": "false", onclick: (event) => choose(action, event.target) }, words));
    function choose(action, button) {
      const again = button.getAttribute("aria-pressed") === "true";
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button && !again));
      const key = `${row.id} ${row.target}`;
      if (again) actions.delete(key);
      else actions.set(key, { id: row.id, target: row.target, suggested: action === "relabel" ? row.suggested : "", action });
      write.disabled = !actions.size;
      write.textContent = actions.size ? `Write the patch of ${actions.size}` : "Write the patch";
    }
    return put(group, buttons);
  }

  const cards = rows.slice(0, 200).map((row) => h("figure", { class: `example doubt ${modality}` }, shown(base, modality, row), h("figcaption", {}, h("div", {}, h("span", { class: "dim" }, "labelled "), h("b", {}, row.given), h("span", { class: "dim" }, ", looks like "), h("b", {}, row.suggested)), h("div", { class: "dim mono clipped" }, row.name), about.read_only ? null : deciding(row))));
  put(place, h("p", {}, `${rows.length} labels that heads doubt which had not seen them, the most doubtful first.`), about.read_only ? null : h("p", { class: "patching" }, write, told), h("div", { class: "doubts" }, cards));
}

// The first batch of the first epoch: what the network is given, and what other views are like.
async function batch(place, base, about) {
  if (about.read_only) {
    put(place, h("p", { class: "dim" }, "The studio was started with --read-only, and computes nothing."));
    return;
  }
  put(place, h("p", { class: "dim" }, "Reading it as the giant does …"));
  const { rows, size, views, modality } = await get(`${base}/lab/batch`);
  const several = rows[0]?.views.length > 1;
  const cards = rows.map((row) => h("figure", { class: `example ${modality}` }, h("div", { class: "views" }, row.views.map(({ view, kind, data }) => given(kind, data, `${row.name}, view ${view}`))), h("figcaption", {}, h("b", {}, row.answers.map(answer).join("; ")), several ? h("span", { class: "dim" }, ` as it is, and ${row.views.length - 1} more views`) : null, h("div", { class: "dim mono clipped", title: row.name }, row.name))));
  const said = views === "fresh" ? "Each epoch has views of its own." : views === 1 ? "The run has one view of each example: as it is." : `The run has ${views} views of each example, one after the other.`;
  put(place, h("p", {}, `The first ${rows.length} of the ${size} examples that the head was given first, as the giant reads them. ${said}`), h("div", { class: "batch" }, cards));
}

function given(kind, data, name) {
  if (kind.startsWith("image/")) return h("img", { src: `data:${kind};base64,${data}`, alt: name, title: name });
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  if (kind.startsWith("audio/")) return h("audio", { controls: true, preload: "none", title: name, src: URL.createObjectURL(new Blob([bytes], { type: kind })) });
  return h("blockquote", { class: "mono", title: name }, new TextDecoder().decode(bytes));
}

const TABS = [
  ["All examples", browse],
  ["The first batch", batch],
  ["Set aside", aside],
  ["Labels in doubt", doubts],
];

export async function dataPage(page, known, id) {
  const base = `/api/runs/${encodeURIComponent(id)}`;
  const [run, about] = await Promise.all([get(base), known]);
  document.title = `Data of ${run.recipe} · Shoulders studio`;
  const place = h("div");
  const tabs = TABS.map(([name, show], index) => h("button", { role: "tab", "aria-selected": index ? "false" : "true", onclick: (event) => open(event.target, show) }, name));

  async function open(tab, show) {
    for (const each of tabs) each.setAttribute("aria-selected", String(each === tab));
    put(place, h("p", { class: "dim" }, "reading …"));
    try {
      await show(place, base, about);
    } catch (error) {
      put(place, h("p", { role: "alert" }, `${error.message}.`));
    }
  }

  put(page, h("div", { class: "head" }, h("h1", {}, "Data"), h("a", { href: `/runs/${encodeURIComponent(id)}` }, run.recipe)), h("section", { class: "card" }, h("div", { class: "tabs", role: "tablist", "aria-label": "Examples" }, tabs), place));
  open(tabs[0], browse);
  return undefined;
}
