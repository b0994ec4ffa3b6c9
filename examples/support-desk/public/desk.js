/** The desk's page: the inbox on the left, one case on the right. */
import { find } from "./chat/dom.js";
import { openCase } from "./desk/case.js";
import { caseStates } from "./desk/case-states.js";
import { showCases } from "./desk/cases.js";
import { begin, showConnection, showFailure } from "./session.js";

const as = new URLSearchParams(location.search).get("as") ?? "ada";

try {
  const { fleet, participant_id: me, people } = await begin(`/desk-session?as=${encodeURIComponent(as)}`);
  find("me").textContent = `You are ${people[me]}`;
  showConnection(fleet, find("connection"));
  openDesk(fleet, me, people);
} catch (error) {
  showFailure(find("no-cases"), error);
}

function openDesk(fleet, me, people) {
  const inbox = fleet.inbox();
  const states = caseStates(fleet, () => show());
  let open = null;
  const choose = (key) => {
    open?.close();
    const title = inbox.snapshot().conversations.find((entry) => entry.key === key)?.title;
    open = key === null ? null : openCase(fleet, key, { me, people, title, learned: (holder) => states.set(key, holder) });
    document.body.dataset.open = key ?? "";
    show();
  };
  const show = () => {
    const { conversations, unread } = inbox.snapshot();
    const cases = conversations.filter(({ key }) => key.startsWith("case-"));
    states.look(cases);
    showCases(find("cases"), cases, { states, me, people, open: open?.key ?? null, choose });
    find("no-cases").hidden = cases.length > 0 || inbox.snapshot().status !== "online";
    document.title = unread > 0 ? `(${unread}) Desk · Parcel Post` : "Desk · Parcel Post";
  };
  inbox.subscribe(show);
  find("back").addEventListener("click", () => {
    const { key } = open;
    choose(null);
    document.querySelector(`[data-key="${CSS.escape(key)}"] button`)?.focus();
  });
}
