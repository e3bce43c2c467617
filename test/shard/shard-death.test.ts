/** A shard whose thread dies: its partitions come back, and nothing else stops. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Broker } from '../../src/broker.ts'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import { isRetriable } from '../../src/protocol/error-codes.ts'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { WireClient } from '../support/wire-client.ts'

async function startBroker(t: TestContext, shards: number): Promise<Broker> {
  const directory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  const broker = await Broker.start({
    config: loadBrokerConfig(
      new Map([
        ['log.dirs', directory],
        ['listeners', 'PLAINTEXT://127.0.0.1:0'],
        ['shardlog.shards', String(shards)],
      ]),
    ),
    logger: silentLogger,
  })
  t.after(async () => {
    await broker.stop()
    await rm(directory, { recursive: true })
  })
  return broker
}

async function clientOf(t: TestContext, broker: Broker): Promise<WireClient> {
  const client = await WireClient.connect(broker.listeners[0]?.port ?? 0)
  t.after(() => client.close())
  return client
}

function batchOf(value: string): Buffer {
  return buildBatch([{ timestamp: 1, key: null, value: Buffer.from(value) }], 0)
}

async function produce(client: WireClient, partition: number, value: string) {
  const answer = await client.send(Produce, 9, {
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ name: 't', partitionData: [{ index: partition, records: batchOf(value) }] }],
  })
  return answer.responses[0]?.partitionResponses[0]
}

async function createTopic(client: WireClient): Promise<void> {
  const created = await client.send(CreateTopics, 5, {
    topics: [{ name: 't', numPartitions: 4, replicationFactor: 1, assignments: [], configs: [] }],
    timeoutMs: 10_000,
  })
  assert.equal(created.topics[0]?.errorCode, 0)
}

test('a shard that dies is restarted, recovers its logs and serves again', async (t) => {
  const broker = await startBroker(t, 2)
  const client = await clientOf(t, broker)
  await createTopic(client)
  const acknowledged = [0, 0, 0, 0]
  const write = async (partition: number): Promise<void> => {
    for (;;) {
      const answer = await produce(client, partition, 'x')
      assert.ok(answer)
      if (answer.errorCode === 0) {
        assert.equal(answer.baseOffset, acknowledged[partition])
        acknowledged[partition] = (acknowledged[partition] as number) + 1
        return
      }
      assert.ok(isRetriable(answer.errorCode), `error ${answer.errorCode}`)
      await new Promise(setImmediate)
    }
  }
  for (let round = 0; round < 3; round += 1) {
    for (const partition of [0, 1, 2, 3]) await write(partition)
    const shard = broker.shards[round % 2]
    await assert.rejects(async () => await shard?.run('crash', null))
    for (const partition of [0, 1, 2, 3]) await write(partition)
  }
  const ends = await client.send(ListOffsets, 5, {
    replicaId: -1,
    topics: [
      {
        name: 't',
        partitions: [0, 1, 2, 3].map((partitionIndex) => ({ partitionIndex, timestamp: -1 })),
      },
    ],
  })
  assert.deepEqual(
    ends.topics[0]?.partitions.map((one) => one.offset),
    acknowledged,
  )
  assert.deepEqual(acknowledged, [6, 6, 6, 6])
})

test('without threads the same requests are served by the main thread', async (t) => {
  const broker = await startBroker(t, 0)
  const client = await clientOf(t, broker)
  await createTopic(client)
  for (const value of ['a', 'b', 'c']) assert.equal((await produce(client, 1, value))?.errorCode, 0)
  const fetched = await client.send(Fetch, 4, {
    maxWaitMs: 1000,
    minBytes: 1,
    maxBytes: 1 << 20,
    topics: [
      { topic: 't', partitions: [{ partition: 1, fetchOffset: 0, partitionMaxBytes: 1 << 20 }] },
    ],
  })
  assert.equal(fetched.responses[0]?.partitions[0]?.highWatermark, 3)
  assert.ok((fetched.responses[0]?.partitions[0]?.records?.bytes ?? 0) > 3 * 61)
})

test('a produce to one bad and one good partition answers each', async (t) => {
  const broker = await startBroker(t, 1)
  const client = await clientOf(t, broker)
  await createTopic(client)
  const bad = batchOf('bad')
  bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1
  const answer = await client.send(Produce, 8, {
    acks: 1,
    timeoutMs: 1000,
    topicData: [
      {
        name: 't',
        partitionData: [
          { index: 0, records: bad },
          { index: 1, records: batchOf('good') },
          { index: 9, records: batchOf('nowhere') },
          { index: 2, records: null },
        ],
      },
    ],
  })
  const partitions = answer.responses[0]?.partitionResponses ?? []
  assert.deepEqual(
    partitions.map((one) => [one.index, one.errorCode, one.baseOffset]),
    [
      [0, 2, -1],
      [1, 0, 0],
      [9, 3, -1],
      [2, 87, -1],
    ],
  )
  for (const one of partitions) assert.equal(one.errorMessage !== null, one.errorCode !== 0)
  assert.equal(readBatch(batchOf('x')).recordCount, 1)
})
