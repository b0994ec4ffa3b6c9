import { describe, expect, it } from "vitest";
import { Later } from "../../src/agent.js";
import { register, scripted } from "./agents.js";
import { client, fresh, OPEN, server, until } from "./server.js";

interface Pinged {
  ok: boolean;
  outcome: string;
  status: number | null;
}

describe.skipIf(!OPEN)("an agent of this package, called by a server", () => {
  async function ask(bot: string, text: string, answers: number) {
    const alice = client({ participantId: fresh("alice"), transport: "websocket" });
    const conversation = alice.conversation(`${alice.participantId}:${bot}`);
    const isBot = ({ sender_id }: { sender_id: string }): boolean => sender_id === bot;
    const done = until(conversation, ({ messages }) => messages.filter(isBot).length >= answers);
    await conversation.send(text);
    return (await done).messages.filter(isBot);
  }

  it("answers signed calls with JSON", async () => {
    const bot = await register(({ new_messages }) => ({
      messages: new_messages.map(({ text }) => ({ text: `Echo: ${text}` })),
    }));
    const [answer] = await ask(bot, "Grüße 👋", 1);
    expect(answer!.text).toBe("Echo: Grüße 👋");
  });

  it("streams, and what it throws in the middle is made again", async () => {
    let calls = 0;
    const bot = await register(
      async function* ({ new_messages }) {
        yield "You said: ";
        if ((calls += 1) === 1) throw new Error("lost the model");
        yield new_messages.map(({ text }) => text).join(" ");
      },
      { onError: () => undefined },
    );
    const [answer] = await ask(bot, "hello", 1);
    expect(answer).toMatchObject({ text: "You said: hello", content: { status: "complete" } });
    expect(calls).toBe(2);
  });

  it("is told by its signal that someone cancelled", async () => {
    const { id, next } = await scripted();
    const alice = client({ participantId: fresh("alice"), transport: "websocket" });
    const conversation = alice.conversation(`${alice.participantId}:${id}`);
    const speaking = until(conversation, ({ runs }) => runs.some(({ text }) => text === "Half an "));
    await conversation.send("hello");
    const script = await next();
    script.say("Half an ");
    const [run] = (await speaking).runs;
    const hungUp = new Promise((resolve) => script.signal.addEventListener("abort", resolve));
    const stored = until(conversation, ({ messages }) => messages.at(-1)!.content.status === "cancelled");
    await conversation.cancel(run!.run_id);
    await hungUp;
    expect((await stored).messages.at(-1)!.text).toBe("Half an ");
  });

  it("posts later with Later, and answers test calls by itself", async () => {
    const bot = await register(async ({ reply_url, agent_id, id }) => {
      const body = JSON.stringify({ sender_id: agent_id, text: "a moment later", client_id: id });
      await fetch(reply_url, { method: "POST", headers: { "content-type": "application/json" }, body });
      return Later;
    });
    expect((await ask(bot, "hello", 1))[0]!.text).toBe("a moment later");
    expect(await server.request<Pinged>("POST", `agents/${bot}/test`)).toMatchObject({
      ok: true,
      outcome: "answered",
    });
  });

  it("refuses a server that has another secret", async () => {
    const bot = await register(() => "hello", { wrong: true });
    const pinged = await server.request<Pinged>("POST", `agents/${bot}/test`);
    expect(pinged).toMatchObject({ ok: false, outcome: "refused", status: 401 });
  });
});
