/** One row of the log as an element. */
import { dressAvatar, element, fromTemplate, setText, showText } from "./dom.js";
import { listOf, textNodes } from "./text.js";
import { clock, full } from "./time.js";

const STATES = { pending: "Sending", sent: "", stored: "" };

/**
 * @param {import("./rows.js").Row} row
 * @returns {HTMLElement}
 */
export function createRow(row) {
  if (row.type === "message") return fromTemplate("message-template");
  return element("p", { class: row.type }, element("span", {}, row.text));
}

/**
 * @param {HTMLElement} node
 * @param {import("./rows.js").Row} row
 * @param {import("./conversation.js").Conversation} conversation
 */
export function updateRow(node, row, conversation) {
  if (row.type !== "message") {
    setText(node.firstElementChild, row.text);
    return;
  }
  const name = conversation.people.nameOf(row.message.sender_id);
  const isAgent = conversation.people.isAgent(row.message.sender_id);
  const shown = JSON.stringify([row, name, isAgent]);
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  node.classList.toggle("mine", row.mine);
  node.classList.toggle("together", row.together);
  node.dataset.state = row.state;
  drawHead(node, row, name, isAgent);
  drawText(node, row, conversation);
  drawState(node, row);
  showText(node.querySelector(".receipt"), receiptText(row, conversation));
}

function drawHead(node, { message, mine }, name, isAgent) {
  dressAvatar(node.querySelector(".avatar"), message.sender_id, name, isAgent);
  setText(node.querySelector(".message-sender"), mine ? "You" : name);
  node.querySelector(".badge").hidden = !isAgent;
  const time = node.querySelector(".message-time");
  setText(time, clock(message.created_at));
  time.dateTime = message.created_at;
  time.title = message.seq ? `${full(message.created_at)}, number ${message.seq}` : full(message.created_at);
}

function drawText(node, { message }, conversation) {
  const text = node.querySelector(".message-text");
  const removed = message.redacted || message.metadata?.redacted;
  text.classList.toggle("removed", Boolean(removed));
  if (removed) setText(text, "This message was removed");
  else text.replaceChildren(...textNodes(message.text || contentText(message), message.mentions ?? [], conversation.me));
  showText(node.querySelector(".quote"), quoteText(message, conversation));
}

/** A message may hold no text but only content for programs. */
function contentText({ kind, content }) {
  return content && Object.keys(content).length > 0 ? `${kind}: ${JSON.stringify(content)}` : "";
}

function quoteText(message, { log, people }) {
  const target = message.reply_to && log.find(message.reply_to);
  return target ? `${people.nameOf(target.sender_id)}: ${target.text.slice(0, 140)}` : "";
}

function drawState(node, { state, reason }) {
  const line = node.querySelector(".message-state");
  const failed = state === "failed";
  setText(line.firstElementChild, failed ? `Not sent. ${reason}` : (STATES[state] ?? ""));
  for (const button of line.querySelectorAll("button")) button.hidden = !failed;
  line.hidden = state === "stored" || state === "sent";
}

function receiptText({ seenBy }, { members, people }) {
  if (!seenBy?.length) return "";
  return members.size === 2 ? "Seen" : `Seen by ${listOf(seenBy.map((id) => people.nameOf(id)))}`;
}
