/** The shipping bot: a FleetLM agent that streams. Who thinks for it, a script or a model, is all that can be chosen. */
import { createAgent } from "@fleetlm/js/agent";
import { settings } from "../server/settings.mjs";
import { byModel } from "./model.mjs";
import { byScript } from "./script.mjs";

const think = settings.model ? byModel(settings.model) : byScript;

/** A request handler for Node. FleetLM's secret is known only once the agent is registered. */
export function shippingBot(secret) {
  let agent;
  return (request, response) => {
    if (!secret()) return void response.writeHead(503).end();
    agent ??= createAgent((call, { signal }) => think(call, signal), { secret: secret() });
    agent.node(request, response);
  };
}
