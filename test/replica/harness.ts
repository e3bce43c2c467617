/** A ReplicaManager with one shard, real logs and a clock moved by hand, without a network. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { TopicConfig } from '../../src/config/topic-config.ts'
import { effectiveTopicConfig } from '../../src/config/topic-settings.ts'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { RecordCursor } from '../../src/log/record-cursor.ts'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import type { Transport } from '../../src/network/transport.ts'
import type { LeaderAndIsrRequest } from '../../src/protocol/messages/leader-and-isr.ts'
import { createInternalLog } from '../../src/replica/internal-log.ts'
import type { LogCleanerSettings } from '../../src/replica/log-cleaner.ts'
import { LogManager } from '../../src/replica/log-manager.ts'
import type { Partition } from '../../src/replica/partition.ts'
import { ReplicaManager, type ReplicaManagerOptions } from '../../src/replica/replica-manager.ts'
import type { ShardLog } from '../../src/replica/shard-log.ts'
import { Shard } from '../../src/shard/shard.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { type Logger, silentLogger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { idleTransport } from '../support/transports.ts'

const SETTINGS: LogCleanerSettings = {
  threads: 1,
  mapBytes: 1 << 20,
  mapLoadFactor: 0.9,
  ioBufferBytes: 8192,
  bytesPerSecond: Number.MAX_VALUE,
  batchBytesMax: 1 << 20,
  decompressionMaxBytes: 1 << 24,
}

export const COMPACT = {
  'cleanup.policy': 'compact',
  'segment.bytes': '2000',
  'min.cleanable.dirty.ratio': '0.01',
}

interface Line {
  readonly level: 'info' | 'warn' | 'error'
  readonly fields: Record<string, unknown>
  readonly message: string
}

export function topicConfig(configs: Readonly<Record<string, string>>): TopicConfig {
  return effectiveTopicConfig(new Map(Object.entries(configs)), {
    dynamic: new Map(),
    dynamicDefault: new Map(),
    fixed: new Map(),
  })
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

/** What the controller says of a topic of one partition that this broker has to itself. */
function leadAlone(topic: string): LeaderAndIsrRequest {
  const partitionStates = [
    {
      ...{ topicName: topic, partitionIndex: 0, controllerEpoch: 1, leader: 0, leaderEpoch: 0 },
      ...{ isr: [0], partitionEpoch: 0, replicas: [0], addingReplicas: [], removingReplicas: [] },
      ...{ isNew: true, leaderRecoveryState: 0 },
    },
  ]
  return {
    ...{ controllerId: 0, isKRaftController: false, controllerEpoch: 1, brokerEpoch: 1, type: 0 },
    ...{ ungroupedPartitionStates: [], liveLeaders: [] },
    topicStates: [{ topicName: topic, topicId: 'AAAAAAAAAAAAAAAAAAAAAQ', partitionStates }],
  }
}

