/**
 * Fetch as replicas send it, on real logs behind a socket: what it commits, what it reads, when it
 * is answered, and what a session of thousands of partitions costs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { Fetch, type FetchResponse } from '../../src/protocol/messages/fetch.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { DataPath, position, type ReplicaFetch, replicaFetch, topicIdOf } from './data-path.ts'

const VERSION = 17

function ask(client: WireClient, fetch: ReplicaFetch): Promise<FetchResponse> {
  return client.send(Fetch, VERSION, replicaFetch(fetch))
}

/** Of each partition of an answer: its number, its error and whether there are records. */
function told(answer: FetchResponse): [number, number, boolean][] {
  return answer.responses.flatMap((topic) =>
    topic.partitions.map((one): [number, number, boolean] => [
      one.partitionIndex,
      one.errorCode,
      (one.records?.bytes ?? 0) > 0,
    ]),
  )
}

function only(answer: FetchResponse) {
  const [one, ...more] = answer.responses.flatMap(({ partitions }) => partitions)
  assert.ok(one)
  assert.equal(more.length, 0)
  return one
}

/** A session of replica 2 with some partitions of `t`, and how to go on in it. */
async function sessionOf(
  path: DataPath,
  partitions: ReplicaFetch['partitions'] = [position(0)],
  replicaId = 2,
) {
  const client = await path.connect()
  const created = await ask(client, { partitions, replicaId })
  const { sessionId } = created
  assert.notEqual(sessionId, 0)
  let sessionEpoch = 0
  const next = (fetch: ReplicaFetch = {}): Promise<FetchResponse> => {
    sessionEpoch += 1
    return ask(client, { ...fetch, sessionId, sessionEpoch, replicaId })
  }
  return { client, created, sessionId, next }
}

for (const threaded of [false, true]) {
  const where = threaded ? 'with a shard thread' : 'on one thread'

  test(`replicas read up to the log end, and what they have is committed, ${where}`, async (t) => {
    const path = await DataPath.start(t, { threaded })
    const [partition] = await path.open('t')
    assert.ok(partition)
    const second = await sessionOf(path)
    const third = await sessionOf(path, [position(0)], 3)
    assert.deepEqual(told(second.created), [[0, 0, false]])
    const parked = second.next()
    await path.append(partition, 'a')
    const woken = await parked
    assert.deepEqual(told(woken), [[0, 0, true]])
    assert.equal(only(woken).highWatermark, 0)
    assert.equal(partition.highWatermark, 0)
    const atEnd = second.next({ partitions: [position(1)] })
    assert.deepEqual(told(await third.next()), [[0, 0, true]])
    assert.equal(partition.highWatermark, 0)
    const alsoAtEnd = third.next({ partitions: [position(1)] })
    await until('what all have to be committed', () => partition.highWatermark === 1)
    await path.append(partition, 'b')
    for (const answer of [await atEnd, await alsoAtEnd]) {
      assert.deepEqual(told(answer), [[0, 0, true]])
      // The record before goes without saying: an answer for it alone was not needed.
      assert.equal(only(answer).highWatermark, 1)
    }
  })
}

test('a high watermark with nothing beside it is told after a while', async (t) => {
  const path = await DataPath.start(t, { highWatermarkDelayMs: 5 })
  const [partition] = await path.open('t')
  assert.ok(partition)
  const second = await sessionOf(path)
  const third = await sessionOf(path, [position(0)], 3)
  await path.append(partition, 'a')
  assert.deepEqual(told(await second.next()), [[0, 0, true]])
  assert.deepEqual(told(await third.next()), [[0, 0, true]])
  const waiting = second.next({ partitions: [position(1)] })
  const answers = await Promise.all([waiting, third.next({ partitions: [position(1)] })])
  for (const answer of answers) {
    assert.deepEqual(told(answer), [[0, 0, false]])
    assert.equal(only(answer).highWatermark, 1)
  }
})

