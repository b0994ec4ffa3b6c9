/** The entries of an inbox, from its snapshot and its ticks. Pure. */
import type { InboxEntry } from "./types.js";

export interface Tick {
  readonly updates?: readonly InboxEntry[];
  /** The keys of those that left the inbox. */
  readonly removed?: readonly string[];
}

/** Newest first. */
export function sortEntries(entries: readonly InboxEntry[]): readonly InboxEntry[] {
  const time = (entry: InboxEntry): string => entry.last_message?.created_at ?? entry.updated_at;
  return [...entries].sort((one, other) => (time(one) < time(other) ? 1 : time(one) > time(other) ? -1 : 0));
}

/** An entry replaces the one with its key. */
export function changeEntries(
  entries: readonly InboxEntry[],
  { updates = [], removed = [] }: Tick,
): readonly InboxEntry[] {
  const gone = new Set([...removed, ...updates.map((entry) => entry.key)]);
  return sortEntries([...entries.filter((entry) => !gone.has(entry.key)), ...updates]);
}

/** Unread messages and mentions in all that is not muted. */
export function countEntries(entries: readonly InboxEntry[]): { unread: number; mentions: number } {
  const heard = entries.filter((entry) => !entry.muted);
  const sum = (count: (entry: InboxEntry) => number): number =>
    heard.reduce((total, entry) => total + count(entry), 0);
  return { unread: sum((entry) => entry.unread_count), mentions: sum((entry) => entry.mention_count) };
}
