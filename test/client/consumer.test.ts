/**
 * The consumer against Apache Kafka 3.9.1 and against our own broker, the same tests for both:
 * reading, groups that change, commits, positions, and a broker that is killed in the middle.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Cluster } from '../../src/client/cluster.ts'
import { COMPRESSION_CODECS, type CompressionType } from '../../src/client/codecs.ts'
import { Consumer, type ConsumerOptions } from '../../src/client/consumer.ts'
import type { KafkaError } from '../../src/client/errors.ts'
import { NoOffsetForPartitionError } from '../../src/client/position-resolver.ts'
import type { ConsumerRecord } from '../../src/client/records.ts'
import { JoinGroup } from '../../src/protocol/messages/join-group.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { LineProcess } from '../support/line-process.ts'
import { skipWithout } from '../support/peers.ts'
import { until } from '../support/until.ts'
import { GroupReader } from './group-reader.ts'
import { Topics } from './topics.ts'

const OVERRIDES = {
  'group.initial.rebalance.delay.ms': '0',
  'group.min.session.timeout.ms': '500',
  'offsets.topic.num.partitions': '4',
  'auto.create.topics.enable': 'false',
}

let groups = 0

interface Suite {
  readonly broker: BrokerUnderTest
  readonly topics: Topics
  /** Options of a member of a group of its own, or of the one that is given. */
  member(options?: Partial<ConsumerOptions>): ConsumerOptions & { groupId: string }
}

