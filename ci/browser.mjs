// What the checks of pages share: headless Chromium, pages that are opened in it, and what must hold of each.
//
// Needs playwright-core (npm) in the current folder, for `looks` axe-core too, and Chromium at $CHROMIUM or
// /usr/bin/chromium.

import { spawn } from "node:child_process";
import { createReadStream, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename, extname, join } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");

/** The arguments after `--screenshots FOLDER`, and that folder, which is made; null without it. */
export const words = process.argv.slice(2);
export let folder = null;
if (words[0] === "--screenshots") [, folder] = words.splice(0, 2);
if (folder) mkdirSync(folder, { recursive: true });

/** Of a phone, a tablet and a desk. */
export const WIDTHS = [390, 900, 1500];

const failures = new Set();
/** Says what does not hold, once and at once, since what comes next may wait in vain. */
export const check = (holds, what) => {
  if (!holds && !failures.has(what)) console.error(what);
  if (!holds) failures.add(what);
};

/** Ends with what was done, and how many failures there were. */
export function end(done) {
  console.log(`${done}: ${failures.size ? `${failures.size} failures` : "as it should be"}`);
  process.exit(failures.size ? 1 : 0);
}

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** A new page, in which nothing may be asked for that is not below the address's own, and nothing may be wrong in the
 * console but what `expected` matches. `where` is asked as it happens. */
export async function empty(address, options, where, expected = /(?!)/) {
  const own = address.startsWith("file:") ? "file:" : new URL(address).origin + "/";
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(120000);
  page.on("console", (message) => check(!["error", "warning"].includes(message.type()) || expected.test(message.text()), `${where()}: console: ${message.text()}`));
  page.on("pageerror", (error) => check(false, `${where()}: ${error}`));
  page.on("request", (request) => check(request.url().startsWith(own) || /^(data|blob):/.test(request.url()), `${where()}: asks for ${request.url()}`));
  return page;
}

/** The page at an address, loaded. */
export async function open(address, options, where, expected) {
  const page = await empty(address, options, () => where, expected);
  await page.goto(address);
  return page;
}

export async function fits(page, where) {
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  check(beyond <= 0, `${where}: ${beyond} px wider than the window`);
}

/** Letters of charts have their size, and do not run into each other. */
async function legible(page, where) {
  const charts = await page.$$eval("svg.chart", (all) => all.filter((svg) => svg.checkVisibility()).map((svg) => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")].map((text) => ({ words: text.textContent, box: text.getBoundingClientRect() }));
    const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    const pairs = texts.flatMap((one, at) => texts.slice(at + 1).filter((other) => overlap(one.box, other.box)).map((other) => `"${one.words}" and "${other.words}"`));
    return { label: svg.getAttribute("aria-label"), size: 12 * scale, pairs };
  }));
  for (const { label, size, pairs } of charts) {
    check(size >= 11 && size <= 14, `${where}: letters of ${size.toFixed(1)} px in the chart "${label}"`);
    check(!pairs.length, `${where}: ${pairs[0]} run into each other in the chart "${label}"`);
  }
}

/** No page is wider than its window, has a serious finding of axe-core, or shows what only programs understand. */
export async function looks(page, where, name, fullPage = true) {
  await fits(page, where);
  await legible(page, where);
  await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, impact, help, nodes } of violations.filter(({ impact }) => ["serious", "critical"].includes(impact))) {
    check(false, `${where}: axe-core: ${id}: ${help} (${impact}, ${nodes.length} times, first ${nodes[0].target})`);
  }
  for (const text of ["[object ", "undefined", "NaN"]) check(!(await page.innerText("body")).includes(text), `${where}: says ${text}`);
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
}

/** Photos as files of a drop or a paste. */
export const give = (page, type, paths) => page.evaluate(([type, files]) => {
  const transfer = new DataTransfer();
  for (const { name, base64 } of files) transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name));
  const event = type === "paste" ? new ClipboardEvent(type, { clipboardData: transfer, bubbles: true }) : new DragEvent(type, { dataTransfer: transfer, bubbles: true });
  document.querySelector("main").dispatchEvent(event);
}, [type, paths.map((path) => ({ name: basename(path), base64: readFileSync(path).toString("base64") }))]);

/** A process that prints its address; once it has. */
export async function start(program, given, options) {
  const child = spawn(program, given, { stdio: ["ignore", "pipe", "inherit"], ...options });
  const ended = new Promise((end) => child.on("exit", end));
  // Also where a check throws.
  process.on("exit", () => child.kill());
  const address = await new Promise((found, failed) => {
    // What is printed later is read, too, or the process could not print it.
    createInterface({ input: child.stdout }).on("line", (line) => {
      const [address] = line.match(/http:\/\/\S+/) ?? [];
      if (address) found(address);
    });
    child.on("exit", () => failed(new Error(`${program} ${given.join(" ")} does not start`)));
  });
  return { address, ended, output: child.stdout, stop: () => { child.kill("SIGTERM"); return ended; } };
}

// What Python's http.server says of them.
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".woff2": "font/woff2" };

/** The files of a folder on a free port. */
export async function files(site) {
  const server = createServer((request, answer) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const path = join(site, decodeURIComponent(pathname === "/" ? "/index.html" : pathname));
    const file = createReadStream(path);
    file.on("error", () => answer.writeHead(404).end());
    file.on("open", () => { answer.setHeader("Content-Type", KINDS[extname(path)] ?? "application/octet-stream"); file.pipe(answer); });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { home: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
