/**
 * The playground in a real browser: two people in a group, an agent, a narrow screen, the keyboard alone.
 *
 * BASE=http://127.0.0.1:4000 CHROMIUM=/usr/bin/chromium node playground.mjs
 *
 * The server is in open mode with the demo agent `echo-bot` answering. Every run uses names of its own, so that a
 * database may hold earlier runs. Exits 0, or 1 with the step that failed and why. SCREENSHOTS=folder keeps pictures.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM, SCREENSHOTS } = process.env;
const STEP_MS = 15_000;
const WHOLE_MS = 150_000;
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const run = Date.now().toString(36);
const alice = `alice-${run}`;
const bob = `bob-${run}`;
const group = `trip-${run}`;
const faults = [];

/** A page of its own with every fault of its console kept, and a handle on its sockets. */
async function newPage(context, name) {
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  page.on("console", (message) => message.type() === "error" && faults.push(`${name}: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`${name}: ${error.message}`));
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
  return page;
}

async function enter(page, id) {
  await page.goto(`${BASE}/?as=${id}`);
  await page.waitForSelector('html[data-connection="live"]');
}

const messages = (page) => page.locator("#log .message-text").allTextContents();
const message = (page, text) => page.locator("#log .message", { has: page.getByText(text, { exact: true }) });
const entry = (page, key) => page.locator(`#inbox li[data-key="${key}"]`);

async function say(page, text) {
  await page.fill("#composer-text", text);
  await page.press("#composer-text", "Enter");
  await page.locator('#log .message.mine[data-state="stored"]').getByText(text, { exact: true }).waitFor();
}

/** Wait until `read` gives `wanted`, and say what it gave otherwise. */
async function becomes(read, wanted, what) {
  const end = Date.now() + STEP_MS;
  let got;
  while (Date.now() < end) {
    got = await read();
    if (got === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.fail(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
}

async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

async function fitsWidth(page, where) {
  const { content, window } = await page.evaluate(() => ({
    content: Math.max(document.documentElement.scrollWidth, document.querySelector("#scroller").scrollWidth),
    window: innerWidth,
  }));
  assert.ok(content <= window, `${where} is ${content} px wide on a screen of ${window} px`);
}

const steps = {
  async "a new participant is asked for a name and offered the agent"({ first }) {
    await first.goto(`${BASE}/`);
    await first.fill("#who-id", "not a name");
    await first.press("#who-id", "Enter");
    await becomes(() => first.locator("#who-error").isVisible(), true, "the rule for names is shown");
    await first.fill("#who-id", alice);
    await first.press("#who-id", "Enter");
    await first.waitForSelector('html[data-connection="live"]');
    await becomes(() => first.textContent("#me-name"), alice, "who you are");
    await first.locator("#echo-button").waitFor();
    await picture(first, "empty");
  },

  async "echo-bot answers a dm"({ first }) {
    await first.click("#echo-button");
    await say(first, "hello agent");
    const answer = first.locator("#log .message:not(.mine)", { has: first.locator(".badge:visible") }).first();
    await answer.waitFor();
    assert.match(await answer.locator(".message-text").textContent(), /hello agent/);
    await picture(first, "agent");
  },

  async "a group is created and both see each other online"({ first, second }) {
    await enter(second, bob);
    await first.click("#start-button");
    await first.getByText("Group", { exact: true }).click();
    await first.fill("#start-key", group);
    await first.fill("#start-heading", "Weekend trip");
    await first.fill("#start-members", bob);
    await first.click("#start-form [type=submit]");
    await becomes(() => first.textContent("#conversation-title"), "Weekend trip", "the title of the group");
    await entry(second, group).locator("a").click();
    await becomes(() => first.textContent("#conversation-subtitle"), `${group}, 2 online`, "who is online");
  },

  async "messages are live in both directions, in order"({ first, second }) {
    await say(first, "Shall we go by train?");
    await message(second, "Shall we go by train?").waitFor();
    await say(second, "Yes, the early one");
    await message(first, "Yes, the early one").waitFor();
    assert.deepEqual(await messages(first), ["Shall we go by train?", "Yes, the early one"]);
    assert.deepEqual(await messages(second), await messages(first));
  },

  async "what was read is seen by the sender"({ first }) {
    await say(first, "Good");
    await becomes(() => message(first, "Good").locator(".receipt").textContent(), "Seen", "the receipt");
  },

  async "typing shows and ends"({ first, second }) {
    await first.locator("#composer-text").pressSequentially("hm");
    await becomes(() => second.textContent("#typing"), `${alice} is typing`, "the typing line");
    await first.fill("#composer-text", "");
    await becomes(() => second.textContent("#typing"), "", "the typing line after the text was cleared");
  },

  async "unread messages are counted, marked by a line, and cleared by reading"({ first, second }) {
    await second.press("#composer-text", "Escape");
    await say(first, "Tickets are bought");
    await say(first, `@${bob} bring the map`);
    await becomes(() => entry(second, group).locator(".unread").textContent(), "2", "the unread count");
    await becomes(() => entry(second, group).locator(".mentions").textContent(), "@1", "the mention count");
    await picture(second, "unread");
    await entry(second, group).locator("a").click();
    await becomes(() => second.locator("#log .divider").count(), 1, "the line of new messages");
    await becomes(() => entry(second, group).locator(".unread").isVisible(), false, "the unread count after reading");
  },

  async "a lost connection loses nothing and shows nothing twice"({ first, second }) {
    await first.evaluate(() => window.closeSockets());
    for (const text of ["one", "two", "three"]) await say(second, text);
    await first.fill("#composer-text", "written while away");
    await first.press("#composer-text", "Enter");
    await message(second, "written while away").waitFor();
    await first.waitForSelector('html[data-connection="live"]');
    await becomes(async () => (await messages(first)).join(), (await messages(second)).join(), "the log after the loss");
    assert.equal(new Set(await messages(first)).size, (await messages(first)).length, "nothing is shown twice");
  },

  async "history is paged in by scrolling up"({ second }) {
    const key = [alice, bob].sort().join(":");
    for (let number = 1; number <= 120; number += 1) {
      const response = await fetch(`${BASE}/api/conversations/${key}/messages`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ sender_id: alice, text: `line ${number}` }),
      });
      assert.ok(response.ok, `the REST append answered ${response.status}`);
    }
    await becomes(() => entry(second, key).locator(".unread").textContent(), "99+", "the unread count of many");
    await entry(second, key).locator("a").click();
    await message(second, "line 120").waitFor();
    const end = Date.now() + STEP_MS;
    while (!(await second.locator("#beginning").isVisible())) {
      assert.ok(Date.now() < end, "the beginning was never reached");
      await second.locator("#scroller").evaluate((box) => (box.scrollTop = 0));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const wanted = Array.from({ length: 120 }, (_, index) => `line ${index + 1}`);
    assert.deepEqual(await messages(second), wanted);
  },

  async "everything can be done by keyboard"({ first }) {
    await enter(first, alice);
    await entry(first, group).waitFor();
    const focused = () => first.evaluate(() => document.activeElement?.id || document.activeElement?.closest("li")?.dataset.key);
    await first.keyboard.press("Tab");
    assert.equal(await focused(), "start-button", "the first stop of Tab");
    await first.keyboard.press("Tab");
    const keys = await first.locator("#inbox li").evaluateAll((items) => items.map((item) => item.dataset.key));
    assert.equal(await focused(), keys[0], "the second stop of Tab");
    await first.keyboard.press("End");
    assert.equal(await focused(), keys.at(-1), "End goes to the last conversation");
    await first.keyboard.press("Home");
    for (let step = 0; step < keys.indexOf(group); step += 1) await first.keyboard.press("ArrowDown");
    await first.keyboard.press("Enter");
    await becomes(focused, "composer-text", "the focus after opening");
    await first.keyboard.type("first line");
    await first.keyboard.press("Shift+Enter");
    await first.keyboard.type("second line");
    await first.keyboard.press("Enter");
    await first.locator('#log .mine[data-state="stored"]').getByText("second line").waitFor();
    assert.equal((await messages(first)).at(-1), "first line\nsecond line");
    await first.keyboard.press("Escape");
    await becomes(focused, group, "the focus after Escape");
  },

  async "a phone shows the list, then the conversation, and never scrolls sideways"({ second }) {
    await second.setViewportSize(PHONE);
    await enter(second, bob);
    await entry(second, group).waitFor();
    await fitsWidth(second, "the inbox");
    assert.equal(await second.locator("#conversation").isVisible(), false, "the conversation is not in the list's way");
    await entry(second, group).locator("a").click();
    await say(second, `https://example.com/${"a-very-long-address-".repeat(8)}`);
    await fitsWidth(second, "the conversation");
    assert.equal(await second.locator("#inbox").isVisible(), false, "the list is not in the conversation's way");
    await picture(second, "phone");
    await second.click("#back");
    await becomes(() => second.locator("#inbox").isVisible(), true, "the inbox after going back");
  },

  async "the console stayed silent"() {
    assert.deepEqual(faults, []);
  },
};

async function main() {
  assert.ok(BASE && CHROMIUM, "BASE and CHROMIUM have to be set");
  const profile = await mkdtemp(join(tmpdir(), "fleetlm-playground-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
    viewport: DESKTOP,
  });
  try {
    const pages = { first: await newPage(context, "alice"), second: await newPage(context, "bob") };
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(pages);
      } catch (error) {
        await picture(pages.first, "failed-alice");
        await picture(pages.second, "failed-bob");
        throw new Error(`${name}: ${error.message}${faults.length ? `\nconsole: ${faults.join("; ")}` : ""}`);
      }
      console.log(`ok  ${name}`);
    }
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

const alarm = setTimeout(() => {
  console.error(`FAILED  not done within ${WHOLE_MS / 1000} s`);
  process.exit(1);
}, WHOLE_MS);

main()
  .then(() => clearTimeout(alarm))
  .catch((error) => {
    console.error(`FAILED  ${error.message}`);
    process.exit(1);
  });
