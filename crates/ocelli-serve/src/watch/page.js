// Runs, live: the list of all, and the page of one. What is shown follows from the runs' events alone, so that it is the
// same whenever the page is opened.

const byId = (id) => document.getElementById(id);
const STATES = { running: "running", stopping: "stopping after this batch", stopped: "stopped", interrupted: "interrupted", finished: "finished", starting: "starting again" };
const GROUPS = ["early layers", "late layers", "head"];
/** Runs that are drawn together: as many as there are colours. */
const MOST = KINDS.length;

/* The token stands behind #, which browsers send to no server. It is kept in this page alone. */
let token = "";
const address = () => new URLSearchParams(location.hash.slice(1));
function takeToken() {
  const given = address();
  if (!given.get("token")) return;
  token = given.get("token");
  given.delete("token");
  history.replaceState(null, "", `${location.pathname}${given.size ? `#${given}` : ""}`);
}
takeToken();

const headers = (more = {}) => (token ? { ...more, Authorization: `Bearer ${token}` } : more);
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server does not answer."), { isAway: true });
  }
  if (answer.ok) return answer;
  let words = null;
  try { words = (await answer.json()).error; } catch { /* it has none */ }
  throw Object.assign(new Error(words ? `${words[0].toUpperCase()}${words.slice(1)}.` : `The server answers ${answer.status}.`), { status: answer.status });
}
const runPath = (id) => `/api/runs/${encodeURIComponent(id)}`;
const later = (milliseconds) => new Promise((resume) => setTimeout(resume, milliseconds));

/* Said aloud by screen readers, so only what changes what one would do. */
function say(text) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
}
function refused(error) {
  say(error.message);
  if (error.status !== 401) return;
  byId("ask").hidden = false;
  byId("token").focus();
}
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("ask").hidden = true;
  say("");
  show();
});

/** Numbers at round distances between two others. */
function ticks(low, high, most = 6) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / most));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => span / size <= most);
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9)));
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push([at * step, (at * step).toFixed(digits)]);
  return found;
}
/** Powers of ten between two logarithms. */
function powers(low, high) {
  const found = [];
  for (let at = Math.ceil(low); at <= Math.floor(high); at++) found.push([at, `1e${at}`]);
  return found.length > 1 ? found : ticks(low, high, 4).map(([at]) => [at, (10 ** at).toExponential(1)]);
}
const finite = (value) => typeof value === "number" && Number.isFinite(value);

/** A layout for `chart`, of lines { label, points: [[x, y, words]] }; a point without y breaks its line. */
function layout({ x, y, lines, verticals = [], marks = [], logs = [], whole = false, least = null }) {
  const log = (axis, value) => (logs.includes(axis) ? (value > 0 ? Math.log10(value) : null) : value);
  const placed = lines.map((line) => ({ ...line, points: line.points.map(([a, b, words]) => [log("x", a), finite(b) ? log("y", b) : null, words]) }));
  const all = placed.flatMap((line) => line.points).filter(([, b]) => finite(b));
  const range = (place, axis) => {
    const values = all.map((point) => point[place]);
    if (axis === "y" && least !== null) values.push(least);
    let [low, high] = values.length ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [0, 1];
    if (low === high) [low, high] = axis === "x" ? [low - 1, high + 1] : [low - Math.abs(low || 1) * 0.1, high + Math.abs(high || 1) * 0.1];
    return axis === "x" ? [low, high] : [low - (high - low) * 0.06, high + (high - low) * 0.06];
  };
  const [[left, right], [bottom, top]] = [range(0, "x"), range(1, "y")];
  const share = (value, low, high) => (value - low) / (high - low);
  const at = ([a, b]) => [share(a, left, right), share(b, bottom, top)];
  const parts = (points) => {
    const found = [[]];
    for (const point of points) if (finite(point[1])) found.at(-1).push(at(point)); else found.push([]);
    return found.filter((part) => part.length);
  };
  const axis = (name, low, high, label, most) => ({
    label,
    ticks: (logs.includes(name) ? powers(low, high) : ticks(low, high, most).filter(([tick]) => !(whole && name === "x") || Number.isInteger(tick)))
      .map(([tick, words]) => [share(tick, low, high), whole && name === "x" ? String(Math.round(tick)) : words]),
  });
  return {
    x: axis("x", left, right, x, 10),
    y: axis("y", bottom, top, y, 6),
    bars: [],
    verticals: verticals.map(([name, value]) => [name, share(value, left, right)]).filter(([, where]) => where >= 0 && where <= 1),
    lines: placed.map((line) => ({ label: line.label, faint: line.faint, parts: parts(line.points), dots: line.points.length > 80 ? [] : line.points.filter(([, b, words]) => finite(b) && words).map((point) => [at(point), point[2]]) })),
    marks: marks.map(({ label, point }) => ({ label, at: at([log("x", point[0]), log("y", point[1])]) })),
  };
}
const figure = (title, ...children) => element("div", {}, element("h3", {}, title), children);
const panel = (id, title, ...children) => element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), children);
const figures = (list) => element("dl", { class: "figures" }, list.filter((one) => one).map(([name, value, detail]) =>
  element("div", {}, element("dt", {}, name), element("dd", { class: "value" }, value), detail ? element("dd", { class: "detail" }, detail) : null)));
