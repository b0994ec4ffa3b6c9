/** The page: who you are, your inbox, the open conversation, and the keys that lead from one to another. */
import { addressOf, openKey, socketAddress } from "./address.js";
import { showConnection } from "./connection-view.js";
import { ConversationView } from "./conversation-view.js";
import { Conversations } from "./conversations.js";
import { byId, dressAvatar, setText } from "./dom.js";
import { currentIdentity, rememberIdentity } from "./identity.js";
import { InboxView } from "./inbox-view.js";
import { Inbox } from "./inbox.js";
import { dmKey, People } from "./people.js";
import { Socket } from "./socket.js";
import { startDialog } from "./start-dialog.js";
import { whoDialog } from "./who-dialog.js";

const DEMO_AGENT = "echo-bot";

const askWho = whoDialog((id) => {
  rememberIdentity(id);
  // A new page for a new participant: nothing of the one before stays in memory.
  location.assign(addressOf(id, null));
});

const identity = currentIdentity();
if (identity) begin(identity);
else askWho(null);

function begin(identity) {
  const { id: me, token } = identity;
  if (!token) rememberIdentity(me);
  const socket = new Socket(() => socketAddress(identity));
  const people = new People();
  const inbox = new Inbox(socket, me);
  const conversations = new Conversations(socket, me, people);
  const view = new ConversationView();
  const inboxView = new InboxView(inbox, conversations, open);

  function open(key) {
    history.pushState(null, "", addressOf(me, key));
    show(key);
    view.focus();
  }

  function close() {
    history.pushState(null, "", addressOf(me, null));
    show(null);
    inboxView.focus();
  }

  function show(key) {
    byId("app").dataset.view = key ? "conversation" : "inbox";
    view.show(key ? conversations.open(key) : null, () => inbox.entry(key));
    inboxView.mark(key);
  }

  inbox.addEventListener("change", () => {
    conversations.watch(inbox.entries().map((entry) => entry.key));
    view.refresh();
  });
  people.addEventListener("change", () => view.refresh());
  drawIdentity(me);
  const start = startDialog(identity, open);
  byId("start-button").addEventListener("click", start);
  byId("switch-button").addEventListener("click", () => askWho(me));
  byId("echo-button").addEventListener("click", () => open(dmKey(me, DEMO_AGENT)));
  byId("back").addEventListener("click", close);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && openKey() && !document.querySelector("dialog[open]") && !event.isComposing) close();
  });
  addEventListener("popstate", () => show(openKey()));
  history.replaceState(null, "", addressOf(me, openKey()));
  byId("app").hidden = false;
  showConnection(socket);
  inbox.channel.join();
  socket.connect();
  show(openKey());
}

function drawIdentity(me) {
  dressAvatar(byId("me-avatar"), me, me, false);
  setText(byId("me-name"), me);
  const other = me === "bob" ? "alice" : "bob";
  setText(byId("second-tab").querySelector("b"), other);
  byId("second-tab").href = addressOf(other, null);
}
