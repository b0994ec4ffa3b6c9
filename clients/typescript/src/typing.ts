/** Telling the others that we type: few words for many keystrokes. */

const REPEAT_MS = 3_000;
const IDLE_MS = 4_000;

/** `on` is told at most every 3 s, `off` 4 s after the last time it was said. */
export class OwnTyping {
  readonly #tell: (on: boolean) => void;
  #toldAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tell: (on: boolean) => void) {
    this.#tell = tell;
  }

  set(on: boolean): void {
    clearTimeout(this.#timer);
    if (!on) return this.#stop();
    this.#timer = setTimeout(() => this.#stop(), IDLE_MS);
    if (Date.now() - this.#toldAt < REPEAT_MS) return;
    this.#toldAt = Date.now();
    this.#tell(true);
  }

  #stop(): void {
    if (this.#toldAt === 0) return;
    this.#toldAt = 0;
    this.#tell(false);
  }
}
