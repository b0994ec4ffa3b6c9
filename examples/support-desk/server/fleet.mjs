/** FleetLM, as this server speaks to it: with an API key it may do everything for everyone. */
import { setTimeout as pause } from "node:timers/promises";
import { FleetLM, FleetLMError } from "@fleetlm/js";
import { settings } from "./settings.mjs";

export const fleet = new FleetLM({ url: settings.fleetUrl, token: settings.apiKey });

/** Make what may be there already. */
export async function ensure(path, body) {
  try {
    await fleet.request("POST", path, { body });
  } catch (error) {
    if (!(error instanceof FleetLMError && error.status === 409)) throw error;
  }
}

/** Wait until FleetLM is there: `make demo` starts both at once. */
export async function fleetIsUp() {
  for (let told = false; ; told = true) {
    const up = await fetch(`${settings.fleetUrl}/health/ready`).then(({ ok }) => ok, () => false);
    if (up) return;
    if (!told) console.log(`Waiting for FleetLM at ${settings.fleetUrl} …`);
    await pause(500);
  }
}
