/** A conversation on the page: its log, what people are doing, and the place to write. */
import { composer } from "./composer.js";
import { element, reconcile } from "./dom.js";
import { itemsOf } from "./items.js";
import { keepInView } from "./scroll.js";

/**
 * Show a conversation in `parent`. `view`: `{me, notices, welcome?, suggestions?, mayWrite?()}`.
 * Returns `{show, close}`: look again whether one may write, and end it.
 */
export function openChat(parent, conversation, view) {
  const list = element("ol", { class: "messages" });
  const welcome = view.welcome ? welcomeOf(view, (text) => send(text)) : null;
  const log = element("div", { class: "log", role: "log", tabindex: "0", "aria-label": "Messages", "aria-live": "off" }, welcome ?? "", list);
  const typing = element("p", { class: "typing quiet" });
  const news = element("button", { type: "button", class: "news", hidden: true }, "New messages ↓");
  const said = element("p", { class: "unseen", role: "status" });
  const send = (text) => conversation.send(text).catch(() => {}); // a failed one is shown, with its reason
  const writing = composer({ send, typing: (on) => conversation.typing(on) });
  parent.replaceChildren(log, news, typing, writing.form, said);

  const view_ = { ...view, retry: (id) => conversation.retry(id), discard: (id) => conversation.discard(id), cancel: (id) => void conversation.cancel(id).catch(() => {}) };
  const scroll = keepInView(log, news, () => conversation.snapshot().has_more && conversation.loadOlder());
  const announce = announcer(said, view.me);

  const show = () => {
    const snapshot = conversation.snapshot();
    if (welcome) welcome.hidden = snapshot.messages.length + snapshot.pending.length > 0 || snapshot.status !== "online";
    scroll.around(() => reconcile(list, itemsOf(snapshot, view_)));
    typing.textContent = typingLine(snapshot);
    writing.allow(!snapshot.closed && (view.mayWrite?.() ?? true));
    announce(snapshot);
    readWhatIsSeen();
  };
  const readWhatIsSeen = () => {
    if (document.visibilityState === "visible") void conversation.read().catch(() => {});
  };
  document.addEventListener("visibilitychange", readWhatIsSeen);
  const unsubscribe = conversation.subscribe(show);
  show();
  const close = () => {
    unsubscribe();
    scroll.stop();
    document.removeEventListener("visibilitychange", readWhatIsSeen);
  };
  return { show, close };
}

function welcomeOf({ welcome, suggestions = [] }, send) {
  const buttons = suggestions.map((text) => element("button", { type: "button", class: "chip", onclick: () => send(text) }, text));
  return element("div", { class: "welcome", hidden: true },
    element("h2", {}, "How can we help?"), element("p", { class: "quiet" }, welcome), element("div", { class: "chips" }, ...buttons));
}

function typingLine({ typing, members, runs }) {
  const agents = new Set(runs.map(({ agent_id }) => agent_id)); // their answer can be seen growing
  const names = typing.filter((id) => !agents.has(id)).map((id) => members.find((member) => member.id === id)?.display_name || id);
  if (names.length === 0) return "";
  return names.length === 1 ? `${names[0]} is writing…` : `${names.join(" and ")} are writing…`;
}

/** Tells screen readers what others say, once it has been said: an answer that grows would be read out at every word. */
function announcer(status, me) {
  let told = null;
  return ({ messages, members }) => {
    const last = messages.at(-1);
    if (!last) return;
    if (told !== null && last.seq > told && last.sender_id !== me && last.text) {
      const name = members.find(({ id }) => id === last.sender_id)?.display_name || last.sender_id;
      status.textContent = `${name}: ${last.text}`;
    }
    told = last.seq;
  };
}
