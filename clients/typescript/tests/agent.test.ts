import { createHmac } from "node:crypto";
import { request as httpRequest } from "node:http";
import { Webhook } from "standardwebhooks";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  AnswersInMemory,
  createAgent,
  Later,
  verifyWebhook,
  WebhookError,
  type Agent,
  type Call,
  type Handler,
} from "../src/agent.js";

const SECRET = `whsec_${Buffer.from("a secret of thirty-two bytes,,,,").toString("base64")}`;
const OTHER = `whsec_${Buffer.from("another of thirty-two bytes.....").toString("base64")}`;

const message = (seq: number, sender_id: string, text: string, kind = "text") => ({
  id: `m${seq}`,
  seq,
  sender_id,
  kind,
  text,
  content: {},
  metadata: {},
  reply_to: null,
  created_at: "2026-01-05T12:00:01.000000Z",
});

const CALL = {
  type: "message.created",
  id: "call-1",
  timestamp: "2026-01-05T12:00:02.120000Z",
  agent_id: "bot",
  key: "alice:bot",
  dm_key: "alice:bot",
  epoch: "e1",
  conversation: [
    message(1, "alice", "old"),
    message(2, "alice", "Grüße 👋"),
    message(3, "bot", "mine"),
    message(4, "system", "notice", "system"),
    message(5, "alice", "and more"),
  ],
  new_from_seq: 2,
  participants: [],
  reply_url: "http://127.0.0.1:4000/api/conversations/alice:bot/messages",
  run_id: "r1",
};

/** The headers that FleetLM sends, signed by the reference library. */
function signed(
  body: string,
  { id = "call-1", secret = SECRET, at = new Date() } = {},
): Record<string, string> {
  return {
    "content-type": "application/json",
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": new Webhook(secret).sign(id, at, body),
  };
}

function post(
  agent: Agent,
  body: object | string = CALL,
  headers?: Record<string, string>,
  signal?: AbortSignal,
) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const request = { method: "POST", body: text, headers: headers ?? signed(text), ...(signal && { signal }) };
  return agent.fetch(new Request("http://agent.example/", request));
}

/** The chunks of a streamed answer; the last is "[DONE]" if it came. */
function events(body: string): unknown[] {
  const frames = body.split("\n\n").filter((frame) => frame.startsWith("data: "));
  return frames.map((frame) => (frame === "data: [DONE]" ? "[DONE]" : JSON.parse(frame.slice(6))));
}

const said = (call: Call): string => call.new_messages.map(({ text }) => text).join(" | ");

