// Which page an address is, without loading the others again.

import { get } from "./api.js";
import { h, put } from "./dom.js";
import { dataPage } from "./data.js";
import { labPage } from "./lab.js";
import { modelPage, modelsPage } from "./models.js";
import { runPage } from "./run.js";
import { runsPage } from "./runs.js";

const page = document.getElementById("page");
let leave = () => {};
let turn = 0;

const PAGES = [
  [/^\/$/, "runs", "Runs", (place, about) => runsPage(place, about)],
  [/^\/models$/, "models", "Models", (place) => modelsPage(place)],
  [/^\/models\/([^/]+)$/, "models", "Model", (place, about, id) => modelPage(place, about, decodeURIComponent(id))],
  [/^\/runs\/([^/]+)\/data$/, "runs", "Data", (place, about, id) => dataPage(place, about, decodeURIComponent(id))],
  [/^\/runs\/([^/]+)\/lab$/, "runs", "Lab", (place, about, id) => labPage(place, about, decodeURIComponent(id))],
  [/^\/runs\/([^/]+)$/, "runs", "Run", (place, about, id) => runPage(place, about, decodeURIComponent(id))],
];

const about = get("/api/about");

function wrong(place, error) {
  put(
    place,
    h("div", { class: "card empty", role: "alert" }, h("h2", {}, "This cannot be shown"), h("p", { class: "dim" }, `${error.message}.`), h("p", {}, h("a", { href: "/" }, "All runs"))),
  );
}

async function open() {
  const mine = ++turn;
  leave();
  leave = () => {};
  // Of its own: a page that is left while it loads writes where nobody sees it.
  const place = h("div");
  page.append(place);
  const found = PAGES.map(([of, ...rest]) => [location.pathname.match(of), ...rest]).find(([match]) => match);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === found?.[1]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (!found) throw new Error("there is no such page");
    const [match, , title, show] = found;
    document.title = `${title} · Shoulders studio`;
    const done = await show(place, about, ...match.slice(1));
    if (mine === turn) leave = done ?? leave;
    else done?.();
  } catch (error) {
    wrong(place, error);
  }
  if (mine === turn) put(page, place);
}

about.then((found) => {
  document.getElementById("where").textContent = found.store + (found.read_only ? ", read only" : "");
}, () => {});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey);
  if (!link || !plain || link.target || link.hasAttribute("data-outside")) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  open();
  window.scrollTo(0, 0);
});
window.addEventListener("popstate", open);
open();
