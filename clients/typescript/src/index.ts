/** FleetLM in browsers and Node: conversations, inboxes, REST. */
export { Conversation } from "./conversation.js";
export { FleetLMError } from "./errors.js";
export { FleetLM } from "./fleet.js";
export { Inbox } from "./inbox.js";
export type * from "./types.js";
