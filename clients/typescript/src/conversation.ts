import { Calls } from "./calls.js";
import type { Core } from "./core.js";
import { clientClosed } from "./errors.js";
import { followLog } from "./following.js";
import { Holds } from "./holds.js";
import { Listeners } from "./listeners.js";
import { Live } from "./live.js";
import { firstSeq, prependToLog } from "./log.js";
import { Outbox, type Way } from "./outbox.js";
import { shownRuns } from "./runs.js";
import type {
  ConversationEvents,
  ConversationInfo,
  ConversationSnapshot,
  Message,
  MessagesOptions,
  NewConversation,
  Page,
  SendBody,
  SendOptions,
  Sent,
} from "./types.js";
import { OwnTyping } from "./typing.js";

/** The calls that lead to these states. */
const STATES = { open: "reopen", closed: "close", archived: "archive" } as const;

/**
 * A conversation as one participant sees it. Made by `FleetLM.conversation`.
 *
 * It is followed as long as somebody wants to know: `open`, `on`, `subscribe` and `messages` join it, and it is left when all of
 * them have ended. Sending, reading and the calls about its members do not need it to be followed.
 */
export class Conversation {
  /** The canonical key: a dm's participants are sorted. */
  readonly key: string;
  readonly #core: Core;
  readonly #live: Live;
  readonly #outbox: Outbox;
  readonly #calls: Calls;
  readonly #typing: OwnTyping;
  readonly #holds: Holds = new Holds(
    () => this.#isOver || this.#follow(),
    () => this.#rest(),
  );
  readonly #changes: Listeners<{ change: null }> = new Listeners();
  #snapshot: ConversationSnapshot | null = null;
  #followed = false;
  #loading: Promise<void> | null = null;

  /** For `FleetLM.conversation`. */
  constructor(key: string, core: Core) {
    this.key = key;
    this.#core = core;
    this.#live = new Live(key, {
      changed: () => this.#changed(),
      joined: () => this.#joined(),
      arrived: (messages) => this.#outbox.arrived(messages, (message) => this.#isMine(message)),
      over: () => this.#leave(),
    });
    this.#calls = new Calls(key, core, () => this.#live.link);
    this.#outbox = new Outbox(
      () => this.#way(),
      () => this.#outboxChanged(),
      core.timing,
    );
    this.#typing = new OwnTyping((on) => void this.#calls.ask("typing", { on }).catch(() => {}));
  }

  // What is known.

  /** All that is known now: the same object until something changes. */
  readonly snapshot = (): ConversationSnapshot => {
    const { key, status, error, log, runs, typing, presence, members, reads, closed } = this.#live;
    this.#snapshot ??= {
      key,
      status,
      ...log,
      pending: this.#outbox.pending,
      runs: shownRuns(runs),
      typing: [...typing].filter((id) => id !== this.#calls.me),
      present: [...presence.here.keys()],
      members,
      reads,
      closed,
      error,
    };
    return this.#snapshot;
  };

  /** Be told whenever `snapshot` would be another one. Returns what ends that. */
  readonly subscribe = (listener: () => void): (() => void) =>
    this.#holds.add(this.#changes.on("change", listener));

  /** Be told of one kind of event. Returns what ends that. */
  on<E extends keyof ConversationEvents>(
    event: E,
    handler: (payload: ConversationEvents[E]) => void,
  ): () => void {
    return this.#holds.add(this.#live.listeners.on(event, handler));
  }

  /**
   * Each message once, in order, for ever. Ends when `signal` aborts, or the conversation is closed, which `snapshot().closed`
   * explains; throws the `FleetLMError` with which it is refused.
   */
  async *messages(options: MessagesOptions = {}): AsyncGenerator<Message, void, undefined> {
    const release = this.#holds.add();
    try {
      yield* followLog(
        this.#live,
        (signal) => this.#nextChange(signal),
        (after) => this.#calls.read(after),
        options,
      );
    } finally {
      release();
    }
  }

  /** Join, and stay until `close`. Where the conversation had ended (`removed`, `deleted`) this tries again; nothing else does. */
  open(): void {
    this.#holds.pin(true);
    this.#follow();
  }

  /** Leave at once, whoever still listens. What was sent is sent all the same. */
  close(): void {
    this.#holds.pin(false);
    if (this.#followed) this.#live.ended("left");
  }

  // Saying something.

  /**
   * Send a message: in `snapshot().pending` at once, and resolved when it is stored. While the server cannot be reached it is kept and
   * then sent again, in order. Rejects with a `FleetLMError` that another try would not mend; its pending entry is then `failed`.
   */
  send(message: string | SendBody, options: SendOptions = {}): Promise<Sent> {
    if (this.#core.connection.status === "closed") return Promise.reject(clientClosed());
    this.#typing.set(false);
    return this.#outbox.add(
      typeof message === "string" ? { ...options, text: message } : { ...options, ...message },
    );
  }

  /** Send a failed message again. */
  retry(clientId: string): void {
    this.#outbox.retry(clientId);
  }

  /** Give a pending message up; its promise rejects with `discarded`. One that was under way may have been stored all the same. */
  discard(clientId: string): void {
    this.#outbox.discard(clientId);
  }

  /** Say that one types: call it at every keystroke. It ends 4 s after the last, and with a send. */
  typing(on = true): void {
    this.#typing.set(on);
  }

  /** Move the read cursor to this seq, or to the last message here. It never goes back. */
  async read(seq: number = this.#live.log.last_seq): Promise<void> {
    const me = this.#calls.me;
    if (seq < 1 || (me !== null && (this.#live.reads[me] ?? 0) >= seq)) return;
    if (me !== null) this.#live.hasRead(me, seq);
    // While it is offline, the next join makes it known.
    if (!this.#followed || this.#live.link) await this.#calls.ask("read", { seq });
  }

  /** Have an agent's run ended; what it has said so far becomes its message. */
  async cancel(runId: string): Promise<void> {
    await this.#calls.ask("cancel", { run_id: runId });
  }

  // The past.

  /** The page before this seq, or the newest; it does not become part of the snapshot. */
  async history({
    before,
    limit = 50,
  }: { before?: number | undefined; limit?: number | undefined } = {}): Promise<Page> {
    const { messages, has_more } = await this.#calls.ask("history", {
      before: before ?? Number.MAX_SAFE_INTEGER,
      limit,
    });
    return { messages, has_more };
  }

  /** Put the page before the oldest message into the snapshot. */
  loadOlder(limit = 50): Promise<void> {
    this.#loading ??= this.#loadOlder(limit).finally(() => (this.#loading = null));
    return this.#loading;
  }

  // Members and state.

  info(): Promise<ConversationInfo> {
    return this.#call("GET");
  }

  addParticipants(participants: NonNullable<NewConversation["participants"]>): Promise<ConversationInfo> {
    return this.#call("POST", ["participants"], { participants });
  }

  removeParticipant(id: string): Promise<ConversationInfo> {
    return this.#call("DELETE", ["participants", id]);
  }

  /** Let a person take over from the agents; null gives the conversation back to them. */
  handoff({ to }: { to: string | null }): Promise<ConversationInfo> {
    return this.#call("POST", ["handoff"], { participant_id: to });
  }

  setState(state: keyof typeof STATES): Promise<ConversationInfo> {
    return this.#call("POST", [STATES[state]], {});
  }

  // For the client.

  /** @internal The network may be back. */
  woken(): void {
    this.#outbox.resume();
  }

  /** @internal The client closes. */
  end(): void {
    this.#outbox.close(); // first: leaving sends what waits
    this.close();
    this.#typing.set(false);
  }

  // How it is followed.

  /** Over for the server: only `open` tries again, since joining a deleted dm may make it anew. */
  get #isOver(): boolean {
    const reason = this.#live.closed?.reason;
    return reason === "removed" || reason === "deleted";
  }

  #follow(): void {
    if (this.#followed) return;
    this.#followed = true;
    this.#core.connection.add(this.#live);
  }

  #rest(): void {
    if (!this.#followed) return;
    this.#leave();
    this.#live.rests();
  }

  #leave(): void {
    this.#followed = false;
    this.#core.connection.remove(this.#live);
    this.#outbox.settle(Infinity);
    this.#outbox.resume();
  }

  #joined(): void {
    this.#outbox.settle(this.#live.log.last_seq);
    this.#outbox.resume();
    const me = this.#live.members.find((member) => member.id === this.#calls.me);
    const seq = me && this.#live.reads[me.id];
    if (me && seq && seq > me.last_read_seq) void this.#calls.ask("read", { seq }).catch(() => {});
  }

  #changed(): void {
    this.#snapshot = null;
    this.#changes.emit("change", null);
  }

  #outboxChanged(): void {
    this.#outbox.settle(this.#followed ? this.#live.log.last_seq : Infinity);
    this.#changed();
    this.#live.listeners.emit("pending", this.#outbox.pending);
  }

  #nextChange(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        off();
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const off = this.#changes.on("change", done);
      signal?.addEventListener("abort", done);
    });
  }

  async #loadOlder(limit: number): Promise<void> {
    const { epoch, has_more } = this.#live.log;
    const before = firstSeq(this.#live.log);
    if (epoch === null || !has_more) return;
    const page = await this.history({ before, limit });
    const { log } = this.#live;
    if (epoch !== log.epoch || before !== firstSeq(log)) return;
    this.#live.setLog(prependToLog(log, page.messages, page.has_more));
  }

  /** How to send now; null while it will be joined shortly. */
  #way(): Way | null {
    const { link, status } = this.#live;
    const joinsSoon = this.#followed && !link && (status === "connecting" || status === "offline");
    return this.#calls.bySocket ?? (joinsSoon ? null : this.#calls.byRest);
  }

  #isMine({ sender_id }: Message): boolean {
    return this.#calls.me === null || sender_id === this.#calls.me;
  }

  async #call(method: string, path: string[] = [], body?: object): Promise<ConversationInfo> {
    const info = await this.#calls.call(method, path, body);
    if (this.#live.link) this.#live.setMembers(info.participants);
    return info;
  }
}
