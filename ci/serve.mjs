// Uses the page of `ocelli serve` as people do, in headless Chromium: photos are dropped on it, chosen and pasted, and it
// gives the probabilities that `ocelli predict` gives; heat maps are shown by keyboard; without its token it asks for it.
// At three widths, light and dark, without an error in the console, a request elsewhere or a serious finding of axe-core.
//
//   node ci/serve.mjs [--screenshots FOLDER] OCELLI MODEL PHOTO…
//
// Needs playwright-core and axe-core (npm), and Chromium at $CHROMIUM or /usr/bin/chromium.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { WIDTHS, browser, check, end, give, looks, open as opened, start, words } from "./browser.mjs";

const [ocelli, model, ...photos] = words.map((word) => resolve(word));

/** A server on a free port, once it listens. */
const serve = (...flags) => start(ocelli, ["serve", ...flags, "--port", "0", "--log", "none"]);

/** The page, loaded. Statuses of refused requests are errors in the console: they are looked for elsewhere. */
async function open(home, options, where, expected = /^Ready\.$/) {
  const page = await opened(home, options, where, /status of (401|413|422)/);
  await page.waitForFunction(() => !/Asking/.test(document.getElementById("status").textContent), null, { timeout: 60000 });
  const status = await page.textContent("#status");
  check(expected.test(status), `${where}: says ${status}`);
  return page;
}

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

const place = mkdtempSync(join(tmpdir(), "serve-"));
/** What is no photo, or too large a one, and what is said of it. */
const WRONG = [
  ["notes.jpg", Buffer.from("no photo"), /^This file is not an image in a known format \(JPEG, /],
  ["empty.jpg", Buffer.alloc(0), /^This file is empty\.$/],
  ["large.jpg", Buffer.alloc(1_100_000, 7), /^This file is larger than the 1 MB that this server takes\.$/],
  ["many.png", readFileSync(photos[0]), /^This file has \d+ × \d+ pixels, more than the limit of 100 in all\.$/],
];
for (const [name, bytes] of WRONG) writeFileSync(join(place, name), bytes);
const wrong = join(place, "notes.jpg");
const rows = execFileSync(ocelli, ["predict", model, "--jsonl", ...photos], { encoding: "utf8", maxBuffer: 1 << 28 }).trim().split("\n").map((line) => JSON.parse(line));

const { address: home, stop } = await serve(model);
const page = await open(home, {}, "in use");
await give(page, "drop", [...photos, wrong]);
const found = await cards(page, photos.length + 1);
rows.forEach(({ class: name, probabilities }, at) => {
  const card = found[at];
  check(card.name === basename(photos[at]), `card ${at} is of ${card.name} instead of ${basename(photos[at])}`);
  check(card.class === name, `${card.name}: ${card.class} instead of ${name}`);
  const same = Object.entries(probabilities).every(([name, probability]) => card.probabilities[name] === probability);
  check(same, `${card.name}: ${JSON.stringify(card.probabilities)} instead of ${JSON.stringify(probabilities)}`);
});
check(WRONG[0][2].test(found.at(-1).error), `a file that is no image: ${JSON.stringify(found.at(-1))}`);
await page.setInputFiles("#files", photos[0]);
await give(page, "paste", [photos[1]]);
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

const small = await serve(model, "--max-body", "1", "--max-pixels", "100");
const strict = await open(small.address, {}, "what is wrong");
await give(strict, "drop", WRONG.map(([name]) => join(place, name)));
for (const [at, { name, error }] of (await cards(strict, WRONG.length)).entries()) check(WRONG[at][2].test(error), `${name}: "${error}"`);
await looks(strict, "what is wrong", "wrong");
await strict.context().close();

const locked = await serve(model, model, "--token", "a-long-secret");
for (const colorScheme of ["light", "dark"]) {
  for (const width of WIDTHS) {
    const options = { colorScheme, viewport: { width, height: 900 } }, where = `${width} px, ${colorScheme}`;
    const page = await open(home, options, where);
    await looks(page, where, `${width}-${colorScheme}-empty`);
    await give(page, "drop", [...photos.slice(0, 5), wrong]);
    await cards(page, Math.min(photos.length, 5) + 1);
    await page.click("article:nth-child(2) button");
    await page.waitForSelector("article button[aria-pressed=true]", { timeout: 60000 });
    await looks(page, where, `${width}-${colorScheme}`);
    await page.context().close();

    const stranger = await open(locked.address, options, where, /asks for a token/);
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
const known = await open(`${locked.address}/#token=a-long-secret`, {}, "with the token in the address");
check(!known.url().includes("secret"), `the token stays in the address: ${known.url()}`);
await browser.close();
check((await Promise.all([stop(), small.stop(), locked.stop()])).every((status) => status === 0), "the servers end with status 0");
rmSync(place, { recursive: true });

end(`${photos.length} photos; ${WIDTHS.length} widths, light and dark`);
