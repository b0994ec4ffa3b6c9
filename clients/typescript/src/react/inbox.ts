/** The inbox in a component. */
import { useMemo, useSyncExternalStore } from "react";
import type { InboxSnapshot } from "../types.js";
import { useFleetLM } from "./provider.js";

/** One's own conversations, newest first, with what is unread. It is joined while a component uses it. */
export function useInbox(): InboxSnapshot {
  const fleet = useFleetLM();
  const inbox = useMemo(() => fleet.inbox(), [fleet]);
  return useSyncExternalStore(inbox.subscribe, inbox.snapshot, inbox.snapshot);
}
