import { describe, expect, it } from "vitest";
import { backoff, DEFAULT_TIMING } from "../src/backoff.js";
import { changeEntries, countEntries, sortEntries } from "../src/entries.js";
import { EventParser } from "../src/events.js";
import { FleetLM, type InboxEntry } from "../src/index.js";
import { changePresence, NOBODY, replacePresence } from "../src/presence.js";
import { Tokens } from "../src/tokens.js";
import { random } from "./support.js";

const here = (...refs: string[]) => ({ metas: refs.map((phx_ref) => ({ phx_ref })) });

describe("presence", () => {
  it("is of whoever has one connection at least", () => {
    let presence = replacePresence(NOBODY, { alice: here("1", "2") });
    presence = changePresence(presence, { joins: { bob: here("3") }, leaves: { alice: here("1") } });
    expect([...presence.here.keys()]).toEqual(["alice", "bob"]);
    presence = changePresence(presence, {
      joins: { bob: here("4") },
      leaves: { alice: here("2"), bob: here("3") },
    });
    expect([...presence.here.keys()]).toEqual(["bob"]);
  });

  it("waits with diffs that overtake the state", () => {
    const early = changePresence(NOBODY, { joins: { bob: here("2") }, leaves: { alice: here("1") } });
    expect([...early.here.keys()]).toEqual([]);
    expect([...replacePresence(early, { alice: here("1") }).here.keys()]).toEqual(["bob"]);
  });
});

describe("the inbox", () => {
  const entry = (key: string, minute: number, more: Partial<InboxEntry> = {}): InboxEntry => ({
    key,
    dm_key: null,
    kind: "group",
    title: "",
    state: "open",
    participants: [],
    last_message: { seq: 1, sender_id: "bob", text: "", created_at: `2026-01-01T00:0${minute}:00Z` },
    unread_count: 1,
    mention_count: 0,
    last_read_seq: 0,
    muted: false,
    updated_at: "2026-01-01T00:00:00Z",
    ...more,
  });

  it("is sorted by the last message, and changed by ticks", () => {
    const entries = sortEntries([entry("a", 1), entry("b", 3), entry("c", 0, { last_message: null })]);
    expect(entries.map(({ key }) => key)).toEqual(["b", "a", "c"]);
    const changed = changeEntries(entries, { updates: [entry("a", 4), entry("d", 2)], removed: ["b"] });
    expect(changed.map(({ key }) => key)).toEqual(["a", "d", "c"]);
  });

  it("counts what is not muted", () => {
    const entries = [
      entry("a", 1),
      entry("b", 2, { muted: true, mention_count: 3 }),
      entry("c", 3, { mention_count: 1 }),
    ];
    expect(countEntries(entries)).toEqual({ unread: 2, mentions: 1 });
  });
});

describe("an event stream", () => {
  const stream =
    'retry: 1000\n\n: keep-alive\n\nevent: ready\ndata: {"a":1}\n\nevent: message\nid: e:1\r\ndata: ä: ö\r\ndata:two\r\n\r\n';

  it("is read in whatever pieces it comes", () => {
    for (let seed = 1; seed <= 100; seed += 1) {
      const pick = random(seed);
      const parser = new EventParser();
      const events = [];
      for (let at = 0; at < stream.length;) {
        const to = at + 1 + pick(20);
        events.push(...parser.feed(stream.slice(at, to)));
        at = to;
      }
      expect(events).toEqual([
        { event: "ready", data: '{"a":1}' },
        { event: "message", data: "ä: ö\ntwo" },
      ]);
    }
  });
});

describe("a pause", () => {
  it("doubles, is bounded, and is spread", () => {
    expect([0, 1, 2].map((failures) => backoff(failures, DEFAULT_TIMING, () => 1))).toEqual([
      300, 600, 1_200,
    ]);
    expect(backoff(1_000, DEFAULT_TIMING, () => 1)).toBe(10_000);
    expect(backoff(0, DEFAULT_TIMING, () => 0)).toBe(150);
  });
});

describe("tokens", () => {
  const jwt = (claims: object): string => `x.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.y`;

  it("say whose they are", async () => {
    expect(new Tokens(jwt({ sub: "alice" }), undefined).participantId).toBe("alice");
    expect(new Tokens("flk_key", "bob").participantId).toBe("bob");
    const tokens = new Tokens(() => jwt({ sub: "carol" }), undefined);
    expect(tokens.participantId).toBeNull();
    await tokens.current();
    expect(tokens.participantId).toBe("carol");
  });

  it("are asked for once at a time, and again before they expire", async () => {
    let asked = 0;
    const now = Math.floor(Date.now() / 1_000);
    const lives = [100, 0, 100];
    const tokens = new Tokens(async () => jwt({ iat: now, exp: now + (lives[asked++] ?? 0) }), undefined);
    const [one, other] = await Promise.all([tokens.current(), tokens.current()]);
    expect([one === other, asked]).toEqual([true, 1]);
    expect(await tokens.replace("an older one")).toBe(true);
    expect(await tokens.replace(one)).toBe(true);
    await tokens.current();
    await tokens.current();
    expect(asked).toBe(3);
    expect(await new Tokens("fixed", undefined).replace("fixed")).toBe(false);
  });
});

describe("options", () => {
  it("that do not fit are refused", () => {
    expect(() => new FleetLM()).toThrowError(/url must say/);
    expect(() => new FleetLM({ url: "ftp://example.com" })).toThrowError(/url must say/);
    if (!globalThis.WebSocket) {
      expect(() => new FleetLM({ url: "http://example.com", transport: "websocket" })).toThrowError(
        /no WebSocket/,
      );
    }
  });
});
