/** The servers that the tests talk to. Their addresses come from the environment; without them those tests are left out. */
import { randomUUID } from "node:crypto";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import {
  type Conversation,
  type ConversationSnapshot,
  FleetLM,
  type FleetLMOptions,
} from "../../src/index.js";

/** In open mode. */
export const OPEN: string = process.env.FLEETLM_URL ?? "";
/** On the same data, with keys and tokens. */
export const GUARDED: string = process.env.FLEETLM_GUARDED_URL ?? "";
const API_KEY = process.env.FLEETLM_API_KEY ?? "";

export const TRANSPORTS = ["websocket", "sse"] as const;
export type Transport = (typeof TRANSPORTS)[number];

const PATIENCE_MS = 15_000;

/** Pauses as short as a test wants them. */
const QUICK = { backoffMs: 40, backoffMaxMs: 400 };

/** Something that no other test's ids hold. */
export function fresh(name: string): string {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

/** A client that is closed with its test. */
export function client({ timing, ...options }: FleetLMOptions): FleetLM {
  const fleet = new FleetLM({ url: OPEN, WebSocket, ...options, timing: { ...QUICK, ...timing } });
  onTestFinished(() => fleet.close());
  return fleet;
}

/** Two people who talk over this transport, and their dm. */
export function pair(transport: Transport): {
  alice: FleetLM;
  bob: FleetLM;
  key: string;
  names: { alice: string; bob: string };
} {
  const names = { alice: fresh("alice"), bob: fresh("bob") };
  return {
    alice: client({ participantId: names.alice, transport }),
    bob: client({ participantId: names.bob, transport }),
    key: `${names.alice}:${names.bob}`,
    names,
  };
}

/** The open server, asked as a server. */
export const server: FleetLM = new FleetLM({ url: OPEN || "http://unused.invalid", transport: "sse" });
/** The guarded one, with the API key. */
export const office: FleetLM = new FleetLM({
  url: GUARDED || "http://unused.invalid",
  token: API_KEY,
  transport: "sse",
});

/** A participant token of the guarded server, for so many seconds. */
export async function mint(participant_id: string, ttl: number): Promise<string> {
  const { token } = await office.request<{ token: string }>("POST", "tokens", {
    body: { participant_id, ttl },
  });
  return token;
}

/** Join a conversation, and stay. */
export function joined(conversation: Conversation): Promise<ConversationSnapshot> {
  conversation.open();
  return until(conversation, (now) => now.status === "online");
}

/** Wait until a conversation looks so; rejects with what it looked like in the end. */
export function until(
  conversation: Conversation,
  looks: (snapshot: ConversationSnapshot) => boolean,
): Promise<ConversationSnapshot> {
  return awaited(conversation, looks, () =>
    JSON.stringify({ ...conversation.snapshot(), messages: conversation.snapshot().messages.length }),
  );
}

/** Wait until anything with `subscribe` and `snapshot` looks so. */
export function awaited<S>(
  source: { subscribe(listener: () => void): () => void; snapshot(): S },
  looks: (snapshot: S) => boolean,
  describe: () => string = () => JSON.stringify(source.snapshot()),
): Promise<S> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      off();
      reject(new Error(`It never looked so: ${describe()}`));
    }, PATIENCE_MS);
    const look = (): void => {
      const snapshot = source.snapshot();
      if (!looks(snapshot)) return;
      clearTimeout(timer);
      off();
      resolve(snapshot);
    };
    const off = source.subscribe(look);
    look();
  });
}

/** The texts of the log, by REST. */
export async function stored(key: string): Promise<string[]> {
  const query = { after: 0, limit: 200 };
  const { messages } = await server.request<{ messages: { text: string }[] }>(
    "GET",
    `conversations/${key}/messages`,
    { query },
  );
  return messages.map((message) => message.text);
}
