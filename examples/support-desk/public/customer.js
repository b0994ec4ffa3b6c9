/** The customer's page: one conversation. */
import { openChat } from "./chat/chat.js";
import { find } from "./chat/dom.js";
import { holderOf, QUEUE } from "./chat/state.js";
import { begin, showConnection, showFailure } from "./session.js";

const chat = find("chat");

try {
  const { fleet, key, participant_id } = await begin("/session");
  showConnection(fleet, find("connection"));
  const conversation = fleet.conversation(key);
  openChat(chat, conversation, {
    me: participant_id,
    notices: {
      waiting: () => "You are in the queue. A person will be with you shortly.",
      taken: (name) => `${name} is with you now.`,
      returned: () => "The shipping bot is back.",
    },
    welcome: "Hello! Send a parcel's number to see where it is, or ask for a person.",
    suggestions: ["Where is parcel 4711?", "I'd like to talk to a person"],
  });
  const show = () => showWho(conversation.snapshot(), holder());
  const holder = holderOf(conversation, show);
  conversation.subscribe(show);
} catch (error) {
  showFailure(chat, error);
}

function showWho({ members, present }, holder) {
  const name = members.find(({ id }) => id === holder)?.display_name || holder;
  const who = !holder ? "Shipping bot" : holder === QUEUE ? "Waiting for a person" : name;
  const here = present.includes(holder) ? " · here now" : "";
  find("who").textContent = who + here;
}
