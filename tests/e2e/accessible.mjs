/** Whether people can use a page that do not see it, or not well. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import process from "node:process";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No violation that keeps somebody out, in either colour scheme. SCREENSHOTS=folder keeps pictures by `name`. */
export async function isAccessible(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    const bad = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    const found = bad.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
    assert.deepEqual(found, [], `${name}, ${colorScheme}`);
    const { SCREENSHOTS } = process.env;
    if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}-${colorScheme}.png` });
  }
}
