/**
 * The logs that this broker has, whoever leads: opening and closing, retention, flushing,
 * checkpoints, removal, what happens when a shard dies or a disk fails. Main thread; the logs belong
 * to the shards.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { TopicConfig } from '../config/topic-config.ts'
import { type PartitionOffset, partitionKey } from '../log/checkpoint-file.ts'
import type { Checkpoints, DataDirectory, PartitionFolder } from '../log/data-directory.ts'
import { logSettingsOf } from '../log/log-settings.ts'
import type { LogOpenOptions, LogOpenResult } from '../native/addon.ts'
import type { Shard } from '../shard/shard.ts'
import type { Clock } from '../util/clock.ts'
import { errnoName } from '../util/errno.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import { LogCleaner, type LogCleanerSettings } from './log-cleaner.ts'
import type { LogEvents, LogStore, WantedLog } from './partition-log.ts'
import { type CutOptions, NO_LOG, ShardLog } from './shard-log.ts'

/** How often open logs are looked at for what must be forced to disk (recovery points). */
const FLUSH_LOGS_AT_ONCE = 64

/** Writes of small files at a time. */
const FILES_TOGETHER = 4
const NAME_DELAY_MS = 1000
const OPENED_AT_ONCE = 64
const NO_CHECKPOINTS: Checkpoints = {
  recoveryPoints: new Map(),
  highWatermarks: new Map(),
  logStarts: new Map(),
}

export interface LogManagerOptions {
  readonly directory: DataDirectory
  readonly clock: Clock
  readonly random: Random
  readonly timers: TimerQueue
  readonly logger: Logger
  readonly producerExpirationMs: number
  readonly retentionCheckIntervalMs: number
  readonly recoveryPointIntervalMs: number
  readonly highWatermarkIntervalMs: number
  readonly cleaner: LogCleanerSettings
  /** How often the cleaner looks for logs to compact. */
  readonly cleanerBackoffMs: number
}

export class LogManager implements LogStore {
  readonly #options: LogManagerOptions
  readonly #topics = new Map<string, Map<number, ShardLog>>()
  readonly #byRow = new Map<number, ShardLog>()
  /** Compacts the logs that want it. */
  readonly cleaner: LogCleaner
  #shards: readonly Shard[] = []
  #events: LogEvents | null = null
  #checkpoints: Checkpoints = NO_CHECKPOINTS
  #cleanShutdown = false
  #bytesTruncated = 0
  #closing = false
  #upkeep: Promise<void> = Promise.resolve()
  #writing: Promise<void> = Promise.resolve()
  #opening: Promise<unknown> = Promise.resolve()
  readonly #unnamed = new Set<ShardLog>()
  #nameTimer: Timer | null = null
  #naming: Promise<void> = Promise.resolve()
  #restarts: Promise<void> = Promise.resolve()
  #removals: Promise<void> = Promise.resolve()

  constructor(options: LogManagerOptions) {
    this.#options = options
    this.cleaner = new LogCleaner({
      settings: options.cleaner,
      directory: options.directory,
      clock: options.clock,
      logger: options.logger,
      logs: () => this.logs,
    })
  }

  /** The shards that own logs; set once, before the first log is opened. */
  attachShards(shards: readonly Shard[]): void {
    this.#shards = shards
  }

  attach(events: LogEvents): void {
    this.#events = events
  }

  find(topic: string, partition: number): ShardLog | undefined {
    return this.#topics.get(topic)?.get(partition)
  }

  byRow(row: number): ShardLog | undefined {
    return this.#byRow.get(row)
  }

  get logs(): ShardLog[] {
    return [...this.#topics.values()].flatMap((logs) => [...logs.values()])
  }

  /** Bytes that were cut off when logs were opened after a crash. */
  get bytesTruncated(): number {
    return this.#bytesTruncated
  }

  /** Which shard owns a partition: fixed for the life of the process. */
  #shardOf(topic: string, partition: number): Shard {
    let hash = partition
    for (let i = 0; i < topic.length; i += 1) {
      hash = (Math.imul(hash, 31) + topic.charCodeAt(i)) | 0
    }
    return this.#shards[(hash >>> 0) % this.#shards.length] as Shard
  }

  /**
   * What is opened until `endStart` is of the last run, with what the checkpoints say of it; what
   * comes later is new.
   */
  beginStart(checkpoints: Checkpoints, cleanShutdown: boolean): void {
    this.#checkpoints = checkpoints
    this.#cleanShutdown = cleanShutdown
  }

  endStart(): void {
    this.#checkpoints = NO_CHECKPOINTS
    this.#cleanShutdown = false
  }

