/** Times as people write them, in the browser's own language and zone. */

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const SHORT_WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const SHORT_DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** @param {string} iso @returns {string} 14:03 */
export function clock(iso) {
  return CLOCK.format(new Date(iso));
}

/** @param {string} iso @returns {string} the whole of it, for a tooltip */
export function full(iso) {
  return FULL.format(new Date(iso));
}

/** @param {string} iso @returns {string} Today, Yesterday, Monday, 3 May 2026 */
export function dayName(iso, now = new Date()) {
  const days = daysAgo(new Date(iso), now);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? WEEKDAY.format(new Date(iso)) : DATE.format(new Date(iso));
}

/** @param {string} iso @returns {string} as short as an inbox wants it */
export function brief(iso, now = new Date()) {
  const days = daysAgo(new Date(iso), now);
  if (days <= 0) return clock(iso);
  if (days === 1) return "Yesterday";
  return (days < 7 ? SHORT_WEEKDAY : SHORT_DATE).format(new Date(iso));
}

function daysAgo(then, now) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  return Math.round((midnight(now) - midnight(then)) / 86_400_000);
}
