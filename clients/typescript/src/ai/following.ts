/** One answer followed to its end, as a stream of the AI SDK's chunks. */
import type { UIMessageChunk } from "ai";
import type { Conversation } from "../conversation.js";
import { isLive, mergeChunks } from "../runs.js";
import type { Chunk, Message, Run } from "../types.js";
import { factsOf } from "./messages.js";
import { chunksOfMessages } from "./parts.js";
import { beyond, endings, missing, withoutResets } from "./said.js";

/** The ends of a message: this stream has its own, with what is known of the stored one. */
const ENDS: ReadonlySet<string> = new Set(["start", "finish", "abort"]);

/** How long a message is waited for whose run is said to be over. */
const MESSAGE_MS = 5_000;

export interface FollowingOptions {
  conversation: Conversation;
  /** Who asks: what others say is the answer. */
  participantId: string | null;
  /** The answer comes after this seq. */
  after: number;
  /** Runs that were under way before: they answer something else. */
  ignored: ReadonlySet<string>;
  /** How long it may take until an answer begins, or begins again after a failure. */
  patienceMs: number;
  /** Told of each run that is followed, by its first event. */
  onRun: (runId: string) => void;
  /** Told when what such a run says can only be said by another stream. */
  onBreak: (runId: string) => void;
  /** Told when the answer is whole. */
  onWhole: () => void;
}

/** Follows the first answer that comes. */
export class Following {
  readonly stream: ReadableStream<UIMessageChunk>;
  readonly #options: FollowingOptions;
  readonly #offs: (() => void)[];
  #controller!: ReadableStreamDefaultController<UIMessageChunk>;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #run: Run | null = null;
  #said: readonly Chunk[] = [];
  #shown = false;
  #over = false;

