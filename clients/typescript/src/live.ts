/** What is known of one conversation, kept current by a connection: the rules are in `log`, `runs` and `presence`. */
import { FleetLMError } from "./errors.js";
import { Listeners } from "./listeners.js";
import { appendToLog, beginLog, EMPTY_LOG, type Log } from "./log.js";
import { changePresence, NOBODY, type Presence, replacePresence } from "./presence.js";
import { conversationPath, type Rest } from "./rest.js";
import { answerRuns, changeRun, growRun, joinRuns, NO_RUNS, type Runs } from "./runs.js";
import type { Link, Place, Topic } from "./topic.js";
import type { Closed, ConversationEvents, ConversationInfo, Member, Message, Page, Status } from "./types.js";

/** So many messages are loaded at first. */
export const FIRST_PAGE = 50;

/** What it means when one that was joined before is refused with these. */
const ENDS: Readonly<Record<string, Closed["reason"]>> = {
  not_a_member: "removed",
  conversation_not_found: "deleted",
};

/** What a conversation does when something of its topic happens. */
export interface LiveHooks {
  /** Anything that a snapshot shows has changed. */
  changed(): void;
  /** It is joined, and its state is that of the join. */
  joined(): void;
  arrived(messages: readonly Message[]): void;
  /** It is over or refused: follow it no longer. */
  over(): void;
}

export class Live implements Topic {
  readonly key: string;
  readonly name: string;
  readonly streamPath: string;
  readonly listeners: Listeners<ConversationEvents> = new Listeners();
  log: Log = EMPTY_LOG;
  runs: Runs = NO_RUNS;
  presence: Presence = NOBODY;
  typing: ReadonlySet<string> = new Set();
  members: readonly Member[] = [];
  reads: Readonly<Record<string, number>> = {};
  status: Status = "idle";
  error: FleetLMError | null = null;
  closed: Closed | null = null;
  /** While it is joined. */
  link: Link | null = null;
  readonly #hooks: LiveHooks;
  /** The seq before which messages are missing that a join did not bring: they are no more. */
  #acceptedGap = 0;

  constructor(key: string, hooks: LiveHooks) {
    this.key = key;
    this.name = `conversation:${key}`;
    this.streamPath = conversationPath(key, "events");
    this.#hooks = hooks;
  }

  place(): Place {
    const { epoch, last_seq } = this.log;
    return epoch === null ? { limit: FIRST_PAGE } : { after: last_seq, epoch };
  }

  /** A stream's `ready` says less than a join does: the members and the first page are read by REST. */
  async replyOfStream(ready: any, place: Place, rest: Rest): Promise<any> {
    const { participants } = await rest.request<ConversationInfo>("GET", conversationPath(this.key));
    const reply = { ...ready, members: participants };
    if (ready.recovered) return { ...reply, messages: [] };
    const query = { limit: place.limit ?? FIRST_PAGE };
    const page = await rest.request<Page & { epoch: string }>("GET", conversationPath(this.key, "messages"), {
      query,
    });
    if (page.epoch !== ready.epoch)
      throw new FleetLMError("disconnected", "The conversation was replaced meanwhile.");
    return { ...reply, messages: page.messages };
  }

  /** A dm is made by those who may make one, as its join over a socket does. */
  async create(rest: Rest): Promise<boolean> {
    if (!this.key.includes(":")) return false;
    const body = { kind: "dm", participants: this.key.split(":") };
    try {
      await rest.request("POST", "conversations", { body });
    } catch (error) {
      if (error instanceof FleetLMError && error.status === 409) return true;
      throw error;
    }
    return true;
  }

  joined(reply: any, link: Link): void {
    const { epoch, recovered, messages, last_seq, members, runs } = reply;
    const resumed = recovered && epoch === this.log.epoch;
    const isReset = !resumed && this.log.epoch !== null;
    this.link = link;
    this.closed = null;
    this.presence = NOBODY;
    this.typing = new Set();
    this.members = members;
    if (!resumed) this.log = beginLog(epoch, messages, last_seq);
    this.reads = highest(resumed ? this.reads : {}, members);
    const { runs: now, told, missed } = joinRuns(this.runs, runs ?? []);
    this.runs = answerRuns(now, this.log.messages, this.log.last_seq);
    this.#become("online", null);
    if (isReset) this.listeners.emit("reset", { epoch });
    if (resumed) this.#append(messages);
    else this.#hooks.arrived(messages);
    for (const run of told) this.listeners.emit("run", run);
    for (const delta of missed) this.listeners.emit("delta", delta);
    this.#hooks.joined();
  }

