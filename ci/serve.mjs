// Uses the page of `ocelli serve` as people do, in headless Chromium: photos are dropped on it, chosen and pasted, and it
// gives the probabilities that `ocelli predict` gives; heat maps are shown by keyboard; without its token it asks for it.
// At three widths, light and dark, without an error in the console, a request elsewhere or a serious finding of axe-core.
//
//   node ci/serve.mjs [--screenshots FOLDER] OCELLI MODEL PHOTO…
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const words = process.argv.slice(2);
let folder = null;
if (words[0] === "--screenshots") [, folder] = words.splice(0, 2);
if (folder) mkdirSync(folder, { recursive: true });
const [ocelli, model, ...photos] = words.map((word) => resolve(word));

const WIDTHS = [390, 900, 1500];
const failures = new Set();
const check = (holds, what) => { if (!holds) failures.add(what); };

/** A server on a free port, once it listens. */
async function serve(...flags) {
  const process = spawn(ocelli, ["serve", ...flags, "--port", "0", "--log", "none"], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: process.stdout })) {
    const [, home] = line.match(/(http:\/\/\S+)/);
    return { home, process, stop: () => new Promise((ended) => { process.on("exit", ended); process.kill("SIGTERM"); }) };
  }
  throw new Error("the server does not start");
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** The page, loaded. Statuses of refused requests are errors in the console: they are looked for elsewhere. */
async function open(home, options, where, expected = /^Ready\.$/) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.on("console", (message) => check(!["error", "warning"].includes(message.type()) || /status of (401|422)/.test(message.text()), `${where}: console: ${message.text()}`));
  page.on("pageerror", (error) => check(false, `${where}: ${error}`));
  page.on("request", (request) => check(request.url().startsWith(new URL(home).origin + "/") || /^(data|blob):/.test(request.url()), `${where}: asks for ${request.url()}`));
  await page.goto(home);
  await page.waitForFunction(() => !/Asking/.test(document.getElementById("status").textContent), null, { timeout: 60000 });
  const status = await page.textContent("#status");
  check(expected.test(status), `${where}: says ${status}`);
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
  await page.waitForFunction((count) => document.querySelectorAll("article button, article .bad").length >= count, count, { timeout: 120000 });
  return page.$$eval("article", (all) => all.map((card) => ({
    name: card.querySelector("h2").textContent,
    class: card.querySelector(".chosen span")?.textContent,
    error: card.querySelector(".bad")?.textContent,
    probabilities: Object.fromEntries([...card.querySelectorAll("li")].map((row) => [row.querySelector("span").textContent, Number(row.querySelector("data").value)])),
  })));
}

