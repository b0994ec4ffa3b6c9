/** The body of a call, read up to a limit. */

export class BodyTooLarge extends Error {
  override readonly name: string = "BodyTooLarge";
}

/** All bytes of a body; throws `BodyTooLarge` as soon as there are more than `limit`. */
export async function readBody(
  body: AsyncIterable<Uint8Array> | Uint8Array,
  limit: number,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body instanceof Uint8Array ? [body] : body) {
    size += piece.length;
    if (size > limit) throw new BodyTooLarge(`The body is over ${limit} bytes.`);
    pieces.push(piece);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
