/** What is asked of the server about one conversation: over its socket where there is one, else by REST. */
import type { Core } from "./core.js";
import { asError } from "./errors.js";
import type { Way } from "./outbox.js";
import { conversationPath } from "./rest.js";
import type { Link } from "./topic.js";
import type { ConversationInfo, Message, SendBody, Sent } from "./types.js";

export class Calls {
  /** Sends, one at a time: of several under way one may be refused for the moment, and be stored after the others. */
  readonly byRest: Way = { window: 1, send: (body) => this.#sendByRest(body) };
  readonly #key: string;
  readonly #core: Core;
  readonly #link: () => Link | null;
  #bySocket: { link: Link; way: Way } | null = null;

  constructor(key: string, core: Core, link: () => Link | null) {
    this.#key = key;
    this.#core = core;
    this.#link = link;
  }

  get me(): string | null {
    return this.#core.tokens.participantId;
  }

  /** Sends over the socket; the same object for the same join. Null where there is none. */
  get bySocket(): Way | null {
    const link = this.#link();
    const ask = link?.ask;
    if (!link || !ask) return null;
    if (this.#bySocket?.link !== link) {
      this.#bySocket = { link, way: { window: 1, send: (body) => ask("send", body) } };
    }
    return this.#bySocket.way;
  }

  /** Nothing that is asked here does harm when it is asked twice. */
  async ask(event: "read" | "typing" | "history" | "cancel", payload: any): Promise<any> {
    const ask = this.#link()?.ask;
    try {
      if (ask) return await ask(event, payload);
    } catch (error) {
      if (!asError(error).passing || event === "typing") throw error;
    }
    await this.#core.tokens.current();
    return this.#byRest(event, payload);
  }

  call(method: string, path: string[] = [], body?: object): Promise<ConversationInfo> {
    return this.#core.rest.request(method, this.#path(...path), { body });
  }

  /** The messages after a seq, oldest first. */
  read(after: number): Promise<{ messages: readonly Message[]; epoch: string; last_seq: number }> {
    return this.#core.rest.request("GET", this.#path("messages"), { query: { after, limit: 200 } });
  }

  #byRest(event: string, payload: any): Promise<any> {
    const { rest } = this.#core;
    if (event === "history") return rest.request("GET", this.#path("messages"), { query: payload });
    if (event === "cancel") {
      return rest.request("POST", this.#path("runs", payload.run_id, "cancel"), { repeatable: true });
    }
    const body = { participant_id: this.me ?? undefined, ...payload };
    return rest.request("POST", this.#path(event), { body, repeatable: event === "read" });
  }

  async #sendByRest(body: SendBody): Promise<Sent> {
    await this.#core.tokens.current();
    const message = { ...body, sender_id: body.sender_id ?? this.me ?? undefined };
    const answer = await this.#core.rest.request<Sent>("POST", this.#path("messages"), { body: message });
    const { id, seq, created_at, deduplicated } = answer;
    return { id, seq, created_at, deduplicated };
  }

  #path(...rest: string[]): string {
    return conversationPath(this.#key, ...rest);
  }
}
