import { DEFAULT_TIMING } from "./backoff.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import type { Core } from "./core.js";
import { FleetLMError } from "./errors.js";
import { Inbox } from "./inbox.js";
import { Listeners } from "./listeners.js";
import { Rest } from "./rest.js";
import { Tokens } from "./tokens.js";
import type {
  ConversationInfo,
  FleetLMOptions,
  NewConversation,
  RequestOptions,
  Status,
  WebSocketConstructor,
} from "./types.js";

/**
 * A participant's way to a FleetLM server. It connects when something is followed, and rests when nothing is.
 *
 * Throws a `FleetLMError` `invalid_options` where options do not fit together.
 */
export class FleetLM {
  readonly #core: Core;
  readonly #listeners: Listeners<{ status: Status }> = new Listeners();
  readonly #conversations = new Map<string, WeakRef<Conversation>>();
  readonly #forgotten = new FinalizationRegistry<string>((key) => this.#forget(key));
  #inbox: Inbox | null = null;

  constructor(options: FleetLMOptions = {}) {
    const timing = { ...DEFAULT_TIMING, ...options.timing };
    const tokens = new Tokens(options.token, options.participantId);
    const url = urlOf(options);
    const rest = new Rest(url, options.fetch ?? ((...call) => fetch(...call)), tokens, timing);
    const connection = new Connection(
      {
        socketUrl: (token) => socketUrl(url, token, options.participantId),
        WebSocket: webSocketOf(options),
        mayStream: options.transport !== "websocket",
        timing,
      },
      rest,
      tokens,
      () => this.#listeners.emit("status", connection.status),
      () => this.#each((conversation) => conversation.woken()),
    );
    this.#core = { rest, tokens, timing, connection };
  }

  /** Who this is: null for an API key that acts as nobody, and until a token function has been called; see `identify`. */
  get participantId(): string | null {
    return this.#core.tokens.participantId;
  }

  /** How it stands with the connection. `refused`: the token is not good, and trying again is of no use. */
  get status(): Status {
    return this.#core.connection.status;
  }

  /** Be told of each change of `status`. Returns what ends that. */
  on(event: "status", handler: (status: Status) => void): () => void {
    return this.#listeners.on(event, handler);
  }

  /** Who this is; calls the token function if it has to. */
  async identify(): Promise<string | null> {
    await this.#core.tokens.current();
    return this.participantId;
  }

  /**
   * Any call of the REST API: `fleet.request("GET", "agents")`. Resolves with its JSON; rejects with a `FleetLMError`. A GET, and
   * any call with an `idempotencyKey`, is made again a few times when the server cannot be reached or is overloaded.
   */
  request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const { body, query, signal, idempotencyKey } = options;
    return this.#core.rest.request<T>(method, path, { body, query, signal, idempotencyKey });
  }

  /** Create a conversation; a group by default. */
  createConversation(conversation: NewConversation): Promise<ConversationInfo> {
    return this.request("POST", "conversations", { body: conversation });
  }

  /** A conversation by its key, whether or not it exists. The same object for the same key, as long as it is in use. */
  conversation(key: string): Conversation {
    const canonical = key.split(":").sort().join(":");
    const known = this.#conversations.get(canonical)?.deref();
    if (known) return known;
    const conversation = new Conversation(canonical, this.#core);
    this.#conversations.set(canonical, new WeakRef(conversation));
    this.#forgotten.register(conversation, canonical);
    return conversation;
  }

  /** One's own inbox; always the same object. */
  inbox(): Inbox {
    this.#inbox ??= new Inbox(this.#core);
    return this.#inbox;
  }

  /** Disconnect for good. What was not stored yet is given up: its promises reject with `closed`. */
  close(): void {
    this.#each((conversation) => conversation.end());
    this.#inbox?.end();
    this.#core.connection.close();
  }

  #each(act: (conversation: Conversation) => void): void {
    for (const reference of [...this.#conversations.values()]) {
      const conversation = reference.deref();
      if (conversation) act(conversation);
    }
  }

  #forget(key: string): void {
    if (!this.#conversations.get(key)?.deref()) this.#conversations.delete(key);
  }
}

function urlOf({ url }: FleetLMOptions): string {
  const found = url ?? (globalThis.location as Location | undefined)?.origin;
  if (!found || !/^https?:/.test(found)) {
    throw new FleetLMError(
      "invalid_options",
      "url must say where the server is, such as http://127.0.0.1:4000.",
    );
  }
  return found.replace(/\/+$/, "");
}

/** Null where event streams are the way. */
function webSocketOf({ transport = "auto", WebSocket: given }: FleetLMOptions): WebSocketConstructor | null {
  if (transport === "sse") return null;
  const found = given ?? (globalThis.WebSocket as WebSocketConstructor | undefined) ?? null;
  if (!found && transport === "websocket") {
    throw new FleetLMError("invalid_options", "There is no WebSocket here: give one, such as that of `ws`.");
  }
  return found;
}

function socketUrl(url: string, token: string | undefined, participantId: string | undefined): string {
  const query = new URLSearchParams({ vsn: "2.0.0" });
  if (token !== undefined) query.set("token", token);
  if (participantId !== undefined) query.set("participant_id", participantId);
  return `${url.replace(/^http/, "ws")}/socket/websocket?${query}`;
}