const wrong = join(mkdtempSync(join(tmpdir(), "serve-")), "notes.jpg");
writeFileSync(wrong, "no photo");
const rows = execFileSync(ocelli, ["predict", model, "--jsonl", ...photos], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").map((line) => JSON.parse(line));

const { home, stop } = await serve(model);
const page = await open(home, {}, "in use");
await events(page, "drop", [...photos, wrong]);
const found = await cards(page, photos.length + 1);
rows.forEach(({ class: name, probabilities }, at) => {
  const card = found[at];
  check(card.name === basename(photos[at]), `card ${at} is of ${card.name} instead of ${basename(photos[at])}`);
  check(card.class === name, `${card.name}: ${card.class} instead of ${name}`);
  const same = Object.entries(probabilities).every(([name, probability]) => card.probabilities[name] === probability);
  check(same, `${card.name}: ${JSON.stringify(card.probabilities)} instead of ${JSON.stringify(probabilities)}`);
});
check(found.at(-1).error?.length > 10, `a file that is no image: ${JSON.stringify(found.at(-1))}`);
await page.setInputFiles("#files", photos[0]);
await events(page, "paste", [photos[1]]);
const more = await cards(page, photos.length + 3);
check(more[1].name === basename(photos[0]) && more[0].name === basename(photos[1]), `chosen and pasted: ${more.slice(0, 2).map(({ name }) => name)}`);

// By keyboard alone: to the photos, and to the first one's heat map.
await page.evaluate(() => document.activeElement.blur());
await page.keyboard.press("Tab");
check(await page.evaluate(() => document.activeElement.id) === "files", "the first Tab leads to the photos");
// Past the classes that are folded away.
for (let at = 0; at < 3 && !(await page.evaluate(() => document.activeElement.tagName === "BUTTON")); at++) await page.keyboard.press("Tab");
const before = await page.getAttribute("article img", "src");
for (const [pressed, alt] of [["true", /^Heat map/], ["false", /^Photo/]]) {
  await page.keyboard.press("Enter");
  await page.waitForSelector(`article:first-child button[aria-pressed=${pressed}]`, { timeout: 20000 });
  const image = page.locator("article:first-child img");
  check(alt.test(await image.getAttribute("alt")), `the picture is called ${await image.getAttribute("alt")}`);
  check((await image.getAttribute("src") === before) === (pressed === "false"), `aria-pressed ${pressed}: ${await image.getAttribute("src")}`);
  check(await image.evaluate(async (image) => { await image.decode(); return image.naturalWidth > 0; }), "the picture is shown");
  check(await page.evaluate(() => document.activeElement.tagName) === "BUTTON", "the button keeps the focus");
}
await page.context().close();

const looks = async (page, where, name) => {
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(beyond <= 0, `${where}: ${beyond} px wider than the window`);
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of violations.filter(({ impact }) => ["serious", "critical"].includes(impact))) {
    check(false, `${where}: axe-core: ${id}: ${help} (${impact}, ${nodes.length} times, first ${nodes[0].target})`);
  }
  for (const text of ["[object ", "undefined", "NaN"]) check(!(await page.innerText("body")).includes(text), `${where}: says ${text}`);
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
};
const locked = await serve(model, model, "--token", "a-long-secret");
for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const options = { colorScheme, viewport: { width, height: 900 } }, where = `${width} px, ${colorScheme}`;
    const page = await open(home, options, where);
    await looks(page, where, `${width}-${colorScheme}-empty`);
    await events(page, "drop", [...photos.slice(0, 5), wrong]);
    await cards(page, Math.min(photos.length, 5) + 1);
    await page.click("article:nth-child(2) button");
    await page.waitForSelector("article button[aria-pressed=true]", { timeout: 60000 });
    await looks(page, where, `${width}-${colorScheme}`);
    await page.context().close();

    const stranger = await open(locked.home, options, where, /asks for a token/);
    await looks(stranger, `${where}, without the token`, `${width}-${colorScheme}-token`);
    await stranger.fill("#token", "a wrong secret");
    await stranger.keyboard.press("Enter");
    await stranger.waitForSelector("#status.bad", { timeout: 60000 });
    await stranger.fill("#token", "a-long-secret");
    await stranger.keyboard.press("Enter");
    await stranger.waitForFunction(() => document.getElementById("status").textContent === "Ready.", null, { timeout: 60000 });
    check(await stranger.locator("#model option").count() === 2, `${where}: both models can be chosen`);
    await looks(stranger, `${where}, two models`, `${width}-${colorScheme}-models`);
    await stranger.context().close();
  }
}
const known = await open(`${locked.home}/#token=a-long-secret`, {}, "with the token in the address");
check(!known.url().includes("secret"), `the token stays in the address: ${known.url()}`);
await browser.close();
check((await Promise.all([stop(), locked.stop()])).every((status) => status === 0), "the servers end with status 0");

for (const failure of failures) console.error(failure);
console.log(`${photos.length} photos; ${WIDTHS.length} widths, light and dark: ${failures.size ? `${failures.size} failures` : "as it should be"}`);
process.exit(failures.size ? 1 : 0);
