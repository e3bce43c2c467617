/**
 * The partitions that this broker hosts, and the upkeep of their logs: opening, retention,
 * flushing, checkpoints, what happens when a shard dies or a disk fails. Main thread; the logs
 * belong to the shards.
 */
import type { TopicConfig } from '../config/topic-config.ts'
import { partitionKey } from '../log/checkpoint-file.ts'
import type { Checkpoints, DataDirectory } from '../log/data-directory.ts'
import { logSettingsOf } from '../log/log-settings.ts'
import type { TopicImage } from '../metadata/topic-image.ts'
import type { LogOpenOptions, LogOpenResult } from '../native/addon.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type { ControlInput, ControlName, ControlOutput } from '../shard/control.ts'
import type { Shard } from '../shard/shard.ts'
import type { Clock } from '../util/clock.ts'
import { errnoName } from '../util/errno.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import { LogCleaner, type LogCleanerSettings } from './log-cleaner.ts'
import { NO_LOG, Partition } from './partition.ts'

/** How often open logs are looked at for what must be forced to disk (recovery points). */
const FLUSH_PARTITIONS_AT_ONCE = 64

export interface ReplicaManagerOptions {
  readonly directory: DataDirectory
  readonly clock: Clock
  readonly random: Random
  readonly timers: TimerQueue
  readonly logger: Logger
  readonly producerExpirationMs: number
  readonly retentionCheckIntervalMs: number
  readonly recoveryPointIntervalMs: number
  readonly cleaner: LogCleanerSettings
  /** How often the cleaner looks for logs to compact. */
  readonly cleanerBackoffMs: number
  /** Called when a partition stopped being served, so that parked fetches answer. */
  readonly partitionGone: (partition: Partition) => void
}

export interface RecoverySummary {
  readonly partitions: number
  readonly bytesTruncated: number
}

