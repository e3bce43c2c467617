/** Admin against our broker and against Apache Kafka: what it promises beyond what the tools use. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  Admin,
  allOrThrow,
  ConfigResourceType,
  OffsetSpec,
  type TopicDescription,
} from '../../src/client/admin.ts'
import { Cluster } from '../../src/client/cluster.ts'
import {
  KafkaError,
  TopicAlreadyExistsError,
  UnknownTopicOrPartitionError,
  UnsupportedVersionError,
} from '../../src/client/errors.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'

async function topics(admin: Admin): Promise<void> {
  const check = { name: 'checked', partitions: 2 }
  const [checked] = allOrThrow(await admin.createTopics([check], { validateOnly: true }))
  assert.equal(checked?.name, 'checked')
  assert.deepEqual(await admin.listTopics(), [])

  const results = await admin.createTopics([
    { name: 'a', partitions: 3, configs: { 'retention.ms': '60000' } },
    { name: 'b', assignments: [[0], [0]] },
    { name: 'bad name' },
    { name: 'c', configs: { nonsense: '1' } },
    { name: 'd', replicationFactor: 5, partitions: 1 },
  ])
  const errors = new Map(results.map(({ name, error }) => [name, error]))
  assert.equal(errors.get('a'), null)
  assert.equal(errors.get('b'), null)
  assert.equal(errors.get('bad name')?.name, 'InvalidTopicError')
  assert.equal(errors.get('c')?.name, 'InvalidConfigError')
  assert.equal(errors.get('d')?.name, 'InvalidReplicationFactorError')
  assert.equal(errors.get('d')?.retriable, false)
  const made = results.find(({ name }) => name === 'a')
  assert.equal(made?.partitions, 3)
  assert.throws(() => allOrThrow(results), KafkaError)
  const [again] = await admin.createTopics([{ name: 'a' }])
  assert.ok(again?.error instanceof TopicAlreadyExistsError)

  const listed = await admin.listTopics()
  assert.deepEqual(
    listed.map(({ name, isInternal }) => [name, isInternal]),
    [
      ['a', false],
      ['b', false],
    ],
  )
  assert.equal(listed[0]?.topicId, made?.topicId)

  const described = await admin.describeTopics(['b', 'a', 'missing'], { partitionsPerResponse: 1 })
  const counts = described.map(({ name, partitions }: TopicDescription) => [
    name,
    partitions.length,
  ])
  assert.deepEqual(counts, [
    ['a', 3],
    ['b', 2],
    ['missing', 0],
  ])
  assert.ok(described[2]?.error instanceof UnknownTopicOrPartitionError)
  assert.deepEqual(described[0]?.partitions[1]?.replicas, [0])
  assert.deepEqual(await admin.describeTopics([]), [])

  allOrThrow(await admin.createPartitions([{ topic: 'b', count: 4, assignments: [[0], [0]] }]))
  const [fewer] = await admin.createPartitions([{ topic: 'b', count: 1 }])
  assert.equal(fewer?.error?.name, 'InvalidPartitionsError')
  const [nowhere] = await admin.deleteTopics(['missing'])
  assert.ok(nowhere?.error instanceof UnknownTopicOrPartitionError)
}

async function configs(admin: Admin): Promise<void> {
  const resource = { type: ConfigResourceType.TOPIC, name: 'a' }
  const entryOf = async (key: string) => {
    const [one] = allOrThrow(await admin.describeConfigs([resource], { keys: [key] }))
    assert.deepEqual(
      one?.entries.map(({ name }) => name),
      [key],
    )
    return one?.entries[0]
  }
  // Apache Kafka answers a change before every part of it has heard.
  const becomes = async (key: string, expected: string | null): Promise<void> => {
    const deadline = Date.now() + 10_000
    for (;;) {
      const entry = await entryOf(key)
      const value = entry?.source === 'DEFAULT_CONFIG' ? null : entry?.value
      if (value === expected) return
      assert.ok(Date.now() < deadline, `${key} is ${value}, not ${expected}`)
    }
  }
  await becomes('retention.ms', '60000')
  allOrThrow(
    await admin.incrementalAlterConfigs([
      {
        resource,
        changes: [
          { name: 'retention.ms', operation: 'delete', value: null },
          { name: 'cleanup.policy', operation: 'append', value: 'compact' },
        ],
      },
    ]),
  )
  await becomes('retention.ms', null)
  await becomes('cleanup.policy', 'delete,compact')
  // Replacing puts back what is not named.
  allOrThrow(await admin.alterConfigs([{ resource, configs: { 'segment.ms': '70000' } }]))
  await becomes('cleanup.policy', null)
  await becomes('segment.ms', '70000')

  const [unknown, broker] = await Promise.all([
    admin.describeConfigs([{ type: ConfigResourceType.TOPIC, name: 'missing' }]),
    admin.describeConfigs([
      { type: ConfigResourceType.BROKER, name: '0' },
      { type: ConfigResourceType.BROKER, name: '' },
    ]),
  ])
  assert.ok(unknown[0]?.error instanceof UnknownTopicOrPartitionError)
  assert.equal(allOrThrow(broker).length, 2)
  await assert.rejects(
    admin.describeConfigs([{ type: ConfigResourceType.BROKER, name: 'x' }]),
    /not a broker id: "x"/,
  )
}

async function partitions(admin: Admin): Promise<void> {
  const found = await admin.listOffsets([
    { topic: 'a', partition: 2, timestamp: OffsetSpec.LATEST },
    { topic: 'missing', partition: 0, timestamp: OffsetSpec.LATEST },
    { topic: 'a', partition: 9, timestamp: OffsetSpec.EARLIEST },
    { topic: 'b', partition: 0, timestamp: OffsetSpec.EARLIEST },
  ])
  // In the order of the questions, each with its own error.
  assert.deepEqual(
    found.map(({ topic, partition, offset, error }) => [
      topic,
      partition,
      offset,
      error?.code ?? 0,
    ]),
    [
      ['a', 2, 0, 0],
      ['missing', 0, -1, 3],
      ['a', 9, -1, 3],
      ['b', 0, 0, 0],
    ],
  )
  const [beyond] = await admin.deleteRecords([{ topic: 'a', partition: 0, offset: 5 }])
  assert.equal(beyond?.error?.name, 'OffsetOutOfRangeError')

  const [dir] = allOrThrow(await admin.describeLogDirs([0], [{ topic: 'a', partition: 1 }]))
  assert.deepEqual(
    dir?.replicas.map(({ topic, partition }) => `${topic}-${partition}`),
    ['a-1'],
  )
  assert.ok(dir !== undefined && dir.totalBytes > 0)

  const { clusterId, brokers } = await admin.describeCluster()
  assert.ok(clusterId)
  assert.equal(brokers.length, 1)
  const [served] = await admin.apiVersions()
  assert.ok((served?.apiVersions?.get(3)?.[1] ?? 0) >= 12)
}

async function groups(admin: Admin): Promise<void> {
  const committed = await admin.alterGroupOffsets('g', [
    { topic: 'a', partition: 0, offset: 0, metadata: 'why', leaderEpoch: 0 },
    { topic: 'a', partition: 1, offset: 0 },
  ])
  allOrThrow(committed)
  await admin.alterGroupOffsets('h', [{ topic: 'b', partition: 0, offset: 0 }])
  const { groups: listed, errors } = await admin.listGroups()
  assert.deepEqual(errors, [])
  assert.deepEqual(
    listed.map(({ groupId, state }) => [groupId, state]),
    [
      ['g', 'Empty'],
      ['h', 'Empty'],
    ],
  )
  assert.equal((await admin.listGroups({ states: ['Stable'] })).groups.length, 0)
  const [g, none] = await admin.describeGroups(['g', 'none'])
  assert.equal(g?.state, 'Empty')
  assert.equal(g?.coordinator?.brokerId, 0)
  assert.equal(none?.state, 'Dead')

  const offsets = await admin.listGroupOffsets(['h', 'g', 'none'])
  assert.deepEqual(
    offsets.map(({ groupId, offsets: list }) => [groupId, list.length]),
    [
      ['h', 1],
      ['g', 2],
      ['none', 0],
    ],
  )
  const [only] = await admin.listGroupOffsets(['g'], [{ topic: 'a', partition: 0 }])
  assert.deepEqual(
    only?.offsets.map(({ partition, offset, metadata }) => [partition, offset, metadata]),
    [[0, 0, 'why']],
  )

  allOrThrow(await admin.deleteGroupOffsets('g', [{ topic: 'a', partition: 0 }]))
  await assert.rejects(admin.deleteGroupOffsets('none', [{ topic: 'a', partition: 0 }]), {
    name: 'GroupIdNotFoundError',
  })
  const deleted = await admin.deleteGroups(['g', 'none', 'h'])
  assert.deepEqual(
    deleted.map(({ groupId, error }) => [groupId, error?.name ?? null]),
    [
      ['g', null],
      ['none', 'GroupIdNotFoundError'],
      ['h', null],
    ],
  )
}

for (const kind of ['shardlog', 'kafka'] as const) {
  test(`administration of ${kind}`, async (t) => {
    if (kind === 'kafka' && skipWithout(t, 'kafka-server')) return
    await using broker = kind === 'kafka' ? new ApacheKafka() : new ShardlogServer()
    await broker.start({ 'offsets.topic.num.partitions': '3' })
    await using admin = new Admin({ bootstrapServers: broker.address })
    await t.test('topics', () => topics(admin))
    await t.test('configs', () => configs(admin))
    await t.test('partitions', () => partitions(admin))
    await t.test('groups', () => groups(admin))
    await t.test('what a broker does not serve is told as such', async () => {
      if (kind === 'kafka') return
      await assert.rejects(admin.describeClientQuotas([]), UnsupportedVersionError)
    })
    await t.test('a shared cluster stays open', async () => {
      const cluster = new Cluster({ bootstrapServers: broker.address })
      const guest = new Admin(cluster)
      await guest.describeCluster()
      await guest.close()
      assert.equal(cluster.isClosed, false)
      await cluster.close()
    })
    await t.test('a call ends when its signal does', async () => {
      const nobody = new Admin({ bootstrapServers: '127.0.0.1:1' })
      const stop = new AbortController()
      const call = nobody.listTopics({ signal: stop.signal })
      stop.abort(new Error('enough'))
      await assert.rejects(call)
      await nobody.close()
    })
  })
}