const forgeries: {
  readonly what: string
  readonly version?: number
  readonly replicaId?: number
  readonly replicaEpoch?: number
  readonly isFromBroker?: boolean
  readonly replicas?: readonly number[]
  /** The errors it may be answered with. */
  readonly answer: readonly number[]
}[] = [
  ...[0, 4, 11, 12, 14].map((version) => ({
    what: `the field of version ${version}`,
    version,
    answer: [0],
  })),
  { what: 'an address of nobody', isFromBroker: false, answer: [0] },
  { what: 'the id of the leader', replicaId: 1, answer: [0] },
  { what: 'no epoch', replicaEpoch: -1, answer: [0] },
  { what: 'the id of no broker', replicaId: 9, replicaEpoch: 109, answer: [0] },
  { what: 'an epoch before the present one', replicaEpoch: 55, answer: [6] },
  { what: 'an epoch to come', replicaEpoch: 555, answer: [6] },
  { what: 'a broker that is no replica', replicas: [1, 3], answer: [75] },
]

for (const forgery of forgeries) {
  test(`nobody is a replica by ${forgery.what}`, async (t) => {
    const path = await DataPath.start(t)
    path.isFromBroker = forgery.isFromBroker ?? true
    const replicas = forgery.replicas ?? [1, 2]
    // Replica 2 or 3 is out of sync, and would come in; the other holds what is committed.
    const [partition] = await path.open('t', {
      role: { replicas, isr: [1, replicas[1] as number] },
    })
    const [other] = await path.open('u', { role: { replicas, isr: [1] } })
    assert.ok(partition)
    assert.ok(other)
    await path.append(partition, 'a')
    await path.append(other, 'a')
    const client = await path.connect()
    const version = forgery.version ?? VERSION
    const { replicaId = 2, replicaEpoch = 100 + replicaId, answer } = forgery
    const send = async (topic: string, fetchOffset: number) => {
      const request = replicaFetch({
        ...{ topic, replicaId, replicaEpoch, maxWaitMs: 0 },
        partitions: [position(fetchOffset, { currentLeaderEpoch: -1 })],
      })
      const byName = [{ topic, partitions: [position(fetchOffset, { currentLeaderEpoch: -1 })] }]
      if (version >= 15) return only(await client.send(Fetch, version, request))
      return only(
        await client.send(Fetch, version, {
          ...{ replicaId, maxWaitMs: 0, minBytes: 1 },
          topics: version < 13 ? byName : request.topics,
        }),
      )
    }
    for (const one of [await send('t', 0), await send('t', 1), await send('u', 1)]) {
      assert.ok(answer.includes(one.errorCode), `error ${one.errorCode}`)
      assert.equal(one.records?.bytes ?? 0, 0)
    }
    assert.equal(partition.highWatermark, 0)
    assert.equal(partition.leader?.follower(replicaId)?.logEnd ?? -1, -1)
    assert.equal(partition.leader?.follower(2)?.logEnd ?? -1, -1)
    assert.deepEqual(path.proposals, [])
    assert.equal(other.leader?.follower(2)?.logEnd ?? -1, -1)
  })
}

test('a session of a replica is of its connection, its epoch and no consumer', async (t) => {
  const path = await DataPath.start(t)
  const [partition] = await path.open('t')
  assert.ok(partition)
  const { client, sessionId, next } = await sessionOf(path)
  const stranger = await path.connect()
  const theirs = { sessionId, sessionEpoch: 1 }
  const unknown = ErrorCode.FETCH_SESSION_ID_NOT_FOUND
  assert.equal((await ask(stranger, theirs)).errorCode, unknown)
  assert.equal((await ask(client, { ...theirs, replicaId: 3 })).errorCode, unknown)
  assert.equal((await ask(client, { ...theirs, replicaEpoch: 103 })).errorCode, unknown)
  assert.equal((await ask(client, { ...theirs, replicaId: -1 })).errorCode, unknown)
  assert.equal(
    (await ask(client, { sessionId, sessionEpoch: 9 })).errorCode,
    ErrorCode.INVALID_FETCH_SESSION_EPOCH,
  )
  await path.append(partition, 'a')
  assert.deepEqual(told(await next()), [[0, 0, true]])
  // It registers anew, with an epoch that the follower does not tell yet.
  path.epochs.set(2, 999)
  assert.equal((await next({ partitions: [position(1)] })).errorCode, unknown)
  assert.deepEqual(told(await ask(client, { partitions: [position(1)] })), [[0, 6, false]])
  assert.equal(partition.leader?.follower(2)?.logEnd, 0)
  const known = { partitions: [position(1)], replicaEpoch: 999 }
  assert.deepEqual(told(await ask(client, known)), [[0, 0, false]])
  assert.equal(partition.leader?.follower(2)?.logEnd, 1)
  assert.equal(path.replicaFetch.sessionCount, 1)
  client.close()
  await until('its session to end', () => path.replicaFetch.sessionCount === 0)
})

