/** The inbox on the screen: links that the arrow keys move through. */
import { addressOf } from "./address.js";
import { byId, dressAvatar, fromTemplate, oncePerFrame, reconcile, setText, showText } from "./dom.js";
import { dmPartner } from "./people.js";
import { brief, full } from "./time.js";

const STEPS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

export class InboxView {
  #list = byId("inbox");
  #inbox;
  #conversations;
  #people;
  #me;
  #current = null;

  /**
   * @param {import("./inbox.js").Inbox} inbox
   * @param {import("./conversations.js").Conversations} conversations
   * @param {(key: string) => void} open
   */
  constructor(inbox, conversations, open) {
    this.#inbox = inbox;
    this.#conversations = conversations;
    this.#people = conversations.people;
    this.#me = conversations.me;
    const draw = oncePerFrame(() => this.#render());
    for (const source of [inbox, conversations, this.#people]) source.addEventListener("change", draw);
    this.#list.addEventListener("keydown", (event) => this.#step(event));
    this.#list.addEventListener("focusin", (event) => this.#rove(event.target));
    this.#list.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      // A click that asks for a new tab is the browser's.
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(link.parentElement.dataset.key);
    });
  }

  /** @param {string | null} key the conversation that is open */
  mark(key) {
    this.#current = key;
    this.#render();
  }

  /** Put the focus where the arrow keys work. */
  focus() {
    (this.#links().find((link) => link.tabIndex === 0) ?? byId("start-button")).focus();
  }

  #render() {
    const entries = this.#inbox.entries();
    showText(byId("inbox-refusal"), this.#inbox.channel.refusal?.message ?? "");
    byId("inbox-empty").hidden = !this.#inbox.known || entries.length > 0;
    // Moving an element takes the focus from it.
    const focused = document.activeElement?.closest("#inbox li")?.dataset.key;
    reconcile(this.#list, entries.map((entry) => ({ ...entry })), () => fromTemplate("entry-template"), (node, entry) =>
      this.#update(node, entry),
    );
    const links = this.#links();
    if (focused) this.#list.querySelector(`li[data-key="${CSS.escape(focused)}"] a`)?.focus();
    if (links.length > 0 && !links.some((link) => link.tabIndex === 0)) links[0].tabIndex = 0;
    const unread = this.#inbox.unread();
    document.title = `${unread > 0 ? `(${unread}) ` : ""}FleetLM playground`;
  }

  #update(node, entry) {
    const link = node.querySelector("a");
    const partner = dmPartner(entry.key, this.#me);
    const name = partner ? this.#people.nameOf(partner) : entry.title || entry.key;
    const isAgent = partner !== null && this.#people.isAgent(partner);
    link.href = addressOf(this.#me, entry.key);
    if (entry.key === this.#current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.classList.toggle("has-unread", entry.unread_count > 0);
    link.classList.toggle("is-muted", entry.muted);
    dressAvatar(node.querySelector(".avatar"), partner ?? entry.key, name, isAgent);
    node.querySelector(".presence").hidden = !partner || !this.#conversations.isOnline(entry.key, partner);
    node.querySelector(".badge").hidden = !isAgent;
    setText(node.querySelector(".entry-title"), name);
    setText(node.querySelector(".entry-preview"), this.#preview(entry, partner));
    drawTime(node.querySelector(".entry-time"), entry.last_message?.created_at);
    drawCount(node.querySelector(".mentions"), entry.mention_count, "mentions of you", "@");
    drawCount(node.querySelector(".unread"), entry.unread_count, "unread", "");
  }

  #preview({ key, last_message: last }, partner) {
    const typing = this.#conversations.typing(key);
    if (typing.length > 0) return partner ? "is typing" : `${this.#people.nameOf(typing[0])} is typing`;
    if (!last) return "No messages yet";
    if (last.sender_id === this.#me) return `You: ${last.text}`;
    return partner ? last.text : `${this.#people.nameOf(last.sender_id)}: ${last.text}`;
  }

  #step(event) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const links = this.#links();
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
  }

  /** One link of the list is reached by Tab, the others by the arrow keys. */
  #rove(target) {
    for (const link of this.#links()) link.tabIndex = link === target ? 0 : -1;
  }

  #links() {
    return [...this.#list.querySelectorAll("a")];
  }
}

function drawTime(node, iso) {
  setText(node, iso ? brief(iso) : "");
  if (!iso) return;
  node.dateTime = iso;
  node.title = full(iso);
}

function drawCount(node, count, meaning, sign) {
  showText(node, count > 0 ? `${sign}${count > 99 ? "99+" : count}` : "");
  node.setAttribute("aria-label", `${count} ${meaning}`);
}
