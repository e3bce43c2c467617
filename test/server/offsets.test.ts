/** ListOffsets, OffsetForLeaderEpoch, DeleteRecords, DescribeLogDirs and retention over the wire. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { DescribeLogDirs } from '../../src/protocol/messages/describe-log-dirs.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import {
  connectTo,
  createTopic,
  produce,
  recordsFrom,
  startBroker,
} from '../support/broker-in-process.ts'
import type { WireClient } from '../support/wire-client.ts'

async function offsetAt(client: WireClient, version: number, timestamp: number) {
  const many = version === 0 ? { maxNumOffsets: 10 } : {}
  const answer = await client.send(ListOffsets, version, {
    replicaId: -1,
    topics: [{ name: 't', partitions: [{ partitionIndex: 0, timestamp, ...many }] }],
  })
  const one = answer.topics[0]?.partitions[0]
  assert.ok(one)
  return version === 0
    ? [one.errorCode, ...one.oldStyleOffsets]
    : [one.errorCode, one.offset, one.timestamp, one.leaderEpoch]
}

for (const codec of [0, 1, 4]) {
  test(`codec ${codec}: offsets by time are those of the record`, async (t) => {
    const broker = await startBroker(t)
    const client = await connectTo(t, broker)
    await createTopic(client, 't')
    for (let batch = 0; batch < 20; batch += 1) {
      const values = Array.from({ length: 10 }, (_, i) => `${batch} ${i} ${'x'.repeat(500)}`)
      await produce(client, 't', 0, recordsFrom(values, 1000 + batch * 100), codec)
    }
    assert.deepEqual(await offsetAt(client, 5, -1), [0, 200, -1, 0])
    assert.deepEqual(await offsetAt(client, 5, -2), [0, 0, -1, 0])
    assert.deepEqual(await offsetAt(client, 5, 1000), [0, 0, 1000, 0])
    assert.deepEqual(await offsetAt(client, 5, 1104), [0, 14, 1104, 0])
    assert.deepEqual(await offsetAt(client, 5, 1150), [0, 20, 1200, 0])
    assert.deepEqual(await offsetAt(client, 5, 5000), [0, -1, -1, -1])
    assert.deepEqual(await offsetAt(client, 7, -3), [0, 199, 2909, 0])
    assert.deepEqual(await offsetAt(client, 9, -4), [0, 0, -1, 0])
    assert.deepEqual(await offsetAt(client, 9, -5), [0, -1, -1, -1])
    assert.deepEqual(await offsetAt(client, 5, -3), [35, -1, -1, -1])
    assert.deepEqual(await offsetAt(client, 9, -6), [35, -1, -1, -1])
    assert.deepEqual(await offsetAt(client, 0, -1), [0, 200, 0])
    assert.deepEqual(await offsetAt(client, 0, -2), [0, 0])
  })
}

test('leader epochs end where the next begins', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't')
  await produce(client, 't', 0, recordsFrom(['a', 'b']))
  const answer = await client.send(OffsetForLeaderEpoch, 4, {
    replicaId: -1,
    topics: [
      {
        topic: 't',
        partitions: [
          { partition: 0, currentLeaderEpoch: -1, leaderEpoch: 0 },
          { partition: 0, currentLeaderEpoch: -1, leaderEpoch: 7 },
          { partition: 0, currentLeaderEpoch: 7, leaderEpoch: 0 },
          { partition: 3, currentLeaderEpoch: -1, leaderEpoch: 0 },
        ],
      },
    ],
  })
  assert.deepEqual(
    answer.topics[0]?.partitions.map((one) => [one.errorCode, one.leaderEpoch, one.endOffset]),
    [
      [0, 0, 2],
      [0, -1, -1],
      [75, -1, -1],
      [3, -1, -1],
    ],
  )
})

test('records are deleted from the start, and stay deleted', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't')
  await createTopic(client, 'compacted', { configs: { 'cleanup.policy': 'compact' } })
  for (let i = 0; i < 10; i += 1) await produce(client, 't', 0, recordsFrom(['a']))
  const remove = async (topic: string, partition: number, offset: number) => {
    const answer = await client.send(DeleteRecords, 2, {
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
      timeoutMs: 1000,
    })
    const one = answer.topics[0]?.partitions[0]
    return [one?.errorCode, one?.lowWatermark]
  }
  assert.deepEqual(await remove('t', 0, 4), [0, 4])
  assert.deepEqual(await remove('t', 0, 2), [0, 4])
  assert.deepEqual(await remove('t', 0, 11), [1, -1])
  assert.deepEqual(await remove('t', 5, 1), [3, -1])
  assert.deepEqual(await remove('compacted', 0, 0), [44, -1])
  assert.deepEqual(await offsetAt(client, 5, -2), [0, 4, -1, 0])
  const below = await client.send(Fetch, 11, {
    maxWaitMs: 0,
    minBytes: 1,
    topics: [
      { topic: 't', partitions: [{ partition: 0, fetchOffset: 3, partitionMaxBytes: 100 }] },
    ],
  })
  assert.equal(below.responses[0]?.partitions[0]?.errorCode, 1)
  assert.deepEqual(await remove('t', 0, -1), [0, 10])
})

test('the data directory tells what its partitions take', async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 't', { partitions: 2 })
  await produce(client, 't', 1, recordsFrom(['x'.repeat(1000)]))
  const answer = await client.send(DescribeLogDirs, 4, { topics: null })
  const directory = answer.results[0]
  assert.equal(directory?.errorCode, 0)
  assert.equal(directory?.logDir, broker.dataDirectory)
  assert.ok((directory?.totalBytes ?? 0) > (directory?.usableBytes ?? 0))
  const sizes = directory?.topics[0]?.partitions.map((one) => one.partitionSize)
  assert.equal(sizes?.[0], 0)
  assert.ok((sizes?.[1] ?? 0) > 1000)
})

test('old segments go by size while the newest stay', async (t) => {
  const broker = await startBroker(t, { 'log.retention.check.interval.ms': '20' })
  const client = await connectTo(t, broker)
  await createTopic(client, 't', {
    configs: { 'segment.bytes': '2000', 'retention.bytes': '5000' },
  })
  for (let i = 0; i < 30; i += 1) {
    await produce(client, 't', 0, recordsFrom(['x'.repeat(900)], Date.now()))
  }
  let start = 0
  while (start < 20) {
    const [, offset] = await offsetAt(client, 5, -2)
    start = offset ?? 0
    await new Promise(setImmediate)
  }
  assert.ok(start < 30)
  assert.deepEqual(await offsetAt(client, 5, -1), [0, 30, -1, 0])
})
