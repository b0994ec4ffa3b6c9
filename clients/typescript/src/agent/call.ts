/** What FleetLM asks of an agent. */

/** A message of the context that comes with a call. */
export interface CallMessage {
  readonly id: string;
  readonly seq: number;
  readonly sender_id: string;
  readonly kind: string;
  readonly text: string;
  readonly content: Readonly<Record<string, unknown>>;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly reply_to: number | null;
  readonly created_at: string;
}

export interface CallParticipant {
  readonly id: string;
  readonly kind: "user" | "agent" | "system";
  readonly display_name: string;
}

/** One call, under the names that it has on the wire, and `new_messages`. */
export interface Call {
  /** `message.created`. Calls of type `ping` are answered by `createAgent` itself. */
  readonly type: string;
  /** The same at every attempt of this call. */
  readonly id: string;
  readonly timestamp: string;
  /** Who is called: you. */
  readonly agent_id: string;
  readonly key: string;
  readonly dm_key: string | null;
  readonly epoch: string;
  /** The context, oldest first; your own messages are in it. */
  readonly conversation: readonly CallMessage[];
  readonly new_from_seq: number;
  readonly participants: readonly CallParticipant[];
  /** Where to post later, with an API key. */
  readonly reply_url: string;
  /** New at every attempt. */
  readonly run_id: string;
  /** What to answer: the messages from `new_from_seq` on that others have said. Notices and redactions are left out. */
  readonly new_messages: readonly CallMessage[];
}

/** Kinds of messages that nobody has said. */
const NOT_SAID: ReadonlySet<string> = new Set(["system", "redaction"]);

/** Whether this is the body of a call. */
export function isCall(body: unknown): body is Omit<Call, "new_messages"> {
  if (typeof body !== "object" || body === null) return false;
  const { conversation, agent_id, new_from_seq } = body as Record<string, unknown>;
  return Array.isArray(conversation) && typeof agent_id === "string" && typeof new_from_seq === "number";
}

/** The call with its `new_messages`. */
export function withNewMessages(body: Omit<Call, "new_messages">): Call {
  const isNew = (message: CallMessage): boolean =>
    message.seq >= body.new_from_seq && message.sender_id !== body.agent_id && !NOT_SAID.has(message.kind);
  return { ...body, new_messages: body.conversation.filter(isNew) };
}
