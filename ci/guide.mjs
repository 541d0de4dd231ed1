// Opens every page of the built guide in headless Chromium, at three widths, light and dark: none is wider than the
// window, every picture is loaded and has a text, no line of code is out of reach, and the console has no error. Then
// it searches.
//
//   node ci/guide.mjs [--screenshots FOLDER] SITE
//
// Needs playwright-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium. It serves the site to itself, since
// browsers load no fonts and no search index from files.

import { createServer } from "node:http";
import { createReadStream, mkdirSync, readdirSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join, relative, resolve } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { chromium } = require("playwright-core");

const words = process.argv.slice(2);
let folder = null;
if (words[0] === "--screenshots") [, folder] = words.splice(0, 2);
if (folder) mkdirSync(folder, { recursive: true });
const site = resolve(words[0]);

const WIDTHS = [390, 820, 1280];
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp", ".woff2": "font/woff2" };
const failures = new Set();
const check = (holds, what) => { if (!holds) failures.add(what); };

const server = createServer((request, answer) => {
  const path = join(site, decodeURIComponent(new URL(request.url, "http://localhost").pathname));
  const file = createReadStream(path);
  file.on("error", () => answer.writeHead(404).end());
  file.on("open", () => { answer.setHeader("Content-Type", KINDS[extname(path)] ?? "application/octet-stream"); file.pipe(answer); });
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const home = `http://127.0.0.1:${server.address().port}`;

const all = (inside) => readdirSync(inside).flatMap((name) => (statSync(join(inside, name)).isDirectory() ? all(join(inside, name)) : [join(inside, name)]));
const pages = all(site).filter((path) => path.endsWith(".html")).map((path) => relative(site, path)).filter((name) => !["404.html", "print.html", "toc.html"].includes(name)).sort();

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    let where = "";
    page.on("console", (message) => check(!["error", "warning"].includes(message.type()), `${where}: console: ${message.text()}`));
    page.on("pageerror", (error) => check(false, `${where}: ${error}`));
    page.on("request", (request) => check(request.url().startsWith(home) || /^(data|blob):/.test(request.url()), `${where}: asks for ${request.url()}`));
    for (const name of pages) {
      where = `${name}, ${width} px, ${colorScheme}`;
      await page.goto(`${home}/${name}`, { waitUntil: "load" });
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      check(beyond <= 0, `${where}: ${beyond} px wider than the window`);
      // What is wider than the text must be in something that scrolls.
      const lost = await page.evaluate(() => {
        const main = document.querySelector("main").getBoundingClientRect();
        const scrolls = (element) => { for (; element && element.tagName !== "MAIN"; element = element.parentElement) if (["auto", "scroll"].includes(getComputedStyle(element).overflowX)) return true; return false; };
        const wide = [...document.querySelectorAll("main :is(p, pre, table, img, li, h1, h2, h3, blockquote)")].filter((element) => element.getBoundingClientRect().right > main.right + 1 && !scrolls(element));
        return wide.map((element) => `${element.tagName.toLowerCase()} "${(element.alt || element.textContent).trim().slice(0, 40)}"`);
      });
      for (const what of lost) check(false, `${where}: ${what} is cut off`);
      for (const { alt, src, loaded } of await page.$$eval("main img", (images) => images.map((image) => ({ alt: image.alt, src: image.src, loaded: image.complete && image.naturalWidth > 0 })))) {
        check(alt, `${where}: ${src} says nothing to screen readers`);
        check(loaded, `${where}: ${src} is not shown`);
      }
      if (folder) await page.screenshot({ path: join(folder, `${name.replaceAll("/", "-").replace(".html", "")}-${width}-${colorScheme}.png`), fullPage: true });
    }
    if (width === 1280 && colorScheme === "light") {
      where = "search";
      await page.goto(`${home}/index.html`, { waitUntil: "load" });
      for (const [words, wanted] of [["balanced-sampling", "unbalanced"], ["resume", "resume"]]) {
        await page.keyboard.press("s");
        await page.waitForSelector("#mdbook-searchbar", { state: "visible" });
        await page.keyboard.type(words);
        await page.waitForSelector("#mdbook-searchresults a");
        const found = await page.$$eval("#mdbook-searchresults a", (links) => links.map((link) => link.href));
        check(found.some((link) => link.includes(wanted)), `search for "${words}" finds ${found.slice(0, 5).join(", ")}`);
        await page.keyboard.press("Escape");
      }
    }
    await context.close();
  }
}
await browser.close();
server.close();
for (const failure of failures) console.error(failure);
console.log(`${pages.length} pages at ${WIDTHS.length} widths, light and dark: ${failures.size ? `${failures.size} failures` : "as they should be"}`);
process.exit(failures.size ? 1 : 0);
