"use strict";
// What both pages are made of: elements, numbers, tables, charts.

const data = JSON.parse(document.getElementById("page-data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** Characters that cannot be seen, or that turn the order of others round, as escapes; and no more of a text than is read. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
const visible = (text, most = 2000) => {
  const letters = text.length > most ? `${Array.from(text.slice(0, most)).slice(0, -1).join("")}…` : text;
  return letters.replace(HIDDEN, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
};
/** A name as it stands beside others: what tells long ones apart is often their end. */
const brief = (name) => visible(name.length > 80 ? `${Array.from(name.slice(0, 40)).slice(0, -1).join("")}…${Array.from(name.slice(-41)).slice(1).join("")}` : name);

/** An element with attributes and children; `on…` attributes are listeners, `null` ones are left out. */
function element(name, attributes = {}, ...children) {
  const vector = ["svg", "g", "path", "line", "rect", "circle", "text", "title"].includes(name);
  const made = vector ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, is] of Object.entries(value)) made.style.setProperty(property, is);
    else made.setAttribute(key, value === true ? "" : ["alt", "aria-label", "title"].includes(key) ? visible(value) : value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined) made.append(typeof child === "string" ? visible(child) : child);
  return made;
}

const count = (number) => Number(number).toLocaleString("en");
const counted = (number, thing) => `${count(number)} ${thing}${number === 1 ? "" : thing.endsWith("ss") ? "es" : "s"}`;
const fixed = (value, digits = 4) => (value === null || value === undefined || Number.isNaN(value) ? "–" : Number(value).toFixed(digits));
function seconds(value) {
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

/** A section of the page, with its entry in the navigation. */
function section(id, title, ...children) {
  const made = element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), children);
  document.getElementById("content").append(made);
  document.getElementById("sections").append(element("li", {}, element("a", { href: `#${id}` }, title)));
  return made;
}

/** A table that scrolls where it is too wide; columns are { name, value(row), sort(row) }; rows that are marked stand out. */
function table(caption, columns, rows, { words = false, tall = false, marked = () => false } = {}) {
  const body = element("tbody");
  const fill = (sorted) =>
    body.replaceChildren(
      ...sorted.map((row) =>
        element("tr", { class: marked(row) ? "kept" : null }, columns.map((column, place) => {
          const value = column.value(row);
          return place === 0 ? element("th", { scope: "row" }, value) : element("td", {}, value);
        })),
      ),
    );
  fill(rows);
  let last = null;
  const heads = columns.map((column) => {
    if (!column.sort) return element("th", { scope: "col" }, column.name);
    const head = element("th", { scope: "col" });
    head.append(
      element("button", {
        type: "button",
        onclick: () => {
          const downwards = last !== column.name;
          last = downwards ? column.name : null;
          for (const other of heads) other.removeAttribute("aria-sort");
          head.setAttribute("aria-sort", downwards ? "descending" : "ascending");
          const order = (a, b) => {
            const [one, two] = [column.sort(a), column.sort(b)];
            const sign = typeof one === "string" ? one.localeCompare(two) : (one ?? -1) - (two ?? -1);
            return downwards === (typeof one !== "string") ? -sign : sign;
          };
          fill([...rows].sort(order));
        },
      }, column.name),
    );
    return head;
  });
  return element("div", { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "region", "aria-label": caption },
    element("table", { class: words ? "words" : null }, element("caption", {}, caption), element("thead", {}, element("tr", {}, heads)), body));
}

const KINDS = ["one", "two", "three", "four", "five", "six"];
const kind = (place) => KINDS[place % KINDS.length];

/**
 * A chart that was laid out within a frame from 0 to 1, counted from the lower left corner; the same layout is in the
 * picture's file.
 */
function chart(label, layout, { diagonal = false } = {}) {
  // Drawn for the width that it has, so that letters keep their size; until that is known, for the last one's.
  const made = element("div", {}, ...chartParts(label, layout, diagonal, chartWidth));
  let width = chartWidth;
  new ResizeObserver(([{ contentRect }]) => {
    const now = Math.min(WIDEST, Math.floor(contentRect.width));
    if (now < 1 || now === width) return;
    chartWidth = width = now;
    made.replaceChildren(...chartParts(label, layout, diagonal, width));
  }).observe(made);
  return made;
}
/** The widest chart, in pixels, as in the style. */
const WIDEST = 736;
let chartWidth = Math.max(280, Math.min(540, window.innerWidth - 60));

