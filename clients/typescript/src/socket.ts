/**
 * One WebSocket that speaks the Phoenix Channels protocol, serializer V2: every frame is the array
 * [join_ref, ref, topic, event, payload]. It opens once and closes once; `connection.ts` opens the next.
 */
import { disconnected, type FleetLMError, timedOut } from "./errors.js";
import { errorFrom } from "./rest.js";
import type { Timing, WebSocketConstructor, WebSocketLike } from "./types.js";

/** Our own close code for a connection that no longer answers. */
export const GONE = 4900;
/** A connection is looked at so quickly when there is a reason to doubt it. */
const DOUBT_MS = 4_000;

/** What is told of an answer, in the same turn in which it came: no frame that follows it is taken in before. */
type Settle = (error: FleetLMError | null, response: any) => void;

export type FrameListener = (joinRef: string | null, topic: string, event: string, payload: any) => void;

export class PhoenixSocket {
  /** Whether it has opened, once that is certain. Never rejects. */
  readonly opened: Promise<boolean>;
  /** The code with which it closed. Never rejects. */
  readonly closed: Promise<number>;
  onframe: FrameListener = () => {};
  readonly #socket: WebSocketLike;
  readonly #timing: Timing;
  readonly #asked = new Map<string, { settle: Settle; timer: ReturnType<typeof setTimeout> }>();
  #state: "opening" | "open" | "closed" = "opening";
  #lastRef = 0;
  #timer: ReturnType<typeof setTimeout>;
  #resolveOpened!: (open: boolean) => void;
  #resolveClosed!: (code: number) => void;

  constructor(url: string, WebSocket: WebSocketConstructor, timing: Timing) {
    this.#timing = timing;
    this.opened = new Promise((resolve) => (this.#resolveOpened = resolve));
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.#socket = new WebSocket(url);
    this.#socket.onopen = () => this.#open();
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = ({ code }) => this.#lose(code);
    this.#socket.onerror = () => {}; // its close event follows, and says as much
    this.#timer = setTimeout(() => this.close(GONE), timing.connectMs);
  }

  /** A ref that was never used on this socket. */
  nextRef(): string {
    this.#lastRef += 1;
    return String(this.#lastRef);
  }

  /** Write a frame. Nothing happens when the socket is not open. */
  write(joinRef: string | null, ref: string | null, topic: string, event: string, payload: object): void {
    if (this.#state === "open") this.#socket.send(JSON.stringify([joinRef, ref, topic, event, payload]));
  }

  /** Write a frame and wait for its reply. */
  ask(
    joinRef: string | null,
    ref: string,
    topic: string,
    event: string,
    payload: object,
    settle: Settle,
  ): void {
    if (this.#state !== "open") return settle(disconnected(), undefined);
    const timer = setTimeout(() => this.#settle(ref, timedOut(), undefined), this.#timing.replyMs);
    this.#asked.set(ref, { settle, timer });
    this.write(joinRef, ref, topic, event, payload);
  }

  /** Find out soon whether the server still answers; if it does not, the socket closes. */
  check(deadline: number = Math.min(DOUBT_MS, this.#timing.replyMs)): void {
    if (this.#state !== "open") return;
    clearTimeout(this.#timer);
    const ref = this.nextRef();
    const late = setTimeout(() => this.close(GONE), deadline);
    this.#asked.set(ref, { timer: late, settle: () => this.#beatLater() });
    this.write(null, ref, "phoenix", "heartbeat", {});
  }

  /** Close it now; a peer that is dead never answers a close, so its close event is not waited for. */
  close(code = 1000): void {
    this.#lose(code);
    // Node's `ws` would wait half a minute for a dead peer.
    const { terminate } = this.#socket as { terminate?: () => void };
    if (code === GONE && terminate) terminate.call(this.#socket);
    else this.#socket.close();
  }

  #open(): void {
    if (this.#state !== "opening") return;
    this.#state = "open";
    this.#beatLater();
    this.#resolveOpened(true);
  }

  #beatLater(): void {
    if (this.#state !== "open") return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(this.#timing.replyMs), this.#timing.heartbeatMs);
  }

  #receive(data: unknown): void {
    if (this.#state !== "open" || typeof data !== "string") return;
    const [joinRef, ref, topic, event, payload] = JSON.parse(data);
    if (event !== "phx_reply") this.onframe(joinRef, topic, event, payload);
    else if (payload.status === "ok") this.#settle(ref, null, payload.response);
    else this.#settle(ref, errorFrom(payload.response), undefined);
  }

  #settle(ref: string, error: FleetLMError | null, response: any): void {
    const asked = this.#asked.get(ref);
    if (!asked) return;
    this.#asked.delete(ref);
    clearTimeout(asked.timer);
    asked.settle(error, response);
  }

  #lose(code: number): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    clearTimeout(this.#timer);
    for (const ref of [...this.#asked.keys()]) this.#settle(ref, disconnected(), undefined);
    this.#resolveOpened(false);
    this.#resolveClosed(code);
  }
}
