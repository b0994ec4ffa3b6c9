/**
 * The conversations this page holds joined: the open one, those visited before, and the newest dms,
 * whose presence the inbox shows.
 */
import { Conversation } from "./conversation.js";
import { dmPartner } from "./people.js";

const WATCHED_DMS = 15;
const MOST = 40;

/** Emits "change" when presence or typing may have. */
export class Conversations extends EventTarget {
  /** @type {Map<string, Conversation>} least recently opened first */
  #joined = new Map();
  #socket;

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {string} me
   * @param {import("./people.js").People} people
   */
  constructor(socket, me, people) {
    super();
    this.#socket = socket;
    this.me = me;
    this.people = people;
  }

  /** @param {string} key @returns {Conversation} the one to be opened */
  open(key) {
    const conversation = this.#take(key);
    this.#joined.delete(key);
    this.#joined.set(key, conversation);
    this.#leaveSurplus(key);
    return conversation;
  }

  /** Join the newest dms in the background. @param {string[]} keys newest first */
  watch(keys) {
    const dms = keys.filter((key) => dmPartner(key, this.me)).slice(0, WATCHED_DMS);
    for (const key of dms) if (!this.#joined.has(key)) this.#take(key).join();
  }

  /** @param {string} key @param {string} id @returns {boolean} */
  isOnline(key, id) {
    return this.#joined.get(key)?.presence.has(id) ?? false;
  }

  /** @param {string} key @returns {string[]} who is typing there, as far as it is known */
  typing(key) {
    return this.#joined.get(key)?.typing.ids() ?? [];
  }

  #take(key) {
    const known = this.#joined.get(key);
    if (known) return known;
    const conversation = new Conversation(this.#socket, key, this.me, this.people);
    conversation.addEventListener("change", () => this.dispatchEvent(new Event("change")));
    this.#joined.set(key, conversation);
    return conversation;
  }

  /** What waits to be sent keeps its conversation. */
  #leaveSurplus(openKey) {
    for (const [key, conversation] of this.#joined) {
      if (this.#joined.size <= MOST) return;
      if (key === openKey || conversation.outbox.items.length > 0) continue;
      conversation.channel.leave();
      this.#joined.delete(key);
    }
  }
}
