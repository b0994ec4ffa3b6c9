import { describe, expect, it } from "vitest";
import { appendToLog, beginLog, HELD_MESSAGES, type Log, messagesAfter, prependToLog } from "../src/log.js";
import { message, random, seqs } from "./support.js";

const page = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => message(from + index));

describe("the log", () => {
  it("begins with a page, in order, and knows whether there is more before it", () => {
    expect(beginLog("e", [message(8), message(7)], 8)).toMatchObject({
      last_seq: 8,
      has_more: true,
      messages: [{ seq: 7 }, { seq: 8 }],
    });
    expect(beginLog("e", page(1, 3), 3).has_more).toBe(false);
    expect(beginLog("e", [], 0)).toEqual({ epoch: "e", last_seq: 0, messages: [], has_more: false });
  });

  it("stops at a hole, unless nothing is there any more", () => {
    const log = beginLog("e", page(1, 3), 3);
    const appended = appendToLog(log, [message(4), message(6)]);
    expect([appended.gap, appended.log.last_seq]).toEqual([true, 4]);
    expect(appendToLog(log, [message(5), message(6)], true)).toMatchObject({
      gap: false,
      log: { last_seq: 6 },
    });
    expect(appendToLog(log, [message(5), message(7)], true)).toMatchObject({
      gap: true,
      log: { last_seq: 5 },
    });
  });

  it("does not change what was given out before", () => {
    const log = beginLog("e", page(1, 3), 3);
    const { messages } = log;
    appendToLog(log, [message(4, { kind: "redaction", reply_to: 2, text: "" })]);
    expect([messages.length, messages[1]?.text]).toEqual([3, "2"]);
  });

  it("blanks what a redaction names, if it is held", () => {
    const log = beginLog("e", page(5, 7), 7);
    const redacted = appendToLog(log, [
      message(8, { kind: "redaction", reply_to: 6 }),
      message(9, { kind: "redaction", reply_to: 2 }),
    ]);
    expect(redacted.log.messages.map(({ text, redacted: is }) => [text, is])).toEqual([
      ["5", undefined],
      ["", true],
      ["7", undefined],
      ["8", undefined],
      ["9", undefined],
    ]);
  });

  it("takes older pages, and lets go of the oldest when it is long", () => {
    const log = prependToLog(beginLog("e", page(50, 60), 60), page(40, 52), true);
    expect(seqs(log)).toEqual(page(40, 60).map(({ seq }) => seq));
    expect(prependToLog(log, [], true).has_more).toBe(false);
    const long = appendToLog(beginLog("e", page(1, 5), 5), page(6, HELD_MESSAGES + 10)).log;
    expect([long.messages.length, long.messages[0]?.seq, long.has_more]).toEqual([HELD_MESSAGES, 11, true]);
  });

  it("says what comes after a seq, or that it does not hold it", () => {
    const log = beginLog("e", page(5, 9), 9);
    expect(messagesAfter(log, 3)).toBeNull();
    expect(messagesAfter(log, 4)?.length).toBe(5);
    expect(messagesAfter(log, 7)?.map(({ seq }) => seq)).toEqual([8, 9]);
    expect(messagesAfter(log, 9)).toEqual([]);
  });

  it("holds everything once and in order, however often and in whatever pieces it comes", () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const pick = random(seed);
      const total = 1 + pick(40);
      let log: Log = beginLog("e", page(1, pick(total)), 0);
      while (log.last_seq < total) {
        // A piece from anywhere, with holes and repeats; after a hole a rejoin brings what follows.
        const start = 1 + pick(total);
        const piece = page(start, Math.min(total, start + pick(8))).filter(() => pick(5) > 0);
        const { log: next, added, gap } = appendToLog(log, piece);
        expect(added.map(({ seq }) => seq)).toEqual(
          page(log.last_seq + 1, next.last_seq).map(({ seq }) => seq),
        );
        log = gap
          ? appendToLog(
              next,
              page(next.last_seq + 1, next.last_seq + 1 + pick(3)).filter(({ seq }) => seq <= total),
            ).log
          : next;
      }
      expect(seqs(log)).toEqual(page(1, total).map(({ seq }) => seq));
    }
  });
});
