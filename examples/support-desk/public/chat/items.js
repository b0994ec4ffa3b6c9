/** A conversation's snapshot as a list of what is shown, oldest first. */
import { element } from "./dom.js";
import { drawParts } from "./parts.js";
import { QUEUE } from "./state.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/** `view` is `{me, notices, retry, discard, cancel}`. */
export function itemsOf(snapshot, view) {
  const members = new Map(snapshot.members.map((member) => [member.id, member]));
  const context = { ...view, name: (id) => members.get(id)?.display_name || id, isAgent: (id) => members.get(id)?.kind === "agent" };
  const readBy = othersHaveReadTo(snapshot, view.me);
  const runs = new Set();
  const items = [];
  let day = null;
  for (const message of snapshot.messages) {
    if (message.kind === "redaction") continue;
    const sent = new Date(message.created_at);
    if (sent.toDateString() !== day) items.push(dayItem((day = sent.toDateString()), sent));
    items.push(message.kind === "system" ? noticeItem(message, context) : messageItem(message, context, runs, readBy));
  }
  for (const run of snapshot.runs) if (!runs.has(run.run_id)) items.push(runItem(run, context));
  for (const pending of snapshot.pending) items.push(pendingItem(pending, context));
  return items.filter((item) => item !== null);
}

/** The key of an item stays the same when a pending message is stored, and when a run becomes a message. */
function messageItem(message, context, runs, readBy) {
  const { run_id } = message.content;
  const isOfRun = run_id !== undefined && !runs.has(run_id);
  if (isOfRun) runs.add(run_id);
  const isMine = message.sender_id === context.me;
  const isRead = isMine && message.seq <= readBy;
  return {
    key: isOfRun ? `run ${run_id}` : isMine && message.client_id ? `sent ${message.client_id}` : `seq ${message.seq}`,
    version: `stored ${message.redacted ? "blanked" : ""} ${isRead} ${context.name(message.sender_id)}`,
    draw: () =>
      bubble({ isMine, isAgent: context.isAgent(message.sender_id), name: context.name(message.sender_id), seq: message.seq, state: message.content.status === "cancelled" && "stopped" },
        message.redacted ? [element("p", { class: "quiet" }, "Removed")] : drawParts(message.content.parts, message.text),
        element("time", { datetime: message.created_at }, TIME.format(new Date(message.created_at))),
        isMine && element("span", {}, isRead ? " · Read" : " · Sent")),
  };
}

function runItem(run, context) {
  const name = context.name(run.agent_id);
  const stop = () => context.cancel(run.run_id);
  const body = () => (run.to === 0 ? [thinking()] : drawParts(null, run.text, run.chunks));
  return {
    key: `run ${run.run_id}`,
    version: `live ${run.to}`,
    update: (child) => {
      if (child.dataset.state !== "live") return false;
      child.querySelector(".bubble").replaceChildren(...body());
      return true;
    },
    draw: () =>
      bubble({ isMine: false, isAgent: true, name, state: "live" }, body(),
        element("button", { type: "button", class: "link", onclick: stop, "aria-label": `Stop ${name}` }, "Stop")),
  };
}

function pendingItem(pending, context) {
  const failed = pending.status === "failed";
  return {
    key: `sent ${pending.client_id}`,
    version: `pending ${pending.status}`,
    draw: () =>
      bubble({ isMine: true, name: context.name(context.me), state: pending.status },
        [element("p", {}, pending.text)],
        element("span", {}, failed ? `Not sent: ${pending.error?.message ?? "unknown"} ` : "Sending…"),
        failed && element("button", { type: "button", class: "link", onclick: () => context.retry(pending.client_id) }, "Try again"),
        failed && element("button", { type: "button", class: "link", onclick: () => context.discard(pending.client_id) }, "Delete")),
  };
}

function noticeItem({ seq, content, text }, { notices, name }) {
  const said =
    content.event === "conversation.returned" ? notices.returned()
    : content.event !== "conversation.handed_over" ? text
    : content.to === QUEUE ? notices.waiting()
    : notices.taken(name(content.to));
  return { key: `seq ${seq}`, version: said, draw: () => element("li", { class: "notice", "data-seq": String(seq) }, said) };
}

function dayItem(day, date) {
  return { key: `day ${day}`, version: "", draw: () => element("li", { class: "day" }, DAY.format(date)) };
}

function bubble({ isMine, isAgent, name, seq, state }, body, ...foot) {
  const attributes = { class: `message ${isMine ? "mine" : isAgent ? "agent" : ""}`, "data-seq": seq === undefined ? null : String(seq), "data-state": state || null };
  return element("li", attributes,
    element("p", { class: "sender" }, name),
    element("div", { class: "bubble" }, ...body),
    element("p", { class: "foot quiet" }, ...foot));
}

function thinking() {
  const dots = element("p", { class: "thinking" }, element("span"), element("span"), element("span"));
  dots.setAttribute("role", "img");
  dots.setAttribute("aria-label", "is writing");
  return dots;
}

/** The seq up to which someone else has read. */
function othersHaveReadTo({ reads, members }, me) {
  const people = members.filter(({ id, kind }) => id !== me && kind === "user");
  return Math.max(0, ...people.map(({ id }) => reads[id] ?? 0));
}
