/**
 * What brokers answer for partitions that they do not lead: the errors and their order in every
 * version, who leads instead (KIP-951), and offsets right after an election (KIP-207).
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { buildBatch } from '../../src/log/record-format.ts'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { DataPath, position, replicaFetch, topicIdOf } from './data-path.ts'
import { versionsOf } from './test-services.ts'

const records = buildBatch([{ timestamp: 1, key: null, value: Buffer.from('a') }], 0)

/** A broker that leads `led`, follows in `followed` and knows of `elsewhere`. */
async function start(t: TestContext) {
  const path = await DataPath.start(t)
  await path.open('led', { role: { leaderEpoch: 5 } })
  const [followed] = await path.open('followed', { role: { leaderEpoch: 4 } })
  assert.ok(followed)
  await path.append(followed, 'a')
  await path.follow(followed, 3, 5)
  path.elsewhere('elsewhere')
  return { path, followed, client: await path.connect() }
}

async function produce(
  client: WireClient,
  version: number,
  topic: string,
  index = 0,
  sent: Buffer | null = records,
) {
  const answer = await client.send(Produce, version, {
    ...{ acks: 1, timeoutMs: 1000 },
    topicData: [{ name: topic, partitionData: [{ index, records: sent }] }],
  })
  const one = answer.responses[0]?.partitionResponses[0]
  assert.ok(one)
  return { ...one, nodeEndpoints: answer.nodeEndpoints }
}

async function fetch(
  client: WireClient,
  version: number,
  topic: string,
  more: Parameters<typeof position>[1] = {},
  replicaId = -1,
) {
  const partitions = [position(0, { currentLeaderEpoch: -1, ...more })]
  const names = version < 13 ? { topic } : { topicId: topicIdOf(topic) }
  const answer = await client.send(Fetch, version, {
    ...{ maxWaitMs: 0, minBytes: 1, topics: [{ ...names, partitions }] },
    ...(version < 15 ? { replicaId } : { replicaState: { replicaId, replicaEpoch: -1 } }),
  })
  const one = answer.responses[0]?.partitions[0]
  assert.ok(one)
  return { ...one, nodeEndpoints: answer.nodeEndpoints }
}

async function listOffsets(
  client: WireClient,
  version: number,
  name: string,
  more: { timestamp?: number; currentLeaderEpoch?: number; partitionIndex?: number } = {},
  replicaId = -1,
) {
  const wanted = { partitionIndex: 0, timestamp: -1, ...more }
  const answer = await client.send(ListOffsets, version, {
    ...{ replicaId, isolationLevel: 0 },
    topics: [{ name, partitions: [version === 0 ? { ...wanted, maxNumOffsets: 9 } : wanted] }],
  })
  const one = answer.topics[0]?.partitions[0]
  assert.ok(one)
  return one
}

async function endOfEpoch(
  client: WireClient,
  version: number,
  topic: string,
  more: { currentLeaderEpoch?: number; partition?: number } = {},
  replicaId = -1,
) {
  const answer = await client.send(OffsetForLeaderEpoch, version, {
    ...(version < 3 ? {} : { replicaId }),
    topics: [{ topic, partitions: [{ partition: 0, leaderEpoch: 0, ...more }] }],
  })
  const one = answer.topics[0]?.partitions[0]
  assert.ok(one)
  return one
}

