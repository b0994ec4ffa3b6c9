/** When to try again after a connection was lost, and how to say why it was. */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

const TOKEN_EXPIRED = 4001;
const FELL_BEHIND = 4008;
const RESTARTING = 1012;

/**
 * Milliseconds to wait: doubling, at most 30 s, and spread at random so that the clients of a lost
 * server do not all come back in the same instant.
 * @param {number} failures how many attempts failed in a row
 * @param {boolean} quick the server asked for a prompt return
 * @param {() => number} random
 * @returns {number}
 */
export function backoff(failures, quick = false, random = Math.random) {
  const first = quick ? FIRST_MS / 2 : FIRST_MS;
  const ceiling = Math.min(LONGEST_MS, first * 2 ** (failures + 1));
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

/**
 * @param {number} code the WebSocket's close code
 * @param {boolean} wasOpen whether this connection had been open at all
 * @param {boolean} everOpen whether any before it had been: then it is not we who are refused
 * @returns {{reason: string, final: boolean, quick: boolean}} final: trying again cannot help
 */
export function explainClose(code, wasOpen, everOpen) {
  if (code === TOKEN_EXPIRED) return { reason: "The token is not valid, or no longer", final: true, quick: false };
  if (code === FELL_BEHIND) return { reason: "This tab fell behind and catches up", final: false, quick: true };
  if (code === RESTARTING) return { reason: "The server restarts", final: false, quick: true };
  if (navigator.onLine === false) return { reason: "This device is offline", final: false, quick: false };
  if (!wasOpen) {
    const reason = everOpen ? "The server cannot be reached" : "The server cannot be reached, or refuses this participant";
    return { reason, final: false, quick: false };
  }
  return { reason: "The connection was lost", final: false, quick: true };
}
