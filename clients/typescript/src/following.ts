/** Following a log for ever: each message once, in order, read where it lies. */
import { pause } from "./backoff.js";
import { asError, type FleetLMError } from "./errors.js";
import { type Log, messagesAfter } from "./log.js";
import type { Closed, Message, MessagesOptions, Status } from "./types.js";

const PAUSE_MS = 1_000;

/** A log that somebody else keeps current; it has ended when it is `closed`, and will not begin when it is `refused`. */
export interface Followed {
  readonly log: Log;
  readonly status: Status;
  readonly closed: Closed | null;
  readonly error: FleetLMError | null;
}

/** The messages after a seq, oldest first, and of which log they are. */
type Read = (after: number) => Promise<{ messages: readonly Message[]; epoch: string; last_seq: number }>;

/** `change` resolves when anything has changed or the signal aborts; `read` brings what is not held. */
export async function* followLog(
  source: Followed,
  change: (signal: AbortSignal | undefined) => Promise<void>,
  read: Read,
  { after, epoch: ofEpoch, limit = 50, signal }: MessagesOptions,
): AsyncGenerator<Message, void, undefined> {
  let seq = after;
  let epoch = after === undefined ? null : (ofEpoch ?? null);
  const isLeft = (): boolean => source.closed?.reason === "left"; // else what is held is given first
  if (source.closed) return;
  while (!signal?.aborted && !isLeft()) {
    const { log } = source;
    if (source.status === "refused" && source.error) throw source.error;
    if (log.epoch === null) {
      if (source.closed) return;
      await change(signal);
      continue;
    }
    if (epoch === null && seq !== undefined && seq > log.last_seq) {
      // An acknowledgement or a page is often ahead of the connection; a log that never came so far is another one.
      const isReached = await reaches(read, seq);
      if (isReached === null) continue;
      if (!isReached) seq = undefined;
    }
    const isAnother = epoch !== null && epoch !== log.epoch;
    if (seq === undefined || isAnother) seq = Math.max(log.last_seq - limit, 0);
    epoch = log.epoch;
    const held = messagesAfter(log, seq);
    if (source.closed && !held?.length) return;
    const messages = held ?? (await readMissing(read, log, seq));
    if (!messages) continue;
    for (const message of messages) {
      if (signal?.aborted) return;
      seq = message.seq;
      yield message;
    }
    if (messages.length === 0 && source.log === log) await change(signal);
  }
}

/** Whether the server's log comes to this seq; null, after a pause, if it could not be asked. */
async function reaches(read: Read, seq: number): Promise<boolean | null> {
  const page = await orPause(read(seq));
  return page && page.last_seq >= seq;
}

/** Null, after a pause, if they could not be read. What was pruned is passed over. */
async function readMissing(read: Read, log: Log, after: number): Promise<readonly Message[] | null> {
  const page = await orPause(read(after));
  if (!page || page.epoch !== log.epoch) return page && [];
  return page.messages.length ? page.messages : log.messages;
}

async function orPause<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked;
  } catch (cause) {
    const error = asError(cause);
    if (!error.passing) throw error;
    await pause(PAUSE_MS);
    return null;
  }
}
