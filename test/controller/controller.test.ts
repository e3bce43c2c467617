/** Controllers on the embedded registry: election, topics, brokers that come and go. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { ErrorCode, KafkaError } from '../../src/protocol/error-codes.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'
import { TestCluster } from './test-cluster.ts'

const open: TestCluster[] = []
afterEach(async () => {
  for (const cluster of open.splice(0)) await cluster.close()
})

async function start(...args: Parameters<typeof TestCluster.start>): Promise<TestCluster> {
  const cluster = await TestCluster.start(...args)
  open.push(cluster)
  return cluster
}

test('one of several is the controller, and the next one takes over', async () => {
  const cluster = await start(3)
  const [first] = cluster.controllers
  const second = cluster.controller(2)
  const heard: (number | null)[] = []
  second.onController((controller) => heard.push(controller?.brokerId ?? null))
  second.start()
  await cluster.until('it sees the first', () => second.controllerId === 1)
  assert.equal(second.isActive, false)
  assert.equal(cluster.active, first)
  assert.equal(
    await cluster.createTopic('t', [
      [1, 2],
      [2, 3],
    ]),
    ErrorCode.NONE,
  )
  await assert.rejects(
    second.createTopics([], { timeoutMs: 1, validateOnly: false }),
    (error) => error instanceof KafkaError && error.errorCode === ErrorCode.NOT_CONTROLLER,
  )
  await first?.stop()
  await cluster.until('the second is elected', () => second.isActive)
  assert.equal(second.epoch, 2)
  await cluster.untilAgreed()
  assert.equal(cluster.broker(3).controllerEpoch, 2)
  assert.deepEqual(heard.at(-1), 2)
})

test('a topic exists when it is answered, on leaders and in all metadata', async () => {
  const cluster = await start(3)
  assert.equal(
    await cluster.createTopic('t', [
      [1, 2],
      [2, 3],
      [3, 1],
    ]),
    ErrorCode.NONE,
  )
  assert.equal(await cluster.disagreement(), null)
  assert.equal(await cluster.state('t', 1), '2/0 2,3')
  const told = cluster.broker(2).leadership.get('t-1')
  assert.equal(told?.isNew, true)
  assert.equal(told?.partitionEpoch, 0)
  assert.equal(await cluster.createTopic('t', [[1]]), ErrorCode.TOPIC_ALREADY_EXISTS)
})

test('a broker that knows nothing hears of all partitions of a topic at once', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [
    [1, 2, 3],
    [2, 3, 1],
    [3, 1, 2],
  ])
  await cluster.active.stop()
  // The next controller elects a leader for one of them before it tells everything.
  await cluster.kill(2)
  await cluster.kill(1)
  await cluster.revive(1)
  const { updates } = cluster.broker(1)
  const before = updates.length
  await cluster.elect(3)
  await cluster.untilState('3/1 3,1', 't', 1)
  await cluster.untilAgreed()
  const told = updates.slice(before).flatMap(({ topicStates }) => topicStates)
  assert.deepEqual(
    told[0]?.partitionStates.map(({ partitionIndex }) => partitionIndex).sort(),
    [0, 1, 2],
  )
})

test('a broker that dies: leaders in order of assignment, ISRs without it, and back', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [
    [1, 2, 3],
    [2, 3, 1],
  ])
  await cluster.createTopic('one', [[3]])
  await cluster.kill(2)
  await cluster.untilState('1/1 1,3', 't', 0)
  await cluster.untilState('3/1 3,1', 't', 1)
  await cluster.untilAgreed()
  assert.deepEqual(cluster.broker(1).metadata.get('t-1')?.offlineReplicas, [2])
  await cluster.kill(3)
  await cluster.untilState('-1/1 3', 'one')
  await cluster.untilState('1/2 1', 't', 1)
  await cluster.revive(2)
  await cluster.revive(3)
  await cluster.untilState('3/2 3', 'one')
  await cluster.untilAgreed()
  assert.ok(
    cluster.broker(2).requests.some((one) => one === 'LeaderAndIsr full 2'),
    '',
  )
  assert.deepEqual(cluster.broker(1).metadata.get('t-1')?.offlineReplicas, [])
})

test('topics are deleted, by us and by tools, and by dead brokers once they are back', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [
    [1, 2],
    [2, 3],
  ])
  await cluster.createTopic('other', [[1, 2, 3]])
  const outcomes = await cluster.settled(cluster.active.deleteTopics(['t', 'none'], 60_000))
  assert.deepEqual(
    outcomes.map((outcome) => outcome.errorCode),
    [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
  )
  assert.deepEqual(await cluster.registry.topicNames(), ['other'])
  await cluster.untilAgreed()
  assert.equal(await cluster.createTopic('t', [[1, 2]]), ErrorCode.NONE)
  await cluster.kill(2)
  await cluster.registry.requestTopicDeletion('t')
  await cluster.until('it is out of sight', () => !cluster.broker(3).metadata.has('t-0'))
  await cluster.until('broker 1 has deleted it', () => !cluster.broker(1).leadership.has('t-0'))
  assert.deepEqual(await cluster.registry.topicNames(), ['other', 't'])
  const [again] = await cluster.settled(
    cluster.active.createTopics(
      [{ name: 't', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
      { timeoutMs: 100, validateOnly: false },
    ),
  )
  assert.ok(
    again?.errorCode === ErrorCode.REQUEST_TIMED_OUT ||
      again?.errorCode === ErrorCode.TOPIC_ALREADY_EXISTS,
  )
  await cluster.revive(2)
  await cluster.untilAgreed()
  assert.ok(cluster.broker(2).deleted.includes('t-0'))
})

test('of many requests for the same topic one creates it', async () => {
  const cluster = await start(1)
  const codes = await Promise.all(
    Array.from({ length: 20 }, () => cluster.createTopic('one', [[1]])),
  )
  assert.equal(codes.filter((code) => code === ErrorCode.NONE).length, 1)
  assert.equal(codes.filter((code) => code === ErrorCode.TOPIC_ALREADY_EXISTS).length, 19)
  assert.equal(await cluster.createTopic('a.b', [[1]]), ErrorCode.NONE)
  assert.equal(await cluster.createTopic('a_b', [[1]]), ErrorCode.INVALID_TOPIC_EXCEPTION)
})

test('topics of one request share syncs of the journal and requests to brokers', async () => {
  const files = new MemoryFiles()
  const cluster = await start(2, {}, { files })
  await cluster.untilAgreed()
  const syncs = () => files.operations.filter((operation) => operation === 'sync').length
  const before = syncs()
  const requests = cluster.broker(1).requests.length
  const topics = Array.from({ length: 300 }, (_, i) => ({
    ...{ name: `t${i}`, numPartitions: 3, replicationFactor: 2 },
    ...{ assignments: [], configs: [{ name: 'retention.ms', value: '5' }] },
  }))
  const options = { timeoutMs: 60_000, validateOnly: false }
  const outcomes = await cluster.settled(cluster.active.createTopics(topics, options))
  assert.ok(outcomes.every((outcome) => outcome.errorCode === ErrorCode.NONE))
  assert.ok(syncs() - before <= 10, `${syncs() - before} syncs`)
  const asked = cluster.broker(1).requests.length - requests
  assert.ok(asked <= 12, `${asked} requests`)
  assert.equal(await cluster.disagreement(), null)
  // So do requests that come while another is carried out.
  const between = syncs()
  const codes = await Promise.all(
    Array.from({ length: 100 }, (_, i) => cluster.createTopic(`u${i}`, [[1, 2]])),
  )
  assert.ok(codes.every((code) => code === ErrorCode.NONE))
  assert.ok(syncs() - between <= 12, `${syncs() - between} syncs`)
})

test('a request that is only checked, and one that nobody waits for', async () => {
  const cluster = await start(1)
  const topic = { name: 't', numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] }
  const wrong = { ...topic, name: 'u', replicationFactor: 5 }
  const [checked] = await cluster.settled(
    cluster.active.createTopics([topic], { timeoutMs: 1000, validateOnly: true }),
  )
  assert.equal(checked?.errorCode, ErrorCode.NONE)
  assert.deepEqual(await cluster.registry.topicNames(), [])
  const told = await cluster.settled(
    cluster.active.createTopics([topic, wrong], { timeoutMs: 0, validateOnly: false }),
  )
  assert.deepEqual(
    told.map((outcome) => outcome.errorCode),
    [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.INVALID_REPLICATION_FACTOR],
  )
  await cluster.until('it is there', () => cluster.broker(1).leadership.size === 2)
})

test('racks are spread over, and named in the metadata', async () => {
  const cluster = await start(0)
  for (const [id, rack] of [
    [1, 'a'],
    [2, 'a'],
    [3, 'b'],
    [4, 'c'],
  ] as const) {
    await cluster.register(id, { rack })
  }
  await cluster.elect(1)
  const topic = { name: 't', numPartitions: 12, replicationFactor: 3, assignments: [], configs: [] }
  const options = { timeoutMs: 1000, validateOnly: false }
  await cluster.settled(cluster.active.createTopics([topic], options))
  const racks = new Map([
    [1, 'a'],
    [2, 'a'],
    [3, 'b'],
    [4, 'c'],
  ])
  for (const { replicas } of cluster.broker(1).metadata.values()) {
    assert.equal(new Set(replicas.map((id) => racks.get(id))).size, 3)
  }
  const told = cluster.broker(1).updates.at(-1)?.liveBrokers
  assert.deepEqual(
    told?.map(({ id, rack }) => `${id}${rack}`),
    ['1a', '2a', '3b', '4c'],
  )
})
