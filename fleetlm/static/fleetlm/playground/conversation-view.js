/** The open conversation on the screen: its log, the line of new messages, reading and scrolling. */
import { Composer } from "./composer.js";
import { ConversationHead } from "./conversation-head.js";
import { byId, oncePerFrame, reconcile, setText, showText } from "./dom.js";
import { createRow, updateRow } from "./message-view.js";
import { rowsOf } from "./rows.js";
import { drawRuns } from "./run-view.js";
import { Scroll } from "./scroll.js";
import { counted, listOf } from "./text.js";

/** How long after a page of history the log is announced again. */
const QUIET_MS = 500;

export class ConversationView {
  #conversation = null;
  #composer = new Composer(() => this.#sent());
  #scroll = new Scroll(byId("scroller"), {
    moved: () => this.#draw(),
    nearTop: () => this.#conversation?.loadOlder(),
  });
  #head = new ConversationHead();
  #draw = oncePerFrame(() => this.#render());
  #redraw = () => this.#draw();
  #arrival = (event) => this.#arrived(event.detail);
  /** The seq after which messages are new; null while there is no line to show. */
  #newAfter = null;
  #placed = false;
  #unseen = 0;
  #shownFirst = 0;
  #calmTimer = 0;

  constructor() {
    document.addEventListener("visibilitychange", this.#redraw);
    byId("older").addEventListener("click", () => this.#conversation?.loadOlder(true));
    byId("jump").addEventListener("click", () => this.#jump());
    byId("refusal-retry").addEventListener("click", () => this.#conversation?.join());
    byId("log").addEventListener("click", (event) => this.#act(event));
    byId("runs").addEventListener("click", (event) => {
      const run = event.target.closest("[data-run]");
      if (run && event.target.closest("button")) this.#conversation.cancel(run.dataset.run);
    });
  }

  /**
   * @param {import("./conversation.js").Conversation | null} conversation
   * @param {() => object | undefined} entry gives the conversation's inbox entry, for its title
   */
  show(conversation, entry) {
    const before = this.#conversation;
    before?.removeEventListener("change", this.#redraw);
    before?.removeEventListener("arrival", this.#arrival);
    before?.setOpen(false);
    this.#conversation = conversation;
    this.#newAfter = null;
    this.#placed = false;
    this.#unseen = 0;
    this.#shownFirst = 0;
    byId("log").replaceChildren();
    byId("conversation").hidden = conversation === null;
    byId("nothing-open").hidden = conversation !== null;
    this.#composer.show(conversation);
    this.#head.show(conversation, entry);
    if (!conversation) return;
    this.#scroll.follow();
    conversation.addEventListener("change", this.#redraw);
    conversation.addEventListener("arrival", this.#arrival);
    conversation.setOpen(true);
    conversation.join();
    this.#render();
  }

  /** Draw again, for what changed elsewhere (names, titles). */
  refresh() {
    this.#draw();
  }

  focus() {
    this.#composer.focus();
  }

  get #seeing() {
    return !document.hidden && this.#scroll.following;
  }

  #arrived(message) {
    if (message.sender_id === this.#conversation.me || this.#seeing) return;
    this.#unseen += 1;
    this.#newAfter ??= message.seq - 1;
  }

  #sent() {
    this.#newAfter = null;
    this.#scroll.follow();
    this.#draw();
  }

  #jump() {
    this.#scroll.follow();
    this.#draw();
    this.#composer.focus();
  }

  #act(event) {
    const action = event.target.closest("[data-action]")?.dataset.action;
    const key = event.target.closest(".message")?.dataset.key;
    if (!action) return;
    const clientId = key.slice(2);
    if (action === "retry") this.#conversation.outbox.retry(clientId);
    else this.#conversation.outbox.discard(clientId);
    this.#composer.focus();
  }

  /** Once what was unread is known, the line goes before the first of it. */
  #place(conversation) {
    if (this.#placed || !conversation.known) return;
    this.#placed = true;
    const { log, me, readSeq } = conversation;
    const unread = log.messages.some((message) => message.seq > readSeq && message.sender_id !== me);
    if (unread) this.#newAfter = readSeq;
  }

  #render() {
    const conversation = this.#conversation;
    if (!conversation) return;
    this.#place(conversation);
    if (this.#scroll.following) conversation.forgetOldest();
    const log = byId("log");
    this.#hush(log, conversation.log.firstSeq);
    this.#scroll.keep(() => {
      reconcile(log, rowsOf(conversation, this.#newAfter), createRow, (node, row) => updateRow(node, row, conversation));
      drawRuns(byId("runs"), conversation);
      byId("older").hidden = !conversation.log.hasOlder;
      byId("older").disabled = conversation.paging;
      setText(byId("older"), conversation.paging ? "Loading" : "Load earlier messages");
      byId("beginning").hidden = !conversation.known || conversation.log.hasOlder;
    });
    this.#head.render();
    this.#renderBelow(conversation);
    if (this.#seeing) {
      this.#unseen = 0;
      conversation.markRead();
    }
  }

  /** A page of history is not news: a screen reader skips what changes while the log is busy. */
  #hush(log, firstSeq) {
    if (firstSeq === this.#shownFirst) return;
    this.#shownFirst = firstSeq;
    log.setAttribute("aria-busy", "true");
    clearTimeout(this.#calmTimer);
    this.#calmTimer = setTimeout(() => log.setAttribute("aria-busy", "false"), QUIET_MS);
  }

  #renderBelow(conversation) {
    const { channel, people, typing } = conversation;
    const names = typing.ids().map((id) => people.nameOf(id));
    setText(byId("typing"), names.length ? `${listOf(names)} ${names.length === 1 ? "is" : "are"} typing` : "");
    showText(byId("jump"), this.#scroll.following ? "" : this.#jumpText());
    const refused = channel.state === "refused" || channel.state === "closed";
    byId("refusal").hidden = !refused;
    setText(byId("refusal-text"), refused ? (channel.refusal?.message ?? "This conversation was closed for you.") : "");
    this.#composer.enable(!refused);
  }

  #jumpText() {
    return this.#unseen > 0 ? `${counted(this.#unseen, "new message")} below` : "Go to the newest";
  }
}
