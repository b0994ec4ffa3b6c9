/**
 * Agents in the admin, in a real browser: an operator tests, rotates, pauses, resumes, skips and reads attempts.
 *
 * BASE=http://127.0.0.1:4000 CHROMIUM=/usr/bin/chromium PASSWORD=… node admin.mjs
 *
 * The server is in open mode with the demo agent `echo-bot` answering, a dispatcher, and a superuser `operator` with this
 * password. Exits 0, or 1 with the step that failed and why. SCREENSHOTS=folder keeps pictures.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { chromium } from "playwright-core";

const { BASE, CHROMIUM, PASSWORD, SCREENSHOTS } = process.env;
const STEP_MS = 20_000;
const WHOLE_MS = 150_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

const run = Date.now().toString(36);
const deaf = `deaf-${run}`;
const alice = `alice-${run}`;
const faults = [];

/** Follow a link or press a button by what stands on it. */
async function press(page, name) {
  const found = page.locator("#content").getByText(name, { exact: true }).and(page.locator("a, button")).or(
    page.locator(`#content input[type=submit][value="${name}"]`),
  );
  await Promise.all([page.waitForLoadState("load"), found.first().click()]);
}

const word = (page) => page.locator(".fleetlm-headline .fleetlm-word").first().textContent();
const said = (page) => page.locator(".messagelist").textContent();

async function picture(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

async function fitsWidth(page, where) {
  const { content, window } = await page.evaluate(() => ({
    content: document.documentElement.scrollWidth,
    window: innerWidth,
  }));
  assert.ok(content <= window, `${where} is ${content} px wide on a screen of ${window} px`);
}

/** Look at a page again and again until it shows what is wanted. */
async function reloadsTo(page, read, wanted, what) {
  const end = Date.now() + STEP_MS;
  let got;
  while (Date.now() < end) {
    await page.reload();
    got = await read(page);
    if (got === wanted) return;
  }
  assert.fail(`${what}: expected ${JSON.stringify(wanted)}, got ${JSON.stringify(got)}`);
}

async function say(agent, text) {
  const response = await fetch(`${BASE}/api/conversations/${[alice, agent].sort().join(":")}/messages`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sender_id: alice, text }),
  });
  assert.ok(response.ok, `the REST append answered ${response.status}`);
}

/** The page of the only stream of an agent with alice. */
async function openStream(page, agent) {
  await page.goto(`${BASE}/admin/agents/deliverystream/?q=${[alice, agent].sort().join(":")}`);
  await page.locator("#result_list th.field-id a").click();
  await page.waitForSelector(".fleetlm-panel");
}

async function openAgent(page, agent) {
  await page.goto(`${BASE}/admin/agents/agentendpoint/?q=${agent}`);
  await fitsWidth(page, "the list of agents");
  await page.locator("#result_list th a").first().click();
  await page.waitForSelector(".fleetlm-panel");
}

const steps = {
  async "an operator logs in"(page) {
    await page.goto(`${BASE}/admin/login/?next=/admin/agents/agentendpoint/`);
    await page.fill("#id_username", "operator");
    await page.fill("#id_password", PASSWORD);
    await page.press("#id_password", "Enter");
    await page.waitForSelector("#result_list");
  },

  async "a test call shows what the agent answers"(page) {
    await openAgent(page, "echo-bot");
    await press(page, "Send a test call");
    await page.waitForSelector("#trial-outcome");
    assert.match(await page.textContent("#trial-outcome"), /^\s*(answered|accepted)\s+20[04]\s+after \d+ ms\s*$/);
    await picture(page, "test");
  },

  async "a rotated secret is shown once"(page) {
    await openAgent(page, "echo-bot");
    await press(page, "Rotate secret…");
    await page.waitForSelector("#id_overlap_seconds");
    await picture(page, "rotate-asks");
    await press(page, "Rotate secret");
    const secret = await page.textContent("#fleetlm-secret");
    assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
    await picture(page, "secret");
    await press(page, "I have it, go on");
    await page.waitForSelector(".fleetlm-panel");
    assert.ok(!(await page.content()).includes(secret), "the secret is gone");
    assert.equal(await page.locator(".fleetlm-facts code", { hasText: /^[0-9a-f-]{36}$/ }).count() >= 2, true);
  },

  async "an agent is made, and its secret is shown"(page) {
    await page.goto(`${BASE}/admin/agents/agentendpoint/add/`);
    await page.fill("#id_agent_id", deaf);
    await page.fill("#id_url", "http://127.0.0.1:9/");
    await press(page, "Save");
    assert.match(await page.textContent("#fleetlm-secret"), /^whsec_/);
    await press(page, "I have it, go on");
    await page.waitForSelector(".fleetlm-panel");
    assert.equal(await word(page), "never called");
  },

  async "a call that fails is retried, and its attempt can be read"(page) {
    await say(deaf, "anyone?");
    await openStream(page, deaf);
    await reloadsTo(page, word, "retrying", "the state of the stream");
    await picture(page, "stream");
    await page.locator("#newest-attempts tbody a").first().click();
    await page.waitForSelector(".fleetlm-body");
    assert.match(await page.textContent(".fleetlm-headline"), /Unreachable/);
    assert.match(await page.locator(".fleetlm-body").first().textContent(), /"text": "anyone\?"/);
    await picture(page, "attempt");
  },

  async "paused, it is called no more, until it is resumed"(page) {
    await openStream(page, deaf);
    await press(page, "Pause");
    assert.match(await said(page), /Paused/);
    assert.equal(await word(page), "paused");
    await press(page, "Resume");
    assert.match(await said(page), /Resumed/);
    assert.notEqual(await word(page), "paused");
  },

  async "a call is skipped, after a question"(page) {
    await openStream(page, deaf);
    await press(page, "Skip pending call…");
    await picture(page, "skip-asks");
    await press(page, "No, take me back");
    await page.waitForSelector(".fleetlm-panel");
    assert.notEqual(await word(page), "idle");
    await press(page, "Skip pending call…");
    await press(page, "Skip pending call");
    assert.match(await said(page), /Skipped the pending call: messages 1 to 1/);
    assert.equal(await word(page), "idle");
  },

  async "what was delivered is delivered again"(page) {
    await say("echo-bot", "once");
    await openStream(page, "echo-bot");
    const attempts = (of) => of.locator("#newest-attempts tbody tr").count();
    await reloadsTo(page, attempts, 1, "the attempts");
    await press(page, "Replay newest…");
    await press(page, "Replay newest");
    await reloadsTo(page, attempts, 2, "the attempts after the replay");
  },

  async "what was done is in the history"(page) {
    await openStream(page, deaf);
    await press(page, "History");
    const history = await page.textContent("#change-history");
    for (const deed of ["Paused", "Resumed", "Skipped"]) assert.ok(history.includes(deed), deed);
  },

  async "the console stayed silent"() {
    assert.deepEqual(faults, []);
  },
};

async function main() {
  assert.ok(BASE && CHROMIUM && PASSWORD, "BASE, CHROMIUM and PASSWORD have to be set");
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: FLAGS });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(STEP_MS);
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    page.on("pageerror", (error) => faults.push(error.message));
    for (const [name, step] of Object.entries(steps)) {
      try {
        await step(page);
      } catch (error) {
        await picture(page, "failed");
        throw new Error(`${name}: ${error.message}${faults.length ? `\nconsole: ${faults.join("; ")}` : ""}`);
      }
      console.log(`ok  ${name}`);
    }
  } finally {
    await browser.close();
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
