/** The broker inside another program: what it promises, through real connections. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBroker, ManualClock } from '../../src/index.ts'
import { buildBatch } from '../../src/log/record-format.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { WireClient } from '../support/wire-client.ts'

async function produce(client: WireClient, topic: string, timestamp: number): Promise<number> {
  const records = buildBatch([{ timestamp, key: null, value: Buffer.alloc(500) }], 0)
  const answer = await client.send(Produce, 9, {
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
  })
  return answer.responses[0]?.partitionResponses[0]?.errorCode ?? -1
}

async function logStart(client: WireClient, topic: string): Promise<number> {
  const answer = await client.send(ListOffsets, 7, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -2 }] }],
  })
  return answer.topics[0]?.partitions[0]?.offset ?? -1
}

test('an embedded broker has its topics when the promise resolves', async () => {
  const broker = await createBroker({
    topics: { orders: { partitions: 3, config: { 'cleanup.policy': 'compact' } }, plain: {} },
  })
  try {
    assert.equal(broker.bootstrapServers, `127.0.0.1:${broker.port}`)
    await broker.createTopic('later', { partitions: 2 })
    const client = await WireClient.connect(broker.port)
    const known = await client.send(Metadata, 12, { topics: null })
    assert.deepEqual(known.topics.map((topic) => [topic.name, topic.partitions.length]).sort(), [
      ['later', 2],
      ['orders', 3],
      ['plain', 1],
    ])
    client.close()
  } finally {
    await broker.close()
  }
  assert.ok(!existsSync(broker.dataDirectory), 'its temporary folder is gone')
  await broker.close()
})

test('brokers in one process know nothing of each other', async () => {
  const brokers = await Promise.all([createBroker(), createBroker(), createBroker({ shards: 1 })])
  for (const [i, broker] of brokers.entries()) await broker.createTopic(`only-${i}`)
  for (const [i, broker] of brokers.entries()) {
    const client = await WireClient.connect(broker.port)
    assert.equal(await produce(client, `only-${i}`, Date.now()), 0)
    const known = await client.send(Metadata, 12, { topics: null })
    assert.deepEqual(
      known.topics.map((topic) => topic.name),
      [`only-${i}`],
    )
    client.close()
  }
  await Promise.all(brokers.map((broker) => broker[Symbol.asyncDispose]()))
})

test('its clock is moved by hand: a week of retention passes in no time', async (t) => {
  const clock = new ManualClock()
  const broker = await createBroker({
    clock,
    topics: { old: { config: { 'retention.ms': 86_400_000, 'segment.bytes': 1000 } } },
  })
  t.after(() => broker.close())
  const client = await WireClient.connect(broker.port)
  t.after(() => client.close())
  for (let i = 0; i < 8; i += 1) assert.equal(await produce(client, 'old', clock.nowMs()), 0)
  assert.equal(await logStart(client, 'old'), 0)
  clock.advance(7 * 86_400_000)
  while ((await logStart(client, 'old')) === 0) await new Promise(setImmediate)
  assert.ok((await logStart(client, 'old')) >= 7)
})

test('a folder of your own is kept, and opened again', async (t) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  const first = await createBroker({ dataDirectory, topics: ['kept'] })
  await first.close()
  const second = await createBroker({ dataDirectory })
  t.after(async () => {
    await second.close()
    await rm(dataDirectory, { recursive: true })
  })
  const client = await WireClient.connect(second.port)
  t.after(() => client.close())
  const known = await client.send(Metadata, 12, { topics: null })
  assert.deepEqual(
    known.topics.map((topic) => topic.name),
    ['kept'],
  )
})

test('what cannot be is said in one line, and leaves nothing behind', async () => {
  await assert.rejects(createBroker({ config: { 'no.such.key': 1 } }), {
    message: 'unknown broker config no.such.key',
  })
  await assert.rejects(
    createBroker({ topics: ['a b'] }),
    /^Error: topic a b could not be created: /,
  )
  await assert.rejects(
    createBroker({ topics: { t: { config: { 'retention.ms': 'soon' } } } }),
    /^Error: topic t could not be created: /,
  )
  const broker = await createBroker()
  await assert.rejects(createBroker({ port: broker.port }), /the port is in use/)
  await broker.close()
})
