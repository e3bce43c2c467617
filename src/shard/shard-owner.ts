/**
 * The JavaScript side of a shard, on the thread that owns its logs: opens and closes them, runs
 * control tasks, and works off the slow lane. The bytes of appends are handled in native code.
 */
import { findOffsetByTimestamp, validateAndConvert } from '../log/slow-lane.ts'
import type { LogSettings } from '../native/addon.ts'
import { addon } from '../native/addon.ts'
import { EVENT_WIDTH, EventKind } from '../native/events.ts'
import type {
  CleaningState,
  ControlInput,
  ControlMessage,
  ControlName,
  ControlOutput,
  SegmentState,
  ShardStart,
  TimestampLookup,
} from './control.ts'

const ROWS = 256

export class ShardOwner {
  readonly #shard: number
  readonly #decompressionMaxBytes: number
  readonly #rows = new Float64Array(ROWS * EVENT_WIDTH)
  readonly #settings = new Map<number, LogSettings>()
  readonly #slow: number[] = []
  #slowScheduled = false

  /** `direct`: the main thread is the owner, and the transport's turn drains the queue. */
  constructor(start: ShardStart, direct: boolean) {
    this.#shard = start.shard
    this.#decompressionMaxBytes = start.decompressionMaxBytes
    const attached = addon.attachShard(start.shard, direct, this.#rows, (count) => {
      for (let i = 0; i < count; i += 1) {
        const at = i * EVENT_WIDTH
        if (this.#rows[at] === EventKind.SLOW_SLICE) this.#enqueueSlow(this.#rows[at + 1] as number)
      }
    })
    if (!attached) throw new Error(`shard ${start.shard} has an owner already`)
  }

