/** The bot with a model: any server that speaks OpenAI's chat completions with tools, streamed. */
import { BOT } from "../server/desk.mjs";
import { tools, use } from "./tools.mjs";

const INSTRUCTIONS = `You are the shipping bot of a shop's support chat. Be short and friendly. Look parcels up with track_parcel; \
never guess where one is. Get a person for refunds, damage, anger, or whenever somebody asks for one.`;
const ROUNDS = 5; // of tools, until it has to have answered
const DECLARED = Object.entries(tools).map(([name, { description, parameters }]) => ({
  type: "function",
  function: { name, description, parameters },
}));

/** What answers a call by asking the model at `url` (such as http://127.0.0.1:11434/v1). */
export function byModel(model) {
  return async function* (call, signal) {
    if (call.new_messages.length === 0) return;
    const messages = [{ role: "system", content: INSTRUCTIONS }, ...call.conversation.filter(isSaid).map(asPrompt)];
    for (let round = 0; round < ROUNDS; round += 1) {
      const answer = yield* ask(model, messages, signal);
      if (answer.tool_calls.length === 0) return;
      messages.push({ role: "assistant", ...answer });
      for (const { id, function: wanted } of answer.tool_calls) {
        const output = yield* use(wanted.name, JSON.parse(wanted.arguments || "{}"), call, signal, id);
        if (wanted.name === "get_a_person" && !output.error) return;
        messages.push({ role: "tool", tool_call_id: id, content: JSON.stringify(output) });
      }
    }
  };
}

const isSaid = ({ kind, text }) => kind === "text" && text !== "";
const asPrompt = ({ sender_id, text }) => ({ role: sender_id === BOT ? "assistant" : "user", content: text });

/** One question to the model: yields its words, returns its whole message. */
async function* ask({ url, name, key }, messages, signal) {
  const response = await fetch(`${url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ model: name, messages, tools: DECLARED, stream: true }),
    signal,
  });
  if (!response.ok) throw new Error(`The model answers ${response.status}.`);
  const answer = { content: "", tool_calls: [] };
  for await (const { delta } of choices(response.body)) {
    if (delta.content) {
      answer.content += delta.content;
      yield delta.content;
    }
    for (const piece of delta.tool_calls ?? []) collect(answer.tool_calls, piece);
  }
  return answer;
}

/** Calls of tools come in pieces, told apart by their index. */
function collect(calls, { index, id, function: piece }) {
  calls[index] ??= { id, type: "function", function: { name: "", arguments: "" } };
  calls[index].function.name += piece.name ?? "";
  calls[index].function.arguments += piece.arguments ?? "";
}

async function* choices(body) {
  let rest = "";
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: {")) continue;
      const [choice] = JSON.parse(line.slice("data: ".length)).choices;
      if (choice?.delta) yield choice;
    }
  }
}
