// Uses a page that `ocelli export --format web` has written as people do, in headless Chromium: photos are dropped on it,
// chosen and pasted, and it gives the probabilities that `ocelli predict` gives; also for large, turned and transparent
// photos, which are made here. At three widths, light and dark, without an error in the console, a request elsewhere or a
// serious finding of axe-core.
//
//   node ci/web.mjs [--screenshots FOLDER] OCELLI MODEL SITE PHOTO…
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, extname, join, resolve } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const words = process.argv.slice(2);
let folder = null;
if (words[0] === "--screenshots") [, folder] = words.splice(0, 2);
if (folder) mkdirSync(folder, { recursive: true });
const [ocelli, model, site, ...photos] = words.map((word) => resolve(word));

const WIDTHS = [390, 900, 1500];
// What Python's http.server says of them.
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const failures = new Set();
const check = (holds, what) => { if (!holds) failures.add(what); };

const server = createServer((request, answer) => {
  const { pathname } = new URL(request.url, "http://localhost");
  const path = join(site, decodeURIComponent(pathname === "/" ? "/index.html" : pathname));
  const file = createReadStream(path);
  file.on("error", () => answer.writeHead(404).end());
  file.on("open", () => { answer.setHeader("Content-Type", KINDS[extname(path)] ?? "application/octet-stream"); file.pipe(answer); });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const home = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** The page, loaded. */
async function open(options, where) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => check(!["error", "warning"].includes(message.type()), `${where}: console: ${message.text()}`));
  page.on("pageerror", (error) => check(false, `${where}: ${error}`));
  page.on("request", (request) => check(request.url().startsWith(home) || /^(data|blob):/.test(request.url()), `${where}: asks for ${request.url()}`));
  await page.goto(home);
  await page.waitForFunction(() => /Ready|cannot|changes/.test(document.getElementById("status").textContent), null, { timeout: 60000 });
  const status = await page.textContent("#status");
  check(status === "Ready.", `${where}: says ${status}`);
  return page;
}

/** Photos as files of a drop or a paste. */
const events = (page, type, paths) => page.evaluate(([type, files]) => {
  const transfer = new DataTransfer();
  for (const { name, base64 } of files) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
  const event = type === "paste" ? new ClipboardEvent(type, { clipboardData: transfer, bubbles: true }) : new DragEvent(type, { dataTransfer: transfer, bubbles: true });
  document.querySelector("main").dispatchEvent(event);
}, [type, paths.map((path) => ({ name: basename(path), base64: readFileSync(path).toString("base64") }))]);

/** Waits until so many cards are done; gives what they say, in their order. */
async function cards(page, count) {
  await page.waitForFunction((count) => document.querySelectorAll("article .times, article .bad").length >= count, count, { timeout: 300000 });
  return page.$$eval("article", (all) => all.map((card) => ({
    name: card.querySelector("h2").textContent,
    times: card.querySelector(".times")?.textContent,
    class: card.querySelector(".chosen span")?.textContent,
    note: card.querySelector(".note")?.textContent,
    error: card.querySelector(".bad")?.textContent,
    probabilities: Object.fromEntries([...card.querySelectorAll("li")].map((row) => [row.querySelector("span").textContent, Number(row.querySelector("data").value)])),
  })));
}

/** Photos of kinds that the others may lack, drawn by the browser: a large JPEG, the same turned, one with transparency. */
async function made(page) {
  const all = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1203, height: 901 }), context = canvas.getContext("2d");
    const draw = async (type) => {
      for (let at = 0; at < 60; at++) {
        context.fillStyle = `hsl(${at * 37} 70% ${30 + at / 2}%)`;
        context.beginPath();
        context.arc((at * 397) % 1203, (at * 211) % 901, 20 + at * 3, 0, 7);
        context.fill();
      }
      const blob = await new Promise((done) => canvas.toBlob(done, type, 0.95));
      const bytes = new Uint8Array(await blob.arrayBuffer());
      context.clearRect(0, 0, 1203, 901);
      return [...bytes];
    };
    return { png: await draw("image/png"), jpeg: await draw("image/jpeg") };
  });
  const jpeg = Buffer.from(all.jpeg), place = mkdtempSync(join(tmpdir(), "web-"));
  // After the first marker: EXIF with one entry, the orientation 6, turned by a quarter.
  const exif = Buffer.from("ffe1002245786966000049492a00080000000100120103000100000006000000000000000000", "hex").subarray(0, 36);
  const turned = Buffer.concat([jpeg.subarray(0, 2), exif, jpeg.subarray(2)]);
  return [["large.jpg", jpeg], ["turned.jpg", turned], ["transparent.png", Buffer.from(all.png)]].map(([name, bytes]) => {
    writeFileSync(join(place, name), bytes);
    return join(place, name);
  });
}

