/** What administrators, tools and brokers ask of the controller, and what it does by itself. */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { Controller } from '../../src/controller/controller.ts'
import type { NewTopic } from '../../src/controller/topic-change.ts'
import { ErrorCode, errorName, KafkaError } from '../../src/protocol/error-codes.ts'
import { EmbeddedNodeStore } from '../../src/registry/embedded/embedded-node-store.ts'
import { NodeRegistry } from '../../src/registry/node-registry.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'
import { FaultyStore } from './faulty-store.ts'
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

/** The leader takes replicas into the ISR, as if they had caught up. */
async function setIsr(cluster: TestCluster, topic: string, isr: number[]): Promise<void> {
  const entry = await cluster.registry.partitionState(topic, 0)
  const { leader = 0, leaderEpoch = 0 } = entry?.value ?? {}
  const topicId = (await cluster.registry.topic(topic))?.value.topicId ?? ''
  const answer = await cluster.settled(
    cluster.active.alterPartition({
      brokerId: leader,
      brokerEpoch: cluster.broker(leader).brokerEpoch,
      topics: [
        {
          topicName: topic,
          topicId,
          partitions: [
            {
              ...{ partitionIndex: 0, leaderEpoch, newIsr: [], leaderRecoveryState: 0 },
              newIsrWithEpochs: isr.map((brokerId) => ({ brokerId, brokerEpoch: -1 })),
              partitionEpoch: entry?.version ?? 0,
            },
          ],
        },
      ],
    }),
  )
  assert.equal(errorName(answer.topics[0]?.partitions[0]?.errorCode ?? answer.errorCode), 'NONE')
}

async function reassign(
  cluster: TestCluster,
  topic: string,
  replicas: number[] | null,
  partitionIndex = 0,
): Promise<string> {
  const answer = await cluster.settled(
    cluster.active.alterPartitionReassignments({
      timeoutMs: 1000,
      topics: [{ name: topic, partitions: [{ partitionIndex, replicas }] }],
    }),
  )
  return errorName(answer.responses[0]?.partitions[0]?.errorCode ?? answer.errorCode)
}

async function listed(cluster: TestCluster): Promise<string> {
  const request = { timeoutMs: 1000, topics: null }
  const answer = await cluster.settled(cluster.active.listPartitionReassignments(request))
  return answer.topics
    .flatMap(({ name, partitions }) =>
      partitions.map(
        (one) =>
          `${name}-${one.partitionIndex} ${one.replicas} +${one.addingReplicas} -${one.removingReplicas}`,
      ),
    )
    .join('; ')
}

async function replicas(cluster: TestCluster, topic: string): Promise<string> {
  const found = (await cluster.registry.topic(topic))?.value
  const moving = (found?.addingReplicas.size ?? 0) + (found?.removingReplicas.size ?? 0)
  return `${found?.partitions[0]?.join()}${moving > 0 ? ' moving' : ''}`
}

test('a broker that wants to stop gives away what it leads, and stops following', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [
    [1, 2, 3],
    [2, 1, 3],
  ])
  await cluster.createTopic('one', [[1]])
  await cluster.createTopic('two', [[1, 3]])
  await cluster.kill(3)
  await cluster.untilState('1/1 1', 'two')
  const stop = (brokerEpoch: number) =>
    cluster.settled(cluster.active.controlledShutdown({ brokerId: 1, brokerEpoch }))
  assert.equal(errorName((await stop(0)).errorCode), 'STALE_BROKER_EPOCH')
  const { brokerEpoch } = cluster.broker(1)
  const answer = await stop(brokerEpoch)
  assert.equal(answer.errorCode, ErrorCode.NONE)
  assert.deepEqual(answer.remainingPartitions, [{ topicName: 'two', partitionIndex: 0 }])
  assert.equal(await cluster.state('t', 0), '2/2 2')
  assert.equal(await cluster.state('t', 1), '2/2 2')
  assert.equal(await cluster.state('one'), '1/0 1')
  assert.equal(cluster.broker(2).leadership.get('t-0')?.leader, 2)
  await cluster.until('its replicas are stopped', () => cluster.broker(1).stopped.length === 2)
  assert.deepEqual(cluster.broker(1).deleted, [])
  await cluster.revive(3)
  await cluster.until('it is back', () => cluster.broker(3).leadership.has('two-0'))
  await setIsr(cluster, 'two', [1, 3]).catch(() => undefined) // The leader is about to stop.
  const gone = cluster.settled(cluster.active.controlledShutdown({ brokerId: 9, brokerEpoch: 1 }))
  assert.equal(errorName((await gone).errorCode), 'BROKER_NOT_AVAILABLE')
})

