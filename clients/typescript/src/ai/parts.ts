/** A stored message as the chunks that make a `UIMessage` of it. Pure. */
import type { Chunk, Message } from "../types.js";
import { partsOf } from "./messages.js";

type Fields = Readonly<Record<string, unknown>>;

/** The chunks of the parts of these messages, without `start` and `finish`. */
export function chunksOfMessages(messages: readonly Pick<Message, "content" | "text" | "seq">[]): Chunk[] {
  return messages.flatMap((message) =>
    partsOf(message).flatMap((part, index) =>
      chunksOfPart(part as Fields & { type: string }, `${message.seq}-${index}`),
    ),
  );
}

function chunksOfPart(part: Fields & { type: string }, id: string): Chunk[] {
  const { type } = part;
  if (type === "text" || type === "reasoning") return chunksOfProse(part, id);
  if (type === "step-start") return [{ type: "start-step" }];
  if (type.startsWith("tool-") || type === "dynamic-tool") return chunksOfTool(part);
  return [part]; // sources, files and data are chunks as they are
}

function chunksOfProse({ type, text, providerMetadata }: Fields & { type: string }, id: string): Chunk[] {
  const more = providerMetadata === undefined ? {} : { providerMetadata };
  return [
    { type: `${type}-start`, id, ...more },
    { type: `${type}-delta`, id, delta: text },
    { type: `${type}-end`, id },
  ];
}

function chunksOfTool(part: Fields & { type: string }): Chunk[] {
  const { toolCallId, state, input, rawInput, output, errorText, approval } = part;
  const dynamic = part.type === "dynamic-tool";
  const toolName = dynamic ? part.toolName : part.type.slice("tool-".length);
  const facts = pick(part, ["providerExecuted", "title", "toolMetadata"]);
  const call = { toolCallId, toolName, ...(dynamic && { dynamic }), ...facts };
  if (state === "input-streaming") {
    const delta = { type: "tool-input-delta", toolCallId, inputTextDelta: rawInput ?? "" };
    return [{ type: "tool-input-start", ...call }, delta];
  }
  if (state === "output-error" && input === undefined) {
    return [{ type: "tool-input-error", ...call, input: rawInput, errorText }];
  }
  const chunks: Chunk[] = [{ type: "tool-input-available", ...call, input }];
  if (approval)
    chunks.push({ type: "tool-approval-request", toolCallId, approvalId: (approval as Fields).id });
  if (state === "output-available")
    chunks.push({ type: "tool-output-available", toolCallId, output, ...facts });
  if (state === "output-error") chunks.push({ type: "tool-output-error", toolCallId, errorText });
  if (state === "output-denied") chunks.push({ type: "tool-output-denied", toolCallId });
  return chunks;
}

function pick(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(names.filter((name) => name in fields).map((name) => [name, fields[name]]));
}
