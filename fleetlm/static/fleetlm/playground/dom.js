/** Building and keeping elements. Text only ever becomes text: nothing here parses HTML. */

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** @param {string} id of a template @returns {HTMLElement} a copy of its one element */
export function fromTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/** Set a text only where it differs, so that a screen reader hears of changes and of nothing else. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show text, or hide the element when there is none. */
export function showText(node, text) {
  setText(node, text);
  node.hidden = text === "";
}

/**
 * Make the children of `parent` be these rows, in this order, keeping the element of every key.
 * @template {{key: string}} Row
 * @param {HTMLElement} parent
 * @param {Row[]} rows
 * @param {(row: Row) => HTMLElement} create
 * @param {(node: HTMLElement, row: Row) => void} update
 */
export function reconcile(parent, rows, create, update) {
  const existing = new Map(Array.from(parent.children, (node) => [node.dataset.key, node]));
  const wanted = new Set(rows.map((row) => row.key));
  for (const [key, node] of existing) if (!wanted.has(key)) node.remove();
  let place = parent.firstElementChild;
  for (const row of rows) {
    const node = existing.get(row.key) ?? create(row);
    node.dataset.key = row.key;
    update(node, row);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
}

/** Run `draw` once per frame however often it is asked for; a hidden tab draws now and then. */
export function oncePerFrame(draw) {
  let due = false;
  const run = () => {
    due = false;
    draw();
  };
  return () => {
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}

const TONES = 6;

/** Dress an avatar: initials, and one of a few tones that stays the participant's. */
export function dressAvatar(node, id, name, isAgent) {
  const words = name.split(/[\s._@-]+/).filter(Boolean);
  const initials = words.length > 1 ? words[0][0] + words[1][0] : (words[0] ?? id).slice(0, 2);
  setText(node, initials.toUpperCase());
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  node.dataset.tone = String(sum % TONES);
  node.classList.toggle("is-agent", isAgent);
}
