// Uses a page that `ocelli export --format web` has written as people do, in headless Chromium: photos are dropped on it,
// chosen and pasted, and it gives the probabilities that `ocelli predict` gives; also for large, turned and transparent
// photos, which are made here. At three widths, light and dark, without an error in the console, a request elsewhere or a
// serious finding of axe-core.
//
//   node ci/web.mjs [--screenshots FOLDER] OCELLI MODEL SITE PHOTO…
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { WIDTHS, browser, check, end, files, give, looks, open as opened, words } from "./browser.mjs";

const [ocelli, model, site, ...photos] = words.map((word) => resolve(word));

const { home, close } = await files(site);

/** The page, loaded. */
async function open(options, where) {
  const page = await opened(home, options, where);
  await page.waitForFunction(() => /Ready|cannot|changes/.test(document.getElementById("status").textContent), null, { timeout: 60000 });
  const status = await page.textContent("#status");
  check(status === "Ready.", `${where}: says ${status}`);
  return page;
}

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

await give(page, "drop", [...paths, wrong]);
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
await give(page, "paste", [paths[1]]);
const more = await cards(page, paths.length + 3);
check(more.length === paths.length + 3 && more[1].name === basename(paths[0]) && more[0].name === basename(paths[1]), `chosen and pasted: ${more.slice(0, 2).map(({ name }) => name)}`);
await page.context().close();

for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const where = `${width} px, ${colorScheme}`;
    const page = await open({ colorScheme, viewport: { width, height: 900 } }, where);
    for (const used of [false, true]) {
      if (used) {
        await give(page, "drop", [...paths.slice(0, 5), wrong]);
        await cards(page, Math.min(paths.length, 5) + 1);
      }
      await looks(page, where, `${width}-${colorScheme}${used ? "" : "-empty"}`, used);
    }
    await page.context().close();
  }
}
await browser.close();
close();

const largest = Math.max(...rows.map((row) => row[5]));
end(`${rows.length} photos: probabilities differ by at most ${largest.toExponential(1)}; ${WIDTHS.length} widths, light and dark`);