const page = await open({}, "in use");
const drawn = await made(page);
const paths = [...photos, ...drawn];
const lines = execFileSync(ocelli, ["predict", model, "--precision", "f32", "--jsonl", ...paths], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").map((line) => JSON.parse(line));
const wrong = join(mkdtempSync(join(tmpdir(), "web-")), "notes.jpg");
writeFileSync(wrong, "no photo");

await events(page, "drop", [...paths, wrong]);
const found = await cards(page, paths.length + 1);
const rows = [];
found.slice(0, -1).forEach((card, at) => {
  const expected = Object.entries(lines[at].probabilities);
  check(card.name === basename(paths[at]), `card ${at} is of ${card.name} instead of ${basename(paths[at])}`);
  const difference = Math.max(...expected.map(([name, probability]) => Math.abs(probability - card.probabilities[name])));
  const [best] = expected.reduce((best, next) => (next[1] > best[1] ? next : best));
  rows.push([card.name, best, lines[at].probabilities[best], card.class, card.probabilities[best], difference, card.times]);
  // Reduced JPEGs are means of rounded pixels here, and rounded means there; colour profiles are converted by others.
  const bound = /\.jpe?g$/i.test(card.name) ? 0.1 : 1e-4;
  check(difference <= bound, `${card.name}: probabilities differ by ${difference}: ${JSON.stringify(card.probabilities)} instead of ${JSON.stringify(lines[at].probabilities)}`);
  check(difference > 0.01 || card.class === best, `${card.name}: ${card.class} instead of ${best}`);
});
check(found[paths.length - 2].times.startsWith("901 × 1203"), `the turned photo: ${found[paths.length - 2].times}`);
check(/cannot read/.test(found.at(-1).error), `a file that is no image: ${JSON.stringify(found.at(-1))}`);
if (process.env.TABLE) for (const row of rows) console.log(row.join(" | "));

await page.setInputFiles("#files", paths[0]);
await events(page, "paste", [paths[1]]);
const more = await cards(page, paths.length + 3);
check(more.length === paths.length + 3 && more[1].name === basename(paths[0]) && more[0].name === basename(paths[1]), `chosen and pasted: ${more.slice(0, 2).map(({ name }) => name)}`);
await page.context().close();

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const where = `${width} px, ${colorScheme}`;
    const page = await open({ colorScheme, viewport: { width, height: 900 } }, where);
    for (const used of [false, true]) {
      if (used) {
        await events(page, "drop", [...paths.slice(0, 5), wrong]);
        await cards(page, Math.min(paths.length, 5) + 1);
      }
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      check(beyond <= 0, `${where}: ${beyond} px wider than the window`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      for (const { id, impact, help, nodes } of violations.filter(({ impact }) => ["serious", "critical"].includes(impact))) {
        check(false, `${where}: axe-core: ${id}: ${help} (${impact}, ${nodes.length} times, first ${nodes[0].target})`);
      }
      for (const text of ["[object ", "undefined", "NaN"]) check(!(await page.innerText("body")).includes(text), `${where}: says ${text}`);
      if (folder) await page.screenshot({ path: join(folder, `${width}-${colorScheme}${used ? "" : "-empty"}.png`), fullPage: used });
    }
    await page.context().close();
  }
}
await browser.close();
server.close();

for (const failure of failures) console.error(failure);
const largest = Math.max(...rows.map((row) => row[5]));
console.log(`${rows.length} photos: probabilities differ by at most ${largest.toExponential(1)}; ${WIDTHS.length} widths, light and dark: ${failures.size ? `${failures.size} failures` : "as it should be"}`);
process.exit(failures.size ? 1 : 0);
