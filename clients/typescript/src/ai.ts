/** FleetLM under the Vercel AI SDK's `useChat` and `Chat`, versions 5 and 6. See `docs/clients/typescript-agents-and-ui.md`. */
export { toUIMessages } from "./ai/messages.js";
export type { FleetLMMetadata } from "./ai/messages.js";
export { FleetLMChatTransport } from "./ai/transport.js";
export type { FleetLMChatTransportOptions } from "./ai/transport.js";