const percent = (value) => `${(100 * value).toFixed(value < 0.0995 ? 1 : 0)} %`;

/* ---- What events tell about a run ---- */

const emptyRun = () => ({ events: 0, data: null, epochs: [], times: new Map(), examples: new Map(), searches: [], fits: new Map(), phase: null, notices: [], diagnoses: [], finished: null, doing: "reading photos" });
const key = (event) => `${event.fit}/${event.epoch}`;

function take(run, event) {
  run.events++;
  const repeated = (epoch) => epoch.fit < event.fit || (epoch.fit === event.fit && epoch.epoch < event.epoch);
  switch (event.event) {
    case "data": run.data = event; run.doing = "reading photos"; break;
    case "notice": run.notices.push(event.text); break;
    case "skipped": run.notices.push(`skipped ${event.path}: ${event.reason}`); break;
    case "phase-started": run.phase = event; run.doing = event.phase === "tta" ? "predicting several views of each photo" : "preparing"; break;
    case "features": run.doing = "preparing"; break;
    case "decision": run.decision = { ...event, number: run.phase?.number }; break;
    case "lr-found": run.searches = [...run.searches.filter((one) => one.fit !== event.fit), event]; break;
    case "fit-started": run.fits.set(event.number, event); run.fit = event.number; run.doing = "training"; break;
    case "resumed": run.fit = event.fit; run.doing = "training"; break;
    // A resumed run repeats what it had not saved.
    case "epoch": run.epochs = [...run.epochs.filter(repeated), event]; run.fit = event.fit; run.doing = "training"; break;
    case "epoch-times": run.times.set(key(event), event); break;
    case "examples": run.examples.set(key(event), event); break;
    case "diagnosis": run.diagnoses = [...run.diagnoses.filter((one) => one.fit !== event.fit), event]; run.doing = "preparing"; break;
    case "finished": run.finished = event; run.doing = "writing the model and the report"; break;
    case "stopped": run.doing = "stopped"; break;
  }
}

/** The metric that the page draws: the one that chose the best weights, if it is known and no other is usual. */
function metricOf(epochs, finished) {
  const name = finished?.metric;
  const last = epochs.at(-1);
  if (last?.metrics?.some(([metric]) => metric === name)) return [name, (epoch) => epoch.metrics.find(([metric]) => metric === name)?.[1]];
  if (!finished && last?.metrics?.length) return [last.metrics[0][0], (epoch) => epoch.metrics[0]?.[1]];
  return ["accuracy", (epoch) => epoch.accuracy];
}
const capitalised = (metric) => `${metric[0].toUpperCase()}${metric.slice(1).replaceAll("-", " ")}`;
const interval = ({ interval: [low, high] }) => `95 % CI ${fixed(low)}–${fixed(high)}`;
const bestOf = (epochs) => epochs.filter((epoch) => epoch.best).at(-1);

/* ---- The page of one run ---- */

let stopFollowing = () => {};

function showRun(id, isSingle) {
  document.title = `${id} – Training runs`;
  byId("crumbs").hidden = isSingle;
  byId("title").textContent = brief(id);
  byId("about").textContent = "";
  say("");
  const content = byId("content");
  const parts = Object.fromEntries(["now", "curves", "photos", "time", "finder", "rest"].map((name) => [name, element("div")]));
  content.replaceChildren(...Object.values(parts));
  const ending = new AbortController();
  const view = { id, run: emptyRun(), state: null, last: 0, heard: performance.now(), isAway: false, pictures: new Map(), busy: false };
  let asked = null;
  const draw = () => { asked = null; if (!ending.signal.aborted) drawRun(view, parts); };
  const drawSoon = () => { asked ??= requestAnimationFrame(draw); };
  view.drawSoon = drawSoon;
  const clock = setInterval(() => { if (["running", "stopping"].includes(view.state?.state)) drawNow(view, parts.now); }, 1000);
  stopFollowing = () => {
    ending.abort();
    clearInterval(clock);
    for (const url of view.pictures.values()) if (typeof url === "string") URL.revokeObjectURL(url);
  };
  follow(view, ending.signal, drawSoon);
}

/** Follows a run's events, again and again where the connection ends. */
async function follow(view, signal, drawSoon) {
  let tries = 0;
  while (!signal.aborted) {
    try {
      const answer = await ask(`${runPath(view.id)}/events`, { signal, headers: view.last ? { "Last-Event-ID": String(view.last) } : {} });
      view.isAway = false;
      if (tries) say("");
      tries = 0;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let waiting = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const whole = `${waiting}${value}`.split("\n\n");
        waiting = whole.pop();
        for (const message of whole) receive(view, message);
        drawSoon();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 404) return refused(error);
    }
    if (signal.aborted) return;
    tries++;
    view.isAway = tries > 1;
    if (tries === 2) say(view.state?.state === "finished" ? `The server of this page has ended with the run. To see it again: ocelli watch ${view.state.path}` : "The server does not answer; it is asked again and again.");
    drawSoon();
    await later(Math.min(5000, 250 * 2 ** tries));
  }
}

