// Pictures of a run's report and of the pages of `ocelli serve`, `watch` and `clean`, and drawings as WebP: the part of
// ci/pictures that needs a browser.
//
//   node ci/pictures.mjs IMAGES OCELLI RUN LESSON AUGMENTATION.png SGDR.png PHOTO…

import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { browser, give, start, words } from "./browser.mjs";

const [images, ocelli, run, lesson, augmentation, sgdr, ...photos] = words;
const report = join(run, "report.html");

/** A PNG as WebP, at the same size. */
async function webp(png, name, quality) {
  const page = await browser.newPage();
  const address = await page.evaluate(async ([source, quality]) => {
    const image = new Image();
    image.src = source;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", quality);
  }, [`data:image/png;base64,${png.toString("base64")}`, quality]);
  if (!address.startsWith("data:image/webp")) throw new Error("this browser writes no WebP");
  writeFileSync(join(images, name), Buffer.from(address.split(",")[1], "base64"));
  await page.close();
}

for (const colorScheme of ["light", "dark"]) {
  const context = await browser.newContext({ colorScheme, viewport: { width: 1180, height: 800 }, deviceScaleFactor: 1.5, offline: true });
  const page = await context.newPage();
  await page.goto(pathToFileURL(resolve(report)).href);
  await webp(await page.screenshot(), `report-${colorScheme}.webp`, 0.85);
  await page.locator("#pictures").scrollIntoViewIfNeeded();
  const box = await page.$(".heat-switch");
  if (box) await box.check();
  await page.evaluate(() => document.querySelector("#pictures").scrollIntoView({ block: "start" }));
  await page.waitForTimeout(300);
  await webp(await page.screenshot(), `mistakes-${colorScheme}.webp`, 0.85);
  await context.close();
}

/** A picture of a page of a server, light and dark, once `ready` is done. */
async function served(name, verb, run, height, ready) {
  const server = await start(ocelli, [verb, run, "--port", "0", "--log", "none"]);
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ colorScheme, viewport: { width: 1100, height } });
    const page = await context.newPage();
    await page.goto(server.address);
    await ready(page);
    await webp(await page.screenshot(), `${name}-${colorScheme}.webp`, 0.8);
    await context.close();
  }
  await server.stop();
}
await served("serve", "serve", run, 830, async (page) => {
  await page.waitForFunction(() => document.getElementById("status").textContent === "Ready.");
  await give(page, "drop", photos);
  await page.waitForFunction((count) => document.querySelectorAll("article button").length === count, photos.length);
  await page.click("article:nth-child(2) button");
  await page.waitForSelector("article button[aria-pressed=true]");
  await page.evaluate(() => window.scrollTo(0, 0));
});
await served("watch", "watch", lesson, 1210, async (page) => {
  await page.waitForSelector("#curves svg.chart");
  await page.waitForFunction(() => [...document.querySelectorAll(".photos .photo")].every((photo) => photo.querySelector("img")?.complete));
  await page.evaluate(() => document.querySelector("#curves").scrollIntoView({ block: "start" }));
});
await served("clean", "clean", run, 800, async (page) => {
  await page.waitForFunction(() => document.body.dataset.ready && [...document.querySelectorAll(".near img")].every((image) => image.complete));
  await page.waitForTimeout(500);
});
await webp(readFileSync(augmentation), "augmentation.webp", 0.9);
await webp(readFileSync(sgdr), "sgdr.webp", 0.92);
await browser.close();