test('replicas move once those they move to are in sync, and the others are deleted', async () => {
  const cluster = await start(4)
  await cluster.createTopic('t', [[1, 2]])
  assert.equal(await reassign(cluster, 't', [3, 2]), 'NONE')
  assert.equal(await listed(cluster), 't-0 3,2,1 +3 -1')
  assert.equal(await cluster.state('t'), '1/1 1,2')
  await cluster.until('3 knows', () => cluster.broker(3).leadership.get('t-0')?.isNew === true)
  const widened = await cluster.settled(
    cluster.active.createPartitions([{ name: 't', count: 2, assignments: null }], {
      timeoutMs: 1000,
      validateOnly: false,
    }),
  )
  assert.equal(errorName(widened[0]?.errorCode ?? 0), 'REASSIGNMENT_IN_PROGRESS')
  await setIsr(cluster, 't', [1, 2, 3])
  await cluster.untilState('3/2 2,3', 't')
  await cluster.untilAgreed()
  assert.equal(await replicas(cluster, 't'), '3,2')
  assert.equal(await listed(cluster), '')
  assert.deepEqual(cluster.broker(1).deleted, ['t-0'])
  // More replicas, then fewer.
  assert.equal(await reassign(cluster, 't', [3, 2, 1, 4]), 'NONE')
  await setIsr(cluster, 't', [2, 3, 1, 4])
  await cluster.until('it is done', async () => (await replicas(cluster, 't')) === '3,2,1,4')
  assert.equal(await reassign(cluster, 't', [4]), 'NONE')
  await cluster.until('it is done', async () => (await replicas(cluster, 't')) === '4')
  await cluster.untilAgreed()
  assert.match(await cluster.state('t'), /^4\/\d+ 4$/)
})

test('a move is cancelled, replaced, and refused where it makes no sense', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2]])
  assert.equal(await reassign(cluster, 't', null), 'NO_REASSIGNMENT_IN_PROGRESS')
  assert.equal(await reassign(cluster, 'none', [1]), 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.equal(await reassign(cluster, 't', [1], 4), 'UNKNOWN_TOPIC_OR_PARTITION')
  for (const wrong of [[], [1, 1], [-1], [9]]) {
    assert.equal(await reassign(cluster, 't', wrong), 'INVALID_REPLICA_ASSIGNMENT')
  }
  assert.equal(await reassign(cluster, 't', [3]), 'NONE')
  assert.equal(await reassign(cluster, 't', null), 'NONE')
  assert.equal(await replicas(cluster, 't'), '1,2')
  await cluster.untilAgreed()
  assert.deepEqual(cluster.broker(3).deleted, ['t-0'])
  assert.equal(await reassign(cluster, 't', [3, 1]), 'NONE')
  assert.equal(await reassign(cluster, 't', [2, 3]), 'NONE')
  assert.equal(await listed(cluster), 't-0 2,3,1 +3 -1')
  await setIsr(cluster, 't', [1, 2, 3])
  await cluster.until('it is done', async () => (await replicas(cluster, 't')) === '2,3')
  await cluster.untilAgreed()
  // What is left must have the records.
  assert.equal(await reassign(cluster, 't', [1]), 'NONE')
  await setIsr(cluster, 't', [2])
  await cluster.kill(3)
  await cluster.untilAgreed()
  assert.equal(await reassign(cluster, 't', null), 'NONE')
  await cluster.untilAgreed()
})