describe("verifyWebhook", () => {
  const body = JSON.stringify(CALL);

  it("takes what the reference library signs, as text and as bytes, and finds what is new", async () => {
    for (const form of [body, new TextEncoder().encode(body)]) {
      const call = await verifyWebhook(form, signed(body), SECRET);
      expect(call).toMatchObject({ agent_id: "bot", run_id: "r1" });
      expect(said(call)).toBe("Grüße 👋 | and more");
    }
    expect(await verifyWebhook(body, new Headers(signed(body)), SECRET)).toMatchObject({ id: "call-1" });
  });

  it("agrees with the reference library on what is genuine", async () => {
    const good = signed(body);
    const sign = (secret: string, text: string, id: string, time: string): string =>
      `v1,${createHmac("sha256", Buffer.from(secret.slice(6), "base64"))
        .update(`${id}.${time}.${text}`)
        .digest("base64")}`;
    const time = good["webhook-timestamp"]!;
    const cases: [string, Record<string, string | undefined>][] = [
      [body, good],
      [`${body} `, good],
      [body, { ...good, "webhook-id": "call-2" }],
      [body, { ...good, "webhook-timestamp": String(Number(time) - 1) }],
      [body, { ...good, "webhook-signature": `v1,AAAA ${good["webhook-signature"]}` }],
      [body, { ...good, "webhook-signature": `v2,${good["webhook-signature"]!.slice(3)}` }],
      [body, { ...good, "webhook-signature": "v1," }],
      [body, { ...good, "webhook-signature": "v1,not base64!" }],
      [body, { ...good, "webhook-signature": undefined }],
      [body, { ...good, "webhook-timestamp": "soon" }],
      [body, { ...good, "webhook-signature": sign(SECRET, body, "call-1", time) }],
      [body, { ...good, "webhook-signature": sign(OTHER, body, "call-1", time) }],
      [body, signed(body, { at: new Date(Date.now() - 290_000) })],
      [body, signed(body, { at: new Date(Date.now() - 310_000) })],
      [body, signed(body, { at: new Date(Date.now() + 310_000) })],
    ];
    const genuine = [];
    for (const [text, headers] of cases) {
      const reference = (() => {
        try {
          new Webhook(SECRET).verify(text, headers as Record<string, string>);
          return true;
        } catch {
          return false;
        }
      })();
      const ours = await verifyWebhook(text, headers, SECRET).then(
        () => true,
        (error) => (expect(error).toBeInstanceOf(WebhookError), false),
      );
      expect(ours, JSON.stringify(headers)).toBe(reference);
      genuine.push(ours);
    }
    expect(genuine.filter(Boolean)).toHaveLength(4);
  });

  it("takes any of several secrets, while one is being rotated on either side", async () => {
    await verifyWebhook(body, signed(body, { secret: OTHER }), [SECRET, OTHER]);
    const both = signed(body);
    both["webhook-signature"] =
      `${signed(body, { secret: OTHER })["webhook-signature"]} ${both["webhook-signature"]}`;
    await verifyWebhook(body, both, SECRET);
    await expect(verifyWebhook(body, both, [])).rejects.toThrow(WebhookError);
  });

  it("measures age by the clock and tolerance that it is given", async () => {
    const now = Date.now() + 3_600_000;
    await expect(verifyWebhook(body, signed(body), SECRET, { now })).rejects.toThrow("too old");
    await verifyWebhook(body, signed(body), SECRET, { now, toleranceSeconds: 3_700 });
  });

  it("says what is wrong with a secret that is none, and with a body that is no JSON", async () => {
    await expect(verifyWebhook(body, signed(body), "whsec_")).rejects.toThrow(TypeError);
    await expect(verifyWebhook("{", signed("{"), SECRET)).rejects.toThrow(WebhookError);
  });
});

