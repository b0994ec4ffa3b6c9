/** A session of this page: who one is, and a FleetLM client that renews its token by itself. */
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
  const response = await fetch(path, { method: "POST" });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
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
