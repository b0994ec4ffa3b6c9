/** Who has a conversation open, from `presence_state` and `presence_diff` in the shape of Phoenix Presence. Pure. */

export type Presences = Readonly<Record<string, { readonly metas: readonly { readonly phx_ref: string }[] }>>;

export interface PresenceDiff {
  readonly joins: Presences;
  readonly leaves: Presences;
}

export interface Presence {
  /** participant → its connections; it is here as long as one of them is. */
  readonly here: ReadonlyMap<string, ReadonlySet<string>>;
  /** Diffs that overtook the state of their join; null once that has come. */
  readonly early: readonly PresenceDiff[] | null;
}

/** A join whose state is still to come. */
export const NOBODY: Presence = { here: new Map(), early: [] };

export function replacePresence({ early }: Presence, state: Presences): Presence {
  const known: Presence = { here: merged(new Map(), { joins: state, leaves: {} }), early: null };
  return (early ?? []).reduce(changePresence, known);
}

export function changePresence(presence: Presence, diff: PresenceDiff): Presence {
  if (presence.early) return { ...presence, early: [...presence.early, diff] };
  return { ...presence, here: merged(presence.here, diff) };
}

/** Joins first: a connection that is replaced is in both, and its participant never went away. */
function merged(before: Presence["here"], { joins, leaves }: PresenceDiff): Presence["here"] {
  const here = new Map(before);
  for (const [id, refs] of references(joins)) here.set(id, new Set([...(here.get(id) ?? []), ...refs]));
  for (const [id, refs] of references(leaves)) {
    const left = [...(here.get(id) ?? [])].filter((ref) => !refs.includes(ref));
    if (left.length) here.set(id, new Set(left));
    else here.delete(id);
  }
  return here;
}

function references(presences: Presences = {}): [string, string[]][] {
  return Object.entries(presences).map(([id, { metas }]) => [id, metas.map((meta) => meta.phx_ref)]);
}
