/** The customer's page: one conversation. */
import { openChat } from "./chat/chat.js";
import { stateOf } from "./chat/state.js";
import { begin, showConnection } from "./session.js";

const QUEUE = "waiting";
const chat = document.getElementById("chat");

try {
  const { fleet, key, participant_id } = await begin("/session");
  showConnection(fleet, document.getElementById("connection"));
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
  conversation.subscribe(() => showWho(conversation.snapshot()));
} catch (error) {
  chat.textContent = error.message;
}

function showWho(snapshot) {
  const { handed_to } = stateOf(snapshot.messages);
  const name = snapshot.members.find(({ id }) => id === handed_to)?.display_name || handed_to;
  const who = handed_to === null ? "Shipping bot" : handed_to === QUEUE ? "Waiting for a person" : name;
  const here = handed_to && snapshot.present.includes(handed_to) ? " · here now" : "";
  document.getElementById("who").textContent = who + here;
}
