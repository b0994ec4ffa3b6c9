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
type Read = (after: number) => Promise<{ messages: readonly Message[]; epoch: string }>;

/** `change` resolves when anything has changed or the signal aborts; `read` brings what is not held. */
export async function* followLog(
  source: Followed,
  change: (signal: AbortSignal | undefined) => Promise<void>,
  read: Read,
  { after, epoch: ofEpoch, limit = 50, signal }: MessagesOptions,
): AsyncGenerator<Message, void, undefined> {
  let seq = after;
  let epoch = after === undefined ? null : (ofEpoch ?? null);
  while (!signal?.aborted && !source.closed) {
    const { log } = source;
    if (source.status === "refused" && source.error) throw source.error;
    if (log.epoch === null) {
      await change(signal);
      continue;
    }
    const isAnother = epoch !== null && epoch !== log.epoch;
    // Only at the beginning: later a page may have been read that is ahead of the connection.
    const isBeyond = epoch === null && seq !== undefined && seq > log.last_seq;
    if (seq === undefined || isAnother || isBeyond) seq = Math.max(log.last_seq - limit, 0);
    epoch = log.epoch;
    const messages = messagesAfter(log, seq) ?? (await readMissing(read, log, seq));
    if (!messages) continue;
    for (const message of messages) {
      if (signal?.aborted) return;
      seq = message.seq;
      yield message;
    }
    if (messages.length === 0 && source.log === log) await change(signal);
  }
}

/** Null, after a pause, if they could not be read. What was pruned is passed over. */
async function readMissing(read: Read, log: Log, after: number): Promise<readonly Message[] | null> {
  try {
    const page = await read(after);
    if (page.epoch !== log.epoch) return [];
    return page.messages.length ? page.messages : log.messages;
  } catch (cause) {
    const error = asError(cause);
    if (!error.passing) throw error;
    await pause(PAUSE_MS);
    return null;
  }
}