function chartParts(label, layout, diagonal, width) {
  const named = layout.verticals.some(([name]) => name);
  const [height, left, right, top, bottom] = [290, 62, 14, named ? 28 : 14, 42];
  const px = (share) => left + share * (width - left - right);
  const py = (share) => height - bottom - share * (height - top - bottom);
  const svg = element("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  let free = -Infinity;
  for (const [at, words] of layout.x.ticks) {
    svg.append(element("line", { class: "grid", x1: px(at), x2: px(at), y1: top, y2: height - bottom }));
    // Numbers that would run into each other are left out.
    const reach = words.length * 3.6;
    if (px(at) - reach < free) continue;
    free = px(at) + reach + 4;
    svg.append(element("text", { x: px(at), y: height - bottom + 16, "text-anchor": "middle" }, words));
  }
  for (const [at, words] of layout.y.ticks) {
    svg.append(element("line", { class: "grid", x1: left, x2: width - right, y1: py(at), y2: py(at) }));
    svg.append(element("text", { x: left - 6, y: py(at) + 4, "text-anchor": "end" }, words));
  }
  svg.append(element("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, layout.x.label));
  svg.append(element("text", { x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, layout.y.label));
  for (const [from, to, high] of layout.bars) svg.append(element("rect", { class: "bar one", x: px(from), width: Math.max(1, px(to) - px(from) - 1), y: py(high), height: Math.max(0, py(0) - py(high)), "fill-opacity": 0.35 }));
  if (diagonal) svg.append(element("line", { class: "grid", x1: px(0), y1: py(0), x2: px(1), y2: py(1), "stroke-dasharray": "5 4" }));
  free = -Infinity;
  for (const [name, at] of layout.verticals) {
    svg.append(element("line", { class: "vertical", x1: px(at), x2: px(at), y1: top, y2: height - bottom }));
    // Above the lines; where there is no room, its last word, or nothing.
    for (const words of name ? [brief(name), name.split(" ").at(-1)] : []) {
      const reach = words.length * 7;
      const x = Math.min(px(at) - 3, width - reach);
      if (x < free) continue;
      free = x + reach + 5;
      svg.append(element("text", { x, y: top - 8 }, words));
      break;
    }
  }
  layout.lines.forEach((one, place) => {
    const stroke = `${kind(place)}${one.faint ? " faint" : ""}`;
    const path = one.parts.map((part) => part.map(([x, y], step) => `${step ? "L" : "M"}${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("")).join("");
    svg.append(element("path", { class: `line ${stroke}`, d: path }));
    // Dots that would hide their line are seen under the pointer alone.
    const [first, last] = [one.dots[0], one.dots.at(-1)];
    const close = one.dots.length > 1 && px(last[0][0]) - px(first[0][0]) < 16 * (one.dots.length - 1) ? " close" : "";
    for (const [[x, y], words] of one.dots) svg.append(element("circle", { class: `dot ${stroke}${close}`, cx: px(x), cy: py(y), r: 3.4 }, element("title", {}, words)));
  });
  const mark = (place) => `mark ${kind(layout.lines.length + place)}`;
  layout.marks.forEach((one, place) => {
    if (!one.at) return;
    const [x, y] = [px(one.at[0]), py(one.at[1])];
    svg.append(element("line", { class: mark(place), x1: x, x2: x, y1: y, y2: py(0) }), element("circle", { class: mark(place), cx: x, cy: y, r: 5 }, element("title", {}, one.label)));
  });
  const entry = (drawn, name) => element("li", {}, element("svg", { viewBox: "0 0 32 10", "aria-hidden": "true" }, drawn), brief(name));
  const entries = [
    ...layout.lines.map((one, place) => one.label && entry(element("line", { class: `line ${kind(place)}${one.faint ? " faint" : ""}`, x1: 0, x2: 32, y1: 5, y2: 5 }), one.label)),
    ...layout.marks.map((one, place) => one.label && entry(element("circle", { class: mark(place), cx: 16, cy: 5, r: 5 }), one.label)),
  ].filter((one) => one);
  return entries.length < 2 ? [svg] : [svg, element("ul", { class: "legend" }, entries)];
}

const note = (text) => element("p", { class: "quiet" }, text);
