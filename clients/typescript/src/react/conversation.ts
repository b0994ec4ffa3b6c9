/** A conversation in a component. */
import { useMemo, useSyncExternalStore } from "react";
import type { Conversation } from "../conversation.js";
import type { ConversationSnapshot } from "../types.js";
import { useFleetLM } from "./provider.js";

/** The methods that a component calls, bound, and the same from render to render. */
export type ConversationActions = Pick<
  Conversation,
  "send" | "retry" | "discard" | "loadOlder" | "read" | "cancel"
> & {
  /** Whether one types; it ends by itself. `typing` says which others do. */
  readonly setTyping: (on?: boolean) => void;
  /** The conversation itself, for the rest. */
  readonly conversation: Conversation;
};

/** All that is known of a conversation, and what can be done in it. It is joined while a component uses it. */
export function useConversation(key: string): ConversationSnapshot & ConversationActions {
  const fleet = useFleetLM();
  const conversation = useMemo(() => fleet.conversation(key), [fleet, key]);
  const actions = useMemo(() => actionsOf(conversation), [conversation]);
  const snapshot = useSyncExternalStore(conversation.subscribe, conversation.snapshot, conversation.snapshot);
  return useMemo(() => ({ ...snapshot, ...actions }), [snapshot, actions]);
}

function actionsOf(conversation: Conversation): ConversationActions {
  return {
    conversation,
    send: conversation.send.bind(conversation),
    retry: conversation.retry.bind(conversation),
    discard: conversation.discard.bind(conversation),
    loadOlder: conversation.loadOlder.bind(conversation),
    read: conversation.read.bind(conversation),
    setTyping: conversation.typing.bind(conversation),
    cancel: conversation.cancel.bind(conversation),
  };
}
