// The report of a run or an evaluation.

const { classes, images } = data;
const names = (list) => (list.length ? list.map((place) => classes[place]).join(", ") : "nothing");
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

/** An image with what it is, what it is said to be, and how surely. */
function card(number, more = null, [agrees, differs, is] = ["✓ right", "✗ wrong", "is"]) {
  const image = images[number];
  const right = same(image.truth, image.said);
  const [best] = image.top;
  const said = data.several ? names(image.said) : `${classes[best[0]]} with ${fixed(best[1], 3)}`;
  const alternative = `${image.id}: labelled ${names(image.truth)}, said to be ${said}`;
  const picture = image.jpeg ? element("img", { src: image.jpeg, alt: alternative, decoding: "async" }) : element("span", {}, "cannot be read");
  return element("figure", {},
    element("div", { class: "photo" }, picture, heat(image)),
    element("figcaption", {},
      element("span", { class: right ? "good" : "bad" }, right ? agrees : differs),
      ` · ${is} ${names(image.truth)}`,
      element("ol", { class: "odds" }, image.top.map(([place, odds]) => element("li", { style: { "--share": `${(odds * 100).toFixed(1)}%` } }, element("span", { title: classes[place] }, classes[place]), element("span", {}, fixed(odds, 3))))),
      element("span", { class: "name" }, image.id),
      more));
}

const gallery = (numbers, empty = "None.") => numbers.length ? element("ul", { class: "gallery" }, numbers.map((number) => element("li", {}, card(number)))) : note(empty);

/** A switch for all heat maps of the page. */
function heatSwitch() {
  if (!images.some((image) => image.heat)) return null;
  const box = element("input", { type: "checkbox", class: "heat-switch", onchange: () => {
    document.body.classList.toggle("heat", box.checked);
    for (const other of document.querySelectorAll(".heat-switch")) other.checked = box.checked;
  } });
  box.checked = document.body.classList.contains("heat");
  return element("label", {}, box, " Show where the network looks (Grad-CAM of what it says; on the images that have one)");
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
  for (const notice of data.notices) document.getElementById("top").append(element("p", { class: "notice" }, notice));
}

// ---------------------------------------------------------------------------------------------------- sections

