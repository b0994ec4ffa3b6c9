/** What the bot can do besides talking. Each tool takes its input and the call it is used in. */
import { QUEUE } from "../server/desk.mjs";
import { fleet } from "../server/fleet.mjs";
import { findParcel } from "./parcels.mjs";

export const tools = {
  track_parcel: {
    description: "Where a parcel is. Numbers have four to twelve digits.",
    parameters: { type: "object", properties: { number: { type: "string" } }, required: ["number"] },
    run: ({ number }, call, signal) => findParcel(String(number), signal),
  },
  get_a_person: {
    description: "Hand the conversation to the people of the desk. You say no more after it until they give it back.",
    parameters: { type: "object", properties: { reason: { type: "string" } }, required: ["reason"] },
    run: async ({ reason }, { key }) => {
      await fleet.conversation(key).handoff({ to: QUEUE });
      return { waiting: true, reason };
    },
  },
};

/** Use a tool, as chunks of the stream: people see that it is used, and what came of it. Gives its output. */
export async function* use(name, input, call, signal, toolCallId = crypto.randomUUID()) {
  yield { type: "tool-input-available", toolCallId, toolName: name, input };
  try {
    const output = await tools[name].run(input, call, signal);
    yield { type: "tool-output-available", toolCallId, output };
    return output;
  } catch (error) {
    yield { type: "tool-output-error", toolCallId, errorText: error.message };
    return { error: error.message };
  }
}
