/** What `make demo` runs: FleetLM, unless it answers already, and the support desk beside it. Ctrl-C ends both. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FLEETLM = process.env.FLEETLM_URL ?? "http://127.0.0.1:4000";

const runs = await fetch(`${FLEETLM}/health/live`).then(({ ok }) => ok, () => false);
const fleetlm = { FLEETLM_ENV: "development", PORT: new URL(FLEETLM).port || "80" };
const children = [
  !runs && start(".venv/bin/python", ["manage.py", "up"], { ...process.env, ...fleetlm }),
  start(process.execPath, ["examples/support-desk/server.mjs"], process.env),
].filter(Boolean);

// At Ctrl-C the terminal tells the children as well; whoever asks by SIGTERM asks only this one.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => children.forEach((child) => child.kill("SIGTERM")));
await Promise.race(children.map((child) => once(child, "exit")));
for (const child of children) child.kill("SIGTERM");
await Promise.all(children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null).map((child) => once(child, "exit")));

function start(program, args, env) {
  return spawn(program, args, { cwd: ROOT, env, stdio: "inherit" });
}
