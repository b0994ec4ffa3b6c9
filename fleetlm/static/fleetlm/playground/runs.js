/**
 * Answers that agents are writing. A run begins with a `run` event, grows by `delta`s and ends with a
 * `run` event; its message then comes as any other message does.
 * @typedef {{run_id: string, agent_id: string, text: string, stopping: boolean}} Run
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
    for (const run of runs) this.update(run);
  }

  /** A `run` event. @param {{run_id: string, agent_id: string, state: string, text?: string}} event */
  update({ run_id, agent_id, state, text }) {
    if (state !== "running") {
      this.#runs.delete(run_id);
      return;
    }
    const known = this.#runs.get(run_id);
    this.#runs.set(run_id, { run_id, agent_id, text: text ?? known?.text ?? "", stopping: known?.stopping ?? false });
  }

  /** A `delta` event. @param {{run_id: string, text: string}} event */
  grow({ run_id, text }) {
    const run = this.#runs.get(run_id);
    if (run) run.text += text;
  }

  /** @param {string} runId @param {boolean} stopping */
  mark(runId, stopping) {
    const run = this.#runs.get(runId);
    if (run) run.stopping = stopping;
  }

  /** An answer that arrived as a message needs no draft of it. @param {string} agentId */
  answered(agentId) {
    for (const run of this.list()) if (run.agent_id === agentId) this.#runs.delete(run.run_id);
  }
}
