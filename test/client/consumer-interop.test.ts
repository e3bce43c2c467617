/**
 * One group, clients in different languages: our consumer beside Apache Kafka's console consumer
 * and beside kafkajs, on Apache Kafka and on our broker. And transactions that kafkajs writes.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { RoundRobinAssignor } from '../../src/client/assignors/round-robin.ts'
import { Consumer } from '../../src/client/consumer.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { LineProcess } from '../support/line-process.ts'
import { peer, skipWithout } from '../support/peers.ts'
import { until } from '../support/until.ts'
import { GroupReader } from './group-reader.ts'
import { Topics } from './topics.ts'

const OVERRIDES = {
  'group.initial.rebalance.delay.ms': '0',
  'offsets.topic.num.partitions': '4',
}
const JVM = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx256m']
const PARTITIONS = 4

interface KafkajsConsumer {
  connect(): Promise<void>
  subscribe(options: { topic: string; fromBeginning: boolean }): Promise<void>
  run(options: {
    autoCommitThreshold: number
    eachMessage(one: { partition: number; message: { offset: string } }): Promise<void>
  }): Promise<void>
  stop(): Promise<void>
  disconnect(): Promise<void>
}

interface KafkajsTransaction {
  send(what: { topic: string; messages: readonly { value: string }[] }): Promise<unknown>
  commit(): Promise<void>
  abort(): Promise<void>
}

interface Kafkajs {
  consumer(options: { groupId: string; rebalanceTimeout: number }): KafkajsConsumer
  producer(options: {
    transactionalId: string
    idempotent: boolean
    maxInFlightRequests: number
  }): {
    connect(): Promise<void>
    disconnect(): Promise<void>
    transaction(): Promise<KafkajsTransaction>
  }
}

function kafkajs(address: string): Kafkajs {
  process.env['KAFKAJS_NO_PARTITIONER_WARNING'] = '1'
  const { Kafka } = createRequire(join(peer('npm'), 'x.js'))('kafkajs') as {
    Kafka: new (options: { brokers: readonly string[]; logLevel: number }) => Kafkajs
  }
  return new Kafka({ brokers: [address], logLevel: 0 })
}

/** The assignor of kafkajs, which has a name of its own. */
class KafkajsAssignor extends RoundRobinAssignor {
  override readonly name = 'RoundRobinAssigner'
}

function options(broker: BrokerUnderTest, groupId: string) {
  return {
    bootstrapServers: broker.address,
    groupId,
    heartbeatIntervalMs: 100,
    maxWaitMs: 100,
    autoCommitIntervalMs: 50,
  }
}

function consoleConsumer(
  { address }: BrokerUnderTest,
  { topic, groupId, assignor }: { topic: string; groupId: string; assignor: string },
  read: string[],
): LineProcess {
  const properties = {
    'partition.assignment.strategy': `org.apache.kafka.clients.consumer.${assignor}`,
    'heartbeat.interval.ms': '100',
    'auto.commit.interval.ms': '50',
    'auto.offset.reset': 'earliest',
  }
  const args = ['--bootstrap-server', address, '--topic', topic, '--group', groupId]
  for (const one of ['print.partition=true', 'print.offset=true', 'print.value=false']) {
    args.push('--property', one)
  }
  for (const one of Object.entries(properties)) args.push('--consumer-property', one.join('='))
  const main = 'org.apache.kafka.tools.consumer.ConsoleConsumer'
  const java = [...JVM, '-cp', `${peer('kafka-tools')}/*:${peer('kafka-server')}/*`, main, ...args]
  return new LineProcess('java', java, (line) => {
    const match = /^Partition:(\d+)\s+Offset:(\d+)/.exec(line)
    if (match !== null) read.push(`${match[1]}:${match[2]}`)
  })
}

async function produceEach(topics: Topics, topic: string): Promise<void> {
  for (let p = 0; p < PARTITIONS; p += 1) await topics.produce(topic, p, ['x', 'y', 'z'])
}

function everyRecord(perPartition: number): string[] {
  return Array.from({ length: PARTITIONS * perPartition }, (_, i) => {
    return `${i % PARTITIONS}:${Math.floor(i / PARTITIONS)}`
  }).sort()
}

/** Two members of different make share, read everything, and the one that is left takes over. */
async function shares(
  topics: Topics,
  topic: string,
  { ours, theirs, leave }: { ours: GroupReader; theirs: string[]; leave: () => Promise<void> },
): Promise<void> {
  await until('ours has half', () => ours.partitions.length === PARTITIONS / 2)
  await produceEach(topics, topic)
  await until('everything is read by both together', () => {
    return new Set([...ours.read, ...theirs]).size === PARTITIONS * 3
  })
  assert.ok(theirs.length >= 6, `the other one has read ${theirs.length}`)
  await leave()
  await until('ours has all', () => ours.partitions.length === PARTITIONS)
  await produceEach(topics, topic)
  await until('ours reads what comes', () => {
    return new Set([...ours.read, ...theirs]).size === PARTITIONS * 6
  })
  await ours.close()
  assert.deepEqual([...new Set([...ours.read, ...theirs])].sort(), everyRecord(6))
}

