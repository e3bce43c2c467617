/** Columns as Apache's tools print them: padded with spaces to a width, one blank between. */

/** Java's `%-Ns`: padded on the right to at least `width`, never cut. */
export function pad(text: string | number | null, width: number): string {
  return String(text ?? '-').padEnd(width)
}

/** A row of padded columns; the last one is padded too unless its width is 0. */
export function row(cells: readonly (string | number | null)[], widths: readonly number[]): string {
  return cells.map((cell, column) => pad(cell, widths[column] ?? 0)).join(' ')
}

/** The widest of the texts, and at least `least`. */
export function widest(least: number, texts: Iterable<string | number | null>): number {
  let width = least
  for (const text of texts) width = Math.max(width, String(text ?? '-').length)
  return width
}
