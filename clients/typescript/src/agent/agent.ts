/** An agent: an HTTP endpoint around a handler. */
import { answerBody, isStream, Later, type Answer } from "./answers.js";
import { readBody, BodyTooLarge } from "./body.js";
import { isCall, type Call } from "./call.js";
import { AnswersInMemory, type Remember, type StoredAnswer } from "./memory.js";
import { listen, serveNode, type Listening, type NodeRequest, type NodeResponse } from "./node.js";
import { streamed } from "./stream.js";
import { header, parse, verifyWebhook, WebhookError, type WebhookHeaders } from "./webhook.js";

/**
 * Answers a call. `signal` fires when FleetLM hangs up: nobody reads the answer any more.
 * What it throws makes the call fail; FleetLM makes it again.
 */
export type Handler = (call: Call, context: { signal: AbortSignal }) => Answer | Promise<Answer>;

export interface AgentOptions {
  /** The secret that registering the agent has shown, or several of which one has to fit. Without it anyone may call. */
  secret?: string | readonly string[] | undefined;
  /** Where answers are remembered by `webhook-id`; false: nowhere. In memory if it is not given. */
  remember?: Remember | false;
  /** The largest body of a call that is read, in bytes; 16 MiB. */
  maxBodyBytes?: number;
  /** Told of what the handler throws; by default it is printed. */
  onError?: (error: unknown, call: Call) => void;
}

/** The endpoint, for whatever serves it. All three share what they remember. */
export interface Agent {
  /** For runtimes that answer a `Request` with a `Response`: Next.js, Hono, Deno, Bun, Workers. Bound. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** For Node's `http.createServer` and for Express, before any parser of bodies. Bound. */
  readonly node: (request: NodeRequest, response: NodeResponse) => void;
  /** Serve it with Node. */
  listen(port?: number, host?: string): Promise<Listening>;
}

/** What came in, from whichever runtime. */
export interface Incoming {
  readonly method: string;
  readonly headers: WebhookHeaders;
  readonly body: AsyncIterable<Uint8Array> | Uint8Array;
  readonly signal: AbortSignal;
}

/** How long a call that comes again waits for its first attempt, which may still be at work. No stream lasts longer. */
const JOIN_MS = 600_000;

/** Make an agent of a handler. */
export function createAgent(handler: Handler, options: AgentOptions = {}): Agent {
  const {
    secret,
    remember = new AnswersInMemory(),
    maxBodyBytes = 16 * 1024 * 1024,
    onError = print,
  } = options;
  const underWay = new Map<string, { since: number; settled: Promise<void> }>();

  async function respond(incoming: Incoming): Promise<Response> {
    if (incoming.method !== "POST") return failure(405, "method_not_allowed", "Agents are called by POST.");
    let call: object;
    try {
      const body = await readBody(incoming.body, maxBodyBytes);
      call = secret === undefined ? parse(body) : await verifyWebhook(body, incoming.headers, secret);
    } catch (error) {
      if (error instanceof BodyTooLarge) return failure(413, "too_large", error.message);
      if (!(error instanceof WebhookError)) throw error;
      return failure(secret === undefined ? 400 : 401, "invalid_call", error.message);
    }
    if (!isCall(call)) return failure(400, "invalid_call", "The body is not a call of an agent.");
    if (call.type === "ping") return json({ text: "" });
    return once(call as Call, header(incoming.headers, "webhook-id"), incoming.signal);
  }

  /** The answer of this call: the one that was given before, if there is one. */
  async function once(call: Call, id: string | undefined, signal: AbortSignal): Promise<Response> {
    if (id === undefined || remember === false) return answer(call, signal, () => undefined);
    const known = (await remember.get(id)) ?? (await settledElsewhere(id, remember));
    if (known !== undefined) return stored(known);

    let settle = (): void => undefined;
    const entry = { since: Date.now(), settled: new Promise<void>((resolve) => (settle = resolve)) };
    underWay.set(id, entry);
    return answer(call, signal, async (whole) => {
      try {
        if (whole !== undefined) await remember.set(id, whole);
      } finally {
        if (underWay.get(id) === entry) underWay.delete(id);
        settle();
      }
    });
  }

  /** What an attempt that is still at work comes to, if it comes to something. */
  async function settledElsewhere(id: string, memory: Remember): Promise<StoredAnswer | undefined> {
    for (let first; (first = underWay.get(id)) !== undefined && Date.now() - first.since < JOIN_MS;) {
      await first.settled;
      const known = await memory.get(id);
      if (known !== undefined) return known;
    }
    return undefined;
  }

  /** Ask the handler; `settled` is told once what was answered, or of nothing if no whole answer came of it. */
  async function answer(
    call: Call,
    signal: AbortSignal,
    settled: (whole?: StoredAnswer) => void | Promise<void>,
  ): Promise<Response> {
    const hungUp = new AbortController();
    signal.addEventListener("abort", () => hungUp.abort(signal.reason), { once: true });
    if (signal.aborted) hungUp.abort(signal.reason);
    try {
      const given = await handler(call, { signal: hungUp.signal });
      if (isStream(given)) return streamed(given, hungUp, (error) => onError(error, call), settled);
      const whole = given === Later ? NO_CONTENT : asStored(answerBody(given));
      await settled(whole);
      return stored(whole);
    } catch (error) {
      await settled();
      if (!hungUp.signal.aborted) onError(error, call);
      return failure(500, "agent_failed", error instanceof Error ? error.message : String(error));
    }
  }

  const safely = (incoming: Incoming): Promise<Response> =>
    respond(incoming).catch((error: unknown) => {
      console.error("FleetLM agent:", error);
      return failure(500, "agent_failed", "The agent could not take the call.");
    });

  return {
    fetch: ({ method, headers, body, signal }) =>
      safely({ method, headers, body: body ?? new Uint8Array(), signal }),
    node: (request, response) => void serveNode(safely, request, response),
    listen: (port = 5000, host = "127.0.0.1") => listen(safely, port, host),
  };
}

const NO_CONTENT: StoredAnswer = { status: 204, contentType: "", body: "" };

const asStored = (body: object): StoredAnswer => ({
  status: 200,
  contentType: "application/json",
  body: JSON.stringify(body),
});

const json = (body: object, status = 200): Response => stored({ ...asStored(body), status });

const failure = (status: number, code: string, message: string): Response =>
  json({ error: { code, message } }, status);

function stored({ status, contentType, body }: StoredAnswer): Response {
  return status === 204
    ? new Response(null, { status })
    : new Response(body, { status, headers: { "content-type": contentType } });
}

function print(error: unknown, call: Call): void {
  console.error(`FleetLM agent ${call.agent_id}, in ${call.key}:`, error);
}
