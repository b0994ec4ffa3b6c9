/** The head of the open conversation: its title, who is online, and the list of members. */
import { byId, dressAvatar, element, reconcile, setText } from "./dom.js";
import { dmPartner } from "./people.js";
import { counted } from "./text.js";

export class ConversationHead {
  #conversation = null;
  #entry = () => undefined;
  #members = byId("members");

  constructor() {
    document.addEventListener("click", (event) => {
      if (!this.#members.contains(event.target)) this.#members.open = false;
    });
    this.#members.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#members.open) return;
      event.stopPropagation();
      this.#members.open = false;
      this.#members.querySelector("summary").focus();
    });
  }

  /**
   * @param {import("./conversation.js").Conversation | null} conversation
   * @param {() => object | undefined} entry
   */
  show(conversation, entry) {
    this.#conversation = conversation;
    this.#entry = entry;
    this.#members.open = false;
    byId("members-list").replaceChildren();
  }

  render() {
    const conversation = this.#conversation;
    const partner = dmPartner(conversation.key, conversation.me);
    const { people } = conversation;
    setText(byId("conversation-title"), partner ? people.nameOf(partner) : this.#entry()?.title || conversation.key);
    setText(byId("conversation-subtitle"), this.#subtitle(conversation, partner));
    byId("conversation-badge").hidden = !partner || !people.isAgent(partner);
    // A dm's members are its two; there is nothing to list.
    this.#members.hidden = partner !== null || conversation.members.size === 0;
    setText(byId("members-summary"), counted(conversation.members.size, "member"));
    reconcile(byId("members-list"), this.#rows(conversation), createMember, updateMember);
  }

  #subtitle(conversation, partner) {
    const { channel, members, people, presence } = conversation;
    if (!conversation.known) return channel.state === "joining" ? "Opening" : "";
    if (partner) {
      if (people.isAgent(partner)) return "Answers when you write";
      return presence.has(partner) ? "Online" : "Offline";
    }
    const online = [...members.keys()].filter((id) => presence.has(id)).length;
    return `${conversation.key}, ${online} online`;
  }

  #rows({ members, people, presence, me }) {
    return [...members.values()].map(({ id, role }) => ({
      key: id,
      name: people.nameOf(id),
      isAgent: people.isAgent(id),
      online: presence.has(id),
      note: [id === me ? "you" : "", role && role !== "member" ? role : "", presence.has(id) ? "online" : ""]
        .filter(Boolean)
        .join(", "),
    }));
  }
}

function createMember() {
  const box = element("span", { class: "avatar-box" });
  box.append(element("span", { class: "avatar", "aria-hidden": "true" }), element("span", { class: "presence", "aria-hidden": "true" }));
  const badge = element("span", { class: "badge" }, "agent");
  return element("li", {}, box, element("span", { class: "member-name" }), badge, element("span", { class: "member-note" }));
}

function updateMember(node, { key, name, isAgent, online, note }) {
  dressAvatar(node.querySelector(".avatar"), key, name, isAgent);
  node.querySelector(".presence").hidden = !online;
  setText(node.querySelector(".member-name"), name);
  node.querySelector(".badge").hidden = !isAgent;
  setText(node.querySelector(".member-note"), note);
}
