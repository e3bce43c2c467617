/**
 * A controller may stop after any of its writes, be refused any of them, or lose the answer to any:
 * everything it has to do is done in the end, by itself or by the next controller.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Controller } from '../../src/controller/controller.ts'
import { KafkaError } from '../../src/protocol/error-codes.ts'
import { RegistryError } from '../../src/registry/cluster-registry.ts'
import { EmbeddedNodeStore } from '../../src/registry/embedded/embedded-node-store.ts'
import { NodeRegistry } from '../../src/registry/node-registry.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'
import { FaultyStore, type StoreFault } from './faulty-store.ts'
import { TestCluster } from './test-cluster.ts'

/** What is left of it may fail: the controller that is asked may be the one that has crashed. */
async function attempt(cluster: TestCluster, action: () => Promise<unknown>): Promise<void> {
  try {
    let isDone = false
    const done = action().finally(() => {
      isDone = true
    })
    done.catch(() => undefined) // It is awaited below, or given up.
    for (let i = 0; i < 400 && !isDone; i++) {
      await turn()
      if (i > 10) cluster.clock.advance(20)
    }
    if (isDone) await done
  } catch (error) {
    if (!(error instanceof KafkaError) && !(error instanceof RegistryError)) throw error
  }
}

function createTopic(controller: Controller, name: string, assignment: number[][]) {
  const assignments = assignment.map((brokerIds, partitionIndex) => ({ partitionIndex, brokerIds }))
  const topic = { name, numPartitions: -1, replicationFactor: -1, assignments, configs: [] }
  return controller.createTopics([topic], { timeoutMs: 2000, validateOnly: false })
}

function reassign(controller: Controller, topic: string, replicas: number[]) {
  const partitions = [{ partitionIndex: 0, replicas }]
  return controller.alterPartitionReassignments({
    timeoutMs: 1000,
    topics: [{ name: topic, partitions }],
  })
}

/** Leaders take every live replica into their ISRs, as if it had caught up. */
async function catchUp(cluster: TestCluster, controller: Controller): Promise<void> {
  const { registry } = cluster
  const live = new Map((await registry.brokers()).map((one) => [one.brokerId, one.brokerEpoch]))
  for (const name of await registry.topicNames()) {
    const topic = await registry.topic(name)
    for (const entry of await registry.partitionStates(name)) {
      const { leader, leaderEpoch, isr } = entry.value
      const replicas = topic?.value.partitions[entry.partition] ?? []
      const brokerEpoch = live.get(leader)
      const caughtUp = replicas.filter((id) => live.has(id))
      if (brokerEpoch === undefined || caughtUp.every((id) => isr.includes(id))) continue
      const newIsrWithEpochs = caughtUp.map((id) => ({
        brokerId: id,
        brokerEpoch: live.get(id) ?? -1,
      }))
      const partition = {
        ...{ partitionIndex: entry.partition, leaderEpoch, newIsr: [], newIsrWithEpochs },
        ...{ leaderRecoveryState: 0, partitionEpoch: entry.version },
      }
      const topicId = topic?.value.topicId ?? ''
      const topics = [{ topicName: name, topicId, partitions: [partition] }]
      await controller.alterPartition({ brokerId: leader, brokerEpoch, topics })
    }
  }
}

/** A bit of everything that a controller does. */
async function script(cluster: TestCluster, controller: Controller): Promise<void> {
  await attempt(cluster, () =>
    createTopic(controller, 'a', [
      [1, 2],
      [2, 3],
    ]),
  )
  await attempt(cluster, () =>
    createTopic(controller, 'b', [
      [3, 1],
      [1, 2],
    ]),
  )
  await cluster.kill(2)
  await attempt(cluster, () =>
    controller.createPartitions([{ name: 'b', count: 3, assignments: [{ brokerIds: [3, 1] }] }], {
      timeoutMs: 2000,
      validateOnly: false,
    }),
  )
  await cluster.revive(2)
  await attempt(cluster, () => catchUp(cluster, controller))
  await attempt(cluster, () => reassign(controller, 'a', [3, 2]))
  await attempt(cluster, () => catchUp(cluster, controller))
  await attempt(cluster, () => controller.deleteTopics(['b'], 2000))
  await attempt(cluster, () =>
    controller.controlledShutdown({
      brokerId: 3,
      brokerEpoch: cluster.broker(3).brokerEpoch,
    }),
  )
  await cluster.kill(3)
  await cluster.revive(3)
  await cluster.registry.requestPreferredElection([{ topic: 'a', partition: 0 }])
  await cluster.registry.createTopic({
    ...{ name: 'old', topicId: null, partitions: [[2, 1]] },
    ...{ addingReplicas: new Map(), removingReplicas: new Map() },
  })
  await attempt(cluster, () => createTopic(controller, 'c', [[1]]))
}

async function run(fault: StoreFault | null): Promise<number> {
  const store = await EmbeddedNodeStore.open({
    ...{ directory: '/data', logger: silentLogger, files: new MemoryFiles() },
  })
  const faulty = new FaultyStore(store)
  const cluster = await TestCluster.start(0, {}, { registry: new NodeRegistry({ store }) })
  try {
    for (const id of [1, 2, 3]) await cluster.register(id)
    const first = await cluster.elect(1, new NodeRegistry({ store: faulty }))
    await cluster.until('it has read everything', () => cluster.broker(3).requests.length > 0)
    const writes = faulty.writes
    if (fault) faulty.fault = { ...fault, write: fault.write + writes }
    await script(cluster, first)
    let last = first
    if (fault?.kind === 'crash') {
      await cluster.depose()
      last = await cluster.elect(2)
    }
    await cluster.until('everything to be done', async () => {
      await catchUp(cluster, last)
      return (await cluster.disagreement()) === null && (await unfinished(cluster)) === null
    })
    if (fault === null) {
      assert.deepEqual(await cluster.registry.topicNames(), ['a', 'c', 'old'])
      assert.deepEqual((await cluster.registry.topic('a'))?.value.partitions[0], [3, 2])
    }
    return faulty.writes - writes
  } catch (error) {
    const wrong = (await cluster.disagreement()) ?? (await unfinished(cluster))
    throw new Error(`with ${JSON.stringify(fault)}: ${wrong}`, { cause: error })
  } finally {
    await cluster.close()
  }
}

/** What was asked for and is not done. */
async function unfinished({ registry }: TestCluster): Promise<string | null> {
  if ((await registry.topicDeletions()).length > 0) return 'a deletion'
  if ((await registry.preferredElectionRequest()) !== null) return 'a preferred election'
  for (const name of await registry.topicNames()) {
    const topic = (await registry.topic(name))?.value
    if (topic && topic.addingReplicas.size + topic.removingReplicas.size > 0) {
      return `a reassignment of ${name}`
    }
  }
  return null
}

const writes = await run(null)

test('the script makes many writes', () => {
  assert.ok(writes > 40, String(writes))
})

for (const kind of ['crash', 'refuse', 'lose'] as const) {
  test(`any of the writes: ${kind}`, async () => {
    for (let write = 1; write <= writes; write++) await run({ kind, write })
  })
}
