/** `useChat` over a conversation of FleetLM. */
import type { ChatTransport, UIMessage, UIMessageChunk } from "ai";
import type { Conversation } from "../conversation.js";
import { FleetLMError } from "../errors.js";
import type { FleetLM } from "../fleet.js";
import { isLive } from "../runs.js";
import type { Run, Sent } from "../types.js";
import { Following } from "./following.js";
import { toUIMessages } from "./messages.js";

export interface FleetLMChatTransportOptions {
  fleet: FleetLM;
  /** The conversation, such as `alice:shipping-bot`. */
  key: string;
  /**
   * How long an answer is waited for, in milliseconds: until it begins, and after a failure until it begins again; 60,000.
   * Then the stream ends; the answer is in the log once it comes.
   */
  patienceMs?: number;
}

type SendMessages = ChatTransport<UIMessage>["sendMessages"];
type ReconnectToStream = ChatTransport<UIMessage>["reconnectToStream"];

/** What is to be followed, and who wants to know how it ends. */
interface Follow {
  readonly after: number;
  readonly ignored: ReadonlySet<string>;
  readonly abortSignal: AbortSignal | undefined;
  /** `stop()` was called, during this run. */
  readonly stopped: (run: Run | null) => void;
  readonly whole: () => void;
}

/** A message that this transport has sent. */
interface Question {
  /** The runs that were under way before it: they answer something else. */
  readonly ignored: ReadonlySet<string>;
  answered: boolean;
}

/**
 * A transport for `useChat` and `Chat` of the AI SDK, 5 and 6. FleetLM keeps the history: only the newest message is sent,
 * under its own id as `client_id`, so that a retry stores it once. What comes back is the first answer to it: an agent's
 * chunks as it says them, or the message of whoever does not stream.
 *
 * `stop()` cancels the agent's run. `resumeStream()`, and `resume: true`, follow the answer that is being made.
 */
export class FleetLMChatTransport implements ChatTransport<UIMessage> {
  /** What `reconnectToStream` gives begins with the answer's first word. */
  readonly resumeStreamIsReplay = true;
  readonly conversation: Conversation;
  readonly #fleet: FleetLM;
  readonly #patienceMs: number;
  readonly #questions = new Map<string, Question>();
  readonly #followed = new Set<string>();
  readonly #stopped = new Set<string>();
  #following: Following | null = null;
  /** Counts the streams that were asked for. */
  #turn = 0;
  /** Let the next run be. */
  #letBe = (): void => undefined;

  constructor({ fleet, key, patienceMs = 60_000 }: FleetLMChatTransportOptions) {
    this.#fleet = fleet;
    this.#patienceMs = patienceMs;
    this.conversation = fleet.conversation(key);
  }

  /** The conversation's messages as the AI SDK's. What an answer said that `stop()` has ended is shown until it is stored. */
  uiMessages(): UIMessage[] {
    const { messages, pending, runs } = this.conversation.snapshot();
    const streamed = this.#following?.run?.run_id;
    const stopped = runs.filter(
      ({ run_id, text }) => text && this.#followed.has(run_id) && run_id !== streamed,
    );
    return [...toUIMessages(messages, this.#fleet.participantId, pending), ...stopped.map(asUIMessage)];
  }

  /** Whether an answer is being made that no stream has followed: call `resumeStream()`. */
  get hasLiveAnswer(): boolean {
    return this.#liveRuns().some(({ run_id }) => !this.#followed.has(run_id));
  }

  /** Send the newest message, and follow its answer. After an error, `regenerate()` does the same again. */
  readonly sendMessages: SendMessages = async ({ trigger, messages, abortSignal }) => {
    const message = messages.at(-1);
    if (message?.role !== "user") {
      throw new FleetLMError(
        "unsupported",
        "Only the user's messages can be sent: agents run their tools themselves.",
      );
    }
    const known = this.#questions.get(message.id);
    if (trigger === "regenerate-message" && (known?.answered ?? true)) {
      throw new FleetLMError(
        "unsupported",
        "An answer in the log is not taken back: send another message instead.",
      );
    }
    const turn = this.#begin();
    await this.#joined(abortSignal);
    const question = known ?? {
      ignored: new Set(this.#liveRuns().map(({ run_id }) => run_id)),
      answered: false,
    };
    this.#questions.set(message.id, question);
    const unwanted = (): void => this.#stopNext(message.id, question.ignored);
    const { seq } = await this.#send(message, abortSignal, unwanted);
    return this.#follow(turn, {
      after: seq,
      ignored: question.ignored,
      abortSignal,
      stopped: (run) => {
        question.answered = true;
        if (run === null) unwanted();
        else this.#stop(run);
      },
      whole: () => (question.answered = true),
    });
  };

  /** The answer that is being made, from its first word; null if there is none. */
  readonly reconnectToStream: ReconnectToStream = async ({ abortSignal }) => {
    const turn = this.#begin();
    await this.#joined(abortSignal);
    const runs = this.#liveRuns();
    const run = runs.find(({ run_id }) => !this.#followed.has(run_id)) ?? runs[0];
    if (run === undefined) return null;
    const ignored = new Set(runs.filter((other) => other !== run).map(({ run_id }) => run_id));
    return this.#follow(turn, {
      after: this.conversation.snapshot().last_seq,
      ignored,
      abortSignal,
      stopped: (run) => run && this.#stop(run),
      whole: () => undefined,
    });
  };

