/**
 * The one connection of a client, as long as something is followed over it: a socket, or event streams where sockets never open.
 * It decides which, when to try again, and when trying is of no use.
 */
import { backoff } from "./backoff.js";
import { Channel } from "./channel.js";
import { asError, clientClosed, disconnected, FleetLMError } from "./errors.js";
import type { Rest } from "./rest.js";
import { PhoenixSocket } from "./socket.js";
import { Stream } from "./stream.js";
import type { Tokens } from "./tokens.js";
import type { Topic } from "./topic.js";
import type { Status, Timing, WebSocketConstructor } from "./types.js";
import { onWake } from "./wake.js";

/** The server's close codes that mean something to us; see `docs/socket.md`. */
const TOKEN_EXPIRED = 4001;
const RESTARTING = 1012;
/** A socket that lived so long was a good one: the next loss starts with the shortest pause. */
const STEADY_MS = 5_000;
/** A socket is kept for so long after the last topic has left: the next one is often on its way. */
const LINGER_MS = 1_000;
/** So often a socket must fail, where one has worked before, until streams take over. */
const FAILURES_UNTIL_STREAMS = 3;
/** How many times longer the pause between two tries of a socket may become. */
const LONGEST_RETRY = 16;

export interface ConnectionOptions {
  readonly socketUrl: (token: string | undefined) => string;
  /** Null: event streams only. */
  readonly WebSocket: WebSocketConstructor | null;
  /** Whether streams may take over where sockets do not open. */
  readonly mayStream: boolean;
  readonly timing: Timing;
}

export class Connection {
  status: Status = "idle";
  error: FleetLMError | null = null;
  readonly #options: ConnectionOptions;
  readonly #rest: Rest;
  readonly #tokens: Tokens;
  readonly #changed: () => void;
  readonly #woken: () => void;
  readonly #topics = new Set<Topic>();
  readonly #channels = new Map<Topic, Channel>();
  readonly #streams = new Map<Topic, Stream>();
  #socket: PhoenixSocket | null = null;
  #streaming: boolean;
  #running = false;
  #lingers = false;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #blocked = 0;
  #everOpen = false;
  #interrupt: () => void = () => {};

  /** `changed` is told of each change of `status`, `woken` when the page is back or the network has changed. */
  constructor(
    options: ConnectionOptions,
    rest: Rest,
    tokens: Tokens,
    changed: () => void,
    woken: () => void,
  ) {
    this.#options = options;
    this.#rest = rest;
    this.#tokens = tokens;
    this.#changed = changed;
    this.#woken = woken;
    this.#streaming = options.WebSocket === null;
  }

