/** What the tests have in common. */
import type { Delta, Message } from "../src/index.js";
import type { Log } from "../src/log.js";

export type { Delta, Run } from "../src/index.js";

/** What these deltas say, put together. */
export function textOf(deltas: readonly Delta[]): string {
  return deltas
    .flatMap(({ chunks }) => chunks.map((chunk) => (chunk.type === "text-delta" ? String(chunk.delta) : "")))
    .join("");
}

/** A message that says its own seq. */
export function message(seq: number, more: Partial<Message> = {}): Message {
  return {
    id: `id-${seq}`,
    seq,
    conversation: "alice:bob",
    dm_key: "alice:bob",
    sender_id: "alice",
    kind: "text",
    text: String(seq),
    content: {},
    metadata: {},
    reply_to: null,
    mentions: [],
    client_id: null,
    created_at: "2026-01-01T00:00:00.000000Z",
    ...more,
  };
}

export function seqs(log: Log): number[] {
  return log.messages.map(({ seq }) => seq);
}

/** Whole numbers below a bound, the same for the same seed (mulberry32). */
export function random(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}
