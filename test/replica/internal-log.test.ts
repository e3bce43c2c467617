/** Appends and reads of the broker itself: order, refusal, whole batches, with and without threads. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { effectiveTopicConfig } from '../../src/config/topic-settings.ts'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import { Transport } from '../../src/network/transport.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { createInternalLog, type InternalLog } from '../../src/replica/internal-log.ts'
import { ReplicaManager } from '../../src/replica/replica-manager.ts'
import { Shard } from '../../src/shard/shard.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'

const LIMITS = {
  frameBytesMax: 1e6,
  inflightMax: 4,
  inflightBytesMax: 1e6,
  outputBytesMax: 1e6,
  receivedBytesMax: 1e7,
  connectionsMax: 100,
  idleMs: 600_000,
  frameStallMs: 30_000,
  sendBufferBytes: -1,
  receiveBufferBytes: -1,
}

interface Setting {
  readonly log: InternalLog
  readonly replicas: ReplicaManager
  readonly transport: Transport
}

async function start(t: TestContext, threaded: boolean): Promise<Setting> {
  const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
  const directory = await DataDirectory.open(path)
  const timers = new TimerQueue(systemClock)
  const transport = new Transport(
    LIMITS,
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
    directory,
    clock: systemClock,
    random: systemRandom,
    timers,
    logger: silentLogger,
    producerExpirationMs: 86_400_000,
    retentionCheckIntervalMs: 300_000,
    recoveryPointIntervalMs: 60_000,
    cleaner: {
      threads: 0,
      mapBytes: 0,
      mapLoadFactor: 1,
      ioBufferBytes: 0,
      bytesPerSecond: 1,
      batchBytesMax: 0,
      decompressionMaxBytes: 0,
    },
    cleanerBackoffMs: 15_000,
    partitionGone: () => undefined,
  })
  const shard = await Shard.start({
    transport: transport.id,
    threaded,
    decompressionMaxBytes: 1e7,
    logger: silentLogger,
    restarted: () => replicas.shardRestarted(shard),
  })
  replicas.attachShards([shard])
  await replicas.openTopic(
    {
      name: '__consumer_offsets',
      topicId: 'AAAAAAAAAAAAAAAAAAAAAQ',
      isInternal: true,
      configs: new Map([['cleanup.policy', 'compact']]),
      partitions: [
        {
          topic: '__consumer_offsets',
          partition: 0,
          leader: 0,
          leaderEpoch: 0,
          partitionEpoch: 0,
          controllerEpoch: 1,
          replicas: [0],
          isr: [0],
          offlineReplicas: [],
        },
      ],
    },
    effectiveTopicConfig(new Map([['cleanup.policy', 'compact']]), {
      dynamic: new Map(),
      dynamicDefault: new Map(),
      fixed: new Map(),
    }),
  )
  const log = createInternalLog({
    replicas,
    connection: transport.openInternal(),
    clock: systemClock,
  })
  t.after(async () => {
    await replicas.close()
    timers.close()
    await shard.stop()
    transport.destroy()
    directory.close()
    await rm(path, { recursive: true })
  })
  return { log, replicas, transport }
}

function batchOf(key: string): Buffer {
  return buildBatch([{ timestamp: 1, key: Buffer.from(key), value: Buffer.alloc(100) }], 0)
}

function offsetsIn(bytes: Buffer): number[] {
  const offsets: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const batch = readBatch(bytes.subarray(at))
    offsets.push(batch.baseOffset)
    at += batch.size
  }
  return offsets
}

for (const threaded of [false, true]) {
  const where = threaded ? 'through a shard thread' : 'on the main thread'

  test(`the broker's own appends are ordered, committed and readable ${where}`, async (t) => {
    const { log } = await start(t, threaded)
    const count = 10_000
    const results = await Promise.all(
      Array.from({ length: count }, (_, i) => log.append('__consumer_offsets', 0, batchOf(`${i}`))),
    )
    for (const [i, result] of results.entries()) {
      assert.deepEqual(result, { errorCode: 0, baseOffset: i })
    }
    let next = log.logStart('__consumer_offsets', 0)
    assert.equal(next, 0)
    for (;;) {
      const { errorCode, bytes } = await log.read('__consumer_offsets', 0, next, 64 * 1024)
      assert.equal(errorCode, 0)
      if (bytes.length === 0) break
      assert.ok(bytes.length <= 64 * 1024)
      for (const offset of offsetsIn(bytes)) {
        assert.equal(offset, next)
        next += 1
      }
    }
    assert.equal(next, count)
    const one = await log.read('__consumer_offsets', 0, 7, 1)
    assert.deepEqual(offsetsIn(one.bytes), [7], 'at least one batch')
  })

  test(`what cannot be appended is refused with its error ${where}`, async (t) => {
    const { log, replicas, transport } = await start(t, threaded)
    const damaged = batchOf('a')
    damaged[damaged.length - 1] = 1
    assert.equal(
      (await log.append('__consumer_offsets', 0, damaged)).errorCode,
      ErrorCode.CORRUPT_MESSAGE,
    )
    assert.equal(
      (await log.append('nowhere', 0, batchOf('a'))).errorCode,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    )
    const beyond = await log.read('__consumer_offsets', 0, 5, 1000)
    assert.equal(beyond.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    await transport.stop()
    assert.equal(
      (await log.append('__consumer_offsets', 0, batchOf('b'))).errorCode,
      0,
      'a coordinator may still write while clients are being sent away',
    )
    await replicas.deleteTopic('__consumer_offsets')
    assert.equal(
      (await log.append('__consumer_offsets', 0, batchOf('a'))).errorCode,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    )
  })
}
