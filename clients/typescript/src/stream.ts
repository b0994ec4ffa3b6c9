/** One topic over Server-Sent Events, for where sockets are blocked: it opens its stream again until it is stopped or refused. */
import { backoff, pause } from "./backoff.js";
import { asError, disconnected, FleetLMError } from "./errors.js";
import { readEvents } from "./events.js";
import { errorFrom, type Rest } from "./rest.js";
import type { Tokens } from "./tokens.js";
import type { Link, Place, Topic } from "./topic.js";
import type { Timing } from "./types.js";

/** The events that stand for the reply of a join. */
const FIRST = new Set(["ready", "snapshot"]);
/** What it means for a topic that was joined when its stream ends with one of these errors. */
const ENDS: Readonly<Record<string, "removed" | "deleted">> = {
  not_a_member: "removed",
  not_found: "deleted",
};

export class Stream implements Link {
  readonly ask = null;
  readonly #topic: Topic;
  readonly #rest: Rest;
  readonly #tokens: Tokens;
  readonly #timing: Timing;
  readonly #told: (error: FleetLMError | null) => void;
  readonly #stopped = new AbortController();
  #attempt = new AbortController();
  #heardAt = 0;
  #failures = 0;
  #waiting = false;
  #created = false;

  /** `told` is called with null when the stream is open, and with what went wrong when it is not. */
  constructor(
    topic: Topic,
    rest: Rest,
    tokens: Tokens,
    timing: Timing,
    told: (error: FleetLMError | null) => void,
  ) {
    this.#topic = topic;
    this.#rest = rest;
    this.#tokens = tokens;
    this.#timing = timing;
    this.#told = told;
    void this.#run();
  }

  stop(): void {
    this.#stopped.abort();
    this.#attempt.abort();
  }

  rejoin(): void {
    this.#attempt.abort();
  }

  /** Open it anew, at once, if it waits or if nothing has come for longer than the server is silent. */
  check(): void {
    if (this.#waiting || Date.now() - this.#heardAt > this.#timing.silenceMs / 2) this.rejoin();
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const error = await this.#follow();
      if (this.#stopped.signal.aborted || (error && this.#isOver(error))) return;
      if (error) {
        this.#topic.waits("offline", error);
        this.#told(error);
        this.#waiting = true;
        await pause(backoff(this.#failures, this.#timing), this.#attempt.signal);
        this.#waiting = false;
        this.#failures += 1;
      }
    }
  }

  /** Follow one stream to its end: null if it is to be opened again at once. */
  async #follow(): Promise<FleetLMError | null> {
    const attempt = (this.#attempt = new AbortController());
    const silence = new Silence(this.#timing.silenceMs, () => attempt.abort(disconnected()));
    const heard = (): void => {
      this.#heardAt = Date.now();
      silence.heard();
    };
    let token: string | undefined;
    try {
      heard();
      await this.#tokens.current(); // says whose inbox it is
      const place = this.#topic.place();
      const opened = await this.#rest.open("GET", this.#topic.streamPath, {
        headers: placeHeader(place),
        signal: attempt.signal,
      });
      token = opened.token;
      for await (const { event, data } of readEvents(opened.response.body!, heard)) {
        await this.#take(event, JSON.parse(data), place);
        if (attempt.signal.aborted) break;
      }
      if (attempt.signal.aborted) throw attempt.signal.reason;
      return disconnected();
    } catch (error) {
      if (attempt.signal.aborted && attempt.signal.reason?.code !== "disconnected") return null;
      return this.#mended(attempt.signal.aborted ? attempt.signal.reason : error, token);
    } finally {
      silence.end();
      attempt.abort();
      this.#attempt = new AbortController();
    }
  }

  async #take(event: string, payload: any, place: Place): Promise<void> {
    if (event === "error") throw errorFrom(payload);
    if (!FIRST.has(event)) return this.#topic.event(event, payload);
    const reply = await this.#topic.replyOfStream(payload, place, this.#rest);
    if (this.#stopped.signal.aborted) return;
    this.#failures = 0;
    this.#topic.joined(reply, this);
    this.#told(null);
  }

  /** Null if the cause is out of the way: the token was replaced, or what was missing has been made. */
  async #mended(cause: unknown, token: string | undefined): Promise<FleetLMError | null> {
    const error = cause instanceof FleetLMError ? cause : disconnected();
    try {
      if (error.code === "token_expired" && token !== undefined && (await this.#tokens.replace(token)))
        return null;
      if (error.code === "conversation_not_found" && !this.#created) {
        this.#created = await this.#topic.create(this.#rest);
        if (this.#created) return null;
      }
    } catch (failure) {
      return asError(failure);
    }
    return error;
  }

  /** Tell the topic if this error is the end of it. */
  #isOver(error: FleetLMError): boolean {
    if (error.passing) return false;
    const end = error.status === 0 ? ENDS[error.code] : undefined;
    if (error.status === 401 || error.code === "token_expired") this.#told(error);
    else if (end) this.#topic.ended(end);
    else this.#topic.refused(error);
    return true;
  }
}

/** Calls `late` when nothing was heard for so long. */
class Silence {
  readonly #ms: number;
  readonly #late: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ms: number, late: () => void) {
    this.#ms = ms;
    this.#late = late;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#late, this.#ms);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function placeHeader({ after, epoch }: Place): Record<string, string> {
  return after === undefined ? {} : { "Last-Event-ID": `${epoch}:${after}` };
}
