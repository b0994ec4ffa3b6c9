/** The dialog that asks who you are. */
import { byId, element, setText } from "./dom.js";
import { isParticipantId } from "./people.js";

const SUGGESTIONS = ["alice", "bob", "carol"];
const RULE = "Use letters, digits and . _ @ - only, 128 at most.";

/**
 * @param {(id: string) => void} chosen
 * @returns {(current: string | null) => void} opens the dialog; without a current id it cannot be cancelled
 */
export function whoDialog(chosen) {
  const dialog = byId("who");
  const field = byId("who-id");
  let needed = false;
  const choose = (id) => {
    if (!isParticipantId(id)) {
      setText(byId("who-error"), RULE);
      field.focus();
      return;
    }
    needed = false;
    dialog.close();
    chosen(id);
  };
  for (const id of SUGGESTIONS) {
    const button = element("button", { type: "button", class: "button small" }, id);
    button.addEventListener("click", () => choose(id));
    byId("who-suggestions").append(button);
  }
  byId("who-form").addEventListener("submit", (event) => {
    event.preventDefault();
    choose(field.value.trim());
  });
  // An Escape would leave a page that belongs to nobody.
  dialog.addEventListener("close", () => needed && dialog.showModal());
  byId("who-cancel").addEventListener("click", () => dialog.close());
  return (current) => {
    field.value = current ?? "";
    setText(byId("who-error"), "");
    byId("who-cancel").hidden = current === null;
    needed = current === null;
    dialog.showModal();
    field.select();
  };
}