  event(event: string, payload: any): void {
    if (event === "message") this.#append([payload]);
    else if (event === "read") this.hasRead(payload.participant_id, payload.seq);
    else if (event === "typing") this.#types(payload.participant_id, payload.on);
    else if (event === "run") this.#run(payload);
    else if (event === "delta") this.#delta(payload);
    else if (event === "presence_state") this.#present(replacePresence(this.presence, payload));
    else if (event === "presence_diff" && this.link?.ask)
      this.#present(changePresence(this.presence, payload));
  }

  waits(status: "connecting" | "offline", error: FleetLMError | null): void {
    this.#away();
    this.closed = null;
    this.#become(status, error);
  }

  refused(error: FleetLMError): void {
    const end = this.log.epoch === null ? undefined : ENDS[error.code];
    if (end) return this.ended(end);
    this.#away();
    this.#become("refused", error);
    this.#hooks.over();
    this.listeners.emit("error", error);
  }

  ended(reason: Closed["reason"]): void {
    this.closed = { reason };
    this.#away();
    this.#become("closed", null);
    this.#hooks.over();
    this.listeners.emit("closed", this.closed);
  }

  /** Nobody follows it any more. */
  rests(): void {
    this.#away();
    this.#become("idle", null);
  }

  /** Move a read cursor, forward only. */
  hasRead(participant_id: string, seq: number): void {
    if ((this.reads[participant_id] ?? 0) >= seq) return;
    this.reads = { ...this.reads, [participant_id]: seq };
    this.#hooks.changed();
    this.listeners.emit("read", { participant_id, seq });
  }

  setLog(log: Log): void {
    this.log = log;
    this.#hooks.changed();
  }

  setMembers(members: readonly Member[]): void {
    this.members = members;
    this.#hooks.changed();
  }

  #append(messages: readonly Message[]): void {
    const { log, added, gap } = appendToLog(this.log, messages, this.#acceptedGap === this.log.last_seq + 1);
    this.log = log;
    if (gap) {
      // Ask once for what is missing; if it does not exist, go on without it.
      this.#acceptedGap = log.last_seq + 1;
      this.link?.rejoin();
    }
    this.#hooks.arrived(messages.filter((message) => message.seq <= log.last_seq));
    if (added.length === 0) return;
    this.runs = answerRuns(this.runs, added, log.last_seq);
    for (const { sender_id, seq } of added) {
      this.#types(sender_id, false);
      this.hasRead(sender_id, seq);
    }
    this.#hooks.changed();
    for (const message of added) this.listeners.emit("message", message);
  }

  #types(participant_id: string, on: boolean): void {
    if (this.typing.has(participant_id) === on) return;
    const typing = new Set(this.typing);
    if (on) typing.add(participant_id);
    else typing.delete(participant_id);
    this.typing = typing;
    this.#hooks.changed();
    this.listeners.emit("typing", { participant_id, on });
  }

  #run(payload: any): void {
    const { runs, run } = changeRun(this.runs, payload, this.log.last_seq);
    this.runs = runs;
    this.#hooks.changed();
    this.listeners.emit("run", run);
  }

  #delta(payload: any): void {
    const { runs, delta, gap } = growRun(this.runs, payload);
    if (gap) return this.link?.rejoin();
    if (!delta) return;
    this.runs = runs;
    this.#hooks.changed();
    this.listeners.emit("delta", delta);
  }

  #present(presence: Presence): void {
    this.presence = presence;
    if (presence.early) return;
    this.#hooks.changed();
    this.listeners.emit("presence", [...presence.here.keys()]);
  }

  #away(): void {
    this.link = null;
    this.presence = NOBODY;
    this.typing = new Set();
  }

  #become(status: Status, error: FleetLMError | null): void {
    const isNew = status !== this.status;
    this.status = status;
    this.error = error;
    this.#hooks.changed();
    if (isNew) this.listeners.emit("status", status);
  }
}

function highest(
  reads: Readonly<Record<string, number>>,
  members: readonly Member[],
): Record<string, number> {
  const next: Record<string, number> = { ...reads };
  for (const { id, last_read_seq } of members) next[id] = Math.max(next[id] ?? 0, last_read_seq);
  return next;
}
