/** REST: one request, again where it may be made again, with the token of the moment. */
import { backoff, pause } from "./backoff.js";
import { FleetLMError, timedOut } from "./errors.js";
import type { Tokens } from "./tokens.js";
import type { RequestOptions, Timing } from "./types.js";

const TRIES = 4;
/** An answer may take so many times as long as a reply of the socket. */
const PATIENCE = 3;
/** The longest time that a `Retry-After` of the server is waited for. */
const LONGEST_WAIT_MS = 30_000;

interface Exchange extends RequestOptions {
  headers?: Record<string, string>;
  /** Whether the call may be made again; as it is for every GET. */
  repeatable?: boolean;
  /** How often it is made at most. */
  tries?: number;
  timeoutMs?: number;
}

export class Rest {
  readonly #url: string;
  readonly #fetch: typeof fetch;
  readonly #tokens: Tokens;
  readonly #timing: Timing;

  constructor(url: string, fetcher: typeof fetch, tokens: Tokens, timing: Timing) {
    this.#url = url;
    this.#fetch = fetcher;
    this.#tokens = tokens;
    this.#timing = timing;
  }

  /** The JSON of a call under `/api`. Rejects with a `FleetLMError`, or the reason of the signal. */
  async request<T>(method: string, path: string, options: Exchange = {}): Promise<T> {
    const repeatable = options.repeatable ?? (method === "GET" || options.idempotencyKey !== undefined);
    const tries = repeatable ? (options.tries ?? TRIES) : 1;
    for (let failures = 0; ; failures += 1) {
      try {
        return await this.#answer<T>(method, path, options);
      } catch (error) {
        if (failures + 1 >= tries || !(error instanceof FleetLMError && error.passing)) throw error;
        const asked = Math.min((error.retryAfter ?? 0) * 1_000, LONGEST_WAIT_MS);
        await pause(Math.max(backoff(failures, this.#timing), asked), options.signal);
        options.signal?.throwIfAborted();
      }
    }
  }

  /** A response whose body is still to be read, and the token that it was asked with. Once more after a 401 that a new token mends. */
  async open(
    method: string,
    path: string,
    options: Exchange,
  ): Promise<{ response: Response; token: string | undefined }> {
    for (let replaced = false; ; replaced = true) {
      const token = await this.#tokens.current();
      const response = await this.#send(method, path, options, token);
      if (response.ok) return { response, token };
      const error = await errorOf(response);
      if (replaced || error.status !== 401 || !(await this.#tokens.replace(token))) throw error;
    }
  }

  async #answer<T>(method: string, path: string, options: Exchange): Promise<T> {
    const late = new AbortController();
    const abort = (): void => late.abort(options.signal?.reason);
    if (options.signal?.aborted) abort();
    options.signal?.addEventListener("abort", abort);
    const timeout = new FleetLMError("timeout", "The server did not answer in time.");
    const timer = setTimeout(() => late.abort(timeout), options.timeoutMs ?? PATIENCE * this.#timing.replyMs);
    try {
      const { response } = await this.open(method, path, { ...options, signal: late.signal });
      const text = await response.text().catch((cause: unknown) => unreachable(cause, late.signal));
      return (text ? JSON.parse(text) : undefined) as T;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", abort);
    }
  }

  #send(method: string, path: string, options: Exchange, token: string | undefined): Promise<Response> {
    const headers: Record<string, string> = { ...options.headers };
    if (token !== undefined) headers.Authorization = `Bearer ${token}`;
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    if (options.idempotencyKey !== undefined) headers["Idempotency-Key"] = options.idempotencyKey;
    return this.#fetch(`${this.#url}/api/${path.replace(/^\/?(api\/)?/, "")}${queryOf(options.query)}`, {
      method,
      headers,
      // The token speaks, never a cookie of somebody who is also signed in to the admin.
      credentials: "omit",
      cache: "no-store",
      ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
      ...(options.signal && { signal: options.signal }),
    }).catch((cause: unknown) => unreachable(cause, options.signal));
  }
}

/** The path of a conversation under `/api`. */
export function conversationPath(key: string, ...rest: string[]): string {
  return ["conversations", key, ...rest].map(encodeURIComponent).join("/");
}

/** The error of a body `{"error": {code, message, details}}`. */
export function errorFrom(body: any, status = 0, retryAfter?: number): FleetLMError {
  const { code, message, details } = body?.error ?? {};
  const fallback = status >= 500 ? "unavailable" : "refused";
  return new FleetLMError(code ?? fallback, message ?? `The server answered ${status}.`, {
    status,
    details,
    retryAfter: retryAfter ?? details?.retry_after,
  });
}

async function errorOf(response: Response): Promise<FleetLMError> {
  const body: unknown = await response.json().catch(() => undefined);
  const retryAfter = Number(response.headers.get("Retry-After") ?? NaN);
  return errorFrom(body, response.status, Number.isNaN(retryAfter) ? undefined : retryAfter);
}

/** What an aborted fetch throws is its signal's reason; anything else is that the server was not reached. */
function unreachable(cause: unknown, signal: AbortSignal | undefined): never {
  if (signal?.aborted) throw signal.reason;
  throw new FleetLMError("network", "The server cannot be reached.", { cause });
}

function queryOf(query: RequestOptions["query"] = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  return given.length ? `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}` : "";
}
