/**
 * Who has each case: its bot (null) or a person. An inbox entry does not say so; the conversation does. It is asked for when a case
 * is first seen, and when its log has moved on by something that may have been a handover.
 */
export function caseStates(fleet, changed) {
  const known = new Map(); // key → {seq, handed_to}

  const set = (key, handed_to) => {
    const case_ = known.get(key);
    if (!case_ || case_.handed_to === handed_to) return;
    known.set(key, { ...case_, handed_to });
    queueMicrotask(changed);
  };
  const ask = (key) =>
    fleet.conversation(key).info().then((info) => set(key, info.handed_to), () => known.delete(key));

  return {
    get: (key) => known.get(key)?.handed_to ?? null,
    set,
    look(entries) {
      for (const { key, last_message } of entries) {
        const seq = last_message?.seq ?? 0;
        const before = known.get(key);
        if (before?.seq === seq) continue;
        const plain = before && seq === before.seq + 1 && last_message.sender_id !== "system";
        known.set(key, { handed_to: before?.handed_to ?? null, seq });
        if (!plain) void ask(key);
      }
    },
  };
}
