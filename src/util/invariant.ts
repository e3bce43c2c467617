/** A broken invariant is a bug: it is never caught, and ends the process or its shard. */
export function invariant(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${what}`)
}
