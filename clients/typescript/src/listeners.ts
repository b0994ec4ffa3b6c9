/** Who wants to be told. */

/** Tell a listener; what it throws is reported like any uncaught error, and harms nobody else. */
function tell<T>(listener: (payload: T) => void, payload: T): void {
  try {
    listener(payload);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Listeners by the name of what they listen to. */
export class Listeners<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<{ listener: (payload: any) => void }>>();

  /** Returns what takes the listener off again. */
  on<E extends keyof Events>(event: E, listener: (payload: Events[E]) => void): () => void {
    const entry = { listener };
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(entry));
    return () => void listeners.delete(entry);
  }

  emit<E extends keyof Events>(event: E, payload: Events[E]): void {
    for (const { listener } of [...(this.#listeners.get(event) ?? [])]) tell(listener, payload);
  }
}
