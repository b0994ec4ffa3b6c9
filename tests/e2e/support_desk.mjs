/**
 * The support desk in a real browser, through all that happens to browsers: a customer in two tabs and on a phone, Ada at the desk;
 * a tab frozen for a minute, the server restarted and killed, the network cut, a page reloaded in the middle of an answer, tokens that
 * expire.
 * In the end every tab shows the log as it is stored: nothing missing, nothing twice, in order.
 *
 * DESK=url BASE=url CONTROL=url API_KEY=flk_… CHROMIUM=path node support_desk.mjs
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";
import { isAccessible } from "./accessible.mjs";

const { DESK, BASE, CONTROL, API_KEY, CHROMIUM } = process.env;
const STEP_MS = 45_000;
const WHOLE_MS = 220_000;
const FROZEN_MS = 60_000;
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
/** What a browser itself writes into the console when a server is away, as here it is on purpose. */
const EXPECTED = /net::ERR_|WebSocket connection to|status of 50[234]/;

const LAUNCH = { executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--no-first-run"] };

const faults = [];
/** How many tokens each page has asked for. */
const sessions = new Map();
const deadline = setTimeout(() => fail(new Error(`not done within ${WHOLE_MS} ms`)), WHOLE_MS);
let step = "the start";
let browser;

async function open(context, path, name) {
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  page.on("console", (message) => {
    if (message.type() === "error" && !EXPECTED.test(message.text())) faults.push(`${name}: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (request.url().includes("session") && request.method() === "POST") sessions.set(page, (sessions.get(page) ?? 0) + 1);
  });
  page.on("pageerror", (error) => faults.push(`${name}: ${error.message}`));
  await page.goto(DESK + path);
  return page;
}

const begin = (name) => (step = name);
const control = (what) => fetch(`${CONTROL}/${what}`, { method: "POST" });
const says = (page, text) => page.locator(".messages .message", { hasText: text });
const seqs = (page) => page.$$eval(".messages [data-seq]", (all) => all.map(({ dataset }) => Number(dataset.seq)));

async function rest(method, path, body) {
  const headers = { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" };
  const response = await fetch(`${BASE}/api/${path}`, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.json();
}

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  await says(page, text).first().waitFor();
}

const stored = (page, text) => says(page, text).and(page.locator("[data-seq]")).first().waitFor();

/** The page shows the stored log, from its first message to its last. */
async function showsTheLog(page, key, name) {
  const { messages, last_seq } = await rest("GET", `conversations/${key}/messages?limit=200`);
  await page.waitForFunction((last) => [...document.querySelectorAll(".messages [data-seq]")].at(-1)?.dataset.seq === String(last), last_seq);
  assert.deepEqual(await seqs(page), messages.map(({ seq }) => seq), `${name}: holes or repeats`);
  const texts = await page.$$eval(".messages .message[data-seq]", (all) => all.map((one) => [Number(one.dataset.seq), one.textContent]));
  const said = new Map(messages.map(({ seq, text, content }) => [seq, content.parts ? "" : text]));
  for (const [seq, text] of texts) assert.ok(text.includes(said.get(seq)), `${name}: ${seq} shows ${text}`);
  assert.equal(await page.locator('.messages [data-state="sending"], .messages [data-state="live"]').count(), 0, `${name}: something is left over`);
}

/** The processes in which a browser's pages run: stopped, a tab sleeps as deeply as under a lid that is shut. */
function renderersOf(root) {
  const lines = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" }).trim().split("\n");
  const all = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)).map(([, pid, parent, args]) => [Number(pid), Number(parent), args]);
  const family = new Set([root]);
  for (let before = 0; before < family.size;) {
    before = family.size;
    for (const [pid, parent] of all) if (family.has(parent)) family.add(pid);
  }
  return all.filter(([pid, , args]) => family.has(pid) && args.includes("--type=renderer")).map(([pid]) => pid);
}

async function main() {
  browser = await chromium.launch(LAUNCH);
  const desktop = await browser.newContext({ viewport: DESKTOP });
  const one = await open(desktop, "/", "first tab");
  await one.waitForSelector(".welcome:not([hidden])");
  const key = await rest("GET", "conversations?limit=1").then(({ conversations }) => conversations[0].key);

  begin("keyboard: a suggestion is sent with Tab and Enter");
  const welcome = one.getByRole("button", { name: "Where is parcel 4711?" });
  for (let tabs = 0; tabs < 8 && !(await welcome.evaluate((it) => it === document.activeElement)); tabs += 1) await one.keyboard.press("Tab");
  await one.keyboard.press("Enter");

  begin("a tool is shown while it is used, then as a card");
  await one.locator(".tool", { hasText: "Looking up parcel 4711" }).waitFor();
  await one.locator(".parcel", { hasText: "Arrives" }).waitFor();

  begin("a second tab, and a phone");
  const other = await chromium.launchServer(LAUNCH);
  const elsewhere = await (await chromium.connect(other.wsEndpoint())).newContext({ viewport: DESKTOP, storageState: await desktop.storageState() });
  const two = await open(elsewhere, "/", "second tab");
  const small = await browser.newContext({ viewport: PHONE, hasTouch: true, isMobile: true, storageState: await desktop.storageState() });
  const phone = await open(small, "/", "phone");
  for (const page of [two, phone]) await page.locator(".parcel").waitFor();

  begin("the second tab is frozen");
  await two.evaluate(() => {
    window.ticks = 0;
    setInterval(() => (window.ticks += 1), 100);
  });
  const ticks = await two.evaluate(() => window.ticks);
  const renderers = renderersOf(other.process().pid);
  assert.notEqual(renderers.length, 0);
  for (const pid of renderers) process.kill(pid, "SIGSTOP");
  const frozenUntil = Date.now() + FROZEN_MS;

  begin("an answer goes on in a tab that is reloaded in its middle");
  await say(one, "Hello bot");
  const live = one.locator('[data-state="live"]', { hasText: "Hello! I can" });
  await live.waitFor();
  await one.reload();
  await says(one, "Or ask for a person at any time.").waitFor();
  await says(phone, "Or ask for a person at any time.").waitFor();
  assert.equal(await says(one, "Or ask for a person at any time.").count(), 1);

  begin("the server is restarted in the middle of an answer");
  await say(one, "Hello again");
  await live.waitFor();
  await control("restart");
  for (const page of [one, phone]) await page.locator(".message[data-seq]", { hasText: "Or ask for a person" }).nth(1).waitFor();

  begin("the phone's network is cut");
  await small.setOffline(true);
  await phone.evaluate(() => window.dispatchEvent(new Event("offline")));
  await say(phone, "from the tunnel, 4712");
  await pause(1_500);
  await say(one, "meanwhile at home, 4713");
  await stored(one, "meanwhile at home");
  await small.setOffline(false);
  await stored(phone, "from the tunnel");
  await stored(phone, "meanwhile at home");
  await stored(one, "from the tunnel");

  begin("the server is killed while people write");
  await control("kill");
  await say(one, "is anybody there?");
  await say(phone, "hello?");
  await one.locator("#connection", { hasText: "Offline" }).waitFor();
  assert.equal(await says(one, "is anybody there?").getAttribute("data-state"), "sending");
  await control("restart");
  for (const text of ["is anybody there?", "hello?"]) for (const page of [one, phone]) await stored(page, text);
  await one.locator("#connection", { hasText: "Offline" }).waitFor({ state: "detached" }).catch(() => {});
  assert.equal(await one.locator("#connection").textContent(), "");

  begin("the desk sees who waits, and takes over by the keyboard");
  const room = await browser.newContext({ viewport: DESKTOP });
  const ada = await open(room, "/desk.html?as=ada", "desk");
  await ada.locator(".case-row").waitFor();
  await say(one, "I want to talk to a person");
  await ada.locator(".tag.waiting").waitFor();
  await one.locator(".notice", { hasText: "You are in the queue" }).waitFor();
  assert.match(await ada.locator(".count").textContent(), /^\d+ unread$/);
  await ada.locator(".case-row").focus();
  await ada.keyboard.press("Enter");
  await ada.locator(".parcel").first().waitFor();
  assert.equal(await ada.evaluate(() => document.activeElement.id), "case-title");
  assert.equal(await ada.locator("#text").isVisible(), false);
  await ada.getByRole("button", { name: "Take over" }).press("Enter");
  await ada.waitForFunction(() => document.activeElement.id === "text");
  await one.locator(".notice", { hasText: "Ada is with you now" }).waitFor();
  await ada.keyboard.type("Hello, Ada here.");
  await one.locator(".typing", { hasText: "Ada is writing" }).waitFor();
  await ada.keyboard.press("Enter");
  await stored(one, "Hello, Ada here.");
  await one.locator("#who", { hasText: "Ada · here now" }).waitFor();
  await ada.locator(".count").waitFor({ state: "detached" });
  await ada.locator(".foot", { hasText: "Read" }).first().waitFor();

  begin("the bot is silent until it is given the conversation back");
  await say(one, "4714 is the number");
  await stored(ada, "4714 is the number");
  assert.equal(await one.locator(".parcel", { hasText: "4714" }).count(), 0);
  await ada.getByRole("button", { name: "Give back to the bot" }).click();
  await one.locator(".message[data-seq] .parcel", { hasText: "4714" }).waitFor();
  const { messages: whole } = await rest("GET", `conversations/${key}/messages?limit=200`);
  const since = whole.slice(whole.findIndex(({ text }) => text === "4714 is the number"));
  assert.deepEqual(since.map(({ sender_id }) => sender_id).slice(1), ["system", "shipping-bot"], "the bot spoke while Ada had the conversation");

  begin("what could not be sent is sent again by hand");
  await rest("POST", `conversations/${key}/close`, {});
  await say(one, "too late?");
  await one.locator('[data-state="failed"]', { hasText: "Not sent" }).waitFor();
  await isAccessible(one, "customer-failed");
  await rest("POST", `conversations/${key}/reopen`, {});
  await one.getByRole("button", { name: "Try again" }).press("Enter");
  await stored(one, "too late?");
  assert.equal(await says(one, "too late?").count(), 1);

  begin("everyone can use it");
  await isAccessible(one, "customer");
  await isAccessible(phone, "customer-phone");
  await isAccessible(ada, "desk");
  const adasPhone = await open(await browser.newContext({ viewport: PHONE }), "/desk.html?as=grace", "desk on a phone");
  await adasPhone.locator(".case-row").waitFor();
  await isAccessible(adasPhone, "desk-phone");
  await adasPhone.locator(".case-row").click();
  await adasPhone.locator(".parcel").first().waitFor();
  await isAccessible(adasPhone, "case-phone");
  await adasPhone.getByRole("button", { name: "Back to all conversations" }).click();
  assert.equal(await adasPhone.evaluate(() => document.activeElement.className), "case-row");

  begin("a long conversation: older messages, what is new, and who has it");
  await longConversation(ada);
  await ada.locator(`[data-key="${key}"] .case-row`).click();

  begin("messages go on while the tab is frozen");
  await rest("POST", `conversations/${key}/handoff`, { participant_id: "ada" }); // so that the log has an end
  const customer = key.replace("case-", "customer-");
  for (let number = 1; Date.now() < frozenUntil; number += 1) {
    await rest("POST", `conversations/${key}/messages`, { sender_id: customer, text: `note ${number}`, kind: "note" });
    await pause(3_000);
  }

  begin("the frozen tab wakes");
  for (const pid of renderers) process.kill(pid, "SIGCONT");
  assert.ok((await two.evaluate(() => window.ticks)) - ticks < 100, "the tab was not frozen");
  await rest("POST", `conversations/${key}/messages`, { sender_id: "grace", text: "the last word" });
  for (const page of [one, two, phone, ada]) await stored(page, "the last word");

  assert.ok(sessions.get(one) > 2, "the first tab's token has expired, and was not renewed");
  assert.ok(sessions.get(two) > 1, "the frozen tab's token has expired, and was not renewed");

  begin("every tab shows the log");
  for (const [page, name] of [[one, "first tab"], [two, "second tab"], [phone, "phone"], [ada, "desk"]]) await showsTheLog(page, key, name);
  assert.deepEqual(faults, []);
}

/** Ada has had this one for long: the message that says so is not on the page at first. */
async function longConversation(ada) {
  const context = await browser.newContext({ viewport: PHONE });
  const { key, participant_id } = await (await context.request.post(`${DESK}/session`)).json();
  await rest("POST", `conversations/${key}/handoff`, { participant_id: "ada" });
  const write = (text) => rest("POST", `conversations/${key}/messages`, { sender_id: participant_id, text });
  for (let number = 1; number <= 110; number += 1) await write(`line ${number}`);
  await write("@ada can you see this?");

  const row = ada.locator(".case-row").first();
  await row.locator(".mention").waitFor();
  assert.match(await row.locator(".count").last().textContent(), /^111 unread$/);
  await row.click();
  await ada.locator("#case-state", { hasText: "You answer" }).waitFor();
  await ada.locator("#text").waitFor();
  await row.locator(".tag", { hasText: "You" }).waitFor();

  const page = await open(context, "/", "long conversation");
  await stored(page, "@ada can you see this?");
  await page.locator("#who", { hasText: "Ada" }).waitFor();
  const [top] = await seqs(page);
  assert.ok(top > 50, "more than a page was loaded at first");
  await page.locator(".log").evaluate((log) => (log.scrollTop = 10));
  await page.waitForFunction((seq) => Number(document.querySelector(".messages [data-seq]").dataset.seq) < seq, top);
  const place = await page.locator(`[data-seq="${top}"]`).evaluate((it) => it.getBoundingClientRect().top - it.closest(".log").getBoundingClientRect().top);
  assert.ok(place > 0 && place < 200, `older messages have moved the page: ${place} px`);
  await ada.fill("#text", "I see it.");
  await ada.press("#text", "Enter");
  await page.getByRole("button", { name: "New messages" }).click();
  await page.waitForFunction(() => document.activeElement.getAttribute("role") === "log");
  assert.ok(await says(page, "I see it.").evaluate((it) => it.getBoundingClientRect().bottom <= innerHeight));
  await page.close();
}

async function fail(error) {
  console.error(`at: ${step}\n${error.stack}\n${faults.join("\n")}`);
  await browser?.close().catch(() => {});
  process.exit(1);
}

try {
  await main();
  clearTimeout(deadline);
  process.exit(0); // both browsers end with it
} catch (error) {
  await fail(error);
}
