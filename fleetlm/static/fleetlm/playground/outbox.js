/**
 * What this participant sent and the log does not show yet. A client_id makes every send repeatable:
 * however often it goes out, the server stores it once.
 * @typedef {{client_id: string, text: string, created_at: string, seq: number | null,
 *   state: "pending" | "sent" | "failed", reason: string}} Outgoing
 */
export class Outbox {
  /** @type {Outgoing[]} in the order they were written */
  items = [];
  #push;
  #changed;

  /**
   * @param {(body: object) => Promise<{seq: number}>} push sends one body
   * @param {() => void} changed
   */
  constructor(push, changed) {
    this.#push = push;
    this.#changed = changed;
  }

  /** @param {string} text */
  add(text) {
    const item = {
      client_id: randomId(),
      text,
      created_at: new Date().toISOString(),
      seq: null,
      state: "pending",
      reason: "",
    };
    this.items.push(item);
    this.#deliver(item);
  }

  /** Send again all that has no answer: after every join. */
  resend() {
    for (const item of this.items) if (item.state === "pending") this.#deliver(item);
  }

  /** @param {string} clientId */
  retry(clientId) {
    const item = this.items.find((candidate) => candidate.client_id === clientId);
    if (item?.state === "failed") this.#deliver(item);
  }

  /** @param {string} clientId */
  discard(clientId) {
    this.#remove((item) => item.client_id === clientId);
    this.#changed();
  }

  /** The log holds this message now. @param {{client_id: string | null, seq: number}} message */
  arrived(message) {
    this.#remove((item) => item.client_id === message.client_id || item.seq === message.seq);
  }

  /** The log is complete up to here. @param {number} seq */
  arrivedUpTo(seq) {
    this.#remove((item) => item.seq !== null && item.seq <= seq);
  }

  async #deliver(item) {
    item.state = "pending";
    item.reason = "";
    this.#changed();
    try {
      const { seq } = await this.#push({ text: item.text, client_id: item.client_id });
      item.state = "sent";
      item.seq = seq;
    } catch (error) {
      // A lost connection is no failure: the next join sends it again.
      if (error.code === "disconnected") return;
      item.state = "failed";
      item.reason = error.message;
    }
    this.#changed();
  }

  #remove(matches) {
    this.items = this.items.filter((item) => !matches(item));
  }
}

/** crypto.randomUUID exists on https and localhost only; a page in the local network needs an id too. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
