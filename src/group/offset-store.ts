/**
 * Where groups and their offsets are kept: the partitions of `__consumer_offsets` that this broker
 * leads. Knows which are loaded, writes records and reads them back. Main thread only.
 */
import { RecordCursor, timestampOf } from '../log/record-cursor.ts'
import { buildBatch, PREFIX_BYTES, type RecordValue, readBatch } from '../log/record-format.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type { InternalLog } from '../replica/internal-log.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import { GroupMember, GroupMetadata } from './group-metadata.ts'
import {
  type GroupRecord,
  type GroupRecordValue,
  groupKey,
  groupValue,
  OFFSETS_TOPIC,
  offsetKey,
  offsetValue,
  readGroupRecord,
} from './record-schemas.ts'

export interface OffsetWrite {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
  readonly commitTimestamp: number
  readonly expireTimestamp: number
}

export interface OffsetStoreOptions {
  readonly log: InternalLog
  readonly clock: Clock
  readonly logger: Logger
  /** Of the offsets topic; 0 while there is none. */
  readonly partitionCount: () => number
  /** How much is read at a time while loading. */
  readonly loadBufferBytes: number
  /** Codec of what is written. */
  readonly codec: number
  readonly decompressionMaxBytes: number
}

/** `String.hashCode` of Java, made positive as Kafka does: the most negative becomes 0. */
export function groupHash(groupId: string): number {
  let hash = 0
  for (let i = 0; i < groupId.length; i += 1) {
    hash = (Math.imul(hash, 31) + groupId.charCodeAt(i)) | 0
  }
  return hash === -0x80000000 ? 0 : Math.abs(hash)
}

type PartitionState = 'loading' | 'active'

/** Log lines about bad records, for one partition. */
const COMPLAINTS_MAX = 1

export class OffsetStore {
  readonly #options: OffsetStoreOptions
  readonly #partitions = new Map<number, { state: PartitionState }>()
  #closed = false

  constructor(options: OffsetStoreOptions) {
    this.#options = options
  }

  /** Nothing is served any more. */
  close(): void {
    this.#partitions.clear()
    this.#closed = true
  }

  partitionOf(groupId: string): number {
    const count = this.#options.partitionCount()
    return count === 0 ? -1 : groupHash(groupId) % count
  }

  /** 0 when this broker coordinates the group; else the error that says why not. */
  availability(groupId: string): number {
    const partition = this.partitionOf(groupId)
    if (partition < 0 || this.#closed) return ErrorCode.COORDINATOR_NOT_AVAILABLE
    const known = this.#partitions.get(partition)
    if (known === undefined) return ErrorCode.NOT_COORDINATOR
    return known.state === 'active' ? ErrorCode.NONE : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
  }

  get isLoading(): boolean {
    for (const { state } of this.#partitions.values()) if (state === 'loading') return true
    return false
  }

  resign(partition: number): void {
    this.#partitions.delete(partition)
  }

  /** The groups stored in a partition; null when it was resigned meanwhile or cannot be read. */
  async load(partition: number): Promise<GroupMetadata[] | null> {
    const entry: { state: PartitionState } = { state: 'loading' }
    this.#partitions.set(partition, entry)
    const { log, logger, loadBufferBytes } = this.#options
    const reader = new PartitionReader(this.#options, partition)
    let next = log.logStart(OFFSETS_TOPIC, partition)
    for (;;) {
      const { errorCode, bytes } = await log.read(OFFSETS_TOPIC, partition, next, loadBufferBytes)
      if (this.#partitions.get(partition) !== entry) return null
      if (errorCode !== 0) {
        // Answers stay at "loading": a client comes again, and so does the next leader epoch.
        logger.error({ partition, errorCode }, 'an offsets partition could not be read')
        return null
      }
      if (bytes.length === 0) break
      next = reader.take(bytes)
    }
    const groups = reader.groups()
    entry.state = 'active'
    return groups
  }

  /**
   * Stores the members of a group; `assignments` null keeps those that are known. A protocol error
   * code.
   */
  async writeGroup(
    group: GroupMetadata,
    assignments: ReadonlyMap<string, Buffer> | null,
  ): Promise<number> {
    const value = groupValue({
      protocolType: group.protocolType ?? '',
      generation: group.generationId,
      protocol: group.protocolName,
      leader: group.leaderId,
      currentStateTimestamp: group.stateTimestamp,
      members: [...group.members.values()].map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.groupInstanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeout: member.rebalanceTimeoutMs,
        sessionTimeout: member.sessionTimeoutMs,
        subscription: member.metadataFor(group.protocolName),
        assignment:
          (assignments === null ? member.assignment : assignments.get(member.memberId)) ??
          Buffer.alloc(0),
      })),
    })
    return (await this.#append(group, [{ key: groupKey(group.groupId), value }])).errorCode
  }

  /** Stores commits, and takes them once they are stored. A protocol error code. */
  async writeOffsets(group: GroupMetadata, writes: readonly OffsetWrite[]): Promise<number> {
    const { errorCode, baseOffset } = await this.#append(
      group,
      writes.map((one) => ({
        key: offsetKey(group.groupId, one.topic, one.partition),
        value: offsetValue(one),
      })),
    )
    if (errorCode !== 0) return errorCode
    for (const [i, one] of writes.entries()) {
      group.setOffset(one.topic, one.partition, { ...one, recordOffset: baseOffset + i })
    }
    return 0
  }

  /** Tombstones for offsets, and with `withGroup` for the group. A protocol error code. */
  async forget(
    group: GroupMetadata,
    gone: readonly { readonly topic: string; readonly partition: number }[],
    withGroup: boolean,
  ): Promise<number> {
    const seen = gone.map((one) => group.offset(one.topic, one.partition))
    const records: { key: Buffer; value: Buffer | null }[] = gone.map((one) => ({
      key: offsetKey(group.groupId, one.topic, one.partition),
      value: null,
    }))
    if (withGroup) records.push({ key: groupKey(group.groupId), value: null })
    const { errorCode } = await this.#append(group, records)
    if (errorCode !== 0) return errorCode
    for (const [i, { topic, partition }] of gone.entries()) {
      const committed = seen[i]
      if (committed !== undefined) group.removeOffset(topic, partition, committed)
    }
    return 0
  }

  #append(
    group: GroupMetadata,
    records: readonly { readonly key: Buffer; readonly value: Buffer | null }[],
  ): Promise<{ errorCode: number; baseOffset: number }> {
    const timestamp = this.#options.clock.nowMs()
    const batch: RecordValue[] = records.map((record) => ({ ...record, timestamp }))
    if (!this.#partitions.has(group.offsetsPartition)) {
      return Promise.resolve({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 })
    }
    return this.#options.log.append(
      OFFSETS_TOPIC,
      group.offsetsPartition,
      buildBatch(batch, this.#options.codec),
    )
  }
}

