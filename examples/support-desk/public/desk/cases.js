/** The inbox as a list: those who wait for a person first. */
import { element, reconcile } from "../chat/dom.js";
import { QUEUE } from "../chat/state.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function showCases(list, entries, { states, me, people, open, choose }) {
  const waits = ({ key }) => states.get(key) === QUEUE;
  const sorted = [...entries.filter(waits), ...entries.filter((entry) => !waits(entry))];
  reconcile(list, sorted.map((entry) => {
    const { key, title, last_message, unread_count, mention_count } = entry;
    const handedTo = states.get(key);
    const [unread, mentions] = key === open ? [0, 0] : [unread_count, mention_count];
    const label = handedTo === QUEUE ? "Waiting" : handedTo === me ? "You" : handedTo ? people[handedTo] ?? handedTo : "Bot";
    const draw = () => {
      const button = element("button", { type: "button", class: "case-row", onclick: () => choose(key), "aria-current": key === open ? "true" : null },
        element("span", { class: "case-name" }, title),
        element("time", { class: "quiet" }, last_message ? TIME.format(new Date(last_message.created_at)) : ""),
        element("span", { class: "case-text quiet" }, last_message?.text ?? "Nothing said yet"),
        element("span", { class: "case-marks" },
          element("span", { class: `tag ${handedTo === QUEUE ? "waiting" : ""}` }, label),
          mentions > 0 && element("span", { class: "count mention" }, "@", element("span", { class: "unseen" }, " You are mentioned")),
          unread > 0 && element("span", { class: "count" }, String(unread), element("span", { class: "unseen" }, " unread"))));
      return element("li", {}, button);
    };
    const version = JSON.stringify([title, last_message, unread, mentions, label, key === open]);
    const update = (child) => {
      const [button] = child.children;
      const fresh = draw().firstElementChild;
      button.replaceChildren(...fresh.childNodes);
      if (key === open) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
      return true;
    };
    return { key, version, draw, update };
  }));
}