function receive(view, message) {
  let [id, kindOf, text] = [null, "message", ""];
  for (const line of message.split("\n")) {
    if (line.startsWith("id: ")) id = Number(line.slice(4));
    else if (line.startsWith("event: ")) kindOf = line.slice(7);
    else if (line.startsWith("data: ")) text = line.slice(6);
  }
  if (!text) return;
  if (kindOf === "restart") { view.run = emptyRun(); view.last = 0; return; }
  const value = JSON.parse(text);
  if (kindOf === "state") {
    const before = view.state?.state;
    view.state = value;
    view.heard = performance.now() - 1000 * value.idle;
    if (before && before !== value.state && !value.is_learner) say(`The run is ${STATES[value.state]}.`);
    return;
  }
  view.last = id;
  view.heard = performance.now();
  take(view.run, value);
}

async function command(view, what) {
  view.busy = true;
  view.pressed = what;
  view.drawSoon();
  // Before the answer, which may come after the run has stopped.
  say(what !== "stop" ? "The run is started again." : view.state.is_learner ? "The call is asked to stop after this batch; resume() continues it." : "The run is asked to stop; it writes a checkpoint after this batch.");
  try {
    await ask(`${runPath(view.id)}/${what}`, { method: "POST" });
  } catch (error) {
    refused(error);
  }
  view.busy = false;
  view.drawSoon();
}

/* A link cannot send the token: then the page is fetched, and opened from memory. */
async function openReport(view) {
  try {
    const page = await (await ask(`/runs/${encodeURIComponent(view.id)}/report`)).blob();
    window.open(URL.createObjectURL(page), "_blank", "noopener");
  } catch (error) {
    refused(error);
  }
}

/** Seconds until the end of this phase; null where nothing is known yet. */
function timeLeft(view) {
  const fit = view.run.fits.get(view.run.fit);
  if (!fit) return null;
  const done = view.run.epochs.filter((epoch) => epoch.fit === fit.number);
  if (!done.length || done.at(-1).epoch >= fit.epochs) return null;
  const recent = done.slice(-3);
  const each = recent.reduce((sum, epoch) => sum + epoch.seconds, 0) / recent.length;
  const since = Math.max(0, (performance.now() - view.heard) / 1000);
  return Math.max(0, each - since) + (fit.epochs - done.at(-1).epoch - 1) * each;
}

/** Rounded as one would say it, so that it does not flicker. */
function about(value) {
  if (value < 10) return "a few seconds";
  if (value < 90) return `about ${Math.round(value / 10) * 10} s`;
  if (value < 5400) return `about ${Math.round(value / 60)} min`;
  return `about ${(value / 3600).toFixed(1)} h`;
}

/** Whether a recipe has decided against a phase, counted from 1. */
const isLeftOut = ({ run }, phase, number) => run.decision?.goes_on === false && number > run.decision.number && phase.kind !== "tta";
const trainPhases = (view) => (view.state?.phases ?? []).filter((phase, index) => phase.kind === "train" && !isLeftOut(view, phase, index + 1));
const plannedEpochs = (view) => trainPhases(view).reduce((sum, phase) => sum + phase.epochs, 0);

/** Whether a learner has nothing to do: its calls come one by one. */
function isWaiting({ run, state }) {
  if (!state.is_learner) return false;
  const fit = run.fits.get(run.fit);
  const last = run.epochs.at(-1);
  return !fit || run.doing === "stopped" || (last?.fit === fit.number && last.epoch >= fit.epochs);
}
function stateInWords(view) {
  const { state } = view;
  if (!state.is_learner) return STATES[state.state];
  if (["stopped", "interrupted"].includes(state.state)) return "ended";
  return state.state === "running" && isWaiting(view) ? "ready" : STATES[state.state];
}

