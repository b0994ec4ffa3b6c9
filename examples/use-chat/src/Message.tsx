import { isToolUIPart, getToolName, type UIMessage } from "ai";
import type { FleetLMMetadata } from "@fleetlm/js/ai";
import { Avatar } from "./Header";

const ENDINGS: Record<string, string> = {
  cancelled: "stopped",
  interrupted: "interrupted",
  aborted: "not finished",
};

/** One message: one's own to the right, all others to the left. */
export function Message({
  message,
  agent,
  isGrowing,
}: {
  message: UIMessage;
  agent: string;
  isGrowing: boolean;
}) {
  const facts = (message.metadata as { fleetlm?: FleetLMMetadata } | undefined)?.fleetlm;
  const sender = facts?.sender_id ?? agent;
  if (message.role === "system") return <li className="aside">{message.parts.map(textOf).join("")}</li>;
  const isOwn = message.role === "user";
  return (
    <li className={isOwn ? "message own" : "message"} data-growing={isGrowing}>
      {!isOwn && <Avatar name={sender} />}
      <div className="bubble">
        <span className="visually-hidden">{isOwn ? "You" : sender}: </span>
        {message.parts.map((part, index) => (
          <Part key={index} part={part} />
        ))}
        {facts?.status && ENDINGS[facts.status] && <span className="ending">{ENDINGS[facts.status]}</span>}
      </div>
    </li>
  );
}

const textOf = (part: UIMessage["parts"][number]) => (part.type === "text" ? part.text : "");

/** What the AI SDK knows of; parts that are not for people are left out. */
function Part({ part }: { part: UIMessage["parts"][number] }) {
  if (part.type === "text") return <p className="text">{part.text}</p>;
  if (part.type === "reasoning") {
    return (
      <details className="reasoning">
        <summary>Thoughts</summary>
        <p className="text">{part.text}</p>
      </details>
    );
  }
  if (isToolUIPart(part)) {
    return (
      <details className="tool" data-state={part.state}>
        <summary>{getToolName(part)}</summary>
        <pre>{JSON.stringify(part.output ?? part.errorText ?? part.input, null, 2)}</pre>
      </details>
    );
  }
  if (part.type === "source-url") {
    return (
      <a className="source" href={part.url} target="_blank" rel="noreferrer">
        {part.title ?? part.url}
      </a>
    );
  }
  if (part.type === "file" && part.mediaType.startsWith("image/"))
    return <img src={part.url} alt={part.filename ?? ""} />;
  return null;
}
