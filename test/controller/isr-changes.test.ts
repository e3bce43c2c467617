/** AlterPartition as Apache Kafka's controller judges it, and ISRs that leaders wrote themselves. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { ErrorCode, errorName } from '../../src/protocol/error-codes.ts'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { TestCluster } from './test-cluster.ts'

const open: TestCluster[] = []
afterEach(async () => {
  for (const cluster of open.splice(0)) await cluster.close()
})

async function start(count: number): Promise<TestCluster> {
  const cluster = await TestCluster.start(count)
  open.push(cluster)
  return cluster
}

interface Wanted {
  readonly topic?: string
  readonly partition?: number
  /** Whose request it is. */
  readonly leader?: number
  readonly brokerEpoch?: number
  readonly leaderEpoch?: number
  readonly partitionEpoch?: number
  readonly isr: readonly number[]
  /** Of each member; null: version 2, which does not tell. */
  readonly epochs?: readonly number[] | null
  readonly recovery?: number
  /** By name, as versions 0 and 1 do. */
  readonly byName?: boolean
}

/** The error, and the state that was answered without one. */
async function alter(cluster: TestCluster, wanted: Wanted): Promise<string> {
  const topicName = wanted.topic ?? 't'
  const partitionIndex = wanted.partition ?? 0
  const topicId =
    (await cluster.registry.topic(topicName))?.value.topicId ?? 'M3BHXrZzQ9GyHIkVQ9Gyhw'
  const entry = await cluster.registry.partitionState(topicName, partitionIndex)
  const leader = wanted.leader ?? entry?.value.leader ?? 1
  const epochs =
    wanted.epochs === undefined
      ? wanted.isr.map((id) => cluster.brokers.get(id)?.brokerEpoch ?? -1)
      : wanted.epochs
  const answer = await cluster.settled(
    cluster.active.alterPartition({
      brokerId: leader,
      brokerEpoch: wanted.brokerEpoch ?? cluster.broker(leader).brokerEpoch,
      topics: [
        {
          topicName: wanted.byName ? topicName : '',
          topicId: wanted.byName ? ZERO_UUID : topicId,
          partitions: [
            {
              partitionIndex,
              leaderEpoch: wanted.leaderEpoch ?? entry?.value.leaderEpoch ?? 0,
              newIsr: epochs === null ? [...wanted.isr] : [],
              newIsrWithEpochs:
                epochs === null
                  ? []
                  : wanted.isr.map((brokerId, i) => ({ brokerId, brokerEpoch: epochs[i] ?? -1 })),
              leaderRecoveryState: wanted.recovery ?? 0,
              partitionEpoch: wanted.partitionEpoch ?? entry?.version ?? 0,
            },
          ],
        },
      ],
    }),
  )
  if (answer.errorCode !== ErrorCode.NONE) return errorName(answer.errorCode)
  const partition = answer.topics[0]?.partitions[0]
  assert.ok(partition)
  if (partition.errorCode !== ErrorCode.NONE) return errorName(partition.errorCode)
  const { leaderId, leaderEpoch, isr, partitionEpoch } = partition
  return `${leaderId}/${leaderEpoch} ${isr.join()} v${partitionEpoch}`
}

test('what is refused, and with what', async () => {
  const cluster = await start(4)
  await cluster.createTopic('t', [[1, 2, 3]])
  const before = cluster.broker(3).brokerEpoch
  await cluster.kill(3)
  await cluster.untilState('1/1 1,2', 't')
  await cluster.untilAgreed()
  await cluster.revive(3)
  const epochs = [1, 2, 3].map((id) => cluster.broker(id).brokerEpoch)
  const isr = [1, 2, 3]
  await cluster.untilAgreed()
  const rows: [Wanted, string][] = [
    [{ isr, brokerEpoch: 0 }, 'STALE_BROKER_EPOCH'],
    [{ isr, topic: 'none', leader: 1 }, 'UNKNOWN_TOPIC_ID'],
    [{ isr, topic: 'none', leader: 1, byName: true }, 'UNKNOWN_TOPIC_OR_PARTITION'],
    [{ isr, partition: 7, leader: 1 }, 'UNKNOWN_TOPIC_OR_PARTITION'],
    [{ isr, leaderEpoch: 2 }, 'NOT_CONTROLLER'],
    [{ isr, partitionEpoch: 2 }, 'NOT_CONTROLLER'],
    [{ isr, leaderEpoch: 0 }, 'FENCED_LEADER_EPOCH'],
    [{ isr, leader: 2 }, 'FENCED_LEADER_EPOCH'],
    [{ isr, partitionEpoch: 0 }, 'INVALID_UPDATE_VERSION'],
    [{ isr, recovery: 1 }, 'INVALID_REQUEST'],
    [{ isr: [1], recovery: 1 }, 'INVALID_REQUEST'],
    [{ isr: [2, 3] }, 'INVALID_REQUEST'],
    [{ isr: [1, 2, 4] }, 'INELIGIBLE_REPLICA'],
    [{ isr: [1, 2, 9] }, 'INELIGIBLE_REPLICA'],
    [{ isr: [1, 2, 9], byName: true, epochs: null }, 'OPERATION_NOT_ATTEMPTED'],
    // It fetched before it registered anew (KIP-903).
    [{ isr, epochs: [epochs[0] ?? 0, epochs[1] ?? 0, before] }, 'INELIGIBLE_REPLICA'],
    [{ isr: [1, 2] }, '1/1 1,2 v1'],
    [{ isr: [2, 1], partitionEpoch: 0 }, '1/1 1,2 v1'],
    [{ isr: [1] }, '1/1 1 v2'],
    [{ isr: [1], partitionEpoch: 1 }, '1/1 1 v2'],
    [{ isr: [1, 2], epochs: null }, '1/1 1,2 v3'],
    [{ isr: [1, 2], byName: true, epochs: null }, '1/1 1,2 v3'],
    [{ isr }, '1/1 1,2,3 v4'],
  ]
  for (const [wanted, answer] of rows) {
    assert.equal(await alter(cluster, wanted), answer, JSON.stringify(wanted))
  }
  await cluster.untilAgreed()
  assert.equal(await cluster.state('t'), '1/1 1,2,3')
})

