/** What the log says about who has the conversation: FleetLM writes each handover down as a system message. */

/** `handed_to`: the person who has it, null while the bot does. */
export function stateOf(messages) {
  for (let index = messages.length - 1; index >= 0; index -= 1) {
    const { kind, content } = messages[index];
    if (kind !== "system") continue;
    if (content.event === "conversation.handed_over") return { handed_to: content.to };
    if (content.event === "conversation.returned") return { handed_to: null };
  }
  return { handed_to: null };
}
