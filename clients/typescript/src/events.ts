/** The event stream format of Server-Sent Events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */

export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** Turns the text of a stream, piece by piece, into its events. Comments and the fields `id` and `retry` are passed over. */
export class EventParser {
  #rest = "";
  #event = "message";
  #data: string[] = [];

  feed(text: string): StreamEvent[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line.replace(/\r$/, "")));
  }

  #line(line: string): StreamEvent[] {
    if (line === "") return this.#dispatch();
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    return [];
  }

  #dispatch(): StreamEvent[] {
    const done = this.#data.length ? [{ event: this.#event, data: this.#data.join("\n") }] : [];
    this.#event = "message";
    this.#data = [];
    return done;
  }
}

/** The events of a response's body; `heard` is called whenever anything comes, comments too. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<StreamEvent> {
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      yield* parser.feed(decoder.decode(value, { stream: true }));
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
