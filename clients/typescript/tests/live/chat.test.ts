import { AbstractChat, type ChatState, type ChatStatus, type UIMessage } from "ai";
import { describe, expect, it } from "vitest";
import { FleetLMChatTransport } from "../../src/ai.js";
import type { FleetLM } from "../../src/index.js";
import { register, scripted } from "./agents.js";
import { client, fresh, OPEN, server, stored, TRANSPORTS, until } from "./server.js";

/** The state of a chat, as a page keeps it. */
class State implements ChatState<UIMessage> {
  status: ChatStatus = "ready";
  error: Error | undefined = undefined;
  messages: UIMessage[] = [];
  pushMessage = (message: UIMessage): void => void (this.messages = [...this.messages, message]);
  popMessage = (): void => void (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index: number, message: UIMessage): void =>
    void (this.messages = this.messages.with(index, structuredClone(message)));
  snapshot = <T>(value: T): T => structuredClone(value);
}

/** The AI SDK's own chat over a transport. */
class Chat extends AbstractChat<UIMessage> {
  readonly over: FleetLMChatTransport;
  readonly ends: { isAbort: boolean; isDisconnect: boolean; isError: boolean }[] = [];

  constructor(fleet: FleetLM, key: string, patienceMs?: number) {
    const transport = new FleetLMChatTransport({ fleet, key, ...(patienceMs && { patienceMs }) });
    super({ transport, state: new State(), onFinish: (end) => void this.ends.push(end) });
    this.over = transport;
  }

  /** Role and text of each message. */
  get said(): string[] {
    return this.messages.map(
      ({ role, parts }) =>
        `${role}: ${parts.map((part) => (part.type === "text" ? part.text : "")).join("")}`,
    );
  }

  async shows(...said: string[]): Promise<void> {
    await expect.poll(() => this.said, { timeout: 10_000, interval: 10 }).toEqual(said);
  }
}

