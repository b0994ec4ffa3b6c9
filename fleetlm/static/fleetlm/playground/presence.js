/**
 * Who is online in a topic, merged from presence_state and presence_diff: {id: {metas: [{phx_ref, …}]}}.
 * A participant is here as long as one of its connections (metas) is.
 */
export class Presence {
  /** @type {Map<string, Map<string, object>>} participant id → phx_ref → meta */
  #here = new Map();
  #stateKnown = false;
  #early = [];

  /** A new join begins: its presence_state is still to come, and diffs that overtake it wait. */
  restart() {
    this.#stateKnown = false;
    this.#early = [];
  }

  /** Nobody is known to be here any more. */
  clear() {
    this.restart();
    this.#here = new Map();
  }

  /** @param {Record<string, {metas: {phx_ref: string}[]}>} state */
  replace(state) {
    this.#here = new Map();
    this.#add(state);
    this.#stateKnown = true;
    for (const diff of this.#early.splice(0)) this.merge(diff);
  }

  /** @param {{joins: object, leaves: object}} diff */
  merge(diff) {
    if (!this.#stateKnown) {
      this.#early.push(diff);
      return;
    }
    // Joins first: a connection that is replaced is in both, and its participant never went away.
    this.#add(diff.joins ?? {});
    this.#remove(diff.leaves ?? {});
  }

  /** @param {string} id @returns {boolean} */
  has(id) {
    return this.#here.has(id);
  }

  /** @returns {string[]} */
  ids() {
    return [...this.#here.keys()];
  }

  #add(entries) {
    for (const [id, { metas }] of Object.entries(entries)) {
      const known = this.#here.get(id) ?? new Map();
      for (const meta of metas) known.set(meta.phx_ref, meta);
      this.#here.set(id, known);
    }
  }

  #remove(entries) {
    for (const [id, { metas }] of Object.entries(entries)) {
      const known = this.#here.get(id);
      if (!known) continue;
      for (const meta of metas) known.delete(meta.phx_ref);
      if (known.size === 0) this.#here.delete(id);
    }
  }
}
