/** The stretch of a conversation's log that is held here: one epoch, ascending, without holes, nothing twice. Pure. */
import type { Message } from "./types.js";

export interface Log {
  readonly epoch: string | null;
  /** The seq up to which everything is here or older than what is held. */
  readonly last_seq: number;
  readonly messages: readonly Message[];
  readonly has_more: boolean;
}

/** What became of messages that came. */
export interface Appended {
  readonly log: Log;
  readonly added: readonly Message[];
  /** Whether something before them is missing; then they, and what follows them, were not added. */
  readonly gap: boolean;
}

export const EMPTY_LOG: Log = { epoch: null, last_seq: 0, messages: [], has_more: false };

/** More than this is not held: the oldest are let go, and read again when they are asked for. */
export const HELD_MESSAGES = 5_000;

/** Begin with a newest page. `lastSeq` counts if the page is empty. */
export function beginLog(epoch: string, page: readonly Message[], lastSeq: number): Log {
  const messages = ascending(page);
  redactTargets(messages, page); // a page may hold both a message as it was said and what blanks it
  return {
    epoch,
    last_seq: messages.at(-1)?.seq ?? lastSeq,
    messages,
    has_more: (messages[0]?.seq ?? 1) > 1,
  };
}

/** Add what came, in its order. `acceptGap`: the first may come after a hole, because what was there is no more. */
export function appendToLog(log: Log, messages: readonly Message[], acceptGap = false): Appended {
  const added: Message[] = [];
  let last = log.last_seq;
  let gap = false;
  for (const message of messages) {
    if (message.seq <= last) continue;
    gap = message.seq > last + 1 && !(acceptGap && added.length === 0);
    if (gap) break;
    added.push(message);
    last = message.seq;
  }
  if (added.length === 0) return { log, added, gap };
  const all = log.messages.concat(added);
  redactTargets(all, added);
  const kept = all.length > HELD_MESSAGES ? all.slice(-HELD_MESSAGES) : all;
  const has_more = log.has_more || kept !== all;
  return { log: { ...log, last_seq: last, messages: kept, has_more }, added, gap };
}

/** Put an older page before what is held. */
export function prependToLog(log: Log, page: readonly Message[], hasMore: boolean): Log {
  const first = firstSeq(log);
  const older = ascending(page).filter((message) => message.seq < first);
  return { ...log, messages: older.concat(log.messages), has_more: hasMore && older.length > 0 };
}

/** The messages after this seq, or null if some of them are not held. */
export function messagesAfter(log: Log, seq: number): readonly Message[] | null {
  if (seq >= log.last_seq) return [];
  if (seq + 1 < firstSeq(log)) return null;
  return log.messages.slice(indexAfter(log.messages, seq));
}

/** The seq of the oldest message held; the one after the last if there is none. */
export function firstSeq(log: Log): number {
  return log.messages[0]?.seq ?? log.last_seq + 1;
}

function ascending(page: readonly Message[]): Message[] {
  return [...page].sort((one, other) => one.seq - other.seq);
}

/** The index of the first message after this seq. */
function indexAfter(messages: readonly Message[], seq: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle]!.seq <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The server has blanked the stored targets; this replaces the copies that are held. */
function redactTargets(messages: Message[], added: readonly Message[]): void {
  for (const { kind, reply_to } of added) {
    if (kind !== "redaction" || reply_to === null) continue;
    const index = indexAfter(messages, reply_to - 1);
    const target = messages[index];
    if (target?.seq === reply_to) messages[index] = { ...target, text: "", content: {}, redacted: true };
  }
}