export class ReplicaManager {
  readonly #options: ReplicaManagerOptions
  readonly #topics = new Map<string, Partition[]>()
  readonly #byRow = new Map<number, Partition>()
  /** Compacts the logs that want it. */
  readonly cleaner: LogCleaner
  #shards: readonly Shard[] = []
  #checkpoints: Checkpoints = {
    recoveryPoints: new Map(),
    highWatermarks: new Map(),
    logStarts: new Map(),
  }
  #cleanShutdown = false
  #closing = false
  #upkeep: Promise<void> = Promise.resolve()

  constructor(options: ReplicaManagerOptions) {
    this.#options = options
    this.cleaner = new LogCleaner({
      settings: options.cleaner,
      directory: options.directory,
      clock: options.clock,
      logger: options.logger,
      partitions: () => this.partitions,
    })
  }

  /** The shards that own partitions; set once, before the first log is opened. */
  attachShards(shards: readonly Shard[]): void {
    this.#shards = shards
  }

  partition(topic: string, partition: number): Partition | undefined {
    return this.#topics.get(topic)?.[partition]
  }

  byRow(row: number): Partition | undefined {
    return this.#byRow.get(row)
  }

  get partitions(): Partition[] {
    return [...this.#topics.values()].flat()
  }

  /** Which shard owns a partition: fixed for the life of the process. */
  #shardOf(topic: string, partition: number): Shard {
    let hash = partition
    for (let i = 0; i < topic.length; i += 1) {
      hash = (Math.imul(hash, 31) + topic.charCodeAt(i)) | 0
    }
    return this.#shards[(hash >>> 0) % this.#shards.length] as Shard
  }

  /** Opens every partition at start-up, one batch per shard. */
  async openAll(
    topics: readonly { readonly image: TopicImage; readonly config: TopicConfig }[],
    checkpoints: Checkpoints,
    cleanShutdown: boolean,
  ): Promise<RecoverySummary> {
    this.#checkpoints = checkpoints
    this.#cleanShutdown = cleanShutdown
    const partitions: Partition[] = []
    for (const { image, config } of topics) partitions.push(...this.#addTopic(image, config, 0))
    const truncated = await this.#open(partitions)
    // What is opened from now on was not there at the last shutdown.
    this.#checkpoints = {
      recoveryPoints: new Map(),
      highWatermarks: new Map(),
      logStarts: new Map(),
    }
    this.#cleanShutdown = false
    return { partitions: partitions.length, bytesTruncated: truncated }
  }

  /** Opens the partitions of a topic from number `first` on. Throws KAFKA_STORAGE_ERROR's cause. */
  async openTopic(image: TopicImage, config: TopicConfig, first = 0): Promise<void> {
    const added = this.#addTopic(image, config, first)
    await this.#open(added)
    for (const partition of added) {
      await this.#options.directory.writePartitionMetadata(
        partition.topic,
        partition.partition,
        partition.topicId,
      )
    }
    const failed = added.find((partition) => partition.log === NO_LOG)
    if (failed !== undefined) {
      throw new Error(`the log of ${failed.topic}-${failed.partition} could not be opened`)
    }
  }

  async deleteTopic(name: string): Promise<void> {
    const partitions = this.#topics.get(name) ?? []
    this.#topics.delete(name)
    await this.cleaner.stop(partitions)
    await this.#closeLogs(partitions, false)
    for (const partition of partitions) {
      this.#options.partitionGone(partition)
      await this.#options.directory.removePartition(partition.topic, partition.partition)
    }
  }

  async reconfigureTopic(name: string, config: TopicConfig): Promise<void> {
    await Promise.all(
      (this.#topics.get(name) ?? []).map(async (partition) => {
        partition.config = config
        partition.settings = this.#settings(config)
        if (partition.log === NO_LOG) return
        await partition.shard.run('configure', {
          log: partition.log,
          settings: partition.settings,
        })
      }),
    )
  }

  #settings(config: TopicConfig) {
    const jitter = Math.min(config.segmentJitterMs, 2 ** 47)
    return logSettingsOf(config, {
      producerExpirationMs: this.#options.producerExpirationMs,
      segmentJitterMs: jitter > 0 ? this.#options.random.integer(jitter) : 0,
    })
  }

  #addTopic(image: TopicImage, config: TopicConfig, first: number): Partition[] {
    const partitions = this.#topics.get(image.name) ?? []
    this.#topics.set(image.name, partitions)
    const added: Partition[] = []
    for (const { partition: number, leaderEpoch } of image.partitions.slice(first)) {
      const partition = new Partition({
        topic: image.name,
        topicId: image.topicId,
        partition: number,
        shard: this.#shardOf(image.name, number),
        leaderEpoch,
        config,
        settings: this.#settings(config),
      })
      partitions[number] = partition
      added.push(partition)
    }
    return added
  }

  /** Opens logs, grouped by shard. A partition whose log fails stays offline. Bytes cut off. */
  async #open(partitions: readonly Partition[]): Promise<number> {
    let truncated = 0
    await Promise.all(
      this.#shards.map(async (shard) => {
        const mine = partitions.filter((partition) => partition.shard === shard)
        if (mine.length === 0) return
        const opened = await shard.run(
          'open',
          mine.map((partition) => this.#openOptions(partition)),
        )
        for (const [i, result] of opened.entries()) {
          truncated += this.#opened(mine[i] as Partition, result)
        }
      }),
    )
    return truncated
  }

  #openOptions(partition: Partition): LogOpenOptions {
    const key = partitionKey(partition.topic, partition.partition)
    const recoveryPoint = this.#checkpoints.recoveryPoints.get(key) ?? 0
    return {
      ...partition.settings,
      directory: this.#options.directory.folderOf(partition.topic, partition.partition),
      cleanShutdown: this.#cleanShutdown,
      recoveryPoint,
      logStart: this.#checkpoints.logStarts.get(key) ?? 0,
      highWatermark: this.#checkpoints.highWatermarks.get(key) ?? 0,
      leaderEpoch: partition.leaderEpoch,
      followers: 0,
      nowMs: this.#options.clock.nowMs(),
    }
  }

  #opened(partition: Partition, result: LogOpenResult): number {
    const where = { topic: partition.topic, partition: partition.partition }
    if (result.error !== 0) {
      this.#options.logger.error(
        { ...where, errno: errnoName(result.error), what: result.what, reason: result.reason },
        'a log could not be opened; its partition is offline',
      )
      return 0
    }
    partition.log = result.handle
    partition.row = result.row
    this.#byRow.set(result.row, partition)
    if (result.bytesTruncated > 0) {
      this.#options.logger.warn(
        { ...where, bytes: result.bytesTruncated, reason: result.reason },
        `recovery cut ${result.bytesTruncated} bytes off the log of ${partition.topic}-${partition.partition}: ${result.reason}`,
      )
    }
    return result.bytesTruncated
  }

  async #closeLogs(partitions: readonly Partition[], clean: boolean): Promise<boolean> {
    let whole = true
    await Promise.all(
      this.#shards.map(async (shard) => {
        const mine = partitions.filter(
          (partition) => partition.shard === shard && partition.log !== NO_LOG,
        )
        if (mine.length === 0) return
        const logs = mine.map((partition) => partition.log)
        for (const partition of mine) {
          this.#byRow.delete(partition.row)
          partition.log = NO_LOG
        }
        const errors = await shard.run('close', { logs, clean })
        for (const [i, error] of errors.entries()) {
          if (error === 0) continue
          whole = false
          const partition = mine[i] as Partition
          this.#options.logger.error(
            { topic: partition.topic, partition: partition.partition, errno: errnoName(error) },
            'a log could not be closed in order; it will be recovered at the next start',
          )
        }
      }),
    )
    return whole
  }

  /** The thread of a shard died and a new one is up: recovers its logs and serves them again. */
  async shardRestarted(shard: Shard): Promise<void> {
    const mine = this.partitions.filter((partition) => partition.shard === shard)
    for (const partition of mine) {
      if (partition.log !== NO_LOG) this.#byRow.delete(partition.row)
      partition.log = NO_LOG
      this.#options.partitionGone(partition)
    }
    if (this.#closing) return
    this.#checkpoints = await this.#options.directory.readCheckpoints()
    await this.#open(mine)
    this.#options.logger.info(
      { partitions: mine.length },
      'the logs of a restarted shard are recovered',
    )
  }

  storageError(row: number, errno: number): void {
    const partition = this.#byRow.get(row)
    this.#options.logger.error(
      { topic: partition?.topic, partition: partition?.partition, errno: errnoName(errno) },
      'an append failed; nothing of it was acknowledged',
    )
  }

  /** Runs a control task on the shard of a partition; null when its log is not open now. */
  async control<N extends ControlName>(
    partition: Partition,
    name: N,
    input: (log: number) => ControlInput<N>,
  ): Promise<ControlOutput<N> | null> {
    if (partition.log === NO_LOG) return null
    return await partition.shard.run(name, input(partition.log))
  }

  /**
   * Cuts the log of a partition that this broker follows at `offset`, or with `fully` empties it to
   * begin there. Throws an Error that names the partition and the errno; the log may be offline then.
   */
  async truncate(
    partition: Partition,
    offset: number,
    { fully = false }: { readonly fully?: boolean } = {},
  ): Promise<void> {
    await this.cleaner.stop([partition])
    const errno = await this.control(partition, 'truncate', (log) => ({ log, offset, fully }))
    await this.cleaner.truncated(partition, offset)
    if (errno === 0) return
    const what = errno === null ? 'its log is not open' : errnoName(errno)
    throw new Error(
      `${partition.topic}-${partition.partition} could not be cut at offset ${offset}: ${what}`,
    )
  }

  /** DeleteRecords: [error code, low watermark]. An offset of -1 is the high watermark. */
  async deleteRecords(partition: Partition, offset: number): Promise<[number, number]> {
    const wanted = offset === -1 ? partition.highWatermark : offset
    const error = await this.control(partition, 'deleteRecords', (log) => ({ log, offset: wanted }))
    if (error === null) return [ErrorCode.KAFKA_STORAGE_ERROR, -1]
    return error === 0 ? [0, partition.logStart] : [error, -1]
  }

  /** Starts the periodic work: retention, recovery points, checkpoints. */
  startUpkeep(): void {
    const every = (intervalMs: number, work: () => Promise<void>): void => {
      const run = (): void => {
        this.#upkeep = this.#upkeep.then(work).catch((error: unknown) => {
          if (this.#closing) return
          this.#options.logger.error(
            { error: String(error) },
            'upkeep of the logs failed; it will be tried again',
          )
        })
        void this.#upkeep.then(() => {
          if (!this.#closing) this.#options.timers.schedule(intervalMs, run)
        })
      }
      this.#options.timers.schedule(intervalMs, run)
    }
    every(this.#options.retentionCheckIntervalMs, () => this.applyRetention())
    every(this.#options.recoveryPointIntervalMs, () => this.checkpoint())
    // By itself: the others are not to wait for it.
    const clean = (): void => {
      void this.cleaner
        .run()
        .catch((error: unknown) => {
          if (this.#closing) return
          this.#options.logger.error({ error: String(error) }, 'the log cleaner failed')
        })
        .then(() => {
          if (!this.#closing) this.#options.timers.schedule(this.#options.cleanerBackoffMs, clean)
        })
    }
    if (this.#options.cleaner.threads > 0) {
      this.#options.timers.schedule(this.#options.cleanerBackoffMs, clean)
    }
  }

  /** Deletes the segments that retention allows. */
  async applyRetention(): Promise<void> {
    for (const shard of this.#shards) {
      const mine = this.partitions.filter(
        (partition) =>
          partition.shard === shard &&
          partition.log !== NO_LOG &&
          !this.cleaner.isCleaning(partition),
      )
      if (mine.length === 0) continue
      const results = await shard.run('deleteOldSegments', {
        logs: mine.map((partition) => partition.log),
        nowMs: this.#options.clock.nowMs(),
      })
      for (const [i, [errno, segments, bytes]] of results.entries()) {
        const { topic, partition } = mine[i] as Partition
        if (errno !== 0) {
          this.#options.logger.error(
            { topic, partition, errno: errnoName(errno) },
            'retention failed',
          )
        } else if (segments > 0) {
          this.#options.logger.info({ topic, partition, segments, bytes }, 'old segments deleted')
        }
      }
    }
  }

  /** Forces what is unflushed to disk, then writes the checkpoints. */
  async checkpoint(): Promise<void> {
    const open = this.partitions.filter((partition) => partition.log !== NO_LOG)
    for (const shard of this.#shards) {
      const mine = open.filter((partition) => partition.shard === shard)
      for (let i = 0; i < mine.length; i += FLUSH_PARTITIONS_AT_ONCE) {
        const some = mine.slice(i, i + FLUSH_PARTITIONS_AT_ONCE)
        const errors = await shard.run(
          'flush',
          some.map((partition) => partition.log),
        )
        for (const [j, error] of errors.entries()) {
          if (error === 0) continue
          const { topic, partition } = some[j] as Partition
          this.#options.logger.error(
            { topic, partition, errno: errnoName(error) },
            'a log could not be flushed',
          )
        }
      }
    }
    await this.#writeCheckpoints(open)
  }

  async #writeCheckpoints(open: readonly Partition[]): Promise<void> {
    const points: { topic: string; partition: number; offset: number }[] = []
    for (const shard of this.#shards) {
      const mine = open.filter((partition) => partition.shard === shard)
      if (mine.length === 0) continue
      const offsets = await shard.run(
        'recoveryPoints',
        mine.map((partition) => partition.log),
      )
      for (const [i, offset] of offsets.entries()) {
        const { topic, partition } = mine[i] as Partition
        if (offset >= 0) points.push({ topic, partition, offset })
      }
    }
    const offsetsOf = (read: (partition: Partition) => number) =>
      open
        .filter((partition) => partition.log !== NO_LOG)
        .map((partition) => ({
          topic: partition.topic,
          partition: partition.partition,
          offset: Math.max(0, read(partition)),
        }))
    await this.#options.directory.writeRecoveryPoints(points)
    await this.#options.directory.writeHighWatermarks(offsetsOf((one) => one.highWatermark))
    await this.#options.directory.writeLogStarts(offsetsOf((one) => one.logStart))
  }

  /** Flushes and closes every log; writes the mark if all of it worked. */
  async close(): Promise<void> {
    this.#closing = true
    await this.cleaner.close()
    await this.#upkeep
    const open = this.partitions.filter((partition) => partition.log !== NO_LOG)
    await this.checkpoint()
    const whole = await this.#closeLogs(open, true)
    if (whole) await this.#options.directory.writeCleanShutdownMark()
  }
}
