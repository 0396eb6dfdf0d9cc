// Elements from words: what comes from a store is always text, and never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in { value: 1, disabled: 1, checked: 1 }) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

export const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

// A share of 1 as a bar.
export function gauge(share, label) {
  const wide = Math.round(1000 * Math.min(1, Math.max(0, share))) / 10;
  return svg("svg", { class: "gauge-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": wide, "aria-label": label }, svg("rect", { width: wide, height: 10 }));
}

export function put(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

// The same, but for what is there already: what has the focus, was scrolled or is being clicked stays.
export function keep(element, ...children) {
  const wanted = children.flat(Infinity).filter(Boolean);
  const same = wanted.length === element.childNodes.length && wanted.every((child, at) => child.isEqualNode(element.childNodes[at]));
  return same ? element : put(element, wanted);
}

let fading;
export function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => (place.textContent = ""), 6000);
}