test('only the order of the replicas changes', async () => {
  const cluster = await start(2)
  await cluster.createTopic('t', [[1, 2]])
  assert.equal(await reassign(cluster, 't', [2, 1]), 'NONE')
  assert.equal(await replicas(cluster, 't'), '2,1')
  await cluster.untilAgreed()
})

test('a controller that takes over goes on with a move', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2]])
  await reassign(cluster, 't', [2, 3])
  await cluster.active.stop()
  await cluster.elect(2)
  assert.equal(await listed(cluster), 't-0 2,3,1 +3 -1')
  await setIsr(cluster, 't', [1, 2, 3])
  await cluster.until('it is done', async () => (await replicas(cluster, 't')) === '2,3')
  await cluster.untilAgreed()
})

test('what old tools write into the registry is done and taken away', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2]])
  const { registry } = cluster
  await registry.requestReassignment([
    { topic: 't', partition: 0, replicas: [3, 1] },
    { topic: 'none', partition: 0, replicas: [1] },
  ])
  await cluster.until('it has begun', async () => (await replicas(cluster, 't')).endsWith('moving'))
  assert.notEqual(await registry.reassignmentRequest(), null)
  await setIsr(cluster, 't', [1, 2, 3])
  await cluster.until('it is gone', async () => (await registry.reassignmentRequest()) === null)
  assert.equal(await replicas(cluster, 't'), '3,1')
  await cluster.kill(3)
  await cluster.revive(3)
  await cluster.untilAgreed()
  await setIsr(cluster, 't', [1, 3])
  await registry.requestPreferredElection([{ topic: 't', partition: 0 }])
  await cluster.until('it leads', async () => (await cluster.state('t')).startsWith('3/'))
  await cluster.until(
    'it is gone',
    async () => (await registry.preferredElectionRequest()) === null,
  )
  const old = {
    name: 'old',
    topicId: null,
    partitions: [
      [1, 3],
      [2, 1],
    ],
  }
  const nothing = { addingReplicas: new Map(), removingReplicas: new Map() }
  await registry.createTopic({ ...old, ...nothing })
  await cluster.until('it is led', () => cluster.broker(2).leadership.has('old-1'))
  await cluster.untilAgreed()
  const made = await registry.topic('old')
  assert.match(made?.value.topicId ?? '', /^[\w-]{22}$/)
  // A tool that knows no ids adds a partition.
  const partitions = [...(made?.value.partitions ?? []), [3, 2]]
  await registry.updateTopic({ ...old, ...nothing, partitions }, made?.version ?? 0)
  await cluster.untilState('3/0 3,2', 'old', 2)
  await cluster.untilAgreed()
  assert.equal((await registry.topic('old'))?.value.topicId, made?.value.topicId)
})

