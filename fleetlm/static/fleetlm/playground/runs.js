/**
 * Answers that agents are writing. A run begins with a `run` event or in a join's `runs`, grows by `delta`s and ends with a
 * `run` event. Its message comes before or after that, like any other message; its draft stays until then.
 * @typedef {{run_id: string, agent_id: string, text: string, note: string, apart: boolean, stopping: boolean}} Run
 */
export class Runs {
  /** @type {Map<string, Run>} */
  #runs = new Map();

  /** @returns {Run[]} oldest first */
  list() {
    return [...this.#runs.values()];
  }

  /** What a join tells: the runs that are going on. @param {object[]} runs */
  replace(runs) {
    this.#runs.clear();
    for (const run of runs) {
      this.update(run);
      this.grow(run);
    }
  }

  /** A `run` event. @param {{run_id: string, agent_id: string, status: string, seq?: number | null}} event */
  update({ run_id, agent_id, status, seq }) {
    const known = this.#runs.get(run_id);
    if (status === "started" || status === "streaming") {
      if (!known) this.#runs.set(run_id, { run_id, agent_id, text: "", note: "", apart: false, stopping: false });
    } else if (!known?.text || seq === null || status === "failed") {
      this.#runs.delete(run_id);
    } else {
      known.stopping = true;
    }
  }

  /** A `delta` event. @param {{run_id: string, chunks: object[]}} event */
  grow({ run_id, chunks }) {
    const run = this.#runs.get(run_id);
    if (run) for (const chunk of chunks) add(run, chunk);
  }

  /** @param {string} runId @param {boolean} stopping */
  mark(runId, stopping) {
    const run = this.#runs.get(runId);
    if (run) run.stopping = stopping;
  }

  /** An answer that arrived as a message needs no draft of it. @param {{sender_id: string, content: object}} message */
  answered({ sender_id, content }) {
    const of = (run) => (content?.run_id ? run.run_id === content.run_id : run.agent_id === sender_id && !run.text);
    for (const run of this.list()) if (of(run)) this.#runs.delete(run.run_id);
  }
}

/** One chunk of the UI message stream. @param {Run} run @param {{type: string, delta?: string, toolName?: string}} chunk */
function add(run, chunk) {
  const { type } = chunk;
  if (type === "text-start") {
    if (run.apart && run.text) run.text += "\n\n";
    run.apart = false;
    run.note = "";
  } else if (type === "text-delta") {
    run.text += chunk.delta;
  } else if (type === "reasoning-start") {
    run.note = "Thinking";
  } else if (type === "tool-input-start" || type === "tool-input-available") {
    run.note = chunk.toolName ? `Using ${chunk.toolName}` : run.note;
    run.apart = true;
  } else if (type.startsWith("tool-output") || type === "reasoning-end") {
    run.note = "";
  }
}
