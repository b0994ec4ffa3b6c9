/** Something that is followed as long as anybody wants it: from the first who comes until a moment after the last has left. */
export class Holds {
  readonly #begin: () => unknown;
  readonly #end: () => unknown;
  #count = 0;
  #pinned = false;

  constructor(begin: () => unknown, end: () => unknown) {
    this.#begin = begin;
    this.#end = end;
  }

  /** Want it; `release` is called when that ends, once. Returns what ends it. */
  add(release: () => void = () => {}): () => void {
    this.#count += 1;
    this.#begin();
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#count -= 1;
      release();
      // Not at once: whoever renders anew leaves and comes in the same moment.
      setTimeout(() => this.#count === 0 && !this.#pinned && this.#end(), 0);
    };
  }

  /** Keep it also while nobody wants it, or no longer. */
  pin(pinned: boolean): void {
    this.#pinned = pinned;
  }
}