function drawNow(view, place) {
  const { run, state } = view;
  if (!state) return;
  const badge = byId("state");
  const waits = isWaiting(view);
  badge.hidden = false;
  badge.className = `badge ${state.state}`;
  badge.textContent = stateInWords(view);
  const isRunning = ["running", "stopping"].includes(state.state);
  const phases = state.phases ?? [];
  const number = run.phase?.number ?? 0;
  const phase = phases[number - 1];
  const fit = run.fits.get(run.fit);
  const last = run.epochs.at(-1);
  const [name, valueOf] = metricOf(run.epochs, run.finished);
  const best = bestOf(run.epochs);
  const times = last && run.times.get(key(last));
  const busy = times && times.wait + times.forward + times.backward + times.optimizer;
  const left = isRunning ? timeLeft(view) : null;
  const following = phases.slice(number).length;
  const list = [];
  if (isRunning && phase) list.push(["Phase", `${number} of ${phases.length}`, phase.title]);
  if (last) list.push(["Epoch", fit && last.fit === fit.number ? `${last.epoch} of ${fit.epochs}` : last.epoch, waits ? "waiting for the next call" : isRunning ? run.doing : `phase ${last.fit}`]);
  if (isRunning && !waits) list.push(["Time left", left === null ? "–" : about(left), left === null ? run.doing : following ? `in this phase; then ${counted(following, "more phase")}` : "until the end"]);
  if (best) list.push([`Best ${name}`, fixed(valueOf(best)), `phase ${best.fit}, epoch ${best.epoch}`]);
  // As the report has them.
  const corrected = run.finished?.corrected;
  if (corrected) list.push([`${capitalised(corrected.metric)}, corrected`, fixed(corrected.value), `${interval(corrected)}, for choosing the best of ${corrected.epochs} epochs by these images`]);
  for (const one of run.finished?.augmented ?? []) if (one.metric === run.finished.metric) list.push([`${capitalised(one.metric)}, test-time augmentation`, fixed(one.value), interval(one)]);
  if (last) list.push(["Validation loss", fixed(last.valid_loss), "last epoch"]);
  if (busy) list.push(["Images per second", count(Math.round(times.images / busy)), "training, last epoch"]);
  if (run.finished) list.push(["Time", seconds(run.finished.seconds), "all attempts"]);
  const planned = plannedEpochs(view);
  const [done, all] = state.is_learner && fit ? [last?.fit === fit.number ? last.epoch : 0, fit.epochs] : [run.epochs.length, planned];
  const share = state.state === "finished" ? 1 : all ? Math.min(1, done / all) : 0;
  const buttons = [];
  // Buttons stay the same elements, so that the keyboard's focus stays.
  const button = (id, words, what, isOn) => {
    const made = byId(id) ?? element("button", { type: "button", id, class: "plain main", onclick: what }, words);
    made.disabled = !isOn || view.isAway;
    buttons.push(made);
  };
  if (isRunning) button("stop", state.is_learner ? "Stop this call" : "Stop with a checkpoint", () => command(view, "stop"), state.can_stop && !view.busy && !waits);
  if (state.can_continue) button("continue", "Continue", () => command(view, "continue"), !view.busy);
  if (state.report && token) button("report", "Open the report", () => openReport(view), true);
  else if (state.report) buttons.push(byId("report") ?? element("a", { id: "report", class: "button", href: `/runs/${encodeURIComponent(view.id)}/report`, target: "_blank", rel: "noopener" }, "Open the report"));
  const bar = element("div", { class: "track", role: "progressbar", "aria-label": "Epochs done", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share) }, element("div", { style: { width: `${100 * share}%` } }));
  const head = element("div", { class: "now" }, figures(list));
  const hint = !state.can_continue && !state.is_learner && ["stopped", "interrupted"].includes(state.state) ? element("p", { class: "quiet" }, "To continue: ", element("code", {}, `ocelli train --resume ${state.path}`)) : null;
  const controls = place.querySelector(".controls") ?? element("div", { class: "row controls" });
  const wanted = buttons.map((one) => one.id).join();
  if ([...controls.children].map((one) => one.id).join() !== wanted) controls.replaceChildren(...buttons);
  if (!controls.isConnected) place.replaceChildren(controls);
  for (const child of [...place.children]) if (child !== controls) child.remove();
  controls.before(bar, head);
  if (hint) controls.after(hint);
  // The button that takes the place of the one that was pressed takes its focus.
  const next = buttons.find((one) => ["stop", "continue"].includes(one.id) && !one.disabled && one.id !== view.pressed);
  if (view.pressed && next) {
    if (document.activeElement === document.body) next.focus();
    view.pressed = null;
  }
}

function drawRun(view, parts) {
  const { run, state } = view;
  drawNow(view, parts.now);
  const settings = state?.settings;
  const about = [run.data && `${count(run.data.train)} training and ${count(run.data.valid)} validation photos in ${counted(run.data.classes.length, "class")}`, settings && `${settings.arch}, ${settings.size} pixels`];
  byId("about").textContent = about.filter((one) => one).join(" · ");
  byId("foot").textContent = state ? `${state.path} · Ocelli ${state.version ?? ""}` : "";
  drawCurves(run, parts.curves);
  drawPhotos(view, parts.photos);
  drawTime(run, parts.time);
  drawFinder(run, parts.finder);
  drawRest(view, parts.rest);
}

/** Where phases begin, among epochs counted through. */
function starts(epochs) {
  return epochs.map((epoch, place) => [epoch, place]).filter(([epoch, place]) => place > 0 && epochs[place - 1].fit !== epoch.fit).map(([epoch, place]) => [`phase ${epoch.fit}`, place + 0.5]);
}
const points = (epochs, valueOf) => epochs.map((epoch, place) => {
  const value = valueOf(epoch);
  return [place + 1, value, finite(value) ? `phase ${epoch.fit}, epoch ${epoch.epoch}: ${fixed(value)}` : null];
});

