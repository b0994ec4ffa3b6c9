/** One topic on one socket: it joins, and joins again after failures that pass, until it is left or refused. */
import { backoff } from "./backoff.js";
import type { FleetLMError } from "./errors.js";
import type { PhoenixSocket } from "./socket.js";
import type { Link, Topic } from "./topic.js";
import type { Timing } from "./types.js";

export class Channel implements Link {
  /** Under which name it was joined. */
  readonly name: string;
  readonly #socket: PhoenixSocket;
  readonly #topic: Topic;
  readonly #timing: Timing;
  #joinRef: string | null = null;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: PhoenixSocket, topic: Topic, timing: Timing) {
    this.#socket = socket;
    this.#topic = topic;
    this.#timing = timing;
    this.name = topic.name;
    this.rejoin();
  }

  readonly ask = (event: string, payload: object): Promise<any> =>
    new Promise((resolve, reject) => {
      const settle = (error: FleetLMError | null, response: any): void =>
        error ? reject(error) : resolve(response);
      this.#socket.ask(this.#joinRef, this.#socket.nextRef(), this.name, event, payload, settle);
    });

  rejoin(): void {
    clearTimeout(this.#timer);
    const ref = this.#socket.nextRef();
    this.#joinRef = ref;
    this.#socket.ask(ref, ref, this.name, "phx_join", this.#topic.place(), (error, reply) => {
      if (ref !== this.#joinRef) return;
      if (error) return this.#failed(error);
      this.#failures = 0;
      this.#topic.joined(reply, this);
    });
  }

  /** Leave it, silently where the connection is gone. */
  leave(): void {
    this.#socket.write(this.#joinRef, this.#socket.nextRef(), this.name, "phx_leave", {});
    this.stop();
  }

  /** Pass on nothing more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#joinRef = null;
  }

  /** A frame of this topic. */
  receive(joinRef: string | null, event: string, payload: any): void {
    // What an earlier join was sent must not reach the one that replaced it.
    if (this.#joinRef === null || (joinRef !== null && joinRef !== this.#joinRef)) return;
    if (event !== "phx_close" && event !== "phx_error") return this.#topic.event(event, payload);
    const { reason } = payload ?? {};
    if (reason !== "removed" && reason !== "deleted") return this.#joinLater();
    this.stop();
    this.#topic.ended(reason);
  }

  #failed(error: FleetLMError): void {
    if (error.code === "disconnected") return; // the connection sees to it
    if (error.passing) {
      this.#joinLater();
      this.#topic.waits("connecting", error);
    } else {
      this.stop();
      this.#topic.refused(error);
    }
  }

  #joinLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.rejoin(), backoff(this.#failures, this.#timing));
    this.#failures += 1;
  }
}