describe.skipIf(!OPEN).each(TRANSPORTS)("useChat's chat, over %s", (transport) => {
  function talk(bot: string, patienceMs?: number) {
    const name = fresh("alice");
    const open = (): Chat =>
      new Chat(client({ participantId: name, transport }), `${name}:${bot}`, patienceMs);
    return { chat: open(), again: open, name, key: `${name}:${bot}` };
  }

  it("streams an agent's answer, and its messages are those of the log", async () => {
    const { id, next } = await scripted();
    const { chat, again } = talk(id);
    const sending = chat.sendMessage({ text: "Where is it?", metadata: { page: "home" } });
    const script = await next();
    expect(script.call.new_messages).toMatchObject([{ text: "Where is it?", metadata: { page: "home" } }]);
    expect(chat.status).toBe("submitted");
    script.say("It is ");
    await chat.shows("user: Where is it?", "assistant: It is ");
    expect(chat.status).toBe("streaming");
    script.say("here.");
    script.end();
    await sending;
    expect([chat.status, chat.said]).toEqual(["ready", ["user: Where is it?", "assistant: It is here."]]);
    expect(chat.messages[1]!.metadata).toMatchObject({
      fleetlm: { sender_id: id, seq: 2, status: "complete" },
    });

    const names = ({ id, role }: UIMessage) => [id, role];
    const reloaded = again();
    await until(reloaded.over.conversation, ({ messages }) => messages.length === 2);
    expect(reloaded.over.uiMessages().map(names)).toEqual(chat.messages.map(names));
    await reloaded.resumeStream();
    expect([reloaded.status, reloaded.ends]).toEqual(["ready", []]);
  });

  it("shows the answer of an agent that does not stream, of several messages, and of a person", async () => {
    const bot = await register(() => ({ messages: [{ text: "one " }, { text: "two" }] }));
    const { chat } = talk(bot);
    await chat.sendMessage({ text: "hello" });
    expect(chat.said).toEqual(["user: hello", "assistant: one two"]);

    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const people = new Chat(client({ participantId: alice, transport }), `${alice}:${bob}`);
    const sending = people.sendMessage({ text: "hello" });
    await until(people.over.conversation, ({ messages }) => messages.length === 1);
    await client({ participantId: bob, transport }).conversation(`${alice}:${bob}`).send("I am no robot");
    await sending;
    expect(people.said).toEqual(["user: hello", "assistant: I am no robot"]);
  });

  it("ends with nothing for an agent that has nothing to say, and when nobody answers", async () => {
    const quiet = talk(await register(() => null));
    await quiet.chat.sendMessage({ text: "hello" });
    expect([quiet.chat.status, quiet.chat.said]).toEqual(["ready", ["user: hello"]]);
    const nobody = talk(fresh("nobody"), 300);
    await nobody.chat.sendMessage({ text: "hello" });
    expect([nobody.chat.status, nobody.chat.said]).toEqual(["ready", ["user: hello"]]);
  });

  it("resumes an answer in the middle, and says nothing twice", async () => {
    const { id, next } = await scripted();
    const { chat, again } = talk(id);
    const sending = chat.sendMessage({ text: "hello" });
    const script = await next();
    script.say("one ", "two ");
    await chat.shows("user: hello", "assistant: one two ");
    const reloaded = again();
    await until(reloaded.over.conversation, ({ messages }) => messages.length === 1);
    reloaded.messages = reloaded.over.uiMessages();
    // As React's strict mode does: the second takes the place of the first, which is not `stop()`.
    const resuming = Promise.all([reloaded.resumeStream(), reloaded.resumeStream()]);
    await reloaded.shows("user: hello", "assistant: one two ");
    script.say("three");
    script.end();
    await Promise.all([resuming, sending]);
    for (const one of [chat, reloaded]) expect(one.said).toEqual(["user: hello", "assistant: one two three"]);
    expect(script.signal.aborted).toBe(false);
  });

  it("goes on without a seam when the next attempt says the same, and breaks off when it does not", async () => {
    const { id, next } = await scripted();
    const { chat } = talk(id);
    const sending = chat.sendMessage({ text: "hello" });
    const first = await next();
    first.say("The answer ");
    await chat.shows("user: hello", "assistant: The answer ");
    first.fail("lost the model");
    const second = await next();
    second.say("The ans");
    second.say("wer is 42.");
    second.end();
    await sending;
    expect([chat.status, chat.said]).toEqual(["ready", ["user: hello", "assistant: The answer is 42."]]);

    const failing = chat.sendMessage({ text: "again" });
    const third = await next();
    third.say("Perhaps ");
    await chat.shows("user: hello", "assistant: The answer is 42.", "user: again", "assistant: Perhaps ");
    third.fail("lost the model");
    const fourth = await next();
    fourth.say("No, ");
    await failing;
    expect(chat.status).toBe("error");
    expect(chat.ends.at(-1)).toMatchObject({ isDisconnect: true });
    expect(chat.over.hasLiveAnswer).toBe(true);
    chat.messages = chat.over.uiMessages();
    const resuming = chat.resumeStream();
    fourth.say("it is 43.");
    fourth.end();
    await resuming;
    expect([chat.status, chat.said.slice(2)]).toEqual(["ready", ["user: again", "assistant: No, it is 43."]]);
  });

  it("stops: the run is cancelled, and what was said is kept", async () => {
    const { id, next } = await scripted();
    const { chat, key } = talk(id);
    const sending = chat.sendMessage({ text: "hello" });
    const script = await next();
    script.say("Half an ");
    await chat.shows("user: hello", "assistant: Half an ");
    await chat.stop();
    await sending;
    expect([chat.status, chat.over.hasLiveAnswer]).toEqual(["ready", false]);
    expect(chat.over.uiMessages().map(({ role }) => role)).toEqual(["user", "assistant"]);
    await until(chat.over.conversation, ({ messages }) => messages.at(-1)!.content.status === "cancelled");
    expect(await stored(key)).toEqual(["hello", "Half an "]);
    expect(script.signal.aborted).toBe(true);
  });

  it("stops an answer that has not begun", async () => {
    const { id, next } = await scripted();
    const { chat, key } = talk(id);
    const sending = chat.sendMessage({ text: "hello" });
    const { conversation } = chat.over;
    const cancelled = new Promise((resolve) =>
      conversation.on("run", (run) => run.status === "cancelled" && resolve(run)),
    );
    await until(conversation, ({ messages }) => messages.length === 1);
    await chat.stop();
    await sending;
    expect([chat.status, chat.said]).toEqual(["ready", ["user: hello"]]);
    await cancelled;
    expect(await stored(key)).toEqual(["hello"]);
    const second = chat.sendMessage({ text: "now, please" });
    let answering = await next();
    while (!answering.call.new_messages.some(({ text }) => text === "now, please")) answering = await next();
    answering.say("Here.");
    answering.end();
    await second;
    expect(chat.said.at(-1)).toBe("assistant: Here.");
  });

  it("sends a message once, however often it is asked to, and takes no answer back", async () => {
    let calls = 0;
    const bot = await register(() => ((calls += 1) === 1 ? Promise.reject(new Error("no model")) : "Here."), {
      onError: () => undefined,
    });
    const { chat, key } = talk(bot, 700); // longer than the first call takes, shorter than until the second
    await chat.sendMessage({ text: "hello" });
    expect([chat.status, chat.error?.message]).toEqual(["error", expect.stringContaining("500")]);
    await until(chat.over.conversation, ({ messages }) => messages.length === 2);
    await chat.regenerate();
    expect(chat.said).toEqual(["user: hello", "assistant: Here."]);
    await chat.regenerate();
    expect(chat.error).toMatchObject({ code: "unsupported" });
    expect(await stored(key)).toEqual(["hello", "Here."]);
  });

  it("follows one agent after the other", async () => {
    const [first, second] = [await scripted("mention"), await scripted("mention")];
    const [alice, key] = [fresh("alice"), fresh("group")];
    await server.createConversation({ key, kind: "group", participants: [alice, first.id, second.id] });
    const chat = new Chat(client({ participantId: alice, transport }), key);
    const sending = chat.sendMessage({ text: `hello @${first.id} and @${second.id}` });
    const [one, two] = [await first.next(), await second.next()];
    one.say("I am one.");
    await expect
      .poll(() => chat.over.conversation.snapshot().runs.some(({ text }) => text === "I am one."))
      .toBe(true);
    two.say("I am two.");
    one.end();
    two.end();
    await sending;
    if (chat.over.hasLiveAnswer) await chat.resumeStream();
    await until(chat.over.conversation, ({ messages }) => messages.length === 3);
    chat.messages = chat.over.uiMessages();
    expect(chat.said.slice(1).sort()).toEqual(["assistant: I am one.", "assistant: I am two."]);
  });
});
