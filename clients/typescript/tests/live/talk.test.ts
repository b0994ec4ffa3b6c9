import { describe, expect, it } from "vitest";
import { FleetLMError, type Message } from "../../src/index.js";
import {
  awaited,
  client,
  fresh,
  mint,
  office,
  OPEN,
  pair,
  server,
  stored,
  TRANSPORTS,
  joined,
  until,
} from "./server.js";

describe.skipIf(!OPEN).each(TRANSPORTS)("over %s", (transport) => {
  it("people talk, and read", async () => {
    const { alice, bob, key, names } = pair(transport);
    const [hers, his] = [alice.conversation(key), bob.conversation(key)];
    const heard: Message[] = [];
    his.on("message", (message) => heard.push(message));
    await joined(his);
    const sent = hers.send("Is anyone there?");
    expect(hers.snapshot().pending).toMatchObject([{ text: "Is anyone there?", status: "sending" }]);
    expect(await sent).toMatchObject({ seq: 1, deduplicated: false });
    await until(his, (now) => now.messages.length === 1);
    expect(heard.map((message) => message.text)).toEqual(["Is anyone there?"]);
    expect(hers.snapshot().pending).toEqual([]);

    const seen = until(hers, (now) => now.reads[names.bob] === 1);
    await joined(hers);
    await his.read();
    expect((await seen).reads).toEqual({ [names.alice]: 1, [names.bob]: 1 });
    const reply = await his.send({ text: "Yes.", reply_to: 1, metadata: { mood: "good" } });
    const { messages } = await until(hers, (now) => now.last_seq === 2);
    expect(messages[1]).toMatchObject({
      id: reply.id,
      reply_to: 1,
      metadata: { mood: "good" },
      sender_id: names.bob,
    });
  });

  it("a snapshot is the same object until something changes", async () => {
    const { alice, key } = pair(transport);
    const hers = alice.conversation(key);
    const before = await joined(hers);
    expect(hers.snapshot()).toBe(hers.snapshot());
    expect(alice.conversation(key.split(":").reverse().join(":"))).toBe(hers);
    await hers.send("one");
    const after = await until(hers, (now) => now.messages.length === 1);
    expect(after).not.toBe(before);
    expect(before.messages).toEqual([]);
  });

  it("the log is followed from any place, each message once", async () => {
    const { alice, bob, key } = pair(transport);
    const hers = alice.conversation(key);
    for (let number = 1; number <= 120; number += 1) void hers.send(String(number));
    await hers.send("121");
    const his = bob.conversation(key);
    const texts: string[] = [];
    for await (const message of his.messages({ after: 3 })) {
      texts.push(message.text);
      if (message.seq === 60) void hers.send("122");
      if (message.seq === 122) break;
    }
    expect(texts).toEqual(Array.from({ length: 119 }, (_, index) => String(index + 4)));
    const newest: number[] = [];
    for await (const { seq } of his.messages({ limit: 2 })) if (newest.push(seq) === 2) break;
    expect(newest).toEqual([121, 122]);
  });

  it("older pages are loaded and put before the others", async () => {
    const { alice, bob, key } = pair(transport);
    const hers = alice.conversation(key);
    for (let number = 1; number < 70; number += 1) void hers.send(String(number));
    await hers.send("70");
    const his = bob.conversation(key);
    expect(await joined(his)).toMatchObject({
      has_more: true,
      last_seq: 70,
    });
    expect(his.snapshot().messages).toHaveLength(50);
    await Promise.all([his.loadOlder(15), his.loadOlder(15)]);
    expect(his.snapshot().messages.map((message) => message.seq)).toEqual(
      Array.from({ length: 65 }, (_, index) => index + 6),
    );
    await his.loadOlder();
    expect(his.snapshot()).toMatchObject({ has_more: false, messages: { length: 70 } });
    expect(await his.history({ before: 3, limit: 10 })).toMatchObject({
      has_more: false,
      messages: [{ seq: 1 }, { seq: 2 }],
    });
  });

  it("who types is shown, and no longer with the message", async () => {
    const { alice, bob, key, names } = pair(transport);
    const [hers, his] = [alice.conversation(key), bob.conversation(key)];
    await Promise.all([hers, his].map(joined));
    const shown = until(his, (now) => now.typing.includes(names.alice));
    hers.typing();
    await shown;
    await hers.send("done");
    expect(await until(his, (now) => now.last_seq === 1)).toMatchObject({ typing: [] });
    expect(hers.snapshot().typing).toEqual([]);
  });

  it("a redaction blanks what is shown", async () => {
    const { alice, bob, key } = pair(transport);
    const hers = alice.conversation(key);
    const his = bob.conversation(key);
    const shown = until(his, (now) => now.last_seq === 2);
    const { seq } = await hers.send("a secret");
    await until(his, (now) => now.last_seq === 1);
    await hers.send({ kind: "redaction", reply_to: seq });
    expect((await shown).messages[0]).toMatchObject({ text: "", redacted: true });
  });

  it("what cannot be stored fails, and can be tried again or discarded", async () => {
    const { alice, key } = pair(transport);
    const hers = alice.conversation(key);
    await hers.send("first");
    await hers.setState("closed");
    const refused = hers.send("too late", { client_id: "mine" });
    await expect(refused).rejects.toMatchObject({
      code: "conversation_closed",
      details: { state: "closed" },
    });
    expect(hers.snapshot().pending).toMatchObject([
      { client_id: "mine", status: "failed", error: { code: "conversation_closed" } },
    ]);
    await hers.setState("open");
    hers.retry("mine");
    await until(hers, (now) => now.pending.length === 0);
    expect(await stored(key)).toEqual(["first", "too late"]);
    const moved = await hers
      .send("a guess", { expected_seq: 1, client_id: "guess" })
      .catch((error: unknown) => error);
    expect(moved).toBeInstanceOf(FleetLMError);
    expect(moved).toMatchObject({ code: "seq_conflict" });
    hers.discard("guess");
    expect(hers.snapshot().pending).toEqual([]);
  });

  it("an inbox counts what is unread", async () => {
    const { alice, bob, key } = pair(transport);
    const inbox = bob.inbox();
    await awaited(inbox, (now) => now.status === "online");
    const group = await server.createConversation({
      title: "Lunch",
      participants: [alice.participantId!, bob.participantId!],
    });
    await alice.conversation(key).send("hello");
    await alice.conversation(group.key).send(`hello @${bob.participantId}`);
    const counted = await awaited(inbox, (now) => now.unread === 2);
    expect(counted.mentions).toBe(1);
    expect(counted.conversations.map((entry) => entry.key)).toEqual([group.key, key]);
    await bob.conversation(key).read(1);
    await awaited(inbox, (now) => now.unread === 1);
    await bob.conversation(group.key).send("Hello, all.");
    for await (const entries of inbox.changes())
      if (entries.every((entry) => entry.unread_count === 0)) break;
  });

  it("whoever is removed hears so, and no more", async () => {
    const [admin, guest] = [fresh("admin"), fresh("guest")];
    const { key } = await office.createConversation({ participants: [admin, guest] });
    const theirs = client({
      url: process.env.FLEETLM_GUARDED_URL,
      token: () => mint(guest, 60),
      transport,
    }).conversation(key);
    const reasons: string[] = [];
    theirs.on("closed", ({ reason }) => reasons.push(reason));
    await joined(theirs);
    const followed = (async () => {
      for await (const message of theirs.messages()) expect(message.text).toBe("welcome");
      return "ended";
    })();
    await office.conversation(key).send("welcome", { sender_id: admin });
    await until(theirs, (now) => now.last_seq === 1);
    await office.conversation(key).removeParticipant(guest);
    await until(theirs, (now) => now.status === "closed");
    expect(reasons).toEqual(["removed"]);
    expect(await followed).toBe("ended");
    await expect(theirs.send("let me in")).rejects.toMatchObject({ code: "not_a_member" });
  });

  it("what one may not follow is refused", async () => {
    const eve = client({
      url: process.env.FLEETLM_GUARDED_URL,
      token: () => mint(fresh("eve"), 60),
      transport,
    });
    const theirs = eve.conversation(`${fresh("alice")}:${fresh("bob")}`);
    const next = theirs.messages().next();
    await expect(next).rejects.toMatchObject({ code: "not_a_member" });
    expect(theirs.snapshot()).toMatchObject({ status: "refused", error: { code: "not_a_member" } });
    const nobody = client({
      url: process.env.FLEETLM_GUARDED_URL,
      token: "not-a-token",
      participantId: "nobody",
      transport,
    });
    await awaited(nobody.inbox(), (now) => now.status === "refused");
    expect(nobody.status).toBe("refused");
  });
});

