/**
 * `__consumer_offsets` between two brokers: Apache Kafka reads what our coordinator stored, its
 * group goes on at our offsets, and ours at those that Kafka's coordinator stored.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Admin, allOrThrow } from '../../src/client/admin.ts'
import { Consumer } from '../../src/client/consumer.ts'
import { Producer } from '../../src/client/producer.ts'
import { groupHash } from '../../src/group/offset-store.ts'
import { OFFSETS_TOPIC } from '../../src/group/record-schemas.ts'
import { ApacheKafka, createNodes, runKafkaTool, ZooKeeperServer } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'

const SETTINGS = {
  'group.initial.rebalance.delay.ms': '0',
  'offsets.topic.num.partitions': '4',
  'offsets.topic.replication.factor': '1',
}
const GROUP = 'shared-group'

async function write(broker: BrokerUnderTest, first: number, count: number): Promise<void> {
  const producer = new Producer({ bootstrapServers: broker.address })
  for (let i = first; i < first + count; i += 1) {
    await producer.send({ topic: 'shared', value: `${i}` })
  }
  await producer.close()
}

/** Reads `count` records in the group and commits them. */
async function read(broker: BrokerUnderTest, count: number): Promise<string[]> {
  const consumer = new Consumer({
    bootstrapServers: broker.address,
    groupId: GROUP,
    autoOffsetReset: 'earliest',
    autoCommit: false,
  })
  consumer.subscribe(['shared'])
  const values: string[] = []
  for await (const record of consumer) {
    values.push(String(record.value))
    if (values.length === count) break
  }
  const { topic, partition } = { topic: 'shared', partition: 0 }
  const offset = Number(values.at(-1)) + 1
  await consumer.commit([{ topic, partition, offset }])
  await consumer.close()
  return values
}

function numbers(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${first + i}`)
}

async function committed(broker: BrokerUnderTest): Promise<number | undefined> {
  const admin = new Admin({ bootstrapServers: broker.address })
  const [group] = await admin.listGroupOffsets([GROUP])
  await admin.close()
  return group?.offsets[0]?.offset
}

async function topicsOf(broker: BrokerUnderTest) {
  const admin = new Admin({ bootstrapServers: broker.address })
  const topics = allOrThrow(await admin.describeTopics(['shared', OFFSETS_TOPIC]))
  await admin.close()
  return topics
}

test('groups go on between Apache Kafka and us, both ways', async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  await using ours = new ShardlogServer()
  await ours.start(SETTINGS)
  await write(ours, 0, 30)
  assert.deepEqual(await read(ours, 10), numbers(0, 10))
  const topics = await topicsOf(ours)
  assert.equal((await ours.stop()).code, 0)

  const partition = groupHash(GROUP) % 4
  const folder = join(ours.dataDir, `${OFFSETS_TOPIC}-${partition}`)
  const segment = readdirSync(folder).find((name) => name.endsWith('.log')) as string
  const dumped = await runKafkaTool('kafka.tools.DumpLogSegments', [
    ...['--offsets-decoder', '--files', join(folder, segment)],
  ])
  assert.match(dumped, /"group":"shared-group","topic":"shared","partition":0/)
  assert.match(dumped, /"data":\{"offset":10,/)
  assert.match(dumped, /"protocolType":"consumer","generation":1,"protocol":"range"/)
  assert.doesNotMatch(dumped, /isvalid: false/)

  const meta = readFileSync(join(ours.dataDir, 'meta.properties'), 'utf8')
  const clusterId = /cluster\.id=(\S+)/.exec(meta)?.[1]
  await using zookeeper = new ZooKeeperServer()
  await zookeeper.start()
  const nodes: Record<string, string> = {
    '/cluster': '',
    '/cluster/id': JSON.stringify({ version: '1', id: clusterId }),
    '/latest_producer_id_block': JSON.stringify({
      version: 1,
      broker: 0,
      block_start: '9000000000000',
      block_end: '9000000000999',
    }),
    '/brokers': '',
    '/brokers/topics': '',
    '/config': '',
    '/config/topics': '',
    [`/config/topics/${OFFSETS_TOPIC}`]: JSON.stringify({
      version: 1,
      config: { 'cleanup.policy': 'compact' },
    }),
  }
  for (const { name, topicId, partitions } of topics) {
    nodes[`/brokers/topics/${name}`] = JSON.stringify({
      version: 3,
      topic_id: topicId,
      partitions: Object.fromEntries(partitions.map((one) => [one.partition, [0]])),
      adding_replicas: {},
      removing_replicas: {},
    })
  }
  await createNodes(zookeeper.address, nodes)
  await using kafka = new ApacheKafka({ zookeeper: zookeeper.address, dataDir: ours.dataDir })
  await kafka.start(SETTINGS)
  assert.deepEqual(await read(kafka, 10), numbers(10, 10), 'at our offset')
  await write(kafka, 30, 5)
  await kafka.stop()

  await ours.start(SETTINGS)
  assert.equal(await committed(ours), 20, 'what Kafka stored')
  assert.deepEqual(await read(ours, 15), numbers(20, 15))
  assert.equal(await committed(ours), 35)
})
