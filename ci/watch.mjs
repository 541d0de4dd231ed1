// Watches a run in headless Chromium from its first event to its last, as people do: the drawn curves are those of
// history.csv and the corrected figure that of the terminal, also after the page is loaded again in the middle; the run is stopped and continued by the page's buttons,
// by keyboard; runs are filtered, sorted and drawn together. At three widths, light and dark, without an error in the
// console, a request elsewhere or a serious finding of axe-core.
//
//   node ci/watch.mjs [--screenshots FOLDER] OCELLI PHOTOS
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WIDTHS, browser, check, end, looks, open, start as started, words } from "./browser.mjs";

const [ocelli, photos] = words.map((word) => resolve(word));

/** Enough that a run can be stopped before its end. */
const EPOCHS = "50";
const home = mkdtempSync(join(tmpdir(), "watch-"));
const runs = join(home, "runs");
mkdirSync(runs);
const environment = { ...process.env, OCELLI_CACHE: join(home, "cache") };

const start = (...given) => started(ocelli, given, { cwd: home, env: environment });
const train = (name, ...more) => ["train", photos, "--recipe", "quick", "--size", "32", "--threads", "1", "--head-epochs", EPOCHS, "--out", join(runs, name), ...more];

const state = (page, wanted) => page.waitForFunction((wanted) => document.getElementById("state").classList.contains(wanted), wanted, { timeout: 120000 });
const epochs = (page, number) => page.waitForFunction((number) => document.querySelectorAll("#epochs tbody tr").length >= number, number, { timeout: 120000 });

/** The rows of a run's history. */
const history = (name) => {
  const [head, ...rows] = readFileSync(join(runs, name, "history.csv"), "utf8").trim().split("\n").map((row) => row.split(","));
  return rows.map((row) => Object.fromEntries(head.map((column, at) => [column, row[at]])));
};
/** The drawn values of a chart's lines, from where their dots and the numbers of the axis are. */
const drawn = (page, chart) => page.$eval(chart, (svg) => {
  const ticks = [...svg.querySelectorAll('text[text-anchor="end"]')].filter((text) => text.textContent !== "" && !Number.isNaN(Number(text.textContent))).map((text) => [Number(text.getAttribute("y")) - 4, Number(text.textContent)]);
  const [[y0, v0], [y1, v1]] = [ticks[0], ticks.at(-1)];
  const lines = {};
  for (const dot of svg.querySelectorAll("circle.dot")) (lines[dot.classList[1]] ??= []).push(v0 + ((Number(dot.getAttribute("cy")) - y0) * (v1 - v0)) / (y1 - y0));
  return { lines: Object.values(lines), range: Math.abs(v1 - v0) };
});
async function compare(page, name, where) {
  const rows = history(name);
  const table = await page.$$eval("#epochs tbody tr", (all) => all.map((row) => [...row.children].slice(0, 4).map((cell) => cell.textContent)));
  const expected = rows.map((row) => [`${row.phase}, ${row.epoch}`, ...["train_loss", "valid_loss", "accuracy"].map((column) => Number(row[column]).toFixed(4))]);
  check(JSON.stringify(table) === JSON.stringify(expected), `${where}: the table is ${JSON.stringify(table)} instead of ${JSON.stringify(expected)}`);
  const charts = [["#curves .columns > div:nth-child(1) svg.chart", ["train_loss", "valid_loss"]], ["#curves .columns > div:nth-child(2) svg.chart", ["accuracy"]]];
  for (const [chart, columns] of charts) {
    const { lines, range } = await drawn(page, chart);
    columns.forEach((column, at) => rows.forEach((row, epoch) => {
      const distance = Math.abs((lines[at]?.[epoch] ?? Infinity) - Number(row[column]));
      check(distance <= 0.01 * range, `${where}: ${column} of epoch ${epoch + 1} is drawn at ${lines[at]?.[epoch]} instead of ${row[column]}`);
    }));
    check(lines[0].length === rows.length, `${where}: ${lines[0].length} dots for ${rows.length} epochs`);
  }
}
// From the first event to the last, with the page loaded again in between. The browser has begun before the run.
const watch = await start("watch", runs, "--port", "0");
const page = await open(watch.address, {}, "watch");
await page.waitForFunction(() => /no run/.test(document.getElementById("about").textContent));
const first = await start(...train("first", "--watch"));
let printed = "";
first.output.on("data", (text) => { printed += text; });
const own = await Promise.all(["/", "/api/runs"].map((path) => fetch(`${first.address}${path}`)));
check(own.every((answer) => answer.ok) && (await own[1].json()).is_single, "the training process shows its run");
await page.click("#runs tbody a");
await epochs(page, 1);
await page.reload();
await state(page, "finished");
await epochs(page, Number(EPOCHS));
await compare(page, "first", "watched");
await first.ended;
const [, value, interval] = printed.match(/corrected for .*\n\S+ +([\d.]+) +(95 % CI \S+)/);
const figure = await page.locator(".figures div", { hasText: "Accuracy, corrected" }).first().textContent();
check(figure.includes(value) && figure.includes(interval), `the page says "${figure}", the terminal ${value}, ${interval}`);

