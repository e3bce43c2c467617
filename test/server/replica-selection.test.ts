/** From which replica consumers read (KIP-392): who is sent where, and when nobody is. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { DataPath, position, replicaFetch, topicIdOf } from './data-path.ts'

async function consume(
  client: WireClient,
  rackId: string,
  more: { fetchOffset?: number; version?: number; maxWaitMs?: number; replicaId?: number } = {},
) {
  const { fetchOffset = 0, version = 17, maxWaitMs = 0, replicaId = -1 } = more
  const partitions = [position(fetchOffset)]
  const answer = await client.send(Fetch, version, {
    ...{ maxWaitMs, minBytes: 1 },
    ...(version < 11 ? {} : { rackId }),
    ...(version < 15 ? { replicaId } : { replicaState: { replicaId, replicaEpoch: -1 } }),
    topics: [version < 13 ? { topic: 't', partitions } : { topicId: topicIdOf('t'), partitions }],
  })
  const one = answer.responses[0]?.partitions[0]
  assert.ok(one)
  assert.equal(one.errorCode, 0)
  return { preferred: one.preferredReadReplica, bytes: one.records?.bytes ?? 0 }
}

/** Replicas 2 and 3 have everything, and this broker leads. */
async function start(t: TestContext, hasSelector = true) {
  const path = await DataPath.start(t, { hasSelector })
  const [partition] = await path.open('t')
  assert.ok(partition)
  for (const value of ['a', 'b', 'c']) await path.append(partition, value)
  const tell = async (replicaId: number, fetchOffset: number, logStartOffset = 0) => {
    const follower = await path.connect()
    const partitions = [position(fetchOffset, { logStartOffset })]
    await follower.send(Fetch, 17, replicaFetch({ replicaId, partitions }))
    follower.close()
  }
  await tell(2, 3)
  await tell(3, 3)
  await until('all to be committed', () => partition.highWatermark === 3)
  return { path, partition, tell, client: await path.connect() }
}

test('a consumer is sent to the replica in its rack', async (t) => {
  const { path, client, tell } = await start(t)
  assert.deepEqual(await consume(client, 'rack-2'), { preferred: 2, bytes: 0 })
  assert.deepEqual(await consume(client, 'rack-3', { version: 11 }), { preferred: 3, bytes: 0 })
  // It is told at once, and not when there are records.
  const waiting = { fetchOffset: 3, maxWaitMs: 60_000 }
  assert.deepEqual(await consume(client, 'rack-2', waiting), { preferred: 2, bytes: 0 })
  for (const rackId of ['rack-1', 'rack-9', '']) {
    const here = await consume(client, rackId)
    assert.equal(here.preferred, -1)
    assert.ok(here.bytes > 0)
  }
  const old = await consume(client, 'rack-2', { version: 10 })
  assert.ok(old.bytes > 0)
  // Whoever says that it is a replica is not sent to another.
  assert.equal((await consume(client, 'rack-2', { replicaId: 3 })).preferred, -1)
  // Not to one that has less, begins later, is out of sync, or is not alive.
  await tell(2, 2)
  assert.equal((await consume(client, 'rack-2', { fetchOffset: 3 })).preferred, -1)
  assert.equal((await consume(client, 'rack-2', { fetchOffset: 2 })).preferred, 2)
  await tell(2, 3, 1)
  assert.equal((await consume(client, 'rack-2')).preferred, -1)
  assert.equal((await consume(client, 'rack-2', { fetchOffset: 1 })).preferred, 2)
  await path.lead(path.partition('t'), { isr: [1, 3] })
  assert.equal((await consume(client, 'rack-2', { fetchOffset: 1 })).preferred, -1)
  assert.equal((await consume(client, 'rack-3')).preferred, 3)
  path.metadata.setBrokers(path.metadata.brokers.filter(({ brokerId }) => brokerId !== 3))
  assert.equal((await consume(client, 'rack-3')).preferred, -1)
})

test('of several replicas in a rack it is the one that has most', async (t) => {
  const { path, client, tell } = await start(t)
  const brokers = path.metadata.brokers.map((one) =>
    one.brokerId === 1 ? one : { ...one, rack: 'near' },
  )
  path.metadata.setBrokers(brokers)
  await tell(2, 2)
  assert.equal((await consume(client, 'near')).preferred, 3)
  await tell(3, 1)
  assert.equal((await consume(client, 'near')).preferred, 2)
})

test('without a selector consumers read from the leader', async (t) => {
  const { client } = await start(t, false)
  const here = await consume(client, 'rack-2')
  assert.equal(here.preferred, -1)
  assert.ok(here.bytes > 0)
})

test('a follower does not send consumers away', async (t) => {
  const { path, client, partition } = await start(t)
  await path.follow(partition, 2, 1 + 1)
  const answer = await client.send(Fetch, 17, {
    ...{ maxWaitMs: 0, minBytes: 1, rackId: 'rack-3' },
    topics: [{ topicId: topicIdOf('t'), partitions: [position(0, { currentLeaderEpoch: 2 })] }],
  })
  const one = answer.responses[0]?.partitions[0]
  assert.deepEqual([one?.errorCode, one?.preferredReadReplica], [0, -1])
  assert.ok((one?.records?.bytes ?? 0) > 0)
})

test('a selector that nobody knows is refused at start', () => {
  const load = (value: string) => loadBrokerConfig(new Map([['replica.selector.class', value]]))
  assert.throws(() => load('com.example.Selector'), /replica\.selector\.class/)
  const known = 'org.apache.kafka.common.replica.RackAwareReplicaSelector'
  assert.equal(load(known).config.replicaSelectorClass, known)
})
