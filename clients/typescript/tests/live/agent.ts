/** An agent that says exactly what a test tells it to say, when it is told to. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { onTestFinished } from "vitest";
import { server } from "./server.js";

/** One call of the agent, and the stream that is its answer. */
export class Call {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    this.chunk({ type: "start" });
    this.chunk({ type: "text-start", id: "t" });
  }

  say(text: string): void {
    this.chunk({ type: "text-delta", id: "t", delta: text });
  }

  end(): void {
    this.chunk({ type: "text-end", id: "t" });
    this.chunk({ type: "finish" });
    this.#response.end();
  }

  chunk(chunk: object): void {
    this.#response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }
}

/** Register an agent under this id; returns what waits for its next call. */
export async function agent(id: string): Promise<() => Promise<Call>> {
  const calls: Call[] = [];
  const waiting: ((call: Call) => void)[] = [];
  const http = createServer((request, response) => {
    request.resume().on("end", () => {
      const call = new Call(response);
      const next = waiting.shift();
      if (next) next(call);
      else calls.push(call);
    });
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  onTestFinished(async () => {
    await server.request("DELETE", `agents/${id}`);
    http.closeAllConnections();
    http.close();
  });
  const { port } = http.address() as { port: number };
  await server.request("POST", "agents", { body: { id, url: `http://127.0.0.1:${port}/` } });
  return () => {
    const call = calls.shift();
    return call ? Promise.resolve(call) : new Promise((resolve) => waiting.push(resolve));
  };
}