describe("createAgent", () => {
  const make = (handler: Handler, options = {}) => createAgent(handler, { secret: SECRET, ...options });

  it.each([
    ["a text", "hello", { text: "hello" }],
    ["a message", { text: "hi", metadata: { mood: "good" } }, { text: "hi", metadata: { mood: "good" } }],
    ["messages", { messages: [{ text: "a" }, { text: "b" }] }, { messages: [{ text: "a" }, { text: "b" }] }],
    ["nothing to say", null, { text: "" }],
  ])("answers %s as JSON", async (_, given, wanted) => {
    const answer = await post(make(() => given));
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(await answer.json()).toEqual(wanted);
  });

  it("answers Later with 204", async () => {
    const answer = await post(make(() => Later));
    expect([answer.status, await answer.text()]).toEqual([204, ""]);
  });

  it("refuses what is not signed, is no call, is too large or is no POST, and asks nobody", async () => {
    const handler = vi.fn(() => "hello");
    const agent = make(handler, { maxBodyBytes: 4_000 });
    expect((await post(agent, CALL, {})).status).toBe(401);
    expect((await post(agent, CALL, signed(JSON.stringify(CALL), { secret: OTHER }))).status).toBe(401);
    expect((await post(agent, { hello: "world" })).status).toBe(400);
    expect((await post(agent, { ...CALL, more: "x".repeat(4_000) })).status).toBe(413);
    expect((await agent.fetch(new Request("http://agent.example/"))).status).toBe(405);
    expect((await post(createAgent(handler), "no JSON", {})).status).toBe(400);
    expect(handler).not.toHaveBeenCalled();
  });

  it("answers a ping by itself, if it is signed", async () => {
    const handler = vi.fn(() => "hello");
    const answer = await post(make(handler), { ...CALL, type: "ping" });
    expect([answer.status, await answer.json()]).toEqual([200, { text: "" }]);
    expect((await post(make(handler), { ...CALL, type: "ping" }, {})).status).toBe(401);
    expect(handler).not.toHaveBeenCalled();
  });

  it("makes a 500 of what the handler throws, so that the call is made again", async () => {
    const onError = vi.fn();
    const agent = make(() => Promise.reject(new Error("no model")), { onError });
    const answer = await post(agent);
    expect(answer.status).toBe(500);
    expect(await answer.json()).toEqual({ error: { code: "agent_failed", message: "no model" } });
    expect(onError).toHaveBeenCalledWith(new Error("no model"), expect.objectContaining({ id: "call-1" }));
    expect((await post(make(() => ({ speech: "hi" }) as never, { onError }))).status).toBe(500);
  });

  it("streams text in the long form", async () => {
    const agent = make(async function* (call) {
      for (const { text } of call.new_messages) yield `${text}, `;
      yield "bye";
    } as Handler);
    const answer = await post(agent);
    expect(answer.headers.get("content-type")).toBe("text/event-stream");
    expect(events(await answer.text())).toEqual([
      { type: "start" },
      { type: "text-start", id: "said-1" },
      { type: "text-delta", id: "said-1", delta: "Grüße 👋, " },
      { type: "text-delta", id: "said-1", delta: "and more, " },
      { type: "text-delta", id: "said-1", delta: "bye" },
      { type: "text-end", id: "said-1" },
      { type: "finish" },
      "[DONE]",
    ]);
  });

  it("lets chunks through, puts text between them into parts of its own, and keeps what they begin and end with", async () => {
    async function* mixed() {
      yield "one";
      yield { type: "source-url", sourceId: "s", url: "https://example.com" };
      yield "two";
      yield { type: "finish", messageMetadata: { model: "m" } };
    }
    const chunks = events(await (await post(make(mixed))).text());
    expect(chunks.map((chunk) => (chunk as { type?: string }).type ?? chunk)).toEqual([
      ...["start", "text-start", "text-delta", "text-end", "source-url"],
      ...["text-start", "text-delta", "text-end", "finish", "[DONE]"],
    ]);
    expect(chunks.at(-2)).toEqual({ type: "finish", messageMetadata: { model: "m" } });
  });

  it("ends an empty stream well: there is nothing to say", async () => {
    const nothing = async function* (): AsyncGenerator<string> {};
    expect(events(await (await post(make(nothing))).text())).toEqual([
      { type: "start" },
      { type: "finish" },
      "[DONE]",
    ]);
  });

  it.each([
    [
      "throws",
      async function* () {
        yield "half";
        throw new Error("lost the model");
      },
      "lost the model",
    ],
    [
      "stops without the finish of its own start",
      async function* () {
        yield { type: "start" };
      },
      "broken off",
    ],
  ])("ends a stream that %s with an error, never with an end", async (_, stream, wanted) => {
    const onError = vi.fn();
    const chunks = events(await (await post(make(stream, { onError }))).text());
    expect(chunks.at(-1)).toEqual({ type: "error", errorText: expect.stringContaining(wanted) });
    expect(chunks).not.toContainEqual({ type: "finish" });
    expect(onError).toHaveBeenCalledOnce();
  });

  it("answers a webhook-id that it has answered the same again, JSON or stream, and works once", async () => {
    let worked = 0;
    const whole = make(() => `number ${(worked += 1)}`);
    const stream = make(async function* () {
      yield `number ${(worked += 1)}`;
    } as Handler);
    for (const agent of [whole, stream]) {
      worked = 0;
      const first = await (await post(agent)).text();
      const again = await post(agent, { ...CALL, run_id: "r2" });
      expect(await again.text()).toBe(first);
      const other = JSON.stringify(CALL);
      expect(await (await post(agent, other, signed(other, { id: "call-2" }))).text()).toContain("number 2");
      expect(worked).toBe(2);
    }
  });

  it("does not remember failures, nor streams that failed", async () => {
    const onError = () => undefined;
    for (const fail of [
      () => {
        throw new Error("first");
      },
      async function* () {
        yield "half";
        throw new Error("first");
      },
    ]) {
      let asked = 0;
      const agent = make(() => (asked++ === 0 ? fail() : "second"), { onError });
      await (await post(agent)).text();
      expect(await (await post(agent)).json()).toEqual({ text: "second" });
    }
  });

  it("has a repeated call wait for the first attempt that is still at work", async () => {
    let release = (): void => undefined;
    const handler = vi.fn(() => new Promise<string>((resolve) => (release = () => resolve("done"))));
    const agent = make(handler);
    const first = post(agent);
    await vi.waitFor(() => expect(handler).toHaveBeenCalled());
    const second = post(agent);
    release();
    expect([await (await first).json(), await (await second).json()]).toEqual([
      { text: "done" },
      { text: "done" },
    ]);
    expect(handler).toHaveBeenCalledOnce();
  });

  it("remembers nothing if it is told so, and elsewhere if it is given a place", async () => {
    let worked = 0;
    const forgetful = make(() => `${(worked += 1)}`, { remember: false });
    await post(forgetful);
    expect(await (await post(forgetful)).json()).toEqual({ text: "2" });
    const place = new AnswersInMemory();
    await post(make(() => "shared", { remember: place }));
    expect(await (await post(make(() => "not asked", { remember: place }))).json()).toEqual({
      text: "shared",
    });
  });

  it("tells the handler by its signal that FleetLM hung up, while it waits and while it streams", async () => {
    const signals: AbortSignal[] = [];
    const caller = new AbortController();
    const waiting = make((_, { signal }) => {
      signals.push(signal);
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    const answer = post(waiting, CALL, undefined, caller.signal);
    await vi.waitFor(() => expect(signals).toHaveLength(1));
    caller.abort();
    expect((await answer).status).toBe(500);

    let closed = false;
    const streaming = make(async function* (_, { signal }) {
      signals.push(signal);
      try {
        for (;;) yield await new Promise<string>((resolve) => setTimeout(() => resolve("word "), 5));
      } finally {
        closed = true;
      }
    } as Handler);
    const reader = (await post(streaming)).body!.getReader();
    await reader.read();
    await reader.cancel();
    expect(signals[1]!.aborted).toBe(true);
    await vi.waitFor(() => expect(closed).toBe(true));
    // A retry is not held up by the attempt that was given up.
    expect((await post(streaming)).status).toBe(200);
  });
});

describe("AnswersInMemory", () => {
  const answer = (body: string) => ({ status: 200, contentType: "application/json", body });

  it("keeps the newest, by their number and by their length", () => {
    const few = new AnswersInMemory({ count: 2 });
    for (const id of ["a", "b", "c"]) few.set(id, answer(id));
    expect([few.get("a"), few.get("b")?.body, few.get("c")?.body]).toEqual([undefined, "b", "c"]);
    const short = new AnswersInMemory({ characters: 10 });
    short.set("a", answer("123456"));
    short.set("a", answer("1234567"));
    short.set("b", answer("123"));
    expect(short.get("a")).toBeDefined();
    short.set("c", answer("1"));
    expect([short.get("a"), short.get("b")?.body]).toEqual([undefined, "123"]);
  });
});

describe("listen", () => {
  const open: { close(): Promise<void> }[] = [];
  afterEach(async () => void (await Promise.all(open.splice(0).map((server) => server.close()))));

  async function serve(handler: Handler): Promise<string> {
    const server = await createAgent(handler, { secret: SECRET }).listen(0);
    open.push(server);
    return server.url;
  }
  const body = JSON.stringify(CALL);

  it("answers over HTTP, and refuses what is not signed", async () => {
    const url = await serve((call) => said(call));
    const answer = await fetch(url, { method: "POST", body, headers: signed(body) });
    expect(await answer.json()).toEqual({ text: "Grüße 👋 | and more" });
    expect((await fetch(url, { method: "POST", body })).status).toBe(401);
  });

  it("hands on each word when it is there, and fires the signal when the caller hangs up", async () => {
    const signals: AbortSignal[] = [];
    const url = await serve(async function* (_: Call, { signal }: { signal: AbortSignal }) {
      signals.push(signal);
      yield "first";
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    } as Handler);
    await new Promise<void>((resolve, reject) => {
      const request = httpRequest(url, { method: "POST", headers: signed(body) }, (response) => {
        let got = "";
        response.on("error", () => undefined);
        response.on("data", (piece: Buffer) => {
          got += piece.toString();
          if (!got.includes('"first"')) return;
          request.destroy();
          resolve();
        });
      });
      request.on("error", reject);
      request.end(body);
    });
    await vi.waitFor(() => expect(signals[0]!.aborted).toBe(true));
  });
});
