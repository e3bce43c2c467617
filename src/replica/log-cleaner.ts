/**
 * Compacts logs with cleanup.policy compact: chooses them, has a thread copy what stays, and has the
 * owner of each log put that in the place of what it was copied from. Remembers in
 * `cleaner-offset-checkpoint` up to where each log is clean.
 *
 * Main thread. One cleaning of a log at a time; a log that is closed or cut meanwhile keeps nothing
 * of it. A damaged log is left alone from then on, with one line in the log.
 */
import { type PartitionOffset, partitionKey } from '../log/checkpoint-file.ts'
import type { DataDirectory } from '../log/data-directory.ts'
import type { IndexedLog } from '../log/segment-cleaner.ts'
import { type CleanerOutcome, CleanerThread, CleaningAbort } from '../shard/cleaner-thread.ts'
import type { CleaningState } from '../shard/control.ts'
import type { Clock } from '../util/clock.ts'
import { errnoName } from '../util/errno.ts'
import type { Logger } from '../util/logger.ts'
import { type CleanablePart, cleanablePart } from './cleaning-policy.ts'
import { NO_LOG, type ShardLog } from './shard-log.ts'

const NO_LIMIT = Number.MAX_SAFE_INTEGER
const ESTALE = 116

export interface LogCleanerSettings {
  /** How many logs are cleaned at a time; 0: none ever. */
  readonly threads: number
  /** Memory for keys, all threads together. */
  readonly mapBytes: number
  readonly mapLoadFactor: number
  /** Memory to read and write with, all threads together. */
  readonly ioBufferBytes: number
  /** Read and written per second, all threads together. */
  readonly bytesPerSecond: number
  /** No batch that is longer can be in a log. */
  readonly batchBytesMax: number
  /** No batch may hold more when it is decompressed. */
  readonly decompressionMaxBytes: number
}

export interface LogCleanerOptions {
  readonly settings: LogCleanerSettings
  readonly directory: DataDirectory
  readonly clock: Clock
  readonly logger: Logger
  readonly logs: () => readonly ShardLog[]
}

/** What came of cleaning one log. */
export interface CleaningReport {
  /** The log is clean up to here. */
  readonly endOffset: number
  readonly keys: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly recordsBefore: number
  readonly recordsAfter: number
}

interface Cleaning {
  readonly abort: CleaningAbort
  readonly done: Promise<CleaningReport | null>
}

/** A log that no further try would clean; every other error may pass. */
class UncleanableError extends Error {
  override readonly name = 'UncleanableError'
}

export class LogCleaner {
  readonly #options: LogCleanerOptions
  readonly #threads: CleanerThread[]
  readonly #running = new Map<ShardLog, Cleaning>()
  readonly #uncleanable = new WeakSet<ShardLog>()
  #offsets: Promise<Map<string, number>> | null = null
  #writing: Promise<void> = Promise.resolve()
  #closing = false

