/** Who works here: the people of the desk, the queue in which customers wait for one of them, and the bot. */
import { FleetLMError } from "@fleetlm/js";
import { ensure, fleet, fleetIsUp } from "./fleet.mjs";
import { settings } from "./settings.mjs";

export const BOT = "shipping-bot";
/** Whoever has the conversation while nobody has it yet: a participant, since only a participant can take over from the bot. */
export const QUEUE = "waiting";
export const PEOPLE = { ada: "Ada", grace: "Grace" };

/** Register everybody; the secret with which FleetLM signs its calls of the bot. */
export async function setUpDesk() {
  await fleetIsUp();
  for (const [id, display_name] of Object.entries({ ...PEOPLE, [QUEUE]: "The queue" })) {
    await ensure("participants", { id, display_name });
  }
  const agent = { url: `${settings.ownUrl}/agent`, display_name: "Shipping bot", trigger: "all", debounce_ms: 0 };
  try {
    await fleet.request("PATCH", `agents/${BOT}`, { body: agent });
  } catch (error) {
    if (!(error instanceof FleetLMError && error.status === 404)) throw error;
    return (await fleet.request("POST", "agents", { body: { id: BOT, ...agent } })).secret;
  }
  // Nobody has kept the old one: this server starts without a memory.
  return (await fleet.request("POST", `agents/${BOT}/rotate-secret`, { body: { overlap_seconds: 0 } })).secret;
}

/** A customer's conversation: made with everyone who may have to answer in it. */
export async function openCase(key, customer, title) {
  await ensure("participants", { id: customer, display_name: title });
  const desk = [...Object.keys(PEOPLE), QUEUE].map((id) => ({ id, role: "admin" }));
  await ensure("conversations", { key, title, participants: [customer, BOT, ...desk] });
}