  /** Follow a topic until it is removed; it is joined now or as soon as possible. */
  add(topic: Topic): void {
    clearTimeout(this.#linger);
    this.#lingers = false;
    this.#topics.add(topic);
    if (this.status === "closed") return topic.refused(clientClosed());
    topic.waits(this.status === "offline" ? "offline" : "connecting", this.error);
    if (this.#socket) this.#join(topic, this.#socket);
    else if (this.#streaming && this.#running) this.#stream(topic);
    if (this.status === "refused") this.#become("connecting", null);
    if (!this.#running) void this.#run();
  }

  remove(topic: Topic): void {
    if (!this.#topics.delete(topic)) return;
    this.#channels.get(topic)?.leave();
    this.#channels.delete(topic);
    this.#streams.get(topic)?.stop();
    this.#streams.delete(topic);
    if (this.#topics.size > 0) return;
    this.#lingers = this.#socket !== null;
    if (this.#lingers) this.#linger = setTimeout(() => this.#rests(), LINGER_MS);
    else this.#rests();
  }

  close(): void {
    this.#become("closed", null);
    clearTimeout(this.#linger);
    for (const topic of [...this.#topics]) this.remove(topic);
    this.#rests();
  }

  get #wanted(): boolean {
    return this.status !== "closed" && (this.#topics.size > 0 || this.#lingers);
  }

  /** Nothing is followed any more. */
  #rests(): void {
    clearTimeout(this.#linger);
    this.#lingers = false;
    this.#socket?.close();
    this.#interrupt();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const stop = onWake(() => this.#wake());
    while (this.#wanted && this.status !== "refused") {
      const once = this.#streaming ? this.#overStreams() : this.#overSocket();
      const delay = await once.catch((error: unknown) => this.#failed(asError(error)));
      if (this.#wanted) await this.#pause(delay);
    }
    stop();
    this.#running = false;
    if (this.status !== "refused" && this.status !== "closed") this.#become("idle", null);
  }

  // Over a socket. What ends returns after how many milliseconds to go on, or throws why it failed.

  async #overSocket(): Promise<number> {
    this.#connecting();
    const token = await this.#tokens.current();
    const socket = this.#newSocket(token);
    if (await socket.opened) return this.#serve(socket, token);
    return this.#wanted ? this.#diagnose(token) : 0;
  }

  #newSocket(token: string | undefined): PhoenixSocket {
    const { WebSocket, socketUrl, timing } = this.#options;
    return new PhoenixSocket(socketUrl(token), WebSocket!, timing);
  }

  /** Carry every topic until the socket is lost. */
  async #serve(socket: PhoenixSocket, token: string | undefined): Promise<number> {
    const opened = Date.now();
    this.#everOpen = true;
    this.#blocked = 0;
    this.#socket = socket;
    socket.onframe = (joinRef, topic, event, payload) =>
      this.#channelOf(topic)?.receive(joinRef, event, payload);
    this.#become("online", null);
    for (const topic of this.#topics) this.#join(topic, socket);
    const renewal = this.#renewToken();
    if (!this.#wanted) socket.close();
    const code = await socket.closed;
    clearTimeout(renewal);
    this.#socket = null;
    for (const channel of this.#channels.values()) channel.stop();
    this.#channels.clear();
    if (!this.#wanted) return 0;
    if (Date.now() - opened > STEADY_MS) this.#failures = 0;
    return this.#lost(code, token);
  }

  async #lost(code: number, token: string | undefined): Promise<number> {
    const delay = this.#offline(disconnected());
    if (code === RESTARTING) return Math.random() * 5 * this.#options.timing.backoffMs;
    if (code !== TOKEN_EXPIRED) return delay;
    if (await this.#tokens.replace(token)) return this.#failures > 1 ? delay : 0;
    return this.#failed(new FleetLMError("token_expired", "The token has expired.", { status: 401 }));
  }

  /** A socket did not open, and does not say why: REST does. Throws what it is refused with. */
  async #diagnose(token: string | undefined): Promise<number> {
    try {
      await this.#rest.request("GET", "conversations", {
        query: { limit: 1 },
        tries: 1,
        timeoutMs: this.#options.timing.replyMs,
      });
    } catch (error) {
      if (asError(error).passing || asError(error).status === 401) throw error;
    }
    if (this.#tokens.known !== token) return 0; // it had expired, and there is a new one now
    this.#blocked += 1;
    if (this.#options.mayStream && this.#blocked >= (this.#everOpen ? FAILURES_UNTIL_STREAMS : 1)) {
      this.#streaming = true;
      return 0;
    }
    return this.#offline(new FleetLMError("network", "The server answers, but opens no WebSocket."));
  }

  #join(topic: Topic, socket: PhoenixSocket): void {
    try {
      this.#channels.set(topic, new Channel(socket, topic, this.#options.timing));
    } catch (error) {
      topic.refused(asError(error));
    }
  }

  #channelOf(name: string): Channel | undefined {
    for (const channel of this.#channels.values()) if (channel.name === name) return channel;
    return undefined;
  }

  /** Have the next token at hand when this one expires. */
  #renewToken(): ReturnType<typeof setTimeout> | undefined {
    const wait = this.#tokens.replaceAt - Date.now();
    if (wait > 2 ** 31) return undefined;
    return setTimeout(() => void this.#tokens.current().catch(() => {}), Math.max(wait, 0));
  }

  // Over event streams, until a socket opens.

  async #overStreams(): Promise<number> {
    this.#connecting();
    for (const topic of this.#topics) this.#stream(topic);
    const retryMs = this.#options.timing.socketRetryMs;
    for (
      let wait = retryMs;
      this.#wanted && this.status !== "refused";
      wait = Math.min(wait * 2, retryMs * LONGEST_RETRY)
    ) {
      await this.#pause(this.#options.WebSocket ? wait : Infinity);
      const socket = this.#options.WebSocket && this.#wanted ? await this.#openSocket() : null;
      if (socket) return this.#backToSockets(socket);
    }
    return 0;
  }

  async #openSocket(): Promise<[PhoenixSocket, string | undefined] | null> {
    const token = await this.#tokens.current().catch(() => null);
    if (token === null) return null;
    const socket = this.#newSocket(token);
    return (await socket.opened) ? [socket, token] : null;
  }

  #backToSockets([socket, token]: [PhoenixSocket, string | undefined]): Promise<number> {
    for (const stream of this.#streams.values()) stream.stop();
    this.#streams.clear();
    this.#streaming = false;
    return this.#serve(socket, token);
  }

  #stream(topic: Topic): void {
    const told = (error: FleetLMError | null): void => {
      if (!this.#streams.has(topic)) return;
      if (!error) this.#become("online", null);
      else if (error.passing) this.#become("offline", error);
      else this.#failed(error);
    };
    this.#streams.get(topic)?.stop();
    this.#streams.set(topic, new Stream(topic, this.#rest, this.#tokens, this.#options.timing, told));
  }

  // What both have in common.

  /** After how long to go on; it is of no use after an error that does not pass. */
  #failed(error: FleetLMError): number {
    if (error.passing) return this.#offline(error);
    this.#become("refused", error);
    for (const stream of this.#streams.values()) stream.stop();
    this.#streams.clear();
    for (const topic of [...this.#topics]) topic.refused(error);
    this.#interrupt();
    return 0;
  }

  #offline(error: FleetLMError): number {
    this.#become("offline", error);
    for (const topic of this.#topics) topic.waits("offline", error);
    const delay = backoff(this.#failures, this.#options.timing);
    this.#failures += 1;
    return delay;
  }

  /** Who is offline stays so until it is over, and does not flicker at every try. */
  #connecting(): void {
    if (this.status !== "offline") this.#become("connecting", this.error);
  }

  #wake(): void {
    this.#interrupt();
    this.#socket?.check();
    for (const stream of this.#streams.values()) stream.check();
    this.#woken();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms < Infinity ? setTimeout(() => this.#interrupt(), ms) : undefined;
      this.#interrupt = () => {
        clearTimeout(timer);
        this.#interrupt = () => {};
        resolve();
      };
    });
  }

  #become(status: Status, error: FleetLMError | null): void {
    if (this.status === "closed" || (status === this.status && error === this.error)) return;
    this.status = status;
    this.error = error;
    this.#changed();
  }
}
