// What moves on the page: tables that can be sorted, and thresholds. Without it, all is there but these.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].textContent.trim();
      const number = (text) => (/^[-+–]?[\d.,]*\s*%?$/.test(text) ? parseFloat(text) : NaN);
      const compare = (a, b) => {
        const [x, y] = [number(value(a)), number(value(b))];
        if (Number.isNaN(x) && Number.isNaN(y)) return value(a).localeCompare(value(b));
        return Number.isNaN(x) ? -1 : Number.isNaN(y) ? 1 : x - y;
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
      table.tBodies[0].append(...rows);
    });
  });
}
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");
for (const section of document.querySelectorAll(".moved")) {
  const known = JSON.parse(section.querySelector("script").textContent);
  const [range, label] = [section.querySelector("input"), section.querySelector("select")];
  const put = (name, text) => (section.querySelector(`[data-figure="${name}"]`).textContent = text);
  const show = () => {
    const at = Number(range.value);
    section.querySelector("output").textContent = (at / 100).toFixed(2);
    if (known.answered) {
      const [all, given] = [known.answered[0], known.answered[at]];
      put("answered", `${given} of ${all}, ${percent(given, all)}`);
      put("abstained", String(all - given));
      put("accuracy", percent(known.right[at], given));
    }
    const own = known.labels[label.value];
    const [said, right] = [own.said[at], own.right[at]];
    put("said", String(said));
    put("precision", percent(right, said));
    put("recall", percent(right, own.there));
    put("f1", percent(2 * right, said + own.there));
  };
  range.addEventListener("input", show);
  label.addEventListener("change", show);
  section.hidden = false;
  show();
}
