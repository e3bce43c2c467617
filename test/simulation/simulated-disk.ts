/**
 * What a simulated broker has on its disk: it survives the process. What was not synced is lost with
 * the power of the host, from the end of each log.
 */

import type { SessionCredentials } from '../../src/registry/zookeeper/client.ts'
import type { SeededRandom } from '../../src/util/random.ts'

export interface StoredRecord {
  readonly value: number
  /** Of the leader that appended it. */
  readonly epoch: number
  readonly producerId: number
  readonly sequence: number
}

/**
 * What a disk does not do any more: `write` fails whatever changes a log, `sync` only what forces
 * it to the disk, and what was not forced there before may be gone.
 */
export type DiskFailure = 'write' | 'sync'

/** One leader epoch, from where on. */
export interface EpochStart {
  readonly epoch: number
  readonly start: number
}

/** As `native/leader_epoch_cache.cc` has it. */
export class EpochCache {
  #entries: EpochStart[] = []

  get latest(): number {
    return this.#entries.at(-1)?.epoch ?? -1
  }

  assign(epoch: number, start: number): void {
    if (epoch < 0 || epoch <= this.latest) return
    this.truncateFromEnd(start)
    this.#entries.push({ epoch, start })
  }

  truncateFromEnd(offset: number): void {
    while ((this.#entries.at(-1)?.start ?? -1) >= offset) this.#entries.pop()
  }

  truncateFromStart(offset: number): void {
    while ((this.#entries[1]?.start ?? Number.POSITIVE_INFINITY) <= offset) this.#entries.shift()
    const first = this.#entries[0]
    if (first !== undefined && first.start < offset) {
      this.#entries[0] = { epoch: first.epoch, start: offset }
    }
  }

  endOffset(epoch: number, logEnd: number): readonly [number, number] {
    const first = this.#entries[0]
    if (epoch < 0 || first === undefined || epoch > this.latest) return [-1, -1]
    if (epoch === this.latest) return [epoch, logEnd]
    if (epoch < first.epoch) return [epoch, first.start]
    for (let i = this.#entries.length - 2; i >= 0; i--) {
      const entry = this.#entries[i] as EpochStart
      if (entry.epoch <= epoch) return [entry.epoch, (this.#entries[i + 1] as EpochStart).start]
    }
    return [-1, -1]
  }
}

export class StoredLog {
  readonly topic: string
  readonly partition: number
  topicId: string
  logStart = 0
  /** From `logStart` on. */
  records: StoredRecord[] = []
  /** What is before it survives a loss of power. */
  syncedEnd = 0
  readonly epochs = new EpochCache()
  /** It could not be forced to the disk: nobody knows what of it is there. */
  isTorn = false

  constructor(topic: string, partition: number, topicId: string) {
    this.topic = topic
    this.partition = partition
    this.topicId = topicId
  }

  get logEnd(): number {
    return this.logStart + this.records.length
  }

  at(offset: number): StoredRecord | undefined {
    return this.records[offset - this.logStart]
  }

  truncateTo(offset: number): void {
    if (offset < this.logEnd) {
      if (offset < this.logStart) {
        this.startAt(offset)
        return
      }
      this.records.length = offset - this.logStart
      this.syncedEnd = Math.min(this.syncedEnd, offset)
    }
    this.epochs.truncateFromEnd(offset)
  }

  startAt(offset: number): void {
    this.logStart = offset
    this.records = []
    this.syncedEnd = offset
    this.epochs.truncateFromEnd(0)
  }
}

export class SimulatedDisk {
  readonly logs = new Map<string, StoredLog>()
  /** The checkpoint, as it was last written. */
  highWatermarks = new Map<string, number>()
  isCleanlyShutDown = false
  session: SessionCredentials | null = null
  /** Power was lost since the broker last looked. */
  hasLostPower = false
  /** As the data directory notes it, until all was handed over. */
  lostTail: number | null = null

  /** Of which logs, by topic and partition; of all if there is no such list. */
  failure: { readonly kind: DiskFailure; readonly logs: ReadonlySet<string> | null } | null = null

  /** Whether a log can be changed, or forced to the disk. */
  fails(kind: DiskFailure, log: StoredLog): boolean {
    const { failure } = this
    if (failure === null || (kind === 'write' && failure.kind === 'sync')) return false
    return failure.logs === null || failure.logs.has(logKey(log.topic, log.partition))
  }

  /** Each log loses some or all of what was not synced. */
  losePower(random: SeededRandom): void {
    this.hasLostPower = true
    for (const log of this.logs.values()) loseTail(log, random)
  }

  /** Another disk has come, or this one works again; what it did not take is lost. */
  mend(random: SeededRandom): void {
    this.failure = null
    for (const log of this.logs.values()) {
      if (log.isTorn) loseTail(log, random)
      log.isTorn = false
    }
  }
}

function loseTail(log: StoredLog, random: SeededRandom): void {
  const unsynced = log.logEnd - Math.max(log.syncedEnd, log.logStart)
  if (unsynced > 0) log.truncateTo(log.logEnd - random.integer(unsynced + 1))
}

export function logKey(topic: string, partition: number): string {
  return `${topic}-${partition}`
}