  async open(wanted: readonly WantedLog[]): Promise<ShardLog[]> {
    // What a restarted shard has is being opened: it is what it is only after that.
    await this.#restarts
    const logs: ShardLog[] = []
    const closed: ShardLog[] = []
    const unnamed: ShardLog[] = []
    for (const one of wanted) {
      let log = this.find(one.topic, one.partition)
      if (log === undefined) {
        log = this.#add(one)
        unnamed.push(log)
      } else if (log.topicId === '') {
        log.topicId = one.topicId
        unnamed.push(log)
      }
      if (log.log === NO_LOG) closed.push(log)
      logs.push(log)
    }
    this.#bytesTruncated += await this.#open(closed)
    this.#nameLater(unnamed)
    return logs
  }

  /**
   * Opens the logs that the data directory has, between `beginStart` and `endStart` and before any
   * other, so that they are there when their roles come. How many.
   */
  async openFolders(
    folders: readonly PartitionFolder[],
    configOf: (topic: string) => TopicConfig,
  ): Promise<number> {
    const logs = folders.map(({ topic, partition, topicId }) =>
      this.#add({ topic, partition, topicId: topicId ?? '', config: configOf(topic) }),
    )
    this.#bytesTruncated += await this.#open(logs)
    return logs.length
  }

  #add({ topic, partition, topicId, config }: WantedLog): ShardLog {
    const log = new ShardLog({
      ...{ topic, partition, topicId, config },
      shard: this.#shardOf(topic, partition),
      settings: this.#settings(config),
      cut: (cut, offset, options) => this.truncate(cut, offset, options),
    })
    let logs = this.#topics.get(topic)
    if (logs === undefined) {
      logs = new Map()
      this.#topics.set(topic, logs)
    }
    logs.set(partition, log)
    return log
  }

  /**
   * Notes in their folders which topics they are of; not at once, because a topic of a thousand
   * partitions is to be there soon. What a crash leaves without, the controller names again.
   */
  #nameLater(logs: readonly ShardLog[]): void {
    for (const log of logs) {
      if (log.log !== NO_LOG && log.topicId !== '') this.#unnamed.add(log)
    }
    if (this.#unnamed.size === 0 || this.#nameTimer !== null) return
    this.#nameTimer = this.#options.timers.schedule(NAME_DELAY_MS, () => {
      this.#nameTimer = null
      this.#naming = this.#naming
        .then(() => this.#name())
        .catch((error: unknown) => {
          this.#options.logger.error(
            { error: String(error) },
            'topic ids could not be noted in the folders of partitions',
          )
        })
    })
  }

  async #name(): Promise<void> {
    const left = [...this.#unnamed]
    this.#unnamed.clear()
    const work = async (): Promise<void> => {
      for (let log = left.pop(); log !== undefined; log = left.pop()) {
        await this.#options.directory.writePartitionMetadata(log.topic, log.partition, log.topicId)
      }
    }
    await Promise.all(Array.from({ length: FILES_TOGETHER }, work))
  }

  /** Waits for what is being written into folders. */
  async #named(): Promise<void> {
    this.#nameTimer?.cancel()
    this.#nameTimer = null
    await this.#naming
  }

  async settle(): Promise<void> {
    // A task comes behind everything that was queued before.
    await Promise.all(this.#shards.map((shard) => shard.run('recoveryPoints', [])))
  }

  async remove(removed: readonly ShardLog[]): Promise<void> {
    const logs = removed.filter((log) => this.find(log.topic, log.partition) === log)
    if (logs.length === 0) return
    for (const { topic, partition } of logs) {
      const left = this.#topics.get(topic)
      left?.delete(partition)
      if (left?.size === 0) this.#topics.delete(topic)
    }
    for (const log of logs) this.#unnamed.delete(log)
    await this.#naming
    await this.cleaner.stop(logs)
    await this.#closeLogs(logs, false)
    const folders = await this.#options.directory.discardPartitions(logs)
    // A log of the same name must not find what these had in the checkpoints.
    await this.#writeCheckpoints()
    this.#removals = this.#removals
      .then(() => this.#options.directory.removeFolders(folders))
      .catch((error: unknown) => {
        this.#options.logger.error(
          { error: String(error) },
          'what deleted partitions had on the disk could not be removed; the next start tries again',
        )
      })
  }

  async reconfigure(topic: string, config: TopicConfig): Promise<void> {
    await Promise.all(
      [...(this.#topics.get(topic)?.values() ?? [])].map(async (log) => {
        log.config = config
        log.settings = this.#settings(config)
        await log.control('configure', (handle) => ({ log: handle, settings: log.settings }))
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

  /** Opens logs, grouped by shard; one that fails stays offline. Bytes cut off. */
  #open(logs: readonly ShardLog[]): Promise<number> {
    const opened = this.#opening.then(() => this.#openNow(logs))
    this.#opening = opened.catch(() => undefined)
    return opened
  }

  async #openNow(logs: readonly ShardLog[]): Promise<number> {
    let truncated = 0
    await Promise.all(
      this.#shards.map(async (shard) => {
        const mine = logs.filter((log) => log.shard === shard)
        for (let i = 0; i < mine.length && !this.#closing; i += OPENED_AT_ONCE) {
          const some = mine.slice(i, i + OPENED_AT_ONCE)
          // The shard has other logs to serve meanwhile, and so has this thread.
          if (i > 0) await turn()
          const opened = await shard.run(
            'open',
            some.map((log) => this.#openOptions(log)),
          )
          for (const [j, result] of opened.entries()) {
            truncated += this.#opened(some[j] as ShardLog, result)
          }
        }
      }),
    )
    return truncated
  }

  #openOptions(log: ShardLog): LogOpenOptions {
    const key = partitionKey(log.topic, log.partition)
    const recoveryPoint = this.#checkpoints.recoveryPoints.get(key) ?? 0
    return {
      ...log.settings,
      directory: this.#options.directory.folderOf(log.topic, log.partition),
      cleanShutdown: this.#cleanShutdown,
      recoveryPoint,
      logStart: this.#checkpoints.logStarts.get(key) ?? 0,
      highWatermark: this.#checkpoints.highWatermarks.get(key) ?? 0,
      leaderEpoch: -1,
      followers: 0,
      nowMs: this.#options.clock.nowMs(),
    }
  }

  #opened(log: ShardLog, result: LogOpenResult): number {
    const where = { topic: log.topic, partition: log.partition }
    if (result.error !== 0) {
      this.#options.logger.error(
        { ...where, errno: errnoName(result.error), what: result.what, reason: result.reason },
        'a log could not be opened; its partition is offline',
      )
      return 0
    }
    log.log = result.handle
    log.row = result.row
    this.#byRow.set(result.row, log)
    if (result.bytesTruncated > 0) {
      this.#options.logger.warn(
        { ...where, bytes: result.bytesTruncated, reason: result.reason },
        `recovery cut ${result.bytesTruncated} bytes off the log of ${log.topic}-${log.partition}: ${result.reason}`,
      )
    }
    return result.bytesTruncated
  }

  async #closeLogs(closed: readonly ShardLog[], clean: boolean): Promise<boolean> {
    let whole = true
    await Promise.all(
      this.#shards.map(async (shard) => {
        const mine = closed.filter((log) => log.shard === shard && log.log !== NO_LOG)
        if (mine.length === 0) return
        const handles = mine.map((log) => log.log)
        for (const log of mine) {
          this.#byRow.delete(log.row)
          log.log = NO_LOG
        }
        const errors = await shard.run('close', { logs: handles, clean })
        for (const [i, error] of errors.entries()) {
          if (error === 0) continue
          whole = false
          const { topic, partition } = mine[i] as ShardLog
          this.#options.logger.error(
            { topic, partition, errno: errnoName(error) },
            'a log could not be closed in order; it will be recovered at the next start',
          )
        }
      }),
    )
    return whole
  }

  /** The thread of a shard died and a new one is up: recovers its logs and serves them again. */
  shardRestarted(shard: Shard): Promise<void> {
    const mine = this.logs.filter((log) => log.shard === shard)
    for (const log of mine) {
      if (log.log !== NO_LOG) this.#byRow.delete(log.row)
      log.log = NO_LOG
      this.#events?.gone(log)
    }
    const reopened = this.#restarts.then(() => this.#reopen(mine))
    this.#restarts = reopened.catch(() => undefined)
    return reopened
  }

  async #reopen(logs: readonly ShardLog[]): Promise<void> {
    if (this.#closing) return
    this.#checkpoints = await this.#options.directory.readCheckpoints()
    const left = logs.filter((log) => this.find(log.topic, log.partition) === log)
    await this.#open(left)
    this.#checkpoints = NO_CHECKPOINTS
    for (const log of left) if (log.log !== NO_LOG) this.#events?.reopened(log)
    this.#options.logger.info({ logs: left.length }, 'the logs of a restarted shard are recovered')
  }

  storageError(row: number, errno: number): void {
    const log = this.#byRow.get(row)
    this.#options.logger.error(
      { topic: log?.topic, partition: log?.partition, errno: errnoName(errno) },
      'an append failed; nothing of it was acknowledged',
    )
    if (log === undefined) return
    if (log.isOnline && this.#events?.isSpare(log)) log.giveUp()
    this.#noticeFailure(log)
  }

  #noticeFailure(log: ShardLog): void {
    if (log.log === NO_LOG || log.isOnline) return
    void this.#noteLoss()
    this.#events?.failed(log)
  }

  /** Has the next start tell that records may be gone: nobody is to count on this replica then. */
  async #noteLoss(): Promise<void> {
    try {
      await this.#options.directory.noteLoss()
    } catch (error) {
      this.#options.logger.error(
        { error: String(error) },
        'the failure of a disk could not be noted there; the next start may not know of it',
      )
    }
  }

  /**
   * Cuts a log that does not lead at `offset`, or with `fully` empties it to begin there. Throws an
   * Error that names the partition and the errno; the log may be offline then.
   */
  async truncate(
    log: ShardLog,
    offset: number,
    { leaderEpoch = -1, fully = false }: CutOptions = {},
  ): Promise<void> {
    await this.cleaner.stop([log])
    const errno = await log.control('truncate', (handle) => ({
      log: handle,
      offset,
      fully,
      leaderEpoch,
    }))
    await this.cleaner.truncated(log, offset)
    if (errno === 0) return
    this.#noticeFailure(log)
    const what = errno === null ? 'its log is not open' : errnoName(errno)
    throw new Error(`${log.topic}-${log.partition} could not be cut at offset ${offset}: ${what}`)
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
    every(this.#options.highWatermarkIntervalMs, () => this.checkpointHighWatermarks())
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
      const mine = this.#openLogs(shard).filter((log) => !this.cleaner.isCleaning(log))
      if (mine.length === 0) continue
      const results = await shard.run('deleteOldSegments', {
        logs: mine.map((log) => log.log),
        nowMs: this.#options.clock.nowMs(),
      })
      for (const [i, [errno, segments, bytes]] of results.entries()) {
        const { topic, partition } = mine[i] as ShardLog
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

  #openLogs(shard: Shard): ShardLog[] {
    return this.logs.filter((log) => log.shard === shard && log.log !== NO_LOG)
  }

  /** Forces what is unflushed to disk, then writes the checkpoints. */
  async checkpoint(): Promise<void> {
    for (const shard of this.#shards) {
      const mine = this.#openLogs(shard)
      for (let i = 0; i < mine.length; i += FLUSH_LOGS_AT_ONCE) {
        const some = mine.slice(i, i + FLUSH_LOGS_AT_ONCE)
        const errors = await shard.run(
          'flush',
          some.map((log) => log.log),
        )
        for (const [j, error] of errors.entries()) {
          if (error === 0) continue
          const log = some[j] as ShardLog
          this.#options.logger.error(
            { topic: log.topic, partition: log.partition, errno: errnoName(error) },
            'a log could not be flushed',
          )
          this.#noticeFailure(log)
        }
      }
    }
    await this.#writeCheckpoints()
  }

  /** One after the other: they replace the same files. */
  #writeCheckpoints(): Promise<void> {
    return this.#write(async () => {
      const points: PartitionOffset[] = []
      for (const shard of this.#shards) {
        const mine = this.#openLogs(shard)
        if (mine.length === 0) continue
        const offsets = await shard.run(
          'recoveryPoints',
          mine.map((log) => log.log),
        )
        for (const [i, offset] of offsets.entries()) {
          const { topic, partition } = mine[i] as ShardLog
          if (offset >= 0) points.push({ topic, partition, offset })
        }
      }
      await this.#options.directory.writeRecoveryPoints(points)
      await this.#options.directory.writeHighWatermarks(this.#offsets((log) => log.highWatermark))
      await this.#options.directory.writeLogStarts(this.#offsets((log) => log.logStart))
    })
  }

  /** Writes the high watermarks, if one of them has moved. */
  checkpointHighWatermarks(): Promise<void> {
    const { directory } = this.#options
    return this.#write(() =>
      directory.writeHighWatermarks(this.#offsets((log) => log.highWatermark)),
    )
  }

  #offsets(read: (log: ShardLog) => number): PartitionOffset[] {
    return this.logs
      .filter((log) => log.log !== NO_LOG)
      .map((log) => ({
        topic: log.topic,
        partition: log.partition,
        offset: Math.max(0, read(log)),
      }))
  }

  #write(work: () => Promise<void>): Promise<void> {
    const written = this.#writing.then(work)
    // A failure is reported to whom it befell.
    this.#writing = written.catch(() => undefined)
    return written
  }

  /** Flushes and closes every log; writes the mark if all of it worked. */
  async close(): Promise<void> {
    this.#closing = true
    await this.cleaner.close()
    await this.#upkeep
    await this.#opening
    await this.#restarts
    await this.#removals
    await this.#named()
    await this.#name()
    await this.checkpoint()
    const whole = await this.#closeLogs(this.logs, true)
    if (whole) await this.#options.directory.writeCleanShutdownMark()
    else await this.#noteLoss()
  }
}
