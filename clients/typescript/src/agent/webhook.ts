/** Signatures, as Standard Webhooks 1.0 describes them: https://www.standardwebhooks.com. Web Crypto only. */
import { isCall, withNewMessages, type Call } from "./call.js";

/** The headers of a request: those of `fetch`, of Node, or any object with names in lower case. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

export interface VerifyOptions {
  /** How old a call may be, or how far ahead its clock: an older one may have been recorded and sent again. 300. */
  toleranceSeconds?: number;
  /** The time, in milliseconds since 1970. */
  now?: number;
}

/** The request is not one that FleetLM has signed lately with our secret: answer 401. */
export class WebhookError extends Error {
  override readonly name: string = "WebhookError";
}

/**
 * The JSON of a signed request: a call of an agent, or what a subscription is sent.
 *
 * `body` has to be what came, byte by byte. Of several secrets one has to fit. Throws `WebhookError` if the signature is
 * missing, wrong or too old, and for a body that is not a JSON object; and `TypeError` for a secret that is none.
 */
export async function verifyWebhook<T extends object = Call>(
  body: string | Uint8Array,
  headers: WebhookHeaders,
  secret: string | readonly string[],
  { toleranceSeconds = 300, now = Date.now() }: VerifyOptions = {},
): Promise<T> {
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) =>
    header(headers, `webhook-${name}`),
  );
  if (!id || !timestamp || !signatures) throw new WebhookError("The headers of a signature are missing.");
  checkTime(timestamp, toleranceSeconds, now / 1000);

  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), bytes);
  const keys = await Promise.all((typeof secret === "string" ? [secret] : secret).map(importSecret));
  for (const signature of given(signatures)) {
    for (const key of keys) {
      // It compares in constant time.
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) return parse(bytes) as T;
    }
  }
  throw new WebhookError("No signature fits.");
}

/** One header's value; of several, none, so that nobody can say two things at once. */
export function header(headers: WebhookHeaders, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined;
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}

function checkTime(timestamp: string, tolerance: number, now: number): void {
  if (!/^\d{1,12}$/.test(timestamp)) throw new WebhookError("The timestamp is no number of seconds.");
  const age = now - Number(timestamp);
  if (age > tolerance) throw new WebhookError("The call is too old.");
  if (age < -tolerance) throw new WebhookError("The call comes from the future: compare the clocks.");
}

/** The signatures of the only version that there is; while a secret is being rotated there are two. */
function given(signatures: string): Uint8Array<ArrayBuffer>[] {
  return signatures
    .split(" ")
    .flatMap((one) => (one.startsWith("v1,") ? (fromBase64(one.slice(3)) ?? []) : []));
}

async function importSecret(secret: string): Promise<CryptoKey> {
  const key = fromBase64(secret.replace(/^whsec_/, ""));
  if (!key?.length) throw new TypeError("A webhook secret is `whsec_` and base64.");
  return crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** The object that this JSON is; a call with its `new_messages`. Throws `WebhookError`. */
export function parse(body: Uint8Array): object {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new WebhookError("The body is not JSON.");
  }
  if (typeof value !== "object" || value === null) throw new WebhookError("The body is not a JSON object.");
  return isCall(value) ? withNewMessages(value) : value;
}
