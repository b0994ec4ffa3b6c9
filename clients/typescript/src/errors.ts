/** What can go wrong, in one shape. */

/** Failures of the way, not of the request: another try may go well. */
const PASSING: ReadonlySet<string> = new Set([
  "disconnected",
  "network",
  "timeout",
  "token",
  "unavailable",
  "overloaded",
  "rate_limited",
  "draining",
  "not_joined",
]);

interface Facts {
  status?: number | undefined;
  details?: Record<string, unknown> | undefined;
  retryAfter?: number | undefined;
  cause?: unknown;
}

/**
 * An error of the server, or of the way to it. `code` is stable: the server's own (`not_a_member`, `seq_conflict`, …), or one
 * of this SDK: `network`, `timeout`, `disconnected`, `token`, `closed`, `discarded`, `invalid_options`.
 */
export class FleetLMError extends Error {
  readonly code: string;
  /** The HTTP status; 0 where there was none. */
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
  /** Seconds after which the server asks to be called again. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message: string, { status = 0, details = {}, retryAfter, cause }: Facts = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "FleetLMError";
    this.code = code;
    this.status = status;
    this.details = details;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may go well later. */
  get passing(): boolean {
    return PASSING.has(this.code) || [429, 502, 503, 504].includes(this.status);
  }
}

/** Anything that was thrown, as one of ours. */
export function asError(error: unknown): FleetLMError {
  if (error instanceof FleetLMError) return error;
  return new FleetLMError("internal", String((error as Error)?.message ?? error), { cause: error });
}

export function disconnected(): FleetLMError {
  return new FleetLMError("disconnected", "The connection was lost.");
}

export function timedOut(): FleetLMError {
  return new FleetLMError("timeout", "The server did not answer in time.");
}

export function clientClosed(): FleetLMError {
  return new FleetLMError("closed", "The client was closed.");
}