async function deleteRecords(client: WireClient, version: number, name: string, offset = 0) {
  const answer = await client.send(DeleteRecords, version, {
    topics: [{ name, partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 1000,
  })
  return answer.topics[0]?.partitions[0]
}

test('only the leader takes records, and others say who it is (KIP-951)', async (t) => {
  const { client } = await start(t)
  for (const version of versionsOf(Produce)) {
    assert.equal((await produce(client, version, 'led')).errorCode, 0)
    assert.equal((await produce(client, version, 'led', 7)).errorCode, 3)
    assert.equal((await produce(client, version, 'unknown')).errorCode, 3)
    const followed = await produce(client, version, 'followed')
    const elsewhere = await produce(client, version, 'elsewhere')
    assert.equal(followed.errorCode, 6)
    assert.equal(elsewhere.errorCode, 6)
    const told = version >= 10
    const nobody = { leaderId: -1, leaderEpoch: -1 }
    assert.deepEqual(followed.currentLeader, told ? { leaderId: 3, leaderEpoch: 5 } : nobody)
    assert.deepEqual(elsewhere.currentLeader, told ? { leaderId: 2, leaderEpoch: 7 } : nobody)
    assert.deepEqual(
      elsewhere.nodeEndpoints,
      told ? [{ nodeId: 2, host: 'broker-2', port: 9002, rack: 'rack-2' }] : [],
    )
  }
})

test('records of the wrong shape are refused as that, whoever leads', async (t) => {
  const { client } = await start(t)
  const empty = Buffer.alloc(0)
  const twice = Buffer.concat([records, records])
  const cut = records.subarray(0, -1)
  const short = Buffer.from(records)
  short.writeInt32BE(5, 8)
  const zstd = Buffer.from(records)
  zstd.writeInt16BE(4, 21)
  for (const version of versionsOf(Produce)) {
    for (const topic of ['followed', 'elsewhere']) {
      const code = async (sent: Buffer | null) =>
        (await produce(client, version, topic, 0, sent)).errorCode
      const isChecked = version >= 3
      for (const sent of [empty, twice, cut]) assert.equal(await code(sent), isChecked ? 87 : 6)
      assert.equal(await code(short), isChecked ? 2 : 6)
      assert.equal(await code(zstd), isChecked && version < 7 ? 76 : 6)
      assert.equal(await code(null), 6)
    }
    assert.equal((await produce(client, version, 'unknown', 0, twice)).errorCode, 3)
  }
})

test('a shard that refuses has the answer say who leads', async (t) => {
  const { path, client } = await start(t)
  const led = path.partition('led')
  // The shard has been told already, the request has seen what was before.
  led.storedLog.follow(9)
  const refused = await produce(client, 11, 'led')
  assert.equal(refused.errorCode, 6)
  assert.equal(refused.currentLeader.leaderId, -1)
  path.metadata.putPartition({
    ...(path.metadata.partition('led', 0) as NonNullable<
      ReturnType<typeof path.metadata.partition>
    >),
    leader: 2,
    leaderEpoch: 9,
  })
  const told = await produce(client, 11, 'led')
  assert.deepEqual(told.currentLeader, { leaderId: 2, leaderEpoch: 9 })
  assert.deepEqual(told.nodeEndpoints, [
    { nodeId: 2, host: 'broker-2', port: 9002, rack: 'rack-2' },
  ])
})

test('consumers are told of errors in order, and read followers from version 11 on', async (t) => {
  const { path, followed, client } = await start(t)
  followed.storedLog.moveHighWatermark(1, 5)
  await until('the follower to know', () => followed.highWatermark === 1)
  for (const version of versionsOf(Fetch)) {
    const ask = (topic: string, more: Parameters<typeof position>[1] = {}, replicaId?: number) =>
      fetch(client, version, topic, more, replicaId)
    assert.equal((await ask('led')).errorCode, 0)
    assert.equal((await ask('led', { partition: 7 })).errorCode, 3)
    assert.equal((await ask('unknown')).errorCode, version < 13 ? 3 : 100)
    const elsewhere = await ask('elsewhere')
    assert.equal(elsewhere.errorCode, 6)
    const hasLeader = version >= 12
    assert.deepEqual(
      elsewhere.currentLeader,
      hasLeader ? { leaderId: 2, leaderEpoch: 7 } : { leaderId: -1, leaderEpoch: -1 },
    )
    assert.equal(elsewhere.nodeEndpoints.length, version >= 16 ? 1 : 0)
    const read = await ask('followed')
    assert.equal(read.errorCode, version >= 11 ? 0 : 6)
    assert.equal((read.records?.bytes ?? 0) > 0, version >= 11)
    // Of who looks at logs as they are, and of who says that it is a replica.
    for (const replicaId of [-2, 3]) {
      assert.equal((await ask('followed', {}, replicaId)).errorCode, version >= 11 ? 0 : 6)
    }
    if (version < 9) continue
    for (const topic of ['led', 'followed']) {
      const fenced = await ask(topic, { currentLeaderEpoch: 4, fetchOffset: 99 })
      assert.equal(fenced.errorCode, 74)
      assert.equal(fenced.currentLeader.leaderEpoch, hasLeader ? 5 : -1)
      assert.equal((await ask(topic, { currentLeaderEpoch: 6 })).errorCode, 75)
    }
  }
  // Above the high watermark there is nothing to read, and behind the end no offset.
  assert.equal((await fetch(client, 17, 'followed', { fetchOffset: 1 })).errorCode, 0)
  assert.equal((await fetch(client, 17, 'followed', { fetchOffset: 2 })).errorCode, 1)
  path.replicas.stopLeading()
  for (const topic of ['led', 'followed']) {
    const lost = await fetch(client, 17, topic)
    assert.equal(lost.errorCode, 6)
    // It is not one to send others to itself.
    assert.notEqual(lost.currentLeader.leaderId, 1)
  }
  assert.equal((await produce(client, 11, 'led')).errorCode, 6)
})

test('consumers learn where the log went another way', async (t) => {
  const { path, client } = await start(t)
  const led = path.partition('led')
  await path.append(led, 'a')
  await path.lead(led, { leaderEpoch: 8, replicas: [1] })
  const asked = { currentLeaderEpoch: 8, fetchOffset: 2, lastFetchedEpoch: 7 }
  for (const version of [12, 17]) {
    const one = await fetch(client, version, 'led', asked)
    assert.equal(one.errorCode, 0)
    assert.deepEqual(one.divergingEpoch, { epoch: 5, endOffset: 1 })
    const beyond = await fetch(client, version, 'led', { ...asked, lastFetchedEpoch: 9 })
    assert.equal(beyond.errorCode, 1)
  }
})

test('a parked fetch of a consumer is answered when the role changes', async (t) => {
  const { path, client } = await start(t)
  const parked = client.send(Fetch, 17, {
    ...{ maxWaitMs: 60_000, minBytes: 1 },
    topics: [{ topicId: topicIdOf('led'), partitions: [position(0, { currentLeaderEpoch: 5 })] }],
  })
  await until('it to be parked', () => path.purgatory.size === 1)
  await path.follow(path.partition('led'), 2, 6)
  const one = (await parked).responses[0]?.partitions[0]
  assert.equal(one?.errorCode, 74)
  assert.deepEqual(one?.currentLeader, { leaderId: 2, leaderEpoch: 6 })
})

test('offsets are asked of leaders, and of any replica by who looks at logs', async (t) => {
  const { path, client } = await start(t)
  const led = path.partition('led')
  await path.append(led, 'a')
  await until('it to be appended', () => led.logEnd === 1)
  for (const version of versionsOf(ListOffsets)) {
    const ask = (topic: string, more: Parameters<typeof listOffsets>[3] = {}, replicaId?: number) =>
      listOffsets(client, version, topic, more, replicaId)
    const offsetOf = (one: Awaited<ReturnType<typeof ask>>) =>
      version === 0 ? one.oldStyleOffsets[0] : one.offset
    assert.equal((await ask('unknown')).errorCode, 3)
    assert.equal((await ask('led', { partitionIndex: 7 })).errorCode, 3)
    assert.equal((await ask('elsewhere')).errorCode, 6)
    assert.equal((await ask('followed')).errorCode, 6)
    assert.equal((await ask('followed', {}, 3)).errorCode, 6)
    const asIs = await ask('followed', {}, -2)
    assert.deepEqual([asIs.errorCode, offsetOf(asIs)], [0, 1])
    // The high watermark for consumers, the log end for replicas.
    assert.equal(offsetOf(await ask('led')), 0)
    assert.equal(offsetOf(await ask('led', {}, 2)), 1)
    path.isFromBroker = false
    assert.equal(offsetOf(await ask('led', {}, 2)), 0)
    path.isFromBroker = true
    if (version < 1) continue
    assert.equal((await ask('unknown', { timestamp: -9 })).errorCode, 35)
    if (version < 4) continue
    assert.equal((await ask('followed', { currentLeaderEpoch: 4 })).errorCode, 74)
    assert.equal((await ask('followed', { currentLeaderEpoch: 6 })).errorCode, 75)
  }
})

test('a new leader tells no end before it knows what is committed', async (t) => {
  const { path, client } = await start(t)
  const led = path.partition('led')
  await path.append(led, 'a')
  await path.lead(led, { leaderEpoch: 6 })
  for (const version of versionsOf(ListOffsets)) {
    const notYet = version === 0 ? 0 : version < 5 ? 5 : 78
    assert.equal((await listOffsets(client, version, 'led')).errorCode, notYet)
    assert.equal((await listOffsets(client, version, 'led', { timestamp: -2 })).errorCode, 0)
    assert.equal((await listOffsets(client, version, 'led', {}, 2)).errorCode, 0)
    if (version < 1) continue
    assert.equal((await listOffsets(client, version, 'led', { timestamp: 1 })).errorCode, notYet)
    if (version < 7) continue
    assert.equal((await listOffsets(client, version, 'led', { timestamp: -3 })).errorCode, notYet)
  }
  for (const replicaId of [2, 3]) {
    const fetched = replicaFetch({
      ...{ topic: 'led', replicaId, partitions: [position(1, { currentLeaderEpoch: 6 })] },
    })
    await client.send(Fetch, 17, fetched)
  }
  await until('it to be committed', () => led.highWatermark === 1)
  const known = await listOffsets(client, 9, 'led')
  assert.deepEqual([known.errorCode, known.offset, known.leaderEpoch], [0, 1, 6])
  assert.equal((await listOffsets(client, 9, 'led', { timestamp: 1 })).offset, 0)
})

test('the end of an epoch is asked of leaders', async (t) => {
  const { client } = await start(t)
  for (const version of versionsOf(OffsetForLeaderEpoch)) {
    const codes = []
    for (const topic of ['led', 'followed', 'elsewhere', 'unknown']) {
      codes.push((await endOfEpoch(client, version, topic)).errorCode)
    }
    assert.deepEqual(codes, [0, 6, 6, 3])
    assert.equal((await endOfEpoch(client, version, 'led', { partition: 7 })).errorCode, 3)
    for (const replicaId of version < 3 ? [] : [-2, 2]) {
      assert.equal((await endOfEpoch(client, version, 'followed', {}, replicaId)).errorCode, 6)
    }
    if (version < 2) continue
    const at = (currentLeaderEpoch: number) =>
      endOfEpoch(client, version, 'followed', { currentLeaderEpoch })
    assert.deepEqual([(await at(4)).errorCode, (await at(5)).errorCode], [74, 6])
    assert.equal((await at(6)).errorCode, 75)
  }
})

test('records are deleted by leaders, and on every replica', async (t) => {
  const path = await DataPath.start(t, { highWatermarkDelayMs: 5 })
  const [led] = await path.open('t', { role: { replicas: [1, 2] } })
  const [followed] = await path.open('followed')
  assert.ok(led)
  assert.ok(followed)
  await path.follow(followed, 3, 5)
  path.elsewhere('elsewhere')
  path.elsewhere('__consumer_offsets')
  const client = await path.connect()
  for (const version of versionsOf(DeleteRecords)) {
    const codes = []
    for (const topic of ['followed', 'elsewhere', 'unknown', '__consumer_offsets']) {
      codes.push((await deleteRecords(client, version, topic))?.errorCode)
    }
    assert.deepEqual(codes, [6, 6, 3, 17])
    assert.equal((await deleteRecords(client, version, 't', 9))?.errorCode, 1)
  }
  await path.append(led, 'a')
  const replica = await path.connect()
  const created = await replica.send(Fetch, 17, replicaFetch({ partitions: [position(1)] }))
  const { sessionId } = created
  await until('it to be committed', () => led.highWatermark === 1)
  const told = await replica.send(Fetch, 17, replicaFetch({ sessionId, sessionEpoch: 1 }))
  assert.equal(told.responses[0]?.partitions[0]?.highWatermark, 1)
  const parked = replica.send(Fetch, 17, replicaFetch({ sessionId, sessionEpoch: 2 }))
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  const deleted = deleteRecords(client, 2, 't', -1)
  // The follower hears of it soon, and tells with its next fetch that it has followed.
  assert.equal((await parked).responses[0]?.partitions[0]?.logStartOffset, 1)
  const partitions = [position(1, { logStartOffset: 1 })]
  void replica.send(Fetch, 17, replicaFetch({ sessionId, sessionEpoch: 3, partitions }))
  assert.deepEqual(await deleted, { partitionIndex: 0, lowWatermark: 1, errorCode: 0 })
})
