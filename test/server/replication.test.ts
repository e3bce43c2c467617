/** Leaders and followers of one process, over sockets: the production classes of both sides. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import { addon } from '../../src/native/addon.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { writeRecordBatch } from '../../src/protocol/record-batch.ts'
import { readBatches } from '../../src/shard/log-reader.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { testSeed } from '../support/seed.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { DataPath, position, topicIdOf } from './data-path.ts'

for (const threaded of [false, true]) {
  const where = threaded ? 'with shard threads' : 'on one thread'

  test(`acks=-1 is answered when all have it, ${where}`, async (t) => {
    const leader = await DataPath.start(t, { threaded, highWatermarkDelayMs: 5 })
    const peers = new Map([[1, leader.port]])
    const followers = [
      await DataPath.start(t, { brokerId: 2, peers, threaded }),
      await DataPath.start(t, { brokerId: 3, peers, threaded }),
    ]
    const partitions = 3
    await leader.open('t', { partitions })
    for (const follower of followers) await follower.open('t', { partitions, leader: 1 })
    const client = await leader.connect()
    for (let i = 0; i < 60; i += 1) {
      const records = buildBatch([{ timestamp: 1, key: null, value: Buffer.from(`v${i}`) }], 0)
      const answer = await client.send(Produce, 9, {
        ...{ acks: -1, timeoutMs: 10_000 },
        topicData: [{ name: 't', partitionData: [{ index: i % partitions, records }] }],
      })
      const one = answer.responses[0]?.partitionResponses[0]
      assert.deepEqual([one?.errorCode, one?.baseOffset], [0, Math.floor(i / partitions)])
      for (const follower of followers) {
        assert.ok(follower.partition('t', i % partitions).logEnd > (one?.baseOffset ?? 0))
      }
    }
    await until('the followers to know what is committed', () =>
      followers.every((follower) =>
        [0, 1, 2].every((partition) => follower.partition('t', partition).highWatermark === 20),
      ),
    )
  })
}

test('a consumer reads from a follower as soon as it is committed', {
  timeout: 50_000,
}, async (t) => {
  const leader = await DataPath.start(t, { highWatermarkDelayMs: 1 })
  const peers = new Map([[1, leader.port]])
  // Its fetches last longer than the test: it hears of what is committed before they are over.
  const follower = await DataPath.start(t, { brokerId: 2, peers, fetchWaitMaxMs: 60_000 })
  const role = { replicas: [1, 2] }
  await leader.open('t', { role })
  await follower.open('t', { role, leader: 1 })
  const [producer, consumer] = await Promise.all([leader.connect(), follower.connect()])
  for (let offset = 0; offset < 20; offset += 1) {
    const parked = consumer.send(Fetch, 17, {
      ...{ maxWaitMs: 60_000, minBytes: 1, rackId: 'rack-2' },
      topics: [{ topicId: topicIdOf('t'), partitions: [position(offset)] }],
    })
    await until('it to be parked', () => follower.purgatory.size === 1)
    const records = buildBatch([{ timestamp: 1, key: null, value: Buffer.from('v') }], 0)
    await producer.send(Produce, 9, {
      ...{ acks: -1, timeoutMs: 10_000 },
      topicData: [{ name: 't', partitionData: [{ index: 0, records }] }],
    })
    const one = (await parked).responses[0]?.partitions[0]
    assert.deepEqual([one?.errorCode, one?.highWatermark], [0, offset + 1])
    assert.ok((one?.records?.bytes ?? 0) > 0)
  }
  follower.replicas.close()
})

/**
 * The answer of the old leader may be held up by another partition of the same request. Meanwhile a
 * producer sends what comes next to the new leader, and then repeats there what was not answered.
 */
