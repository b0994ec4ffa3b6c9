/** The bot without a model: it knows four things, and says them word by word. */
import { setTimeout as pause } from "node:timers/promises";
import { use } from "./tools.mjs";

const WORD_MS = 45; // about as fast as a model
const NUMBER = /\b\d{4,12}\b/;
const WANTS_A_PERSON = /\b(human|person|someone|somebody|refund|broken|damaged|complain\w*|lost)\b/i;
const GREETS = /^\W*(hi|hello|hey|good (morning|evening|day))\b/i;

/** The answer to a call, as text and chunks. */
export async function* byScript(call, signal) {
  const asked = call.new_messages.map(({ text }) => text).join(" ");
  if (!asked.trim()) return;
  const number = NUMBER.exec(asked)?.[0];
  if (number) {
    yield* say("Let me look that up.", signal);
    yield* say(aboutParcel(yield* use("track_parcel", { number }, call, signal)), signal);
  } else if (WANTS_A_PERSON.test(asked)) {
    const { error } = yield* use("get_a_person", { reason: asked.slice(0, 200) }, call, signal);
    yield* say(error ? "I could not reach anybody. Please try again in a moment." : "That is one for a person. You can go on writing meanwhile.", signal);
  } else if (GREETS.test(asked)) {
    yield* say("Hello! I can tell you where a parcel is: send me its number. Or ask for a person at any time.", signal);
  } else {
    yield* say("I know about parcels. Send me a parcel's number, such as 4711, or say that you'd like to talk to a person.", signal);
  }
}

function aboutParcel({ error, number, status, arrives }) {
  if (error) return `I could not find that parcel: ${error}`;
  if (!arrives) return `Parcel ${number} has been delivered. Is something wrong with it? I can get a person for you.`;
  return `Parcel ${number}: ${status.toLowerCase()}. It should arrive ${arrives}.`;
}

async function* say(text, signal) {
  for (const word of text.match(/\S+\s*/g)) {
    yield word;
    await pause(WORD_MS, undefined, { signal });
  }
}
