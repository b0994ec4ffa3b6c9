// Opens the built site in a real browser: what it loads, whether it can be searched, read in both palettes and on a phone.
// Environment: SITE (where it is served), CHROMIUM, AXE (the path of axe-core).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const site = process.env.SITE;
const PAGES = [
  "",
  "quick-start/",
  "concepts/",
  "clients/",
  "agents/",
  "operating/",
  "api/",
  "api/conversations/",
  "api/errors/",
];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
try {
  for (const [width, colorScheme] of [
    [1440, "light"],
    [390, "dark"],
  ]) {
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    const page = await context.newPage();
    const foreign = [];
    const faults = [];
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(site) && !/^(data|blob):/.test(url)) foreign.push(url);
    });
    page.on(
      "response",
      (response) => response.status() >= 400 && faults.push(`${response.status()} ${response.url()}`),
    );
    page.on("pageerror", (error) => faults.push(String(error)));
    for (const path of PAGES) {
      await page.goto(site + path, { waitUntil: "networkidle" });
      const scheme = await page.locator("body").getAttribute("data-md-color-scheme");
      assert.equal(scheme, colorScheme === "dark" ? "slate" : "default");
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(beyond <= 0, `${path} at ${width} px is ${beyond} px too wide`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() =>
        globalThis.axe.run("article", {
          runOnly: ["color-contrast", "image-alt", "heading-order", "link-name"],
        }),
      );
      const said = violations.map(
        ({ id, nodes }) =>
          `${id}: ${nodes
            .map(({ html }) => html)
            .slice(0, 3)
            .join(" ")}`,
      );
      assert.deepEqual(said, [], `${path} ${colorScheme}`);
    }
    assert.deepEqual(foreign, [], "something is loaded from elsewhere");
    assert.deepEqual(faults, []);
    await context.close();
  }

  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.goto(site, { waitUntil: "networkidle" });
  await page.locator(".md-search__input").click();
  await page.keyboard.type("client_id_reused");
  const found = page.locator(".md-search-result__link").first();
  await found.waitFor();
  assert.match(await found.getAttribute("href"), /api\/errors/);
} finally {
  await browser.close();
}
