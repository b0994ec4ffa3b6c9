/** Answers while agents write them. */
import { dressAvatar, element, reconcile, setText } from "./dom.js";

/**
 * @param {HTMLElement} list
 * @param {import("./conversation.js").Conversation} conversation
 */
export function drawRuns(list, conversation) {
  const rows = conversation.runs.list().map((run) => ({ ...run, key: run.run_id }));
  reconcile(list, rows, createRun, (node, run) => updateRun(node, run, conversation.people));
}

function createRun(run) {
  const head = element("p", { class: "message-head" });
  head.append(element("b", { class: "message-sender" }), element("span", { class: "badge" }, "agent"));
  const bubble = element("div", { class: "bubble" }, element("p", { class: "message-text" }));
  const stop = element("button", { type: "button", class: "link" });
  const body = element("div", { class: "message-body" }, head, bubble, element("p", { class: "message-state" }, element("span"), stop));
  const avatar = element("span", { class: "avatar", "aria-hidden": "true" });
  return element("article", { class: "message run", "data-run": run.run_id }, avatar, body);
}

function updateRun(node, { agent_id, text, note, stopping }, people) {
  dressAvatar(node.querySelector(".avatar"), agent_id, people.nameOf(agent_id), true);
  setText(node.querySelector(".message-sender"), people.nameOf(agent_id));
  setText(node.querySelector(".message-text"), text);
  setText(node.querySelector(".message-state span"), note);
  node.classList.toggle("is-thinking", text === "");
  const stop = node.querySelector("button");
  setText(stop, stopping ? "Stopping" : "Stop");
  stop.disabled = stopping;
}
