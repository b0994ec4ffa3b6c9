// An agent in plain Node, no packages. Run it with `node agent.mjs --port 5000`.
// With FLEETLM_WEBHOOK_SECRET set (`whsec_…`, shown when the agent is registered) it refuses unsigned calls.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const SECRET = process.env.FLEETLM_WEBHOOK_SECRET;
const TOLERANCE_SECONDS = 300; // an older call may be one that somebody recorded and sends again
const NOT_SAID = ["system", "redaction"]; // kinds of messages that nobody has said: not to be answered

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks); // the bytes as they came: parsed and written again they no longer fit the signature
  if (SECRET && !isGenuine(request.headers, body)) return reply(response, 401, { error: "bad signature" });

  const call = JSON.parse(body);
  // Several messages may have come since the last call. Older ones, and our own, are there as context.
  const news = call.conversation.filter((message) => message.seq >= call.new_from_seq && message.sender_id !== call.agent_id);
  const heard = news.filter((message) => !NOT_SAID.includes(message.kind)).map((message) => message.text);
  // An empty text is a good answer too: there is nothing to say.
  reply(response, 200, { text: heard.length ? `You said: ${heard.join(" ")}` : "" });
});

/** Whether FleetLM signed this call with our secret, lately: https://www.standardwebhooks.com */
function isGenuine(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": sentAt, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(sentAt)) <= TOLERANCE_SECONDS)) return false; // false for NaN too
  const key = Buffer.from(SECRET.replace(/^whsec_/, ""), "base64");
  const expected = Buffer.from(`v1,${createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body).digest("base64")}`);
  // Two signatures, separated by a space, while the secret is being rotated.
  return signatures.split(" ").some((given) => {
    const one = Buffer.from(given);
    return one.length === expected.length && timingSafeEqual(one, expected); // it throws for unequal lengths
  });
}

function reply(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

const { port } = parseArgs({ options: { port: { type: "string", default: "5000" } } }).values;
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => server.close()); // finishes the calls under way; with nothing left to do, Node ends
