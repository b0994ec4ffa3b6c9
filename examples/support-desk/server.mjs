/**
 * The support desk's own server: it serves the pages, gives visitors their tokens, and hosts the shipping bot.
 * FleetLM does the rest. Run it with `make demo`, or with `node server.mjs` beside a running FleetLM.
 */
import { createServer } from "node:http";
import { shippingBot } from "./bot/agent.mjs";
import { settings } from "./server/settings.mjs";
import { setUpDesk } from "./server/desk.mjs";
import { customerSession, deskSession } from "./server/sessions.mjs";
import { servePage } from "./server/pages.mjs";

// First of all: a session opened before it would make participants without their names.
const bot = shippingBot(await setUpDesk());

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://here");
  if (pathname === "/agent") return bot(request, response);
  const session = request.method === "POST" && { "/session": customerSession, "/desk-session": deskSession }[pathname];
  if (session) return void answer(session, request, response);
  servePage(pathname, request, response);
});

server.listen(settings.port, settings.host, () => {
  console.log(`Customers: ${settings.ownUrl}/\nThe desk:  ${settings.ownUrl}/desk.html?as=ada   (in another browser, or a private window)`);
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(0));

async function answer(session, request, response) {
  try {
    const { status = 200, headers = {}, body } = await session(request);
    response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store", ...headers });
    response.end(JSON.stringify(body));
  } catch (error) {
    console.error(error);
    response.writeHead(502, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { code: error.code ?? "internal_error", message: "The desk cannot reach FleetLM." } }));
  }
}
