/**
 * The data of FleetLM under the names it has on the wire (see `docs/socket.md` and `/api/docs`), and the shapes of this
 * SDK's own options and snapshots. Times are ISO 8601 UTC texts; intervals are milliseconds.
 */
import type { FleetLMError } from "./errors.js";

/** How it stands with a connection, a conversation or an inbox. */
export type Status = "idle" | "connecting" | "online" | "offline" | "refused" | "closed";

/** Any JSON object. */
export type Json = Record<string, unknown>;

/** One entry of a conversation's log. Never changes, but for the blanking of one that a redaction names. */
export interface Message {
  readonly id: string;
  readonly seq: number;
  readonly conversation: string;
  readonly dm_key: string | null;
  readonly sender_id: string;
  /** `text`, `system`, `redaction` (it blanks the message at `reply_to`), or a kind of your own. */
  readonly kind: string;
  readonly text: string;
  readonly content: Readonly<Json>;
  readonly metadata: Readonly<Json>;
  readonly reply_to: number | null;
  readonly mentions: readonly string[];
  readonly client_id: string | null;
  readonly created_at: string;
  /** Set by this SDK on a message that it saw being blanked. */
  readonly redacted?: true;
}

export interface Member {
  readonly id: string;
  readonly kind: "user" | "agent" | "system";
  readonly display_name: string;
  readonly role: "member" | "admin";
  readonly last_read_seq: number;
}

