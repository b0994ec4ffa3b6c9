import { describe, expect, it } from "vitest";
import type { Status } from "../../src/index.js";
import { Proxy } from "./proxy.js";
import { awaited, client, fresh, GUARDED, mint, office, TRANSPORTS, until } from "./server.js";

describe.skipIf(!GUARDED).each(TRANSPORTS)("over %s", (transport) => {
  it("a token that expires is replaced, and nothing is missed", async () => {
    const [alice, bob] = [fresh("alice"), fresh("bob")];
    const key = `${alice}:${bob}`;
    await office.conversation(key).send("0", { sender_id: bob });
    let tokens = 0;
    // The server closes a connection 5 s after its token has expired.
    const token = (): Promise<string> => mint(alice, (tokens += 1) > 1 ? 60 : 1);
    const proxy = await Proxy.before(GUARDED);
    const hers = client({ url: proxy.url, token, transport }).conversation(key);
    const statuses: Status[] = [];
    hers.on("status", (status) => statuses.push(status));
    await until(hers, (now) => now.last_seq === 1 && now.status === "online");
    await proxy.until(() => proxy.follows === 2);
    await office.conversation(key).send("1", { sender_id: bob });
    await until(hers, (now) => now.last_seq === 2 && now.status === "online");
    expect(await hers.send("2")).toMatchObject({ seq: 3 });
    expect(tokens).toBe(2);
    expect(statuses).not.toContain("refused");
  });

  it("a token function that fails is asked again", async () => {
    const alice = fresh("alice");
    let calls = 0;
    const token = async (): Promise<string> => {
      if ((calls += 1) < 3) throw new Error("The app's own server is away.");
      return mint(alice, 60);
    };
    const fleet = client({ url: GUARDED, token, transport });
    await awaited(fleet.inbox(), (now) => now.status === "online");
    expect([calls, fleet.participantId]).toEqual([3, alice]);
  });

  it("a token that nobody can replace is the end", async () => {
    const token = await mint(fresh("alice"), 60);
    const fleet = client({ url: GUARDED, token: `${token}x`, transport });
    expect((await awaited(fleet.inbox(), (now) => now.status === "refused")).error).toMatchObject({
      status: 401,
    });
    expect(fleet.status).toBe("refused");
  });
});
