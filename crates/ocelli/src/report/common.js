"use strict";
// What both pages are made of: elements, numbers, tables, charts.

const data = JSON.parse(document.getElementById("page-data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; `on…` attributes are listeners, `null` ones are left out. */
function element(name, attributes = {}, ...children) {
  const vector = ["svg", "g", "path", "line", "rect", "circle", "text", "title"].includes(name);
  const made = vector ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [property, is] of Object.entries(value)) made.style.setProperty(property, is);
    else made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined) made.append(child);
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

/** A table that scrolls where it is too wide; columns are { name, value(row), sort(row) }. */
function table(caption, columns, rows, { words = false, tall = false } = {}) {
  const body = element("tbody");
  const fill = (sorted) =>
    body.replaceChildren(
      ...sorted.map((row) =>
        element("tr", {}, columns.map((column, place) => {
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

const KINDS = ["one", "two", "three", "four"];

/** Round numbers that divide a range, or powers of ten on a logarithmic axis. */
function ticks(low, high, logarithmic) {
  if (logarithmic) {
    const marks = [];
    for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power++) marks.push(10 ** power);
    const step = Math.ceil(marks.length / 7);
    return marks.filter((_, place) => place % step === 0);
  }
  const rough = (high - low) / 5 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const marks = [];
  for (let mark = Math.ceil(low / step - 1e-9) * step; mark <= high + step * 1e-9; mark += step) marks.push(Math.abs(mark) < step * 1e-9 ? 0 : mark);
  return marks;
}

function short(value) {
  if (value === 0) return "0";
  if (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) return value.toExponential(0).replace("e", "e").replace("+", "");
  return String(Number(value.toPrecision(3)));
}

/**
 * A line chart: series are { name, points: [[x, y], …], kind }; gaps where y is null. `bars` are { x, width, y }.
 */
function chart(label, { series = [], bars = [], x, y, logX = false, logY = false, rangeX = null, rangeY = null, diagonal = false, marks = [] }) {
  // Drawn for the window at hand, so that letters keep their size.
  const width = Math.max(300, Math.min(620, window.innerWidth - 60));
  const [height, left, right, top, bottom] = [290, 58, 14, 12, 42];
  const usable = (point) => point[1] !== null && (!logX || point[0] > 0) && (!logY || point[1] > 0) && Number.isFinite(point[1]);
  const points = series.flatMap((one) => one.points.filter(usable));
  const range = (given, values, logarithmic) => {
    if (given) return given;
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = logarithmic ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
    if (!logarithmic) { const room = (high - low) * 0.05; low = low >= 0 && low - room < 0 ? 0 : low - room; high += room; }
    return [low, high];
  };
  const [lowX, highX] = range(rangeX, points.map((point) => point[0]), logX);
  const [lowY, highY] = range(rangeY, points.map((point) => point[1]), logY);
  const along = (value, low, high, logarithmic) => logarithmic ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
  const px = (value) => left + along(value, lowX, highX, logX) * (width - left - right);
  const py = (value) => height - bottom - along(value, lowY, highY, logY) * (height - top - bottom);
  const svg = element("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  for (const mark of ticks(lowX, highX, logX)) {
    svg.append(element("line", { class: "grid", x1: px(mark), x2: px(mark), y1: top, y2: height - bottom }));
    svg.append(element("text", { x: px(mark), y: height - bottom + 16, "text-anchor": "middle" }, short(mark)));
  }
  for (const mark of ticks(lowY, highY, logY)) {
    svg.append(element("line", { class: "grid", x1: left, x2: width - right, y1: py(mark), y2: py(mark) }));
    svg.append(element("text", { x: left - 6, y: py(mark) + 4, "text-anchor": "end" }, short(mark)));
  }
  svg.append(element("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, x));
  svg.append(element("text", { x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, y));
  if (diagonal) svg.append(element("line", { class: "grid", x1: px(lowX), y1: py(lowY), x2: px(highX), y2: py(highY), "stroke-dasharray": "5 4" }));
  for (const bar of bars) svg.append(element("rect", { class: "bar one", x: px(bar.x), width: Math.max(1, px(bar.x + bar.width) - px(bar.x) - 1), y: py(bar.y), height: Math.max(0, py(lowY) - py(bar.y)), "fill-opacity": 0.35 }));
  for (const mark of marks) {
    svg.append(element("line", { class: "four", x1: px(mark.x), x2: px(mark.x), y1: top, y2: height - bottom, "stroke-dasharray": "3 3" }));
    svg.append(element("text", { x: px(mark.x) + 4, y: top + 12 + 14 * (mark.row ?? 0) }, mark.name));
  }
  series.forEach((one, place) => {
    const kind = one.kind ?? KINDS[place % KINDS.length];
    let path = "";
    let drawing = false;
    for (const point of one.points) {
      if (!usable(point)) { drawing = false; continue; }
      path += `${drawing ? "L" : "M"}${px(point[0]).toFixed(1)} ${py(point[1]).toFixed(1)}`;
      drawing = true;
    }
    svg.append(element("path", { class: `line ${kind}`, d: path }));
    if (one.points.length <= 40) for (const point of one.points.filter(usable)) svg.append(element("circle", { class: `dot ${kind}`, cx: px(point[0]), cy: py(point[1]), r: 3.4 }, element("title", {}, `${one.name}: ${short(point[0])}, ${fixed(point[1])}`)));
  });
  const legend = series.length < 2 ? null : element("ul", { class: "legend" }, series.map((one, place) => {
    const kind = one.kind ?? KINDS[place % KINDS.length];
    return element("li", {}, element("svg", { viewBox: "0 0 32 10", "aria-hidden": "true" }, element("line", { class: `line ${kind}`, x1: 0, x2: 32, y1: 5, y2: 5 })), one.name);
  }));
  return element("div", {}, svg, legend);
}

const note = (text) => element("p", { class: "quiet" }, text);