function drawCurves(run, place) {
  const { epochs } = run;
  if (!epochs.length) return place.replaceChildren(panel("curves", "Curves", note("The curves begin with the first epoch.")));
  const verticals = starts(epochs);
  const [name, valueOf] = metricOf(epochs, run.finished);
  const best = epochs.indexOf(bestOf(epochs));
  const x = "epoch";
  const charts = [
    figure("Losses", chart(`Losses by epoch; the last: training ${fixed(epochs.at(-1).train_loss)}, validation ${fixed(epochs.at(-1).valid_loss)}`, layout({
      x, y: "loss", whole: true, verticals,
      lines: [{ label: "training", points: points(epochs, (epoch) => epoch.train_loss) }, { label: "validation", points: points(epochs, (epoch) => epoch.valid_loss) }].filter((line) => line.points.some(([, y]) => finite(y))),
    }))),
  ];
  if (epochs.some((epoch) => finite(valueOf(epoch)))) {
    charts.push(figure(`Metric: ${name}`, chart(`${name} by epoch; the last: ${fixed(valueOf(epochs.at(-1)))}`, layout({
      x, y: name, whole: true, verticals, lines: [{ label: name, points: points(epochs, valueOf) }],
      marks: best >= 0 && finite(valueOf(epochs[best])) ? [{ label: "best weights", point: [best + 1, valueOf(epochs[best])] }] : [],
    }))));
  }
  const rate = (group) => epochs.map((epoch, place) => {
    const frozen = run.fits.get(epoch.fit)?.frozen ?? 0;
    // A logistic regression has none.
    const value = group < frozen ? null : epoch.learning_rates[group] || null;
    return [place + 1, value, value ? `phase ${epoch.fit}, epoch ${epoch.epoch}: ${value.toExponential(1)}` : null];
  });
  const lines = GROUPS.map((label, group) => ({ label, points: rate(group) })).filter((line) => line.points.some(([, y]) => finite(y)));
  if (lines.length) charts.push(figure("Learning rates at the end of each epoch", chart("Learning rates of layer groups by epoch", layout({ x, y: "learning rate", whole: true, verticals, logs: ["y"], lines }))));
  place.replaceChildren(panel("curves", "Curves", element("div", { class: "columns" }, charts)));
}

async function picture(view, row) {
  if (view.pictures.has(row)) return;
  view.pictures.set(row, null);
  let found;
  try {
    found = URL.createObjectURL(await (await ask(`${runPath(view.id)}/photos/${row}`)).blob());
  } catch (error) {
    found = error;
  }
  view.pictures.set(row, found);
  for (const frame of document.querySelectorAll(`[data-photo="${row}"]`)) frame.replaceChildren(shownPicture(view, row));
}
function shownPicture(view, row) {
  const found = view.pictures.get(row);
  if (typeof found === "string") return element("img", { src: found, alt: "", width: 192, height: 192 });
  return element("p", {}, found ? found.message : "…");
}

function drawPhotos(view, place) {
  const { run } = view;
  const epochs = run.epochs.map((epoch) => run.examples.get(key(epoch))).filter((one) => one);
  if (!epochs.length) return place.replaceChildren();
  const rows = epochs.at(-1).photos;
  const course = (photo) => epochs.map((one) => ({ epoch: one, example: one.photos.find((other) => other.photo === photo.photo) })).filter(({ example }) => example);
  const cards = rows.map((photo) => {
    picture(view, photo.photo);
    const all = course(photo);
    const right = all.filter(({ example }) => example.is_right).length;
    return element("li", {}, element("figure", {},
      element("div", { class: "photo", "data-photo": photo.photo }, shownPicture(view, photo.photo)),
      element("figcaption", {},
        element("strong", { class: photo.is_right ? "good" : "bad" }, `${photo.is_right ? "✓" : "✗"} ${brief(photo.class)}`), ` ${percent(photo.probability)}`,
        photo.is_right ? null : element("span", { class: "name" }, `is ${photo.labels.map(brief).join(", ") || "without a label"}`),
        element("span", { class: "name" }, `right after ${right} of ${counted(all.length, "epoch")}`),
        element("div", { class: "course", "aria-hidden": "true" }, all.map(({ epoch, example }) => element("i", { class: example.is_right ? null : "no", style: { height: `${Math.max(4, 100 * example.probability)}%` }, title: `phase ${epoch.fit}, epoch ${epoch.epoch}: ${example.class} ${percent(example.probability)}` }))),
        element("span", { class: "name" }, brief(photo.id)))));
  });
  place.replaceChildren(panel("photos", "Predictions for a few validation photos", note("The same photos after each epoch: the most probable class, and its probability. A bar for each epoch is as high as that probability, green where the class is right."), element("ul", { class: "photos" }, cards)));
}

function drawTime(run, place) {
  const fit = run.epochs.at(-1)?.fit;
  const epochs = run.epochs.filter((epoch) => epoch.fit === fit).map((epoch) => run.times.get(key(epoch))).filter((one) => one);
  if (!epochs.length) return place.replaceChildren();
  const sum = (name) => epochs.reduce((total, epoch) => total + epoch[name], 0);
  const isCached = run.fits.get(fit)?.features === "cached";
  const named = [[isCached ? "reading cached features" : "waiting for photos", "wait"], ["forward pass", "forward"], ["backward pass", "backward"], ["optimizer", "optimizer"], ["validation", "validation"]];
  const all = named.reduce((total, [, name]) => total + sum(name), 0) || 1;
  const shares = named.map(([words, name]) => [words, sum(name), sum(name) / all]);
  place.replaceChildren(panel("time", "Where the time goes",
    element("div", { class: "shares" }, shares.map(([words, spent, share]) => [element("span", {}, words), element("span", { class: "part" }, `${percent(share)}, ${brieflyIn(spent / epochs.length)}`), element("div", { class: "bar", style: { width: `${100 * share}%` } })])),
    note(`Seconds are of one epoch, on average over the ${counted(epochs.length, "epoch")} of phase ${fit} so far. ${advice(shares.map(([, , share]) => share), isCached)}`)));
}

