/** One conversation as this participant sees it: its log, members and what goes on in it. No DOM here. */
import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { Presence } from "./presence.js";
import { Runs } from "./runs.js";
import { OwnTyping, TypingOthers } from "./typing.js";

const PAGE = 50;
const GLANCE = 1;
const KEEP_OPEN = 1_500;
const KEEP_CLOSED = 100;

/** Emits "change" whenever anything that can be shown did, and "arrival" (detail: the message) for a live one. */
export class Conversation extends EventTarget {
  /** @type {Map<string, {id: string, kind: string, display_name: string, role: string, last_read_seq: number}>} */
  members = new Map();
  log = new Log();
  presence = new Presence();
  runs = new Runs();
  typing = new TypingOthers(() => this.#changed());
  /** Whether an older page is on its way. */
  paging = false;
  /** Whether a join has ever succeeded. */
  known = false;
  #open = false;
  #readSeq = 0;
  #acceptedGap = 0;
  #pagingFailed = false;

  /**
   * @param {import("./socket.js").Socket} socket
   * @param {string} key
   * @param {string} me this participant's id
   * @param {import("./people.js").People} people learns the members' names
   */
  constructor(socket, key, me, people) {
    super();
    this.key = key;
    this.me = me;
    this.people = people;
    this.channel = socket
      .channel(`conversation:${key}`, () => this.#joinParams())
      .on("join", (reply) => this.#joined(reply))
      .on("message", (message) => this.#arrived(message))
      .on("read", ({ participant_id, seq }) => this.#hasRead(participant_id, seq))
      .on("typing", ({ participant_id, on }) => participant_id !== me && this.typing.set(participant_id, on))
      .on("run", (run) => this.#during(() => this.runs.update(run)))
      .on("delta", (delta) => this.#during(() => this.runs.grow(delta)))
      .on("presence_state", (state) => this.#during(() => this.presence.replace(state)))
      .on("presence_diff", (diff) => this.#during(() => this.presence.merge(diff)));
    this.channel.addEventListener("state", () => this.#channelChanged());
    this.outbox = new Outbox(
      (body) => this.channel.push("send", body),
      () => this.#outboxChanged(),
    );
    this.ownTyping = new OwnTyping((on) => this.channel.push("typing", { on }).catch(() => {}));
  }

  /** Join: with a page of history when it's open on the screen, else with a glance. */
  join() {
    if (this.channel.state === "idle" || this.channel.state === "refused" || this.channel.state === "closed") {
      this.channel.join();
    }
  }

  /** @param {boolean} open whether it is on the screen */
  setOpen(open) {
    this.#open = open;
    if (!open) {
      this.ownTyping.stop();
      this.log.trim(KEEP_CLOSED);
    } else if (this.known && this.log.messages.length < PAGE) {
      this.loadOlder();
    }
  }

  /** @param {string} text */
  send(text) {
    this.ownTyping.stop();
    this.outbox.add(text);
  }

  /** @returns {number} the highest seq this participant has read */
  get readSeq() {
    return Math.max(this.#readSeq, this.members.get(this.me)?.last_read_seq ?? 0);
  }

  /** Everything that is loaded has been seen. */
  markRead() {
    const seq = this.log.lastSeq;
    if (!this.known || seq <= this.readSeq) return;
    this.#readSeq = seq;
    // When it is lost, the next join sends it again.
    this.channel.push("read", { seq }).catch(() => {});
  }

  /**
   * Load the page before the oldest message held.
   * @param {boolean} insist also after a failure, when somebody asks for it
   */
  async loadOlder(insist = false) {
    if (this.paging || !this.log.hasOlder || this.channel.state !== "joined") return;
    if (this.#pagingFailed && !insist) return;
    this.#during(() => (this.paging = true));
    const { epoch } = this.log;
    try {
      const page = await this.channel.push("history", { before: this.log.firstSeq, limit: PAGE });
      this.#pagingFailed = false;
      if (epoch === this.log.epoch) this.log.prepend(page.messages, page.has_more ?? page.messages.length === PAGE);
    } catch {
      this.#pagingFailed = true;
    }
    this.#during(() => (this.paging = false));
  }

  /** @param {string} runId */
  async cancel(runId) {
    this.#during(() => this.runs.mark(runId, true));
    await this.channel.push("cancel", { run_id: runId }).catch(() => this.#during(() => this.runs.mark(runId, false)));
  }

  #joinParams() {
    if (!this.known) return { limit: this.#open ? PAGE : GLANCE };
    return { after: this.log.lastSeq, epoch: this.log.epoch };
  }

  #joined(reply) {
    this.#pagingFailed = false;
    this.presence.restart();
    this.typing.clear();
    this.members = new Map(reply.members.map((member) => [member.id, member]));
    this.people.learn(reply.members);
    this.runs.replace(reply.runs ?? []);
    if (this.known && reply.recovered && reply.epoch === this.log.epoch) {
      for (const message of reply.messages) this.#arrived(message);
    } else {
      if (this.known) this.#readSeq = 0;
      this.log.reset(reply.epoch, reply.messages, reply.last_seq);
      for (const message of reply.messages) if (message.sender_id === this.me) this.outbox.arrived(message);
    }
    this.known = true;
    this.#changed();
  }

  #arrived(message) {
    const outcome = this.log.append(message, this.#acceptedGap === this.log.lastSeq + 1);
    if (outcome === "gap") {
      // Ask once for what is missing; if it does not exist, go on without it.
      this.#acceptedGap = this.log.lastSeq + 1;
      this.channel.join();
      return;
    }
    if (message.sender_id === this.me) this.outbox.arrived(message);
    if (outcome === "known") return;
    this.typing.set(message.sender_id, false);
    this.runs.answered(message);
    this.#hasRead(message.sender_id, message.seq);
    if (!this.#open) this.log.trim(KEEP_CLOSED);
    this.#changed();
    this.dispatchEvent(new CustomEvent("arrival", { detail: message }));
  }

  /** Called by whoever shows the newest messages and not the old ones. */
  forgetOldest() {
    this.log.trim(KEEP_OPEN);
  }

  #hasRead(id, seq) {
    const member = this.members.get(id);
    if (!member || member.last_read_seq >= seq) return;
    member.last_read_seq = seq;
    this.#changed();
  }

  #channelChanged() {
    if (this.channel.state === "joined") {
      this.outbox.resend();
      if (this.#readSeq > (this.members.get(this.me)?.last_read_seq ?? 0)) {
        this.channel.push("read", { seq: this.#readSeq }).catch(() => {});
      }
      if (this.#open && this.log.messages.length < PAGE) this.loadOlder();
    } else if (this.channel.state !== "joining") {
      this.presence.clear();
      this.typing.clear();
    }
    this.#changed();
  }

  #outboxChanged() {
    this.outbox.arrivedUpTo(this.log.lastSeq);
    this.#changed();
  }

  #during(change) {
    change();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
