/**
 * The stretch of a conversation's log that this page holds: contiguous, ordered by seq, nothing twice.
 * @typedef {{id: string, seq: number, sender_id: string, kind: string, text: string, content: object,
 *   metadata: object, reply_to: number | null, mentions: string[], client_id: string | null,
 *   created_at: string, redacted?: boolean}} Message
 */
export class Log {
  /** @type {Message[]} */
  messages = [];
  /** @type {string | null} */
  epoch = null;
  lastSeq = 0;
  hasOlder = false;
  #bySeq = new Map();

  /** @returns {number} the seq of the oldest message held, or the one after the last when none is */
  get firstSeq() {
    return this.messages[0]?.seq ?? this.lastSeq + 1;
  }

  /**
   * Begin anew from the newest page.
   * @param {string} epoch
   * @param {Message[]} page in any order
   * @param {number} lastSeq
   */
  reset(epoch, page, lastSeq) {
    this.epoch = epoch;
    this.messages = [...page].sort((one, other) => one.seq - other.seq);
    this.#bySeq = new Map(this.messages.map((message) => [message.seq, message]));
    this.lastSeq = this.messages.at(-1)?.seq ?? lastSeq;
    this.hasOlder = this.firstSeq > 1;
  }

  /**
   * @param {Message} message
   * @param {boolean} acceptGap take it even when messages before it are missing
   * @returns {"new" | "known" | "gap"} on "gap" nothing was added
   */
  append(message, acceptGap = false) {
    if (message.seq <= this.lastSeq) return "known";
    if (message.seq > this.lastSeq + 1 && !acceptGap) return "gap";
    this.messages.push(message);
    this.#bySeq.set(message.seq, message);
    this.lastSeq = message.seq;
    if (message.kind === "redaction") this.#redact(message);
    return "new";
  }

  /** @param {Message[]} page in any order @param {boolean} hasOlder */
  prepend(page, hasOlder) {
    const first = this.firstSeq;
    const older = page.filter((message) => message.seq < first).sort((one, other) => one.seq - other.seq);
    for (const message of older) this.#bySeq.set(message.seq, message);
    this.messages = [...older, ...this.messages];
    this.hasOlder = hasOlder && older.length > 0;
  }

  /** Let go of the oldest messages; paging brings them back. @param {number} most how many to keep */
  trim(most) {
    const surplus = this.messages.length - most;
    if (surplus <= 0) return;
    for (const message of this.messages.splice(0, surplus)) this.#bySeq.delete(message.seq);
    this.hasOlder = true;
  }

  /** @param {number} seq @returns {Message | undefined} */
  find(seq) {
    return this.#bySeq.get(seq);
  }

  /** The server blanks the stored target; this blanks the copy that is on the screen already. */
  #redact(redaction) {
    const target = this.#bySeq.get(redaction.reply_to);
    if (target) Object.assign(target, { text: "", content: {}, redacted: true });
  }
}