const brieflyIn = (value) => (value < 0.095 ? `${Math.round(1000 * value)} ms` : seconds(value));

/** What one can do about it. */
function advice([wait, forward, backward, , validation], isCached) {
  if (isCached) return "The frozen layers' features are cached, so these epochs decode no photos; what took time is before the first of them.";
  if (wait > 0.3) return `Training waits for photos ${percent(wait)} of the time: they are read and decoded more slowly than the network computes. Smaller photos on a fast disk, more threads (--threads), or fewer pixels (--size) help.`;
  if (validation > 0.4) return `Validation takes ${percent(validation)} of the time: a smaller validation set (--valid) makes epochs shorter, and metrics less certain.`;
  return `The network computes ${percent(forward + backward)} of the time, and photos arrive in time. Fewer pixels (--size) or a smaller backbone (--arch) make it faster.`;
}

function drawFinder(run, place) {
  if (!run.searches.length) return place.replaceChildren();
  const charts = run.searches.map((search) => {
    const { rates, losses } = search.curve;
    const start = losses.filter(finite).slice(0, 10);
    const top = Math.max(...start) + 0.5 * (Math.max(...start) - Math.min(...losses.filter(finite)) || 1);
    const head = search.learning_rates[2];
    const nearest = rates.reduce((found, rate, place) => (Math.abs(Math.log(rate / head)) < Math.abs(Math.log(rates[found] / head)) ? place : found), 0);
    const shown = rates.map((rate, place) => [rate, losses[place] <= top ? losses[place] : null]);
    const rule = search.suggestion ? `learning rate ${head.toExponential(1)}` : `learning rate ${head.toExponential(1)}, the recipe's: ${search.reason ?? "the curve supports none"}`;
    return figure(`Before phase ${search.fit}: ${rule}`, chart(`Loss by learning rate; chosen ${head.toExponential(1)}`, layout({
      x: "learning rate of the head", y: "loss", logs: ["x"], lines: [{ label: "loss", points: shown }],
      marks: finite(shown[nearest][1]) ? [{ label: "chosen", point: shown[nearest] }] : [],
    })));
  });
  place.replaceChildren(panel("finder", "Learning rate finder", element("div", { class: "columns" }, charts)));
}

function drawRest(view, place) {
  const { run, state } = view;
  const made = [];
  const phases = state?.phases ?? [];
  const current = run.phase?.number ?? 0;
  const isOver = state?.state === "finished";
  if (phases.length) {
    const fitText = (number) => [run.fits.get(number)?.text, ...(run.diagnoses.find((one) => one.fit === number)?.text ?? "").split("\n")].filter((one) => one).join("; ");
    made.push(panel("phases", "Phases", element("ol", { class: "phases" }, phases.map((phase, index) => {
      const number = index + 1;
      const isNow = number === current && !isOver;
      const leftOut = isLeftOut(view, phase, number);
      const planned = leftOut ? "left out" : phase.kind === "end" && run.decision?.number === number ? run.decision.reason : phase.kind === "train" ? counted(phase.epochs, "epoch") : "";
      return element("li", { class: isNow ? "current" : !leftOut && (number < current || isOver) ? "done" : null, "aria-current": isNow ? "step" : null }, `${number}. ${phase.title}`, element("span", {}, (phase.kind === "train" && fitText(number)) || planned));
    }))));
  }
  if (run.epochs.length) {
    const [name] = metricOf(run.epochs, run.finished);
    const others = (run.epochs.at(-1).metrics ?? []).map(([metric]) => metric);
    const columns = [
      { name: "phase, epoch", value: (epoch) => `${epoch.fit}, ${epoch.epoch}` },
      { name: "training loss", value: (epoch) => fixed(epoch.train_loss) },
      { name: "validation loss", value: (epoch) => fixed(epoch.valid_loss) },
      { name: "accuracy", value: (epoch) => fixed(epoch.accuracy) },
      ...others.map((metric) => ({ name: metric, value: (epoch) => fixed(epoch.metrics.find(([other]) => other === metric)?.[1]) })),
      { name: "seconds", value: (epoch) => epoch.seconds.toFixed(1) },
    ];
    // A table that is being read or scrolled is left where it is, unless it has new rows.
    const rows = `${run.epochs.length} ${run.epochs.at(-1).fit}`;
    const old = place.querySelector("#epochs");
    made.push(old?.dataset.rows === rows ? old : Object.assign(panel("epochs", "Epochs", table(`The best weights so far, by ${name}, are marked`, columns, run.epochs, { tall: true, marked: (epoch) => epoch === bestOf(run.epochs) }))));
    made.at(-1).dataset.rows = rows;
  }
  const notices = [state?.unreadable, ...run.notices].filter((one) => one);
  if (notices.length) made.push(panel("notices", "Notices", notices.slice(0, 50).map((text) => element("p", { class: "notice" }, text)), notices.length > 50 ? note(`and ${count(notices.length - 50)} more, in events.jsonl`) : null));
  if (state?.settings) {
    const old = place.querySelector("#settings");
    const flat = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));
    made.push(old ?? panel("settings", "Settings", element("details", {}, element("summary", {}, "Everything that determines the result"),
      element("dl", { class: "settings" }, [["command", state.command], ...Object.entries(state.settings)].filter(([, value]) => value !== null).map(([name, value]) => [element("dt", {}, name), element("dd", {}, flat(value))])))));
  }
  const ids = (list) => list.map((one) => `${one.id} ${one.dataset.rows ?? ""}`).join();
  // Left as it is where nothing would be new but the phases and notices, which nobody focuses.
  const focus = document.activeElement;
  if (ids([...place.children]) !== ids(made) || !place.contains(focus)) place.replaceChildren(...made);
}

