/** A message's text as nodes: web addresses become links, mentions are marked, the rest is plain text. */
import { element } from "./dom.js";

const PARTS = /(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]'])|(@[A-Za-z0-9._@-]+)/g;

/**
 * @param {string} text
 * @param {string[]} mentions participant ids
 * @param {string} me
 * @returns {(Node | string)[]}
 */
export function textNodes(text, mentions, me) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(PARTS)) {
    const node = match[1] ? link(match[1]) : mention(match[2], mentions, me);
    if (!node) continue;
    nodes.push(text.slice(end, match.index), node);
    end = match.index + node.textContent.length;
  }
  nodes.push(text.slice(end));
  return nodes;
}

function link(address) {
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, address);
}

function mention(word, mentions, me) {
  // A mention may be followed by the full stop of its sentence, which an id may hold too.
  const id = [word.slice(1), word.slice(1).replace(/[.-]+$/, "")].find((candidate) => mentions.includes(candidate));
  return id && element("mark", { class: id === me ? "mention of-me" : "mention" }, `@${id}`);
}

/** Names as a sentence has them. @param {string[]} names @returns {string} */
export function listOf(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** @param {number} count @param {string} noun @returns {string} */
export function counted(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
