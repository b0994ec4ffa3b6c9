/** What an agent said: text, and the tools it has used. Parts are those of the AI SDK's `UIMessage`. */
import { element } from "./dom.js";

const TOOLS = {
  track_parcel: { asks: ({ number }) => `Looking up parcel ${number}…`, draw: parcelCard },
  get_a_person: { asks: () => "Getting a person…", draw: () => element("p", { class: "tool done" }, "Asked a person to join") },
};

/** Elements for a message's `parts`, or for the `chunks` of one that is still being said; `text` where there are neither. */
export function drawParts(parts, text, chunks) {
  const given = parts ?? (chunks && partsOf(chunks));
  const drawn = (given ?? []).map(drawPart).filter((part) => part !== null);
  return drawn.length > 0 ? drawn : [element("p", {}, text)];
}

function drawPart(part) {
  if (part.type === "text") return part.text.trim() ? element("p", {}, part.text.trim()) : null;
  if (!part.type.startsWith("tool-")) return null;
  const tool = TOOLS[part.type.slice("tool-".length)];
  if (!tool) return null;
  if (part.state === "output-available") return tool.draw(part.output);
  if (part.state === "output-error") return null; // the bot says it in its own words
  return element("p", { class: "tool" }, tool.asks(part.input ?? {}));
}

function parcelCard({ number, steps, done, status, arrives }) {
  const step = (name, index) =>
    element("li", { class: index < done ? "done" : "", "aria-current": index === done - 1 ? "step" : null }, name);
  return element("section", { class: "parcel", "aria-label": `Parcel ${number}` },
    element("p", { class: "parcel-head" }, element("strong", {}, `Parcel ${number}`), element("span", {}, arrives ? `Arrives ${arrives}` : status)),
    element("ol", {}, ...steps.map(step)));
}

/** The chunks of a stream as the parts of the message that it becomes. */
function partsOf(chunks) {
  const parts = new Map();
  for (const chunk of chunks) {
    if (chunk.type === "text-delta") {
      const part = parts.get(`text ${chunk.id}`) ?? { type: "text", text: "" };
      parts.set(`text ${chunk.id}`, { ...part, text: part.text + chunk.delta });
    } else if (chunk.type === "tool-input-available") {
      const { toolCallId, toolName, input } = chunk;
      parts.set(toolCallId, { type: `tool-${toolName}`, state: "input-available", input });
    } else if (chunk.type === "tool-output-available") {
      parts.set(chunk.toolCallId, { ...parts.get(chunk.toolCallId), state: "output-available", output: chunk.output });
    }
  }
  return [...parts.values()];
}