/* ---- The list of all runs ---- */

const list = { runs: [], filter: "", sort: "name", isDown: false, chosen: null, timer: null };

function showList(answer) {
  document.title = "Training runs";
  byId("crumbs").hidden = true;
  byId("title").textContent = "Training runs";
  byId("state").hidden = true;
  byId("foot").textContent = "";
  const filter = element("input", { type: "search", id: "filter", value: list.filter, oninput: () => { list.filter = filter.value; drawList(); } });
  byId("content").replaceChildren(
    element("section", { "aria-labelledby": "runs-title" }, element("h2", { id: "runs-title" }, "Runs"), element("div", { class: "row" }, element("label", { for: "filter" }, "Filter"), filter, element("span", { class: "quiet", id: "matches" })), element("div", { id: "runs" })),
    element("div", { id: "compared" }));
  takeList(answer);
  list.timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      takeList(await (await ask("/api/runs")).json());
      if (byId("status").textContent.startsWith("The server does not")) say("");
    } catch (error) {
      refused(error);
    }
  }, 2000);
  stopFollowing = () => { clearInterval(list.timer); };
}

let drawn = "";
function takeList({ runs }) {
  list.runs = runs;
  byId("about").textContent = runs.length ? `${counted(runs.length, "run")}, ${runs.filter((run) => ["running", "stopping"].includes(run.state)).length} running` : "There is no run in this folder yet; one appears here once it starts.";
  const now = JSON.stringify(runs.map(({ idle, ...run }) => run));
  if (drawn === now && byId("runs").children.length) return;
  drawn = now;
  drawList();
}

const bestValue = (run) => { const best = bestOf(run.epochs ?? []); return best ? metricOf(run.epochs, run.finished)[1](best) : null; };
const lowest = (run) => (run.epochs ?? []).map((epoch) => epoch.valid_loss).filter(finite).reduce((a, b) => Math.min(a, b), Infinity);
const spent = (run) => (run.epochs ?? []).reduce((sum, epoch) => sum + epoch.seconds, 0);
const COLUMNS = [
  { id: "name", name: "run", sort: (run) => run.id },
  { id: "state", name: "state", sort: (run) => run.state, left: true },
  { id: "best", name: "best metric", sort: (run) => bestValue(run) ?? -1 },
  { id: "corrected", name: "corrected, 95 % CI", sort: (run) => run.finished?.corrected?.value ?? -1 },
  { id: "epochs", name: "epochs", sort: (run) => run.epochs?.length ?? 0 },
  { id: "loss", name: "lowest validation loss", sort: (run) => lowest(run) },
  { id: "time", name: "time of epochs", sort: (run) => spent(run) },
  { id: "arch", name: "backbone", sort: (run) => run.arch ?? "", left: true },
  { id: "size", name: "pixels", sort: (run) => run.size ?? 0 },
];
const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);

function matching() {
  const words = list.filter.toLowerCase().split(/\s+/).filter((word) => word);
  const text = (run) => [run.id, run.state, run.arch, run.data, run.size].join(" ").toLowerCase();
  const by = COLUMNS.find((column) => column.id === list.sort).sort;
  const found = list.runs.filter((run) => words.every((word) => text(run).includes(word))).sort((a, b) => order(by(a), by(b)) || order(a.id, b.id));
  return list.isDown ? found.reverse() : found;
}
/** The runs that are drawn: until one chooses, the last three. */
const chosen = () => list.chosen ?? new Set(list.runs.filter((run) => run.epochs?.length).sort((a, b) => order(a.id, b.id)).slice(-3).map((run) => run.id));
const chosenRuns = () => list.runs.filter((run) => chosen().has(run.id)).slice(0, MOST);

