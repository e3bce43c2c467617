/**
 * Logs of a simulated broker: what the shards of production do with appends, leadership and high
 * watermarks (`native/shard.cc`, `native/partition_log.cc`), on records in memory. Commands take
 * effect in the order in which they are given, each a little later, as they would in a shard; what
 * is read meanwhile is what was published before.
 */
import type { TopicConfig } from '../../src/config/topic-config.ts'
import { logSettingsOf } from '../../src/log/log-settings.ts'
import type { LogSettings } from '../../src/native/addon.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type {
  LogEvents,
  LogStore,
  PartitionLog,
  WantedLog,
} from '../../src/replica/partition-log.ts'
import { logKey, type SimulatedDisk, StoredLog, type StoredRecord } from './simulated-disk.ts'
import type { SimulatedProcess } from './simulated-process.ts'

export interface AppendResult {
  readonly errorCode: number
  readonly baseOffset: number
}

export interface Append {
  /** −1: whichever is led. */
  readonly leaderEpoch: number
  readonly acks: number
  readonly deadlineMs: number
  readonly values: readonly number[]
  readonly producerId: number
  /** Of the first value. */
  readonly sequence: number
  readonly answered: (result: AppendResult) => void
}

interface Parked extends AppendResult {
  readonly lastOffset: number
  readonly deadlineMs: number
  readonly answered: (result: AppendResult) => void
}

export interface LogHooks {
  /** The end or the high watermark has moved. */
  advanced(log: SimulatedLog): void
  /** Records were appended by a leader, or by a follower of it. */
  appended(log: SimulatedLog, from: number): void
  truncated(log: SimulatedLog, to: number): void
  committed(log: SimulatedLog, highWatermark: number): void
  /** It begins elsewhere. */
  started(log: SimulatedLog): void
  /** Its disk failed. */
  failed(log: SimulatedLog): void
}

const REFUSED: AppendResult = { errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 }
const SHARD_DELAY_MS = 0.05

export class SimulatedLog implements PartitionLog {
  readonly stored: StoredLog
  config: TopicConfig
  settings: LogSettings
  log: number
  row: number
  readonly #process: SimulatedProcess
  readonly #disk: SimulatedDisk
  readonly #hooks: LogHooks
  #highWatermark: number
  #leaderEpoch = -1
  #followingEpoch = -1
  #followers = 0
  #inSync = 1
  #required = 1
  #parked: Parked[] = []
  #isClosed = false
  #hasFailed = false
  #nextMs = 0

