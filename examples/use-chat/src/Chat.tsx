import { useChat } from "@ai-sdk/react";
import type { FleetLMChatTransport } from "@fleetlm/js/ai";
import { useChatInStep } from "@fleetlm/js/react";
import { Composer } from "./Composer";
import { Header } from "./Header";
import { Messages } from "./Messages";

/** One conversation with one agent. */
export function Chat({ transport, agent }: { transport: FleetLMChatTransport; agent: string }) {
  const chat = useChat({ id: transport.conversation.key, transport, resume: true });
  const conversation = useChatInStep(chat, transport); // the history, other tabs, and what comes unasked

  const isBusy = chat.status === "submitted" || chat.status === "streaming";
  return (
    <main className="chat">
      <Header agent={agent} status={conversation.status} />
      <Messages
        agent={agent}
        messages={chat.messages}
        status={chat.status}
        isLoaded={conversation.epoch !== null}
        loadOlder={conversation.has_more ? () => void transport.conversation.loadOlder() : undefined}
        say={(text) => void chat.sendMessage({ text })}
      />
      {chat.status === "error" && (
        <div className="notice" role="alert">
          <span>{chat.error?.message ?? "Something went wrong."}</span>
          <button type="button" onClick={() => void chat.regenerate()}>
            Try again
          </button>
        </div>
      )}
      <Composer
        agent={agent}
        isBusy={isBusy}
        send={(text) => void chat.sendMessage({ text })}
        stop={() => void chat.stop()}
        typed={(typing) => transport.conversation.typing(typing)}
      />
    </main>
  );
}
