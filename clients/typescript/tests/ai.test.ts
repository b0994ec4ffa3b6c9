import { readUIMessageStream, type UIMessage, type UIMessageChunk } from "ai";
import { describe, expect, it } from "vitest";
import { toUIMessages } from "../src/ai.js";
import { chunksOfMessages } from "../src/ai/parts.js";
import { beyond, endings, missing, withoutResets } from "../src/ai/said.js";
import type { Chunk, Message, Pending } from "../src/index.js";

const message = (seq: number, sender_id: string, text: string, more: Partial<Message> = {}): Message => ({
  id: `id-${seq}`,
  seq,
  conversation: "alice:bot",
  dm_key: "alice:bot",
  sender_id,
  kind: "text",
  text,
  content: {},
  metadata: {},
  reply_to: null,
  mentions: [],
  client_id: null,
  created_at: "2026-01-05T12:00:01.000000Z",
  ...more,
});

const delta = (text: string, id = "t"): Chunk => ({ type: "text-delta", id, delta: text });
const START: Chunk = { type: "text-start", id: "t" };
const END: Chunk = { type: "text-end", id: "t" };

describe("toUIMessages", () => {
  it("gives roles, the ids that a live chat has given, parts and facts", () => {
    const parts = [
      { type: "reasoning", text: "hm" },
      { type: "text", text: "It is here." },
    ];
    const log = [
      message(1, "alice", "Where?", { client_id: "c1", metadata: { page: "home" } }),
      message(2, "bot", "It is here.", {
        client_id: "call:0",
        content: { parts, run_id: "r1", status: "complete" },
      }),
      message(3, "bot", "And more.", { content: { run_id: "r1", status: "complete" } }),
      message(4, "system", "bob takes over", { kind: "system" }),
      message(5, "bob", "Hello", { client_id: "c1" }),
      message(6, "bob", "", { kind: "redaction", reply_to: 5 }),
    ];
    const shown = toUIMessages(log, "alice");
    expect(shown.map(({ id, role }) => [id, role])).toEqual([
      ["c1", "user"],
      ["r1", "assistant"],
      ["id-3", "assistant"],
      ["id-4", "system"],
      ["id-5", "assistant"],
    ]);
    expect(shown[1]!.parts).toEqual(parts);
    expect(shown[0]!.parts).toEqual([{ type: "text", text: "Where?" }]);
    const facts = { sender_id: "alice", seq: 1, kind: "text", created_at: "2026-01-05T12:00:01.000000Z" };
    expect(shown[0]!.metadata).toEqual({ page: "home", fleetlm: facts });
    expect(shown[1]!.metadata).toMatchObject({ fleetlm: { seq: 2, status: "complete" } });
  });

  it("shows what is not stored yet, once", () => {
    const waiting = (client_id: string): Pending => ({
      client_id,
      text: client_id,
      status: "sending",
      error: null,
      created_at: "2026-01-05T12:00:03.000000Z",
      body: { text: client_id, client_id },
    });
    const log = [message(1, "alice", "one", { client_id: "one" })];
    const shown = toUIMessages(log, "alice", [waiting("one"), waiting("two")]);
    expect(shown.map(({ id }) => id)).toEqual(["one", "two"]);
    expect(shown[1]).toMatchObject({
      role: "user",
      metadata: { fleetlm: { sender_id: "alice", seq: null } },
    });
  });
});

describe("chunksOfMessages", () => {
  it("makes of stored parts what the AI SDK makes the same parts of", async () => {
    const tool = { toolCallId: "1", input: { city: "Bonn" } };
    const parts = [
      { type: "step-start" },
      { type: "reasoning", text: "Let me see." },
      { ...tool, type: "tool-weather", state: "output-available", output: { celsius: 21 } },
      {
        ...tool,
        type: "dynamic-tool",
        toolName: "map",
        toolCallId: "2",
        state: "output-error",
        errorText: "no map",
      },
      { ...tool, type: "tool-weather", toolCallId: "3", state: "input-available" },
      { type: "text", text: "21 °C." },
      { type: "source-url", sourceId: "s", url: "https://example.com", title: "Example" },
      { type: "file", url: "https://example.com/a.png", mediaType: "image/png" },
      { type: "data-mood", id: "m", data: "sunny" },
    ];
    const made = await read([
      { type: "start" },
      ...chunksOfMessages([message(1, "bot", "", { content: { parts } })]),
    ]);
    expect(made!.parts).toHaveLength(parts.length);
    for (const [index, part] of parts.entries()) expect(made!.parts[index]).toMatchObject(part);
  });

  it("takes the text where there are no parts", () => {
    expect(chunksOfMessages([message(7, "bob", "Hello")])).toEqual([
      { type: "text-start", id: "7-0" },
      { type: "text-delta", id: "7-0", delta: "Hello" },
      { type: "text-end", id: "7-0" },
    ]);
  });
});

describe("what is still to be said", () => {
  it("is what comes after what has been said", () => {
    expect(beyond([], [START, delta("a")])).toEqual([START, delta("a")]);
    expect(beyond([START, delta("a")], [START, delta("abc"), END])).toEqual([delta("bc"), END]);
    expect(beyond([START, delta("a"), END], [START, delta("a"), END])).toEqual([]);
  });

  it("is nothing while the same is said again, and another thing if it differs", () => {
    expect(beyond([START, delta("abc"), END], [START, delta("ab")])).toBe("behind");
    expect(beyond([START, delta("abc")], [])).toBe("behind");
    expect(beyond([START, delta("abc")], [START, delta("ax")])).toBe("other");
    expect(beyond([START, delta("abc"), END], [START, delta("abcd")])).toBe("other");
    expect(beyond([START], [{ type: "text-start", id: "other" }])).toBe("other");
  });

  it("leaves out the step that was taken back", () => {
    const step = { type: "start-step" };
    const reset = { type: "reset-step" };
    expect(withoutResets([step, START, delta("no"), reset, START, delta("yes")])).toEqual([
      step,
      START,
      delta("yes"),
    ]);
    expect(withoutResets([START, delta("no"), reset, delta("yes")])).toEqual([delta("yes")]);
  });

  it("closes what is open", () => {
    expect(endings([START, { type: "reasoning-start", id: "t" }, END])).toEqual([
      { type: "reasoning-end", id: "t" },
    ]);
    expect(endings([START, { type: "finish-step" }])).toEqual([]);
  });

  it("is what the stored message has and the deltas had not", () => {
    const whole = [START, delta("abcd"), END];
    expect(missing([START, delta("ab")], whole)).toEqual([delta("cd")]);
    expect(missing(whole, whole)).toEqual([]);
    expect(missing([START, delta("ab"), END], whole)?.map(({ type }) => type)).toEqual([
      ...["text-start", "text-delta", "text-end"],
    ]);
    expect(missing([START, delta("xy")], whole)).toBeNull();
  });
});

async function read(chunks: Chunk[]): Promise<UIMessage | undefined> {
  const stream = new ReadableStream<UIMessageChunk>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk as UIMessageChunk);
      controller.close();
    },
  });
  let last: UIMessage | undefined;
  for await (const one of readUIMessageStream({ stream })) last = one;
  return last;
}