test('what is wrong with a partition is answered at once, and again until it is right', async (t) => {
  const path = await DataPath.start(t)
  await path.open('t', { partitions: 2 })
  path.elsewhere('elsewhere')
  await path.open('known', {})
  path.forget('known')
  const wrong: [ReplicaFetch, number][] = [
    [{ topic: 'unknown', partitions: [position(0)] }, ErrorCode.UNKNOWN_TOPIC_ID],
    [{ partitions: [position(0, { partition: 7 })] }, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    [{ topic: 'elsewhere', partitions: [position(0)] }, ErrorCode.NOT_LEADER_OR_FOLLOWER],
    [{ partitions: [position(9, { currentLeaderEpoch: 0 })] }, ErrorCode.FENCED_LEADER_EPOCH],
    [{ partitions: [position(9, { currentLeaderEpoch: 2 })] }, ErrorCode.UNKNOWN_LEADER_EPOCH],
    [{ partitions: [position(1)] }, ErrorCode.OFFSET_OUT_OF_RANGE],
    [{ partitions: [position(-1)] }, ErrorCode.OFFSET_OUT_OF_RANGE],
    [{ partitions: [position(0, { lastFetchedEpoch: 3 })] }, ErrorCode.OFFSET_OUT_OF_RANGE],
  ]
  for (const [fetch, errorCode] of wrong) {
    const client = await path.connect()
    const created = await ask(client, fetch)
    assert.equal(only(created).errorCode, errorCode)
    const { sessionId } = created
    const again = await ask(client, { sessionId, sessionEpoch: 1 })
    assert.equal(only(again).errorCode, errorCode)
    assert.equal(only(again).highWatermark, -1)
    client.close()
  }
  // Leaders know of their leadership before they know of the topic.
  const early = await ask(await path.connect(), { topic: 'known', partitions: [position(0)] })
  assert.equal(only(early).errorCode, 0)
  const { next } = await sessionOf(path, [position(0, { currentLeaderEpoch: 0 })])
  const fenced = await next()
  assert.deepEqual(only(fenced).currentLeader, { leaderId: 1, leaderEpoch: 1 })
  assert.deepEqual(fenced.nodeEndpoints, [
    { nodeId: 1, host: 'broker-1', port: 9001, rack: 'rack-1' },
  ])
  const right = next({ partitions: [position(0), position(0, { partition: 1 })] })
  await path.append(path.partition('t', 1), 'a')
  assert.ok(told(await right).some(([number, error]) => number === 1 && error === 0))
})

test('logs that parted are told where (KIP-595), and count for nothing before', async (t) => {
  const path = await DataPath.start(t)
  const [partition] = await path.open('t', { role: { leaderEpoch: 1 } })
  assert.ok(partition)
  for (const value of ['a', 'b', 'c']) await path.append(partition, value)
  await path.lead(partition, { leaderEpoch: 4 })
  await path.append(partition, 'd')
  const at = (fetchOffset: number, lastFetchedEpoch: number) =>
    position(fetchOffset, { currentLeaderEpoch: 4, lastFetchedEpoch })
  const cases: [ReturnType<typeof at>, number, [number, number]][] = [
    [at(5, 2), 0, [1, 3]],
    [at(4, 1), 0, [1, 3]],
    [at(3, 3), 0, [1, 3]],
    [at(5, 4), 0, [4, 4]],
    [at(5, 5), ErrorCode.OFFSET_OUT_OF_RANGE, [-1, -1]],
    [at(2, 1), 0, [-1, -1]],
    [at(3, 1), 0, [-1, -1]],
    [at(4, 4), 0, [-1, -1]],
  ]
  for (const [wanted, errorCode, [epoch, endOffset]] of cases) {
    const { client, created, next } = await sessionOf(path, [wanted])
    const one = only(created)
    assert.equal(one.errorCode, errorCode)
    assert.deepEqual(one.divergingEpoch, { epoch, endOffset })
    if (epoch >= 0) {
      assert.equal(one.records?.bytes, 0)
      // It is told again to who does not listen.
      assert.deepEqual(only(await next()).divergingEpoch, { epoch, endOffset })
    }
    const counts = errorCode === 0 && epoch < 0
    const logEnd: number = partition.leader?.follower(2)?.logEnd ?? -1
    assert.equal(logEnd, counts ? wanted.fetchOffset : -1)
    client.close()
  }
})

test('another role answers the parked fetch at once', async (t) => {
  const path = await DataPath.start(t)
  const [first, second] = await path.open('t', { partitions: 2 })
  assert.ok(first)
  assert.ok(second)
  const both = [position(0), position(0, { partition: 1 })]
  const { next } = await sessionOf(path, both)
  const parked = next()
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  await path.follow(second, 3, 2)
  const answer = await parked
  assert.deepEqual(told(answer), [[1, ErrorCode.FENCED_LEADER_EPOCH, false]])
  assert.deepEqual(only(answer).currentLeader, { leaderId: 3, leaderEpoch: 2 })
  const left = next({ forgotten: [1] })
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  await path.lead(first, { leaderEpoch: 2 })
  assert.deepEqual(told(await left), [[0, ErrorCode.FENCED_LEADER_EPOCH, false]])
  const anew = next({ partitions: [position(0, { currentLeaderEpoch: 2 })] })
  await path.append(first, 'a')
  assert.deepEqual(told(await anew), [[0, 0, true]])
})

test('a second fetch is the reason to answer the first', async (t) => {
  const path = await DataPath.start(t)
  const [first] = await path.open('t', { partitions: 2 })
  assert.ok(first)
  const { next } = await sessionOf(path)
  const parked = next()
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  // Whoever sends it knows nothing of what the first one brings.
  const behind = next({ partitions: [position(0, { partition: 1 })] })
  assert.deepEqual(told(await parked), [])
  const third = next()
  assert.deepEqual(told(await behind), [[1, 0, false]])
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  await path.append(first, 'a')
  assert.deepEqual(told(await third), [[0, 0, true]])
  // Not named, and so not moved.
  assert.deepEqual(told(await next()), [[0, 0, true]])
})

test('records that an answer brought do not come again behind it', async (t) => {
  const path = await DataPath.start(t)
  const [first] = await path.open('t', { partitions: 2 })
  assert.ok(first)
  const { next } = await sessionOf(path)
  // A fetch that wants more than there is, and one behind it.
  const parked = next({ minBytes: 1 << 20 })
  await path.append(first, 'a')
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  const behind = next({ partitions: [position(0, { partition: 1 })] })
  assert.deepEqual(told(await parked), [[0, 0, true]])
  const third = next({ partitions: [position(1)] })
  assert.deepEqual(told(await behind), [[1, 0, false]])
  await path.append(first, 'b')
  assert.deepEqual(told(await third), [[0, 0, true]])
})

test('what a session costs is what moves in it', async (t) => {
  const count = 2000
  const path = await DataPath.start(t)
  await path.open('t', { partitions: count })
  const all = Array.from({ length: count }, (_, partition) => position(0, { partition }))
  const { created, next } = await sessionOf(path, all)
  assert.equal(told(created).length, count)
  const one = path.partition('t', 1234)
  for (let offset = 0; offset < 10; offset += 1) {
    const before = path.replicaFetch.evaluations
    const parked = next(offset === 0 ? {} : { partitions: [position(offset, { partition: 1234 })] })
    await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
    await path.append(one, 'a')
    assert.deepEqual(told(await parked), [[1234, 0, true]])
    assert.ok(path.replicaFetch.evaluations - before <= 3)
  }
  // A wake-up before it is parked is not lost, and many are answered together.
  for (let partition = 0; partition < count; partition += 4) {
    await path.append(path.partition('t', partition), 'b')
  }
  const many = await next()
  assert.equal(told(many).length, count / 4 + 1)
})

test('no partition is left behind by others that have more', async (t) => {
  const path = await DataPath.start(t)
  const partitions = await path.open('t', { partitions: 4 })
  for (const partition of partitions) {
    for (let i = 0; i < 10; i += 1) await path.append(partition, 'x'.repeat(1000))
  }
  const ends = [0, 0, 0, 0]
  const named = () => ends.map((offset, partition) => position(offset, { partition }))
  const client = await path.connect()
  const maxBytes = 1500
  let answer = await ask(client, { partitions: named(), maxBytes })
  const { sessionId } = answer
  let rounds = 1
  for (; ends.some((end) => end < 10); rounds += 1) {
    const moved: number[] = []
    for (const one of answer.responses.flatMap((topic) => topic.partitions)) {
      if ((one.records?.bytes ?? 0) < 1000) continue
      ends[one.partitionIndex] = (ends[one.partitionIndex] as number) + 1
      moved.push(one.partitionIndex)
    }
    assert.equal(moved.length, 1)
    assert.ok(Math.max(...ends) - Math.min(...ends) <= 1, `fair: ${ends}`)
    if (ends.every((end) => end === 10)) break
    answer = await ask(client, {
      ...{ sessionId, sessionEpoch: rounds, maxBytes },
      partitions: moved.map((partition) => position(ends[partition] as number, { partition })),
    })
  }
  assert.equal(rounds, 40)
})

test('minBytes counts over all partitions, and the deadline ends the wait', async (t) => {
  const path = await DataPath.start(t)
  const [first, second] = await path.open('t', { partitions: 2 })
  assert.ok(first)
  assert.ok(second)
  const { next } = await sessionOf(path, [position(0), position(0, { partition: 1 })])
  const waiting = next({ minBytes: 2000 })
  await path.append(first, 'x'.repeat(1500))
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  await path.append(second, 'x'.repeat(1500))
  assert.deepEqual(told(await waiting), [
    [0, 0, true],
    [1, 0, true],
  ])
  const from = performance.now()
  const late = await next({
    maxWaitMs: 50,
    partitions: [position(1), position(1, { partition: 1 })],
  })
  assert.deepEqual(told(late), [])
  assert.ok(performance.now() - from >= 49)
})

test('without a session every fetch tells everything', async (t) => {
  const path = await DataPath.start(t)
  const [partition] = await path.open('t')
  assert.ok(partition)
  const client = await path.connect()
  const once = { sessionEpoch: -1, partitions: [position(0)] }
  const empty = await ask(client, { ...once, maxWaitMs: 20 })
  assert.deepEqual([empty.sessionId, ...told(empty)], [0, [0, 0, false]])
  const parked = ask(client, once)
  await path.append(partition, 'a')
  assert.deepEqual(told(await parked), [[0, 0, true]])
  assert.equal(topicIdOf('t'), empty.responses[0]?.topicId)
})

test('a replica that is throttled gets no more than its share', async (t) => {
  let recorded = 0
  const quota = {
    isThrottled: ({ partition }: { partition: number }, replicaId: number) =>
      partition < 2 && replicaId === 2,
    get isExceeded() {
      return recorded > 0
    },
    record: (bytes: number) => {
      recorded += bytes
    },
  }
  const path = await DataPath.start(t, { quota })
  // Replica 2 is in sync in the first of them only.
  const [first, second, third] = await path.open('t', { partitions: 3 })
  assert.ok(first)
  assert.ok(second)
  assert.ok(third)
  await path.lead(second, { isr: [1, 3] })
  for (const partition of [first, second, third]) await path.append(partition, 'a')
  const all = [0, 1, 2].map((partition) => position(0, { partition }))
  const { created, next } = await sessionOf(path, all)
  assert.deepEqual(told(created), [
    [0, 0, true],
    [1, 0, true],
    [2, 0, true],
  ])
  assert.equal(recorded, created.responses[0]?.partitions[1]?.records?.bytes)
  const again = await next({ partitions: all })
  assert.deepEqual(told(again), [
    [0, 0, true],
    [2, 0, true],
  ])
  const parked = next({ partitions: [position(1), position(1, { partition: 2 })] })
  await until('it to be parked', () => path.replicaFetch.parkedCount === 1)
  recorded = 0
  await path.append(second, 'b')
  assert.deepEqual(told(await parked), [[1, 0, true]])
})
