/**
 * Which part of a compacted log is clean, which may be cleaned, and how much it wants it: Apache
 * Kafka's rules (min.cleanable.dirty.ratio, min.compaction.lag.ms, max.compaction.lag.ms). Pure.
 */
import type { SegmentState } from '../shard/control.ts'

export interface CleanableLog {
  /** Ascending; the last one is the active one. */
  readonly segments: readonly SegmentState[]
  readonly logStart: number
  readonly logEnd: number
  /** The first offset whose transaction may still be aborted. */
  readonly lastStable: number
  /** Up to where it was cleaned; undefined: never. */
  readonly checkpoint: number | undefined
  /** No record younger than this may be cleaned. */
  readonly minLagMs: number
  /** A record older than this must have been. */
  readonly maxLagMs: number
  readonly minDirtyRatio: number
  readonly nowMs: number
}

export interface CleanablePart {
  readonly firstDirty: number
  /** Where a segment begins of which, and of those behind, nothing may be touched. */
  readonly firstUncleanable: number
  readonly cleanableBytes: number
  /** Share of them in all that would be read. */
  readonly dirtyRatio: number
  /** Whether the log should be cleaned now. */
  readonly isDue: boolean
  /** The checkpoint is of another log than this one, and firstDirty is to take its place. */
  readonly isCheckpointWrong: boolean
}

export function cleanablePart(log: CleanableLog): CleanablePart {
  const isCheckpointWrong =
    log.checkpoint !== undefined && (log.checkpoint < log.logStart || log.checkpoint > log.logEnd)
  const firstDirty = isCheckpointWrong ? log.logStart : (log.checkpoint ?? log.logStart)
  const firstUncleanable = uncleanableFrom(log, firstDirty)
  const bytesIn = (from: number, to: number): number =>
    closedSegments(log, from, to).reduce((sum, segment) => sum + segment.bytes, 0)
  const cleanableBytes = firstUncleanable > firstDirty ? bytesIn(firstDirty, firstUncleanable) : 0
  const total = cleanableBytes === 0 ? 0 : bytesIn(0, firstUncleanable)
  const dirtyRatio = total === 0 ? 0 : cleanableBytes / total
  return {
    firstDirty,
    firstUncleanable,
    cleanableBytes,
    dirtyRatio,
    isDue: cleanableBytes > 0 && (dirtyRatio > log.minDirtyRatio || isOverdue(log, firstDirty)),
    isCheckpointWrong,
  }
}

/** Closed segments with offsets in [from, to). */
function closedSegments(log: CleanableLog, from: number, to: number): SegmentState[] {
  return log.segments.slice(0, -1).filter((segment, i) => {
    const end = log.segments[i + 1]?.baseOffset ?? log.logEnd
    return end > from && segment.baseOffset < to
  })
}

function uncleanableFrom(log: CleanableLog, firstDirty: number): number {
  const active = log.segments.at(-1)?.baseOffset ?? log.logEnd
  const unstable = log.segments.findLast((segment) => segment.baseOffset <= log.lastStable)
  const bounds = [active, unstable?.baseOffset ?? log.logStart]
  if (log.minLagMs > 0) {
    const young = closedSegments(log, firstDirty, active).find(
      (segment) => segment.largestTimestamp > log.nowMs - log.minLagMs,
    )
    if (young !== undefined) bounds.push(young.baseOffset)
  }
  return Math.min(...bounds)
}

function isOverdue(log: CleanableLog, firstDirty: number): boolean {
  const active = log.segments.at(-1)?.baseOffset ?? log.logEnd
  const oldest = closedSegments(log, firstDirty, active)
    .map((segment) => segment.firstTimestamp)
    .filter((timestamp) => timestamp > 0)
  return oldest.length > 0 && Math.min(...oldest) < log.nowMs - log.maxLagMs
}
