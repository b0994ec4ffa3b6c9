/** A streamed answer as a `Response`. */
import { DONE, event, longForm, STILL_HERE, type StreamItem } from "./answers.js";
import type { StoredAnswer } from "./memory.js";

const CONTENT_TYPE = "text/event-stream";

/** A comment goes out after so long a silence. */
const STILL_HERE_MS = 15_000;

/**
 * Server-Sent Events of what the handler streams, each written when it is there.
 *
 * When FleetLM hangs up, `hungUp` fires and the handler's stream is closed. `failed` is told what it throws; `settled` what was
 * answered once all of it has been, or nothing.
 */
export function streamed(
  items: AsyncIterable<StreamItem>,
  hungUp: AbortController,
  failed: (error: unknown) => void,
  settled: (whole?: StoredAnswer) => void | Promise<void>,
): Response {
  const frames = framesOf(items, hungUp.signal, failed, settled);
  const encoder = new TextEncoder();
  const stop = async (reason?: unknown): Promise<void> => {
    hungUp.abort(reason);
    await settled();
    // Not awaited: it ends once the handler's stream gives its next item, which may be never.
    void frames.return().catch(() => undefined);
  };
  const body = new ReadableStream<Uint8Array>({
    start: () => hungUp.signal.addEventListener("abort", () => void stop(), { once: true }),
    async pull(controller) {
      const { value, done } = await frames.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel: stop,
  });
  // `no`: a proxy in between hands on what comes, when it comes.
  const headers = { "content-type": CONTENT_TYPE, "cache-control": "no-cache", "x-accel-buffering": "no" };
  return new Response(body, { headers });
}

async function* framesOf(
  items: AsyncIterable<StreamItem>,
  signal: AbortSignal,
  failed: (error: unknown) => void,
  settled: (whole?: StoredAnswer) => void | Promise<void>,
): AsyncGenerator<string, void, undefined> {
  const said: string[] = [];
  try {
    for await (const frame of untiring(longForm(items), STILL_HERE_MS)) {
      if (frame !== STILL_HERE) said.push(frame);
      yield frame;
    }
  } catch (error) {
    await settled();
    if (!signal.aborted) failed(error);
    yield event({ type: "error", errorText: error instanceof Error ? error.message : String(error) });
    return;
  }
  said.push(DONE);
  try {
    await settled({ status: 200, contentType: CONTENT_TYPE, body: said.join("") });
  } catch (error) {
    failed(error); // it is said, but not remembered: should the call come again, the handler is asked again
  }
  yield DONE;
}

/** The chunks as events, and a comment whenever nothing has come for so long. */
async function* untiring(
  chunks: AsyncGenerator<{ readonly type: string }, void, undefined>,
  silenceMs: number,
): AsyncGenerator<string, void, undefined> {
  try {
    for (let next = chunks.next(); ;) {
      const result = await within(next, silenceMs);
      if (result === undefined) {
        yield STILL_HERE;
      } else if (result.done) {
        return;
      } else {
        yield event(result.value);
        next = chunks.next();
      }
    }
  } finally {
    await chunks.return();
  }
}

/** What a promise gives, or undefined if that takes longer. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | number | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(resolve, ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
