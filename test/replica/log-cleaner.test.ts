/**
 * The cleaner over real logs, shards and threads: what it chooses, what it remembers, and what it
 * does when logs are damaged, deleted, closed or lose their shard under it.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { effectiveTopicConfig } from '../../src/config/topic-settings.ts'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { RecordCursor } from '../../src/log/record-cursor.ts'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import { Transport } from '../../src/network/transport.ts'
import { createInternalLog } from '../../src/replica/internal-log.ts'
import type { LogCleanerSettings } from '../../src/replica/log-cleaner.ts'
import type { Partition } from '../../src/replica/partition.ts'
import { ReplicaManager } from '../../src/replica/replica-manager.ts'
import { Shard } from '../../src/shard/shard.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { type Logger, silentLogger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'

const SETTINGS: LogCleanerSettings = {
  threads: 1,
  mapBytes: 1 << 20,
  mapLoadFactor: 0.9,
  ioBufferBytes: 8192,
  bytesPerSecond: Number.MAX_VALUE,
  batchBytesMax: 1 << 20,
  decompressionMaxBytes: 1 << 24,
}

const COMPACT = {
  'cleanup.policy': 'compact',
  'segment.bytes': '2000',
  'min.cleanable.dirty.ratio': '0.01',
}

interface Line {
  readonly level: 'info' | 'warn' | 'error'
  readonly fields: Record<string, unknown>
  readonly message: string
}

/** A logger that keeps what it is given. */
function keepingLogger(lines: Line[]): Logger {
  const keep =
    (level: Line['level']) =>
    (fields: Record<string, unknown>, message: string): void => {
      lines.push({ level, fields, message })
    }
  const logger = { info: keep('info'), warn: keep('warn'), error: keep('error') }
  return { ...silentLogger, ...logger } as Logger
}

