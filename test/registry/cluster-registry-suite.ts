/** What every ClusterRegistry does, whatever store it stands on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ANY_VERSION,
  type BrokerRegistration,
  type ClusterRegistry,
  type ConfigEntity,
  type RegisteredBroker,
  type TopicRegistration,
} from '../../src/registry/cluster-registry.ts'

export interface RegistryUnderTest {
  readonly registry: ClusterRegistry
  /** Another broker's; null if there can be none. */
  readonly other: ClusterRegistry | null
  /** Resolves with what the promise does, after bringing about that it does. */
  settled<T>(promise: Promise<T>): Promise<T>
  until(what: string, condition: () => boolean): Promise<void>
  close(): Promise<void>
}

const STATE = { leader: 1, leaderEpoch: 0, isr: [1, 2], controllerEpoch: 1 }

function broker(brokerId: number, rack: string | null = null): BrokerRegistration {
  const endpoint = { listenerName: 'PLAINTEXT', securityProtocol: 'PLAINTEXT', host: '127.0.0.1' }
  return { brokerId, endpoints: [{ ...endpoint, port: 9092 }], rack, timestampMs: 1 }
}

function topic(name: string, partitions: number[][]): TopicRegistration {
  return {
    name,
    topicId: 'M3BHXrZzQ9GyHIkVQ9Gyhw',
    partitions,
    addingReplicas: new Map([[0, [3]]]),
    removingReplicas: new Map([[0, [1]]]),
  }
}

