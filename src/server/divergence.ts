// Hot path.
/** Whether a log that was read elsewhere is the beginning of this one (KIP-595). */
import { addon } from '../native/addon.ts'
import type { Partition } from '../replica/partition.ts'

/** The largest epoch here that is not above the one of the other log, and where it ended. */
export interface Divergence {
  readonly epoch: number
  readonly endOffset: number
}

/**
 * Where the logs parted; undefined if what ends at `fetchOffset` with a record of
 * `lastFetchedEpoch` (−1: not told) is the beginning of this log; null if nobody can tell, and the
 * offset is out of range.
 */
export function divergenceOf(
  partition: Partition,
  {
    lastFetchedEpoch,
    fetchOffset,
  }: { readonly lastFetchedEpoch: number; readonly fetchOffset: number },
): Divergence | null | undefined {
  if (lastFetchedEpoch < 0) return undefined
  const { logStart, logEnd } = partition
  if (fetchOffset < logStart) return null
  if (lastFetchedEpoch === partition.storedLog.lastEpoch) {
    return fetchOffset <= logEnd ? undefined : { epoch: lastFetchedEpoch, endOffset: logEnd }
  }
  const [epoch, endOffset] = addon.epochEndOffset(partition.log, lastFetchedEpoch)
  if (epoch < 0 || endOffset < 0) return null
  return epoch < lastFetchedEpoch || endOffset < fetchOffset ? { epoch, endOffset } : undefined
}
