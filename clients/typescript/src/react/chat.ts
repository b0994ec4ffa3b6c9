/** The AI SDK's `useChat` in step with a conversation. It is named by what is used of it, so that nobody needs the AI SDK. */
import { useEffect, useSyncExternalStore } from "react";
import type { Conversation } from "../conversation.js";
import type { ConversationSnapshot } from "../types.js";

/** What is used of `useChat`. */
export interface Chat<M> {
  readonly status: "submitted" | "streaming" | "ready" | "error";
  readonly setMessages: (messages: M[]) => void;
  readonly resumeStream: () => Promise<void>;
}

/** What is used of `FleetLMChatTransport`. */
export interface ChatOfConversation<M> {
  readonly conversation: Conversation;
  readonly hasLiveAnswer: boolean;
  uiMessages(): M[];
}

/**
 * Keep a chat in step with its conversation: the history, what others and other tabs say, and answers that nobody here has
 * asked for are shown as they come. Returns the conversation's snapshot.
 *
 * While an answer is streamed the messages are the chat's own; when it has ended, they are those of the log.
 */
export function useChatInStep<M>(chat: Chat<M>, transport: ChatOfConversation<M>): ConversationSnapshot {
  const { conversation } = transport;
  const snapshot = useSyncExternalStore(conversation.subscribe, conversation.snapshot, conversation.snapshot);
  const { status, setMessages, resumeStream } = chat;
  const isIdle = status === "ready" || status === "error";
  const { epoch, messages, pending, runs } = snapshot;
  useEffect(() => {
    if (!isIdle || epoch === null) return;
    setMessages(transport.uiMessages());
    if (transport.hasLiveAnswer) void resumeStream();
  }, [isIdle, transport, setMessages, resumeStream, epoch, messages, pending, runs]);
  return snapshot;
}