  constructor(options: LogCleanerOptions) {
    this.#options = options
    const { threads, ...settings } = options.settings
    this.#threads = Array.from(
      { length: threads },
      () =>
        new CleanerThread({
          mapBytes: Math.floor(settings.mapBytes / threads),
          mapLoadFactor: settings.mapLoadFactor,
          ioBufferBytes: Math.floor(settings.ioBufferBytes / threads),
          bytesPerSecond: settings.bytesPerSecond / threads,
        }),
    )
  }

  /** Cleans every log that is due, the dirtiest first, until there is none. */
  async run(): Promise<void> {
    for (;;) {
      const due = await this.#due()
      let cleaned = 0
      const work = async (thread: CleanerThread): Promise<void> => {
        for (let next = due.shift(); next !== undefined; next = due.shift()) {
          if (this.#closing) return
          if (this.#running.has(next)) continue
          if ((await this.#start(next, thread, false)) !== null) cleaned += 1
        }
      }
      await Promise.all(this.#threads.map(work))
      if (cleaned === 0 || this.#closing) return
    }
  }

  /**
   * Cleans a log now, as far as it may be cleaned, however clean it is; null when nothing of it may,
   * or when it could not be done, which the log tells. For tests and tools.
   */
  async clean(partition: ShardLog): Promise<CleaningReport | null> {
    await this.stop([partition])
    const thread = this.#threads[0]
    if (thread === undefined || this.#closing) return null
    await Promise.all([...this.#running.values()].map((cleaning) => cleaning.done))
    return await this.#start(partition, thread, true)
  }

  /** Whether a log is being cleaned now: nobody else should delete segments of it. */
  isCleaning(partition: ShardLog): boolean {
    return this.#running.has(partition)
  }

  /** Whether a log was found to be damaged. */
  isUncleanable(partition: ShardLog): boolean {
    return this.#uncleanable.has(partition)
  }

  /** Up to where a log is clean; null when it never was. */
  async cleanOffset(partition: ShardLog): Promise<number | null> {
    return (await this.#load()).get(keyOf(partition)) ?? null
  }

  /** Ends what is being done with these logs. They may be cleaned again later. */
  async stop(partitions: readonly ShardLog[]): Promise<void> {
    for (const partition of partitions) {
      const cleaning = this.#running.get(partition)
      cleaning?.abort.abort()
      await cleaning?.done
    }
  }

  /** A log was cut off at `offset`: what comes there now is not clean. */
  async truncated(partition: ShardLog, offset: number): Promise<void> {
    const offsets = await this.#load()
    const known = offsets.get(keyOf(partition))
    if (known === undefined || known <= offset) return
    offsets.set(keyOf(partition), offset)
    await this.#write()
  }

  async close(): Promise<void> {
    this.#closing = true
    await this.stop([...this.#running.keys()])
    await this.#writing
    for (const thread of this.#threads) await thread.close()
  }

  // --- Choosing

  async #due(): Promise<ShardLog[]> {
    const candidates = this.#options
      .logs()
      .filter(
        (partition) =>
          partition.settings.compacted &&
          partition.isOnline &&
          !this.#running.has(partition) &&
          !this.#uncleanable.has(partition),
      )
    if (candidates.length === 0 || this.#threads.length === 0) return []
    const offsets = await this.#load()
    const due: { partition: ShardLog; dirtyRatio: number }[] = []
    let wrong = false
    for (const shard of new Set(candidates.map((partition) => partition.shard))) {
      const mine = candidates.filter((partition) => partition.shard === shard)
      const logs = mine.map((partition) => ({ log: partition.log, times: wantsTimes(partition) }))
      const states = await shard.run('cleaningStates', { logs })
      for (const [i, state] of states.entries()) {
        const partition = mine[i] as ShardLog
        if (state === null || state.errno !== 0 || partition.log === NO_LOG) continue
        const part = this.#partOf(partition, state, offsets)
        if (part.isCheckpointWrong) {
          offsets.set(keyOf(partition), part.firstDirty)
          wrong = true
        }
        if (part.isDue) due.push({ partition, dirtyRatio: part.dirtyRatio })
      }
    }
    if (wrong) await this.#write()
    due.sort((a, b) => b.dirtyRatio - a.dirtyRatio)
    return due.map(({ partition }) => partition)
  }

  #partOf(
    partition: ShardLog,
    state: CleaningState,
    offsets: ReadonlyMap<string, number>,
  ): CleanablePart {
    const { config } = partition
    return cleanablePart({
      segments: state.segments,
      logStart: partition.logStart,
      logEnd: partition.logEnd,
      lastStable: partition.lastStable,
      checkpoint: offsets.get(keyOf(partition)),
      minLagMs: config.minCompactionLagMs,
      maxLagMs: config.maxCompactionLagMs,
      minDirtyRatio: config.minCleanableDirtyRatio,
      nowMs: this.#options.clock.nowMs(),
    })
  }

  // --- Cleaning

  /** null when it was not cleaned; never rejects. */
  #start(
    partition: ShardLog,
    thread: CleanerThread,
    always: boolean,
  ): Promise<CleaningReport | null> {
    const abort = new CleaningAbort()
    const done = this.#attempt(partition, thread, abort, always).finally(() => {
      this.#running.delete(partition)
    })
    this.#running.set(partition, { abort, done })
    return done
  }

  async #attempt(
    partition: ShardLog,
    thread: CleanerThread,
    abort: CleaningAbort,
    always: boolean,
  ): Promise<CleaningReport | null> {
    const where = { topic: partition.topic, partition: partition.partition }
    try {
      const startedMs = this.#options.clock.monotonicMs()
      const report = await this.#clean(partition, thread, abort, always)
      if (report === null) return null
      const ms = Math.round(this.#options.clock.monotonicMs() - startedMs)
      this.#options.logger.info({ ...where, ...report, ms }, 'a log was compacted')
      return report
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (abort.isAborted || this.#closing) return null
      if (!(error instanceof UncleanableError)) {
        this.#options.logger.warn({ ...where, reason }, 'a log was not compacted this time')
        return null
      }
      this.#uncleanable.add(partition)
      this.#options.logger.error(
        { ...where, reason },
        'a log cannot be compacted; it is left as it is until the broker starts again',
      )
      return null
    } finally {
      await thread.end().catch(() => this.#threadDied(where))
    }
  }

  #threadDied(where: { topic: string; partition: number }): void {
    this.#options.logger.error(where, 'the thread that compacted a log died')
  }

  async #clean(
    partition: ShardLog,
    thread: CleanerThread,
    abort: CleaningAbort,
    always: boolean,
  ): Promise<CleaningReport | null> {
    const offsets = await this.#load()
    // This log and no other: one that is opened anew in its place has another handle.
    const { log, shard } = partition
    if (log === NO_LOG) return null
    const stateOf = async (): Promise<CleaningState | null> => {
      const states = await shard.run('cleaningStates', {
        logs: [{ log, times: wantsTimes(partition) }],
      })
      return states[0] ?? null
    }
    const state = await stateOf()
    if (state === null || partition.log !== log) return null
    if (state.errno !== 0) throw new Error(errnoName(state.errno))
    const part = this.#partOf(partition, state, offsets)
    if (!(part.isDue || (always && part.cleanableBytes > 0))) return null
    const producers = await shard.run('lastBatchesOfProducers', log)
    const { settings, config } = partition
    const { directory, clock } = this.#options
    const value = async <T>(outcome: Promise<CleanerOutcome<T>>): Promise<T> => {
      const got = await outcome.catch((error: unknown) => {
        throw new UncleanableError(`the thread that compacts failed: ${String(error)}`)
      })
      if (got.kind === 'done') return got.result
      // What looks like damage may be what is left of a log that was cut or closed meanwhile.
      const damaged = got.kind === 'corrupt' && (await stateOf())?.truncations === state.truncations
      throw damaged ? new UncleanableError(got.reason) : new Error(got.reason)
    }
    const indexed: IndexedLog = await value(
      thread.index(
        {
          directory: directory.folderOf(partition.topic, partition.partition),
          segments: state.segments.map((segment) => segment.baseOffset),
          firstDirty: part.firstDirty,
          firstUncleanable: part.firstUncleanable,
          nowMs: clock.nowMs(),
          deleteRetentionMs: config.deleteRetentionMs,
          segmentBytes: settings.segmentBytes,
          segmentIndexBytes: settings.segmentIndexBytes,
          indexIntervalBytes: settings.indexIntervalBytes,
          batchBytesMax: Math.max(this.#options.settings.batchBytesMax, settings.messageMaxBytes),
          decompressionMaxBytes: this.#options.settings.decompressionMaxBytes,
          producers,
        },
        abort,
      ),
    )
    const total = { bytesBefore: 0, bytesAfter: 0, recordsBefore: 0, recordsAfter: 0 }
    for (const bases of indexed.groups) {
      const cleaned = await value(thread.clean(bases))
      const { truncations } = state
      const errno = await shard.run('replaceSegments', { log, bases, truncations })
      if (errno !== 0) {
        await thread.discard(bases)
        throw new Error(errno === ESTALE ? 'the log changed meanwhile' : errnoName(errno))
      }
      total.bytesBefore += cleaned.bytesBefore
      total.bytesAfter += cleaned.bytesAfter
      total.recordsBefore += cleaned.recordsBefore
      total.recordsAfter += cleaned.recordsAfter
    }
    offsets.set(keyOf(partition), indexed.endOffset)
    await this.#write()
    return { endOffset: indexed.endOffset, keys: indexed.keys, ...total }
  }

  // --- The checkpoint

  #load(): Promise<Map<string, number>> {
    this.#offsets ??= this.#options.directory.readCleanerOffsets().catch((error: unknown) => {
      // What is lost with it is time: the logs are cleaned from their start again.
      this.#options.logger.warn({ error: String(error) }, 'the cleaner offsets are unreadable')
      return new Map<string, number>()
    })
    return this.#offsets
  }

  #write(): Promise<void> {
    this.#writing = this.#writing
      // A failure was reported to whom it befell.
      .catch(() => undefined)
      .then(async () => {
        const known = await this.#load()
        const offsets: PartitionOffset[] = []
        for (const partition of this.#options.logs()) {
          const offset = known.get(keyOf(partition))
          if (offset === undefined) continue
          offsets.push({ topic: partition.topic, partition: partition.partition, offset })
        }
        await this.#options.directory.writeCleanerOffsets(offsets)
      })
    return this.#writing
  }
}

function keyOf(partition: ShardLog): string {
  return partitionKey(partition.topic, partition.partition)
}

/** The lags go by the times of records, which cost reading a little of every segment. */
function wantsTimes({ config }: ShardLog): boolean {
  return config.minCompactionLagMs > 0 || config.maxCompactionLagMs < NO_LIMIT
}
