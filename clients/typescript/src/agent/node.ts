/** Serving an agent with Node. Its types are named by what is used of them, so that nobody needs `@types/node`. */
import type { Incoming } from "./agent.js";

/** What is used of `http.IncomingMessage`, and of what Express or a cloud function makes of one. */
export interface NodeRequest extends AsyncIterable<Uint8Array> {
  readonly method?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Whether the body has been read by somebody else. */
  readonly readableEnded?: boolean;
  /** The raw body, where a middleware such as `express.raw` has read it. */
  readonly body?: unknown;
  readonly rawBody?: unknown;
}

/** What is used of `http.ServerResponse`. */
export interface NodeResponse {
  readonly writableFinished: boolean;
  readonly destroyed: boolean;
  writeHead(status: number, headers?: Record<string, string>): unknown;
  flushHeaders(): void;
  write(data: Uint8Array): boolean;
  end(): unknown;
  destroy(): unknown;
  once(event: "close" | "drain", listener: () => void): unknown;
  off(event: "close" | "drain", listener: () => void): unknown;
}

/** A server that `listen` has started. */
export interface Listening {
  readonly port: number;
  readonly url: string;
  /** Take no more calls; resolves once those under way are answered. */
  close(): Promise<void>;
}

/** How often idle connections are looked for while a server closes. */
const IDLE_MS = 50;

type Respond = (incoming: Incoming) => Promise<Response>;

/** Answer one request of Node's. */
export async function serveNode(
  respond: Respond,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const hungUp = new AbortController();
  response.once(
    "close",
    () => response.writableFinished || hungUp.abort(new Error("The connection was closed.")),
  );
  const { method = "GET", headers } = request;
  try {
    const answer = await respond({ method, headers, body: bodyOf(request), signal: hungUp.signal });
    response.writeHead(answer.status, Object.fromEntries(answer.headers));
    response.flushHeaders();
    for await (const piece of answer.body ?? []) {
      if (hungUp.signal.aborted) return;
      if (!response.write(piece)) await drained(response);
    }
  } catch (error) {
    console.error("FleetLM agent:", error);
    response.destroy(); // FleetLM sees an answer that broke off, and calls again
  } finally {
    response.end();
  }
}

/** The body as it came. What a parser has made of it does not fit the signature any more, so that is refused. */
function bodyOf(request: NodeRequest): AsyncIterable<Uint8Array> | Uint8Array {
  const raw = [request.rawBody, request.body].find((body) => body instanceof Uint8Array);
  if (raw !== undefined) return raw as Uint8Array;
  if (request.readableEnded) {
    console.error(
      "FleetLM agent: the body has been parsed already. Mount the agent before express.json() and the like.",
    );
  }
  return request;
}

/** Wait until there is room again, or nobody who needs it. */
async function drained(response: NodeResponse): Promise<void> {
  await new Promise<void>((resolve) => {
    const go = (): void => {
      response.off("drain", go);
      response.off("close", go);
      resolve();
    };
    response.once("drain", go);
    response.once("close", go);
    if (response.destroyed) go();
  });
}

/** Listen with `node:http`; port 0 takes any that is free. */
export async function listen(respond: Respond, port: number, host: string): Promise<Listening> {
  const { createServer } = await import("node:http");
  const server = createServer((request, response) => void serveNode(respond, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const taken = typeof address === "object" && address !== null ? address.port : port;
  return {
    port: taken,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}/`,
    close: () =>
      new Promise((resolve, reject) => {
        // Connections that are kept alive become idle one by one, when their calls have been answered.
        const idle = setInterval(() => server.closeIdleConnections(), IDLE_MS);
        server.close((error) => {
          clearInterval(idle);
          if (error) reject(error);
          else resolve();
        });
      }),
  };
}
