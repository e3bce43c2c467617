/**
 * One data directory, two brokers: Apache Kafka 3.9.1's tools read what ours writes, Apache Kafka
 * in ZooKeeper mode goes on where ours stopped, and ours where it stopped.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { ApacheKafka, createNodes, runKafkaTool, ZooKeeperServer } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { kcat } from '../support/kcat.ts'
import { skipWithout } from '../support/peers.ts'
import { WireClient } from '../support/wire-client.ts'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const PER_CODEC = 200
const INVALID_REPLICATION_FACTOR: number = 38

function numbers(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `record ${first + i}`)
}

async function write(broker: BrokerUnderTest, topic: string, partition: number, first: number) {
  const written: string[] = []
  for (const [i, codec] of CODECS.entries()) {
    const lines = numbers(first + i * PER_CODEC, PER_CODEC)
    written.push(...lines)
    const target = ['-b', broker.address, '-P', '-t', topic, '-p', String(partition)]
    const idempotent = ['-X', 'enable.idempotence=true', '-X', 'linger.ms=20']
    await kcat([...target, '-z', codec, ...idempotent], `${lines.join('\n')}\n`)
  }
  return written
}

async function read(broker: BrokerUnderTest, topic: string, partition: number): Promise<string[]> {
  const from = ['-b', broker.address, '-C', '-t', topic, '-p', String(partition)]
  const output = await kcat([...from, '-o', 'beginning', '-e', '-q'])
  return output.trimEnd().split('\n')
}

async function createTopic(broker: BrokerUnderTest, topic: string): Promise<void> {
  const client = await WireClient.connect(Number(broker.address.split(':')[1]))
  let errorCode = INVALID_REPLICATION_FACTOR
  // What a broker answers whose controller has not seen any broker yet.
  while (errorCode === INVALID_REPLICATION_FACTOR) {
    const created = await client.send(CreateTopics, 5, {
      topics: [
        { name: topic, numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] },
      ],
      timeoutMs: 20_000,
    })
    errorCode = created.topics[0]?.errorCode ?? -1
  }
  assert.equal(errorCode, 0)
  client.close()
  await leadersKnown(broker, topic)
}

/** Waits until the broker tells the leaders of a topic's two partitions. */
async function leadersKnown(broker: BrokerUnderTest, topic: string): Promise<void> {
  const client = await WireClient.connect(Number(broker.address.split(':')[1]))
  for (;;) {
    const known = await client.send(Metadata, 9, {
      topics: [{ name: topic }],
      allowAutoTopicCreation: false,
    })
    const partitions = known.topics[0]?.partitions ?? []
    if (partitions.length === 2 && partitions.every((one) => one.leaderId >= 0)) break
  }
  client.close()
}

async function topicIdOf(broker: BrokerUnderTest, topic: string): Promise<string> {
  const client = await WireClient.connect(Number(broker.address.split(':')[1]))
  const known = await client.send(Metadata, 12, { topics: [{ name: topic }] })
  client.close()
  return known.topics[0]?.topicId ?? ''
}

test('dump-log reads our segments, and Kafka and we go on from each other', async (t) => {
  if (skipWithout(t, 'kafka-server', 'kcat')) return
  await using ours = new ShardlogServer()
  await ours.start({ 'log.segment.bytes': '20000' })
  await createTopic(ours, 'shared')
  const topicId = await topicIdOf(ours, 'shared')
  const expected = [await write(ours, 'shared', 0, 0), await write(ours, 'shared', 1, 5000)]
  assert.equal((await ours.stop()).code, 0)

  const folder = join(ours.dataDir, 'shared-0')
  const dumped = await runKafkaTool('kafka.tools.DumpLogSegments', [
    '--deep-iteration',
    '--print-data-log',
    '--files',
    join(folder, '00000000000000000000.log'),
  ])
  assert.match(dumped, /isvalid: true/)
  assert.doesNotMatch(dumped, /isvalid: false|Found|corrupt/i)
  assert.deepEqual(
    [...dumped.matchAll(/payload: (record \d+)/g)].map((match) => match[1]),
    (expected[0] ?? []).slice(0, [...dumped.matchAll(/payload: /g)].length),
  )
  for (const name of ['index', 'timeindex']) {
    const file = join(folder, `00000000000000000000.${name}`)
    const sane = await runKafkaTool('kafka.tools.DumpLogSegments', [
      '--index-sanity-check',
      '--files',
      file,
    ])
    assert.match(sane, /passed sanity check/)
  }

  const meta = readFileSync(join(ours.dataDir, 'meta.properties'), 'utf8')
  const clusterId = /cluster\.id=(\S+)/.exec(meta)?.[1]
  await using zookeeper = new ZooKeeperServer()
  await zookeeper.start()
  await createNodes(zookeeper.address, {
    '/cluster': '',
    '/cluster/id': JSON.stringify({ version: '1', id: clusterId }),
    // Or Kafka would give out producer ids that the logs have seen, and take records for duplicates.
    '/latest_producer_id_block': JSON.stringify({
      version: 1,
      broker: 0,
      block_start: '9000000000000',
      block_end: '9000000000999',
    }),
    '/brokers': '',
    '/brokers/topics': '',
    '/brokers/topics/shared': JSON.stringify({
      version: 3,
      topic_id: topicId,
      partitions: { 0: [0], 1: [0] },
      adding_replicas: {},
      removing_replicas: {},
    }),
  })
  await using kafka = new ApacheKafka({ zookeeper: zookeeper.address, dataDir: ours.dataDir })
  await kafka.start()
  await leadersKnown(kafka, 'shared')
  assert.deepEqual(await read(kafka, 'shared', 0), expected[0])
  assert.deepEqual(await read(kafka, 'shared', 1), expected[1])
  expected[0]?.push(...(await write(kafka, 'shared', 0, 10_000)))
  await kafka.stop()

  await ours.start()
  assert.deepEqual(await read(ours, 'shared', 0), expected[0])
  assert.deepEqual(await read(ours, 'shared', 1), expected[1])
  expected[1]?.push(...(await write(ours, 'shared', 1, 20_000)))
  assert.deepEqual(await read(ours, 'shared', 1), expected[1])
  assert.equal((await ours.stop()).code, 0)
})

test('a directory that Kafka wrote is adopted, with its topic ids and records', async (t) => {
  if (skipWithout(t, 'kafka-server', 'kcat')) return
  await using zookeeper = new ZooKeeperServer()
  await zookeeper.start()
  await using kafka = new ApacheKafka({ zookeeper: zookeeper.address })
  await kafka.start({ 'log.segment.bytes': '20000' })
  await createTopic(kafka, 'theirs')
  const topicId = await topicIdOf(kafka, 'theirs')
  const expected = await write(kafka, 'theirs', 1, 0)
  await kafka.stop()

  await using ours = new ShardlogServer({ dataDir: kafka.dataDir })
  await ours.start()
  assert.equal(await topicIdOf(ours, 'theirs'), topicId)
  assert.deepEqual(await read(ours, 'theirs', 1), expected)
  expected.push(...(await write(ours, 'theirs', 1, 5000)))
  assert.equal((await ours.kill('SIGKILL')).signal, 'SIGKILL')
  await ours.start()
  assert.deepEqual(await read(ours, 'theirs', 1), expected)
  assert.equal((await ours.stop()).code, 0)
})
