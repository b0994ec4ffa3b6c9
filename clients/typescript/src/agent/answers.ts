/** What a handler may answer, and how that is written on the wire. See `docs/agents.md`, "What to answer" and "Streams". */
import type { Chunk } from "../types.js";

export interface Later {
  readonly later: true;
}

/** FleetLM gets 204: the call is taken, and you post to `reply_url` yourself, or not at all. */
export const Later: Later = Object.freeze({ later: true });

/** One message of an answer. */
export interface AnswerMessage {
  text: string;
  kind?: string;
  content?: Record<string, unknown>;
  metadata?: Record<string, unknown>;
}

/** A piece of text, or a chunk of the AI SDK's UI message stream (`UIMessageChunk`). */
export type StreamItem = string | { readonly type: string };

/** An answer: one text, one message or several, nothing to say (null), later, or a stream. */
export type Answer =
  | string
  | AnswerMessage
  | { messages: readonly AnswerMessage[] }
  | null
  | undefined
  | Later
  | AsyncIterable<StreamItem>;

export function isStream(answer: Answer): answer is AsyncIterable<StreamItem> {
  return typeof answer === "object" && answer !== null && Symbol.asyncIterator in answer;
}

/** The JSON of an answer that is no stream. Throws `TypeError` for what is no answer. */
export function answerBody(answer: unknown): object {
  if (answer === null || answer === undefined) return { text: "" };
  if (typeof answer === "string") return { text: answer };
  if (typeof answer === "object" && ("text" in answer || "messages" in answer)) return answer;
  throw new TypeError("The handler's answer is no text, no message, no list of messages and no stream.");
}

/**
 * The chunks of a streamed answer in the long form, from `start` to `finish`.
 *
 * Pieces of text become one text part, until another chunk comes between them. A stream that brings its own `start` has to
 * bring its own end as well: without one it has broken off. What the stream throws, this throws.
 */
export async function* longForm(items: AsyncIterable<StreamItem>): AsyncGenerator<Chunk, void, undefined> {
  let begun: "by us" | "by itself" | null = null;
  let ended = false;
  let texts = 0;
  let open: string | null = null;

  for await (const item of items) {
    const isText = typeof item === "string";
    if (begun === null) {
      begun = !isText && item.type === "start" ? "by itself" : "by us";
      if (begun === "by us") yield { type: "start" };
    }
    if (!isText) {
      if (open !== null) yield { type: "text-end", id: open };
      open = null;
      ended ||= item.type === "finish" || item.type === "abort";
      yield item;
    } else if (item !== "") {
      if (open === null) yield { type: "text-start", id: (open = `said-${(texts += 1)}`) };
      yield { type: "text-delta", id: open, delta: item };
    }
  }
  if (begun === "by itself" && !ended)
    throw new Error("The stream ended without `finish`: it has broken off.");
  if (begun === null) yield { type: "start" };
  if (open !== null) yield { type: "text-end", id: open };
  if (!ended) yield { type: "finish" };
}

/** One chunk as a Server-Sent Event. */
export const event = (chunk: Chunk): string => `data: ${JSON.stringify(chunk)}\n\n`;

/** After this nothing follows. */
export const DONE = "data: [DONE]\n\n";

/** A comment: FleetLM cuts off a stream that is silent for a minute. */
export const STILL_HERE = ": still here\n\n";
