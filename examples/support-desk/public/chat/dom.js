/** Elements. Whatever people and agents say is put in as text, never as HTML. */

export const find = (id) => document.getElementById(id);

/** An element with attributes and children: `element("p", { class: "quiet" }, "text")`. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute.startsWith("on")) made.addEventListener(attribute.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(attribute, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== false));
  return made;
}

/**
 * Make the children of `parent` those of `items`, in their order, and touch only what has changed: an item with the `key`
 * of one that is shown keeps its element; if its `version` is another one it is drawn again, unless its `update` can bring
 * the element up to date in place, so that what has the focus keeps it.
 */
export function reconcile(parent, items) {
  const shown = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const { key, version, draw, update } of items) {
    let child = shown.get(key);
    shown.delete(key);
    if (child && child.version !== version && update?.(child)) child.version = version;
    if (!child || child.version !== version) {
      const drawn = draw();
      drawn.dataset.key = key;
      drawn.version = version;
      if (child === place && child) place = child.nextElementSibling;
      child?.remove();
      child = drawn;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of shown.values()) gone.remove();
}
