import { describe, expect, it } from "vitest";
import { type Delta, type Run, textOf } from "../support.js";
import { agent } from "./agent.js";
import { Proxy } from "./proxy.js";
import { client, fresh, OPEN, TRANSPORTS, joined, until } from "./server.js";

describe.skipIf(!OPEN).each(TRANSPORTS)("an agent's answer over %s", (transport) => {
  it("is seen while it is said, also by one who joins in the middle", async () => {
    const [alice, bot] = [fresh("alice"), fresh("bot")];
    const called = await agent(bot);
    const hers = client({ participantId: alice, transport }).conversation(`${alice}:${bot}`);
    const runs: Run[] = [];
    const deltas: Delta[] = [];
    hers.on("run", (run) => runs.push(run));
    hers.on("delta", (delta) => deltas.push(delta));
    await joined(hers);
    await hers.send("Where is my parcel?");
    const call = await called();
    call.say("Your par");
    await until(hers, (now) => now.runs[0]?.text === "Your par");

    const later = client({ participantId: alice, transport }).conversation(hers.key);
    const middle = await until(later, (now) => now.runs[0]?.text === "Your par");
    expect(middle.runs).toMatchObject([{ agent_id: bot, status: "streaming" }]);
    expect(middle.runs[0]?.chunks).toEqual(hers.snapshot().runs[0]?.chunks);
    call.say("cel is here.");
    await Promise.all(
      [hers, later].map((one) => until(one, (now) => now.runs[0]?.text === "Your parcel is here.")),
    );
    expect(hers.snapshot().typing).toEqual([bot]);
    call.end();
    for (const one of [hers, later]) {
      const { messages } = await until(one, (now) => now.last_seq === 2 && now.runs.length === 0);
      expect(messages[1]).toMatchObject({ sender_id: bot, text: "Your parcel is here." });
    }
    await until(hers, () => runs.at(-1)?.status === "finished");
    expect(runs.map((run) => run.status)).toEqual(["started", "streaming", "finished"]);
    expect(runs.at(-1)).toMatchObject({ seq: 2, text: "Your parcel is here." });
    expect(textOf(deltas)).toBe("Your parcel is here.");
  });

  it("goes on where it was after a lost connection", async () => {
    const proxy = await Proxy.before(OPEN);
    const [alice, bot] = [fresh("alice"), fresh("bot")];
    const called = await agent(bot);
    const hers = client({ url: proxy.url, participantId: alice, transport }).conversation(`${alice}:${bot}`);
    const deltas: Delta[] = [];
    hers.on("delta", (delta) => deltas.push(delta));
    await joined(hers);
    await hers.send("Go on.");
    const call = await called();
    call.say("one ");
    await until(hers, (now) => now.runs[0]?.text === "one ");
    proxy.down = true;
    proxy.cut();
    await until(hers, (now) => now.status === "offline");
    call.say("two ");
    const witness = client({ participantId: alice, transport: "websocket" }).conversation(hers.key);
    await until(witness, (now) => now.runs[0]?.text === "one two ");
    proxy.down = false;
    await until(hers, (now) => now.runs[0]?.text === "one two ");
    call.say("three");
    call.end();
    await until(hers, (now) => now.last_seq === 2 && now.runs.length === 0);
    expect(textOf(deltas)).toBe("one two three");
    deltas.reduce((place, { from, to }) => (expect(from).toBe(place), to), 0);
  });

  it("is ended by a cancel, and kept as far as it went", async () => {
    const [alice, bot] = [fresh("alice"), fresh("bot")];
    const called = await agent(bot);
    const hers = client({ participantId: alice, transport }).conversation(`${alice}:${bot}`);
    await joined(hers);
    await hers.send("Tell me all.");
    (await called()).say("It began ");
    const { runs } = await until(hers, (now) => now.runs[0]?.text === "It began ");
    const ended = new Promise((resolve) =>
      hers.on("run", ({ status }) => status === "cancelled" && resolve(status)),
    );
    await hers.cancel(runs[0]!.run_id);
    const { messages } = await until(hers, (now) => now.last_seq === 2 && now.runs.length === 0);
    expect(messages[1]).toMatchObject({
      sender_id: bot,
      text: "It began ",
      content: { run_id: runs[0]!.run_id },
    });
    await ended;
    await expect(hers.cancel(runs[0]!.run_id)).rejects.toMatchObject({ code: "run_not_found" });
  });
});
