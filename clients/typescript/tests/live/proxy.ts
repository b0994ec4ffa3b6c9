/** A TCP proxy before the server that can be as bad as a network. */
import { createServer, connect, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { onTestFinished } from "vitest";

export class Proxy {
  /** How many connections were asked for. */
  connections = 0;
  /** How many WebSockets and event streams were asked for. */
  follows = 0;
  /** Answer requests for a WebSocket like a proxy that knows none. */
  refusesUpgrades = false;
  /** Refuse every connection. */
  down = false;
  /** Keep connections open and pass on nothing: a peer that is gone without a word. */
  swallows = false;
  /** Cut everything once so many more bytes have come from the server. */
  cutsAfter: number = Infinity;
  #url = "";
  readonly #pairs = new Set<Socket>();
  readonly #waiting = new Set<() => void>();
  readonly #server: Server;

  private constructor(target: URL) {
    this.#server = createServer((client) => this.#accept(client, target));
  }

  /** One that ends with its test. */
  static async before(target: string): Promise<Proxy> {
    const proxy = new Proxy(new URL(target));
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    const address = proxy.#server.address();
    if (address === null || typeof address === "string") throw new Error("The proxy does not listen.");
    proxy.#url = `http://127.0.0.1:${address.port}`;
    onTestFinished(() => {
      proxy.cut();
      proxy.#server.close();
    });
    return proxy;
  }

  get url(): string {
    return this.#url;
  }

  /** Cut every connection. */
  cut(): void {
    for (const socket of this.#pairs) socket.destroy();
    this.#pairs.clear();
  }

  /** Resolves when this is so, looking whenever a connection or a follower comes. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!isSo()) return;
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
      look();
    });
  }

  #happened(what: "connections" | "follows"): void {
    this[what] += 1;
    for (const look of this.#waiting) look();
  }

  #accept(client: Socket, target: URL): void {
    this.#happened("connections");
    if (this.down) return void client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    this.#join(client, upstream);
    this.#join(upstream, client);
    client.on("data", (bytes) => {
      if (this.swallows) return;
      const head = bytes.toString("latin1");
      const isUpgrade = /^GET [^]*\r\nupgrade: websocket/i.test(head);
      if (isUpgrade || /^GET \S+\/events /.test(head)) this.#happened("follows");
      if (isUpgrade && this.refusesUpgrades)
        client.end("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      else upstream.write(bytes);
    });
    upstream.on("data", (bytes) => {
      if (this.swallows) return;
      this.cutsAfter -= bytes.length;
      if (this.cutsAfter > 0) return void client.write(bytes);
      this.cutsAfter = Infinity;
      client.write(bytes.subarray(0, bytes.length >> 1), () => this.cut());
    });
  }

  #join(socket: Socket, other: Socket): void {
    this.#pairs.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#pairs.delete(socket);
      if (!this.swallows) other.destroy();
    });
  }
}
