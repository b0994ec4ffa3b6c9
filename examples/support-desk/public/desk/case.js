/** One case: who has it, taking it over and giving it back, and the conversation itself. */
import { openChat } from "../chat/chat.js";
import { find } from "../chat/dom.js";
import { holderOf, QUEUE } from "../chat/state.js";

/**
 * Open the case of this `key`. `learned` is told who has it, whenever that is another one than before.
 * Returns `{key, close}`.
 */
export function openCase(fleet, key, { me, people, title, learned }) {
  const conversation = fleet.conversation(key);
  const take = find("take");
  const holder = holderOf(conversation, () => {
    chat.show();
    show();
  });
  const chat = openChat(find("chat"), conversation, {
    me,
    notices: {
      waiting: () => "The bot has asked for a person.",
      taken: (name) => `${name} has taken over.`,
      returned: () => "The bot has the conversation again.",
    },
    mayWrite: () => holder() === me,
  });
  let shown; // who had it when it was last shown
  let asked = false; // to give it to another, and the log does not say so yet: a second press would undo the first

  const show = () => {
    const { members, present } = conversation.snapshot();
    const customer = members.find(({ id }) => id.startsWith("customer-"));
    const now = holder();
    find("case-title").textContent = customer?.display_name || title;
    const here = present.includes(customer?.id);
    find("presence").textContent = here ? "here now" : "away";
    find("presence").classList.toggle("here", here);
    take.hidden = now === undefined;
    if (now === undefined) return;
    find("case-state").textContent = who(now, me, people);
    take.textContent = now === me ? "Give back to the bot" : "Take over";
    take.classList.toggle("primary", now !== me);
    if (asked && now !== shown) {
      asked = false;
      if (now === me) find("text").focus();
    }
    shown = now;
    learned(now);
  };
  take.onclick = () => {
    if (asked) return;
    asked = true;
    conversation.handoff({ to: holder() === me ? null : me }).catch((error) => {
      asked = false;
      find("case-state").textContent = error.message;
    });
  };
  const unsubscribe = conversation.subscribe(show);
  find("case").hidden = false;
  find("no-case").hidden = true;
  show();
  find("case-title").focus();
  const close = () => {
    unsubscribe();
    chat.close();
    find("case").hidden = true;
    find("no-case").hidden = false;
  };
  return { key, close };
}

function who(holder, me, people) {
  if (holder === null) return "The bot answers";
  if (holder === QUEUE) return "Waits for a person";
  return holder === me ? "You answer" : `${people[holder] ?? holder} answers`;
}