  detach(): void {
    addon.detachShard(this.#shard)
  }

  /** Runs a control task behind everything that was queued before it. */
  async run(message: ControlMessage): Promise<ControlOutput<ControlName>> {
    addon.drainShard(this.#shard)
    const { name, input } = message
    switch (name) {
      case 'open':
        return (input as ControlInput<'open'>).map((options) => {
          const opened = addon.openLog(this.#shard, options)
          if (opened.error === 0) this.#settings.set(opened.handle, options)
          return opened
        })
      case 'close': {
        const { logs, clean } = input as ControlInput<'close'>
        return logs.map((log) => {
          this.#settings.delete(log)
          return addon.closeLog(log, clean)
        })
      }
      case 'configure': {
        const { log, settings } = input as ControlInput<'configure'>
        this.#settings.set(log, settings)
        return addon.configureLog(log, settings)
      }
      case 'deleteOldSegments': {
        const { logs, nowMs } = input as ControlInput<'deleteOldSegments'>
        return logs.map((log) => addon.deleteOldSegments(log, nowMs))
      }
      case 'deleteRecords': {
        const { log, offset } = input as ControlInput<'deleteRecords'>
        return addon.deleteRecords(log, offset)
      }
      case 'flush':
        return await Promise.all((input as ControlInput<'flush'>).map((log) => flush(log)))
      case 'recoveryPoints':
        return (input as ControlInput<'recoveryPoints'>).map((log) => addon.logRecoveryPoint(log))
      case 'offsetForTimestamp':
        return this.#offsetForTimestamp(input as ControlInput<'offsetForTimestamp'>)
      case 'epochOfOffset': {
        const { log, offset } = input as ControlInput<'epochOfOffset'>
        return addon.epochOfOffset(log, offset)
      }
      case 'epochEndOffset': {
        const { log, epoch } = input as ControlInput<'epochEndOffset'>
        return addon.epochEndOffset(log, epoch)
      }
      case 'truncate':
        return await truncate(input as ControlInput<'truncate'>)
      case 'cleaningStates':
        return (input as ControlInput<'cleaningStates'>).logs.map(({ log, times }) =>
          cleaningState(log, times),
        )
      case 'lastBatchesOfProducers':
        return addon.lastBatchesOfProducers(input as ControlInput<'lastBatchesOfProducers'>)
      case 'replaceSegments':
        return await replaceSegments(input as ControlInput<'replaceSegments'>)
      case 'crash':
        throw new Error('a crash was asked for')
    }
  }

  #offsetForTimestamp(input: ControlInput<'offsetForTimestamp'>): TimestampLookup {
    const [errno, found, offset, timestamp, leaderEpoch, batch] = addon.offsetForTimestamp(
      input.log,
      input.timestamp,
      input.limitOffset,
    )
    if (batch === null) return { errno, found, offset, timestamp, leaderEpoch }
    // Found down to the batch: the record is inside a compressed one.
    const wanted = input.timestamp === -3 ? timestamp : input.timestamp
    const record = findOffsetByTimestamp(batch, wanted, this.#decompressionMaxBytes)
    if (record === null) return { errno, found, offset, timestamp, leaderEpoch }
    return { errno, found: true, ...record, leaderEpoch }
  }

  #enqueueSlow(log: number): void {
    this.#slow.push(log)
    if (this.#slowScheduled) return
    this.#slowScheduled = true
    // One slice per turn: other partitions go on in between.
    setImmediate(() => this.#workSlow())
  }

  #workSlow(): void {
    this.#slowScheduled = false
    const log = this.#slow.shift()
    if (log !== undefined) this.#convert(log)
    if (this.#slow.length > 0 && !this.#slowScheduled) {
      this.#slowScheduled = true
      setImmediate(() => this.#workSlow())
    }
  }

  #convert(log: number): void {
    const bytes = addon.slowSliceBytes(log)
    const settings = this.#settings.get(log)
    if (bytes === null || settings === undefined) return
    const outcome = validateAndConvert(bytes, {
      apiVersion: addon.slowSliceVersion(log),
      compression: settings.compression,
      ...(settings.compressionLevel === null
        ? {}
        : { compressionLevel: settings.compressionLevel }),
      logAppendTime: settings.logAppendTime,
      nowMs: addon.slowSliceNow(log),
      timestampBeforeMaxMs: settings.timestampBeforeMaxMs,
      timestampAfterMaxMs: settings.timestampAfterMaxMs,
      compacted: settings.compacted,
      decompressionMaxBytes: this.#decompressionMaxBytes,
    })
    switch (outcome.kind) {
      case 'accept':
        addon.finishSlow(log, 0, -1, null)
        break
      case 'replace':
        addon.finishSlow(log, 0, -1, outcome.bytes)
        break
      case 'reject':
        addon.finishSlow(log, outcome.errorCode, outcome.recordIndex, null)
        break
    }
  }
}

function flush(log: number): Promise<number> {
  return new Promise((resolve) => {
    if (!addon.flushLog(log, resolve)) resolve(0)
  })
}

function cleaningState(log: number, times: boolean): CleaningState | null {
  const state = addon.cleaningState(log, times)
  if (state === null) return null
  const [errno, truncations, rows] = state
  const segments: SegmentState[] = []
  for (let at = 0; at < rows.length; at += 4) {
    segments.push({
      baseOffset: rows[at] as number,
      bytes: rows[at + 1] as number,
      largestTimestamp: rows[at + 2] as number,
      firstTimestamp: rows[at + 3] as number,
    })
  }
  return { errno, truncations, segments }
}

const EBUSY = 16

async function truncate({
  log,
  offset,
  fully,
  leaderEpoch,
}: ControlInput<'truncate'>): Promise<number> {
  for (;;) {
    const errno = addon.truncateLog(log, offset, fully, leaderEpoch)
    if (errno !== EBUSY) return errno
    // What is in the slow lane was queued before. Its turns come meanwhile.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const ESTALE = 116

function replaceSegments(input: ControlInput<'replaceSegments'>): Promise<number> {
  return new Promise((resolve) => {
    const bases = Float64Array.from(input.bases)
    const errno = addon.replaceSegments(input.log, bases, input.truncations, resolve)
    if (errno !== 0) resolve(errno < 0 ? ESTALE : errno)
  })
}
