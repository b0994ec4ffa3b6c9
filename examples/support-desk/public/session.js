/** A session of this page: who one is, and a FleetLM client that renews its token by itself. */
import { element } from "./chat/dom.js";
import { FleetLM } from "./sdk.js";

/** Begin one at our own server. Returns its answer and the client. */
export async function begin(path) {
  let session = await ask(path);
  let fresh = true;
  const fleet = new FleetLM({
    url: session.url,
    token: async () => {
      if (!fresh) session = await ask(path);
      fresh = false;
      return session.token;
    },
  });
  return { ...session, fleet };
}

async function ask(path) {
  const response = await fetch(path, { method: "POST" }).catch(() => null);
  const answer = await response?.json().catch(() => null);
  if (!response?.ok || !answer) throw new Error(answer?.error?.message ?? "The support desk cannot be reached.");
  return answer;
}

/** Say in `parent` why there is no session, with a way out. */
export function showFailure(parent, error) {
  const again = element("button", { type: "button", class: "button primary", onclick: () => location.reload() }, "Try again");
  parent.hidden = false;
  parent.replaceChildren(element("div", { class: "failure", role: "alert" }, element("p", {}, error.message), again));
}

const SAID = {
  idle: "",
  connecting: "Connecting…",
  online: "",
  offline: "Offline. What you write is sent as soon as you are back.",
  refused: "You have been signed out. Reload the page.",
  closed: "",
};
const CALM_MS = 1_200; // a connection that is back so soon is not worth a word

/** Show how it stands with the connection, once it has stood so for a moment. */
export function showConnection(fleet, element) {
  let timer;
  const show = (status) => {
    clearTimeout(timer);
    const say = () => (element.textContent = SAID[status]);
    if (SAID[status]) timer = setTimeout(say, CALM_MS);
    else say();
  };
  fleet.on("status", show);
  show(fleet.status);
}