  constructor(options: FollowingOptions) {
    this.#options = options;
    this.stream = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      cancel: () => this.end(),
    });
    const { conversation } = options;
    this.#offs = [
      conversation.on("run", (run) => this.#take(run)),
      conversation.on("delta", ({ run }) => this.#take(run)),
      conversation.on("message", (message) => this.#hear(message)),
      conversation.on("reset", () => this.#fail("The conversation was deleted and made again.")),
      conversation.on(
        "status",
        (status) => status === "refused" && this.#fail(conversation.snapshot().error?.message ?? null),
      ),
      conversation.on("closed", ({ reason }) => this.#fail(`The conversation is closed: ${reason}.`)),
    ];
    this.#wait(() => this.end());
  }

  /** The run that is followed now. */
  get run(): Run | null {
    return this.#run !== null && isLive(this.#run) && !this.#over ? this.#run : null;
  }

  /** Nothing more is said. */
  end(): void {
    if (this.#leave()) this.#controller.close();
  }

  /** Take what is there already: runs, and messages that came before this listened. */
  catchUp(): void {
    const { runs, messages } = this.#options.conversation.snapshot();
    for (const run of runs) this.#take(run);
    for (const message of messages) this.#hear(message);
  }

  /** Take a run as it is now, if it is the one that is followed or the first that comes. */
  #take(run: Run): void {
    const { ignored, onRun } = this.#options;
    const other = run.run_id !== this.#run?.run_id;
    if (this.#over || ignored.has(run.run_id) || (other && (this.run !== null || !isLive(run)))) return;
    if (other && this.#run !== null && this.#run.status !== "failed") return; // it is over, and its message is on its way
    this.#run = run;
    if (other) onRun(run.run_id);
    this.#stopWaiting();
    if (isLive(run)) this.#say(run);
    else if (run.status !== "failed") this.#settle(run);
    else if (run.retry) this.#wait(() => this.#fail(run.error));
    else this.#fail(run.error);
  }

  /** Say what the run says beyond what has been said. If it says something else, only another stream can. */
  #say(run: Run): void {
    const chunks = run.chunks.filter(({ type }) => !ENDS.has(type));
    const rest = beyond(this.#said, withoutResets(chunks));
    if (rest === "other") return this.#breakOff();
    if (rest === "behind") return;
    this.#said = mergeChunks(this.#said, rest);
    for (const chunk of rest) this.#put(chunk, run.run_id, { sender_id: run.agent_id });
  }

  #hear(message: Message): void {
    if (message.seq <= this.#options.after || !this.#isAnswer(message)) return;
    const run = this.#run;
    if (run === null || run.status === "failed") {
      // A person has answered, or a run of which nothing was heard, or one that posts later.
      if (!this.#options.ignored.has(message.content.run_id as string)) this.#complete([message]);
    } else if (!isLive(run)) {
      this.#settle(run);
    }
  }

  /** A run has ended well, or was cancelled: once its messages are here, the answer is whole. */
  #settle(run: Run): void {
    const { messages, last_seq } = this.#options.conversation.snapshot();
    if (run.seq !== null && last_seq < run.seq) return this.#wait(() => this.#breakOff(), MESSAGE_MS);
    const answers = messages.filter(
      (message) => message.sender_id === run.agent_id && this.#isAnswer(message),
    );
    const marked = answers.filter(({ content }) => content.run_id === run.run_id);
    const plain = answers.filter(
      ({ content, seq }) => content.run_id === undefined && seq <= (run.seq ?? seq),
    );
    const found = marked.length > 0 ? marked : plain;
    if (found.length > 0) this.#complete(found);
    else if (this.#shown) this.#wait(() => this.#breakOff(), MESSAGE_MS);
    else this.#complete([]);
  }

  /** Say what is missing of the answer as it is stored, and end. */
  #complete(messages: readonly Message[]): void {
    const [message] = messages;
    if (message === undefined) return this.#finish();
    const stored = chunksOfMessages(messages);
    const rest = this.#shown ? missing(this.#said, stored) : stored;
    if (rest === null) return this.#breakOff();
    const id = typeof message.content.run_id === "string" ? message.content.run_id : message.id;
    const facts = factsOf(message);
    for (const chunk of [...rest, ...endings(mergeChunks(this.#said, rest))]) this.#put(chunk, id, facts);
    this.#put({ type: "finish", messageMetadata: { ...message.metadata, fleetlm: facts } }, id, facts);
    this.#finish();
  }

  #finish(): void {
    this.#options.onWhole();
    this.end();
  }

  #isAnswer({ seq, sender_id, kind }: Message): boolean {
    const { after, participantId } = this.#options;
    return seq > after && sender_id !== participantId && kind !== "system" && kind !== "redaction";
  }

  /** Hand on a chunk; the first one after a `start`, so that nobody sees an empty message. */
  #put(chunk: Chunk, messageId: string, fleetlm: object): void {
    if (this.#over) return;
    if (!this.#shown) this.#controller.enqueue({ type: "start", messageId, messageMetadata: { fleetlm } });
    this.#shown = true;
    this.#controller.enqueue(chunk as UIMessageChunk);
  }

  /** What has been said is void. The AI SDK takes this for a lost connection (`isDisconnect`), so it can be resumed. */
  #breakOff(): void {
    if (this.#over) return;
    if (this.#run !== null) this.#options.onBreak(this.#run.run_id);
    this.#controller.error(new TypeError("The answer broke off and is made again (network error)."));
    this.#leave();
  }

  #fail(error: string | null): void {
    if (this.#over) return;
    this.#controller.enqueue({ type: "error", errorText: error ?? "The agent has failed." });
    this.end();
  }

  #wait(then: () => void, ms: number = this.#options.patienceMs): void {
    this.#stopWaiting();
    this.#timer = setTimeout(then, ms);
  }

  #stopWaiting(): void {
    clearTimeout(this.#timer);
  }

  /** Hear no more; false if that was so before. */
  #leave(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#stopWaiting();
    for (const off of this.#offs) off();
    return true;
  }
}
