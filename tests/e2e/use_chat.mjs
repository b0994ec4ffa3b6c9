/**
 * `useChat` on a conversation, in a real browser: an answer is streamed, goes on in the page that is reloaded in its middle, and can be
 * stopped; what is shown is what is stored.
 *
 * PAGE=url BASE=url AGENT=id CHROMIUM=path node use_chat.mjs   (the agent says what it was told, slowly, word by word)
 */
import assert from "node:assert/strict";
import process from "node:process";
import { chromium } from "playwright-core";
import { isAccessible } from "./accessible.mjs";

const { PAGE, BASE, AGENT, CHROMIUM } = process.env;
const STEP_MS = 45_000;
const WHOLE_MS = 200_000;
const WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split(" ");
const QUESTION = `${WORDS.join(" ")} ${WORDS.join(" ")}`;
const ANSWER = `You said: ${QUESTION}`;

const me = `alice-${Date.now().toString(36)}`;
const faults = [];
let step = "the start";

const begin = (name) => (step = name);
const bubbles = (page) => page.$$eval(".log .message .bubble .text", (all) => all.map((one) => one.textContent.trim()));
const growing = (page, text) => page.locator('.message[data-growing="true"]', { hasText: text }).waitFor();
const done = (page) => page.waitForFunction(() => document.querySelector('[aria-label="Send"]') && !document.querySelector('[data-growing="true"]'));

async function open(browser, options) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(STEP_MS);
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  await page.goto(`${PAGE}/?as=${me}&with=${AGENT}&server=${encodeURIComponent(BASE)}`);
  return page;
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

async function stored() {
  const response = await fetch(`${BASE}/api/conversations/${me}:${AGENT}/messages`);
  return (await response.json()).messages;
}

async function main(browser) {
  const page = await open(browser, { viewport: { width: 1280, height: 800 } });
  await page.getByRole("heading", { name: `Talk to ${AGENT}` }).waitFor();

  begin("an answer is streamed");
  await say(page, QUESTION);
  await growing(page, "You said: one two");

  begin("it goes on in the page that is reloaded in its middle");
  await page.reload();
  await growing(page, "You said: one two three");
  assert.ok(!(await bubbles(page)).includes(ANSWER), "it was over before the page was back");
  await done(page);
  assert.deepEqual(await bubbles(page), [QUESTION, ANSWER]);
  assert.deepEqual((await stored()).map(({ text }) => text.trim()), [QUESTION, ANSWER]);

  begin("a second answer is stopped, and what was said is kept");
  await say(page, `again ${QUESTION}`);
  await growing(page, "You said: again one");
  await page.getByRole("button", { name: "Stop" }).click();
  await page.locator(".ending", { hasText: "stopped" }).waitFor();
  await done(page);
  const kept = await stored();
  assert.equal(kept.length, 4);
  assert.equal(kept[3].content.status, "cancelled");
  assert.ok(kept[3].text.length < QUESTION.length);
  assert.deepEqual(await bubbles(page), kept.map(({ text }) => text.trim()));

  begin("a phone shows the same, and follows what is said elsewhere");
  const phone = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true });
  await phone.locator(".ending").waitFor();
  await say(page, `phone ${QUESTION}`);
  await growing(phone, "You said: phone");
  for (const one of [page, phone]) {
    await done(one);
    await one.locator(".message", { hasText: `You said: phone ${QUESTION}` }).waitFor();
    assert.deepEqual(await bubbles(one), (await stored()).map(({ text }) => text.trim()));
  }

  begin("everyone can use it");
  await isAccessible(page, "use-chat");
  await isAccessible(phone, "use-chat-phone");
  assert.deepEqual(faults, []);
}

const deadline = setTimeout(() => fail(new Error(`not done within ${WHOLE_MS} ms`)), WHOLE_MS);
function fail(error) {
  console.error(`at: ${step}\n${error.stack}\n${faults.join("\n")}`);
  process.exit(1);
}

try {
  await main(await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--no-first-run"] }));
  clearTimeout(deadline);
  process.exit(0);
} catch (error) {
  fail(error);
}