function suiteOf(broker: BrokerUnderTest, topics: Topics): Suite {
  const member = (options: Partial<ConsumerOptions> = {}) => {
    groups += 1
    return {
      bootstrapServers: broker.address,
      groupId: `group-${groups}`,
      autoOffsetReset: 'earliest' as const,
      sessionTimeoutMs: 6000,
      heartbeatIntervalMs: 100,
      maxWaitMs: 100,
      retryBackoffMs: 20,
      ...options,
    }
  }
  return { broker, topics, member }
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`)
}

async function take(consumer: Consumer, count: number): Promise<ConsumerRecord[]> {
  const records: ConsumerRecord[] = []
  for await (const record of consumer) {
    records.push(record)
    if (records.length === count) break
  }
  return records
}

function valuesOf(records: readonly ConsumerRecord[]): string[] {
  return records.map(({ value }) => String(value))
}

/** Every record of these partitions, from offset 0 on. */
function everyRecord(partitions: number, count: number): string[] {
  return Array.from({ length: partitions }, (_, p) => numbered(`${p}:`, count)).flat()
}

async function readsEveryCodec({ broker, topics }: Suite): Promise<void> {
  const topic = await topics.create(1)
  const codecs = Object.keys(COMPRESSION_CODECS) as CompressionType[]
  for (const codec of codecs) await topics.produce(topic, 0, [`${codec} 1`, `${codec} 2`], codec)
  await using consumer = new Consumer({ bootstrapServers: broker.address })
  consumer.assign([{ topic, partition: 0, offset: 1 }])
  const expected = codecs.flatMap((codec) => [`${codec} 1`, `${codec} 2`]).slice(1)
  const records = await take(consumer, expected.length)
  assert.deepEqual(valuesOf(records), expected)
  assert.deepEqual(
    records.map(({ offset }) => offset),
    expected.map((_, i) => i + 1),
  )
  assert.equal(records[0]?.timestampType, 'CreateTime')
  assert.equal(records[0]?.leaderEpoch, 0)
}

async function sharesPartitions({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(4)
  for (let p = 0; p < 4; p += 1) await topics.produce(topic, p, numbered('a', 50))
  const options = member({ autoCommitIntervalMs: 50 })
  const first = new GroupReader(options, topic)
  await until('the first reads all', () => first.read.length === 200)
  const second = new GroupReader(options, topic)
  await until('both have two', () => {
    return first.partitions.length === 2 && second.partitions.length === 2
  })
  for (let p = 0; p < 4; p += 1) await topics.produce(topic, p, numbered('b', 50))
  await until('both read their half', () => {
    return first.read.length === 300 && second.read.length === 100
  })
  await first.close()
  await until('the second has all', () => second.partitions.length === 4)
  for (let p = 0; p < 4; p += 1) await topics.produce(topic, p, numbered('c', 50))
  await until('the second reads all', () => second.read.length === 300)
  await second.close()
  // An orderly change neither loses nor repeats.
  assert.deepEqual([...first.read, ...second.read].sort(), everyRecord(4, 150).sort())
  const [assigned, revoked, half] = first.events
  assert.deepEqual([assigned, revoked], ['assigned 0,1,2,3', 'revoked 0,1,2,3'])
  assert.match(half as string, /^assigned (0,1|2,3)$/)
  assert.match(second.events.slice(0, 2).join(), /^assigned (0,1,revoked 0,1|2,3,revoked 2,3)$/)
}

async function takesOverFromTheDead({ broker, topics, member }: Suite): Promise<void> {
  const topic = await topics.create(2)
  await topics.produce(topic, 0, numbered('a', 20))
  await topics.produce(topic, 1, numbered('b', 20))
  const options = member({ sessionTimeoutMs: 1500, heartbeatIntervalMs: 200 })
  const seen: string[] = []
  const program = join(import.meta.dirname, 'consumer-process.js')
  const args = [program, broker.address, options.groupId, topic]
  const dying = new LineProcess(process.execPath, args, (line) => seen.push(line))
  await dying.until(() => seen.filter((line) => line.startsWith('record')).length === 40)
  const survivor = new GroupReader(options, topic)
  await until('the partitions are shared', () => survivor.partitions.length === 1)
  // Its process is killed: nobody leaves the group.
  await dying[Symbol.asyncDispose]()
  await topics.produce(topic, 0, numbered('c', 20))
  await topics.produce(topic, 1, numbered('d', 20))
  await until('the survivor has both', () => survivor.partitions.length === 2)
  const all = new Set(everyRecord(2, 40))
  for (const line of seen) {
    const [what, partition, offset] = line.split(' ')
    if (what === 'record') all.delete(`${partition}:${offset}`)
  }
  await until('every record is read by someone', () => {
    for (const one of survivor.read) all.delete(one)
    return all.size === 0
  })
  await survivor.close()
}

async function staticMemberReturns({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(2)
  const options = member()
  const [a, b] = ['a', 'b'].map((id) => {
    return new GroupReader({ ...options, groupInstanceId: id }, topic)
  }) as [GroupReader, GroupReader]
  await until('both have one', () => a.partitions.length === 1 && b.partitions.length === 1)
  const before = b.events.length
  const generation = b.consumer.groupMetadata?.generationId
  await a.close()
  const again = new GroupReader({ ...options, groupInstanceId: 'a' }, topic)
  await until('it has its partition again', () => again.partitions.length === 1)
  assert.deepEqual(again.partitions, [0])
  await topics.produce(topic, 0, ['x'])
  await topics.produce(topic, 1, ['y'])
  await until('both read', () => again.read.length === 1 && b.read.length === 1)
  assert.equal(b.events.length, before)
  assert.equal(again.consumer.groupMetadata?.generationId, generation)
  // A second one of the same name fences the first.
  const usurper = new GroupReader({ ...options, groupInstanceId: 'a' }, topic)
  await until('the first is fenced', () => again.error !== null)
  assert.equal((again.error as KafkaError).code, 82)
  await until('the second has its partition', () => usurper.partitions.length === 1)
  await usurper.close()
  await b.close()
  await assert.rejects(again.close(), { code: 82 })
}

async function keepsReadingWhileOthersJoin({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(4)
  const options = member({ assignors: ['cooperative-sticky'], autoCommitIntervalMs: 50 })
  const first = new GroupReader(options, topic)
  await until('the first has all', () => first.partitions.length === 4)
  let produced = 0
  let isDone = false
  const produceOn = (async () => {
    while (!isDone) {
      await Promise.all([0, 1, 2, 3].map((p) => topics.produce(topic, p, [`v${produced}`])))
      produced += 1
    }
  })()
  const second = new GroupReader(options, topic)
  await until('two each', () => first.partitions.length === 2 && second.partitions.length === 2)
  const third = new GroupReader(options, topic)
  await until('all have some', () => third.partitions.length === 1)
  await second.close()
  await until('two are left', () => first.partitions.length + third.partitions.length === 4)
  isDone = true
  await produceOn
  const all = everyRecord(4, produced)
  await until('everything is read', () => {
    return new Set([...first.read, ...second.read, ...third.read]).size === all.length
  })
  await first.close()
  await third.close()
  // Nothing twice: what was given up was committed before.
  assert.deepEqual([...first.read, ...second.read, ...third.read].sort(), all.sort())
  const [all4, empty, taken] = first.events
  assert.equal(all4, 'assigned 0,1,2,3')
  assert.match(`${empty} ${taken}`, /revoked \d,\d/)
  assert.ok(!first.events.includes('revoked 0,1,2,3'), first.events.join('; '))
  for (const { events } of [first, second, third]) {
    assert.ok(!events.some((event) => event.startsWith('lost')), events.join('; '))
  }
}

/** From members that only know eager rebalances to cooperative ones, one by one (KIP-429). */
async function upgradesToCooperative({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(4)
  const options = member({ autoCommitIntervalMs: 50 })
  const readers: GroupReader[] = []
  let produced = 0
  let isDone = false
  const produceOn = (async () => {
    while (!isDone) {
      await Promise.all([0, 1, 2, 3].map((p) => topics.produce(topic, p, [`v${produced}`])))
      produced += 1
    }
  })()
  const open: GroupReader[] = []
  const settled = async (): Promise<void> => {
    await until('all partitions are shared out', () => {
      const owned = open.flatMap(({ partitions }) => partitions)
      return owned.length === 4 && open.every(({ partitions }) => partitions.length > 0)
    })
    const before = produced
    await until('they are read', () => {
      const read = new Set(readers.flatMap((reader) => reader.read))
      return everyRecord(4, before).every((one) => read.has(one))
    })
  }
  const both = ['cooperative-sticky', 'range'] as const
  for (const assignors of [['range'], ['range'], both, both, ['cooperative-sticky']] as const) {
    const reader = new GroupReader({ ...options, assignors }, topic)
    readers.push(reader)
    open.push(reader)
    await settled()
    if (open.length > 2) await open.shift()?.close()
    await settled()
  }
  await open.shift()?.close()
  await settled()
  isDone = true
  await produceOn
  await settled()
  await open[0]?.close()
  const read = readers.flatMap((reader) => reader.read)
  assert.deepEqual(read.sort(), everyRecord(4, produced).sort())
}

async function commitsAndResumes({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(2)
  await topics.produce(topic, 0, numbered('a', 10))
  const where = { topic, partition: 0 }
  const options = member({ autoCommit: false })
  await using first = new Consumer(options)
  first.subscribe(topic)
  assert.equal((await take(first, 4)).length, 4)
  await first.commit()
  // The fourth counts when the fifth is asked for.
  assert.equal((await first.committed([where]))[0]?.offset, 3)
  await using stranger = new Consumer(member())
  assert.deepEqual(await stranger.committed([where]), [null])
  await first.commit([{ ...where, offset: 6, metadata: 'here' }])
  assert.deepEqual((await first.committed([where]))[0]?.metadata, 'here')
  await first.close()
  await using second = new Consumer(options)
  second.subscribe([topic])
  assert.deepEqual(valuesOf(await second.poll(10_000)), ['a6', 'a7', 'a8', 'a9'])
  await second.commit()
  assert.equal((await second.committed([where]))[0]?.offset, 10)
  assert.equal(await second.position(where), 10)
  await second.close()
  await assert.rejects(second.poll(0), { name: 'ClientClosedError' })

  // With auto-commit what was consumed is committed on close.
  const auto = member()
  await using third = new Consumer(auto)
  third.subscribe(topic)
  await take(third, 6)
  await third.close()
  await using fourth = new Consumer({ ...auto, maxPollRecords: 3 })
  fourth.subscribe(topic)
  assert.deepEqual(valuesOf(await fourth.poll(10_000)), ['a5', 'a6', 'a7'])
}

async function seeksAndPauses({ broker, topics }: Suite): Promise<void> {
  const topic = await topics.create(2)
  await topics.produce(topic, 0, numbered('a', 10), 'none', 1_700_000_000_000)
  await topics.produce(topic, 0, numbered('b', 10), 'none', 1_700_000_001_000)
  await topics.produce(topic, 1, numbered('c', 10))
  const [zero, one] = [
    { topic, partition: 0 },
    { topic, partition: 1 },
  ] as const
  await using consumer = new Consumer({
    bootstrapServers: broker.address,
    maxWaitMs: 100,
    maxPollRecords: 100,
  })
  consumer.assign([{ ...zero, offset: 'earliest' }, one])
  assert.equal(await consumer.position(zero), 0)
  assert.equal(await consumer.position(one), 10)
  assert.equal((await consumer.poll(10_000)).length, 20)
  consumer.seek(zero, 15)
  assert.deepEqual(valuesOf(await consumer.poll(10_000)), numbered('b', 10).slice(5))
  consumer.seekToBeginning()
  consumer.pause([zero])
  assert.deepEqual(consumer.paused(), [zero])
  assert.deepEqual(valuesOf(await consumer.poll(10_000)), numbered('c', 10))
  assert.deepEqual(await consumer.poll(200), [])
  consumer.resume([zero])
  assert.equal((await consumer.poll(10_000)).length, 20)
  // What lies in the buffer when a partition is paused is not lost.
  consumer.seekToBeginning()
  const some: ConsumerRecord[] = []
  for await (const record of consumer) {
    some.push(record)
    if (some.length === 3) consumer.pause([{ topic, partition: record.partition }])
    if (some.length === 6) consumer.resume(consumer.paused())
    if (some.length === 30) break
  }
  for (const [partition, count] of [20, 10].entries()) {
    assert.deepEqual(
      some.filter((record) => record.partition === partition).map(({ offset }) => offset),
      Array.from({ length: count }, (_, i) => i),
    )
  }
  consumer.seekToEnd([zero])
  assert.equal(await consumer.position(zero), 20)
  assert.deepEqual(await consumer.beginningOffsets([zero, one]), [0, 0])
  assert.deepEqual(await consumer.endOffsets([one, zero]), [10, 20])
  const times = await consumer.offsetsForTimes([
    { ...zero, timestamp: 1_700_000_000_500 },
    { ...one, timestamp: Date.now() + 3_600_000 },
  ])
  assert.equal(times[0]?.offset, 10)
  assert.equal(times[0]?.timestamp, 1_700_000_001_000)
  assert.equal(times[1], null)
  const twice = [0, 1].map((timestamp) => ({ ...zero, timestamp }))
  await assert.rejects(consumer.offsetsForTimes(twice), /named twice/)
  assert.throws(() => consumer.seek({ topic, partition: 7 }, 0), /not assigned/)
  assert.throws(() => consumer.seek(zero, -5), { name: 'InvalidArgumentError' })
  assert.throws(() => consumer.subscribe(topic), { code: 24 })
}

async function resetsOffsets({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(1)
  const where = { topic, partition: 0 }
  await topics.produce(topic, 0, numbered('a', 10))
  await topics.deleteBefore(topic, 0, 4)
  await using latest = new Consumer(member({ autoOffsetReset: 'latest' }))
  latest.assign([where])
  assert.equal(await latest.position(where), 10)
  await using none = new Consumer(member({ autoOffsetReset: 'none' }))
  none.assign([where])
  await assert.rejects(none.poll(10_000), NoOffsetForPartitionError)
  none.seek(where, 2)
  await assert.rejects(none.poll(10_000), { code: 1, name: 'OffsetOutOfRangeError' })
  none.seek(where, 5)
  assert.equal((await none.poll(10_000))[0]?.offset, 5)
  await using earliest = new Consumer(member())
  earliest.assign([{ ...where, offset: 2 }])
  assert.equal((await earliest.poll(10_000))[0]?.offset, 4)
  earliest.seek(where, 99)
  assert.equal((await earliest.poll(10_000))[0]?.offset, 4)
}

async function followsPatterns({ topics, member }: Suite): Promise<void> {
  const prefix = `pattern-${groups}`
  const first = await topics.create(1, prefix)
  const options = member({ metadataMaxAgeMs: 200 })
  const reader = new GroupReader(options, new RegExp(`^${prefix}-`))
  await topics.produce(first, 0, ['one'])
  await until('the first topic is read', () => reader.values.includes('one'))
  const second = await topics.create(1, prefix)
  await topics.produce(second, 0, ['two'])
  await until('the second topic is read', () => reader.values.includes('two'))
  assert.deepEqual(reader.consumer.subscription, [first, second].sort())
  // The leader sees that a topic has grown.
  await topics.addPartitions(second, 3)
  await topics.produce(second, 2, ['three'])
  await until('the new partition is read', () => reader.values.includes('three'))
  await reader.close()
}

async function leavesWhenTheProgramHangs({ topics, member }: Suite): Promise<void> {
  const topic = await topics.create(2)
  await topics.produce(topic, 0, numbered('a', 3))
  const options = member({ rebalanceTimeoutMs: 700 })
  const hanging = new GroupReader(options, topic)
  let release = (): void => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  hanging.onRecord = () => released
  await until('it hangs', () => hanging.read.length === 1)
  const other = new GroupReader({ ...options, rebalanceTimeoutMs: 60_000 }, topic)
  await until('the other one has both', () => other.partitions.length === 2)
  await until('the other one reads', () => other.read.length === 3)
  release()
  await until('it is back', () => hanging.partitions.length === 1)
  assert.ok(hanging.events.includes('lost 0,1'), hanging.events.join('; '))
  await hanging.close()
  await other.close()
}

async function changesSubscription({ topics, member }: Suite): Promise<void> {
  const [a, b] = [await topics.create(1), await topics.create(1)]
  await topics.produce(a, 0, ['in a'])
  await topics.produce(b, 0, ['in b'])
  await using consumer = new Consumer(member({ assignors: ['cooperative-sticky'] }))
  await assert.rejects(consumer.poll(0), /reads nothing/)
  consumer.subscribe(a)
  assert.deepEqual(valuesOf(await consumer.poll(10_000)), ['in a'])
  consumer.subscribe([a, b])
  assert.deepEqual(valuesOf(await consumer.poll(10_000)), ['in b'])
  assert.deepEqual(consumer.assignment(), [
    { topic: a, partition: 0 },
    { topic: b, partition: 0 },
  ])
  await consumer.unsubscribe()
  assert.deepEqual(consumer.assignment(), [])
  assert.equal(consumer.groupMetadata?.generationId, -1)
  consumer.assign([{ topic: a, partition: 0, offset: 0 }])
  assert.deepEqual(valuesOf(await consumer.poll(10_000)), ['in a'])
  assert.throws(() => consumer.subscribe(b), /by hand/)
}

async function survivesABrokerRestart({ broker, topics, member }: Suite): Promise<void> {
  const topic = await topics.create(3)
  const options = member({ autoCommitIntervalMs: 50, assignors: ['cooperative-sticky'] })
  const readers = [new GroupReader(options, topic), new GroupReader(options, topic)]
  let produced = 0
  const produceSome = async (rounds: number): Promise<void> => {
    for (let i = 0; i < rounds; i += 1) {
      await Promise.all([0, 1, 2].map((p) => topics.produce(topic, p, [`v${produced}`])))
      produced += 1
    }
  }
  await produceSome(20)
  await until('all is read', () => new Set(readers.flatMap(({ read }) => read)).size === 60)
  await broker.kill('SIGKILL')
  await broker.start(OVERRIDES)
  await produceSome(20)
  const all = everyRecord(3, produced)
  await until('nothing is lost', () => {
    const read = new Set(readers.flatMap((reader) => reader.read))
    return all.every((one) => read.has(one))
  })
  for (const reader of readers) await reader.close()
}

/** In this order: the last one restarts the broker. */
const TESTS: readonly [string, (suite: Suite, t: TestContext) => Promise<void>][] = [
  ['reads every codec, from the middle of a batch', readsEveryCodec],
  ['members share partitions, and take over from one that leaves', sharesPartitions],
  ['a member that dies is replaced, and nothing is lost', takesOverFromTheDead],
  ['a static member returns without a rebalance, and fences its double', staticMemberReturns],
  ['with cooperative rebalances the partitions that stay are read on', keepsReadingWhileOthersJoin],
  ['a group is upgraded to cooperative rebalances', upgradesToCooperative],
  ['commits, and resumes at what was committed', commitsAndResumes],
  ['seeks, pauses, and looks up offsets', seeksAndPauses],
  ['begins where autoOffsetReset says', resetsOffsets],
  ['a pattern finds new topics, and new partitions', followsPatterns],
  ['a program that hangs leaves the group, and returns', leavesWhenTheProgramHangs],
  ['subscriptions change', changesSubscription],
  ['a broker that is killed and comes back costs nothing', survivesABrokerRestart],
]

async function run(t: TestContext, broker: BrokerUnderTest): Promise<void> {
  await broker.start(OVERRIDES)
  const cluster = new Cluster({ bootstrapServers: broker.address })
  const connection = await cluster.any()
  const hasGroups = connection.supports(JoinGroup)
  await cluster.close()
  if (!hasGroups) {
    t.skip('this broker has no groups yet')
    return
  }
  const topics = new Topics(broker.address)
  const suite = suiteOf(broker, topics)
  for (const [name, body] of TESTS) {
    await t.test(name, { timeout: 120_000 }, (one) => body(suite, one))
  }
  await topics.close()
}

test('a consumer of Apache Kafka', async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  await using broker = new ApacheKafka()
  await run(t, broker)
})

test('a consumer of our broker', async (t) => {
  await using broker = new ShardlogServer()
  await run(t, broker)
})
