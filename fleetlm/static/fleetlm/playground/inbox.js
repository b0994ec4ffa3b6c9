/**
 * This participant's conversations, kept current by ticks. No DOM here.
 * @typedef {{key: string, kind: string, title: string, participants: string[], unread_count: number,
 *   mention_count: number, muted: boolean, updated_at: string,
 *   last_message: {seq: number, sender_id: string, text: string, created_at: string} | null}} Entry
 */

/** Emits "change". */
export class Inbox extends EventTarget {
  /** Whether the snapshot has come. */
  known = false;
  /** @type {Map<string, Entry>} */
  #entries = new Map();

  /** @param {import("./socket.js").Socket} socket @param {string} me */
  constructor(socket, me) {
    super();
    this.channel = socket
      .channel(`inbox:${me}`, () => ({}))
      .on("join", ({ conversations }) => this.#replace(conversations))
      .on("tick", ({ updates }) => this.#update(updates));
    this.channel.addEventListener("state", () => this.dispatchEvent(new Event("change")));
  }

  /** @returns {Entry[]} newest first */
  entries() {
    const when = (entry) => Date.parse(entry.last_message?.created_at ?? entry.updated_at);
    return [...this.#entries.values()].sort((one, other) => when(other) - when(one));
  }

  /** @param {string} key @returns {Entry | undefined} */
  entry(key) {
    return this.#entries.get(key);
  }

  /** @returns {number} unread messages in all conversations that are not muted */
  unread() {
    return this.entries().reduce((sum, entry) => sum + (entry.muted ? 0 : entry.unread_count), 0);
  }

  #replace(entries) {
    this.#entries = new Map(entries.map((entry) => [entry.key, entry]));
    this.known = true;
    this.dispatchEvent(new Event("change"));
  }

  #update(entries) {
    for (const entry of entries) this.#entries.set(entry.key, entry);
    this.dispatchEvent(new Event("change"));
  }
}