test('what the old leader stored is repeated behind many batches and not stored twice', async (t) => {
  const peers = new Map<number, number>()
  const before = await DataPath.start(t, { peers, highWatermarkDelayMs: 1 })
  const after = await DataPath.start(t, { brokerId: 2, peers, highWatermarkDelayMs: 1 })
  peers.set(1, before.port)
  peers.set(2, after.port)
  const role = { replicas: [1, 2] }
  const [old] = await before.open('t', { role })
  const [young] = await after.open('t', { role, leader: 1 })
  assert.ok(old && young)
  const send = async (client: WireClient, sequence: number) => {
    const records = writeRecordBatch([{ value: Buffer.from(`v${sequence}`), timestamp: 1 }], {
      ...{ crc32c: addon.crc32c, producerId: 7, producerEpoch: 0, baseSequence: sequence },
    })
    const answer = await client.send(Produce, 9, {
      ...{ acks: -1, timeoutMs: 10_000 },
      topicData: [{ name: 't', partitionData: [{ index: 0, records }] }],
    })
    const one = answer.responses[0]?.partitionResponses[0]
    return [one?.errorCode, one?.baseOffset]
  }
  const [first, second] = await Promise.all([before.connect(), after.connect()])
  for (let sequence = 0; sequence < 5; sequence += 1) await send(first, sequence)

  await after.lead(young, { ...role, leaderEpoch: 2 })
  const answers = range(15).map((i) => send(second, 5 + i))
  const repeated = range(5).map((i) => send(second, i))
  let isAnswered = false
  void repeated[0]?.then(() => {
    isAnswered = true
  })
  await until('all to be appended', () => young.logEnd === 20)
  // What is in front of it in the log is not on all replicas yet.
  assert.equal(isAnswered, false)
  await before.follow(old, 2, 2)
  assert.deepEqual(
    await Promise.all(answers),
    range(15).map((i) => [0, 5 + i]),
  )
  const again = [ErrorCode.DUPLICATE_SEQUENCE_NUMBER, -1]
  assert.deepEqual(
    await Promise.all(repeated),
    range(5).map(() => again),
  )
  assert.deepEqual(await send(second, 17), [0, 17])
  assert.deepEqual(await send(second, 20), [0, 20])
  assert.deepEqual(await send(second, 22), [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1])
  assert.equal(young.logEnd, 21)
})

test('whatever happens in which order, followers end up with what leaders have', async (t) => {
  const seed = testSeed()
  const random = new SeededRandom(seed)
  const leader = await DataPath.start(t, { highWatermarkDelayMs: 5 })
  const peers = new Map([[1, leader.port]])
  const followers = [
    await DataPath.start(t, { brokerId: 2, peers }),
    await DataPath.start(t, { brokerId: 3, peers }),
  ]
  const count = 8
  const epochs = new Array<number>(count).fill(1)
  await leader.open('t', { partitions: count })
  for (const follower of followers) await follower.open('t', { partitions: count, leader: 1 })
  const at = (path: DataPath, number: number) => path.partition('t', number)

  /** Everybody is told of a new epoch, in any order and not at once. */
  const newEpoch = async (number: number): Promise<void> => {
    epochs[number] = (epochs[number] as number) + 1
    const leaderEpoch = epochs[number] as number
    const tellings = [
      () => leader.lead(at(leader, number), { leaderEpoch }),
      ...followers.map((path) => () => path.follow(at(path, number), 1, leaderEpoch)),
    ]
    while (tellings.length > 0) {
      await tellings.splice(random.integer(tellings.length), 1)[0]?.()
      if (random.integer(2) === 0) await leader.append(at(leader, random.integer(count)), 'e')
    }
  }

  for (let step = 0; step < 300; step += 1) {
    const number = random.integer(count)
    const choice = random.integer(20)
    if (choice === 0) await newEpoch(number)
    else if (choice === 1) leader.disconnect()
    else if (choice < 10) await leader.append(at(leader, number), `v${step}`)
    else await Promise.all(range(count).map((one) => leader.append(at(leader, one), `v${step}`)))
  }
  // An epoch is known to followers from its first record on.
  for (const number of range(count)) await leader.append(at(leader, number), 'last')
  const isSame = (path: DataPath, number: number): boolean => {
    const [own, theirs] = [at(leader, number), at(path, number)]
    const isCommitted = own.highWatermark === own.logEnd
    const isWhole = theirs.logEnd === own.logEnd && theirs.highWatermark === own.logEnd
    return isCommitted && isWhole && theirs.storedLog.lastEpoch === own.storedLog.lastEpoch
  }
  const describe = (number: number): string =>
    [leader, ...followers]
      .map((path) => at(path, number))
      .map(({ leaderEpoch, logEnd, highWatermark, storedLog }) =>
        [leaderEpoch, storedLog.lastEpoch, logEnd, highWatermark].join('/'),
      )
      .join(' ')
  await until(
    () => `all to be the same, seed ${seed}: ${range(count).map(describe)}`,
    () => followers.every((path) => range(count).every((number) => isSame(path, number))),
    20_000,
  )
  for (const number of range(count)) {
    const records = await readAll(leader, number)
    assert.ok(records.length > 0)
    for (const path of followers) assert.ok(records.equals(await readAll(path, number)))
  }
})

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** All batches of a partition, as they are stored. */
async function readAll(path: DataPath, partition: number): Promise<Buffer> {
  const { log, logEnd } = path.partition('t', partition)
  const parts: Buffer[] = []
  for (let offset = 0; offset < logEnd; ) {
    const { errorCode, bytes } = await readBatches(log, {
      ...{ offset, maxBytes: 1 << 24, limitOffset: logEnd },
    })
    assert.equal(errorCode, 0)
    assert.ok(bytes.length > 0)
    parts.push(bytes)
    for (let at = 0; at < bytes.length; at += readBatch(bytes.subarray(at)).size) offset += 1
  }
  return Buffer.concat(parts)
}