function confusion() {
  const part = data.confusion;
  if (!part) return;
  const cells = new Map(part.cells.map((cell) => [`${cell.truth},${cell.said}`, cell]));
  const totals = classes.map((_, truth) => part.cells.filter((cell) => cell.truth === truth).reduce((sum, cell) => sum + cell.count, 0));
  const shown = element("div", { id: "cell-images" });
  let pressed = null;
  const open = (truth, said, button = null) => {
    pressed?.setAttribute("aria-pressed", "false");
    pressed = button;
    pressed?.setAttribute("aria-pressed", "true");
    const cell = cells.get(`${truth},${said}`);
    const title = truth === said ? `${classes[truth]}, recognised` : `${classes[truth]}, said to be ${classes[said]}`;
    const heading = element("h3", { tabindex: -1 }, `${title}: ${counted(cell?.count ?? 0, "image")}`);
    const { images: numbers, more } = cell ?? { images: [], more: [] };
    const left = cell && numbers.length < cell.count ? note(numbers.length ? `Shown: ${count(numbers.length)}, the highest loss first; all are in predictions.csv.` : "The page has no room for their pictures; all are in predictions.csv.") : "";
    const others = more.length ? element("details", { open: !numbers.length }, element("summary", {}, numbers.length ? `${count(more.length)} more by name` : `${count(more.length)} by name`), element("ul", { class: "names" }, more.map((id) => element("li", {}, id)))) : "";
    shown.replaceChildren(heading, left, numbers.length ? gallery(numbers) : cell ? "" : note("No image."), others);
    heading.focus();
  };
  const label = (truth, said, number) => `${counted(number, "image")} of ${classes[truth]} ${truth === said ? "recognised" : `said to be ${classes[said]}`}`;
  const made = section("confusion", "Confusion", note(classes.length <= 40 ? "Rows are what images are, columns what they are said to be. Choose a number to see its images." : "Rows are what images are, columns what they are said to be; classes that are taken for each other stand side by side. Choose a cell, or a pair below, to see its images."));
  if (classes.length <= 40) {
    const order = classes.length > 12 ? part.order : classes.map((_, place) => place);
    const heads = order.map((place) => element("th", { scope: "col", title: classes[place] }, classes[place]));
    const rows = order.map((truth) => element("tr", {}, element("th", { scope: "row" }, classes[truth]), order.map((said) => {
      const number = cells.get(`${truth},${said}`)?.count ?? 0;
      const share = totals[truth] ? number / totals[truth] : 0;
      const inside = number ? element("button", { type: "button", "aria-pressed": "false", "aria-label": label(truth, said, number), "data-cell": `${truth},${said}`, onclick: (event) => open(truth, said, event.currentTarget) }, count(number)) : element("span", { class: "quiet" }, "0");
      return element("td", { class: truth === said ? "right" : null, style: { "--share": share.toFixed(3) } }, inside);
    })));
    made.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
      element("table", { class: classes.length > 8 ? "matrix many" : "matrix" }, element("thead", {}, element("tr", {}, element("td", {}), heads)), element("tbody", {}, rows))));
  } else {
    const place = new Map(part.order.map((name, at) => [name, at]));
    const svg = element("svg", { class: "chart", viewBox: `0 0 ${classes.length} ${classes.length}`, role: "img", "aria-label": `Confusion matrix of ${classes.length} classes; the pairs are listed below`, style: { "max-width": "46rem", border: "1px solid var(--line)" } });
    for (const { truth, said, count: number } of part.cells) {
      const share = number / totals[truth];
      svg.append(element("rect", { class: truth === said ? "cell" : "cell wrong", x: place.get(said), y: place.get(truth), width: 1, height: 1, "fill-opacity": (0.2 + 0.8 * share).toFixed(2), onclick: () => open(truth, said) }, element("title", {}, label(truth, said, number))));
    }
    made.append(svg);
    let [truth, said] = [part.order[0], part.order[0]];
    const options = classes.map((name, at) => [at, name]);
    made.append(element("div", { class: "row" }, choice("Is", options, (value) => { truth = value; }), choice("said to be", options, (value) => { said = value; }), element("button", { class: "plain", type: "button", onclick: () => open(truth, said) }, "Show the images")));
  }
  made.append(shown);
  if (part.confused.length) {
    const index = (name) => classes.indexOf(name);
    made.append(element("h3", {}, "Most confused"), table(part.confused.length < part.confused_in_all ? `The first ${part.confused.length} of ${count(part.confused_in_all)} pairs` : "Pairs of classes by how often one is taken for the other", [
      { name: "Is", value: (row) => row.truth },
      { name: "Said to be", value: (row) => row.predicted },
      { name: "Images", value: (row) => count(row.count), sort: (row) => row.count },
      { name: "Share of the class", value: (row) => fixed(row.count / row.of, 3), sort: (row) => row.count / row.of },
      { name: "", value: (row) => element("button", { class: "plain", type: "button", "aria-label": `Show ${label(index(row.truth), index(row.predicted), row.count)}`, onclick: () => open(index(row.truth), index(row.predicted)) }, "Show") },
    ], part.confused, { tall: part.confused.length > 12 }));
  }
}

function pictures() {
  if (!data.losses.length) return;
  const shown = element("div");
  const show = (place) => {
    const part = data.galleries[place];
    const name = classes[part.class];
    shown.replaceChildren(
      element("h3", {}, `Most incorrect: ${name}, not recognised`), gallery(part.incorrect, data.table[part.class].support ? "Every one is recognised." : "No image has this class."),
      element("h3", {}, `Most uncertain: ${name}`), gallery(part.uncertain),
      element("h3", {}, `Most correct: ${name}`), gallery(part.correct));
  };
  const made = section("pictures", "Images", element("div", { class: "row" }, heatSwitch()),
    element("h3", {}, "Top losses"), note("The images that the model is most wrong about: some are hard, some are labelled wrongly."), gallery(data.losses));
  made.append(element("h3", {}, "Class by class"), element("div", { class: "row" }, choice("Class", data.galleries.map((part, place) => [place, classes[part.class]]), show)), shown);
  show(0);
}