class Harness {
  readonly clock: ManualClock
  readonly lines: Line[]
  readonly path: string
  readonly #parts: {
    readonly directory: DataDirectory
    readonly transport: Transport
    readonly shard: Shard
    readonly timers: TimerQueue
  }
  readonly replicas: ReplicaManager
  readonly #log: ReturnType<typeof createInternalLog>
  #isClosed = false

  private constructor(
    path: string,
    parts: {
      readonly directory: DataDirectory
      readonly transport: Transport
      readonly shard: Shard
      readonly timers: TimerQueue
    },
    made: { replicas: ReplicaManager; clock: ManualClock; lines: Line[] },
  ) {
    this.path = path
    this.#parts = parts
    this.replicas = made.replicas
    this.clock = made.clock
    this.lines = made.lines
    const connection = parts.transport.openInternal()
    this.#log = createInternalLog({ replicas: this.replicas, connection, clock: this.clock })
  }

  static async start(
    t: TestContext,
    options: { settings?: Partial<LogCleanerSettings>; threaded?: boolean; path?: string } = {},
  ): Promise<Harness> {
    const path = options.path ?? (await mkdtemp(join(tmpdir(), 'shardlog-')))
    const directory = await DataDirectory.open(path)
    // The files' own times count as well.
    const clock = new ManualClock(Date.now())
    const lines: Line[] = []
    const timers = new TimerQueue(clock)
    const transport = new Transport(
      {
        frameBytesMax: 1e6,
        inflightMax: 10,
        inflightBytesMax: 1e6,
        outputBytesMax: 1e6,
        receivedBytesMax: 1e7,
        connectionsMax: 10,
        idleMs: 60_000,
        frameStallMs: 60_000,
        sendBufferBytes: -1,
        receiveBufferBytes: -1,
      },
      { maxPerIp: 10, maxPerIpOverrides: new Map() },
      silentLogger,
    )
    transport.attachEvents({
      handle: () => undefined,
      result: () => undefined,
      advanced: () => undefined,
      storageError: () => undefined,
    })
    const replicas = new ReplicaManager({
      ...{ directory, clock, timers, random: systemRandom, logger: keepingLogger(lines) },
      producerExpirationMs: 86_400_000,
      retentionCheckIntervalMs: 300_000,
      recoveryPointIntervalMs: 60_000,
      cleaner: { ...SETTINGS, ...options.settings },
      cleanerBackoffMs: 15_000,
      partitionGone: () => undefined,
    })
    const shard: Shard = await Shard.start({
      transport: transport.id,
      threaded: options.threaded ?? false,
      decompressionMaxBytes: 1e7,
      logger: silentLogger,
      restarted: () => replicas.shardRestarted(shard),
    })
    replicas.attachShards([shard])
    const parts = { directory, transport, shard, timers }
    const harness = new Harness(path, parts, { replicas, clock, lines })
    t.after(async () => {
      await harness.close()
      if (options.path === undefined) await rm(path, { recursive: true, force: true })
    })
    return harness
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.replicas.close()
    this.#parts.timers.close()
    await this.#parts.shard.stop()
    this.#parts.transport.destroy()
    this.#parts.directory.close()
  }

  get shard(): Shard {
    return this.#parts.shard
  }

  async open(topic: string, configs: Readonly<Record<string, string>> = COMPACT) {
    await this.replicas.openTopic(
      {
        name: topic,
        topicId: 'AAAAAAAAAAAAAAAAAAAAAQ',
        isInternal: false,
        configs: new Map(),
        partitions: [
          {
            ...{ topic, partition: 0, leader: 0, leaderEpoch: 0, partitionEpoch: 0 },
            ...{ controllerEpoch: 1, replicas: [0], isr: [0], offlineReplicas: [] },
          },
        ],
      },
      effectiveTopicConfig(new Map(Object.entries(configs)), {
        dynamic: new Map(),
        dynamicDefault: new Map(),
        fixed: new Map(),
      }),
    )
    return this.partition(topic)
  }

  partition(topic: string): Partition {
    const partition = this.replicas.partition(topic, 0)
    assert.ok(partition)
    return partition
  }

  /** Batches of one record of about 100 bytes each. */
  async append(topic: string, keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const timestamp = this.clock.nowMs()
      const record = { timestamp, key: Buffer.from(key), value: Buffer.alloc(50, key) }
      const { errorCode } = await this.#log.append(topic, 0, buildBatch([record], 0))
      assert.equal(errorCode, 0)
    }
  }

  /** `offset:key` of what is left. */
  async read(topic: string): Promise<string[]> {
    const found: string[] = []
    let next = this.#log.logStart(topic, 0)
    for (;;) {
      const { errorCode, bytes } = await this.#log.read(topic, 0, next, 1 << 20)
      assert.equal(errorCode, 0)
      if (bytes.length === 0) return found
      for (let at = 0; at < bytes.length; ) {
        const batch = readBatch(bytes.subarray(at))
        const cursor = new RecordCursor(batch, bytes.subarray(at, at + batch.size), 1e7)
        while (cursor.next()) {
          const offset = batch.baseOffset + cursor.offsetDelta
          const key = cursor.bytes.toString('latin1', cursor.keyAt, cursor.keyAt + cursor.keyBytes)
          found.push(`${offset}:${key}`)
        }
        next = batch.baseOffset + bytes.readInt32BE(at + 23) + 1
        at += batch.size
      }
    }
  }

  get checkpoint(): string {
    return readFileSync(join(this.path, 'cleaner-offset-checkpoint'), 'utf8')
  }
}

/** `count` writes to `keys` keys in turn. */
function writes(count: number, keys: number): string[] {
  return Array.from({ length: count }, (_, i) => `k${i % keys}`)
}

function segmentFiles(path: string, topic: string): string[] {
  return readdirSync(join(path, `${topic}-0`)).filter((name) => name.endsWith('.log'))
}

