/** Controllers on the embedded registry: election, topics, brokers that come and go. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { ErrorCode, KafkaError } from '../../src/protocol/error-codes.ts'
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
