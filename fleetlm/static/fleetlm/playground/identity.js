/** Who this tab is: from the address (`?as=alice`, `#token=…`), then from what the tab remembers. */
import { isParticipantId } from "./people.js";

const ID = "fleetlm.participant";
const TOKEN = "fleetlm.token";

/** @typedef {{id: string, token: string | null}} Identity */

/** @returns {Identity | null} */
export function currentIdentity() {
  takeTokenFromAddress();
  const token = sessionStorage.getItem(TOKEN);
  const subject = token && subjectOf(token);
  if (subject) return { id: subject, token };
  const offered = new URLSearchParams(location.search).get("as") ?? sessionStorage.getItem(ID);
  return offered && isParticipantId(offered) ? { id: offered, token: null } : null;
}

/** Remember for this tab. @param {string} id */
export function rememberIdentity(id) {
  sessionStorage.removeItem(TOKEN);
  sessionStorage.setItem(ID, id);
}

/** A token does not stay in the address, where it would be copied, bookmarked and photographed. */
function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  sessionStorage.setItem(TOKEN, token);
  history.replaceState(history.state, "", location.pathname + location.search);
}

/** The participant a JWT speaks for. It is not verified here; the server does that. */
function subjectOf(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const { sub } = JSON.parse(atob(payload));
    return isParticipantId(sub) ? sub : null;
  } catch {
    return null;
  }
}
