import { describe, expect, it } from "vitest";
import type { Message } from "../../src/index.js";
import { Proxy } from "./proxy.js";
import { awaited, client, fresh, OPEN, server, stored, TRANSPORTS, joined, until } from "./server.js";

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, index) => String(from + index));

describe.skipIf(!OPEN).each(TRANSPORTS)("a bad network, over %s", (transport) => {
  it("cuts in the middle of bursts: every message comes once, in order, and is stored once, in order", async () => {
    const proxy = await Proxy.before(OPEN);
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const hers = client({ url: proxy.url, participantId: alice, transport }).conversation(`${alice}:${bob}`);
    const heard: Message[] = [];
    let losses = 0;
    hers.on("message", (message) => heard.push(message));
    hers.on("status", (status) => (losses += Number(status === "offline")));
    await joined(hers);
    for (const cut of [3_000, 9_000, 20_000]) {
      proxy.cutsAfter = cut;
      const first = hers.snapshot().last_seq + 1;
      const sent = numbers(first, first + 59).map((text) => hers.send(text));
      expect((await Promise.all(sent)).map(({ seq }) => seq)).toEqual(numbers(first, first + 59).map(Number));
      await until(hers, (now) => now.last_seq === first + 59 && now.pending.length === 0);
    }
    expect(losses).toBeGreaterThanOrEqual(3);
    expect(heard.map((message) => message.text)).toEqual(numbers(1, 180));
    expect(await stored(hers.key)).toEqual(numbers(1, 180));
  });

  it("goes silent without closing: that is noticed, and nothing is lost", async () => {
    const proxy = await Proxy.before(OPEN);
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const timing = { heartbeatMs: 200, replyMs: 300, silenceMs: 600, connectMs: 500 };
    const hers = client({ url: proxy.url, participantId: alice, transport, timing }).conversation(
      `${alice}:${bob}`,
    );
    await joined(hers);
    proxy.swallows = true;
    const sent = hers.send("into the void");
    await server.conversation(hers.key).send("meanwhile", { sender_id: bob });
    await until(hers, (now) => now.status === "offline");
    proxy.swallows = false;
    proxy.cut();
    expect(await sent).toMatchObject({ seq: 2 });
    const { messages } = await until(hers, (now) => now.last_seq === 2);
    expect(messages.map((message) => message.text)).toEqual(["meanwhile", "into the void"]);
  });

  it("is away for a while: what is sent meanwhile is stored once, in order", async () => {
    const proxy = await Proxy.before(OPEN);
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const hers = client({ url: proxy.url, participantId: alice, transport }).conversation(`${alice}:${bob}`);
    await joined(hers);
    proxy.down = true;
    proxy.cut();
    await until(hers, (now) => now.status === "offline");
    const sent = [hers.send("first"), hers.send("second")];
    expect(hers.snapshot().pending.map(({ text, status }) => [text, status])).toEqual([
      ["first", "sending"],
      ["second", "sending"],
    ]);
    const tries = proxy.connections;
    await proxy.until(() => proxy.connections > tries + 3);
    proxy.down = false;
    expect(await Promise.all(sent)).toMatchObject([{ seq: 1 }, { seq: 2 }]);
    await until(hers, (now) => now.last_seq === 2 && now.pending.length === 0);
    expect(await stored(hers.key)).toEqual(["first", "second"]);
  });
});

describe.skipIf(!OPEN)("sockets that are blocked", () => {
  it("give way to event streams, and come back when they open", async () => {
    const proxy = await Proxy.before(OPEN);
    proxy.refusesUpgrades = true;
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const fleet = client({ url: proxy.url, participantId: alice, timing: { socketRetryMs: 300 } });
    const hers = fleet.conversation(`${alice}:${bob}`);
    const heard: string[] = [];
    hers.on("message", (message) => heard.push(message.text));
    await joined(hers);
    expect(proxy.follows).toBeGreaterThan(1);
    const others = server.conversation(hers.key);
    for (const text of numbers(1, 20))
      await (Number(text) % 2 ? hers.send(text) : others.send(text, { sender_id: bob }));
    await until(hers, (now) => now.last_seq === 20 && now.pending.length === 0);
    expect(hers.snapshot().present).toEqual([]);

    proxy.refusesUpgrades = false;
    const returning = until(hers, (now) => now.present.includes(alice));
    for (const text of numbers(21, 60))
      await (Number(text) % 2 ? hers.send(text) : others.send(text, { sender_id: bob }));
    await returning;
    await hers.send("61");
    await until(hers, (now) => now.last_seq === 61);
    expect(heard).toEqual(numbers(1, 61));
    expect(await stored(hers.key)).toEqual(numbers(1, 61));
  });

  it("take the streams' place only where they ever opened, not when the server is away", async () => {
    const proxy = await Proxy.before(OPEN);
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    // Node's first fetch says nothing when its connection is closed before it was used; the deadline helps.
    const fleet = client({ url: proxy.url, participantId: alice, timing: { replyMs: 1_000 } });
    const hers = fleet.conversation(`${alice}:${bob}`);
    await joined(hers);
    proxy.down = true;
    proxy.cut();
    await proxy.until(() => proxy.connections > 10);
    proxy.down = false;
    await until(hers, (now) => now.present.includes(alice));
  });

  it("an inbox goes on, too", async () => {
    const proxy = await Proxy.before(OPEN);
    proxy.refusesUpgrades = true;
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const inbox = client({ url: proxy.url, participantId: alice }).inbox();
    await awaited(inbox, (now) => now.status === "online");
    await server.conversation(`${alice}:${bob}`).send("hello", { sender_id: bob });
    await awaited(inbox, (now) => now.unread === 1);
    proxy.cut();
    await server.conversation(`${alice}:${bob}`).send("hello again", { sender_id: bob });
    expect((await awaited(inbox, (now) => now.unread === 2)).conversations[0]?.last_message?.text).toBe(
      "hello again",
    );
  });
});
