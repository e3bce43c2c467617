/** Fetch over the wire: long polls, limits, sessions, topic ids, errors, old formats. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeleteTopics } from '../../src/protocol/messages/delete-topics.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import {
  connectTo,
  createTopic,
  produce,
  recordsFrom,
  startBroker,
} from '../support/broker-in-process.ts'

const whole = { maxWaitMs: 0, minBytes: 1, maxBytes: 50 << 20 }

function partitionAt(partition: number, fetchOffset: number, partitionMaxBytes = 1 << 20) {
  return { partition, fetchOffset, partitionMaxBytes }
}

test('a fetch waits for bytes, is woken by them, and ends at its deadline', async (t) => {
  const broker = await startBroker(t)
  const consumer = await connectTo(t, broker)
  const producer = await connectTo(t, broker)
  await createTopic(producer, 't', { partitions: 2 })
  const from = performance.now()
  const empty = await consumer.send(Fetch, 11, {
    maxWaitMs: 150,
    minBytes: 1,
    topics: [{ topic: 't', partitions: [partitionAt(0, 0), partitionAt(1, 0)] }],
  })
  assert.ok(performance.now() - from >= 149)
  assert.deepEqual(
    empty.responses[0]?.partitions.map((one) => [one.errorCode, one.records?.bytes]),
    [
      [0, 0],
      [0, 0],
    ],
  )
  const waiting = consumer.send(Fetch, 11, {
    maxWaitMs: 60_000,
    minBytes: 1,
    topics: [{ topic: 't', partitions: [partitionAt(0, 0), partitionAt(1, 0)] }],
  })
  await produce(producer, 't', 1, recordsFrom(['woken']))
  const woken = await waiting
  assert.deepEqual(
    woken.responses[0]?.partitions.map((one) => [one.highWatermark, (one.records?.bytes ?? 0) > 0]),
    [
      [0, false],
      [1, true],
    ],
  )
})

test('minBytes counts over all partitions', async (t) => {
  const broker = await startBroker(t)
  const consumer = await connectTo(t, broker)
  const producer = await connectTo(t, broker)
  await createTopic(producer, 't', { partitions: 2 })
  let answered = false
  const waiting = consumer
    .send(Fetch, 11, {
      maxWaitMs: 60_000,
      minBytes: 250,
      topics: [{ topic: 't', partitions: [partitionAt(0, 0), partitionAt(1, 0)] }],
    })
    .finally(() => {
      answered = true
    })
  await produce(producer, 't', 0, recordsFrom(['x'.repeat(100)]))
  assert.equal(answered, false)
  await produce(producer, 't', 1, recordsFrom(['x'.repeat(100)]))
  const answer = await waiting
  const bytes = answer.responses[0]?.partitions.map((one) => one.records?.bytes ?? 0) ?? []
  assert.ok(bytes.every((one) => one > 100))
})

test('the first batch comes whole however small the limits; later ones keep to them', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't', { partitions: 2 })
  for (const partition of [0, 1]) {
    await produce(client, 't', partition, recordsFrom(['x'.repeat(1000)]))
  }
  const answer = await client.send(Fetch, 11, {
    ...whole,
    maxBytes: 1,
    topics: [{ topic: 't', partitions: [partitionAt(0, 0, 1), partitionAt(1, 0, 1)] }],
  })
  const sizes = answer.responses[0]?.partitions.map((one) => one.records?.bytes ?? 0) ?? []
  assert.ok((sizes[0] ?? 0) > 1000)
  assert.equal(sizes[1], 0)
})

test('errors are answered at once, per partition', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't')
  await produce(client, 't', 0, recordsFrom(['a', 'b']))
  const answer = await client.send(Fetch, 11, {
    maxWaitMs: 60_000,
    minBytes: 1 << 20,
    topics: [
      {
        topic: 't',
        partitions: [
          partitionAt(0, 3),
          partitionAt(0, -1),
          partitionAt(7, 0),
          { ...partitionAt(0, 0), currentLeaderEpoch: 99 },
        ],
      },
      { topic: 'unknown', partitions: [partitionAt(0, 0)] },
    ],
  })
  assert.deepEqual(
    answer.responses.flatMap((topic) =>
      topic.partitions.map((one) => [one.errorCode, one.highWatermark]),
    ),
    [
      [1, -1],
      [1, -1],
      [3, -1],
      [75, -1],
      [3, -1],
    ],
  )
})

test('by topic id: known, unknown, and gone', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  const topicId = await createTopic(client, 't')
  await produce(client, 't', 0, recordsFrom(['a']))
  const ask = async (id: string) =>
    await client.send(Fetch, 17, {
      ...whole,
      topics: [{ topicId: id, partitions: [partitionAt(0, 0)] }],
    })
  const known = await ask(topicId)
  assert.equal(known.responses[0]?.topicId, topicId)
  assert.equal(known.responses[0]?.partitions[0]?.errorCode, 0)
  assert.ok((known.responses[0]?.partitions[0]?.records?.bytes ?? 0) > 0)
  const unknown = await ask('xxxxxxxxxxxxxxxxxxxxxA')
  assert.equal(unknown.responses[0]?.partitions[0]?.errorCode, 100)
  await client.send(DeleteTopics, 6, {
    topics: [{ name: null, topicId }],
    topicNames: [],
    timeoutMs: 1000,
  })
  assert.equal((await ask(topicId)).responses[0]?.partitions[0]?.errorCode, 100)
})

test('deleting a topic answers the fetches that wait for it', async (t) => {
  const broker = await startBroker(t)
  const consumer = await connectTo(t, broker)
  const admin = await connectTo(t, broker)
  await createTopic(admin, 't')
  const waiting = consumer.send(Fetch, 11, {
    maxWaitMs: 60_000,
    minBytes: 1,
    topics: [{ topic: 't', partitions: [partitionAt(0, 0)] }],
  })
  await admin.send(DeleteTopics, 4, { topics: [], topicNames: ['t'], timeoutMs: 1000 })
  const answer = await waiting
  assert.notEqual(answer.responses[0]?.partitions[0]?.errorCode, 0)
})

test('a session sends and gets only what changed', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't', { partitions: 3 })
  const session = async (
    sessionId: number,
    sessionEpoch: number,
    partitions: ReturnType<typeof partitionAt>[],
    forgotten: number[] = [],
  ) =>
    await client.send(Fetch, 11, {
      ...whole,
      sessionId,
      sessionEpoch,
      topics: partitions.length > 0 ? [{ topic: 't', partitions }] : [],
      forgottenTopicsData: forgotten.length > 0 ? [{ topic: 't', partitions: forgotten }] : [],
    })
  const numbers = (answer: Awaited<ReturnType<typeof session>>) =>
    answer.responses.flatMap((topic) => topic.partitions.map((one) => one.partitionIndex))

  const created = await session(
    0,
    0,
    [0, 1, 2].map((one) => partitionAt(one, 0)),
  )
  const id = created.sessionId
  assert.notEqual(id, 0)
  assert.deepEqual(numbers(created), [0, 1, 2])
  assert.deepEqual(numbers(await session(id, 1, [])), [])
  await produce(client, 't', 1, recordsFrom(['a']))
  assert.deepEqual(numbers(await session(id, 2, [])), [1])
  // Nothing new was fetched: it re-reads from where it stood.
  assert.deepEqual(numbers(await session(id, 3, [])), [1])
  assert.deepEqual(numbers(await session(id, 4, [partitionAt(1, 1)])), [])
  assert.deepEqual(numbers(await session(id, 5, [], [2])), [])
  await produce(client, 't', 2, recordsFrom(['a']))
  assert.deepEqual(numbers(await session(id, 6, [])), [])
  const wrong = await session(id, 9, [])
  assert.deepEqual([wrong.errorCode, wrong.sessionId], [71, 0])
  const unknown = await session(id === 5 ? 6 : 5, 1, [])
  assert.deepEqual([unknown.errorCode, unknown.sessionId], [70, 0])
  const closed = await session(id, -1, [partitionAt(2, 0)])
  assert.deepEqual([closed.errorCode, closed.sessionId], [0, 0])
  assert.deepEqual(numbers(closed), [2])
  assert.equal((await session(id, 7, [])).errorCode, 70)
})

test('a full session cache serves without a session', async (t) => {
  const broker = await startBroker(t, { 'max.incremental.fetch.session.cache.slots': '1' })
  const client = await connectTo(t, broker)
  await createTopic(client, 't')
  const ask = async () =>
    await client.send(Fetch, 11, {
      ...whole,
      sessionId: 0,
      sessionEpoch: 0,
      topics: [{ topic: 't', partitions: [partitionAt(0, 0)] }],
    })
  assert.notEqual((await ask()).sessionId, 0)
  const refused = await ask()
  assert.equal(refused.sessionId, 0)
  assert.equal(refused.responses[0]?.partitions[0]?.errorCode, 0)
})

for (const codec of [0, 1, 2, 3]) {
  test(`codec ${codec}: consumers of old formats get them, and never more than they asked for`, async (t) => {
    const broker = await startBroker(t)
    const client = await connectTo(t, broker)
    await createTopic(client, 't')
    const values = Array.from({ length: 20 }, (_, i) => `value ${i} ${'x'.repeat(50)}`)
    await produce(client, 't', 0, recordsFrom(values, 1000), codec)
    for (const version of [0, 1, 2, 3]) {
      const answer = await client.send(Fetch, version, {
        ...whole,
        topics: [{ topic: 't', partitions: [partitionAt(0, 0)] }],
      })
      const one = answer.responses[0]?.partitions[0]
      assert.equal(one?.errorCode, 0)
      assert.ok((one?.records?.bytes ?? 0) > 0)
      const small = await client.send(Fetch, version, {
        ...whole,
        topics: [{ topic: 't', partitions: [partitionAt(0, 0, 60)] }],
      })
      const bytes = small.responses[0]?.partitions[0]?.records?.bytes ?? 0
      if (version < 3) assert.equal(bytes, 60)
      else assert.ok(bytes > 60)
    }
  })
}

test('without down-conversion old consumers are told so', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't', { configs: { 'message.downconversion.enable': 'false' } })
  await produce(client, 't', 0, recordsFrom(['a']))
  const answer = await client.send(Fetch, 2, {
    ...whole,
    topics: [{ topic: 't', partitions: [partitionAt(0, 0)] }],
  })
  assert.equal(answer.responses[0]?.partitions[0]?.errorCode, 35)
})
