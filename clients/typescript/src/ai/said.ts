/**
 * What of a run has been said already, and what is still to be said. Pure.
 *
 * A stream of the AI SDK takes nothing back. So what a run, or the next attempt after one that failed, says is followed as
 * long as it begins with what has been said.
 */
import type { Chunk } from "../types.js";

/** The chunks that carry a piece of text: the names of what it belongs to, and of the piece. */
const PIECES: Readonly<Record<string, readonly [string, string]>> = {
  "text-delta": ["id", "delta"],
  "reasoning-delta": ["id", "delta"],
  "tool-input-delta": ["toolCallId", "inputTextDelta"],
};

/**
 * What `chunks` say beyond `said`; both are merged. `behind`: nothing yet, they have only said the beginning of it again.
 * `other`: they say something else.
 */
export function beyond(said: readonly Chunk[], chunks: readonly Chunk[]): Chunk[] | "behind" | "other" {
  for (const [index, known] of said.entries()) {
    const chunk = chunks[index];
    if (chunk === undefined) return "behind";
    if (JSON.stringify(known) === JSON.stringify(chunk)) continue;
    const [owner, piece] = PIECES[known.type] ?? [];
    if (piece === undefined || chunk.type !== known.type || chunk[owner!] !== known[owner!]) return "other";
    const [before, now] = [String(known[piece]), String(chunk[piece])];
    if (index === said.length - 1 && now.startsWith(before)) {
      return [{ ...chunk, [piece]: now.slice(before.length) }, ...chunks.slice(index + 1)];
    }
    return index === chunks.length - 1 && before.startsWith(now) ? "behind" : "other";
  }
  return chunks.slice(said.length);
}

/** The chunks without what a `reset-step` has taken back: what its step had said. */
export function withoutResets(chunks: readonly Chunk[]): readonly Chunk[] {
  if (!chunks.some(({ type }) => type === "reset-step")) return chunks;
  const kept: Chunk[] = [];
  for (const chunk of chunks) {
    if (chunk.type !== "reset-step") kept.push(chunk);
    else kept.length = kept.findLastIndex(({ type }) => type === "start-step") + 1;
  }
  return kept;
}

/** The texts and reasonings that have begun and not ended, as the chunks that end them. */
export function endings(said: readonly Chunk[]): Chunk[] {
  const open = new Map<string, Chunk>();
  for (const { type, id } of said) {
    const [, prose, what] = /^(text|reasoning)-(start|end)$/.exec(type) ?? [];
    if (what === "start") open.set(`${prose} ${String(id)}`, { type: `${prose}-end`, id });
    if (what === "end") open.delete(`${prose} ${String(id)}`);
    if (type === "finish-step") open.clear();
  }
  return [...open.values()];
}

/** What the texts of the stored message say beyond those that were said; null if they say something else. */
export function missing(said: readonly Chunk[], stored: readonly Chunk[]): Chunk[] | null {
  const [before, whole] = [textsOf(said), textsOf(stored)];
  if (before === whole) return [];
  if (!whole.startsWith(before)) return null;
  const delta = whole.slice(before.length);
  const open = endings(said).findLast(({ type }) => type === "text-end");
  if (open) return [{ type: "text-delta", id: open.id, delta }];
  const id = "rest";
  return [
    { type: "text-start", id },
    { type: "text-delta", id, delta },
    { type: "text-end", id },
  ];
}

/** All texts, one after the other, in the order in which they have begun. */
function textsOf(chunks: readonly Chunk[]): string {
  const texts: string[] = [];
  const places = new Map<unknown, number>();
  for (const { type, id, delta } of chunks) {
    if (type === "text-start") places.set(id, texts.push("") - 1);
    const place = places.get(id);
    if (type === "text-delta" && place !== undefined) texts[place] += String(delta);
  }
  return texts.join("");
}
