/**
 * Tokens for the pages. A page never sees the API key: this server decides who somebody is, and FleetLM's token says so.
 * Put your own login here. In this demo a cookie is a customer, and whoever says "ada" is Ada.
 */
import { createHash, randomBytes } from "node:crypto";
import { openCase, PEOPLE } from "./desk.mjs";
import { fleet } from "./fleet.mjs";
import { settings } from "./settings.mjs";

const COOKIE = "visitor";
const A_YEAR = 31_536_000;

/** A customer's session: who they are, their conversation, and a token for it alone. */
export async function customerSession(request) {
  const visitor = cookie(request) ?? randomBytes(18).toString("base64url");
  // The id is shown to others, the cookie is not: it cannot be told from the id.
  const id = createHash("sha256").update(visitor).digest("hex").slice(0, 10);
  const [participant, key] = [`customer-${id}`, `case-${id}`];
  await openCase(key, participant, `Guest ${id.slice(0, 4)}`);
  const headers = { "set-cookie": `${COOKIE}=${visitor}; Path=/; Max-Age=${A_YEAR}; HttpOnly; SameSite=Strict` };
  return { headers, body: { ...(await token(participant, [key])), key } };
}

/** A session at the desk. */
export async function deskSession(request) {
  const person = new URL(request.url, "http://here").searchParams.get("as");
  if (!Object.hasOwn(PEOPLE, person)) {
    const message = `Nobody of that name works here; there are ${Object.keys(PEOPLE).join(" and ")}.`;
    return { status: 404, body: { error: { code: "participant_not_found", message } } };
  }
  return { body: { ...(await token(person)), people: PEOPLE } };
}

async function token(participant_id, conversations) {
  const body = { participant_id, conversations, ttl: settings.tokenSeconds };
  const { token } = await fleet.request("POST", "tokens", { body });
  return { url: settings.fleetUrl, participant_id, token };
}

function cookie(request) {
  const found = new RegExp(`(?:^|; )${COOKIE}=([\\w-]{24})(?:;|$)`).exec(request.headers.cookie ?? "");
  return found?.[1];
}
