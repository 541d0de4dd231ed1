// Uses the page of `ocelli clean` as people do, in headless Chromium: a run is trained on photos of which some are in the
// wrong folder, twenty labels are decided by keys alone, decisions.csv has them, a next run is trained, and the page's
// figures are those of `ocelli compare`. The same for photos with several labels each. At three widths, light and dark, without an error in the console, a request
// elsewhere or a serious finding of axe-core.
//
//   node ci/clean.mjs [--screenshots FOLDER] OCELLI SAMPLES
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WIDTHS, browser, check, end, looks, open as opened, start, words } from "./browser.mjs";

const [ocelli, samples] = words.map((word) => resolve(word));

const CLASSES = ["flags", "food-and-drink", "smileys-and-emotion"];
const DECISIONS = 20;

// Photos, of which every seventh is in the next class's folder.
const place = mkdtempSync(join(tmpdir(), "clean-"));
const truth = new Map();
CLASSES.forEach((name, index) => {
  mkdirSync(join(place, "photos", name), { recursive: true });
  readdirSync(join(samples, name)).sort().slice(0, 40).forEach((file, at) => truth.set(file, { name, given: CLASSES[at % 7 ? index : (index + 1) % 3] }));
});
for (const { given } of truth.values()) mkdirSync(join(place, "photos", given), { recursive: true });
for (const [file, { name, given }] of truth) copyFileSync(join(samples, name, file), join(place, "photos", given, file));
const options = { cwd: place, encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, OCELLI_CACHE: join(place, "cache") } };
execFileSync(ocelli, ["train", "photos", "--recipe", "quick", "--size", "48", "--quiet"], options);
const run = "runs/photos-1";

const clean = (run) => start(ocelli, ["clean", run, "--port", "0", "--log", "none"], options);
const server = await clean(run);

async function open(options, where, { address } = server) {
  const page = await opened(address, options, where);
  await page.waitForFunction(() => document.body.dataset.ready);
  return page;
}

// Twenty labels by keys: what is wrong becomes what it is, by its number or its name, and what is right is kept.
const page = await open({}, "in use");
const expected = new Map();
const shown = () => page.textContent("#name");
/** Waits until another photo is there, after what leads to it. */
async function another(page, work) {
  const before = await page.getAttribute("body", "data-ready");
  await work();
  await page.waitForFunction((before) => document.body.dataset.ready && document.body.dataset.ready !== before, before);
}
const presses = async (page, keys) => { for (const key of keys) await page.keyboard.press(key); };
/** Presses keys that lead to another photo. */
const press = (...keys) => another(page, () => presses(page, keys));
/** The decisions of a run, by photo. */
const decided = (run) => new Map(readFileSync(join(place, run, "decisions.csv"), "utf8").trim().split("\n").slice(1).map((line) => { const [id, ...decision] = line.split(","); return [id, decision]; }));
/** Trains again by the keyboard, and compares what the page then says with `ocelli compare`. */
async function trainedAgain(page, run, next) {
  await page.focus("#train");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => !["trains", undefined].includes(document.getElementById("training").dataset.state), null, { timeout: 300000 });
  const rows = await page.$$eval("#training table:first-of-type tbody tr", (all) => all.slice(0, 2).map((row) => [...row.children].map((cell) => cell.textContent)));
  const compared = execFileSync(ocelli, ["compare", run, next, "--out", `${next}.html`], options);
  for (const [, value, interval, correct] of rows) {
    const line = `accuracy ${value}   95 % CI ${interval}   ${correct} image`;
    check(compared.includes(line), `compare does not say "${line}":\n${compared}`);
  }
  check(rows.length === 2, `both runs are shown: ${JSON.stringify(rows)}`);
  const verdict = (await page.textContent("#verdict").catch(() => "")) ?? "";
  const test = compared.match(/McNemar's exact test: (.*)/)[1];
  check(verdict.includes(test), `the page says "${verdict}", compare "${test}"`);
}
/** The next list that is not done, else the photos of a class. */
async function nextList() {
  const left = await page.$$eval("#tabs button", (all) => all.map((one) => one.textContent.match(/(\d+)\/(\d+)/)?.slice(1).map(Number)));
  const next = left.findIndex((one) => one && one[0] < one[1]);
  if (next >= 0) {
    await page.locator("#tabs button").nth(next).focus();
    return press("Enter");
  }
  await another(page, () => page.selectOption("#class-list", "class-0"));
}
const began = Date.now();
let undone = false;
while (expected.size < DECISIONS) {
  const id = await shown();
  check(!expected.has(id), `${id} comes a second time`);
  const [given, file] = [id.split("/")[0], id.split("/").at(-1)];
  const { name } = truth.get(file);
  const names = await page.$$eval("#opinion .name", (all) => all.map((one) => one.firstChild.textContent));
  if (expected.size === 4) {
    expected.set(id, ["drop", ""]);
    await press("d");
  } else if (given === name) {
    expected.set(id, ["keep", ""]);
    await press("k");
  } else if (expected.size % 2) {
    expected.set(id, ["relabel", name]);
    await press(String(names.indexOf(name) + 1));
  } else {
    expected.set(id, ["relabel", name]);
    await press("r", ...name.slice(0, 3), "Enter");
  }
  if (expected.size === 10 && !undone) {
    undone = true;
    // Undone, the photo is there again.
    await press("u");
    check(await shown() === id, `undo leads to ${await shown()} instead of ${id}`);
    expected.delete(id);
  }
  if (await page.isVisible("#end")) await nextList();
}
const seconds = (Date.now() - began) / 1000;
const table = decided(run);
check(table.size === expected.size, `decisions.csv has ${table.size} rows instead of ${expected.size}`);
for (const [id, decision] of table) check(String(expected.get(id)) === String(decision), `${id}: ${decision} instead of ${expected.get(id)}`);

