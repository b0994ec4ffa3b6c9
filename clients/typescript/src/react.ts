/** FleetLM in React, 18 and later. See `docs/clients/typescript-agents-and-ui.md`. */
export { useChatInStep } from "./react/chat.js";
export type { Chat, ChatOfConversation } from "./react/chat.js";
export { useConversation } from "./react/conversation.js";
export type { ConversationActions } from "./react/conversation.js";
export { useInbox } from "./react/inbox.js";
export { FleetLMProvider, useFleetLM } from "./react/provider.js";