test('elections that are asked for: preferred, unclean, all of them', async () => {
  const cluster = await start(3)
  await cluster.createTopic('a', [
    [1, 2],
    [2, 1],
  ])
  await cluster.createTopic('b', [[3]])
  await cluster.kill(1)
  await cluster.kill(3)
  await cluster.untilState('-1/1 3', 'b')
  await cluster.revive(1)
  await cluster.untilAgreed()
  const elect = async (electionType: number, topic: string | null, partition = 0) => {
    const topicPartitions = topic === null ? null : [{ topic, partitions: [partition] }]
    const answer = await cluster.settled(
      cluster.active.electLeaders({ electionType, topicPartitions, timeoutMs: 1000 }),
    )
    assert.equal(answer.errorCode, ErrorCode.NONE)
    return answer.replicaElectionResults
      .flatMap((one) =>
        one.partitionResult.map(
          ({ partitionId, errorCode }) => `${one.topic}-${partitionId} ${errorName(errorCode)}`,
        ),
      )
      .join('; ')
  }
  assert.equal(await elect(0, 'none'), 'none-0 UNKNOWN_TOPIC_OR_PARTITION')
  assert.equal(await elect(0, 'a', 1), 'a-1 ELECTION_NOT_NEEDED')
  assert.equal(await elect(0, 'a'), 'a-0 PREFERRED_LEADER_NOT_AVAILABLE')
  await setIsr(cluster, 'a', [2, 1])
  assert.equal(await elect(0, null), 'a-0 NONE; b-0 PREFERRED_LEADER_NOT_AVAILABLE')
  assert.equal(await cluster.state('a'), '1/2 2,1')
  assert.equal(await elect(1, 'a'), 'a-0 ELECTION_NOT_NEEDED')
  assert.equal(await elect(1, 'b'), 'b-0 ELIGIBLE_LEADERS_NOT_AVAILABLE')
  await cluster.createTopic('c', [[1, 2]])
  await cluster.kill(2)
  await cluster.untilState('1/1 1', 'c')
  await cluster.kill(1)
  await cluster.untilState('-1/2 1', 'c')
  await cluster.revive(2)
  await cluster.until('it is back', () => cluster.broker(2).leadership.has('c-0'))
  assert.equal(await cluster.state('c'), '-1/2 1')
  assert.equal(await elect(1, 'c'), 'c-0 NONE')
  assert.equal(await cluster.state('c'), '2/3 2 recovering')
  assert.equal(cluster.broker(2).leadership.get('c-0')?.leaderRecoveryState, 1)
})

test('a topic that allows it gets an unclean leader at once', async () => {
  const cluster = await start(2)
  await cluster.createTopic('t', [[1, 2]], { 'unclean.leader.election.enable': 'true' })
  await cluster.kill(2)
  await cluster.untilState('1/1 1', 't')
  await cluster.revive(2)
  await cluster.untilAgreed()
  await cluster.kill(1)
  await cluster.untilState('2/2 2 recovering', 't')
})

test('leaderships return to the preferred replicas by themselves', async () => {
  const cluster = await startUnbalanced({ 'auto.leader.rebalance.enable': 'true' })
  cluster.clock.advance(5000)
  cluster.clock.advance(300_000)
  await cluster.untilState('1/2 2,1', 't')
})

/** Broker 2 leads, broker 1 is preferred and in sync; broker 3 is the controller. */
async function startUnbalanced(properties: Record<string, string> = {}): Promise<TestCluster> {
  const cluster = await start(0, properties)
  for (const id of [1, 2, 3]) await cluster.register(id)
  await cluster.elect(3)
  await cluster.createTopic('t', [[1, 2]])
  await cluster.kill(1)
  await cluster.untilState('2/1 2', 't')
  await cluster.revive(1)
  await cluster.untilAgreed()
  await setIsr(cluster, 't', [2, 1])
  return cluster
}

/** Time passes in steps that connections can keep up with. */
async function pass(cluster: TestCluster, forMs: number): Promise<void> {
  const endMs = cluster.clock.monotonicMs() + forMs
  await cluster.until('the time is over', () => {
    cluster.clock.advance(100)
    return cluster.clock.monotonicMs() >= endMs
  })
}

async function electPreferred(cluster: TestCluster): Promise<string> {
  const topicPartitions = [{ topic: 't', partitions: [0] }]
  const { replicaElectionResults } = await cluster.settled(
    cluster.active.electLeaders({ electionType: 0, topicPartitions, timeoutMs: 1000 }),
  )
  return errorName(replicaElectionResults[0]?.partitionResult[0]?.errorCode ?? -1)
}

const BALANCING = {
  'auto.leader.rebalance.enable': 'true',
  'leader.imbalance.check.interval.seconds': '10',
}

