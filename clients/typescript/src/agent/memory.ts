/** What was answered to which call, so that a call that comes twice is worked on once. */

/** An answer as it went out: what a store has to keep. */
export interface StoredAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Where answers are kept by the `webhook-id` of their calls. Over a database of your own, several processes share it. */
export interface Remember {
  get(id: string): StoredAnswer | undefined | Promise<StoredAnswer | undefined>;
  set(id: string, answer: StoredAnswer): void | Promise<void>;
}

/** Keeps the newest answers of this process, up to so many and to so many characters. */
export class AnswersInMemory implements Remember {
  readonly #answers = new Map<string, StoredAnswer>();
  readonly #count: number;
  readonly #characters: number;
  #held = 0;

  constructor({ count = 10_000, characters = 16_000_000 }: { count?: number; characters?: number } = {}) {
    this.#count = count;
    this.#characters = characters;
  }

  get(id: string): StoredAnswer | undefined {
    return this.#answers.get(id);
  }

  set(id: string, answer: StoredAnswer): void {
    this.#drop(id);
    this.#answers.set(id, answer);
    this.#held += answer.body.length;
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= this.#count && this.#held <= this.#characters) break;
      this.#drop(oldest);
    }
  }

  #drop(id: string): void {
    this.#held -= this.#answers.get(id)?.body.length ?? 0;
    this.#answers.delete(id);
  }
}
