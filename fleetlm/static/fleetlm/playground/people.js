/** What is known of participants: learnt from the members of the conversations that were joined. */

/** Emits "change" when a name or kind became known. */
export class People extends EventTarget {
  #known = new Map();

  /** @param {{id: string, kind: string, display_name: string}[]} members */
  learn(members) {
    let news = false;
    for (const { id, kind, display_name } of members) {
      const before = this.#known.get(id);
      if (before?.kind === kind && before.display_name === display_name) continue;
      this.#known.set(id, { kind, display_name });
      news = true;
    }
    if (news) this.dispatchEvent(new Event("change"));
  }

  /** @param {string} id @returns {string} the display name, or the id where none is known */
  nameOf(id) {
    return this.#known.get(id)?.display_name || id;
  }

  /** @param {string} id @returns {boolean} */
  isAgent(id) {
    return this.#known.get(id)?.kind === "agent";
  }
}

/** @param {string} id @returns {boolean} whether the server would take it as a participant's id */
export function isParticipantId(id) {
  return /^[A-Za-z0-9._@-]{1,128}$/.test(id);
}

/** The key of the dm of two participants. @param {string} one @param {string} other @returns {string} */
export function dmKey(one, other) {
  return [one, other].sort().join(":");
}

/** The other one of a dm, or null if the key is no dm of ours. @param {string} key @param {string} me @returns {string | null} */
export function dmPartner(key, me) {
  const ids = key.split(":");
  if (ids.length !== 2 || !ids.includes(me)) return null;
  return ids[0] === me ? ids[1] : ids[0];
}