/** A part of a streamed answer, in the vocabulary of the AI SDK's UI message stream. */
export interface Chunk {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** One call of an agent, and what it has said so far. */
export interface Run {
  readonly run_id: string;
  readonly agent_id: string;
  readonly status: "started" | "streaming" | "finished" | "failed" | "cancelled";
  /** All that it has said, as the text of its message will be. */
  readonly text: string;
  /** All its chunks so far; neighbouring pieces of one text are one. */
  readonly chunks: readonly Chunk[];
  /** How many chunks that were on the wire. */
  readonly to: number;
  /** The seq of its last message, once it has ended with one. */
  readonly seq: number | null;
  readonly error: string | null;
  /** Whether it failed and the agent is called again, as another run. */
  readonly retry: boolean;
}

/** Some more of a run: the chunks from number `from` up to, not including, `to`. */
export interface Delta {
  readonly run_id: string;
  readonly from: number;
  readonly to: number;
  readonly chunks: readonly Chunk[];
  /** The run with this delta in it. */
  readonly run: Run;
}

/** A message to send: the body of the REST call. */
export interface SendBody {
  text?: string | undefined;
  /** Of your own, to send again safely; one is made if there is none. */
  client_id?: string | undefined;
  reply_to?: number | undefined;
  kind?: string | undefined;
  content?: Json | undefined;
  metadata?: Json | undefined;
  /** Store it only if this is the conversation's last seq; else the error `seq_conflict`. */
  expected_seq?: number | undefined;
  /** For an API key that acts as nobody. */
  sender_id?: string | undefined;
}

export type SendOptions = Omit<SendBody, "text">;

/** Where a message was stored. */
export interface Sent {
  readonly id: string;
  readonly seq: number;
  readonly created_at: string;
  /** Whether it had been stored by an earlier try. */
  readonly deduplicated: boolean;
}

/** A message that is sent and not in the log yet. */
export interface Pending {
  readonly client_id: string;
  readonly text: string;
  readonly status: "sending" | "failed";
  readonly error: FleetLMError | null;
  readonly created_at: string;
  readonly body: Readonly<SendBody>;
}

/** A page of the log, oldest message first. */
export interface Page {
  readonly messages: readonly Message[];
  readonly has_more: boolean;
}

/** All that is known of a conversation. Immutable: another object when something has changed, the same until then. */
export interface ConversationSnapshot {
  readonly key: string;
  readonly status: Status;
  readonly epoch: string | null;
  readonly last_seq: number;
  /** Ascending, without holes. */
  readonly messages: readonly Message[];
  readonly pending: readonly Pending[];
  /** Those to be shown: what has been said is not a message yet. Oldest first. */
  readonly runs: readonly Run[];
  /** Who types, but for oneself. */
  readonly typing: readonly string[];
  /** Who has the conversation open; empty over SSE, and in crowds. */
  readonly present: readonly string[];
  readonly members: readonly Member[];
  /** How far each participant has read. */
  readonly reads: Readonly<Record<string, number>>;
  /** Whether there are older messages than these. */
  readonly has_more: boolean;
  readonly closed: Closed | null;
  /** Why it was refused, or what last went wrong while it is offline. */
  readonly error: FleetLMError | null;
}

/** Why a conversation ended: `left` by `close()`, `removed` or `deleted` by the server. */
export interface Closed {
  readonly reason: "left" | "removed" | "deleted";
}

/** What `on` of a conversation tells. */
export interface ConversationEvents {
  /** A message that came after the first page. */
  message: Message;
  /** The messages that are not stored yet, whenever that changes. */
  pending: readonly Pending[];
  typing: { readonly participant_id: string; readonly on: boolean };
  read: { readonly participant_id: string; readonly seq: number };
  /** Who is here now. */
  presence: readonly string[];
  /** A run whose status has changed, or that was under way when one joined. */
  run: Run;
  delta: Delta;
  /** The log is another one than before: the snapshot holds its newest page. */
  reset: { readonly epoch: string };
  closed: Closed;
  error: FleetLMError;
  status: Status;
}

/** A conversation as REST tells of it. */
export interface ConversationInfo {
  readonly key: string;
  readonly dm_key: string | null;
  readonly epoch: string;
  readonly kind: "dm" | "group" | "broadcast";
  readonly state: "open" | "closed" | "archived";
  readonly title: string;
  readonly metadata: Readonly<Json>;
  readonly last_seq: number;
  /** The person who has taken over from the agents. */
  readonly handed_to: string | null;
  readonly participants: readonly Member[];
  readonly created_at: string;
  readonly updated_at: string;
}

/** A conversation to create. A group without a `key` is given one. */
export interface NewConversation {
  key?: string | undefined;
  title?: string | undefined;
  participants?: (string | { id: string; role?: "member" | "admin" })[] | undefined;
  kind?: "dm" | "group" | "broadcast" | undefined;
  metadata?: Json | undefined;
}

/** Where to begin, and when to stop, in `conversation.messages()`. */
export interface MessagesOptions {
  /** Everything after this seq; 0 is from the first. Without it: from the newest `limit` messages on. */
  after?: number | undefined;
  /** The epoch that `after` belongs to: should the log be another one, the newest messages are given instead. */
  epoch?: string | undefined;
  limit?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** A conversation in an inbox. */
export interface InboxEntry {
  readonly key: string;
  readonly dm_key: string | null;
  readonly kind: "dm" | "group" | "broadcast";
  readonly title: string;
  readonly state: "open" | "closed" | "archived";
  /** The first 50. */
  readonly participants: readonly string[];
  readonly last_message: {
    readonly seq: number;
    readonly sender_id: string;
    /** Its first 140 characters. */
    readonly text: string;
    readonly created_at: string;
  } | null;
  readonly unread_count: number;
  readonly mention_count: number;
  readonly last_read_seq: number;
  readonly muted: boolean;
  readonly updated_at: string;
}

/** All that is known of an inbox. Immutable, like `ConversationSnapshot`. */
export interface InboxSnapshot {
  readonly status: Status;
  /** Newest first. */
  readonly conversations: readonly InboxEntry[];
  /** Unread messages of all conversations that are not muted. */
  readonly unread: number;
  readonly mentions: number;
  readonly error: FleetLMError | null;
}

/** The intervals of a connection, in milliseconds. The defaults fit a server with its defaults. */
export interface Timing {
  /** Between two heartbeats of a socket (30 s). */
  heartbeatMs: number;
  /** A heartbeat, and any other question, is answered within this time, or the socket is taken for dead (10 s). */
  replyMs: number;
  /** A socket is open within this time, or not at all (8 s). */
  connectMs: number;
  /** An event stream on which nothing comes for so long is taken for dead; the server says something every 15 s (40 s). */
  silenceMs: number;
  /** The first pause before another try; it doubles with each, up to `backoffMaxMs` (300 ms). */
  backoffMs: number;
  /** (10 s) */
  backoffMaxMs: number;
  /** While sockets are blocked, one is tried after this time, then after twice that, up to 16 times (30 s). */
  socketRetryMs: number;
}

export interface FleetLMOptions {
  /** Where the server is, such as `https://chat.example.com`; in a browser the page's own origin if it is not given. */
  url?: string | undefined;
  /** Who you are, in open mode; whom an API key acts as. A participant token says it itself. */
  participantId?: string | undefined;
  /**
   * A participant token or an API key. A function is called at the start, shortly before its token expires, and when the
   * server says that it has; what it throws counts as a failure that passes.
   */
  token?: string | (() => string | Promise<string>) | undefined;
  /** `auto`: a WebSocket; Server-Sent Events where sockets are blocked or there are none, and sockets again when they work. */
  transport?: "auto" | "websocket" | "sse" | undefined;
  /** Another WebSocket than the platform's, such as that of `ws`. */
  WebSocket?: WebSocketConstructor | undefined;
  fetch?: typeof fetch | undefined;
  timing?: Partial<Timing> | undefined;
}

/** What is used of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

export interface RequestOptions {
  body?: unknown;
  query?: Record<string, string | number | boolean | undefined> | undefined;
  signal?: AbortSignal | undefined;
  /** Makes any call one that may be made again; sent as the header `Idempotency-Key`. */
  idempotencyKey?: string | undefined;
}
