/** Who has it while a customer waits for a person. */
export const QUEUE = "waiting";

/**
 * Who has a conversation. FleetLM writes each handover into the log as a system message, so that the log says it; only when
 * none is among the messages that are loaded the server is asked, and `changed` is called once it has answered.
 *
 * Returns what tells: a person's id, null while the bot has it, undefined while that is not known yet.
 */
export function holderOf(conversation, changed) {
  let asked; // for which page of the log
  let answer;

  const ask = (page) => {
    asked = page;
    answer = undefined;
    conversation.info().then(
      ({ handed_to }) => {
        answer = handed_to;
        changed();
      },
      () => (asked = undefined),
    );
  };

  return () => {
    const { messages, has_more, epoch } = conversation.snapshot();
    const said = lastHandover(messages);
    if (said !== undefined) return said;
    if (epoch === null) return undefined;
    if (!has_more) return null;
    const page = `${epoch} ${messages[0]?.seq}`;
    if (page !== asked) ask(page);
    return answer;
  };
}

function lastHandover(messages) {
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const { kind, content } = messages[index];
    if (kind !== "system") continue;
    if (content.event === "conversation.handed_over") return content.to;
    if (content.event === "conversation.returned") return null;
  }
  return undefined;
}
