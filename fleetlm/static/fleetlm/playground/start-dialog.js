/** The dialog that starts a conversation: a dm with one, or a group of several. */
import { createGroup } from "./api.js";
import { byId, setText } from "./dom.js";
import { dmKey, isParticipantId } from "./people.js";

/**
 * @param {import("./identity.js").Identity} identity
 * @param {(key: string) => void} open
 * @returns {() => void} opens the dialog
 */
export function startDialog({ id: me, token }, open) {
  const dialog = byId("start");
  const form = byId("start-form");
  const submit = form.querySelector("[type=submit]");
  const choose = () => {
    for (const part of form.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== form.elements.kind.value;
    setText(byId("start-error"), "");
  };
  form.addEventListener("change", choose);
  byId("start-cancel").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setText(byId("start-error"), "");
    submit.disabled = true;
    try {
      const key = form.elements.kind.value === "dm" ? readDm(me) : await makeGroup(me, token);
      dialog.close();
      open(key);
    } catch (error) {
      setText(byId("start-error"), error.message);
    }
    submit.disabled = false;
  });
  return () => {
    form.reset();
    choose();
    dialog.showModal();
    byId("start-with").focus();
  };
}

/** `bob`, or the whole key `alice:bob` in either order. */
function readDm(me) {
  const parts = byId("start-with").value.trim().split(":");
  const others = parts.filter((id) => id !== me);
  if (parts.length > 2 || others.length !== 1) throw new Error("Name one participant other than yourself.");
  return dmKey(me, checked(others[0], "a participant id"));
}

async function makeGroup(me, token) {
  const key = checked(byId("start-key").value.trim(), "a key");
  const others = byId("start-members").value.split(/[\s,]+/).filter(Boolean);
  for (const id of others) checked(id, "a participant id");
  const participants = [...new Set([me, ...others])];
  await createGroup({ key, title: byId("start-heading").value.trim(), participants }, token);
  return key;
}

function checked(value, what) {
  if (isParticipantId(value)) return value;
  const given = value === "" ? "Nothing" : `“${value}”`;
  throw new Error(`${given} is not ${what}: use letters, digits and . _ @ - only, 128 at most.`);
}
