/** One topic of a socket: join, push, listen; it rejoins by itself until it is left or refused. */
import { backoff } from "./reconnect.js";

const REPLY_MS = 10_000;
/** Refusals that pass by themselves; every other one is final until somebody tries again. */
const PASSING = new Set(["timeout", "disconnected", "unavailable", "overloaded", "rate_limited", "draining"]);

/** A push that was not done: `code` is the server's, or "timeout", or "disconnected". */
export class ReplyError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {object} details
   */
  constructor(code, message, details = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

/**
 * Emits "state" whenever `state` changes.
 * @typedef {"idle" | "joining" | "joined" | "waiting" | "refused" | "closed"} ChannelState
 */
export class Channel extends EventTarget {
  /** @type {ChannelState} */
  state = "idle";
  /** @type {ReplyError | null} why the topic was refused */
  refusal = null;
  #socket;
  #params;
  #joinRef = null;
  #listeners = new Map();
  #waiting = new Map();
  #failures = 0;
  #retryTimer = 0;

  constructor(socket, topic, params) {
    super();
    this.#socket = socket;
    this.topic = topic;
    this.#params = params;
  }

  /** @param {string} event @param {(payload: any) => void} listener "join" is called with each join's reply */
  on(event, listener) {
    this.#listeners.set(event, listener);
    return this;
  }

  /** Join now if the socket is live, else as soon as it is. Joining again replaces the first join. */
  async join() {
    clearTimeout(this.#retryTimer);
    this.refusal = null;
    if (!this.#socket.live) {
      this.#become("waiting");
      return;
    }
    const ref = this.#socket.nextRef();
    this.#joinRef = ref;
    this.#become("joining");
    try {
      const reply = await this.#ask(ref, "phx_join", this.#params());
      if (ref !== this.#joinRef) return;
      this.#failures = 0;
      // The reply is taken in before the state changes: whoever hears "joined" finds what came with it.
      this.#tell("join", reply);
      this.#become("joined");
    } catch (error) {
      if (!(error instanceof ReplyError)) throw error;
      if (ref === this.#joinRef) this.#failed(error);
    }
  }

  /**
   * @param {string} event
   * @param {object} payload
   * @returns {Promise<any>} the reply's response
   * @throws {ReplyError}
   */
  async push(event, payload) {
    if (this.state !== "joined") throw new ReplyError("disconnected", "Not connected.");
    return this.#ask(this.#socket.nextRef(), event, payload);
  }

  /** Leave for good. */
  leave() {
    if (this.state === "joined" || this.state === "joining") {
      this.#socket.write(this.#joinRef, this.#socket.nextRef(), this.topic, "phx_leave", {});
    }
    this.#end("closed", new ReplyError("disconnected", "The conversation was left."));
    this.#socket.forget(this);
  }

  /** For the socket only. */
  connected() {
    if (this.state === "waiting") this.join();
  }

  /** For the socket only. */
  disconnected() {
    if (this.state === "joined" || this.state === "joining" || this.state === "waiting") {
      this.#end("waiting", new ReplyError("disconnected", "The connection was lost."));
    }
  }

  /** For the socket only: one frame of this topic. */
  receive(joinRef, ref, event, payload) {
    if (event === "phx_reply") {
      this.#settle(ref, payload);
      return;
    }
    // A frame of an earlier join must not reach the one that replaced it.
    if (joinRef !== null && joinRef !== this.#joinRef) return;
    if (event === "phx_error") this.#failed(new ReplyError("unavailable", "The server lost this conversation."));
    else if (event === "phx_close") this.#end("closed", new ReplyError("closed", "The server closed this conversation."));
    else this.#tell(event, payload);
  }

  #ask(ref, event, payload) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(ref);
        reject(new ReplyError("timeout", "The server did not answer in time."));
      }, REPLY_MS);
      this.#waiting.set(ref, { resolve, reject, timer });
      this.#socket.write(this.#joinRef, ref, this.topic, event, payload);
    });
  }

  #settle(ref, { status, response }) {
    const asked = this.#waiting.get(ref);
    if (!asked) return;
    this.#waiting.delete(ref);
    clearTimeout(asked.timer);
    if (status === "ok") {
      asked.resolve(response);
      return;
    }
    const { code = "refused", message = "The server refused.", details } = response?.error ?? {};
    asked.reject(new ReplyError(code, message, details));
  }

  #failed(error) {
    if (!PASSING.has(error.code)) {
      this.refusal = error;
      this.#end("refused", error);
      return;
    }
    this.#end("waiting", error);
    if (!this.#socket.live) return;
    this.#retryTimer = setTimeout(() => this.join(), backoff(this.#failures));
    this.#failures += 1;
  }

  #end(state, error) {
    clearTimeout(this.#retryTimer);
    this.#joinRef = null;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#waiting.clear();
    this.#become(state);
  }

  #tell(event, payload) {
    this.#listeners.get(event)?.(payload);
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
