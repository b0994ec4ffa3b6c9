/** Agents that the tests make with this package, registered at the real server. */
import { onTestFinished } from "vitest";
import { createAgent, type AgentOptions, type Call, type Handler } from "../../src/agent.js";
import { fresh, server } from "./server.js";

/** Register an agent whose calls this handler answers; its id. */
export async function register(
  handler: Handler,
  options: AgentOptions & { wrong?: boolean; trigger?: string } = {},
): Promise<string> {
  const id = fresh("bot");
  const secret: string[] = [];
  const listening = await createAgent(handler, { ...options, secret }).listen(0);
  const made = await server.request<{ secret: string }>("POST", "agents", {
    body: { id, url: listening.url, trigger: options.trigger ?? "all" },
  });
  secret.push(options.wrong ? `whsec_${btoa("no secret of this agent")}` : made.secret);
  onTestFinished(async () => {
    await server.request("DELETE", `agents/${id}`);
    await listening.close();
  });
  return id;
}

/** An answer that a test gives word by word. */
export class Script implements AsyncIterable<string> {
  readonly call: Call;
  readonly signal: AbortSignal;
  readonly #words: (string | Error | null)[] = [];
  #wake = (): void => undefined;

  constructor(call: Call, signal: AbortSignal) {
    this.call = call;
    this.signal = signal;
    signal.addEventListener("abort", () => this.end());
  }

  say(...words: string[]): void {
    this.#put(...words);
  }

  end(): void {
    this.#put(null);
  }

  fail(why: string): void {
    this.#put(new Error(why));
  }

  #put(...words: (string | Error | null)[]): void {
    this.#words.push(...words);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    for (;;) {
      const word = this.#words.shift();
      if (word === null) return;
      if (word instanceof Error) throw word;
      if (word !== undefined) yield word;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** An agent that says what the test tells it to: each call comes out of `next`. */
export async function scripted(trigger = "all"): Promise<{ id: string; next: () => Promise<Script> }> {
  const scripts: Script[] = [];
  const given: Script[] = [];
  let wake = (): void => undefined;
  const id = await register(
    (call, { signal }) => {
      const script = new Script(call, signal);
      scripts.push(script);
      given.push(script);
      wake();
      return script;
    },
    { onError: () => undefined, trigger },
  );
  onTestFinished(() => given.forEach((script) => script.end()));
  const next = async (): Promise<Script> => {
    while (scripts.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    return scripts.shift()!;
  };
  return { id, next };
}
