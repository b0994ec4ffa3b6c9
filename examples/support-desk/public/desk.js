/** The desk's page: the inbox on the left, one case on the right. */
import { openChat } from "./chat/chat.js";
import { stateOf } from "./chat/state.js";
import { caseStates } from "./desk/case-states.js";
import { showCases } from "./desk/cases.js";
import { begin, showConnection } from "./session.js";

const QUEUE = "waiting";
const find = (id) => document.getElementById(id);
const as = new URLSearchParams(location.search).get("as") ?? "ada";

try {
  const { fleet, participant_id: me, people } = await begin(`/desk-session?as=${encodeURIComponent(as)}`);
  find("me").textContent = `You are ${people[me]}`;
  showConnection(fleet, find("connection"));
  openDesk(fleet, me, people);
} catch (error) {
  find("me").textContent = error.message;
}

function openDesk(fleet, me, people) {
  const inbox = fleet.inbox();
  const states = caseStates(fleet, () => show());
  let open = null;
  const choose = (key) => {
    open?.close();
    open = key === null ? null : openCase(fleet, key, me, people, (handed_to) => states.set(key, handed_to));
    document.body.dataset.open = key ?? "";
    show();
  };
  const show = () => {
    const { conversations, unread } = inbox.snapshot();
    const cases = conversations.filter(({ key }) => key.startsWith("case-"));
    states.look(cases);
    showCases(find("cases"), cases, { states, me, people, open: open?.key ?? null, choose });
    find("no-cases").hidden = cases.length > 0 || inbox.snapshot().status !== "online";
    document.title = unread > 0 ? `(${unread}) Desk · Parcel Post` : "Desk · Parcel Post";
  };
  inbox.subscribe(show);
  find("back").addEventListener("click", () => {
    const { key } = open;
    choose(null);
    document.querySelector(`[data-key="${CSS.escape(key)}"] button`)?.focus();
  });
}

function openCase(fleet, key, me, people, learned) {
  const conversation = fleet.conversation(key);
  const closeChat = openChat(find("chat"), conversation, {
    me,
    notices: {
      waiting: () => "The bot has asked for a person.",
      taken: (name) => `${name} has taken over.`,
      returned: () => "The bot has the conversation again.",
    },
    mayWrite: ({ messages }) => stateOf(messages).handed_to === me,
  });
  const take = find("take");
  let handedTo = null;
  const show = () => {
    const snapshot = conversation.snapshot();
    const customer = snapshot.members.find(({ id }) => id.startsWith("customer-"));
    handedTo = stateOf(snapshot.messages).handed_to;
    find("case-title").textContent = customer?.display_name ?? key;
    const here = customer && snapshot.present.includes(customer.id) ? "here now" : "away";
    find("case-state").textContent = `${who(handedTo, me, people)} · customer is ${here}`;
    take.textContent = handedTo === me ? "Give back to the bot" : "Take over";
    take.classList.toggle("primary", handedTo !== me);
    learned(handedTo);
  };
  take.onclick = () => void conversation.handoff({ to: handedTo === me ? null : me }).then(() => find("text")?.focus(), () => {});
  const unsubscribe = conversation.subscribe(show);
  find("case").hidden = false;
  find("no-case").hidden = true;
  show();
  find("case-title").focus();
  const close = () => {
    unsubscribe();
    closeChat();
    find("case").hidden = true;
    find("no-case").hidden = false;
  };
  return { key, close };
}

function who(handedTo, me, people) {
  if (handedTo === null) return "The bot answers";
  if (handedTo === QUEUE) return "Waits for a person";
  return handedTo === me ? "You answer" : `${people[handedTo] ?? handedTo} answers`;
}
