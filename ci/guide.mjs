// Opens every page of the built guide in headless Chromium, at three widths, light and dark: none is wider than the
// window, every picture is loaded and has a text, no line of code is out of reach, and the console has no error. Then
// it searches.
//
//   node ci/guide.mjs [--screenshots FOLDER] SITE
//
// Needs playwright-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium. It serves the site to itself, since
// browsers load no fonts and no search index from files.

import { readdirSync, statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { browser, check, empty, end, files, fits, folder, words as given } from "./browser.mjs";

const site = resolve(given[0]);

const WIDTHS = [390, 820, 1280];
const { home, close } = await files(site);

const all = (inside) => readdirSync(inside).flatMap((name) => (statSync(join(inside, name)).isDirectory() ? all(join(inside, name)) : [join(inside, name)]));
const pages = all(site).filter((path) => path.endsWith(".html")).map((path) => relative(site, path)).filter((name) => !["404.html", "print.html", "toc.html"].includes(name)).sort();

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    let where = "";
    const page = await empty(home, { colorScheme, viewport: { width, height: 900 } }, () => where);
    for (const name of pages) {
      where = `${name}, ${width} px, ${colorScheme}`;
      await page.goto(`${home}/${name}`, { waitUntil: "load" });
      await fits(page, where);
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
    await page.context().close();
  }
}
await browser.close();
close();
end(`${pages.length} pages at ${WIDTHS.length} widths, light and dark`);
