/**
 * One WebSocket that speaks the Phoenix Channels protocol, serializer V2: every frame is the array
 * [join_ref, ref, topic, event, payload]. It reconnects by itself and lets its channels rejoin.
 */
import { Channel } from "./channel.js";
import { backoff, explainClose } from "./reconnect.js";

const HEARTBEAT_MS = 30_000;
const HEARTBEAT_GRACE_MS = 10_000;
const CONNECT_MS = 10_000;
/** A connection that lived this long was a good one: the next loss starts at the shortest delay. */
const STEADY_MS = 5_000;
/** Our own close code for a connection that no longer answers. */
const GONE = 4900;

/**
 * @typedef {{name: "connecting" | "live" | "waiting" | "stopped", reason: string, retryAt: number}} ConnectionState
 * retryAt is in milliseconds since 1970 and counts only while waiting.
 */

/** Emits "state" whenever `state` changes. */
export class Socket extends EventTarget {
  /** @type {ConnectionState} */
  state = { name: "stopped", reason: "", retryAt: 0 };
  #address;
  #socket = null;
  #channels = new Map();
  #lastRef = 0;
  #failures = 0;
  #opened = 0;
  #everOpen = false;
  #retryTimer = 0;
  #connectTimer = 0;
  #heartbeatTimer = 0;
  #heartbeatRef = null;
  #graceTimer = 0;

  /** @param {() => string} address gives the URL, asked anew at every connect */
  constructor(address) {
    super();
    this.#address = address;
    globalThis.addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => this.#wake());
  }

  /** Connect, or connect now instead of after the delay. */
  connect() {
    if (this.state.name === "connecting" || this.state.name === "live") return;
    clearTimeout(this.#retryTimer);
    this.#become({ name: "connecting", reason: this.state.reason, retryAt: 0 });
    const socket = new WebSocket(this.#address());
    this.#socket = socket;
    this.#opened = 0;
    socket.onopen = () => socket === this.#socket && this.#open();
    socket.onmessage = (event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (event) => socket === this.#socket && this.#lose(event.code);
    this.#connectTimer = setTimeout(() => this.#abandon(), CONNECT_MS);
  }

  /** Close for good; `connect` opens again. */
  disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    this.#rest();
    clearTimeout(this.#retryTimer);
    socket?.close(1000);
    for (const channel of this.#channels.values()) channel.disconnected();
    this.#become({ name: "stopped", reason: "", retryAt: 0 });
  }

  /**
   * The channel of a topic; the same object as long as it is not left.
   * @param {string} topic
   * @param {() => object} params the join's payload, asked anew at every join
   * @returns {Channel}
   */
  channel(topic, params) {
    let channel = this.#channels.get(topic);
    if (!channel) {
      channel = new Channel(this, topic, params);
      this.#channels.set(topic, channel);
    }
    return channel;
  }

  /** @returns {boolean} */
  get live() {
    return this.state.name === "live";
  }

  /** For channels only: a ref that was never used on this socket. */
  nextRef() {
    this.#lastRef += 1;
    return String(this.#lastRef);
  }

  /** For channels only: write one frame. */
  write(joinRef, ref, topic, event, payload) {
    this.#socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
  }

  /** For channels only: forget a channel that was left. */
  forget(channel) {
    if (this.#channels.get(channel.topic) === channel) this.#channels.delete(channel.topic);
  }

  #open() {
    clearTimeout(this.#connectTimer);
    this.#opened = Date.now();
    this.#everOpen = true;
    this.#heartbeatTimer = setInterval(() => this.#beat(HEARTBEAT_GRACE_MS), HEARTBEAT_MS);
    this.#become({ name: "live", reason: "", retryAt: 0 });
    for (const channel of this.#channels.values()) channel.connected();
  }

  #receive(data) {
    if (typeof data !== "string") return;
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    if (topic === "phoenix") {
      if (ref === this.#heartbeatRef) this.#alive();
      return;
    }
    this.#channels.get(topic)?.receive(joinRef, ref, event, payload);
  }

  #beat(graceMs) {
    if (this.#heartbeatRef !== null) return;
    this.#heartbeatRef = this.nextRef();
    this.write(null, this.#heartbeatRef, "phoenix", "heartbeat", {});
    this.#graceTimer = setTimeout(() => this.#abandon(), graceMs);
  }

  #alive() {
    this.#heartbeatRef = null;
    clearTimeout(this.#graceTimer);
  }

  /** A dead peer never answers a close either, so its close event is not waited for. */
  #abandon() {
    const socket = this.#socket;
    this.#lose(GONE);
    socket?.close();
  }

  #lose(code) {
    this.#socket = null;
    this.#rest();
    const wasOpen = this.#opened > 0;
    if (wasOpen && Date.now() - this.#opened > STEADY_MS) this.#failures = 0;
    for (const channel of this.#channels.values()) channel.disconnected();
    const { reason, final, quick } = explainClose(code, wasOpen, this.#everOpen);
    if (final) {
      this.#become({ name: "stopped", reason, retryAt: 0 });
      return;
    }
    const delay = backoff(this.#failures, quick);
    this.#failures += 1;
    this.#retryTimer = setTimeout(() => this.connect(), delay);
    this.#become({ name: "waiting", reason, retryAt: Date.now() + delay });
  }

  #rest() {
    clearTimeout(this.#connectTimer);
    clearInterval(this.#heartbeatTimer);
    this.#alive();
  }

  /** After sleep or a lost network: find out at once instead of at the next timer. */
  #wake() {
    if (document.hidden) return;
    if (this.state.name === "waiting") this.connect();
    else if (this.live) this.#beat(HEARTBEAT_GRACE_MS / 2);
  }

  #become(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}