export class Harness {
  readonly clock: ManualClock
  readonly lines: Line[]
  readonly path: string
  readonly #parts: {
    readonly directory: DataDirectory
    readonly transport: Transport
    readonly shard: Shard
    readonly timers: TimerQueue
  }
  readonly logs: LogManager
  readonly replicas: ReplicaManager
  readonly #log: ReturnType<typeof createInternalLog>
  readonly #configs: Map<string, Readonly<Record<string, string>>>
  #isClosed = false

  private constructor(
    path: string,
    parts: {
      readonly directory: DataDirectory
      readonly transport: Transport
      readonly shard: Shard
      readonly timers: TimerQueue
    },
    made: {
      logs: LogManager
      replicas: ReplicaManager
      clock: ManualClock
      lines: Line[]
      configs: Map<string, Readonly<Record<string, string>>>
    },
  ) {
    this.path = path
    this.#parts = parts
    this.logs = made.logs
    this.replicas = made.replicas
    this.clock = made.clock
    this.lines = made.lines
    this.#configs = made.configs
    const connection = parts.transport.openInternal()
    this.#log = createInternalLog({ replicas: this.replicas, connection, clock: this.clock })
  }

  static async start(
    t: TestContext,
    options: {
      settings?: Partial<LogCleanerSettings>
      threaded?: boolean
      path?: string
      roles?: Partial<ReplicaManagerOptions>
    } = {},
  ): Promise<Harness> {
    const path = options.path ?? (await mkdtemp(join(tmpdir(), 'shardlog-')))
    // The files' own times count as well.
    const clock = new ManualClock(Date.now())
    const directory = await DataDirectory.open(path, clock)
    const lines: Line[] = []
    const timers = new TimerQueue(clock)
    const transport = idleTransport()
    const configs = new Map<string, Readonly<Record<string, string>>>()
    const logs = new LogManager({
      ...{ directory, clock, timers, random: systemRandom, logger: keepingLogger(lines) },
      producerExpirationMs: 86_400_000,
      retentionCheckIntervalMs: 300_000,
      recoveryPointIntervalMs: 60_000,
      highWatermarkIntervalMs: 5000,
      cleaner: { ...SETTINGS, ...options.settings },
      cleanerBackoffMs: 15_000,
    })
    const replicas = new ReplicaManager({
      ...{ brokerId: 0, clusterId: 'cluster', brokerEpoch: () => 1, epochOf: () => 1 },
      addressOf: () => undefined,
      openLink: () => Promise.reject(new Error('nobody is there')),
      controller: { alterPartition: () => Promise.reject(new Error('nobody is there')) },
      topicConfig: (topic) => topicConfig(configs.get(topic) ?? {}),
      ...{ lost: () => undefined, roleChanged: () => undefined, logDirFailed: () => undefined },
      settings: {
        lagTimeMaxMs: 30_000,
        fetchMinBytes: 1,
        fetchWaitMaxMs: 500,
        fetchMaxBytes: 1 << 20,
        fetchResponseMaxBytes: 10 << 20,
        fetchBackoffMs: 1000,
        fetchersPerLeader: 1,
      },
      ...{ logs, clock, timers, logger: keepingLogger(lines) },
      ...options.roles,
    })
    const shard: Shard = await Shard.start({
      transport: transport.id,
      threaded: options.threaded ?? false,
      decompressionMaxBytes: 1e7,
      logger: silentLogger,
      restarted: () => logs.shardRestarted(shard),
    })
    logs.attachShards([shard])
    const parts = { directory, transport, shard, timers }
    const harness = new Harness(path, parts, { logs, replicas, clock, lines, configs })
    t.after(async () => {
      await harness.close()
      if (options.path === undefined) await rm(path, { recursive: true, force: true })
    })
    return harness
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.replicas.close()
    await this.logs.close()
    this.#parts.timers.close()
    await this.#parts.shard.stop()
    this.#parts.transport.destroy()
    this.#parts.directory.close()
  }

  get transport(): Transport {
    return this.#parts.transport
  }

  get directory(): DataDirectory {
    return this.#parts.directory
  }

  get shard(): Shard {
    return this.#parts.shard
  }

  /** Has this broker lead partition 0 of a topic, alone. */
  async open(topic: string, configs: Readonly<Record<string, string>> = COMPACT) {
    this.#configs.set(topic, configs)
    const { topics } = await this.replicas.applyLeaderAndIsr(leadAlone(topic))
    assert.deepEqual(
      topics.flatMap((one) => one.partitionErrors).map((one) => one.errorCode),
      [0],
    )
    return this.partition(topic)
  }

  async delete(topic: string): Promise<void> {
    const partitionStates = [{ partitionIndex: 0, leaderEpoch: -2, deletePartition: true }]
    await this.replicas.stopReplicas({
      ...{ controllerId: 0, isKRaftController: false, controllerEpoch: 1, brokerEpoch: 1 },
      ...{ deletePartitions: false, ungroupedPartitions: [], topics: [] },
      topicStates: [{ topicName: topic, partitionStates }],
    })
  }

  async openLog(topic: string, configs: Readonly<Record<string, string>> = COMPACT) {
    await this.open(topic, configs)
    return this.log(topic)
  }

  log(topic: string): ShardLog {
    const log = this.logs.find(topic, 0)
    assert.ok(log)
    return log
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
