import { useEffect, useRef } from "react";
import type { ChatStatus, UIMessage } from "ai";
import { Avatar } from "./Header";
import { Message } from "./Message";

const IDEAS = ["Hello!", "What can you do?", "Tell me something long."];

interface Props {
  agent: string;
  messages: UIMessage[];
  status: ChatStatus;
  isLoaded: boolean;
  loadOlder: (() => void) | undefined;
  say: (text: string) => void;
}

/** The conversation so far. It stays at its end, unless one has scrolled up. */
export function Messages({ agent, messages, status, isLoaded, loadOlder, say }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (isAtEnd.current) box.current?.scrollTo({ top: box.current.scrollHeight });
  }, [messages, status]);
  const look = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 60;
  };

  const isWaiting = status === "submitted";
  const isEmpty = isLoaded && messages.length === 0;
  return (
    <div className="scroller" ref={box} onScroll={look} tabIndex={0} role="region" aria-label="Conversation">
      {loadOlder && (
        <button type="button" className="older" onClick={loadOlder}>
          Earlier messages
        </button>
      )}
      {isEmpty && <Beginning agent={agent} say={say} />}
      {/* Read out once an answer is whole, not word by word. */}
      <ol className="log" aria-live="polite" aria-busy={status === "streaming"}>
        {messages.map((message, index) => (
          <Message
            key={message.id}
            message={message}
            agent={agent}
            isGrowing={status === "streaming" && index === messages.length - 1}
          />
        ))}
      </ol>
      {isWaiting && (
        <div className="waiting" role="status" aria-label={`${agent} is thinking`}>
          <Avatar name={agent} />
          <span className="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        </div>
      )}
    </div>
  );
}

function Beginning({ agent, say }: { agent: string; say: (text: string) => void }) {
  return (
    <div className="beginning">
      <Avatar name={agent} />
      <h2>Talk to {agent}</h2>
      <p>The conversation is kept: close this page and come back whenever you like.</p>
      <ul>
        {IDEAS.map((idea) => (
          <li key={idea}>
            <button type="button" onClick={() => say(idea)}>
              {idea}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