test('a broker that has died and is not known to be dead gets no leaderships', async () => {
  const cluster = await startUnbalanced(BALANCING)
  cluster.broker(1).isReachable = false
  cluster.broker(1).breakLinks()
  assert.equal(await electPreferred(cluster), 'PREFERRED_LEADER_NOT_AVAILABLE')
  await pass(cluster, 30_000)
  assert.equal(await cluster.state('t'), '2/1 2,1')
  assert.deepEqual([...new Set(cluster.suspects)], [1])
  // Another one listens there by now.
  cluster.broker(1).isReachable = true
  cluster.broker(1).brokerEpoch += 1
  await pass(cluster, 30_000)
  assert.equal(await electPreferred(cluster), 'PREFERRED_LEADER_NOT_AVAILABLE')
  assert.equal(await cluster.state('t'), '2/1 2,1')
  cluster.broker(1).brokerEpoch -= 1
  await cluster.untilState('1/2 2,1', 't')
})

test('a broker that does not answer gets no leaderships', async () => {
  const cluster = await startUnbalanced(BALANCING)
  let release = (): void => undefined
  cluster.broker(1).gate = new Promise((resolve) => {
    release = resolve
  })
  await cluster.createTopic('other', [[2]])
  await pass(cluster, 30_000)
  assert.equal(await electPreferred(cluster), 'PREFERRED_LEADER_NOT_AVAILABLE')
  assert.equal(await cluster.state('t'), '2/1 2,1')
  release()
  await cluster.untilState('1/2 2,1', 't')
})

test('an election that was asked for waits for the connections of a new controller', async () => {
  const cluster = await startUnbalanced()
  let release = (): void => undefined
  cluster.broker(1).gate = new Promise((resolve) => {
    release = resolve
  })
  await cluster.depose()
  await cluster.until('broker 3 is deposed', () => !cluster.controllers[0]?.isActive)
  await cluster.registry.requestPreferredElection([{ topic: 't', partition: 0 }])
  await cluster.until('there is a controller', () => cluster.controllers[0]?.isActive ?? false)
  release()
  await cluster.untilState('1/2 2,1', 't')
})

test('a log that cannot be used has another replica lead, or is told', async () => {
  const cluster = await start(2)
  await cluster.createTopic('t', [[1, 2]])
  cluster.broker(1).broken.add('t-0')
  await cluster.registry.announceLogDirFailure(1)
  await cluster.untilState('2/1 2', 't')
  await cluster.until(
    'it is told',
    () => cluster.broker(2).metadata.get('t-0')?.offlineReplicas.join() === '1',
  )
  cluster.broker(1).broken.add('u-0')
  assert.equal(errorName(await cluster.createTopic('u', [[1]])), 'KAFKA_STORAGE_ERROR')
  assert.equal(errorName(await cluster.createTopic('v', [[2]])), 'NONE')
  await cluster.until(
    'it is taken back',
    async () => (await cluster.registry.topicNames()).join() === 't,v',
  )
  assert.equal(errorName(await cluster.createTopic('u', [[2]])), 'NONE')
})

test('a broker that does not answer holds up nobody, and learns only the last state', async () => {
  const cluster = await start(3)
  let release = (): void => undefined
  cluster.broker(3).gate = new Promise((resolve) => {
    release = resolve
  })
  await cluster.createTopic('t', [[1, 2, 3]])
  for (let i = 0; i < 20; i++) {
    const entry = await cluster.registry.partitionState('t', 0)
    await setIsr(cluster, 't', entry?.value.isr.includes(2) ? [1, 3] : [1, 2, 3])
    assert.equal(await cluster.createTopic(`t${i}`, [[1, 2]]), ErrorCode.NONE)
  }
  const before = cluster.broker(3).requests.length
  release()
  await cluster.untilAgreed()
  const requests = cluster.broker(3).requests.slice(before)
  assert.ok(requests.length <= 6, requests.join('; '))
  assert.deepEqual(cluster.suspects, [])
  cluster.broker(3).breakLinks()
  assert.deepEqual(cluster.suspects, [3])
})