// Stopped and continued, by keyboard.
const second = await start(...train("second", "--seed", "7", "--watch"));
await page.click("#crumbs a");
await page.click('[data-focus="run second"]');
// At once, since a fast machine needs few seconds for all epochs.
await page.focus("#stop:enabled");
await page.keyboard.press("Enter");
await state(page, "stopped");
await looks(page, "stopped", "stopped");
await second.ended;
check(history("second").length < Number(EPOCHS), "the run is stopped before its end");
check(/^The run is stopped/.test(await page.textContent("#status")), `it says ${await page.textContent("#status")}`);
await page.focus("#continue");
await page.keyboard.press("Enter");
await state(page, "finished");
await epochs(page, Number(EPOCHS));
await page.waitForSelector("#report", { timeout: 120000 });
await compare(page, "second", "continued");
const report = await page.context().newPage();
await report.goto(`${watch.address}/runs/second/report`);
check(await report.locator("main section").count() > 3, "the report is drawn");
await page.context().close();

const list = await open(watch.address, {}, "list");
await list.waitForSelector("#runs tbody tr");
const names = () => list.$$eval("#runs tbody th", (all) => all.map((cell) => cell.textContent));
check((await names()).join() === "first,second", `the list is ${await names()}`);
await list.click('[data-focus="sort name"]');
check((await names()).join() === "second,first", `sorted the other way round: ${await names()}`);
check(await list.evaluate(() => document.activeElement.dataset.focus) === "sort name", "the button keeps the focus");
check(await list.locator("#compare svg.chart").count() === 2, "both runs are drawn together");
check(await list.locator("#compare svg.chart").first().locator("path.line").count() === 2, "two lines");
await list.fill("#filter", "sec");
check((await names()).join() === "second", `filtered: ${await names()}`);
await list.fill("#filter", "");
await list.locator("#runs tbody input").first().uncheck();
check(await list.locator("#compare svg.chart").first().locator("path.line").count() === 1, "one line");
await list.click("#runs tbody a >> nth=0");
await state(list, "finished");
await list.goBack();
await list.waitForSelector("#runs tbody tr");
await list.context().close();

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const options = { colorScheme, viewport: { width, height: 900 } }, where = `${width} px, ${colorScheme}`;
    const page = await open(watch.address, options, where);
    await page.waitForSelector("#compare svg.chart");
    await looks(page, `${where}, list`, `${width}-${colorScheme}-list`);
    await page.goto(`${watch.address}/#run=first`);
    await epochs(page, Number(EPOCHS));
    await page.waitForFunction(() => [...document.querySelectorAll(".photos .photo")].every((photo) => photo.querySelector("img")?.complete));
    await looks(page, where, `${width}-${colorScheme}`);
    await page.context().close();
  }
}
await browser.close();
check(await watch.stop() === 0, "the server ends with status 0");
check(!existsSync(join(runs, "second", ".stop")), "the request to stop is gone");
rmSync(home, { recursive: true });
end(`two runs are watched, stopped, continued and compared at ${WIDTHS.length} widths, light and dark`);
