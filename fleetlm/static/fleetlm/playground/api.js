/** The one REST call that the playground makes. */

/**
 * Create a group; one that exists already is left as it is.
 * @param {{key: string, title: string, participants: string[]}} group
 * @param {string | null} token
 * @throws {Error} with a message for people
 */
export async function createGroup({ key, title, participants }, token) {
  const response = await fetch("/api/conversations", {
    method: "POST",
    // The token speaks, never a cookie of somebody who is also signed in to the admin.
    credentials: "omit",
    headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ key, kind: "group", title, participants }),
  }).catch(() => {
    throw new Error("The server cannot be reached.");
  });
  if (response.ok || response.status === 409) return;
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `The server answered ${response.status}.`);
}