  #begin(): number {
    this.#letBe();
    this.conversation.open();
    return (this.#turn += 1);
  }

  #liveRuns(): Run[] {
    return this.conversation.snapshot().runs.filter((run) => isLive(run) && !this.#stopped.has(run.run_id));
  }

  /** Wait until the conversation is joined. Throws why it is refused, and what `signal` says. */
  async #joined(signal: AbortSignal | undefined): Promise<void> {
    await this.#fleet.identify();
    const { conversation } = this;
    let off = (): void => undefined; // it may look before it is given what ends that
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const { status, error } = conversation.snapshot();
        if (signal?.aborted) reject(signal.reason);
        else if (status === "refused" || status === "closed") reject(error ?? closed());
        else if (status === "online") resolve();
        else return;
        off();
        signal?.removeEventListener("abort", look);
      };
      off = conversation.subscribe(look);
      signal?.addEventListener("abort", look);
      look();
    });
  }

  async #send(
    { id, parts, metadata }: UIMessage,
    signal: AbortSignal | undefined,
    unwanted: () => void,
  ): Promise<Sent> {
    const text = parts.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n");
    const content = parts.some(({ type }) => type !== "text") ? { parts } : undefined;
    const { fleetlm: _, ...rest } = (metadata ?? {}) as Record<string, unknown>;
    const discard = (): void => this.conversation.discard(id);
    const giveUp = (): void => {
      discard();
      unwanted(); // it may be stored all the same
    };
    discard(); // if it has failed before
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      return await this.conversation.send({ text, client_id: id, content, metadata: rest });
    } finally {
      signal?.removeEventListener("abort", giveUp);
      signal?.throwIfAborted();
    }
  }

  #follow(
    turn: number,
    { after, ignored, abortSignal, stopped, whole }: Follow,
  ): ReadableStream<UIMessageChunk> {
    const following = new Following({
      conversation: this.conversation,
      participantId: this.#fleet.participantId,
      after,
      ignored,
      patienceMs: this.#patienceMs,
      onRun: (runId) => this.#followed.add(runId),
      onBreak: (runId) => this.#followed.delete(runId),
      onWhole: whole,
    });
    this.#following?.end();
    this.#following = following;
    const abort = (): void => {
      const { run } = following;
      following.end();
      // Only then is it known whether another stream has taken this one's place: that is not `stop()`.
      setTimeout(() => this.#turn === turn && stopped(run));
    };
    if (abortSignal?.aborted) abort();
    abortSignal?.addEventListener("abort", abort, { once: true });
    following.catchUp();
    return following.stream;
  }

  /** Cancel a run. That it is over already is no harm. */
  #stop({ run_id }: Run): void {
    this.#stopped.add(run_id);
    this.conversation.cancel(run_id).catch(() => undefined);
  }

  /** `stop()` was called before an agent has begun: cancel its run once that is there, and the message that it answers. */
  #stopNext(clientId: string, ignored: ReadonlySet<string>): void {
    this.#letBe();
    const look = (): void => {
      const isStored = this.conversation.snapshot().messages.some(({ client_id }) => client_id === clientId);
      const run = isStored ? this.#liveRuns().find(({ run_id }) => !ignored.has(run_id)) : undefined;
      if (run === undefined) return;
      this.#letBe();
      this.#stop(run);
    };
    const off = this.conversation.subscribe(look);
    const timer = setTimeout(() => this.#letBe(), this.#patienceMs);
    this.#letBe = () => {
      off();
      clearTimeout(timer);
    };
    look();
  }
}

function closed(): FleetLMError {
  return new FleetLMError("closed", "The conversation is closed.");
}

function asUIMessage({ run_id, agent_id, text }: Run): UIMessage {
  const metadata = { fleetlm: { sender_id: agent_id, seq: null } };
  return { id: run_id, role: "assistant", parts: [{ type: "text", text }], metadata };
}
