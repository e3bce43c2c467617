/** How long clients went without an acknowledgement around a fault. */
import type { ClientKind, History, Write } from './history.ts'

/** When a fault was done, and what it hit. */
export interface FaultWindow {
  readonly name: string
  readonly fromMs: number
  readonly toMs: number
  /** Partitions that are looked at; all if left out. */
  readonly partitions?: readonly number[]
}

/**
 * The longest time in which a producer got no acknowledgement for a partition, by kind of client:
 * the worst of its producers and partitions. The time starts with the last acknowledgement before
 * the fault; one that has not ended counts up to the end of the window.
 */
export function longestSilences(history: History, window: FaultWindow): Map<ClientKind, number> {
  const kinds = new Map(history.producers.map(({ name, kind }) => [name, kind]))
  const worst = new Map<ClientKind, number>()
  for (const [place, ends] of acknowledgements(history.writes, window)) {
    const kind = kinds.get(place.slice(0, place.lastIndexOf(' ')))
    if (kind === undefined) continue
    worst.set(kind, Math.max(worst.get(kind) ?? 0, longestGap(ends, window)))
  }
  return worst
}

/** Times of the acknowledgements, ascending, by producer and partition. */
function acknowledgements(writes: readonly Write[], window: FaultWindow): Map<string, number[]> {
  const times = new Map<string, number[]>()
  for (const { producer, partition, outcome, endedMs } of writes) {
    if (window.partitions !== undefined && !window.partitions.includes(partition)) continue
    const place = `${producer} ${partition}`
    const ends = times.get(place) ?? []
    times.set(place, ends)
    if (outcome === 'ok') ends.push(endedMs)
  }
  for (const ends of times.values()) ends.sort((a, b) => a - b)
  return times
}

function longestGap(ends: readonly number[], { fromMs, toMs }: FaultWindow): number {
  let last = ends.findLast((end) => end <= fromMs) ?? fromMs
  let longest = 0
  for (const end of ends) {
    if (end <= last) continue
    if (last >= toMs) break
    longest = Math.max(longest, Math.min(end, toMs) - last)
    last = end
  }
  return Math.max(longest, toMs - last)
}

/** The middle one of several numbers, the higher middle of an even count. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