await trainedAgain(page, run, "runs/photos-2");
await looks(page, "trained again", "trained");
// The keys are listed, and Escape closes the list.
await page.evaluate(() => document.activeElement.blur());
await page.keyboard.press("?");
check(await page.isVisible("#keys"), "? lists the keys");
await looks(page, "keys", "keys");
await page.keyboard.press("Escape");
check(!(await page.isVisible("#keys")), "Escape closes the list of keys");
await page.click("#training .head button");
check(!(await page.isVisible("#training")), "the result can be closed");
await page.context().close();

/** Whether something is wholly on the screen, without scrolling, and nothing lies over it. */
const inside = (page, selector) => page.$eval(selector, (one) => {
  const { left, right, top, bottom } = one.getBoundingClientRect();
  const at = document.elementFromPoint((left + right) / 2, bottom - 2);
  return left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight && (at === one || one.contains(at));
});
for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const where = `${width} px, ${colorScheme}`;
    const page = await open({ colorScheme, viewport: { width, height: 900 } }, where);
    await looks(page, `${where}, with the result`, `${width}-${colorScheme}-trained`);
    await page.click("#training .head button");
    await looks(page, where, `${width}-${colorScheme}`);
    // The advice and what it leads to are seen without scrolling.
    for (const part of ["#photo img", "#label", "#why", "#opinion li:first-child", "#keep", "#drop"]) check(await inside(page, part), `${where}: ${part} is not on the screen`);
    await page.keyboard.press("r");
    await page.keyboard.type("a new class");
    check(/New class/.test(await page.textContent("#found")), `${where}: a new class is offered`);
    await page.keyboard.press("Enter");
    check(/Enter again/.test(await page.textContent("#found")), `${where}: a new class is confirmed`);
    await looks(page, `${where}, typing`, `${width}-${colorScheme}-typing`);
    check(await page.isVisible("#found") && await inside(page, "#class"), `${where}: the field is on the screen`);
    await page.keyboard.press("Escape");
    check(await page.evaluate(() => document.activeElement.id) === "relabel", `${where}: the focus comes back`);
    await page.context().close();
  }
}
check(await server.stop() === 0, "the server ends with status 0");

