/** The page's address: `?as=alice&in=alice:bob`. It makes the browser's back button and bookmarks work. */

/** @returns {string | null} the key of the conversation that is open; a dm's in its canonical form */
export function openKey() {
  const key = new URLSearchParams(location.search).get("in");
  return key && key.split(":").sort().join(":");
}

/** @param {string} id @param {string | null} key @returns {string} */
export function addressOf(id, key) {
  const parameters = [`as=${encodeURIComponent(id)}`];
  // A colon is allowed in a query, and alice:bob is easier to read than alice%3Abob.
  if (key) parameters.push(`in=${encodeURIComponent(key).replaceAll("%3A", ":")}`);
  return `${location.pathname}?${parameters.join("&")}`;
}

/**
 * @param {import("./identity.js").Identity} identity
 * @returns {string} where this participant's socket is
 */
export function socketAddress({ id, token }) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const credentials = token ? { token } : { participant_id: id };
  return `${scheme}://${location.host}/socket/websocket?${new URLSearchParams({ vsn: "2.0.0", ...credentials })}`;
}
