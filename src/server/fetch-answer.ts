// Hot path.
/** What an answer to Fetch is made of, for consumers and for replicas. */
import { ErrorCode } from '../protocol/error-codes.ts'
import type { RecordsInput } from '../protocol/schema.ts'
import type { Divergence } from './divergence.ts'
import type { Leader } from './leader-hints.ts'

export const NO_RECORDS: RecordsInput = { bytes: 0 }

export interface PartitionAnswer {
  partitionIndex: number
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  divergingEpoch: Divergence | undefined
  currentLeader: Leader | undefined
  abortedTransactions: { producerId: number; firstOffset: number }[] | null
  preferredReadReplica: number
  records: RecordsInput | null
}

export interface TopicAnswer {
  topic: string
  topicId: string
  partitions: PartitionAnswer[]
}

export function answerOf(
  partition: number,
  log: {
    readonly highWatermark: number
    readonly lastStable: number
    readonly logStart: number
  },
): PartitionAnswer {
  return {
    partitionIndex: partition,
    errorCode: 0,
    highWatermark: log.highWatermark,
    lastStableOffset: log.lastStable,
    logStartOffset: log.logStart,
    divergingEpoch: undefined,
    currentLeader: undefined,
    abortedTransactions: null,
    preferredReadReplica: -1,
    records: NO_RECORDS,
  }
}

export function failedAnswer(partition: number, errorCode: number): PartitionAnswer {
  return {
    partitionIndex: partition,
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    divergingEpoch: undefined,
    currentLeader: undefined,
    abortedTransactions: null,
    preferredReadReplica: -1,
    records: NO_RECORDS,
  }
}

/** Bytes of its records. */
export function sizeOf({ records }: PartitionAnswer): number {
  if (records === null) return 0
  return records instanceof Uint8Array ? records.length : records.bytes
}

/** What is wrong with the epoch that a client takes for the current one; 0 if nothing is. */
export function checkLeaderEpoch(asked: number, current: number): number {
  if (asked < 0 || asked === current) return ErrorCode.NONE
  return asked < current ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH
}
