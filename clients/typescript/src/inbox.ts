import type { Core } from "./core.js";
import { changeEntries, countEntries, sortEntries } from "./entries.js";
import { FleetLMError } from "./errors.js";
import { Holds } from "./holds.js";
import { Listeners } from "./listeners.js";
import type { Place, Topic } from "./topic.js";
import type { InboxEntry, InboxSnapshot, Status } from "./types.js";

/** A participant's conversations with unread counts. Made by `FleetLM.inbox`; followed while somebody listens. */
export class Inbox {
  readonly #core: Core;
  readonly #topic: Topic;
  readonly #holds: Holds = new Holds(
    () => this.#follow(),
    () => this.#followed && this.#leave("idle", null),
  );
  readonly #changes: Listeners<{ change: null }> = new Listeners();
  #entries: readonly InboxEntry[] | null = null;
  #status: Status = "idle";
  #error: FleetLMError | null = null;
  #snapshot: InboxSnapshot | null = null;
  #followed = false;

  /** For `FleetLM.inbox`. */
  constructor(core: Core) {
    this.#core = core;
    this.#topic = this.#asTopic();
  }

  /** All that is known now: the same object until something changes. */
  readonly snapshot = (): InboxSnapshot => {
    const conversations = this.#entries ?? [];
    this.#snapshot ??= {
      status: this.#status,
      conversations,
      ...countEntries(conversations),
      error: this.#error,
    };
    return this.#snapshot;
  };

  /** Be told whenever `snapshot` would be another one. Returns what ends that. */
  readonly subscribe = (listener: () => void): (() => void) =>
    this.#holds.add(this.#changes.on("change", listener));

  /** The entries, newest first: as they are, then whenever they have changed. Ends with `signal`; throws when it is refused. */
  async *changes({ signal }: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<
    readonly InboxEntry[],
    void,
    undefined
  > {
    let given: readonly InboxEntry[] | null = null;
    let wake = (): void => {};
    const off = this.subscribe(() => wake());
    const abort = (): void => wake();
    signal?.addEventListener("abort", abort);
    try {
      while (!signal?.aborted && this.#status !== "closed") {
        if (this.#status === "refused" && this.#error) throw this.#error;
        if (this.#entries && this.#entries !== given) {
          given = this.#entries;
          yield given;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      off();
    }
  }

  /** @internal The client closes. */
  end(): void {
    this.#become("closed", null);
  }

  #follow(): void {
    if (this.#followed) return;
    this.#followed = true;
    this.#core.connection.add(this.#topic);
  }

  #leave(status: Status, error: FleetLMError | null): void {
    this.#followed = false;
    this.#core.connection.remove(this.#topic);
    this.#become(status, error);
  }

  #become(status: Status, error: FleetLMError | null): void {
    this.#status = status;
    this.#error = error;
    this.#changed();
  }

  #replace(entries: readonly InboxEntry[]): void {
    this.#entries = entries;
    this.#changed();
  }

  #changed(): void {
    this.#snapshot = null;
    this.#changes.emit("change", null);
  }

  get #owner(): string {
    const owner = this.#core.tokens.participantId;
    if (owner === null)
      throw new FleetLMError(
        "invalid_options",
        "An inbox is somebody's: give participantId, or a token of theirs.",
      );
    return owner;
  }

  #asTopic(): Topic {
    const owner = (): string => this.#owner;
    return {
      get name() {
        return `inbox:${owner()}`;
      },
      get streamPath() {
        return `inbox/${encodeURIComponent(owner())}/events`;
      },
      place: (): Place => ({}),
      replyOfStream: async (snapshot) => snapshot,
      create: async () => false,
      joined: ({ conversations }) => {
        this.#entries = sortEntries(conversations);
        this.#become("online", null);
      },
      event: (event, payload) => {
        if (event === "tick") this.#replace(changeEntries(this.#entries ?? [], payload));
      },
      waits: (status, error) => this.#become(status, error),
      refused: (error) => this.#leave("refused", error),
      ended: () => this.#leave("closed", null),
    };
  }
}
