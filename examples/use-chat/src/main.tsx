import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { FleetLM } from "@fleetlm/js";
import { FleetLMChatTransport } from "@fleetlm/js/ai";
import { Chat } from "./Chat";
import "./style.css";

const settings = new URLSearchParams(location.search);
const me = settings.get("as") ?? "alice";
const agent = settings.get("with") ?? "echo-bot";

// In production give it a `token` that your server has minted instead of a `participantId`.
const fleet = new FleetLM({
  url: settings.get("server") ?? "http://127.0.0.1:4000",
  participantId: me,
});
const transport = new FleetLMChatTransport({ fleet, key: `${me}:${agent}` });

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Chat transport={transport} agent={agent} />
  </StrictMode>,
);
