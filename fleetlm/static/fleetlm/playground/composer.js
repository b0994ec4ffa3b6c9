/** The box at the bottom: Enter sends, Shift+Enter starts a new line; each conversation keeps its draft. */
import { byId } from "./dom.js";

const TALLEST_PX = 200;

export class Composer {
  #text = byId("composer-text");
  #form = byId("composer");
  #drafts = new Map();
  #conversation = null;

  /** @param {() => void} sent called after a message was handed over */
  constructor(sent) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#send()) sent();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes a word, Enter takes the word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#text.addEventListener("input", () => {
      this.#fit();
      this.#conversation?.ownTyping.keystroke(this.#text.value.trim() !== "");
    });
  }

  /** @param {import("./conversation.js").Conversation | null} conversation */
  show(conversation) {
    if (this.#conversation) this.#drafts.set(this.#conversation.key, this.#text.value);
    this.#conversation = conversation;
    this.#text.value = this.#drafts.get(conversation?.key) ?? "";
    this.#fit();
  }

  /** @param {boolean} usable whether this participant may write here */
  enable(usable) {
    this.#form.hidden = !usable;
  }

  focus() {
    this.#text.focus();
  }

  #send() {
    const text = this.#text.value.trim();
    if (!text || !this.#conversation) return false;
    this.#conversation.send(text);
    this.#text.value = "";
    this.#fit();
    return true;
  }

  #fit() {
    this.#text.style.height = "auto";
    const border = this.#text.offsetHeight - this.#text.clientHeight;
    this.#text.style.height = `${Math.min(TALLEST_PX, this.#text.scrollHeight + border)}px`;
  }
}