/** Puts the suite among the tests of the file that calls it. */
export function testClusterRegistry(name: string, open: () => Promise<RegistryUnderTest>): void {
  const check = (what: string, body: (subject: RegistryUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const subject = await open()
      try {
        await body(subject)
      } finally {
        await subject.close()
      }
    })
  }

  check('brokers come and go, and are fenced by their epoch', async (subject) => {
    const { registry, settled, until } = subject
    const heard: string[] = []
    const listed = (brokers: readonly RegisteredBroker[]): string =>
      brokers.map((one) => `${one.brokerId}:${one.rack}`).join()
    registry.watchBrokers((brokers) => heard.push(listed(brokers)))
    const lists = (text: string) => until(text, () => heard.at(-1) === text)
    await lists('')
    const first = await settled(registry.registerBroker(broker(1)))
    assert.ok(first.ok)
    await lists('1:null')
    await settled(registry.registerBroker(broker(10, 'b')))
    await settled(registry.registerBroker(broker(2, 'a')))
    await lists('1:null,2:a,10:b')
    assert.equal(listed(await settled(registry.brokers())), '1:null,2:a,10:b')
    const before = first.brokerEpoch as number
    await settled(registry.unregisterBroker(1))
    await settled(registry.registerBroker(broker(1, 'moved')))
    await lists('1:moved,2:a,10:b')
    await settled(registry.fenceBroker(1, before))
    const now = await settled(registry.broker(1))
    assert.ok(now !== null && now.brokerEpoch > before)
    await settled(registry.fenceBroker(1, now.brokerEpoch))
    await lists('2:a,10:b')
    assert.equal(await settled(registry.broker(1)), null)
    const ids = [
      await settled(registry.createBrokerId(1000)),
      await settled(registry.createBrokerId(1000)),
    ]
    assert.deepEqual(ids, [1001, 1002])
  })

  check('topics are watched, and moved by one conditional write', async (subject) => {
    const { registry, settled, until } = subject
    const names: string[] = []
    const heard: string[] = []
    registry.watchTopicNames((now) => names.push(now.join()))
    registry.watchTopic('orders', (now) => {
      heard.push(now === null ? 'none' : `${JSON.stringify(now.value.partitions)}@${now.version}`)
    })
    await until('none', () => heard.at(-1) === 'none' && names.at(-1) === '')
    const orders = topic('orders', [[1, 2], [2]])
    await settled(registry.createTopic(orders))
    await settled(registry.createTopic(topic('a', [[1]])))
    await until('both', () => names.at(-1) === 'a,orders')
    assert.deepEqual(await settled(registry.topic('orders')), { value: orders, version: 0 })
    const moved = { ...orders, partitions: [[1, 2, 3], [2]], addingReplicas: new Map([[0, [3]]]) }
    assert.equal((await settled(registry.updateTopic(moved, 0))).ok, true)
    assert.equal((await settled(registry.updateTopic(orders, 0))).ok, false)
    await until('the move', () => heard.at(-1) === '[[1,2,3],[2]]@1')
    const deletions: string[] = []
    registry.watchTopicDeletions((now) => deletions.push(now.join()))
    await settled(registry.requestTopicDeletion('orders'))
    await until('the request', () => deletions.at(-1) === 'orders')
    await settled(registry.createPartitionState('orders', 0, STATE))
    await settled(registry.deleteTopic('orders'))
    await settled(registry.deleteTopic('orders'))
    await settled(registry.completeTopicDeletion('orders'))
    await until('it is gone', () => deletions.at(-1) === '' && heard.at(-1) === 'none')
    assert.equal(names.at(-1), 'a')
    assert.deepEqual(await settled(registry.partitionStates('orders')), [])
  })

  check('partition states are written for one controller epoch', async (subject) => {
    const { registry, settled } = subject
    await settled(registry.createTopic(topic('t', [[1, 2], [2, 1], [1]])))
    const epoch = await settled(registry.electController({ brokerId: 1, timestampMs: 1 }))
    assert.equal(epoch, 1)
    const state = { ...STATE, isRecovering: true }
    const created = await settled(
      registry.writePartitionStates(
        [2, 0, 1].map((partition) => ({ topic: 't', partition, state, expectedVersion: null })),
        1,
      ),
    )
    assert.deepEqual(created, Array(3).fill({ ok: true, version: 0 }))
    const updates = [
      { topic: 't', partition: 0, state: STATE, expectedVersion: 0 },
      { topic: 't', partition: 1, state: STATE, expectedVersion: 7 },
      { topic: 't', partition: 2, state: STATE, expectedVersion: null },
      { topic: 't', partition: 9, state: STATE, expectedVersion: 0 },
    ]
    assert.deepEqual(await settled(registry.writePartitionStates(updates, 1)), [
      { ok: true, version: 1 },
      { ok: false, reason: 'version' },
      { ok: false, reason: 'exists' },
      { ok: false, reason: 'missing' },
    ])
    await settled(registry.resignController(1))
    assert.equal(await settled(registry.electController({ brokerId: 1, timestampMs: 1 })), 2)
    await assert.rejects(settled(registry.writePartitionStates(updates, 1)), { kind: 'fenced' })
    const states = await settled(registry.partitionStates('t'))
    assert.deepEqual(
      states.map(({ partition, version, value }) => [partition, version, value]),
      [
        [0, 1, STATE],
        [1, 0, state],
        [2, 0, state],
      ],
    )
  })

  check('one controller at a time, each with an epoch of its own', async (subject) => {
    const { registry, other, settled, until } = subject
    const heard: (number | null)[] = []
    registry.watchController((now) => heard.push(now?.brokerId ?? null))
    await until('none', () => heard.at(-1) === null && heard.length > 0)
    const rival = other ?? registry
    const epochs: number[] = []
    for (let round = 0; round < 10; round++) {
      const elected = await settled(
        Promise.all([
          registry.electController({ brokerId: 1, timestampMs: 1 }),
          rival.electController({ brokerId: 2, timestampMs: 1 }),
        ]),
      )
      const won = elected.filter((epoch) => epoch !== null)
      // Each may hinder the other, so that nobody is elected; never are both.
      assert.ok(won.length <= 1)
      epochs.push(...won)
      const controller = await settled(registry.controller())
      assert.equal(controller !== null, won.length === 1)
      if (controller === null) continue
      assert.equal(controller.brokerId, elected[0] === null ? 2 : 1)
      assert.equal(controller.isThisSession, other === null || controller.brokerId === 1)
      await until('the watch', () => heard.at(-1) === controller.brokerId)
      await settled(rival.fenceController(controller.registrationId))
      await until('it is fenced', () => heard.at(-1) === null)
    }
    assert.ok(epochs.length > 0)
    assert.deepEqual(
      epochs,
      epochs.toSorted((a, b) => a - b),
    )
    assert.equal(new Set(epochs).size, epochs.length)
    assert.ok((await settled(registry.controllerEpoch())) >= (epochs.at(-1) as number))
  })

  check('notes for the controller are told until it is done with them', async (subject) => {
    const { registry, settled, until } = subject
    const changes: string[][] = []
    const failed: number[][] = []
    let ids: string[] = []
    registry.watchIsrChanges((now) => {
      ids = now.map(({ id }) => id)
      changes.push(now.flatMap(({ partitions }) => partitions.map((p) => p.topic + p.partition)))
    })
    registry.watchLogDirEvents((now) => failed.push(now.map(({ brokerId }) => brokerId)))
    await settled(registry.announceIsrChange([{ topic: 'a', partition: 1 }]))
    await settled(
      registry.announceIsrChange([
        { topic: 'b', partition: 0 },
        { topic: 'a', partition: 2 },
      ]),
    )
    await until('three partitions', () => changes.at(-1)?.join() === 'a1,b0,a2')
    await settled(registry.completeIsrChanges(ids))
    await until('none is left', () => changes.at(-1)?.length === 0)
    await settled(registry.announceLogDirFailure(5))
    await until('the failure', () => failed.at(-1)?.[0] === 5)
  })

  check('requests of tools wait until they are completed', async (subject) => {
    const { registry, settled, until } = subject
    const moves: number[] = []
    const elections: number[] = []
    registry.watchReassignmentRequest((now) => moves.push(now?.value.length ?? 0))
    registry.watchPreferredElectionRequest((now) => elections.push(now?.value.length ?? 0))
    const move = { topic: 't', partition: 0, replicas: [2, 3] }
    assert.equal((await settled(registry.requestReassignment([move]))).ok, true)
    assert.equal((await settled(registry.requestReassignment([move]))).ok, false)
    await until('the move', () => moves.at(-1) === 1)
    const asked = await settled(registry.reassignmentRequest())
    assert.deepEqual(asked, { value: [move], version: 0 })
    await settled(registry.completeReassignmentRequest(0))
    await until('it is done', () => moves.at(-1) === 0)
    const partitions = [{ topic: 't', partition: 0 }]
    await settled(registry.requestPreferredElection(partitions))
    await until('the election', () => elections.at(-1) === 1)
    assert.deepEqual((await settled(registry.preferredElectionRequest()))?.value, partitions)
    await settled(registry.completePreferredElectionRequest(0))
    await until('it is held', () => elections.at(-1) === 0)
  })

  check('configs are kept by entity, and changes are announced', async (subject) => {
    const { registry, other, settled, until } = subject
    const entities: ConfigEntity[] = [
      { type: 'topics', name: 'orders' },
      { type: 'brokers', name: null },
      { type: 'clients', name: 'a b/*%' },
    ]
    const heard: ConfigEntity[] = []
    const values = new Map([['retention.ms', '1000']])
    for (const entity of entities) {
      assert.equal((await settled(registry.writeConfig(entity, values, ANY_VERSION))).ok, true)
      await settled(registry.announceConfigChange(entity))
      assert.deepEqual((await settled(registry.config(entity)))?.value, values)
    }
    assert.deepEqual(await settled(registry.configNames('brokers')), [null])
    assert.deepEqual(await settled(registry.configNames('clients')), ['a b/*%'])
    await settled(registry.deleteConfig(entities[0] as ConfigEntity))
    assert.equal(await settled(registry.config(entities[0] as ConfigEntity)), null)
    if (other === null) return
    other.watchConfigChanges((entity) => heard.push(entity))
    await until('what was announced before', () => heard.length === 3)
    await settled(registry.announceConfigChange({ type: 'topics', name: 'late' }))
    await until('the next', () => heard.length === 4)
    assert.deepEqual(heard, [...entities, { type: 'topics', name: 'late' }])
  })

  check('blocks of producer ids are taken one after the other', async ({ registry, settled }) => {
    assert.equal(await settled(registry.producerIdBlock()), null)
    const block = (start: number) => ({ brokerId: 1, start, end: start + 999 })
    const first = await settled(registry.writeProducerIdBlock(block(0), null))
    assert.ok(first.ok)
    assert.equal((await settled(registry.writeProducerIdBlock(block(0), null))).ok, false)
    const next = await settled(registry.writeProducerIdBlock(block(1000), first.version))
    assert.ok(next.ok)
    assert.equal((await settled(registry.writeProducerIdBlock(block(1000), 0))).ok, false)
    assert.deepEqual(await settled(registry.producerIdBlock()), {
      value: block(1000),
      version: next.version,
    })
  })

  check('consumers of the 0.8 era share out partitions', async ({ registry, settled, until }) => {
    const heard: string[] = []
    registry.watchConsumers('g', (ids) => heard.push(ids.join()))
    const consumer = {
      subscription: new Map([['orders', 2]]),
      pattern: 'static',
      timestampMs: 5,
    } as const
    await settled(registry.registerConsumer('g', 'g_host-1', consumer))
    await settled(registry.registerConsumer('g', 'g_host-0', consumer))
    await until('both', () => heard.at(-1) === 'g_host-0,g_host-1')
    const consumers = await settled(registry.consumers('g'))
    assert.deepEqual(
      [...consumers],
      [
        ['g_host-0', consumer],
        ['g_host-1', consumer],
      ],
    )
    const partition = { topic: 'orders', partition: 0 }
    assert.equal(await settled(registry.partitionOwner('g', partition)), null)
    assert.equal((await settled(registry.claimPartition('g', partition, 'g_host-0-0'))).ok, true)
    assert.equal((await settled(registry.claimPartition('g', partition, 'g_host-1-0'))).ok, false)
    assert.equal(await settled(registry.partitionOwner('g', partition)), 'g_host-0-0')
    await settled(registry.releasePartition('g', partition))
    assert.equal((await settled(registry.claimPartition('g', partition, 'g_host-1-0'))).ok, true)
    await settled(registry.unregisterConsumer('g', 'g_host-0'))
    await until('one', () => heard.at(-1) === 'g_host-1')
    for (const [number, offset] of [
      [1, 7],
      [0, 41],
      [0, 42],
    ] as const) {
      await settled(registry.writeConsumerOffset('g', 'orders', number, offset))
    }
    const offsets = await settled(registry.consumerOffsets('g', 'orders'))
    assert.deepEqual(
      [...offsets],
      [
        [0, 42],
        [1, 7],
      ],
    )
    assert.deepEqual(await settled(registry.consumerGroups()), ['g'])
    assert.deepEqual(await settled(registry.consumerTopics('g')), ['orders'])
    await settled(registry.deleteConsumerGroup('g'))
    assert.deepEqual(await settled(registry.consumerGroups()), [])
  })
}
