// Uses the page of `ocelli clean` as people do, in headless Chromium: a run is trained on photos of which some are in the
// wrong folder, twenty labels are decided by keys alone, decisions.csv has them, a next run is trained, and the page's
// figures are those of `ocelli compare`. At three widths, light and dark, without an error in the console, a request
// elsewhere or a serious finding of axe-core.
//
//   node ci/clean.mjs [--screenshots FOLDER] OCELLI SAMPLES
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
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

const server = await start(ocelli, ["clean", run, "--port", "0", "--log", "none"], options);

async function open(options, where) {
  const page = await opened(server.address, options, where);
  await page.waitForFunction(() => document.body.dataset.ready);
  return page;
}

// Twenty labels by keys: what is wrong becomes what it is, by its number or its name, and what is right is kept.
const page = await open({}, "in use");
const expected = new Map();
const shown = () => page.textContent("#name");
/** Presses keys, and waits until another photo is there. */
async function press(...keys) {
  const before = await page.getAttribute("body", "data-ready");
  for (const key of keys) await page.keyboard.press(key);
  await page.waitForFunction((before) => document.body.dataset.ready && document.body.dataset.ready !== before, before);
}
/** The next list that is not done, else the photos of a class. */
async function nextList() {
  const left = await page.$$eval("#tabs button", (all) => all.map((one) => one.textContent.match(/(\d+)\/(\d+)/)?.slice(1).map(Number)));
  const next = left.findIndex((one) => one && one[0] < one[1]);
  if (next >= 0) {
    await page.locator("#tabs button").nth(next).focus();
    return press("Enter");
  }
  const before = await page.getAttribute("body", "data-ready");
  await page.selectOption("#class-list", "class-0");
  await page.waitForFunction((before) => document.body.dataset.ready && document.body.dataset.ready !== before, before);
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
const table = readFileSync(join(place, run, "decisions.csv"), "utf8").trim().split("\n").slice(1).map((line) => line.split(","));
check(table.length === expected.size, `decisions.csv has ${table.length} rows instead of ${expected.size}`);
for (const [id, ...decided] of table) check(String(expected.get(id)) === String(decided), `${id}: ${decided} instead of ${expected.get(id)}`);

// Trained again, and compared.
await page.focus("#train");
await page.keyboard.press("Enter");
await page.waitForFunction(() => !["trains", undefined].includes(document.getElementById("training").dataset.state), null, { timeout: 300000 });
const rows = await page.$$eval("#training table:first-of-type tbody tr", (all) => all.slice(0, 2).map((row) => [...row.children].map((cell) => cell.textContent)));
const compared = execFileSync(ocelli, ["compare", run, "runs/photos-2", "--out", "compare.html"], options);
for (const [, value, interval, correct] of rows) {
  const line = `accuracy ${value}   95 % CI ${interval}   ${correct} image`;
  check(compared.includes(line), `compare does not say "${line}":\n${compared}`);
}
check(rows.length === 2, `both runs are shown: ${JSON.stringify(rows)}`);
const verdict = (await page.textContent("#verdict").catch(() => "")) ?? "";
const test = compared.match(/McNemar's exact test: (.*)/)[1];
check(verdict.includes(test), `the page says "${verdict}", compare "${test}"`);
await looks(page, "trained again", "trained");
// The keys are listed, and Escape closes the list.
await page.evaluate(() => document.activeElement.blur());
await page.keyboard.press("?");
check(await page.isVisible("#keys"), "? lists the keys");
await looks(page, "keys", "keys");
await page.keyboard.press("Escape");
check(!(await page.isVisible("#keys")), "Escape closes the list of keys");
await page.context().close();

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const where = `${width} px, ${colorScheme}`;
    const page = await open({ colorScheme, viewport: { width, height: 900 } }, where);
    await looks(page, where, `${width}-${colorScheme}`);
    await page.keyboard.press("r");
    await page.keyboard.type("a new class");
    check(/New class/.test(await page.textContent("#found")), `${where}: a new class is offered`);
    await page.keyboard.press("Enter");
    check(/Enter again/.test(await page.textContent("#found")), `${where}: a new class is confirmed`);
    await looks(page, `${where}, typing`, `${width}-${colorScheme}-typing`);
    await page.keyboard.press("Escape");
    check(await page.evaluate(() => document.activeElement.id) === "relabel", `${where}: the focus comes back`);
    await page.context().close();
  }
}
await browser.close();
check(await server.stop() === 0, "the server ends with status 0");
rmSync(place, { recursive: true });

end(`${DECISIONS} labels by keys in ${seconds.toFixed(1)} s; ${WIDTHS.length} widths, light and dark`);