describe.skipIf(!OPEN)("a client", () => {
  it("that is closed gives up what was not sent, and takes nothing more", async () => {
    const fleet = client({ url: "http://127.0.0.1:9", participantId: "alice" });
    const theirs = fleet.conversation("alice:bob");
    const sent = theirs.send("never");
    fleet.close();
    await expect(sent).rejects.toMatchObject({ code: "closed" });
    await expect(theirs.send("never")).rejects.toMatchObject({ code: "closed" });
    expect([fleet.status, theirs.snapshot().pending]).toEqual(["closed", []]);
  });

  it("makes any REST call", async () => {
    const { key } = await server.createConversation({ title: "Lunch", participants: [fresh("alice")] });
    expect(await server.request("GET", `conversations/${key}`)).toMatchObject({ key, title: "Lunch" });
    const missing = server.request("GET", "/api/conversations/nowhere");
    await expect(missing).rejects.toMatchObject({ code: "conversation_not_found", status: 404 });
    const stop = AbortSignal.abort(new Error("stop"));
    await expect(server.request("GET", "agents", { signal: stop })).rejects.toThrow("stop");
  });
});

describe.skipIf(!OPEN)("a socket", () => {
  it("shows who is here", async () => {
    const { alice, bob, key, names } = pair("websocket");
    const [hers, his] = [alice.conversation(key), bob.conversation(key)];
    hers.open();
    await until(hers, (now) => now.present.length === 1);
    his.open();
    await until(hers, (now) => now.present.length === 2);
    his.close();
    expect((await until(hers, (now) => now.present.length === 1)).present).toEqual([names.alice]);
    expect(his.snapshot().closed).toEqual({ reason: "left" });
    his.open();
    expect((await until(his, (now) => now.present.length === 2)).closed).toBeNull();
  });
});