for (const threaded of [false, true]) {
  const where = threaded ? 'on a shard thread' : 'on the main thread'

  test(`what is due is cleaned, and remembered in Kafka's file, ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const table = await harness.open('table')
    await harness.open('events', { 'segment.bytes': '2000' })
    await harness.append('table', writes(100, 5))
    await harness.append('events', writes(100, 5))
    const events = await harness.read('events')
    await harness.replicas.cleaner.run()
    const left = await harness.read('table')
    const end = await harness.replicas.cleaner.cleanOffset(table)
    assert.ok(end !== null && end > 80 && end < 100, `${end}`)
    const closed = left.filter((line) => Number(line.split(':')[0]) < end)
    assert.deepEqual(closed.map((line) => line.split(':')[1]).sort(), [
      'k0',
      'k1',
      'k2',
      'k3',
      'k4',
    ])
    assert.equal(left.length, 5 + 100 - end)
    assert.deepEqual(await harness.read('events'), events)
    assert.equal(harness.checkpoint, `0\n1\ntable 0 ${end}\n`)
    assert.deepEqual(
      harness.lines.map(({ level, message }) => [level, message]),
      [['info', 'a log was compacted']],
    )
    await harness.replicas.cleaner.run()
    assert.equal(harness.lines.length, 1, 'it is clean')

    // It goes on from there, in the next life of the broker too.
    await harness.close()
    const again = await Harness.start(t, { threaded, path: harness.path })
    const reopened = await again.open('table')
    await again.append('table', writes(60, 5))
    await again.replicas.cleaner.run()
    const later = await again.replicas.cleaner.cleanOffset(reopened)
    assert.ok(later !== null && later > end)
    const first = (await again.read('table')).filter((line) => Number(line.split(':')[0]) < later)
    assert.equal(first.length, 5)
    await again.close()
  })
}

test('a damaged log is left alone with one line, and others are cleaned', async (t) => {
  const harness = await Harness.start(t)
  for (const topic of ['good', 'bad']) {
    await harness.open(topic)
    await harness.append(topic, writes(100, 5))
  }
  const folder = join(harness.path, 'bad-0')
  const victim = join(folder, segmentFiles(harness.path, 'bad')[1] as string)
  const bytes = readFileSync(victim)
  bytes.writeUInt8(1, bytes.length - 1)
  writeFileSync(victim, bytes)
  const { cleaner } = harness.replicas
  await cleaner.run()
  await cleaner.run()
  assert.ok(cleaner.isUncleanable(harness.partition('bad')))
  assert.ok(!cleaner.isUncleanable(harness.partition('good')))
  assert.ok(((await cleaner.cleanOffset(harness.partition('good'))) ?? 0) > 80)
  const errors = harness.lines.filter((line) => line.level === 'error')
  assert.equal(errors.length, 1)
  assert.equal(errors[0]?.fields['topic'], 'bad')
  assert.match(String(errors[0]?.fields['reason']), /wrong CRC at position \d+ of .*bad-0/)
})

test('a log that is deleted, or a broker that stops, does not wait for the cleaner', async (t) => {
  // So slow that it would take an hour.
  const harness = await Harness.start(t, { settings: { bytesPerSecond: 10 } })
  for (const topic of ['deleted', 'kept']) {
    await harness.open(topic)
    await harness.append(topic, writes(100, 5))
  }
  const { cleaner } = harness.replicas
  const running = cleaner.run()
  const deleted = harness.partition('deleted')
  const kept = harness.partition('kept')
  while (!cleaner.isCleaning(deleted)) await new Promise(setImmediate)
  await harness.replicas.deleteTopic('deleted')
  assert.ok(!readdirSync(harness.path).includes('deleted-0'))
  while (!cleaner.isCleaning(kept)) await new Promise(setImmediate)
  await harness.close()
  await running
  const left = readdirSync(join(harness.path, 'kept-0'))
  assert.deepEqual(
    left.filter((name) => /cleaned|swap|deleted/.test(name)),
    [],
  )
  assert.deepEqual(
    harness.lines.filter((line) => line.level !== 'info'),
    [],
  )
})

test('what is cut or lost while it is being cleaned is not replaced', async (t) => {
  const harness = await Harness.start(t, { threaded: true, settings: { bytesPerSecond: 200_000 } })
  const partition = await harness.open('table')
  await harness.append('table', writes(200, 5))
  const before = await harness.read('table')
  const { cleaner } = harness.replicas
  const cleaning = cleaner.clean(partition)
  while (!cleaner.isCleaning(partition)) await new Promise(setImmediate)
  await assert.rejects(harness.shard.run('crash', null))
  assert.equal(await cleaning, null)
  while (partition.log === 0) await new Promise(setImmediate)
  assert.deepEqual(await harness.read('table'), before)
  assert.ok(!cleaner.isUncleanable(partition))
  const report = await cleaner.clean(partition)
  assert.ok(report !== null && report.recordsAfter === 5, JSON.stringify(report))
})

test('no more is read and written per second than is allowed', async (t) => {
  const harness = await Harness.start(t, { settings: { bytesPerSecond: 100_000 } })
  const partition = await harness.open('table')
  await harness.append('table', writes(150, 5))
  const startedMs = performance.now()
  const report = await harness.replicas.cleaner.clean(partition)
  const seconds = (performance.now() - startedMs) / 1000
  assert.ok(report !== null)
  // Twice read, once written.
  const bytes = 2 * report.bytesBefore + report.bytesAfter
  assert.ok(seconds > bytes / 100_000 - 0.05, `${bytes} bytes in ${seconds} s`)
})

test('a checkpoint that does not fit, or cannot be read, only costs another pass', async (t) => {
  const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  for (const [i, text] of ['0\n1\ntable 0 999999\n', 'rubbish', '0\n7\ntable 0 3\n'].entries()) {
    writeFileSync(join(path, 'cleaner-offset-checkpoint'), text)
    const harness = await Harness.start(t, { path })
    const partition = await harness.open('table')
    await harness.append('table', writes(100, 5))
    await harness.replicas.cleaner.run()
    const end = (await harness.replicas.cleaner.cleanOffset(partition)) ?? 0
    assert.ok(end > i * 100 && end <= (i + 1) * 100)
    assert.equal(harness.checkpoint, `0\n1\ntable 0 ${end}\n`)
    await harness.replicas.cleaner.truncated(partition, 7)
    assert.equal(harness.checkpoint, '0\n1\ntable 0 7\n')
    await harness.close()
  }
})

test('min.compaction.lag.ms and max.compaction.lag.ms go by the times of records', async (t) => {
  const harness = await Harness.start(t)
  const young = await harness.open('young', { ...COMPACT, 'min.compaction.lag.ms': '1000' })
  const old = await harness.open('old', {
    ...COMPACT,
    'min.cleanable.dirty.ratio': '1',
    'max.compaction.lag.ms': '1000',
  })
  for (const topic of ['young', 'old']) await harness.append(topic, writes(100, 5))
  const { cleaner } = harness.replicas
  await cleaner.run()
  assert.equal(await cleaner.cleanOffset(young), null)
  assert.equal(await cleaner.cleanOffset(old), null)
  harness.clock.advance(1001)
  await cleaner.run()
  assert.ok(((await cleaner.cleanOffset(young)) ?? 0) > 80)
  assert.ok(((await cleaner.cleanOffset(old)) ?? 0) > 80)
  // The active segment of such a topic does not grow old either.
  const before = segmentFiles(harness.path, 'old').length
  await harness.append('old', ['k0'])
  assert.equal(segmentFiles(harness.path, 'old').length, before + 1)
})

test('with compact and delete, retention goes on beside the cleaner', async (t) => {
  const harness = await Harness.start(t)
  const partition = await harness.open('both', {
    ...COMPACT,
    'cleanup.policy': 'compact,delete',
    'retention.ms': '5000',
  })
  await harness.append('both', writes(100, 50))
  await harness.replicas.cleaner.run()
  assert.equal(partition.logStart, 0)
  harness.clock.advance(6000)
  await harness.append('both', writes(60, 5))
  await harness.replicas.applyRetention()
  assert.ok(partition.logStart >= 90, `${partition.logStart}`)
  await harness.replicas.cleaner.run()
  const left = await harness.read('both')
  assert.ok(left.length < 40 && Number(left[0]?.split(':')[0]) >= partition.logStart)
})
