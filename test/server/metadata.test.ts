/** Metadata in every version, and DescribeTopicPartitions page by page. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { DescribeTopicPartitions } from '../../src/protocol/messages/describe-topic-partitions.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { createDescribeTopicPartitionsHandler } from '../../src/server/handlers/describe-topic-partitions.ts'
import { createMetadataHandler } from '../../src/server/handlers/metadata.ts'
import {
  brokerImage,
  CLUSTER_ID,
  call,
  contextOf,
  createServices,
  type TestServices,
  versionsOf,
} from './test-services.ts'

let services: TestServices
beforeEach(async () => {
  services = await createServices({ 'num.partitions': '3' })
})
afterEach(() => services.close())

async function create(name: string, numPartitions: number, replicationFactor = 1): Promise<string> {
  const [outcome] = await services.controller.createTopics(
    [{ name, numPartitions, replicationFactor, assignments: [], configs: [] }],
    { timeoutMs: 60_000, validateOnly: false },
  )
  assert.equal(outcome?.errorCode, ErrorCode.NONE)
  return outcome?.topicId ?? ''
}

const named = (name: string | null, topicId = ZERO_UUID) => ({ name, topicId })

test('Metadata describes brokers and topics', async () => {
  const topicId = await create('orders', 2)
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata)) {
    const response = await call(Metadata, handler, version, { topics: [named('orders')] })
    assert.deepEqual(response.brokers, [
      { nodeId: 1, host: 'broker-1', port: 9092, rack: version < 1 ? null : 'rack-1' },
    ])
    assert.equal(response.clusterId, version < 2 ? null : CLUSTER_ID)
    assert.equal(response.controllerId, version < 1 ? -1 : 1)
    const partition = { errorCode: 0, leaderId: 1, leaderEpoch: version < 7 ? -1 : 0 }
    const nodes = { replicaNodes: [1], isrNodes: [1], offlineReplicas: [] }
    assert.deepEqual(response.topics, [
      {
        errorCode: 0,
        name: 'orders',
        topicId: version < 10 ? ZERO_UUID : topicId,
        isInternal: false,
        partitions: [0, 1].map((partitionIndex) => ({ ...partition, partitionIndex, ...nodes })),
        topicAuthorizedOperations: -2147483648,
      },
    ])
  }
})

test('Metadata: all topics, none, each once', async () => {
  await create('b', 1)
  await create('a', 1)
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata)) {
    const names = async (topics: { name: string }[] | null): Promise<(string | null)[]> => {
      const response = await call(Metadata, handler, version, { topics })
      return response.topics.map((topic) => topic.name)
    }
    assert.deepEqual(await names([]), version === 0 ? ['a', 'b'] : [])
    if (version > 0) assert.deepEqual(await names(null), ['a', 'b'])
    assert.deepEqual(await names([{ name: 'b' }, { name: 'a' }, { name: 'b' }]), ['b', 'a'])
  }
})

test('Metadata by topic id from version 12 on', async () => {
  const topicId = await create('orders', 1)
  const handler = createMetadataHandler(services)
  const other = 'AAAAAAAAAAAAAAAAAAAAAQ'
  const asked = { topics: [named(null, topicId), named(null, other)] }
  const response = await call(Metadata, handler, 12, asked)
  assert.deepEqual(
    response.topics.map((t) => [t.errorCode, t.name, t.topicId]),
    [
      [ErrorCode.NONE, 'orders', topicId],
      [ErrorCode.UNKNOWN_TOPIC_ID, null, other],
    ],
  )
  for (const version of [10, 11]) {
    const early = await call(Metadata, handler, version, asked)
    assert.deepEqual(
      early.topics.map((t) => [t.errorCode, t.name]),
      [
        [ErrorCode.INVALID_REQUEST, ''],
        [ErrorCode.INVALID_REQUEST, ''],
      ],
    )
  }
})

test('Metadata creates topics if client and broker allow it', async () => {
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata)) {
    const name = `auto-${version}`
    if (version >= 4) {
      const refused = await call(Metadata, handler, version, {
        topics: [named(name)],
        allowAutoTopicCreation: false,
      })
      assert.equal(refused.topics[0]?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      assert.deepEqual(refused.topics[0]?.partitions, [])
    }
    const created = await call(Metadata, handler, version, { topics: [named(name)] })
    assert.equal(created.topics[0]?.errorCode, ErrorCode.NONE)
    assert.equal(created.topics[0]?.partitions.length, 3)
  }
  const wrong = await call(Metadata, handler, 4, {
    topics: [named('a b'), named(''), named('auto.1')],
  })
  assert.deepEqual(
    wrong.topics.map((t) => [t.errorCode, t.partitions.length]),
    [
      [ErrorCode.INVALID_TOPIC_EXCEPTION, 0],
      [ErrorCode.INVALID_TOPIC_EXCEPTION, 0],
      [ErrorCode.NONE, 3],
    ],
  )
  const collides = await call(Metadata, handler, 4, { topics: [named('auto_1')] })
  assert.equal(collides.topics[0]?.errorCode, ErrorCode.INVALID_TOPIC_EXCEPTION)
})

test('Metadata does not create topics on a broker that does not allow it', async () => {
  await services.close()
  services = await createServices({ 'auto.create.topics.enable': 'false' })
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata)) {
    const response = await call(Metadata, handler, version, { topics: [named('x')] })
    assert.equal(response.topics[0]?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  }
  assert.equal(services.metadata.topicCount, 0)
})

test('Metadata waits 50 ms for a topic that it creates, then says it has no leader', async () => {
  let open = (): void => undefined
  services.replicas.gate = new Promise((resolve) => {
    open = resolve
  })
  const handler = createMetadataHandler(services)
  const answer = call(Metadata, handler, 9, { topics: [named('slow')] })
  while (services.replicas.calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
  services.clock.advance(51)
  services.timers.run()
  const response = await answer
  assert.equal(response.topics[0]?.errorCode, ErrorCode.LEADER_NOT_AVAILABLE)
  const again = call(Metadata, handler, 9, { topics: [named('slow')] })
  open()
  assert.equal((await again).topics[0]?.errorCode, ErrorCode.NONE)
})

test('Metadata of partitions whose brokers are dead or have another listener', async () => {
  await services.setOthers([2, 3].map((id) => brokerImage(id)))
  await create('t', 3, 3)
  const leaders = services.metadata.topic('t')?.partitions.map((p) => p.leader) ?? []
  const dead = leaders[0] as number
  const hidden = leaders[1] as number
  services.metadata.setBrokers(
    [1, 2, 3]
      .filter((id) => id !== dead)
      .map((id) => brokerImage(id, id === hidden ? ['INSIDE'] : ['PLAINTEXT'])),
  )
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata)) {
    const response = await call(Metadata, handler, version, { topics: [named('t')] })
    // The one that has just died is listed with topics, but nothing is said to be there.
    assert.deepEqual(
      response.brokers.map(({ nodeId }) => nodeId),
      [1, 2, 3].filter((id) => id !== hidden),
    )
    const partitions = response.topics[0]?.partitions ?? []
    assert.deepEqual(
      partitions.map((p) => [p.errorCode, p.leaderId]),
      [
        [ErrorCode.LEADER_NOT_AVAILABLE, -1],
        [version < 6 ? ErrorCode.LEADER_NOT_AVAILABLE : ErrorCode.LISTENER_NOT_FOUND, -1],
        [version === 0 ? ErrorCode.REPLICA_NOT_AVAILABLE : ErrorCode.NONE, leaders[2]],
      ],
    )
    for (const partition of partitions) {
      assert.equal(partition.replicaNodes.length, version === 0 ? 1 : 3)
      assert.deepEqual(partition.offlineReplicas, version < 5 ? [] : [dead])
    }
  }
  const live = [1, 2, 3].filter((id) => id !== dead && id !== hidden)
  const withoutTopics = await call(Metadata, handler, 9, { topics: [] })
  services.clock.advance(2000)
  const later = await call(Metadata, handler, 9, { topics: [named('t')] })
  for (const { brokers } of [withoutTopics, later]) {
    assert.deepEqual(
      brokers.map(({ nodeId }) => nodeId),
      live,
    )
  }
})

test('Metadata tells authorized operations where they are asked for', async () => {
  await create('t', 1)
  const handler = createMetadataHandler(services)
  for (const version of versionsOf(Metadata).filter((v) => v >= 8)) {
    const response = await call(Metadata, handler, version, {
      topics: [named('t')],
      includeClusterAuthorizedOperations: version <= 10,
      includeTopicAuthorizedOperations: true,
    })
    assert.equal(response.topics[0]?.topicAuthorizedOperations, 3576)
    assert.equal(response.clusterAuthorizedOperations, version <= 10 ? 8096 : -2147483648)
  }
})

test('Metadata marks internal topics', async () => {
  await create('__consumer_offsets', 1)
  const handler = createMetadataHandler(services)
  const response = await call(Metadata, handler, 1, { topics: null })
  assert.equal(response.topics[0]?.isInternal, true)
})

test('DescribeTopicPartitions goes through all topics page by page', async () => {
  const counts = { a: 3, b: 1, c: 4, d: 2 }
  for (const [name, count] of Object.entries(counts)) await create(name, count)
  const handler = createDescribeTopicPartitionsHandler(services)
  for (const limit of [1, 2, 3, 4, 5, 10, 100, 0, -5]) {
    const seen: string[] = []
    let cursor: { topicName: string; partitionIndex: number } | null = null
    do {
      const request = { topics: [], responsePartitionLimit: limit, cursor }
      const page: Awaited<ReturnType<typeof call<typeof DescribeTopicPartitions>>> = await call(
        DescribeTopicPartitions,
        handler,
        0,
        request,
      )
      let onPage = 0
      for (const topic of page.topics) {
        assert.equal(topic.errorCode, ErrorCode.NONE)
        for (const partition of topic.partitions) {
          seen.push(`${topic.name}-${partition.partitionIndex}`)
          assert.equal(partition.leaderId, 1)
          assert.deepEqual(partition.eligibleLeaderReplicas, [])
          assert.deepEqual(partition.lastKnownElr, [])
          onPage += 1
        }
      }
      assert.ok(onPage >= 1 && onPage <= Math.max(1, limit))
      cursor = page.nextCursor
    } while (cursor !== null)
    const all = Object.entries(counts).flatMap(([name, count]) =>
      Array.from({ length: count }, (_, i) => `${name}-${i}`),
    )
    assert.deepEqual(seen, all)
  }
})

test('DescribeTopicPartitions of named topics, and of what is not there', async () => {
  await create('a', 2)
  const handler = createDescribeTopicPartitionsHandler(services)
  const topics = [{ name: 'x' }, { name: 'a' }, { name: '?' }, { name: 'a' }]
  const response = await call(DescribeTopicPartitions, handler, 0, { topics })
  assert.deepEqual(
    response.topics.map((t) => [t.name, t.errorCode, t.partitions.length]),
    [
      ['?', ErrorCode.INVALID_TOPIC_EXCEPTION, 0],
      ['a', ErrorCode.NONE, 2],
      ['x', ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0],
    ],
  )
  assert.equal(response.topics[1]?.topicAuthorizedOperations, 3576)
  const gone = await call(DescribeTopicPartitions, handler, 0, {
    topics: [],
    cursor: { topicName: 'Z', partitionIndex: 1 },
  })
  assert.deepEqual(
    gone.topics.map((t) => t.name),
    ['a'],
  )
  const wrong = await call(DescribeTopicPartitions, handler, 0, {
    topics: [{ name: 'a' }],
    cursor: { topicName: 'a', partitionIndex: -1 },
  })
  assert.equal(wrong.topics[0]?.errorCode, ErrorCode.INVALID_REQUEST)
  const inside = contextOf(DescribeTopicPartitions, 0, 'INSIDE')
  const hidden = await call(DescribeTopicPartitions, handler, 0, { topics }, inside)
  const partition = hidden.topics[1]?.partitions[0]
  assert.deepEqual([partition?.errorCode, partition?.leaderId], [ErrorCode.LISTENER_NOT_FOUND, -1])
})
