import { describe, expect, it } from "vitest";
import type { Chunk } from "../src/index.js";
import {
  answerRuns,
  changeRun,
  growRun,
  joinRuns,
  mergeChunks,
  NO_RUNS,
  type Runs,
  shownRuns,
  textOfChunks,
} from "../src/runs.js";
import { message, random } from "./support.js";

const text = (delta: string, id = "t"): Chunk => ({ type: "text-delta", id, delta });
const event = (
  status: "started" | "streaming" | "finished" | "failed" | "cancelled",
  seq: number | null = null,
) => ({
  run_id: "r",
  agent_id: "bot",
  status,
  seq,
  error: null,
});

function started(...deltas: string[]): Runs {
  let { runs } = changeRun(NO_RUNS, event("started"), 0);
  deltas.forEach(
    (delta, from) => ({ runs } = growRun(runs, { run_id: "r", from, to: from + 1, chunks: [text(delta)] })),
  );
  return runs;
}

describe("runs", () => {
  it("grow by deltas, and end", () => {
    const runs = started("Your ", "parcel");
    expect(shownRuns(runs)).toMatchObject([
      { run_id: "r", agent_id: "bot", text: "Your parcel", to: 2, chunks: [text("Your parcel")] },
    ]);
    const ended = changeRun(runs, event("finished", 2), 1);
    expect(ended.run).toMatchObject({ status: "finished", seq: 2, text: "Your parcel" });
    expect(shownRuns(ended.runs)).toHaveLength(1);
    expect(answerRuns(ended.runs, [message(2, { content: { run_id: "r" } })], 2).size).toBe(0);
  });

  it("are shown until their message is there, and no longer, whichever comes first", () => {
    const answered = answerRuns(started("Hi"), [message(2, { content: { run_id: "r" } })], 2);
    expect(shownRuns(answered)).toEqual([]);
    const late = growRun(answered, { run_id: "r", from: 1, to: 2, chunks: [text("!")] });
    expect(late.delta?.run.text).toBe("Hi!");
    const ended = changeRun(late.runs, event("finished", 2), 2);
    expect([ended.run.text, ended.runs.size]).toEqual(["Hi!", 0]);
    expect(changeRun(started("Hi"), event("finished", 2), 2).runs.size).toBe(0);
    expect(changeRun(NO_RUNS, event("finished", 2), 1)).toMatchObject({
      runs: NO_RUNS,
      run: { status: "finished" },
    });
    for (const status of ["failed", "cancelled", "finished"] as const) {
      expect(changeRun(started("Hi"), event(status), 0).runs.size).toBe(0);
    }
  });

  it("take each chunk once, and notice a hole", () => {
    const runs = started("a", "b");
    expect(growRun(runs, { run_id: "r", from: 0, to: 2, chunks: [text("ab")] })).toMatchObject({
      delta: null,
      gap: false,
    });
    expect(growRun(runs, { run_id: "r", from: 3, to: 4, chunks: [text("d")] }).gap).toBe(true);
    expect(growRun(runs, { run_id: "other", from: 3, to: 4, chunks: [] })).toMatchObject({
      delta: null,
      gap: false,
    });
  });

  it("begin anew with another `started`", () => {
    const { runs } = changeRun(started("a", "b"), event("started"), 0);
    expect(shownRuns(runs)).toMatchObject([{ text: "", to: 0, chunks: [] }]);
  });

  it("a join replaces what was known, and tells what was missed", () => {
    const state = {
      run_id: "r",
      agent_id: "bot",
      status: "streaming" as const,
      to: 4,
      chunks: [text("abcd")],
    };
    const joined = joinRuns(started("a", "b"), [state]);
    expect(joined.told).toEqual([]);
    expect(joined.missed).toMatchObject([
      { run_id: "r", from: 2, to: 4, chunks: [text("cd")], run: { text: "abcd" } },
    ]);
    expect(joinRuns(NO_RUNS, [state])).toMatchObject({
      told: [{ text: "abcd", status: "streaming" }],
      missed: [],
    });
    expect(joinRuns(started("a"), [])).toMatchObject({
      told: [{ text: "a", status: "finished" }],
      runs: new Map(),
    });
  });

  it("are the same whether they are heard live, or joined anywhere in between", () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const pick = random(seed);
      const chunks = Array.from({ length: 1 + pick(30) }, (_, number): Chunk => {
        const kinds: Chunk[] = [
          text(`${number} `),
          text(`${number} `),
          text(`${number} `, "other"),
          { type: "reasoning-delta", id: "t", delta: `${number}` },
          { type: "data-progress", data: number },
          { ...text(`${number}`), providerMetadata: {} },
        ];
        return kinds[pick(kinds.length)]!;
      });
      let { runs } = changeRun(NO_RUNS, event("started"), 0);
      const heard: Chunk[] = [];
      for (let at = 0; at < chunks.length;) {
        const to = Math.min(chunks.length, at + 1 + pick(5));
        const part = { run_id: "r", from: at, to, chunks: mergeChunks([], chunks.slice(at, to)) };
        if (pick(3) === 0) {
          const joined = joinRuns(runs, [
            {
              run_id: "r",
              agent_id: "bot",
              status: "streaming",
              to,
              chunks: [...mergeChunks([], chunks.slice(0, to))],
            },
          ]);
          heard.push(...joined.missed.flatMap((delta) => delta.chunks));
          runs = joined.runs;
        } else {
          const grown = growRun(runs, part);
          heard.push(...grown.delta!.chunks);
          runs = grown.runs;
        }
        at = to;
      }
      const [run] = shownRuns(runs);
      expect(run).toMatchObject({
        to: chunks.length,
        chunks: mergeChunks([], chunks),
        text: textOfChunks(chunks),
      });
      expect(mergeChunks([], heard)).toEqual(mergeChunks([], chunks));
    }
  });
});

describe("the text of chunks", () => {
  it("is one paragraph for texts that follow each other, and another after a step, a tool, a reasoning or a file", () => {
    const begin = (id: string): Chunk => ({ type: "text-start", id });
    expect(textOfChunks([begin("a"), text("one ", "a"), begin("b"), text("two", "b")])).toBe("one two");
    for (const type of ["start-step", "reasoning-start", "file"]) {
      expect(textOfChunks([begin("a"), text("one\n", "a"), { type }, begin("b"), text("\ntwo", "b")])).toBe(
        "one\n\ntwo",
      );
    }
    const tool: Chunk[] = ["tool-input-start", "tool-input-available"].map((type) => ({
      type,
      toolCallId: "c",
      toolName: "look",
    }));
    expect(textOfChunks([begin("a"), text("one", "a"), ...tool, begin("b"), text("two", "b")])).toBe(
      "one\n\ntwo",
    );
    expect(textOfChunks([begin("a"), ...tool, text("late", "a"), begin("b"), text("two", "b")])).toBe(
      "late\n\ntwo",
    );
  });

  it("forgets a step that is tried again", () => {
    const step: Chunk = { type: "start-step" };
    const chunks = [
      step,
      text("kept"),
      step,
      text("not "),
      text("this"),
      { type: "reset-step" },
      text("but this"),
    ];
    expect(textOfChunks(chunks)).toBe("kept\n\nbut this");
  });
});
