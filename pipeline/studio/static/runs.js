// The list of runs.

import { get } from "./api.js";
import { h, put, svg } from "./dom.js";
import { ago, brief, day, duration, figure, kind, named } from "./words.js";

const SOME = 60;
const AGAIN = 3000;

function sparkline(points) {
  if (points.length < 2) return null;
  const low = Math.min(...points);
  const span = Math.max(...points) - low || 1;
  const at = (value, index) =>
    `${((index / (points.length - 1)) * 118 + 1).toFixed(1)} ${(26 - ((value - low) / span) * 24).toFixed(1)}`;
  const label = `validation loss from ${figure(points[0])} to ${figure(points.at(-1))}`;
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 120 28", role: "img", "aria-label": label },
    svg("path", { d: `M${points.map(at).join("L")}` }),
  );
}

function row(run, curve, chosen, choose) {
  const main = Object.entries(run.figures)[0];
  // What was not evaluated cannot be compared.
  const pick = main ? h("input", { type: "checkbox", checked: chosen, "aria-label": `Compare ${run.run_id}`, onchange: (event) => choose(run.run_id, event.target.checked) }) : null;
  return h(
    "tr",
    { "data-run": run.run_id },
    h("td", { class: "pick" }, pick),
    h(
      "td",
      { class: "name" },
      h("a", { href: `/runs/${encodeURIComponent(run.run_id)}` }, run.recipe),
      h("div", { class: "dim small mono" }, run.run_id),
    ),
    h("td", {}, h("span", { class: `pill ${kind(run.outcome)}`, title: run.says }, brief(run.outcome), run.outcome === "pushed" ? ` ${run.version}` : "")),
    h("td", { class: "right main number" }, main ? [figure(main[1]), h("div", { class: "dim small" }, named(main[0]))] : h("span", { class: "dim" }, "–")),
    h("td", { class: "curve" }, curve ? sparkline(curve) : null),
    h("td", { class: "right number" }, duration(run.seconds)),
    h("td", { class: "right when dim", title: day(run.started) }, ago(run.started)),
  );
}

function nothing(about) {
  return h(
    "div",
    { class: "card empty" },
    h("h2", {}, "No run yet"),
    h("p", { class: "dim" }, "This store has none. Start one in a terminal; it shows up here while it goes on."),
    h("pre", { class: "mono" }, `python run_pipeline.py run digits --store ${about.store}`),
  );
}

export async function runsPage(page, known) {
  const find = h("input", { type: "search", placeholder: "Filter by recipe, id or outcome", "aria-label": "Filter runs" });
  const count = h("span", { class: "dim number" });
  const body = h("tbody");
  const more = h("div", { "aria-hidden": "true" });
  const table = h(
    "div",
    { class: "card runs" },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { class: "pick" }), ["Run", "Outcome", "Main figure", "Validation loss", "Took", "Began"].map((name, at) => h("th", { scope: "col", class: { 2: "right", 3: "curve", 4: "right", 5: "right when" }[at] }, name)))), body),
  );
  const beside = h("a", { class: "button", target: "_blank", rel: "noopener" });
  const chosen = new Set();
  const curves = new Map();
  let runs = [];
  let shown = SOME;
  let before = "";

  const wanted = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    return runs.filter((run) => words.every((word) => `${run.recipe} ${run.run_id} ${run.says}`.toLowerCase().includes(word)));
  };

  function choose(id, yes) {
    if (yes) chosen.add(id);
    else chosen.delete(id);
    const query = [...chosen].map((each) => `run=${encodeURIComponent(each)}`).join("&");
    const ready = chosen.size > 1;
    beside.textContent = ready ? `Compare ${chosen.size} runs` : "Compare: choose two or more";
    beside.classList.toggle("off", !ready);
    if (ready) beside.setAttribute("href", `/compare?${query}`);
    else beside.removeAttribute("href");
    beside.hidden = !chosen.size;
  }

  function draw() {
    const found = wanted();
    count.textContent = found.length === runs.length ? `${runs.length}` : `${found.length} of ${runs.length}`;
    put(body, found.slice(0, shown).map((run) => row(run, curves.get(run.run_id), chosen.has(run.run_id), choose)));
    if (!found.length) put(body, h("tr", {}, h("td", { colspan: 7, class: "dim" }, "No run has all of these words.")));
    lookForCurves(found.slice(0, shown));
  }

  async function lookForCurves(found) {
    const missing = found.filter((run) => !curves.has(run.run_id) || run.outcome === "running").slice(0, SOME);
    if (!missing.length) return;
    const query = missing.map((run) => `run=${encodeURIComponent(run.run_id)}`).join("&");
    for (const [id, points] of Object.entries(await get(`/api/sparklines?${query}`))) {
      curves.set(id, points);
      const place = body.querySelector(`tr[data-run="${CSS.escape(id)}"] .curve`);
      if (place) put(place, sparkline(points));
    }
  }

  async function refresh() {
    const found = await get("/api/runs");
    const now = JSON.stringify(found.map((run) => [run.run_id, run.outcome, run.figures, Math.round(run.seconds / 5)]));
    if (now === before) return;
    before = now;
    runs = found;
    if (!runs.length) put(page, h("div", { class: "head" }, h("h1", {}, "Runs")), nothing(await known));
    else {
      if (!table.isConnected) put(page, h("div", { class: "head" }, h("h1", {}, "Runs"), count, h("div", { class: "push" }, beside, find)), table, more);
      draw();
    }
  }

  find.addEventListener("input", () => {
    shown = SOME;
    draw();
  });
  const watch = new IntersectionObserver((seen) => {
    if (seen.some((each) => each.isIntersecting) && shown < wanted().length) {
      shown += SOME;
      draw();
    }
  }, { rootMargin: "600px" });
  watch.observe(more);
  choose("", false);
  await refresh();
  const timer = setInterval(() => document.hidden || refresh().catch(() => {}), AGAIN);
  return () => {
    clearInterval(timer);
    watch.disconnect();
  };
}
