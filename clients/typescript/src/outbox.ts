/**
 * What is sent and not in the log yet, in the order in which it was sent. A client_id makes every send repeatable: however often
 * it goes out, the server stores it once.
 */
import { backoff } from "./backoff.js";
import { asError, clientClosed, FleetLMError } from "./errors.js";
import type { Message, Pending, SendBody, Sent, Timing } from "./types.js";

/** A way to the server. */
export interface Way {
  /** How many sends may be under way at a time without losing their order. */
  readonly window: number;
  send(body: SendBody): Promise<Sent>;
}

interface Item {
  pending: Pending;
  state: "waiting" | "flying" | "stored" | "failed";
  seq: number;
  resolve: (sent: Sent) => void;
  reject: (error: FleetLMError) => void;
}

export class Outbox {
  readonly #items = new Map<string, Item>();
  readonly #way: () => Way | null;
  readonly #changed: () => void;
  readonly #timing: Timing;
  #via: Way | null = null;
  #flying = 0;
  #failures = 0;
  /** Whether nothing more goes out until what is under way has ended: something before it has to go out again. */
  #held = false;
  #pauseMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `way` is asked at every send; null: wait until `pump` is called. `changed` is told when `pending` has changed. */
  constructor(way: () => Way | null, changed: () => void, timing: Timing) {
    this.#way = way;
    this.#changed = changed;
    this.#timing = timing;
  }

  get pending(): readonly Pending[] {
    return [...this.#items.values()].map((item) => item.pending);
  }

  get isEmpty(): boolean {
    return this.#items.size === 0;
  }

  /** Resolves when the message is stored; rejects when it cannot be. */
  add(body: SendBody): Promise<Sent> {
    const client_id = body.client_id ?? randomId();
    const sent = new Promise<Sent>((resolve, reject) => {
      if (this.#items.has(client_id)) {
        return reject(new FleetLMError("client_id_reused", "A message with this client_id is on its way."));
      }
      const pending: Pending = {
        client_id,
        text: body.text ?? "",
        status: "sending",
        error: null,
        created_at: new Date().toISOString(),
        body: { ...body, client_id },
      };
      this.#items.set(client_id, { pending, state: "waiting", seq: 0, resolve, reject });
    });
    // Whoever shows `pending` need not listen to the promise as well.
    sent.catch(() => {});
    this.#changed();
    this.pump();
    return sent;
  }

  /** Send again what has failed. */
  retry(clientId: string): void {
    const item = this.#items.get(clientId);
    if (item?.state !== "failed") return;
    this.#become(item, "waiting", null);
    this.pump();
  }

  /** Give a message up. It may have been stored all the same if it was under way. */
  discard(clientId: string): void {
    const item = this.#items.get(clientId);
    if (!item) return;
    item.reject(new FleetLMError("discarded", "The message was discarded."));
    this.#remove(item);
  }

  /** The way is open again: go on at once. */
  resume(): void {
    clearTimeout(this.#timer);
    if (this.#flying === 0) this.#held = false;
    this.pump();
  }

  /** Send what can be sent now. */
  pump(): void {
    const way = this.#way();
    if (!way || this.#held || (this.#flying > 0 && way !== this.#via)) return;
    this.#via = way;
    for (const item of this.#items.values()) {
      if (this.#flying >= way.window || this.#held) return;
      if (item.state === "waiting") void this.#fly(item, way);
    }
  }

  /** These are in the log. `mine` says which of them were sent here. */
  arrived(messages: readonly Message[], mine: (message: Message) => boolean): void {
    for (const message of this.#items.size ? messages : []) {
      const item = message.client_id === null ? undefined : this.#items.get(message.client_id);
      if (!item || !mine(message)) continue;
      const { id, seq, created_at } = message;
      item.resolve({ id, seq, created_at, deduplicated: false });
      this.#remove(item);
    }
  }

  /** The log goes up to here, or is not followed any more: what is stored is no longer pending. */
  settle(lastSeq: number): void {
    for (const item of [...this.#items.values()]) {
      if (item.state === "stored" && item.seq <= lastSeq) this.#remove(item);
    }
  }

  /** Give everything up. */
  close(): void {
    clearTimeout(this.#timer);
    for (const item of this.#items.values()) item.reject(clientClosed());
    this.#items.clear();
    this.#changed();
  }

  async #fly(item: Item, way: Way): Promise<void> {
    item.state = "flying";
    this.#flying += 1;
    try {
      const sent = await way.send(item.pending.body);
      this.#failures = 0;
      item.resolve(sent);
      item.seq = sent.seq;
      item.state = "stored";
    } catch (cause) {
      this.#failed(item, asError(cause));
    }
    this.#flying -= 1;
    if (this.#flying === 0 && this.#held) this.#timer = setTimeout(() => this.resume(), this.#pauseMs);
    this.#changed();
    this.pump();
  }

  #failed(item: Item, error: FleetLMError): void {
    if (!error.passing) {
      item.reject(error);
      return this.#become(item, "failed", error);
    }
    item.state = "waiting";
    if (this.#held) return;
    this.#held = true;
    this.#pauseMs = Math.max(backoff(this.#failures, this.#timing), (error.retryAfter ?? 0) * 1_000);
    this.#failures += 1;
  }

  #become(item: Item, state: "waiting" | "failed", error: FleetLMError | null): void {
    item.state = state;
    item.pending = { ...item.pending, status: error ? "failed" : "sending", error };
    this.#changed();
  }

  #remove(item: Item): void {
    this.#items.delete(item.pending.client_id);
    this.#changed();
  }
}

/** `crypto.randomUUID` exists on https and localhost only; a page in the local network needs an id too. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