/** Replays the records of one offsets partition. */
class PartitionReader {
  readonly #options: OffsetStoreOptions
  readonly #partition: number
  readonly #groups = new Map<string, GroupMetadata>()
  /** Groups that have a record, and not only offsets. */
  readonly #stored = new Map<string, GroupRecordValue>()
  #bad = 0

  constructor(options: OffsetStoreOptions, partition: number) {
    this.#options = options
    this.#partition = partition
  }

  /** Takes whole batches; where to read on. */
  take(bytes: Buffer): number {
    let next = 0
    for (let at = 0; at < bytes.length; ) {
      const batch = bytes.subarray(at)
      const lastOffset = Number(batch.readBigInt64BE(0)) + batch.readInt32BE(23)
      const size = batch.readInt32BE(8) + PREFIX_BYTES
      next = lastOffset + 1
      try {
        this.#takeBatch(batch)
      } catch (error) {
        this.#complain(Number(batch.readBigInt64BE(0)), error)
      }
      at += size
    }
    return next
  }

  #takeBatch(batch: Buffer): void {
    const header = readBatch(batch)
    // Markers of transactions, which commit nothing here yet.
    if (header.isControl) return
    const cursor = new RecordCursor(header, batch, this.#options.decompressionMaxBytes)
    while (cursor.next()) {
      const offset = header.baseOffset + cursor.offsetDelta
      if (cursor.keyBytes < 0) {
        this.#complain(offset, 'a record without a key')
        continue
      }
      const key = Buffer.from(cursor.bytes.subarray(cursor.keyAt, cursor.keyAt + cursor.keyBytes))
      const value =
        cursor.valueBytes < 0
          ? null
          : Buffer.from(cursor.bytes.subarray(cursor.valueAt, cursor.valueAt + cursor.valueBytes))
      let record: GroupRecord
      try {
        record = readGroupRecord(key, value)
      } catch (error) {
        this.#complain(offset, error)
        continue
      }
      this.#apply(record, offset, timestampOf(header, cursor))
    }
  }

  #apply(record: GroupRecord, offset: number, timestamp: number): void {
    if (record.kind === 'unknown') return
    if (record.kind === 'group') {
      if (record.value === null) this.#stored.delete(record.group)
      else this.#stored.set(record.group, { ...record.value })
      return
    }
    const group = this.#group(record.group)
    const { topic, partition, value } = record
    if (value === null) {
      group.removeOffset(topic, partition)
      return
    }
    group.setOffset(topic, partition, {
      offset: value.offset,
      leaderEpoch: value.leaderEpoch,
      metadata: value.metadata,
      commitTimestamp: value.commitTimestamp >= 0 ? value.commitTimestamp : timestamp,
      expireTimestamp: value.expireTimestamp,
      recordOffset: offset,
    })
  }

  #group(groupId: string): GroupMetadata {
    let group = this.#groups.get(groupId)
    if (group === undefined) {
      group = new GroupMetadata(groupId, this.#partition)
      this.#groups.set(groupId, group)
    }
    return group
  }

  /** What is left after the last record. */
  groups(): GroupMetadata[] {
    for (const [groupId, value] of this.#stored) restore(this.#group(groupId), value)
    return [...this.#groups.values()].filter(
      (group) => this.#stored.has(group.groupId) || group.offsets.size > 0,
    )
  }

  #complain(offset: number, error: unknown): void {
    this.#bad += 1
    if (this.#bad > COMPLAINTS_MAX) return
    this.#options.logger.warn(
      { partition: this.#partition, offset, error: String(error) },
      'a record of the offsets topic cannot be read; it and others like it are left out',
    )
  }
}

function restore(group: GroupMetadata, value: GroupRecordValue): void {
  group.generationId = value.generation
  group.protocolType = value.protocolType === '' ? null : value.protocolType
  group.protocolName = value.protocol
  group.stateTimestamp = value.currentStateTimestamp
  for (const one of value.members) {
    const member = new GroupMember({
      memberId: one.memberId,
      groupInstanceId: one.groupInstanceId,
      clientId: one.clientId,
      clientHost: one.clientHost,
      // Before version 1 the session time-out was both.
      rebalanceTimeoutMs: one.rebalanceTimeout === 0 ? one.sessionTimeout : one.rebalanceTimeout,
      sessionTimeoutMs: one.sessionTimeout,
      protocols: [{ name: value.protocol ?? '', metadata: one.subscription }],
    })
    member.assignment = one.assignment
    group.add(member)
  }
  group.leaderId = value.leader
  group.state = value.members.length > 0 ? 'Stable' : 'Empty'
}
