/**
 * The TypeScript SDK as it is published, in a real browser: over sockets and over event streams, with the network off and on.
 *
 * BASE=http://127.0.0.1:4000 CHROMIUM=/usr/bin/chromium node typescript_sdk.mjs
 *
 * The server is in open mode, the package is built. Exits 0, or 1 with what failed.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM } = process.env;
const DIST = new URL("../../clients/typescript/dist/", import.meta.url);
const run = Date.now().toString(36);
const faults = [];

/** A page of the server with nothing but the SDK, as `sdk`, and a handle on its sockets. */
async function newPage(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => faults.push(error.message));
  await page.addInitScript(() => {
    const sockets = [];
    window.WebSocket = class extends WebSocket {
      constructor(...given) {
        super(...given);
        sockets.push(this);
      }
    };
    window.closeSockets = () => sockets.forEach((socket) => socket.close());
  });
  await page.route("**/sdk/*", async (route) => {
    const file = new URL(route.request().url()).pathname.slice("/sdk/".length);
    await route.fulfill({
      contentType: "text/javascript",
      body: await readFile(new URL(file, DIST), "utf8"),
    });
  });
  await page.goto(`${BASE}/health/live`);
  await page.evaluate(async () => (window.sdk = await import("/sdk/index.js")));
  return page;
}

/** Follow a dm in a page, as `conversation`. */
async function follow(page, participantId, key, transport) {
  await page.evaluate(
    ([participantId, key, transport]) => {
      window.fleet = new window.sdk.FleetLM({ participantId, transport });
      window.conversation = window.fleet.conversation(key);
      window.conversation.open();
    },
    [participantId, key, transport],
  );
  await page.waitForFunction(() => window.conversation.snapshot().status === "online");
}

const texts = (page) => page.evaluate(() => window.conversation.snapshot().messages.map(({ text }) => text));

/** What is said while the network is off comes when it is on again, in order and once. */
async function talk(browser, transport) {
  const [alice, bob] = ["alice", "bob"].map((name) => `${name}-${transport}-${run}`);
  const context = await browser.newContext();
  const [hers, his] = [await newPage(context), await newPage(await browser.newContext())];
  await follow(hers, alice, `${alice}:${bob}`, transport);
  await follow(his, bob, `${alice}:${bob}`, transport);
  if (transport === "auto")
    await hers.waitForFunction(() => window.conversation.snapshot().present.length === 2);
  await hers.evaluate(() => window.conversation.send("hello"));
  await his.waitForFunction(() => window.conversation.snapshot().last_seq === 1);

  await context.setOffline(true);
  await hers.evaluate(() => window.closeSockets());
  if (transport === "auto")
    await hers.waitForFunction(() => window.conversation.snapshot().status === "offline");
  await hers.evaluate(() => {
    window.sent = Promise.all([window.conversation.send("first"), window.conversation.send("second")]);
  });
  await his.evaluate(() => window.conversation.send("meanwhile"));
  await context.setOffline(false);
  await hers.evaluate(() => window.sent);
  for (const page of [hers, his]) {
    await page.waitForFunction(() => window.conversation.snapshot().last_seq === 4);
    const said = await texts(page);
    assert.deepEqual([...said].sort(), ["first", "hello", "meanwhile", "second"]);
    assert.ok(said.indexOf("first") < said.indexOf("second"));
    assert.equal(await page.evaluate(() => window.conversation.snapshot().pending.length), 0);
  }
  await hers.evaluate(() => window.fleet.close());
  assert.equal(await hers.evaluate(() => window.fleet.status), "closed");
}

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
try {
  for (const transport of ["auto", "sse"]) await talk(browser, transport);
  assert.deepEqual(faults, []);
} finally {
  await browser.close();
}
