/** The registry's own vocabulary on the embedded store, with Apache Kafka's layout underneath. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import {
  ANY_VERSION,
  type ClusterRegistry,
  type TopicRegistration,
} from '../../../src/registry/cluster-registry.ts'
import { adoptTopics, planAdoption } from '../../../src/registry/embedded/adoption.ts'
import { JOURNAL_FILE } from '../../../src/registry/embedded/embedded-node-store.ts'
import { openEmbeddedRegistry } from '../../../src/registry/embedded/embedded-registry.ts'
import { silentLogger } from '../../../src/util/logger.ts'

let directory: string
let registry: ClusterRegistry

const open = (): Promise<ClusterRegistry> =>
  openEmbeddedRegistry({ directory, logger: silentLogger })

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'registry-'))
  registry = await open()
})

afterEach(async () => {
  await registry.close()
  await rm(directory, { recursive: true })
})

async function reopen(): Promise<void> {
  await registry.close()
  registry = await open()
}

function topicOf(name: string, partitions: number[][]): TopicRegistration {
  return {
    name,
    topicId: 'M3BHXrZzQ9GyHIkVQ9Gyhw',
    partitions,
    addingReplicas: new Map(),
    removingReplicas: new Map([[0, [7]]]),
  }
}

test('the cluster id is settled once', async () => {
  assert.equal(await registry.ensureClusterId('first-id'), 'first-id')
  assert.equal(await registry.ensureClusterId('second-id'), 'first-id')
  await reopen()
  assert.equal(await registry.ensureClusterId('third-id'), 'first-id')
})

test('brokers live as long as their session, with growing epochs', async () => {
  const broker = {
    brokerId: 3,
    endpoints: [
      { listenerName: 'PLAINTEXT', securityProtocol: 'PLAINTEXT', host: '127.0.0.1', port: 9092 },
      { listenerName: 'INSIDE', securityProtocol: 'SSL', host: '::1', port: 9093 },
    ],
    rack: 'r1',
    timestampMs: 1_700_000_000_000,
  }
  const first = await registry.registerBroker(broker)
  assert.ok(first.ok)
  assert.deepEqual(await registry.brokers(), [{ ...broker, brokerEpoch: first.brokerEpoch }])
  // As after an attempt whose answer was lost.
  const again = await registry.registerBroker(broker)
  assert.ok(again.ok && (again.brokerEpoch ?? 0) > (first.brokerEpoch ?? 0))
  await reopen()
  assert.deepEqual(await registry.brokers(), [])
  const second = await registry.registerBroker({ ...broker, rack: null })
  assert.ok((second.brokerEpoch ?? 0) > (again.brokerEpoch ?? 0))
  await registry.unregisterBroker(3)
  assert.deepEqual(await registry.brokers(), [])
})

test('topics, their partition states and their deletion', async () => {
  const topic = topicOf('orders', [[1, 2], [2]])
  assert.equal((await registry.createTopic(topic)).ok, true)
  assert.deepEqual(await registry.createTopic(topic), { ok: false, reason: 'exists' })
  const state = { leader: 1, leaderEpoch: 0, isr: [1, 2], controllerEpoch: 4 }
  await registry.createPartitionState('orders', 1, { ...state, leader: -1 })
  await registry.createPartitionState('orders', 0, state)
  const led = { ...state, leader: 2, leaderEpoch: 1 }
  assert.deepEqual(await registry.updatePartitionState('orders', 0, led, 5), {
    ok: false,
    reason: 'version',
  })
  assert.deepEqual(await registry.updatePartitionState('orders', 0, led, 0), {
    ok: true,
    version: 1,
  })
  await reopen()
  assert.deepEqual(await registry.topicNames(), ['orders'])
  assert.deepEqual(await registry.topic('orders'), { value: topic, version: 0 })
  assert.deepEqual(await registry.partitionStates('orders'), [
    { topic: 'orders', partition: 0, value: led, version: 1 },
    { topic: 'orders', partition: 1, value: { ...state, leader: -1 }, version: 0 },
  ])
  const wider = topicOf('orders', [[1, 2], [2], [1]])
  assert.equal((await registry.updateTopic(wider, 0)).ok, true)
  assert.equal((await registry.requestTopicDeletion('orders')).ok, true)
  await reopen()
  assert.deepEqual(await registry.topicDeletions(), ['orders'])
  await registry.deleteTopic('orders')
  await registry.completeTopicDeletion('orders')
  assert.equal(await registry.topic('orders'), null)
  assert.deepEqual(await registry.partitionStates('orders'), [])
  assert.deepEqual(await registry.topicNames(), [])
  assert.deepEqual(await registry.topicDeletions(), [])
})

test('configs, producer id blocks and consumer offsets', async () => {
  const entity = { type: 'topics', name: 'orders' } as const
  const everyBroker = { type: 'brokers', name: null } as const
  assert.equal(await registry.config(entity), null)
  const values = new Map([['retention.ms', '1000']])
  assert.deepEqual(await registry.writeConfig(entity, values, ANY_VERSION), {
    ok: true,
    version: 0,
  })
  assert.equal((await registry.writeConfig(everyBroker, values, ANY_VERSION)).ok, true)
  assert.equal((await registry.writeConfig(entity, values, 7)).ok, false)
  assert.equal((await registry.writeConfig(entity, new Map(), 0)).ok, true)
  assert.deepEqual(await registry.writeProducerIdBlock({ brokerId: 1, start: 0, end: 999 }, 0), {
    ok: false,
    reason: 'missing',
  })
  await registry.writeProducerIdBlock({ brokerId: 1, start: 0, end: 999 }, null)
  await registry.writeConsumerOffset('g', 'orders', 2, 41)
  await registry.writeConsumerOffset('g', 'orders', 2, 42)
  await reopen()
  assert.deepEqual(await registry.config(entity), { value: new Map(), version: 1 })
  assert.deepEqual((await registry.config(everyBroker))?.value, values)
  await registry.deleteConfig(entity)
  assert.equal(await registry.config(entity), null)
  assert.deepEqual(await registry.producerIdBlock(), {
    value: { brokerId: 1, start: 0, end: 999 },
    version: 0,
  })
  assert.equal(await registry.consumerOffset('g', 'orders', 2), 42)
  assert.equal(await registry.consumerOffset('g', 'orders', 3), null)
  await assert.rejects(registry.consumerOffset('g/../x', 'orders', 3), { kind: 'invalid' })
})

test('one controller at a time, each with a higher epoch', async () => {
  const candidate = { brokerId: 1, timestampMs: 5 }
  assert.equal(await registry.controllerEpoch(), 0)
  assert.equal(await registry.electController(candidate), 1)
  assert.equal(await registry.electController({ ...candidate, brokerId: 2 }), null)
  assert.equal((await registry.controller())?.brokerId, 1)
  await registry.resignController(2)
  assert.equal((await registry.controller())?.brokerId, 1)
  await reopen()
  assert.equal(await registry.controller(), null)
  assert.equal(await registry.electController({ ...candidate, brokerId: 2 }), 2)
})

test('topics are adopted from partition folders', async () => {
  const a = 'AAAAAAAAAAAAAAAAAAAAAQ'
  const b = 'AAAAAAAAAAAAAAAAAAAAAg'
  const plan = planAdoption({
    found: [
      { topic: 'y', partition: 1, topicId: null },
      { topic: 'x', partition: 2, topicId: a, leaderEpoch: 6 },
      { topic: 'x', partition: 0, topicId: a },
      { topic: 'x', partition: 5, topicId: b },
      { topic: 'z', partition: 2_000_000, topicId: null },
    ],
    brokerId: 4,
    partitionsPerTopicMax: 100_000,
    createTopicId: () => 'made',
  })
  assert.deepEqual(
    plan.topics.map((t) => [t.name, t.topicId, t.partitions]),
    [
      ['x', a, [[4], [4], [4]]],
      ['y', 'made', [[4], [4]]],
    ],
  )
  assert.deepEqual(
    plan.refused.map((r) => [r.partition.topic, r.partition.partition]),
    [
      ['z', 2_000_000],
      ['x', 5],
    ],
  )
  const check = async (adopted: ClusterRegistry): Promise<void> => {
    assert.deepEqual(await adopted.topicNames(), ['x', 'y'])
    const states = await adopted.partitionStates('x')
    assert.deepEqual(
      states.map(({ value }) => [value.leader, value.leaderEpoch, value.isr]),
      [
        [4, 0, [4]],
        [4, 0, [4]],
        [4, 7, [4]],
      ],
    )
    assert.equal((await adopted.topic('x'))?.value.topicId, a)
  }
  await adoptTopics(registry, plan.topics)
  await check(registry)
  // In a directory without a journal: at once, and only then.
  await registry.close()
  await rm(join(directory, JOURNAL_FILE))
  const adopt = async () => plan.topics
  registry = await openEmbeddedRegistry({ directory, logger: silentLogger, adopt })
  await check(registry)
  await registry.close()
  const never = () => Promise.reject(new Error('asked again'))
  registry = await openEmbeddedRegistry({ directory, logger: silentLogger, adopt: never })
  await check(registry)
})
