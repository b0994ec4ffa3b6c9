// The TypeScript SDK, driven over pipes: one JSON object a line in, one a line out. The SDK's build is the first argument.
//
// In:  {"do": "open" | "send" | "follow_again" | "snapshot" | "close", "client": "a", ...}
// Out: {"client": "a", "event": "message" | "again" | "told" | "sent" | "failed" | "reset" | "snapshot" | "closed" | "ended", ...}

import { createInterface } from "node:readline";
import WebSocket from "ws";

const { FleetLM } = await import(process.argv[2]);
const clients = new Map();

function tell(client, event, what = {}) {
  process.stdout.write(`${JSON.stringify({ client, event, ...what })}\n`);
}

const plain = ({ seq, id, sender_id, text, client_id }) => ({ seq, id, sender_id, text, client_id });

const commands = {
  open({ client, url, participant, key, transport, timing }) {
    const fleet = new FleetLM({
      url,
      participantId: participant,
      transport,
      timing,
      ...(transport !== "sse" && { WebSocket }),
    });
    const conversation = fleet.conversation(key);
    clients.set(client, { fleet, conversation });
    conversation.on("message", (message) => tell(client, "told", plain(message)));
    conversation.on("reset", ({ epoch }) => tell(client, "reset", { epoch }));
    void follow(client, conversation, "message");
  },

  follow_again({ client }) {
    void follow(client, clients.get(client).conversation, "again");
  },

  // Not awaited: sends are to overtake faults, and each other if the SDK lets them.
  send({ client, text }) {
    clients
      .get(client)
      .conversation.send(text)
      .then(
        ({ id, seq, deduplicated }) => tell(client, "sent", { text, id, seq, deduplicated }),
        ({ code, message }) => tell(client, "failed", { text, code, message }),
      );
  },

  snapshot({ client }) {
    const { epoch, last_seq, messages, pending, status } = clients.get(client).conversation.snapshot();
    tell(client, "snapshot", {
      epoch,
      last_seq,
      status,
      seqs: messages.map(({ seq }) => seq),
      pending: pending.length,
    });
  },

  close({ client }) {
    clients.get(client).fleet.close();
    clients.delete(client);
    tell(client, "closed");
  },
};

async function follow(client, conversation, as) {
  try {
    for await (const message of conversation.messages({ after: 0 })) tell(client, as, plain(message));
    tell(client, "ended", { why: null });
  } catch (error) {
    tell(client, "ended", { why: `${error.code}: ${error.message}` });
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on("close", () => process.exit(0));
