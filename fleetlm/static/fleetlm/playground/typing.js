/** Who is typing, and telling the others that we are. */

/**
 * The server says when somebody stops, and does not repeat itself while they go on. This is for the case that its word
 * was lost, and long enough for a long message.
 */
const FORGET_MS = 60_000;
const REPEAT_MS = 3_000;
const IDLE_MS = 4_000;

export class TypingOthers {
  #timers = new Map();
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** @returns {string[]} participant ids */
  ids() {
    return [...this.#timers.keys()];
  }

  /** @param {string} id @param {boolean} on */
  set(id, on) {
    const before = this.#timers.size;
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    if (on) this.#timers.set(id, setTimeout(() => this.set(id, false), FORGET_MS));
    if (this.#timers.size !== before) this.#changed();
  }

  clear() {
    for (const id of this.ids()) this.set(id, false);
  }
}

/** Turns keystrokes into few `typing` events: on at most every 3 s, off after 4 s without one. */
export class OwnTyping {
  #tell;
  #toldAt = 0;
  #idleTimer = 0;

  /** @param {(on: boolean) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {boolean} hasText whether anything stands in the box */
  keystroke(hasText) {
    if (!hasText) {
      this.stop();
      return;
    }
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => this.stop(), IDLE_MS);
    if (Date.now() - this.#toldAt < REPEAT_MS) return;
    this.#toldAt = Date.now();
    this.#tell(true);
  }

  stop() {
    clearTimeout(this.#idleTimer);
    if (this.#toldAt === 0) return;
    this.#toldAt = 0;
    this.#tell(false);
  }
}