// Several labels: what is edible is both. Some photos lack this label, others have it wrongly.
mkdirSync(join(place, "several"));
const isEdible = (file) => truth.get(file).name === "food-and-drink";
const labels = (file) => [truth.get(file).name, ...(isEdible(file) ? ["edible"] : [])];
const lines = [...truth].map(([file, { given }], at) => {
  const row = at % 8 ? labels(file) : isEdible(file) ? ["food-and-drink"] : [...labels(file), "edible"];
  copyFileSync(join(place, "photos", given, file), join(place, "several", file));
  return `${file},${row.join(" ")}`;
});
writeFileSync(join(place, "several/labels.csv"), `file,labels\n${lines.join("\n")}\n`);
execFileSync(ocelli, ["train", "several/labels.csv", "--recipe", "quick", "--size", "48", "--quiet"], options);
const several = "runs/several-1";
const second = await clean(several);
const many = await open({}, "several labels", second);
const names = () => many.$$eval("#opinion .name", (all) => all.map((one) => one.firstChild.textContent));
const on = () => many.$$eval("#opinion button[aria-pressed=true] .name", (all) => all.map((one) => one.firstChild.textContent).sort());
const toggle = async (name) => many.keyboard.press(String((await names()).indexOf(name) + 1));
const sorted = ([decision, row]) => [decision, row.split("|").sort().join("|")];
const wanted = new Map();
for (let at = 0; at < 8; at++) {
  const id = await many.textContent("#name");
  const [given, right] = [await on(), labels(id).sort()];
  const kept = (await many.textContent("#label")).replace("Labels: ", "").split(", ").sort();
  check(String(kept) === String(given), `${id}: ${given} are switched on instead of ${kept}`);
  if (at === 0) {
    // What is switched and not saved is neither lost nor kept by another key.
    await toggle(given[0]);
    for (const key of ["k", "n", "ArrowRight"]) await many.keyboard.press(key);
    check(await many.textContent("#name") === id && /not saved/.test(await many.textContent("#status")), "labels that are not saved are not lost");
    await many.keyboard.press("u");
    check(String(await on()) === String(given), `undone: ${await on()} instead of ${given}`);
    check(!(await many.isVisible("#save")), "there is nothing to save");
  }
  if (at === 1) {
    for (const name of given) await toggle(name);
    wanted.set(id, ["relabel", ""]);
  } else if (at === 2) {
    // A new class, and back: runs of different classes cannot be compared.
    await presses(many, ["r", ..."brand new", "Enter", "Enter"]);
    await another(many, () => many.keyboard.press("s"));
    check(String(sorted(decided(several).get(id))) === String(["new-class", [...given, "brand new"].sort().join("|")]), `a new class: ${decided(several).get(id)}`);
    await another(many, () => many.keyboard.press("u"));
    check(await many.textContent("#name") === id && !decided(several).has(id), "the new class is undone");
    wanted.set(id, ["keep", ""]);
  } else if (at === 3) {
    await many.keyboard.press("a");
    check((await many.textContent("#why")).includes(`the model says ${(await on()).join(", ")}.`), `A switches on ${await on()}: ${await many.textContent("#why")}`);
    wanted.set(id, (await many.isVisible("#save")) ? ["relabel", (await on()).join("|")] : ["keep", ""]);
  } else {
    for (const name of new Set([...given, ...right])) if (given.includes(name) !== right.includes(name)) await toggle(name);
    wanted.set(id, String(given) === String(right) ? ["keep", ""] : ["relabel", right.join("|")]);
  }
  await looks(many, "several labels, switched", `several-${at}`);
  await another(many, () => many.keyboard.press(wanted.get(id)[0] === "keep" ? "k" : "s"));
}
const written = decided(several);
check(written.size === wanted.size, `decisions.csv of several labels has ${written.size} rows instead of ${wanted.size}`);
for (const [id, decision] of written) check(String(sorted(decision)) === String(wanted.get(id)), `${id}: ${decision} instead of ${wanted.get(id)}`);
await trainedAgain(many, several, "runs/several-2");
await looks(many, "several labels, trained again", "several-trained");
await many.context().close();
for (const width of WIDTHS) {
  const page = await open({ viewport: { width, height: 900 } }, `several labels, ${width} px`, second);
  await page.keyboard.press("1");
  await looks(page, `several labels, ${width} px`, `several-${width}`);
  await page.context().close();
}
await browser.close();
check(await second.stop() === 0, "the second server ends with status 0");
rmSync(place, { recursive: true });

end(`${DECISIONS} labels by keys in ${seconds.toFixed(1)} s; ${WIDTHS.length} widths, light and dark`);
