/** What a transport and what it carries know of each other. */
import type { FleetLMError } from "./errors.js";
import type { Rest } from "./rest.js";

/** Where to begin: after (epoch, seq), or with the newest `limit`. */
export interface Place {
  after?: number;
  epoch?: string;
  limit?: number;
}

/** The way to the server of a topic that is joined. */
export interface Link {
  /** Ask the server something over the socket; null where there is none, and REST is the way. */
  readonly ask: ((event: string, payload: object) => Promise<any>) | null;
  /** Join again, from the place of the topic at that time. */
  rejoin(): void;
}

/** A conversation or an inbox, as the connection sees it: it is told what comes, in order. */
export interface Topic {
  /** The topic of the socket. */
  readonly name: string;
  /** The event stream under `/api`. */
  readonly streamPath: string;
  place(): Place;
  /** The first event of its stream, as the reply of a join. What it throws counts as a lost stream. */
  replyOfStream(payload: any, place: Place, rest: Rest): Promise<any>;
  /** There is no such thing; whether it has been made. */
  create(rest: Rest): Promise<boolean>;
  joined(reply: any, link: Link): void;
  event(event: string, payload: any): void;
  /** It is not joined, and will be as soon as it can be. */
  waits(status: "connecting" | "offline", error: FleetLMError | null): void;
  /** It is not joined and will not be. */
  refused(error: FleetLMError): void;
  /** The server has ended it. */
  ended(reason: "removed" | "deleted"): void;
}