function drawList() {
  const focused = document.activeElement?.dataset?.focus;
  const runs = matching();
  byId("matches").textContent = list.filter ? `${runs.length} of ${list.runs.length}` : "";
  const heads = COLUMNS.map((column) => element("th", { scope: "col", "aria-sort": list.sort === column.id ? (list.isDown ? "descending" : "ascending") : null, class: column.left ? "left" : null },
    element("button", { type: "button", "data-focus": `sort ${column.id}`, onclick: () => { list.isDown = list.sort === column.id ? !list.isDown : ["best", "corrected", "epochs", "time"].includes(column.id); list.sort = column.id; drawList(); } }, column.name)));
  const colours = chosenRuns().map((run) => run.id);
  const row = (run) => {
    const [name] = metricOf(run.epochs ?? [], run.finished);
    const isChosen = colours.includes(run.id);
    const box = element("input", { type: "checkbox", "aria-label": `Draw ${run.id}`, "data-focus": `box ${run.id}`, onchange: () => { list.chosen = chosen(); if (box.checked) list.chosen.add(run.id); else list.chosen.delete(run.id); drawList(); } });
    box.checked = isChosen;
    box.disabled = !isChosen && colours.length >= MOST;
    const best = bestValue(run);
    return element("tr", {},
      element("td", { class: "pick" }, box),
      element("th", { scope: "row" }, element("a", { href: `#${new URLSearchParams({ run: run.id })}`, "data-focus": `run ${run.id}` }, brief(run.id))),
      element("td", { class: "state" }, element("span", { class: `badge ${run.state}` }, STATES[run.state])),
      element("td", {}, finite(best) ? `${fixed(best)} ${name}` : "–"),
      element("td", {}, run.finished?.corrected ? `${fixed(run.finished.corrected.value)} (${fixed(run.finished.corrected.interval[0])}–${fixed(run.finished.corrected.interval[1])})` : "–"),
      element("td", {}, `${run.epochs?.length ?? 0}${run.planned ? ` of ${run.planned}` : ""}`),
      element("td", {}, finite(lowest(run)) ? fixed(lowest(run)) : "–"),
      element("td", {}, run.epochs?.length ? seconds(spent(run)) : "–"),
      element("td", { class: "left" }, brief(run.arch ?? "–")), element("td", {}, String(run.size ?? "–")));
  };
  byId("runs").replaceChildren(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of runs" },
    element("table", { class: "runs" }, element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "pick" }, "draw"), heads)), element("tbody", {}, runs.map(row)))));
  if (focused) for (const one of document.querySelectorAll("[data-focus]")) if (one.dataset.focus === focused) one.focus();
  drawCompared();
}

function drawCompared() {
  const place = byId("compared");
  if (!place) return;
  const runs = chosenRuns().filter((run) => run.epochs?.length);
  if (!runs.length) return place.replaceChildren(panel("compare", "Compared", note("Choose runs above to draw their curves together.")));
  const lines = (valueOf) => runs.map((run) => ({ label: run.id, points: points(run.epochs, valueOf(run)) }));
  const drawable = (all) => all.some((line) => line.points.some(([, y]) => finite(y)));
  const losses = lines(() => (epoch) => epoch.valid_loss);
  const names = [...new Set(runs.map((run) => metricOf(run.epochs, run.finished)[0]))];
  const metrics = lines((run) => metricOf(run.epochs, run.finished)[1]);
  const charts = [];
  if (drawable(losses)) charts.push(figure("Validation loss", chart("Validation losses of the chosen runs by epoch", layout({ x: "epoch", y: "validation loss", whole: true, lines: losses }))));
  if (drawable(metrics)) charts.push(figure(`Metric: ${names.join(", ")}`, chart("Metrics of the chosen runs by epoch", layout({ x: "epoch", y: names.length === 1 ? names[0] : "metric", whole: true, lines: metrics }))));
  if (names.length > 1) charts.push(note("These runs chose their best weights by different metrics, whose values cannot be compared."));
  const settings = [["photos", "data"], ["backbone", "arch"], ["pixels", "size"], ["epochs planned", "planned"], ["seed", "seed"]];
  const differing = settings.filter(([, field]) => new Set(runs.map((run) => String(run[field]))).size > 1);
  const differences = runs.length < 2 ? null : differing.length
    ? table("What differs among these settings: photos, backbone, pixels, epochs, seed", [{ name: "run", value: (run) => brief(run.id) }, ...differing.map(([name, field]) => ({ name, value: (run) => String(run[field] ?? "–") }))], runs, { words: true })
    : note("These runs have the same photos, backbone, pixels, number of epochs and seed. For all settings: ocelli compare");
  place.replaceChildren(panel("compare", "Compared", element("div", { class: "columns" }, charts), differences));
}

/* ---- Which page is shown ---- */

async function show() {
  takeToken();
  stopFollowing();
  stopFollowing = () => {};
  const wanted = address().get("run");
  try {
    const answer = await (await ask("/api/runs")).json();
    if (wanted !== address().get("run")) return;
    byId("ask").hidden = true;
    drawn = "";
    if (answer.is_single && answer.runs.length === 1) showRun(answer.runs[0].id, true);
    else if (answer.is_single) { say("The run has not begun yet; it is asked again and again."); await later(1000); show(); }
    else if (wanted) showRun(wanted, false);
    else { say(""); showList(answer); }
  } catch (error) {
    byId("about").textContent = "";
    refused(error);
    if (error.isAway) { await later(2000); show(); }
  }
}
window.addEventListener("hashchange", show);
show();
