/** The state of the connection in words: a quiet word while it is live, a line on top while it is not. */
import { byId, setText } from "./dom.js";

const WORDS = { connecting: "Connecting", live: "Live", waiting: "Reconnecting", stopped: "Not connected" };
/** A loss that is mended sooner than this is not worth a line on top. */
const PATIENCE_MS = 400;

/** @param {import("./socket.js").Socket} socket */
export function showConnection(socket) {
  let troubledSince = Date.now();
  const draw = () => {
    const { name, reason, retryAt } = socket.state;
    if (name === "live") troubledSince = 0;
    else if (troubledSince === 0) troubledSince = Date.now();
    document.documentElement.dataset.connection = name;
    setText(byId("connection"), WORDS[name]);
    const trouble = troubledSince > 0 && Date.now() - troubledSince >= PATIENCE_MS;
    byId("banner").hidden = !trouble;
    if (!trouble) return;
    setText(byId("banner-reason"), reason || WORDS[name]);
    // The seconds stand outside of the status, which a screen reader would read out at every one of them.
    setText(byId("banner-countdown"), countdown(name, retryAt));
    byId("banner-retry").hidden = name === "connecting";
  };
  byId("banner-retry").addEventListener("click", () => socket.connect());
  socket.addEventListener("state", draw);
  setInterval(draw, 250);
  draw();
}

function countdown(name, retryAt) {
  if (name === "connecting") return "Connecting";
  if (name !== "waiting") return "";
  return `Reconnecting in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))} s`;
}
