/**
 * Appends and reads of the broker itself, for the coordinators that keep their state in internal
 * topics. Main thread.
 */
import type { AppendResult, InternalConnection } from '../network/internal-connection.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import { type ReadBatches, readBatches } from '../shard/log-reader.ts'
import type { Clock } from '../util/clock.ts'
import type { ReplicaManager } from './replica-manager.ts'

export interface InternalLog {
  /**
   * Appends one record batch of format v2 as acks=-1 does: resolves once it is committed. Batches
   * for one partition are appended in the order of the calls.
   */
  append(topic: string, partition: number, batch: Uint8Array): Promise<AppendResult>
  /**
   * Whole stored batches from the one that holds `offset` on, at most about `maxBytes` but at
   * least one; empty at the end of the log. Of a log that is led, what is not committed yet will be.
   */
  read(topic: string, partition: number, offset: number, maxBytes: number): Promise<ReadBatches>
  /** First offset of the partition; -1 when its log is not open. */
  logStart(topic: string, partition: number): number
}

const NOTHING = Buffer.alloc(0)

export function createInternalLog(options: {
  readonly replicas: ReplicaManager
  readonly connection: InternalConnection
  readonly clock: Clock
}): InternalLog {
  const { replicas, connection, clock } = options
  return {
    append: (topic, number, batch) => {
      const partition = replicas.partition(topic, number)
      if (partition === undefined || !partition.isOnline) {
        const errorCode =
          partition === undefined
            ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            : ErrorCode.KAFKA_STORAGE_ERROR
        return Promise.resolve({ errorCode, baseOffset: -1 })
      }
      return connection.append(partition.log, batch, {
        leaderEpoch: partition.leaderEpoch,
        acks: -1,
        nowMs: clock.nowMs(),
      })
    },
    read: (topic, number, offset, maxBytes) => {
      const partition = replicas.partition(topic, number)
      if (partition === undefined || !partition.isOnline) {
        return Promise.resolve({ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, bytes: NOTHING })
      }
      return readBatches(partition.log, {
        offset,
        maxBytes,
        limitOffset: partition.logEnd,
      })
    },
    logStart: (topic, number) => replicas.partition(topic, number)?.logStart ?? -1,
  }
}
