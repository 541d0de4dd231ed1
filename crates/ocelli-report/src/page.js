// The report of a run or an evaluation.

const { classes, images } = data;
/** A class as people read it. */
const called = classes.map(brief);
const names = (list) => (list.length ? list.map((place) => called[place]).join(", ") : "none");
const same = (one, other) => one.length === other.length && one.every((value) => other.includes(value));

// ---------------------------------------------------------------------------------------------------- images

/** The heat map of an image, drawn small and stretched by the browser. */
function heat(image) {
  if (!image.heat) return null;
  const [width, height, text] = image.heat;
  const values = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const canvas = element("canvas", { width, height, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  values.forEach((value, place) => {
    const share = value / 255;
    pixels.data.set([Math.min(255, share * 510), Math.max(0, Math.min(220, (share - 0.45) * 420)), 40 * (1 - share), 90 + 165 * share], place * 4);
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

/** An image with its label, the prediction and the probabilities. */
function card(number, more = null, [agrees, differs, is] = ["✓ correct", "✗ wrong", "actual"]) {
  const image = images[number];
  const right = same(image.truth, image.predicted);
  const [best] = image.top;
  const predicted = data.several ? names(image.predicted) : `${called[best[0]]} with ${fixed(best[1], 3)}`;
  const alternative = `${image.id}: labelled ${names(image.truth)}, predicted ${predicted}`;
  const picture = image.jpeg ? element("img", { src: image.jpeg, alt: alternative, decoding: "async" }) : element("span", { class: "absent" }, image.why ?? "cannot be read");
  return element("figure", {},
    element("div", { class: "photo" }, picture, heat(image)),
    element("figcaption", {},
      element("span", { class: right ? "good" : "bad" }, right ? agrees : differs),
      ` · ${is} ${names(image.truth)}`,
      element("ol", { class: "odds" }, image.top.map(([place, odds]) => element("li", { style: { "--share": `${(odds * 100).toFixed(1)}%` } }, element("span", { title: classes[place] }, called[place]), element("span", {}, fixed(odds, 3))))),
      element("span", { class: "name" }, visible(image.id, 300)),
      more));
}

const gallery = (numbers, empty = "None.") => numbers.length ? element("ul", { class: "gallery" }, numbers.map((number) => element("li", {}, card(number)))) : note(empty);

/** A list of which the first are shown, and the others once they are asked for. */
function folded(kind, items, first = 12) {
  const list = element("ul", { class: kind }, items.slice(0, first));
  if (items.length <= first) return [list];
  const button = element("button", { class: "plain", type: "button", onclick: () => {
    list.append(...items.slice(first));
    items[first].querySelector("input, select")?.focus();
    button.remove();
  } }, `Show ${count(items.length - first)} more`);
  return [list, button];
}

/** A switch for all heat maps of the page. */
function heatSwitch() {
  if (!images.some((image) => image.heat)) return null;
  const box = element("input", { type: "checkbox", class: "heat-switch", onchange: () => {
    document.body.classList.toggle("heat", box.checked);
    for (const other of document.querySelectorAll(".heat-switch")) other.checked = box.checked;
  } });
  box.checked = document.body.classList.contains("heat");
  return element("label", {}, box, " Show heat maps: Grad-CAM of the predicted class, on the images that have one");
}

function choice(label, options, change) {
  const select = element("select", { onchange: () => change(Number(select.value)) }, options.map(([value, text]) => element("option", { value }, text)));
  return element("label", {}, `${label} `, select);
}

// ---------------------------------------------------------------------------------------------------- the top

function top() {
  document.getElementById("top").append(element("h1", {}, data.title), element("p", { class: "quiet" }, data.subtitle));
  if (data.figures.length) {
    document.getElementById("top").append(element("dl", { class: "figures" }, data.figures.map((figure) => element("div", {},
      element("dt", {}, figure.name),
      element("dd", { class: "value" }, fixed(figure.value)),
      element("dd", { class: "detail" }, figure.low === null ? figure.detail : `95 % interval ${fixed(figure.low)} … ${fixed(figure.high)}, ${figure.detail}`)))));
  }
  for (const sentence of data.summary) document.getElementById("top").append(element("p", { class: "summary" }, sentence));
  for (const notice of data.notices) document.getElementById("top").append(element("p", { class: "notice" }, notice));
}

// ---------------------------------------------------------------------------------------------------- sections

function confusion() {
  const part = data.confusion;
  if (!part) return;
  const cells = new Map(part.cells.map((cell) => [`${cell.truth},${cell.predicted}`, cell]));
  const totals = classes.map((_, truth) => part.cells.filter((cell) => cell.truth === truth).reduce((sum, cell) => sum + cell.count, 0));
  const shown = element("div", { id: "cell-images" });
  let pressed = null;
  const open = (truth, predicted, button = null) => {
    pressed?.setAttribute("aria-pressed", "false");
    pressed = button;
    pressed?.setAttribute("aria-pressed", "true");
    const cell = cells.get(`${truth},${predicted}`);
    const title = truth === predicted ? `${called[truth]}, predicted correctly` : `${called[truth]} → ${called[predicted]}`;
    const heading = element("h3", { tabindex: -1 }, `${title}: ${counted(cell?.count ?? 0, "image")}`);
    const { images: numbers, more } = cell ?? { images: [], more: [] };
    const left = cell && numbers.length < cell.count ? note(numbers.length ? `Shown: ${count(numbers.length)}, the highest loss first; all are in predictions.csv.` : "The page has no room for their pictures; all are in predictions.csv.") : "";
    const others = more.length ? element("details", { open: !numbers.length }, element("summary", {}, numbers.length ? `${count(more.length)} more by name` : `${count(more.length)} by name`), element("ul", { class: "names" }, more.map((id) => element("li", {}, id)))) : "";
    shown.replaceChildren(heading, left, numbers.length ? gallery(numbers) : cell ? "" : note("No image."), others);
    heading.focus();
  };
  const label = (truth, predicted, number) => `${counted(number, "image")} of ${called[truth]} predicted ${truth === predicted ? "correctly" : `as ${called[predicted]}`}`;
  const made = section("confusion", "Confusion", note(!part.order ? `With ${count(classes.length)} classes, more than ${count(data.cells)}, the cells of a matrix would be too small to see. The most confused pairs are listed; all are in results/most_confused.csv.` : classes.length <= 40 ? "Rows are the actual classes, columns the predicted ones. Choose a number to see its images." : "Rows are the actual classes, columns the predicted ones, ordered so that confused classes are neighbours. Choose a cell, or a pair below, to see its images."));
  if (classes.length <= 40) {
    const order = classes.length > 12 ? part.order : classes.map((_, place) => place);
    const heads = order.map((place) => element("th", { scope: "col", title: classes[place] }, called[place]));
    const rows = order.map((truth) => element("tr", {}, element("th", { scope: "row", title: classes[truth] }, called[truth]), order.map((predicted) => {
      const number = cells.get(`${truth},${predicted}`)?.count ?? 0;
      const share = totals[truth] ? number / totals[truth] : 0;
      const inside = number ? element("button", { type: "button", "aria-pressed": "false", "aria-label": label(truth, predicted, number), "data-cell": `${truth},${predicted}`, onclick: (event) => open(truth, predicted, event.currentTarget) }, count(number)) : element("span", { class: "quiet" }, "0");
      return element("td", { class: truth === predicted ? "right" : null, style: { "--share": share.toFixed(3) } }, inside);
    })));
    made.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
      element("table", { class: classes.length > 8 ? "matrix many" : "matrix" }, element("thead", {}, element("tr", {}, element("td", {}), heads)), element("tbody", {}, rows))));
  } else if (part.order) {
    const place = new Map(part.order.map((name, at) => [name, at]));
    const svg = element("svg", { class: "chart", viewBox: `0 0 ${classes.length} ${classes.length}`, role: "img", "aria-label": `Confusion matrix of ${classes.length} classes; the pairs are listed below`, style: { "max-width": "46rem", border: "1px solid var(--line)" } });
    for (const { truth, predicted, count: number } of part.cells) {
      const share = number / totals[truth];
      svg.append(element("rect", { class: truth === predicted ? "cell" : "cell wrong", x: place.get(predicted), y: place.get(truth), width: 1, height: 1, "fill-opacity": (0.2 + 0.8 * share).toFixed(2), onclick: () => open(truth, predicted) }, element("title", {}, label(truth, predicted, number))));
    }
    made.append(svg);
    let [truth, predicted] = [part.order[0], part.order[0]];
    const options = called.map((name, at) => [at, name]);
    made.append(element("div", { class: "row" }, choice("Actual", options, (value) => { truth = value; }), choice("predicted", options, (value) => { predicted = value; }), element("button", { class: "plain", type: "button", onclick: () => open(truth, predicted) }, "Show the images")));
  }
  made.append(shown);
  if (part.confused.length) {
    const places = new Map(classes.map((name, place) => [name, place]));
    const index = (name) => places.get(name);
    made.append(element("h3", {}, "Most confused"), table(part.confused.length < part.confused_in_all ? `The first ${part.confused.length} of ${count(part.confused_in_all)} pairs` : "Pairs of classes by how often one is predicted as the other", [
      { name: "Actual", value: (row) => brief(row.truth) },
      { name: "Predicted", value: (row) => brief(row.predicted) },
      { name: "Images", value: (row) => count(row.count), sort: (row) => row.count },
      { name: "Fraction of the class", value: (row) => fixed(row.count / row.of, 3), sort: (row) => row.count / row.of },
      { name: "", value: (row) => element("button", { class: "plain", type: "button", "aria-label": `Show ${label(index(row.truth), index(row.predicted), row.count)}`, onclick: () => open(index(row.truth), index(row.predicted)) }, "Show") },
    ], part.confused, { tall: part.confused.length > 12 }));
  }
}

function pictures() {
  if (!data.losses.length) return;
  const shown = element("div");
  const show = (place) => {
    const part = data.galleries[place];
    const name = called[part.class];
    shown.replaceChildren(
      element("h3", {}, `Most incorrect: ${name}`), gallery(part.incorrect, data.table[part.class].support ? "All are predicted correctly." : "No image has this class."),
      element("h3", {}, `Most uncertain: ${name}`), gallery(part.uncertain),
      element("h3", {}, `Most correct: ${name}`), gallery(part.correct));
  };
  const made = section("pictures", "Images", element("div", { class: "row" }, heatSwitch()),
    element("h3", {}, "Top losses"), note("The images with the highest loss: some are hard, some have a wrong label."), gallery(data.losses));
  made.append(element("h3", {}, "Class by class"), element("div", { class: "row" }, choice("Class", data.galleries.map((part, place) => [place, called[part.class]]), show)), shown);
  show(0);
}

function perClass() {
  if (!data.table.length) return;
  // Of very many classes those with the lowest F1 are of most interest.
  const most = 1000;
  const all = data.table.map((row, place) => ({ ...row, name: called[place] }));
  const rows = all.length > most ? all.filter((row) => row.support).sort((a, b) => (a.f1 ?? 0) - (b.f1 ?? 0)).slice(0, most) : all;
  const share = (part) => (part ? element("span", { title: `95 % interval ${fixed(part[1])} … ${fixed(part[2])}` }, fixed(part[0])) : "–");
  const interval = (part) => (part ? `${fixed(part[1], 3)} … ${fixed(part[2], 3)}` : "–");
  section("classes", "Classes", table(`Precision, recall and F1 of ${rows.length < all.length ? `the ${count(rows.length)} classes with the lowest F1; all are in results/classes.csv` : "every class"}, with 95 % intervals; choose a heading to sort`, [
    { name: "Class", value: (row) => row.name, sort: (row) => row.name },
    { name: "Images", value: (row) => count(row.support), sort: (row) => row.support },
    { name: "Predicted", value: (row) => count(row.predicted), sort: (row) => row.predicted },
    { name: "Precision", value: (row) => share(row.precision), sort: (row) => row.precision?.[0] },
    { name: "95 % interval", value: (row) => interval(row.precision) },
    { name: "Recall", value: (row) => share(row.recall), sort: (row) => row.recall?.[0] },
    { name: "95 % interval", value: (row) => interval(row.recall) },
    { name: "F1", value: (row) => fixed(row.f1), sort: (row) => row.f1 },
    { name: "AUROC", value: (row) => fixed(row.auroc), sort: (row) => row.auroc },
  ], rows, { tall: rows.length > 14 }), note(`Mean over classes: precision ${fixed(data.means.precision)}, recall ${fixed(data.means.recall)}, F1 ${fixed(data.means.f1)}.`));
}

function thresholds() {
  if (!data.curves.length) return;
  const shown = element("div");
  const show = (place) => {
    const { class: name, chart: layout, best: [f1, atF1, f2, atF2] } = data.curves[place];
    shown.replaceChildren(
      chart(`Precision, recall, F1 and F2 by threshold: ${name === null ? "all labels" : brief(name)}`, layout),
      note(`Highest F1 ${fixed(f1)} at ${fixed(atF1, 2)}; highest F2 ${fixed(f2)} at ${fixed(atF2, 2)}. A threshold chosen on these images looks better on them than on others.`));
  };
  const left = classes.length + 1 - data.curves.length;
  section("thresholds", "Thresholds", note(`A class is predicted if its probability is at least the threshold.${left > 0 ? ` The curves of the last ${counted(left, "class")} are only in results/thresholds.csv.` : ""}`), element("div", { class: "row" }, choice("Class", data.curves.map((curve, place) => [place, curve.class === null ? "all labels" : brief(curve.class)]), show)), shown);
  show(0);
}

function calibration() {
  const part = data.calibration;
  if (!part) return;
  const words = part.sentence;
  const rows = [["Uncalibrated", part.plain], ...(part.calibrated ? [["With temperature scaling, cross-validated", part.calibrated]] : [])];
  section("calibration", "Calibration", note("Of predictions with confidence 0.9, nine in ten should be correct. Points below the dashed line are overconfident; bars show how often a confidence occurs."),
    element("div", { class: "columns" },
      data.reliability ? chart("Reliability diagram: accuracy by confidence", data.reliability) : null,
      element("div", {}, element("p", {}, words), table("Calibration of the probabilities", [
        { name: "Probabilities", value: (row) => row[0] },
        { name: "Expected calibration error", value: (row) => fixed(row[1].expected_error) },
        { name: "Log loss", value: (row) => fixed(row[1].log_loss) },
        { name: "Brier score", value: (row) => fixed(row[1].brier) },
      ], rows))));
}

function unknown() {
  const part = data.unknown;
  if (!part) return;
  section("unknown", "Unknown photos", note("How unlike the training photos a photo is, by the network's features: the relative Mahalanobis distance. Photos above the threshold are called unknown."),
    element("div", { class: "columns" }, part.chart ? chart("Unknown scores of validation photos", part.chart) : null, element("div", {}, element("p", {}, part.sentence))));
}

// ---------------------------------------------------------------------------------------------------- training

function training() {
  if (!data.phases.length && !data.times.length && !data.charts.length) return;
  const made = section("training", "Training");
  made.append(element("div", { class: "columns" }, data.charts.map(({ title, chart: layout, note: words }) =>
    element("div", {}, element("h3", {}, title), chart(title, layout), words ? note(words) : null))));
  for (const phase of data.phases) {
    const numbered = phase.rows.map((cells, place) => ({ cells, place }));
    const caption = `${phase.text}${phase.rows.length < phase.epochs ? `; ${count(phase.rows.length)} of ${count(phase.epochs)} epochs, all are in history.csv` : ""}${phase.best === null ? "" : "; ✓ marks the epoch whose weights the model has"}`;
    made.append(element("h3", {}, `Phase ${phase.number}: ${phase.title}`), table(caption, phase.columns.map((name, column) => ({
      name,
      value: (row) => (column === 0 && row.place === phase.best ? `${row.cells[0]} ✓` : row.cells[column]),
    })), numbered, { tall: phase.rows.length > 14, marked: (row) => row.place === phase.best }), ...phase.diagnosis.map((sentence) => element("p", {}, `→ ${sentence}`)));
  }
  if (data.phases.length < data.phases_in_all) made.append(note(`The first ${count(data.phases.length)} of ${count(data.phases_in_all)} phases; the epochs of all are in history.csv.`));
  if (data.times.length) {
    const longest = Math.max(...data.times.map((time) => time[1]), 1e-9);
    const sum = data.times.reduce((all, time) => all + time[1], 0);
    made.append(element("h3", {}, "Time"), note(`${seconds(sum)} in total.`), element("div", { class: "bars" }, data.times.flatMap(([name, value]) => [element("span", { class: "name" }, name), element("span", { class: "bar", style: { width: `${(value / longest * 100).toFixed(1)}%` } }), element("span", {}, seconds(value))])));
  }
}

function dataSection() {
  const part = data.data;
  const all = part.counts.map((row) => ({ ...row, sum: row.train + row.valid }));
  const total = Math.max(1, all.reduce((sum, row) => sum + row.sum, 0));
  const made = section("data", "Data", element("p", {}, `${part.train ? `${counted(part.train, "image")} for training, ` : ""}${counted(part.valid, "image")} for validation (${part.origin})${data.several ? "; in the table an image counts once per label" : ""}.`));
  made.append(table("Images of each class", [
    { name: "Class", value: (row) => brief(row.class), sort: (row) => row.class },
    { name: "Training", value: (row) => count(row.train), sort: (row) => row.train },
    { name: "Validation", value: (row) => count(row.valid), sort: (row) => row.valid },
    { name: "Fraction", value: (row) => fixed(row.sum / total, 3), sort: (row) => row.sum },
  ], all.slice(0, 1000), { tall: all.length > 14 }), all.length > 1000 ? note("The first 1,000 classes; all are in results/data.csv.") : "");
  if (part.sizes) {
    const [looked, low, middle, most] = part.sizes;
    made.append(element("h3", {}, "Sizes"), note(low === most ? `The shorter side of all of ${counted(looked, "image")} has ${counted(low, "pixel")}.` : `The shorter side of ${counted(looked, "image")}: ${count(low)} to ${count(most)} pixels, half of them ${count(middle)} or more.`),
      part.sizes_chart ? element("div", { class: "narrow" }, chart("Images by the length of their shorter side", part.sizes_chart)) : "");
  }
  if (part.skipped_in_all) {
    made.append(element("details", {}, element("summary", {}, `${counted(part.skipped_in_all, "file")} skipped`), table(part.skipped.length < part.skipped_in_all ? `The first ${part.skipped.length}; all are in skipped.csv` : "Skipped files, and why", [{ name: "File", value: (row) => row[0] }, { name: "Why", value: (row) => row[1] }], part.skipped, { words: true, tall: true })));
  }
}

// ---------------------------------------------------------------------------------------------------- labels

const STORE = `ocelli decisions ${data.title} ${location.pathname}`;
const decisions = new Map();
try { for (const [id, decision] of JSON.parse(localStorage.getItem(STORE) ?? "[]")) decisions.set(id, decision); } catch { /* nothing is remembered */ }
const separator = "|";
/** Class names in a cell: with a separator, or, where a class has that in its name, several as a list in JSON. */
const joined = (list) => (list.length > 1 && classes.some((name) => name.includes(separator)) ? JSON.stringify(list) : list.join(separator));
/** What a spreadsheet would take for a formula has an apostrophe before it, as in every table of Ocelli. */
const guarded = (text) => (/^(?![+\-]\d+(\.\d+)?$)[=+\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text);
const cell = (text) => { const safe = guarded(text); return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };

/** The table that `ocelli train --decisions` reads. */
const decisionsTable = () => ["id,decision,label", ...[...decisions].map(([id, { what, label }]) => [id, what, what === "relabel" ? label : ""].map(cell).join(","))].join("\n") + "\n";

let controls = 0;
/** Keep, relabel or drop, for one image. */
function decide(number, suggested, changed) {
  const { id, truth } = images[number];
  const name = `decision-${controls++}`;
  const label = (list) => joined(list.map((place) => classes[place]));
  const option = (list) => element("option", { value: label(list) }, names(list));
  const other = (list) => label(list) !== label(truth);
  // Of many classes in many selects, most are never looked at.
  const first = [suggested, ...classes.map((_, place) => [place])].find(other) ?? suggested;
  let left = true;
  const fill = () => {
    if (left) select.append(...classes.map((_, place) => [place]).filter((list) => other(list) && label(list) !== label(first)).map(option));
    left = false;
  };
  const select = element("select", { "aria-label": `New label of ${id}`, onchange: () => set("relabel"), onfocus: () => fill(), onpointerdown: () => fill() }, option(first));
  const set = (what) => {
    if (what === null) decisions.delete(id); else decisions.set(id, { what, label: select.value });
    try { localStorage.setItem(STORE, JSON.stringify([...decisions])); } catch { /* nothing is remembered */ }
    document.dispatchEvent(new CustomEvent("decided"));
  };
  const radio = (what, text, more = null) => element("label", {}, element("input", { type: "radio", name, value: what ?? "", onchange: () => set(what) }), text, more);
  const field = element("fieldset", {}, element("legend", {}, `Decision about ${id}`), radio(null, "undecided"), radio("keep", "keep"), radio("relabel", "relabel", select), radio("drop", "drop"));
  const refresh = () => {
    const decision = decisions.get(id);
    for (const input of field.querySelectorAll("input")) input.checked = input.value === (decision?.what ?? "");
    if (decision?.what === "relabel" && select.value !== decision.label) { fill(); select.value = decision.label; }
  };
  document.addEventListener("decided", refresh);
  refresh();
  return field;
}

function labels() {
  const part = data.labels;
  if (!part) return;
  const made = section("labels", "Likely label errors");
  const control = (number, suggested) => (part.trainable ? decide(number, suggested) : null);
  const doubted = (number, more) => card(number, more, ["✓ agrees", "✗ differs", "labelled"]);
  made.append(element("p", {}, !part.better_than_chance
    ? `Not searched: the predictions for ${part.trainable ? "training images that are out of fold" : "these images"} are not significantly better than chance (AUROC), so they say nothing about labels.`
    : part.trainable
    ? `${count(part.looked_at)} training images were predicted out of fold by ${part.folds} heads, each trained on the other folds. By confident learning, ${count(part.likely)} labels are likely wrong; for ${count(part.suspects_in_all)}, another class is more probable than the label.`
    : `By confident learning, ${count(part.likely)} of ${count(part.looked_at)} labels are likely wrong; for ${count(part.suspects_in_all)}, another class is more probable than the label.`));
  if (part.trainable) {
    const status = element("span", { role: "status" });
    const refresh = () => { status.textContent = decisions.size ? `${counted(decisions.size, "decision")} made` : "No decision made yet"; };
    document.addEventListener("decided", refresh);
    refresh();
    made.append(note("Decide here, download the decisions, and train again with them; held-out images are not changed."), element("div", { class: "row" },
      element("button", { class: "plain main", type: "button", id: "download", onclick: () => {
        const link = element("a", { href: URL.createObjectURL(new Blob([decisionsTable()], { type: "text/csv" })), download: "decisions.csv" });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      } }, "Download decisions.csv"), status, element("code", {}, "ocelli train … --decisions decisions.csv")));
  }
  if (part.suspects.length) {
    made.append(element("h3", {}, "Suspects"), part.suspects.length < part.suspects_in_all ? note(`The first ${part.suspects.length}; all are in results/label_errors.csv.`) : "",
      note("The least certain labels first. If few labels are wrong, most of these are right: look before you decide."),
      ...folded("gallery wide", part.suspects.map((suspect) => element("li", {}, doubted(suspect.image, [
        element("div", {}, suspect.likely ? element("strong", {}, "likely wrong") : "uncertain", `, suggested: ${names(suspect.suggested)}`),
        control(suspect.image, suspect.suggested)])))));
  }
  if (part.duplicates.length) {
    made.append(element("h3", {}, "Duplicates"), part.duplicates.length < part.duplicates_in_all ? note(`The first ${part.duplicates.length} of ${count(part.duplicates_in_all)} pairs, those of different labels first; all are in results/duplicates.csv.`) : note("Images that are identical, or nearly so in the network's features."),
      ...folded("gallery pairs", part.duplicates.map(([first, second, likeness, identical, equal]) => element("li", { class: "pair" },
        element("p", {}, identical ? "byte-identical" : `similarity ${fixed(likeness, 3)}`, equal ? "" : element("strong", { class: "bad" }, ", with different labels")),
        doubted(first, control(first, images[second].truth)), doubted(second, control(second, images[first].truth))))));
  }
  if (part.outliers.length) {
    made.append(element("h3", {}, "Outliers"), note("The images that are farthest from their nearest neighbours in the backbone's features."),
      ...folded("gallery wide", part.outliers.map(([number, distance]) => element("li", {}, doubted(number, [element("div", {}, `distance ${fixed(distance, 3)}`), control(number, images[number].predicted)])))));
  }
}

// ---------------------------------------------------------------------------------------------------- the inside

function inside() {
  const part = data.inside;
  if (!part.filters && !part.stages.length) return;
  const sheet = (jpeg, alternative) => element("img", { class: "sheet", src: jpeg, alt: alternative, decoding: "async" });
  const made = section("inside", "Inside the network");
  if (part.filters) made.append(element("h3", {}, "First-layer filters"), note("The weights of the first convolution, each filter scaled to its own range."), sheet(part.filters, "The first convolution's filters side by side"));
  if (part.patches.length) {
    made.append(element("h3", {}, "Strongest activations"), note("One row per filter: the image patches that activate it most, strongest first."));
    made.append(element("div", { class: "columns" }, part.patches.map(([title, jpeg]) => element("div", {}, element("h4", {}, title), sheet(jpeg, `${title}: the image patches that activate six filters most`)))));
  }
  if (part.stages.length) {
    const photo = images[part.photo];
    made.append(element("h3", {}, "Feature maps"), note("The eight channels of each stage that vary most in this photo; bright is a strong activation."), element("div", { class: "gallery" }, card(part.photo)));
    made.append(element("div", { class: "columns" }, part.stages.map(([title, jpeg]) => element("div", {}, element("h4", {}, title), sheet(jpeg, `${title} for ${photo.id}`)))));
  }
}

function about() {
  const rows = (list) => table("Model and run", [{ name: "What", value: (row) => row[0] }, { name: "Value", value: (row) => row[1] }], list, { words: true });
  const made = section("about", "About", rows(data.facts));
  if (data.settings.length) made.append(element("details", {}, element("summary", {}, "Every setting"), rows(data.settings)));
  made.append(note("All tables of this page are in the folder results beside it, as CSV and JSON."));
}

top();
confusion();
pictures();
perClass();
thresholds();
calibration();
unknown();
training();
labels();
dataSection();
inside();
about();