  constructor(options: {
    readonly stored: StoredLog
    readonly config: TopicConfig
    readonly handle: number
    readonly highWatermark: number
    readonly process: SimulatedProcess
    readonly disk: SimulatedDisk
    readonly hooks: LogHooks
  }) {
    this.stored = options.stored
    this.config = options.config
    this.settings = logSettingsOf(options.config, { producerExpirationMs: 0, segmentJitterMs: 0 })
    this.log = options.handle
    this.row = options.handle
    this.#process = options.process
    this.#disk = options.disk
    this.#hooks = options.hooks
    this.#highWatermark = Math.min(
      Math.max(options.highWatermark, options.stored.logStart),
      options.stored.logEnd,
    )
  }

  /** Of the clock of its broker. */
  get nowMs(): number {
    return this.#process.clock.monotonicMs()
  }

  get topic(): string {
    return this.stored.topic
  }

  get partition(): number {
    return this.stored.partition
  }

  get topicId(): string {
    return this.stored.topicId
  }

  get isOnline(): boolean {
    return !this.#isClosed && !this.#hasFailed
  }

  /** Its disk failed: it is as it is until the broker starts again. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  get logStart(): number {
    return this.#isClosed ? -1 : this.stored.logStart
  }

  get logEnd(): number {
    return this.#isClosed ? -1 : this.stored.logEnd
  }

  get highWatermark(): number {
    return this.#isClosed ? -1 : this.#highWatermark
  }

  get lastStable(): number {
    return this.highWatermark
  }

  get lastEpoch(): number {
    return this.#isClosed ? -1 : this.stored.epochs.latest
  }

  get sizeBytes(): number {
    return this.#isClosed ? 0 : this.stored.records.length
  }

  lead(state: {
    readonly leaderEpoch: number
    readonly followers: number
    readonly inSync: number
    readonly required: number
  }): void {
    this.#post(() => {
      this.#followingEpoch = -1
      this.#leaderEpoch = state.leaderEpoch
      this.#followers = state.followers
      this.#inSync = state.inSync
      this.#required = state.required
      if (this.#hasFailed) return
      this.stored.epochs.assign(state.leaderEpoch, this.stored.logEnd)
      this.#commitAlone()
      this.#advanceParked()
    })
  }

  follow(leaderEpoch: number): void {
    this.#post(() => {
      this.#followingEpoch = leaderEpoch
      this.#endLeadership()
    })
  }

  stepDown(): void {
    this.#post(() => {
      this.#followingEpoch = -1
      this.#endLeadership()
    })
  }

  moveHighWatermark(offset: number, leaderEpoch: number): void {
    this.#post(() => {
      const told = this.#followingEpoch >= 0 ? this.#followingEpoch : this.#leaderEpoch
      if (leaderEpoch === told && !this.#hasFailed) this.#commit(offset)
      this.#advanceParked()
    })
  }

  failParked(errorCode: number): void {
    this.#post(() => this.#failParked(errorCode))
  }

  expireParked(nowMs: number): void {
    this.#post(() => {
      const { REQUEST_TIMED_OUT } = ErrorCode
      const late = this.#parked.filter(({ deadlineMs }) => deadlineMs <= nowMs)
      this.#parked = this.#parked.filter(({ deadlineMs }) => deadlineMs > nowMs)
      for (const one of late) one.answered({ errorCode: REQUEST_TIMED_OUT, baseOffset: -1 })
    })
  }

  /** What a producer sends. */
  append(append: Append): void {
    this.#post(
      () => this.#append(append),
      () => append.answered(REFUSED),
    )
  }

  /** What a leader of that epoch sent; the error code is handed on. */
  appendFetched(
    fetched: {
      readonly baseOffset: number
      readonly records: readonly StoredRecord[]
      readonly leaderEpoch: number
      readonly highWatermark: number
    },
    answered: (errorCode: number) => void,
  ): void {
    this.#post(
      () => {
        if (fetched.leaderEpoch !== this.#followingEpoch) {
          answered(ErrorCode.FENCED_LEADER_EPOCH)
          return
        }
        if (this.#cannotWrite()) {
          answered(ErrorCode.KAFKA_STORAGE_ERROR)
          return
        }
        const { stored } = this
        if (fetched.baseOffset !== stored.logEnd) {
          answered(ErrorCode.OFFSET_OUT_OF_RANGE)
          return
        }
        const from = stored.logEnd
        for (const record of fetched.records) {
          stored.epochs.assign(record.epoch, stored.logEnd)
          stored.records.push(record)
        }
        if (fetched.records.length > 0) this.#hooks.appended(this, from)
        this.#commit(fetched.highWatermark)
        this.#hooks.advanced(this)
        answered(0)
      },
      () => answered(ErrorCode.KAFKA_STORAGE_ERROR),
    )
  }

  epochEndOffset(epoch: number): Promise<readonly [number, number]> {
    return this.#ask(() => this.stored.epochs.endOffset(epoch, this.stored.logEnd))
  }

  truncate(
    offset: number,
    options: { readonly leaderEpoch?: number; readonly fully?: boolean } = {},
  ): Promise<void> {
    return this.#ask(() => {
      if (this.#leaderEpoch >= 0) throw new Error('a log that is led is not cut')
      if (options.leaderEpoch !== undefined && options.leaderEpoch !== this.#followingEpoch) {
        throw new Error('the log follows another epoch by now')
      }
      if (this.#cannotWrite()) throw new Error('the disk failed')
      this.#hooks.truncated(this, offset)
      if (options.fully) {
        this.stored.startAt(offset)
        this.#highWatermark = offset
        this.#hooks.started(this)
      } else {
        this.stored.truncateTo(offset)
        this.#highWatermark = Math.min(this.#highWatermark, this.stored.logEnd)
      }
      this.#hooks.advanced(this)
    })
  }

  deleteRecords(offset: number): Promise<number> {
    return this.#ask(() => {
      const { stored } = this
      if (this.#hasFailed) return ErrorCode.KAFKA_STORAGE_ERROR
      if (offset < 0 || offset > this.#highWatermark) return ErrorCode.OFFSET_OUT_OF_RANGE
      if (offset > stored.logStart) {
        stored.records.splice(0, offset - stored.logStart)
        stored.logStart = offset
        stored.syncedEnd = Math.max(stored.syncedEnd, offset)
        stored.epochs.truncateFromStart(offset)
        this.#hooks.started(this)
        this.#hooks.advanced(this)
      }
      return 0
    })
  }

  async moveLogStart(offset: number): Promise<void> {
    const errorCode = await this.deleteRecords(offset)
    if (errorCode !== 0) throw new Error(`the log start cannot be moved: error ${errorCode}`)
  }

  /** Resolves when what was posted before has taken effect. */
  settled(): Promise<void> {
    return this.#ask(() => undefined)
  }

  close(): void {
    this.#isClosed = true
  }

  /** Forces what was appended to the disk. */
  sync(): void {
    if (!this.isOnline) return
    if (this.#disk.fails('sync', this.stored)) {
      this.stored.isTorn = true
      this.#fail()
    } else this.stored.syncedEnd = this.stored.logEnd
  }

  /** A first write that the disk refuses takes the log offline. */
  #cannotWrite(): boolean {
    if (!this.#hasFailed && this.#disk.fails('write', this.stored)) this.#fail()
    return this.#hasFailed
  }

  #fail(): void {
    this.#hasFailed = true
    this.#process.trace(`the disk of ${logKey(this.topic, this.partition)} fails`)
    this.#hooks.failed(this)
  }

  #append(append: Append): void {
    const { acks, values, producerId, sequence, answered, leaderEpoch } = append
    const refuse = (errorCode: number): void => answered({ errorCode, baseOffset: -1 })
    if (acks === -1 && this.#inSync < this.#required) {
      refuse(ErrorCode.NOT_ENOUGH_REPLICAS)
      return
    }
    if (this.#leaderEpoch < 0 || (leaderEpoch >= 0 && leaderEpoch !== this.#leaderEpoch)) {
      refuse(ErrorCode.NOT_LEADER_OR_FOLLOWER)
      return
    }
    const { stored } = this
    if (this.#hasFailed) {
      refuse(ErrorCode.KAFKA_STORAGE_ERROR)
      return
    }
    const known = producerId < 0 ? null : this.#duplicateOf(producerId, sequence)
    if (known === 'gap') {
      refuse(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
      return
    }
    const baseOffset = known ?? stored.logEnd
    if (known === null && this.#cannotWrite()) {
      refuse(ErrorCode.KAFKA_STORAGE_ERROR)
      return
    }
    if (known === null) {
      stored.epochs.assign(this.#leaderEpoch, stored.logEnd)
      for (const [i, value] of values.entries()) {
        const record = { value, epoch: this.#leaderEpoch, producerId, sequence: sequence + i }
        stored.records.push(record)
      }
      this.#hooks.appended(this, baseOffset)
      this.#commitAlone()
    }
    const lastOffset = baseOffset + values.length - 1
    if (acks !== -1) answered({ errorCode: 0, baseOffset })
    else {
      const { deadlineMs } = append
      this.#parked.push({ errorCode: 0, baseOffset, lastOffset, deadlineMs, answered })
      this.#advanceParked()
    }
    this.#hooks.advanced(this)
  }

  /** Offset of what was appended before; null if it is new. */
  #duplicateOf(producerId: number, sequence: number): number | 'gap' | null {
    const { records, logStart } = this.stored
    let last = -1
    for (let i = records.length - 1; i >= 0; i--) {
      const record = records[i] as StoredRecord
      if (record.producerId !== producerId) continue
      if (record.sequence === sequence) return logStart + i
      last = Math.max(last, record.sequence)
      if (record.sequence < sequence) break
    }
    // A producer whose records are all gone may begin anywhere.
    return last < 0 || sequence === last + 1 ? null : 'gap'
  }

  #endLeadership(): void {
    this.#leaderEpoch = -1
    this.#followers = 0
    this.#failParked(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    this.#hooks.advanced(this)
  }

  #commitAlone(): void {
    if (this.#followers === 0 && this.#leaderEpoch >= 0 && !this.#hasFailed)
      this.#commit(this.stored.logEnd)
  }

  #commit(offset: number): void {
    const known = Math.min(offset, this.stored.logEnd)
    if (known <= this.#highWatermark) return
    this.#highWatermark = known
    this.#hooks.committed(this, known)
    this.#hooks.advanced(this)
  }

  #advanceParked(): void {
    const isShort = this.#inSync < this.#required
    while (this.#parked[0] !== undefined && this.#parked[0].lastOffset < this.#highWatermark) {
      const { answered, baseOffset } = this.#parked.shift() as Parked
      if (isShort) {
        answered({ errorCode: ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND, baseOffset: -1 })
      } else answered({ errorCode: 0, baseOffset })
    }
  }

  #failParked(errorCode: number): void {
    for (const { answered } of this.#parked.splice(0)) answered({ errorCode, baseOffset: -1 })
  }

  /** In the order in which they come, each a little later. */
  #post(run: () => void, refused: () => void = () => undefined): void {
    const { world } = this.#process
    const delayMs = (SHARD_DELAY_MS * this.#process.random.integer(100)) / 100
    this.#nextMs = Math.max(this.#nextMs, world.nowMs + delayMs)
    this.#process.at(this.#nextMs - world.nowMs, () => {
      if (!this.#isClosed) run()
      else refused()
    })
  }

  #ask<T>(run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#post(
        () => {
          try {
            resolve(run())
          } catch (error) {
            reject(error)
          }
        },
        () => reject(new Error('the log is closed')),
      )
    })
  }
}

