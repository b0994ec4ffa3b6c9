/** The shipping bot: a FleetLM agent that streams. Who thinks for it, a script or a model, is all that can be chosen. */
import { createAgent } from "@fleetlm/js/agent";
import { settings } from "../server/settings.mjs";
import { byModel } from "./model.mjs";
import { byScript } from "./script.mjs";

const think = settings.model ? byModel(settings.model) : byScript;

/** A request handler for Node, for calls that are signed with this secret. */
export function shippingBot(secret) {
  return createAgent((call, { signal }) => think(call, signal), { secret }).node;
}
