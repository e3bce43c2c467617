/** One log under a real native owner, cleaned step by step on this thread. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type CleanedGroup,
  type CleaningPlan,
  type IndexedLog,
  SegmentCleaner,
} from '../../src/log/segment-cleaner.ts'
import { addon, type LogSettings } from '../../src/native/addon.ts'
import type { Transport } from '../../src/network/transport.ts'
import type { CleaningState } from '../../src/shard/control.ts'
import { readBatches } from '../../src/shard/log-reader.ts'
import { published } from '../../src/shard/published.ts'
import { Shard } from '../../src/shard/shard.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { idleTransport } from '../support/transports.ts'
import { decodeBatches, type ReadBackBatch } from './stored-log.ts'

const SETTINGS: LogSettings = {
  segmentBytes: 1 << 20,
  segmentMs: 1e12,
  segmentJitterMs: 0,
  segmentIndexBytes: 10 << 20,
  indexIntervalBytes: 200,
  messageMaxBytes: 1 << 20,
  logAppendTime: false,
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  compression: -1,
  compressionLevel: null,
  retentionMs: -1,
  retentionBytes: -1,
  compacted: true,
  deletes: false,
  producerExpirationMs: Number.MAX_SAFE_INTEGER,
}

export interface PassOptions {
  readonly firstDirty: number
  readonly firstUncleanable: number
  readonly nowMs: number
  readonly deleteRetentionMs: number
  readonly mapBytes?: number
  readonly ioBufferBytes?: number
  readonly segmentBytes?: number
}

export interface Pass {
  readonly indexed: IndexedLog
  readonly groups: readonly CleanedGroup[]
}

/** A thread's worth of shard, for all logs of a test. */
export class CleaningFixture {
  readonly #transport: Transport
  readonly #shard: Shard
  readonly #roots: string[] = []

  private constructor(transport: Transport, shard: Shard) {
    this.#transport = transport
    this.#shard = shard
  }

  static async start(): Promise<CleaningFixture> {
    const transport = idleTransport()
    const shard = await Shard.start({
      transport: transport.id,
      threaded: false,
      decompressionMaxBytes: 1e7,
      logger: silentLogger,
      restarted: () => Promise.resolve(),
    })
    return new CleaningFixture(transport, shard)
  }

  async close(): Promise<void> {
    await this.#shard.stop()
    this.#transport.destroy()
    for (const root of this.#roots) rmSync(root, { recursive: true, force: true })
  }

  /** A log that is not open yet, with an empty folder. */
  createLog(): CleanedLog {
    const root = mkdtempSync(join(tmpdir(), 'shardlog-'))
    this.#roots.push(root)
    const folder = join(root, 'topic-0')
    mkdirSync(folder)
    return new CleanedLog(this.#shard, folder)
  }
}

export class CleanedLog {
  readonly folder: string
  readonly #shard: Shard
  #log = 0
  #row = -1

  constructor(shard: Shard, folder: string) {
    this.#shard = shard
    this.folder = folder
  }

  get handle(): number {
    return this.#log
  }

  get logEnd(): number {
    return published.logEnd(this.#row)
  }

  get isOffline(): boolean {
    return published.isOffline(this.#row)
  }

  /** Opens what is in the folder; without `clean` as after a crash. Bytes that were cut off. */
  async open(clean = true): Promise<number> {
    const [opened] = await this.#shard.run('open', [
      {
        ...SETTINGS,
        directory: this.folder,
        cleanShutdown: clean,
        recoveryPoint: 0,
        logStart: 0,
        highWatermark: 0,
        leaderEpoch: 0,
        followers: 0,
        nowMs: 1,
      },
    ])
    assert.equal(opened?.error, 0, `${opened?.what}: ${opened?.reason}`)
    this.#log = opened?.handle ?? 0
    this.#row = opened?.row ?? -1
    return opened?.bytesTruncated ?? 0
  }

  async close(clean = true): Promise<void> {
    assert.deepEqual(await this.#shard.run('close', { logs: [this.#log], clean }), [0])
  }

  async state(): Promise<CleaningState> {
    const [state] = await this.#shard.run('cleaningStates', {
      logs: [{ log: this.#log, times: true }],
    })
    assert.ok(state)
    return state
  }

  async plan(options: PassOptions): Promise<CleaningPlan> {
    const { segments } = await this.state()
    const { segmentBytes, segmentIndexBytes, indexIntervalBytes } = SETTINGS
    return {
      directory: this.folder,
      segments: segments.map((segment) => segment.baseOffset),
      segmentBytes: options.segmentBytes ?? segmentBytes,
      segmentIndexBytes,
      indexIntervalBytes,
      batchBytesMax: 1 << 20,
      decompressionMaxBytes: 1e7,
      producers: await this.#shard.run('lastBatchesOfProducers', this.#log),
      ...options,
    }
  }

  cleaner(plan: CleaningPlan, options: { mapBytes?: number; ioBufferBytes?: number } = {}) {
    const half = options.ioBufferBytes ?? 4096
    return new SegmentCleaner(plan, {
      map: addon.createOffsetMap(options.mapBytes ?? 1 << 20, 0.9, Buffer.alloc(16, 7)),
      readBuffer: { bytes: Buffer.alloc(half) },
      writeBuffer: Buffer.alloc(half),
      charge: () => undefined,
    })
  }

  replace(bases: readonly number[], truncations: number): Promise<number> {
    return this.#shard.run('replaceSegments', { log: this.#log, bases, truncations })
  }

  /** Indexes, cleans and replaces, as the broker does. */
  async pass(options: PassOptions): Promise<Pass> {
    const { truncations } = await this.state()
    const cleaner = this.cleaner(await this.plan(options), options)
    const indexed = cleaner.index()
    const groups: CleanedGroup[] = []
    for (const group of indexed.groups) {
      groups.push(cleaner.clean(group))
      assert.equal(await this.replace(group, truncations), 0)
    }
    return { indexed, groups }
  }

  /** What a fetch from `offset` gets first, if there is anything. */
  async readFrom(offset: number, maxBytes = 1 << 24): Promise<ReadBackBatch[]> {
    const read = await readBatches(this.#log, { offset, maxBytes, limitOffset: this.logEnd })
    assert.equal(read.errorCode, 0)
    return decodeBatches(read.bytes)
  }

  /** Every batch, as a fetching client gets them. */
  async readAll(): Promise<ReadBackBatch[]> {
    const batches: ReadBackBatch[] = []
    for (let next = 0; next < this.logEnd; ) {
      const got = await this.readFrom(next)
      if (got.length === 0) break
      batches.push(...got)
      next = (got.at(-1)?.lastOffset ?? next) + 1
    }
    return batches
  }
}
