/** What the log shows, as plain data: messages, days between them, the new-messages line, receipts. */
import { dayName } from "./time.js";

/** Messages of one sender within this many milliseconds stand together under one name. */
const TOGETHER_MS = 5 * 60_000;

/**
 * @typedef {object} Row
 * @property {string} key stays the same while a pending message becomes a stored one
 * @property {"day" | "divider" | "system" | "message"} type
 * @property {string} [text]
 * @property {import("./log.js").Message} [message]
 * @property {boolean} [mine]
 * @property {boolean} [together] follows a message of the same sender
 * @property {"pending" | "sent" | "failed" | "stored"} [state]
 * @property {string} [reason]
 * @property {string[]} [seenBy] participant ids
 */

/**
 * @param {import("./conversation.js").Conversation} conversation
 * @param {number | null} newAfter the seq after which messages are new, if any are
 * @returns {Row[]}
 */
export function rowsOf(conversation, newAfter) {
  const { me, log, outbox } = conversation;
  const seen = receipts(conversation);
  const rows = [];
  let previous = null;
  let dividerDue = newAfter !== null;
  for (const message of log.messages) {
    if (message.kind === "redaction") continue;
    previous = pushDay(rows, previous, message);
    if (dividerDue && message.seq > newAfter) {
      rows.push({ key: "divider", type: "divider", text: "New messages" });
      dividerDue = false;
      previous = null;
    }
    if (message.kind === "system") {
      rows.push({ key: `s:${message.seq}`, type: "system", text: message.text, message });
      previous = null;
      continue;
    }
    const mine = message.sender_id === me;
    rows.push({
      key: mine && message.client_id ? `c:${message.client_id}` : `m:${message.seq}`,
      type: "message",
      message,
      mine,
      together: standsTogether(previous, message),
      state: "stored",
      seenBy: seen.get(message.seq) ?? [],
    });
    previous = message;
  }
  for (const item of outbox.items) {
    const message = { ...item, sender_id: me, mentions: [], reply_to: null, kind: "text" };
    previous = pushDay(rows, previous, message);
    rows.push({
      key: `c:${item.client_id}`,
      type: "message",
      message,
      mine: true,
      together: standsTogether(previous, message),
      state: item.state,
      reason: item.reason,
      seenBy: [],
    });
    previous = message;
  }
  return rows;
}

/** Push the line of a new day; what follows it never stands together with what came before. */
function pushDay(rows, previous, message) {
  const day = dayName(message.created_at);
  if (rows.day === day) return previous;
  rows.day = day;
  rows.push({ key: `d:${day}`, type: "day", text: day });
  return null;
}

function standsTogether(previous, message) {
  if (!previous || previous.sender_id !== message.sender_id || message.reply_to) return false;
  return Math.abs(Date.parse(message.created_at) - Date.parse(previous.created_at)) < TOGETHER_MS;
}

/** Under which of our messages each other member's receipt stands: the newest of ours that they read. */
function receipts({ me, log, members }) {
  const mine = log.messages.filter((message) => message.sender_id === me && message.kind !== "redaction");
  const seen = new Map();
  for (const member of members.values()) {
    if (member.id === me) continue;
    const last = mine.findLast((message) => message.seq <= member.last_read_seq);
    if (last) seen.set(last.seq, [...(seen.get(last.seq) ?? []), member.id]);
  }
  return seen;
}
