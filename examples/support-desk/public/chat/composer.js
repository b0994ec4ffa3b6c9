/** Where one writes: Enter sends, Shift and Enter begins a line. */
import { element } from "./dom.js";

const TALLEST = 160; // pixels

/** `{form, allow}`; `allow(false)` takes it off the page. */
export function composer({ send, typing }) {
  const field = element("textarea", { id: "text", rows: "1", placeholder: "Write a message", "aria-label": "Your message", maxlength: "8000", enterkeyhint: "send", autocomplete: "off" });
  const button = element("button", { class: "send", type: "submit", "aria-label": "Send" }, arrow());
  const form = element("form", { class: "composer" }, field, button);
  const fit = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, TALLEST)}px`;
  };
  field.addEventListener("input", () => {
    fit();
    typing(field.value !== "");
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    fit();
    send(text);
    field.focus();
  });
  return { form, allow: (may) => (form.hidden = !may) };
}

function arrow() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M12 19V5m-6 6 6-6 6 6");
  svg.append(path);
  return svg;
}