test('brokers that are about to stop, or are dead, do not join', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2, 3]])
  const brokerEpoch = cluster.broker(2).brokerEpoch
  await cluster.settled(cluster.active.controlledShutdown({ brokerId: 2, brokerEpoch }))
  assert.equal(await cluster.state('t'), '1/1 1,3')
  assert.equal(await alter(cluster, { isr: [1, 2, 3] }), 'INELIGIBLE_REPLICA')
  await cluster.kill(2)
  assert.equal(await alter(cluster, { isr: [1, 2, 3] }), 'INELIGIBLE_REPLICA')
  await cluster.revive(2)
  await cluster.until('it is back', () => cluster.broker(2).leadership.has('t-0'))
  assert.equal(await alter(cluster, { isr: [1, 2, 3] }), '1/1 1,2,3 v2')
})

test('replicas below the minimum stay eligible until it is reached again', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2, 3]], { 'min.insync.replicas': '2' })
  assert.equal(await alter(cluster, { isr: [1, 2] }), '1/0 1,2 v1')
  assert.equal(await alter(cluster, { isr: [1] }), '1/0 1 v2')
  assert.equal(await cluster.state('t'), '1/0 1 elr 2')
  await cluster.kill(1)
  await cluster.untilState('2/1 2 elr 1', 't')
  assert.equal(await alter(cluster, { isr: [2, 3] }), '2/1 2,3 v4')
  assert.equal(await cluster.state('t'), '2/1 2,3')
})

test('the last replica that lost its tail does not lead while another has everything', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2, 3]], { 'min.insync.replicas': '2' })
  assert.equal(await alter(cluster, { isr: [1] }), '1/0 1 v1')
  assert.equal(await cluster.state('t'), '1/0 1 elr 2,3')
  for (const id of [2, 3]) await cluster.kill(id)
  await cluster.kill(1)
  await cluster.untilState('-1/1 1 elr 2,3', 't')
  await cluster.revive(1, { lostTail: 7 })
  await cluster.untilState('-1/2 2,3', 't')
  await cluster.revive(3)
  await cluster.untilState('3/3 3 elr 2', 't')
  assert.equal(await alter(cluster, { isr: [3, 1] }), '3/3 3,1 v5')
  // A new controller sees that broker 1 has caught up since it lost its tail.
  await cluster.active.stop()
  await cluster.elect(2)
  await cluster.untilAgreed()
  assert.equal(await cluster.state('t'), '3/3 3,1')
  await cluster.kill(3)
  await cluster.untilState('1/4 1 elr 3', 't')
})

test('ISRs that leaders wrote themselves are read, and their notes taken away', async () => {
  const cluster = await start(2)
  await cluster.createTopic('t', [[1, 2]])
  const { registry } = cluster
  const state = { leader: 1, leaderEpoch: 0, isr: [1], controllerEpoch: 1 }
  assert.ok((await registry.updatePartitionState('t', 0, state, 0)).ok)
  await registry.announceIsrChange([
    { topic: 't', partition: 0 },
    { topic: 'gone', partition: 3 },
  ])
  await cluster.until('it is known', () => cluster.broker(2).metadata.get('t-0')?.zkVersion === 1)
  let notes = -1
  registry.watchIsrChanges((changes) => {
    notes = changes.length
  })
  await cluster.until('the note is gone', () => notes === 0)
  assert.equal(await alter(cluster, { isr: [1, 2], partitionEpoch: 0 }), 'INVALID_UPDATE_VERSION')
  // Nobody has told of this one: the write finds it.
  const again = { ...state, isr: [1, 2] }
  assert.ok((await registry.updatePartitionState('t', 0, again, 1)).ok)
  assert.equal(await alter(cluster, { isr: [1, 2], partitionEpoch: 1 }), 'INVALID_UPDATE_VERSION')
  await cluster.untilAgreed()
})