function perClass() {
  if (!data.table.length) return;
  const rows = data.table.map((row, place) => ({ ...row, name: classes[place] }));
  const share = (part) => (part ? element("span", { title: `95 % interval ${fixed(part[1])} … ${fixed(part[2])}` }, fixed(part[0])) : "–");
  const interval = (part) => (part ? `${fixed(part[1], 3)} … ${fixed(part[2], 3)}` : "–");
  section("classes", "Classes", table("Precision, recall and F1 of every class, with 95 % intervals; choose a heading to sort", [
    { name: "Class", value: (row) => row.name, sort: (row) => row.name },
    { name: "Images", value: (row) => count(row.support), sort: (row) => row.support },
    { name: "Said", value: (row) => count(row.predicted), sort: (row) => row.predicted },
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
    const curve = data.curves[place];
    const line = (name, field) => ({ name, points: curve.points.map((point) => [point.threshold, point[field]]) });
    const at = (threshold) => curve.points.find((point) => point.threshold === threshold);
    shown.replaceChildren(
      chart(`Precision, recall, F1 and F2 by threshold: ${curve.class ?? "all labels"}`, { x: "threshold", y: "score", rangeX: [0, 1], rangeY: [0, 1], series: [line("Precision", "precision"), line("Recall", "recall"), line("F1", "f1"), line("F2", "f2")] }),
      note(`Highest F1 ${fixed(at(curve.best_f1).f1)} at ${fixed(curve.best_f1, 2)}; highest F2 ${fixed(at(curve.best_f2).f2)} at ${fixed(curve.best_f2, 2)}. A threshold that is chosen on these images looks better on them than it will on others.`));
  };
  section("thresholds", "Thresholds", note("An image is said to have a class from this probability on."), element("div", { class: "row" }, choice("Class", data.curves.map((curve, place) => [place, curve.class ?? "all labels"]), show)), shown);
  show(0);
}

function calibration() {
  const part = data.calibration;
  if (!part) return;
  const line = (name, reliability, kind) => ({ name, kind, points: reliability.bins.filter((bin) => bin.count).map((bin) => [bin.confidence, bin.accuracy]) });
  const series = [line("As they are", part.plain, "one")];
  if (part.calibrated) series.push(line("With the temperature", part.calibrated, "two"));
  const most = Math.max(...part.plain.bins.map((bin) => bin.count));
  const words = part.temperature === null ? "No temperature was fitted, since everything that is said is right, or wrong."
    : `A temperature of ${fixed(part.temperature, 3)}, fitted on these images, ${part.temperature > 1 ? "makes the model less sure" : "makes the model surer"} and lowers the log loss from ${fixed(part.plain.log_loss)} to ${fixed(part.calibrated.log_loss)}.`;
  const rows = [["As they are", part.plain], ...(part.calibrated ? [["With the temperature", part.calibrated]] : [])];
  section("calibration", "Calibration", note("Of what is said with a confidence of 0.9, nine in ten should be right. Points below the dashed line are said too surely; bars show how often a confidence occurs."),
    element("div", { class: "columns" },
      chart("Reliability diagram: how often what is said is right, by its confidence", { x: "confidence", y: "share that is right", rangeX: [0, 1], rangeY: [0, 1], diagonal: true, series, bars: part.plain.bins.filter((bin) => bin.count).map((bin) => ({ x: bin.low, width: bin.high - bin.low, y: bin.count / most * 0.999 })) }),
      element("div", {}, element("p", {}, words), table("How far probabilities can be trusted", [
        { name: "Probabilities", value: (row) => row[0] },
        { name: "Expected error", value: (row) => fixed(row[1].expected_error) },
        { name: "Log loss", value: (row) => fixed(row[1].log_loss) },
        { name: "Brier score", value: (row) => fixed(row[1].brier) },
      ], rows))));
}

// ---------------------------------------------------------------------------------------------------- training

function training() {
  if (!data.history || !data.history.rows.length) return;
  const { columns, rows } = data.history;
  const at = (name) => columns.indexOf(name);
  const number = (row, name) => (at(name) < 0 || row[at(name)] === "" || row[at(name)] === undefined ? null : Number(row[at(name)]));
  const line = (name, column, kind) => ({ name, kind, points: rows.map((row, place) => [place + 1, number(row, column)]) });
  const has = (name) => rows.some((row) => number(row, name) !== null);
  const made = section("training", "Training");
  const charts = element("div", { class: "columns" });
  charts.append(element("div", {}, element("h3", {}, "Loss"), chart("Training and validation loss by epoch", { x: "epoch", y: "loss", series: [line("Training", "train_loss", "one"), ...(has("valid_loss") ? [line("Validation", "valid_loss", "two")] : [])] })));
  const known = ["stage", "epoch", "train_loss", "valid_loss", "seconds"];
  const metrics = columns.filter((name) => !known.includes(name) && !name.startsWith("learning_rate") && has(name) && rows.every((row) => number(row, name) === null || (number(row, name) >= 0 && number(row, name) <= 1)));
  if (metrics.length) charts.append(element("div", {}, element("h3", {}, "Metrics"), chart("Metrics on the validation images by epoch", { x: "epoch", y: metrics.length === 1 ? metrics[0].replaceAll("_", " ") : "value", series: metrics.slice(0, 4).map((name) => line(name.replaceAll("_", " "), name)) })));
  if (data.rates.length) charts.append(element("div", {}, element("h3", {}, "Learning rates"), chart("Learning rates by epoch, step by step", { x: "epoch", y: data.rates.length === 1 ? `learning rate of ${data.rates[0].name}` : "learning rate", series: data.rates })));
  for (const search of data.searches) {
    const { rates, losses, smoothed } = search.curve;
    // What comes after divergence would press all else flat.
    const [lowest, first] = [Math.min(...smoothed), smoothed[0]];
    const range = [lowest - 0.1 * Math.max(first - lowest, 0.1 * first), Math.max(2 * first - lowest, 1.2 * first)];
    const points = (values) => values.map((value, step) => [rates[step], value >= range[0] && value <= range[1] ? value : null]);
    const chosen = search.rates[search.rates.length - 1];
    const rate = (value) => value.toExponential(1);
    const { falls, rises } = search.finding || {};
    const said = falls
      ? `Suggested: valley ${rate(falls.valley)}, slide ${rate(falls.slide)}, minimum / 10 ${rate(falls.minimum)}, steep ${rate(falls.steep)}`
      : rises ? `The loss does not clearly fall any more, and rises from ${rate(rises)} on` : search.doubt;
    const words = `${said}. Gone on with ${rate(chosen)} for the head.`;
    charts.append(element("div", {}, element("h3", {}, `Learning-rate finder before stage ${search.stage}`), chart(`Loss by learning rate before stage ${search.stage}`, { x: "learning rate of the head", y: "loss", logX: true, rangeY: range, marks: chosen >= rates[0] && chosen <= rates[rates.length - 1] ? [{ x: chosen, name: "chosen" }] : [], series: [{ name: "Smoothed", points: points(smoothed), kind: "one" }, { name: "Each batch", points: points(losses), kind: "one faint" }] }), note(words)));
  }
  made.append(charts);
  for (const stage of data.stages) {
    const own = rows.filter((row) => number(row, "stage") === stage.number);
    if (!own.length) continue;
    const frozen = columns.filter((name) => name.startsWith("learning_rate")).slice(0, stage.frozen);
    const groups = columns.filter((name) => name.startsWith("learning_rate") && !frozen.includes(name));
    const same = groups.every((name) => own.every((row) => row[at(name)] === row[at(groups[0])]));
    const shownColumns = columns.filter((name) => name !== "stage" && own.some((row) => row[at(name)] !== "") && !frozen.includes(name) && !(same && groups.slice(0, -1).includes(name)));
    made.append(element("h3", {}, `Stage ${stage.number}: ${stage.title}`), table(`${counted(own.length, "epoch")}, ${seconds(stage.seconds)}`, shownColumns.map((name) => ({
      name: same && groups.includes(name) ? "learning rate" : name.replaceAll("_", " "),
      value: (row) => name === "epoch" ? row[at(name)] : name.startsWith("learning_rate") ? Number(row[at(name)]).toExponential(1) : name === "seconds" ? fixed(row[at(name)], 1) : row[at(name)] === "" ? "–" : fixed(row[at(name)]),
    })), own, { tall: own.length > 14 }));
  }
  if (data.times.length) {
    const longest = Math.max(...data.times.map((time) => time[1]), 1e-9);
    made.append(element("h3", {}, "Where time went"), element("div", { class: "bars" }, data.times.flatMap(([name, value]) => [element("span", { class: "name" }, name), element("span", { class: "bar", style: { width: `${(value / longest * 100).toFixed(1)}%` } }), element("span", {}, seconds(value))])));
  }
}

function dataSection() {
  const part = data.data;
  const all = part.counts.map((row) => ({ ...row, sum: row.train + row.valid }));
  const sum = (field) => all.reduce((total, row) => total + row[field], 0);
  const made = section("data", "Data", element("p", {}, `${part.train ? `${counted(part.train, "image")} to train on, ` : ""}${counted(part.valid, "image")} to measure on (${part.origin})${data.several ? "; in the table an image counts for each of its labels" : ""}.`));
  made.append(table("Images of each class", [
    { name: "Class", value: (row) => row.class, sort: (row) => row.class },
    { name: "Training", value: (row) => count(row.train), sort: (row) => row.train },
    { name: "Validation", value: (row) => count(row.valid), sort: (row) => row.valid },
    { name: "Share of all", value: (row) => fixed(row.sum / Math.max(1, sum("sum")), 3), sort: (row) => row.sum },
  ], all, { tall: all.length > 14 }));
  if (part.sizes.length) {
    const shorter = part.sizes.map((size) => Math.min(...size)).sort((a, b) => a - b);
    const bins = 24;
    const [low, high] = [shorter[0], Math.max(shorter[shorter.length - 1], shorter[0] + 1)];
    const counts = Array(bins).fill(0);
    for (const side of shorter) counts[Math.min(bins - 1, Math.floor(((side - low) / (high - low)) * bins))]++;
    const middle = shorter[Math.floor(shorter.length / 2)];
    const most = shorter[shorter.length - 1];
    if (low === most) {
      made.append(element("h3", {}, "Sizes"), note(`The shorter side of all of ${counted(shorter.length, "image")} has ${counted(low, "pixel")}.`));
    } else {
      made.append(element("h3", {}, "Sizes"), note(`The shorter side of ${counted(shorter.length, "image")}: ${low} to ${most} pixels, half of them ${middle} or more.`),
        element("div", { class: "narrow" }, chart("How many images have a shorter side of so many pixels", { x: "pixels of the shorter side", y: "images", rangeX: [low, high], rangeY: [0, Math.max(...counts)], bars: counts.map((value, bin) => ({ x: low + ((high - low) * bin) / bins, width: (high - low) / bins, y: value })) })));
    }
  }
  if (part.skipped_in_all) {
    made.append(element("details", {}, element("summary", {}, `${counted(part.skipped_in_all, "file")} left out`), table(part.skipped.length < part.skipped_in_all ? `The first ${part.skipped.length}; all are in skipped.csv` : "Files that were left out, and why", [{ name: "File", value: (row) => row[0] }, { name: "Why", value: (row) => row[1] }], part.skipped, { words: true, tall: true })));
  }
}

// ---------------------------------------------------------------------------------------------------- labels

const STORE = `ocelli decisions ${data.title} ${location.pathname}`;
const decisions = new Map();
try { for (const [id, decision] of JSON.parse(localStorage.getItem(STORE) ?? "[]")) decisions.set(id, decision); } catch { /* nothing is remembered */ }
const separator = "|";
const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** The table that `ocelli train --decisions` reads. */
const decisionsTable = () => ["id,decision,label", ...[...decisions].map(([id, { what, label }]) => [id, what, what === "relabel" ? label : ""].map(cell).join(","))].join("\n") + "\n";

let controls = 0;
/** Keep, relabel or drop, for one image. */
function decide(number, suggested, changed) {
  const { id, truth } = images[number];
  const name = `decision-${controls++}`;
  const options = [...new Set([suggested, ...classes.map((_, place) => [place])].map((list) => list.map((place) => classes[place]).join(separator)))].filter((label) => label !== names(truth));
  const option = (label) => element("option", { value: label }, label.replaceAll(separator, ", ") || "nothing");
  // Of many classes in many selects, most are never looked at.
  let left = options.slice(1);
  const fill = () => { select.append(...left.map(option)); left = []; };
  const select = element("select", { "aria-label": `New label of ${id}`, onchange: () => set("relabel"), onfocus: () => fill(), onpointerdown: () => fill() }, options.slice(0, 1).map(option));
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
  const made = section("labels", "Labels in doubt");
  const control = (number, suggested) => (part.trainable ? decide(number, suggested) : null);
  const doubted = (number, more) => card(number, more, ["✓ agrees", "✗ differs", "labelled"]);
  made.append(element("p", {}, part.trainable
    ? `${count(part.looked_at)} training images were predicted by five heads, each trained on the images of the other parts. By confident learning ${count(part.likely)} labels are likely wrong; for ${count(part.suspects_in_all)} another class is more probable than the label.`
    : `By confident learning ${count(part.likely)} of ${count(part.looked_at)} labels are likely wrong; for ${count(part.suspects_in_all)} another class is more probable than the label.`));
  if (part.trainable) {
    const status = element("span", { role: "status" });
    const refresh = () => { status.textContent = decisions.size ? `${counted(decisions.size, "decision")} made` : "No decision made yet"; };
    document.addEventListener("decided", refresh);
    refresh();
    made.append(note("Decide here, download the decisions, and train again with them; held-out images stay as they are."), element("div", { class: "row" },
      element("button", { class: "plain main", type: "button", id: "download", onclick: () => {
        const link = element("a", { href: URL.createObjectURL(new Blob([decisionsTable()], { type: "text/csv" })), download: "decisions.csv" });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      } }, "Download decisions.csv"), status, element("code", {}, "ocelli train … --decisions decisions.csv")));
  }
  if (part.suspects.length) {
    made.append(element("h3", {}, "Suspects"), part.suspects.length < part.suspects_in_all ? note(`The first ${part.suspects.length}; all are in results/label_errors.csv.`) : "",
      element("ul", { class: "gallery wide" }, part.suspects.map((suspect) => element("li", {}, doubted(suspect.image, [
        element("div", {}, suspect.likely ? element("strong", {}, "likely wrong") : "in doubt", `, seems to be ${names(suspect.suggested)}`),
        control(suspect.image, suspect.suggested)])))));
  }
  if (part.duplicates.length) {
    made.append(element("h3", {}, "Duplicates"), part.duplicates.length < part.duplicates_in_all ? note(`The first ${part.duplicates.length} of ${count(part.duplicates_in_all)} pairs, those of different labels first; all are in results/duplicates.csv.`) : note("Images that are the same, or nearly the same to the network."),
      element("ul", { class: "gallery pairs" }, part.duplicates.map(([first, second, likeness, identical, equal]) => element("li", { class: "pair" },
        element("p", {}, identical ? "byte for byte the same" : `likeness ${fixed(likeness, 3)}`, equal ? "" : element("strong", { class: "bad" }, ", with different labels")),
        doubted(first, control(first, images[second].truth)), doubted(second, control(second, images[first].truth))))));
  }
  if (part.outliers.length) {
    made.append(element("h3", {}, "Like no others"), note("The images that are farthest from their nearest neighbours in the backbone's features."),
      element("ul", { class: "gallery wide" }, part.outliers.map(([number, distance]) => element("li", {}, doubted(number, [element("div", {}, `distance ${fixed(distance, 3)}`), control(number, images[number].said)])))));
  }
}

// ---------------------------------------------------------------------------------------------------- the inside

function inside() {
  const part = data.inside;
  if (!part.filters && !part.stages.length) return;
  const sheet = (jpeg, alternative) => element("img", { class: "sheet", src: jpeg, alt: alternative, decoding: "async" });
  const made = section("inside", "Inside the network");
  if (part.filters) made.append(element("h3", {}, "First-layer filters"), note("What the first convolution looks for, each filter on a scale of its own."), sheet(part.filters, "The first convolution's filters side by side"));
  if (part.patches.length) {
    made.append(element("h3", {}, "What filters respond to most"), note("A row a filter: the parts of the images above that it responds to most, the strongest first."));
    made.append(element("div", { class: "columns" }, part.patches.map(([title, jpeg]) => element("div", {}, element("h4", {}, title), sheet(jpeg, `${title}: the image parts that six filters respond to most`)))));
  }
  if (part.stages.length) {
    const photo = images[part.photo];
    made.append(element("h3", {}, "What each stage makes of a photo"), note("The eight maps of each stage that vary most in this photo; bright is a strong response."), element("div", { class: "gallery" }, card(part.photo)));
    made.append(element("div", { class: "columns" }, part.stages.map(([title, jpeg]) => element("div", {}, element("h4", {}, title), sheet(jpeg, `${title} for ${photo.id}`)))));
  }
}

function about() {
  const rows = (list) => table("How it was made", [{ name: "What", value: (row) => row[0] }, { name: "Value", value: (row) => row[1] }], list, { words: true });
  const made = section("about", "About", rows(data.facts));
  if (data.settings.length) made.append(element("details", {}, element("summary", {}, "Every setting"), rows(data.settings)));
  made.append(note("Every table of this page is also in the folder results beside it, as CSV and JSON."));
}

top();
confusion();
pictures();
perClass();
thresholds();
calibration();
training();
labels();
dataSection();
inside();
about();