export class SimulatedLogStore implements LogStore {
  readonly logs = new Map<string, SimulatedLog>()
  readonly #process: SimulatedProcess
  readonly #disk: SimulatedDisk
  readonly #hooks: LogHooks
  /** Of the last run. */
  readonly #highWatermarks: ReadonlyMap<string, number>
  #failed: LogEvents['failed'] = () => undefined
  #handles = 0

  constructor(options: {
    readonly process: SimulatedProcess
    readonly disk: SimulatedDisk
    readonly hooks: LogHooks
  }) {
    this.#process = options.process
    this.#disk = options.disk
    this.#hooks = options.hooks
    this.#highWatermarks = new Map(options.disk.highWatermarks)
  }

  /** Simulated shards do not die by themselves. */
  attach({ failed }: LogEvents): void {
    this.#failed = failed
  }

  /** Opens what the disk has, before there are roles. */
  openAll(configOf: (topic: string) => TopicConfig): void {
    for (const stored of this.#disk.logs.values()) this.#open(stored, configOf(stored.topic))
  }

  find(topic: string, partition: number): SimulatedLog | undefined {
    return this.logs.get(logKey(topic, partition))
  }

  /** By its handle. */
  byHandle(handle: number): SimulatedLog | undefined {
    for (const log of this.logs.values()) if (log.log === handle) return log
    return undefined
  }

  async open(wanted: readonly WantedLog[]): Promise<readonly SimulatedLog[]> {
    await this.#later()
    return wanted.map(({ topic, partition, topicId, config }) => {
      const open = this.find(topic, partition)
      if (open !== undefined) return open
      const key = logKey(topic, partition)
      const stored = new StoredLog(topic, partition, topicId)
      this.#disk.logs.set(key, stored)
      return this.#open(stored, config)
    })
  }

  async settle(): Promise<void> {
    await Promise.all([...this.logs.values()].map((log) => log.settled()))
  }

  async remove(logs: readonly PartitionLog[]): Promise<void> {
    await this.#later()
    for (const log of logs) {
      const key = logKey(log.topic, log.partition)
      const own = this.logs.get(key)
      if (own !== log) continue
      own.close()
      this.logs.delete(key)
      this.#disk.logs.delete(key)
      this.#disk.highWatermarks.delete(key)
    }
  }

  async reconfigure(topic: string, config: TopicConfig): Promise<void> {
    await this.#later()
    for (const log of this.logs.values()) if (log.topic === topic) log.config = config
  }

  /** Writes the checkpoint of high watermarks. */
  checkpoint(): void {
    for (const [key, log] of this.logs) this.#disk.highWatermarks.set(key, log.highWatermark)
  }

  /** Forces to disk what was appended. */
  sync(): void {
    for (const log of this.logs.values()) log.sync()
  }

  /** Some log is offline. */
  get hasFailed(): boolean {
    return [...this.logs.values()].some(({ hasFailed }) => hasFailed)
  }

  #open(stored: StoredLog, config: TopicConfig): SimulatedLog {
    this.#handles += 1
    const key = logKey(stored.topic, stored.partition)
    const log = new SimulatedLog({
      stored,
      config,
      handle: this.#handles,
      highWatermark: this.#highWatermarks.get(key) ?? 0,
      process: this.#process,
      disk: this.#disk,
      hooks: {
        ...this.#hooks,
        failed: (failed) => {
          this.#hooks.failed(failed)
          this.#process.at(this.#process.random.integer(100) / 100, () => this.#failed(failed))
        },
      },
    })
    this.logs.set(key, log)
    return log
  }

  #later(): Promise<void> {
    return new Promise((resolve) => {
      this.#process.at(this.#process.random.integer(100) / 100, resolve)
    })
  }
}
