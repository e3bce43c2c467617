/** The hint of an error line: which name was probably meant. */

/** Edits (insert, remove, replace, swap of neighbours) that lead from one text to another. */
function distance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1]
      let least = Math.min(
        (last[column] as number) + 1,
        (current[column - 1] as number) + 1,
        (last[column - 1] as number) + (same ? 0 : 1),
      )
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (row > 1 && column > 1 && swapped) {
        least = Math.min(least, (beforeLast[column - 2] as number) + 1)
      }
      current.push(least)
    }
    beforeLast = last
    last = current
  }
  return last[to.length] as number
}

/** Longer texts are not compared: what is behind this was not mistyped. */
const LENGTH_MAX = 128

/** The name that differs least from `text`, or null if all differ in more than a third of it. */
export function nearestName(text: string, names: Iterable<string>): string | null {
  if (text.length > LENGTH_MAX) return null
  let best: string | null = null
  let least = Math.max(1, Math.floor(text.length / 3)) + 1
  for (const name of names) {
    if (Math.abs(name.length - text.length) >= least) continue
    const edits = distance(text.toLowerCase(), name.toLowerCase())
    if (edits < least) {
      best = name
      least = edits
    }
  }
  return best
}
