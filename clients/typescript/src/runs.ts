/**
 * What agents are saying. A run is known from its `started`, or from a join, until its end has been told and its message is
 * there. Pure.
 */
import type { Chunk, Delta, Message, Run } from "./types.js";

/** A run, and whether the message that it becomes is in the log. */
interface Known {
  readonly run: Run;
  readonly answered: boolean;
}

/** By run_id, oldest first. */
export type Runs = ReadonlyMap<string, Known>;

export const NO_RUNS: Runs = new Map();

/** A run in the reply of a join. */
export interface RunState {
  run_id: string;
  agent_id: string;
  status: "started" | "streaming";
  to: number;
  chunks: Chunk[];
}

/** A `run` event. */
export interface RunEvent {
  run_id: string;
  agent_id: string;
  status: Run["status"];
  seq: number | null;
  error: string | null;
  retry?: boolean | null;
}

/** The chunks that carry a piece of text: the names of what it belongs to, and of the piece. */
const PIECES: Readonly<Record<string, readonly [string, string]>> = {
  "text-delta": ["id", "delta"],
  "reasoning-delta": ["id", "delta"],
  "tool-input-delta": ["toolCallId", "inputTextDelta"],
};

/** Chunks after which the next text is a new paragraph. */
const BLOCKS =
  /^(start-step|reasoning-start|reasoning-file|tool-input-start|tool-input-available|tool-input-error|file)$/;

/** A join: it replaces all that was known. Told are the runs that are new or over, and what was missed of the others. */
export function joinRuns(
  runs: Runs,
  states: readonly RunState[],
): { runs: Runs; told: Run[]; missed: Delta[] } {
  const next = new Map<string, Known>();
  const told: Run[] = [];
  const missed: Delta[] = [];
  for (const state of states) {
    const before = runs.get(state.run_id);
    const run = grow(start(state), state.to, state.chunks);
    next.set(run.run_id, { run, answered: before?.answered ?? false });
    if (!before || before.run.to > run.to) told.push(run);
    else if (run.to > before.run.to) missed.push(missedOf(before.run, run));
  }
  for (const { run } of runs.values()) {
    if (!next.has(run.run_id) && isLive(run)) told.push({ ...run, status: "finished" });
  }
  return { runs: next, told, missed };
}

/** A `run` event. */
export function changeRun(runs: Runs, event: RunEvent, lastSeq: number): { runs: Runs; run: Run } {
  const known = runs.get(event.run_id);
  const anew = !known || event.status === "started";
  const { status, seq, error } = event;
  const run: Run = { ...(anew ? start(event) : known.run), status, seq, error, retry: event.retry ?? false };
  if (!known && !isLive(run)) return { runs, run };
  const next = new Map(runs).set(run.run_id, { run, answered: !anew && known.answered });
  return { runs: dropOver(next, lastSeq), run };
}

/** A `delta`: null if it says nothing new, or is of a run that is over; `gap` if something before it is missing. */
export function growRun(
  runs: Runs,
  { run_id, from, to, chunks }: Omit<Delta, "run">,
): { runs: Runs; delta: Delta | null; gap: boolean } {
  const known = runs.get(run_id);
  if (!known || !isLive(known.run) || to <= known.run.to) return { runs, delta: null, gap: false };
  if (from !== known.run.to) return { runs, delta: null, gap: true };
  const run = grow(known.run, to, chunks);
  return {
    runs: new Map(runs).set(run_id, { ...known, run }),
    delta: { run_id, from, to, chunks, run },
    gap: false,
  };
}

/** Messages have come, and the log goes up to `lastSeq`: drafts of what is a message now are no more. */
export function answerRuns(runs: Runs, messages: readonly Message[], lastSeq: number): Runs {
  if (runs.size === 0) return runs;
  const next = new Map(runs);
  for (const { content } of messages) {
    const known = next.get(content.run_id as string);
    if (known) next.set(known.run.run_id, { ...known, answered: true });
  }
  return dropOver(next, lastSeq);
}