async function besideJava(broker: BrokerUnderTest, topics: Topics): Promise<void> {
  const topic = await topics.create(PARTITIONS)
  const groupId = 'with-java'
  const ours = new GroupReader(options(broker, groupId), topic)
  await until('ours leads the group', () => ours.partitions.length === PARTITIONS)
  const theirs: string[] = []
  const setup = { topic, groupId, assignor: 'RangeAssignor' }
  await using java = consoleConsumer(broker, setup, theirs)
  await shares(topics, topic, { ours, theirs, leave: () => java.stop() })
}

async function underJava(broker: BrokerUnderTest, topics: Topics): Promise<void> {
  const topic = await topics.create(PARTITIONS)
  const groupId = 'under-java'
  const theirs: string[] = []
  const setup = { topic, groupId, assignor: 'CooperativeStickyAssignor' }
  await using java = consoleConsumer(broker, setup, theirs)
  await topics.produce(topic, 0, ['first'])
  await java.until(() => theirs.length === 1)
  theirs.length = 0
  const assignors = ['cooperative-sticky'] as const
  const ours = new GroupReader({ ...options(broker, groupId), assignors }, topic)
  await until('ours has half', () => ours.partitions.length === PARTITIONS / 2)
  await produceEach(topics, topic)
  const all = everyRecord(3).filter((one) => one !== '0:0')
  all.push('0:3')
  await until('everything is read by both together', () => {
    const read = new Set([...ours.read, ...theirs])
    return all.every((one) => read.has(one))
  })
  await java.stop()
  await until('ours has all', () => ours.partitions.length === PARTITIONS)
  assert.ok(!ours.events.some((event) => event.startsWith('revoked')), ours.events.join('; '))
  await ours.close()
}

async function besideKafkajs(broker: BrokerUnderTest, topics: Topics): Promise<void> {
  const topic = await topics.create(PARTITIONS)
  const groupId = 'with-kafkajs'
  const other = kafkajs(broker.address).consumer({ groupId, rebalanceTimeout: 10_000 })
  const theirs: string[] = []
  await other.connect()
  await other.subscribe({ topic, fromBeginning: true })
  await other.run({
    autoCommitThreshold: 1,
    eachMessage: async ({ partition, message }) => {
      theirs.push(`${partition}:${message.offset}`)
    },
  })
  try {
    const assignors = [new KafkajsAssignor()]
    const ours = new GroupReader({ ...options(broker, groupId), assignors }, topic)
    await shares(topics, topic, { ours, theirs, leave: () => other.stop() })
  } finally {
    await other.disconnect()
  }
}

async function leavesOutAborted(broker: BrokerUnderTest, topics: Topics): Promise<void> {
  const topic = await topics.create(1)
  const producer = kafkajs(broker.address).producer({
    transactionalId: 'consumer-test',
    idempotent: true,
    maxInFlightRequests: 1,
  })
  await producer.connect()
  for (const [value, ending] of [
    ['kept 1', 'commit'],
    ['dropped', 'abort'],
    ['kept 2', 'commit'],
  ] as const) {
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value }] })
    await transaction[ending]()
  }
  await producer.disconnect()
  const read = async (isolationLevel: 'read_committed' | 'read_uncommitted') => {
    await using consumer = new Consumer({ bootstrapServers: broker.address, isolationLevel })
    const where = { topic, partition: 0 }
    consumer.assign([{ ...where, offset: 0 }])
    const values: string[] = []
    const [end] = await consumer.endOffsets([where])
    while ((await consumer.position(where)) < (end as number)) {
      for (const { value } of await consumer.poll(10_000)) values.push(String(value))
    }
    return values
  }
  assert.deepEqual(await read('read_committed'), ['kept 1', 'kept 2'])
  assert.deepEqual(await read('read_uncommitted'), ['kept 1', 'dropped', 'kept 2'])
}

async function run(t: TestContext, broker: BrokerUnderTest): Promise<void> {
  await broker.start(OVERRIDES)
  const topics = new Topics(broker.address)
  const timeout = 120_000
  await t.test('with a Java console consumer, led by ours', { timeout }, async (one) => {
    if (!skipWithout(one, 'kafka-tools', 'kafka-server')) await besideJava(broker, topics)
  })
  await t.test(
    'with a Java console consumer that leads, cooperatively',
    { timeout },
    async (one) => {
      if (!skipWithout(one, 'kafka-tools', 'kafka-server')) await underJava(broker, topics)
    },
  )
  await t.test('with kafkajs', { timeout }, async (one) => {
    if (!skipWithout(one, 'npm')) await besideKafkajs(broker, topics)
  })
  if (broker.kind === 'kafka') {
    await t.test('aborted transactions are left out', { timeout }, async (one) => {
      if (!skipWithout(one, 'npm')) await leavesOutAborted(broker, topics)
    })
  }
  await topics.close()
}

test('one group on Apache Kafka', async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  await using broker = new ApacheKafka()
  await run(t, broker)
})

test('one group on our broker', async (t) => {
  await using broker = new ShardlogServer()
  await run(t, broker)
})
