/** Agents for FleetLM, in Node and in every runtime that answers a `Request` with a `Response`. See `docs/agents.md`. */
export { createAgent } from "./agent/agent.js";
export type { Agent, AgentOptions, Handler } from "./agent/agent.js";
export { Later } from "./agent/answers.js";
export type { Answer, AnswerMessage, StreamItem } from "./agent/answers.js";
export type { Call, CallMessage, CallParticipant } from "./agent/call.js";
export { AnswersInMemory } from "./agent/memory.js";
export type { Remember, StoredAnswer } from "./agent/memory.js";
export type { Listening, NodeRequest, NodeResponse } from "./agent/node.js";
export { verifyWebhook, WebhookError } from "./agent/webhook.js";
export type { VerifyOptions, WebhookHeaders } from "./agent/webhook.js";
