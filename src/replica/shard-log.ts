/** The log of a partition, which a shard owns: its handle, its published row, and its commands. */
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogSettings } from '../native/addon.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type { ControlInput, ControlName, ControlOutput } from '../shard/control.ts'
import {
  expireParked,
  failParked,
  follow,
  lead,
  moveHighWatermark,
  setInSync,
  stepDown,
} from '../shard/log-commands.ts'
import { published } from '../shard/published.ts'
import type { Shard } from '../shard/shard.ts'
import type { PartitionLog } from './partition-log.ts'

/** Handle of a log that is not open. */
export const NO_LOG = 0

/** Offset and bounds of a cut. */
export interface CutOptions {
  /** The log is to follow that epoch, or it is not cut; without it whichever it follows. */
  readonly leaderEpoch?: number
  readonly fully?: boolean
}

export class ShardLog implements PartitionLog {
  readonly topic: string
  readonly partition: number
  /** Empty while it is not known: Kafka before 2.8 wrote none. */
  topicId: string
  readonly shard: Shard
  config: TopicConfig
  settings: LogSettings
  /** NO_LOG while its shard restarts or when it could not be opened. */
  log = NO_LOG
  row = -1
  #isGivenUp = false
  readonly #cut: (log: ShardLog, offset: number, options: CutOptions) => Promise<void>

  constructor(options: {
    readonly topic: string
    readonly partition: number
    readonly topicId: string
    readonly shard: Shard
    readonly config: TopicConfig
    readonly settings: LogSettings
    /** Cuts it when nobody else changes its segments. */
    readonly cut: (log: ShardLog, offset: number, options: CutOptions) => Promise<void>
  }) {
    this.topic = options.topic
    this.partition = options.partition
    this.topicId = options.topicId
    this.shard = options.shard
    this.config = options.config
    this.settings = options.settings
    this.#cut = options.cut
  }

  get isOnline(): boolean {
    return this.log !== NO_LOG && !this.#isGivenUp && !published.isOffline(this.row)
  }

  /** It is offline until the broker starts again, though it could be read. */
  giveUp(): void {
    this.#isGivenUp = true
  }

  get logStart(): number {
    return this.log === NO_LOG ? -1 : published.logStart(this.row)
  }

  get logEnd(): number {
    return this.log === NO_LOG ? -1 : published.logEnd(this.row)
  }

  get highWatermark(): number {
    return this.log === NO_LOG ? -1 : published.highWatermark(this.row)
  }

  get lastStable(): number {
    return this.log === NO_LOG ? -1 : published.lastStable(this.row)
  }

  get lastEpoch(): number {
    return this.log === NO_LOG ? -1 : published.lastEpoch(this.row)
  }

  get sizeBytes(): number {
    return this.log === NO_LOG ? 0 : published.sizeBytes(this.row)
  }

  lead(state: {
    readonly leaderEpoch: number
    readonly followers: number
    readonly inSync: number
    readonly required: number
  }): void {
    if (this.log === NO_LOG) return
    lead(this.log, state)
    setInSync(this.log, state)
  }

  follow(leaderEpoch: number): void {
    if (this.log !== NO_LOG) follow(this.log, leaderEpoch)
  }

  stepDown(): void {
    if (this.log !== NO_LOG) stepDown(this.log)
  }

  moveHighWatermark(offset: number, leaderEpoch: number): void {
    if (this.log !== NO_LOG) moveHighWatermark(this.log, offset, leaderEpoch)
  }

  failParked(errorCode: number): void {
    if (this.log !== NO_LOG) failParked(this.log, errorCode)
  }

  expireParked(nowMs: number): void {
    if (this.log !== NO_LOG) expireParked(this.log, nowMs)
  }

  /** Runs a control task on its shard; null when it is not open now. */
  async control<N extends ControlName>(
    name: N,
    input: (log: number) => ControlInput<N>,
  ): Promise<ControlOutput<N> | null> {
    if (this.log === NO_LOG) return null
    return await this.shard.run(name, input(this.log))
  }

  async epochEndOffset(epoch: number): Promise<readonly [number, number]> {
    return (await this.control('epochEndOffset', (log) => ({ log, epoch }))) ?? [-1, -1]
  }

  async deleteRecords(offset: number): Promise<number> {
    const errorCode = await this.control('deleteRecords', (log) => ({ log, offset }))
    return errorCode ?? ErrorCode.KAFKA_STORAGE_ERROR
  }

  async moveLogStart(offset: number): Promise<void> {
    const errorCode = await this.deleteRecords(offset)
    if (errorCode !== 0) throw new Error(`the log start cannot be moved: error ${errorCode}`)
  }

  truncate(offset: number, options: CutOptions = {}): Promise<void> {
    return this.#cut(this, offset, options)
  }
}
