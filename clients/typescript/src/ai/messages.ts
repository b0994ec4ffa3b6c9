/** Messages of the log as those of the AI SDK. Pure. */
import type { UIMessage } from "ai";
import type { Message, Pending } from "../types.js";

/** What a `UIMessage`'s metadata tells of its message under `fleetlm`, next to the message's own metadata. */
export interface FleetLMMetadata {
  readonly sender_id: string;
  /** Null while it is not stored. */
  readonly seq: number | null;
  readonly created_at: string;
  readonly kind: string;
  /** How an agent's answer ended: `complete`, `cancelled`, `interrupted` or `aborted`. */
  readonly status?: string;
}

type Part = UIMessage["parts"][number];

/**
 * The log as the AI SDK shows it: one's own messages are the user's, those of everyone else the assistant's, notices the
 * system's. `pending` are those that are not stored yet.
 *
 * Ids are those that a live chat has given: the `client_id` of one's own messages, the `run_id` of an agent's answer.
 */
export function toUIMessages(
  messages: readonly Message[],
  participantId: string | null,
  pending: readonly Pending[] = [],
): UIMessage[] {
  const ids = new Set<string>();
  const shown = messages
    .filter(({ kind }) => kind !== "redaction")
    .map((message): UIMessage => {
      const own = message.sender_id === participantId;
      const id = idOf(message, own, ids);
      ids.add(id);
      const role = own ? "user" : message.kind === "system" ? "system" : "assistant";
      return {
        id,
        role,
        parts: partsOf(message),
        metadata: { ...message.metadata, fleetlm: factsOf(message) },
      };
    });
  return [...shown, ...pending.filter(({ client_id }) => !ids.has(client_id)).map(unstored(participantId))];
}

/** The parts of an agent's answer, those that a client has given its own message, or the text. */
export function partsOf({ content, text }: Pick<Message, "content" | "text">): Part[] {
  const given = Array.isArray(content.parts) ? (content.parts as Part[]) : [];
  return given.length > 0 ? given : [{ type: "text", text }];
}

export function factsOf(message: Message): FleetLMMetadata {
  const { sender_id, seq, created_at, kind, content } = message;
  return {
    sender_id,
    seq,
    created_at,
    kind,
    ...(typeof content.status === "string" && { status: content.status }),
  };
}

/** A name that a live chat has given it already. An answer of several messages gives its run's to the first. */
function idOf(message: Message, own: boolean, taken: ReadonlySet<string>): string {
  const name = own ? message.client_id : message.content.run_id;
  return typeof name === "string" && !taken.has(name) ? name : message.id;
}

const unstored =
  (participantId: string | null) =>
  ({ client_id, text, body, created_at }: Pending): UIMessage => ({
    id: client_id,
    role: "user",
    parts: partsOf({ content: body.content ?? {}, text }),
    metadata: {
      ...body.metadata,
      fleetlm: {
        sender_id: participantId ?? "",
        seq: null,
        created_at,
        kind: body.kind ?? "text",
      } satisfies FleetLMMetadata,
    },
  });