/** Those that are to be shown. */
export function shownRuns(runs: Runs): readonly Run[] {
  return [...runs.values()].filter(({ answered }) => !answered).map(({ run }) => run);
}

/** Whether a run goes on. */
export function isLive({ status }: Pick<Run, "status">): boolean {
  return status === "started" || status === "streaming";
}

/** The same in fewer chunks: neighbouring pieces of one text, reasoning or tool input are one. */
export function mergeChunks(chunks: readonly Chunk[], more: readonly Chunk[]): readonly Chunk[] {
  const merged = [...chunks];
  for (const chunk of more) {
    const last = merged.at(-1);
    const names = PIECES[chunk.type];
    if (last && names && isPieceOfSame(last, chunk, names[0])) {
      merged[merged.length - 1] = { ...last, [names[1]]: `${last[names[1]]}${chunk[names[1]]}` };
    } else {
      merged.push(chunk);
    }
  }
  return merged;
}

/** The text of what is said in these chunks, as the text of the message will be. */
export function textOfChunks(chunks: readonly Chunk[]): string {
  let paragraphs = [""];
  let atStep = paragraphs;
  const tools = new Set<unknown>();
  const paragraphOf = new Map<unknown, number>();
  for (const { type, id, delta, toolCallId } of chunks) {
    if (type === "text-start") paragraphOf.set(id, paragraphs.length - 1);
    if (type === "text-delta") paragraphs[paragraphOf.get(id) ?? paragraphs.length - 1] += String(delta);
    if (type === "reset-step") paragraphs = [...atStep];
    if (BLOCKS.test(type) && !tools.has(toolCallId)) paragraphs.push("");
    if (type === "start-step") atStep = [...paragraphs];
    if (toolCallId !== undefined) tools.add(toolCallId);
  }
  const [first = "", ...rest] = paragraphs.filter((paragraph) => paragraph.trim());
  return rest.reduce(
    (text, paragraph) => `${text.replace(/\n+$/, "")}\n\n${paragraph.replace(/^\n+/, "")}`,
    first,
  );
}

function start({ run_id, agent_id, status }: Pick<Run, "run_id" | "agent_id" | "status">): Run {
  return { run_id, agent_id, status, text: "", chunks: [], to: 0, seq: null, error: null, retry: false };
}

function grow(run: Run, to: number, more: readonly Chunk[]): Run {
  const chunks = mergeChunks(run.chunks, more);
  return { ...run, to, chunks, text: textOfChunks(chunks) };
}

/** A piece that carries more, such as a provider's signature, stays alone. */
function isPieceOfSame(last: Chunk, chunk: Chunk, owner: string): boolean {
  const plain = (piece: Chunk): boolean => Object.keys(piece).length === 3;
  return last.type === chunk.type && last[owner] === chunk[owner] && plain(last) && plain(chunk);
}

/** What `after` has and `before` had not: the same run, later. Both are merged, so they differ from the last of `before` on. */
function missedOf(before: Run, after: Run): Delta {
  const shared = Math.max(before.chunks.length - 1, 0);
  const chunks = after.chunks.slice(shared);
  const last = before.chunks[shared];
  const [grown] = chunks;
  if (last && grown) {
    const piece = PIECES[last.type]?.[1];
    const rest = piece ? String(grown[piece]).slice(String(last[piece]).length) : "";
    if (piece && rest) chunks[0] = { ...grown, [piece]: rest };
    else chunks.shift();
  }
  return { run_id: after.run_id, from: before.to, to: after.to, chunks, run: after };
}

/** Without those that have ended and whose message, if there is one, is in the log. */
function dropOver(runs: Map<string, Known>, lastSeq: number): Runs {
  for (const [id, { run, answered }] of runs) {
    const waits = run.status !== "failed" && run.seq !== null && run.seq > lastSeq && !answered;
    if (!isLive(run) && !waits) runs.delete(id);
  }
  return runs;
}
