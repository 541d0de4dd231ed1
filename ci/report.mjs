// Opens reports in headless Chromium and uses them as people do: from a confusion cell to its images, decisions about
// labels down to the file, at three widths, light and dark, without an error in the console or a serious finding of
// axe-core.
//
//   node ci/report.mjs [--screenshots FOLDER] PAGE…
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { browser, check, end, folder, looks, open, words as pages } from "./browser.mjs";

const WIDTHS = [375, 820, 1440];
for (const path of pages) {
  const address = pathToFileURL(resolve(path)).href;
  const name = `${basename(dirname(resolve(path)))}-${basename(path, ".html")}`;
  for (const colorScheme of ["light", "dark"]) {
    for (const width of WIDTHS) {
      const where = `${name}, ${width} px, ${colorScheme}`;
      const page = await open(address, { colorScheme, viewport: { width, height: 900 }, acceptDownloads: true, offline: true }, where);
      const empty = await page.$$eval("img", (all) => all.filter((image) => !image.alt).length);
      check(empty === 0, `${where}: ${empty} images say nothing to screen readers`);
      await looks(page, where, `${name}-${width}-${colorScheme}`);
      for (const { label, beyond } of await page.$$eval("svg.chart", charts)) check(beyond === 0, `${where}: ${beyond} points of the chart "${label}" lie outside of its frame`);
      if (width === 1440 && colorScheme === "light") await use(page, where);
      await page.context().close();
    }
  }
}
await browser.close();

/** For each chart its label and the number of points of its lines that lie outside of its frame, within a pixel. */
function charts(all) {
  return all.map((svg) => {
    const grid = [...svg.querySelectorAll("line.grid")].map((line) => line.getBBox());
    const [left, right] = [Math.min(...grid.map((box) => box.x)), Math.max(...grid.map((box) => box.x + box.width))];
    const [top, bottom] = [Math.min(...grid.map((box) => box.y)), Math.max(...grid.map((box) => box.y + box.height))];
    const points = [...svg.querySelectorAll("path.line")].flatMap((path) => [...path.getAttribute("d").matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)]));
    const outside = ([x, y]) => x < left - 1 || x > right + 1 || y < top - 1 || y > bottom + 1;
    return { label: svg.getAttribute("aria-label"), beyond: points.filter(outside).length };
  });
}

/** Clicks and keys, once a page. */
async function use(page, where) {
  const data = JSON.parse(await page.$eval("#page-data", (script) => script.textContent));
  if (!data.figures || !data.classes) return;
  // From a cell of the confusion matrix to its images, by keyboard.
  const wrong = await page.$$eval("[data-cell]", (all) => all.map((cell) => cell.dataset.cell).find((cell) => cell.split(",")[0] !== cell.split(",")[1]));
  if (wrong) {
    const [truth, said] = wrong.split(",").map(Number);
    await page.focus(`[data-cell="${wrong}"]`);
    await page.keyboard.press("Enter");
    const number = data.confusion.cells.find((cell) => cell.truth === truth && cell.predicted === said).count;
    const heading = await page.textContent("#cell-images h3");
    check(heading.includes(data.classes[truth]) && heading.includes(data.classes[said]), `${where}: the cell ${wrong} opens "${heading}"`);
    check(await page.evaluate(() => document.activeElement.matches("#cell-images h3")), `${where}: the focus goes to the images`);
    const captions = await page.$$eval("#cell-images figcaption", (all) => all.map((caption) => caption.textContent));
    check(captions.length > 0 && captions.length <= number, `${where}: ${captions.length} images of ${number}`);
    check(captions.every((caption) => caption.includes("wrong") && caption.includes(`actual ${data.classes[truth]}`)), `${where}: the images are those of the cell`);
    if (folder) await page.locator("#confusion").screenshot({ path: join(folder, "cell.png") });
  }
  const box = await page.$(".heat-switch");
  if (box) {
    await box.check();
    check(await page.$eval(".photo canvas", (canvas) => getComputedStyle(canvas).display !== "none"), `${where}: heat maps are shown`);
    if (folder) await page.locator("#pictures").screenshot({ path: join(folder, "heat.png") });
  }
  // Decisions, down to the file.
  const fields = page.locator("#labels fieldset");
  if (data.labels?.trainable && (await fields.count()) >= 2) {
    const ids = await page.$$eval("#labels .gallery.wide figure", (all) => all.slice(0, 2).map((figure) => figure.querySelector(".name").textContent));
    const suggested = data.labels.suspects[0].suggested.map((place) => data.classes[place]).join("|");
    await fields.nth(0).getByLabel("relabel").check();
    await fields.nth(1).getByLabel("drop").check();
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
    check(download.suggestedFilename() === "decisions.csv", `${where}: downloads ${download.suggestedFilename()}`);
    const table = readFileSync(await download.path(), "utf8");
    check(table === `id,decision,label\n${ids[0]},relabel,${suggested}\n${ids[1]},drop,\n`, `${where}: decisions.csv is ${JSON.stringify(table)}`);
    await page.reload();
    check(await fields.nth(1).getByLabel("drop").isChecked(), `${where}: decisions are remembered`);
    if (process.env.DECISIONS) (await import("node:fs")).writeFileSync(process.env.DECISIONS, table);
  }
}

end(`${pages.length} pages at ${WIDTHS.length} widths, light and dark`);