test('a broker that registers anew at once is one that was gone', async () => {
  const cluster = await start(3)
  await cluster.createTopic('t', [[1, 2, 3]])
  cluster.broker(1).restart()
  await cluster.registry.unregisterBroker(1)
  await cluster.register(1)
  await cluster.untilState('2/1 2,3', 't')
  await cluster.untilAgreed()
  const last = cluster.broker(1).leaderAndIsrs.at(-1)
  assert.equal(last?.brokerEpoch, cluster.broker(1).brokerEpoch)
})

test('a controller that does not know yet that it was deposed writes nothing', async () => {
  const changes: ((cluster: TestCluster, old: Controller) => Promise<unknown>)[] = [
    (_, old) => old.createTopics([newTopic('u')], { timeoutMs: 1000, validateOnly: false }),
    (_, old) => old.deleteTopics(['t'], 1000),
    (_, old) =>
      old.createPartitions([{ name: 't', count: 2, assignments: null }], {
        ...{ timeoutMs: 1000, validateOnly: false },
      }),
    (cluster) => cluster.kill(1),
    (cluster, old) =>
      old.controlledShutdown({ brokerId: 1, brokerEpoch: cluster.broker(1).brokerEpoch }),
    (_, old) => old.electLeaders({ electionType: 0, topicPartitions: null, timeoutMs: 1000 }),
    (_, old) =>
      old.alterPartitionReassignments({
        timeoutMs: 1000,
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, replicas: [2] }] }],
      }),
  ]
  for (const change of changes) {
    const store = await EmbeddedNodeStore.open({
      ...{ directory: '/data', logger: silentLogger, files: new MemoryFiles() },
    })
    const deaf = new FaultyStore(store)
    const cluster = await start(0, {}, { registry: new NodeRegistry({ store }) })
    for (const id of [1, 2]) await cluster.register(id)
    const old = await cluster.elect(1, new NodeRegistry({ store: deaf }))
    await cluster.createTopic('t', [[2, 1]])
    await cluster.kill(2)
    await cluster.untilState('1/1 1', 't')
    await cluster.revive(2)
    await cluster.untilAgreed()
    await setIsr(cluster, 't', [1, 2])
    deaf.deafTo = '/controller'
    await cluster.depose()
    assert.equal(await cluster.registry.electController({ brokerId: 2, timestampMs: 1 }), 2)
    assert.ok(old.isActive)
    await cluster.settled(change(cluster, old)).catch((error: unknown) => {
      assert.ok(error instanceof KafkaError && error.errorCode === ErrorCode.NOT_CONTROLLER)
    })
    await cluster.until('it has noticed', () => !old.isActive || deaf.writes === 0)
    assert.deepEqual(await cluster.registry.topicNames(), ['t'])
    assert.deepEqual(await cluster.registry.topicDeletions(), [])
    assert.deepEqual(await replicas(cluster, 't'), '2,1')
    assert.equal(await cluster.state('t'), '1/1 1,2')
  }
})

function newTopic(name: string): NewTopic {
  return { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
}

test('blocks of producer ids follow each other', async () => {
  const cluster = await start(1)
  const allocate = async (brokerEpoch: number, brokerId = 1) => {
    const answer = await cluster.settled(
      cluster.active.allocateProducerIds({ brokerId, brokerEpoch }),
    )
    return answer.errorCode === ErrorCode.NONE
      ? `${answer.producerIdStart}+${answer.producerIdLen}`
      : errorName(answer.errorCode)
  }
  const { brokerEpoch } = cluster.broker(1)
  const first = cluster.clock.nowMs()
  const [, block] = [await allocate(0), await allocate(brokerEpoch)]
  const begin = Number(block.split('+')[0])
  assert.ok(begin >= first)
  assert.equal(await allocate(brokerEpoch), `${begin + 1000}+1000`)
  assert.equal(await allocate(0), 'STALE_BROKER_EPOCH')
  assert.equal(await allocate(1, 7), 'BROKER_ID_NOT_REGISTERED')
})
