/** When to try again. */
import type { Timing } from "./types.js";

export const DEFAULT_TIMING: Timing = {
  heartbeatMs: 30_000,
  replyMs: 10_000,
  connectMs: 8_000,
  silenceMs: 40_000,
  backoffMs: 300,
  backoffMaxMs: 10_000,
  socketRetryMs: 30_000,
};

/**
 * Milliseconds to wait after so many failures in a row: doubling, bounded, and spread at random, so that the clients of a lost
 * server do not all come back in the same instant.
 */
export function backoff(failures: number, timing: Timing, random: () => number = Math.random): number {
  const longest = Math.min(timing.backoffMaxMs, timing.backoffMs * 2 ** Math.min(failures, 30));
  return longest * (0.5 + random() / 2);
}

/** Wait so long, or until the signal aborts. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
