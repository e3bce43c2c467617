/**
 * The consumer against brokers that answer as the test says: changes of leaders, replicas near by,
 * truncated logs, lost sessions, bad bytes, late answers, and how much it fetches ahead.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { loadCrc32c } from '../../src/client/codecs.ts'
import { Consumer, type ConsumerOptions } from '../../src/client/consumer.ts'
import { ConnectionError } from '../../src/client/errors.ts'
import { LogTruncationError } from '../../src/client/position-resolver.ts'
import type { ConsumerRecord } from '../../src/client/records.ts'
import {
  Fetch,
  type FetchRequest,
  type FetchResponseInput,
} from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { writeRecordBatch } from '../../src/protocol/record-batch.ts'
import { until } from '../support/until.ts'
import { ScriptedCluster } from './scripted-cluster.ts'

const crc32c = await loadCrc32c()
const ID = 'abcdefghijklmnopqrstuA'

type PartitionInput = FetchResponseInput['responses'][number]['partitions'][number]

function batch(baseOffset: number, count: number, partitionLeaderEpoch = 0, bytes = 1): Buffer {
  const records = Array.from({ length: count }, () => ({ value: Buffer.alloc(bytes) }))
  return writeRecordBatch(records, { crc32c, baseOffset, partitionLeaderEpoch })
}

/** Partitions of the topic `t` with ten records each, which remember who asked for what. */
class Setup {
  readonly cluster = new ScriptedCluster()
  readonly fetches: { node: number; request: FetchRequest; version: number }[] = []
  /** In place of records: by node, partition and offset. */
  answer: (node: number, partition: number, offset: number) => Partial<PartitionInput> = () => ({})
  logEnd = 10
  epoch = 0
  /** Partitions and offsets of the one session that there is. */
  readonly session = new Map<number, number>()
  #waiting: (() => void)[] = []

  constructor(leaders: readonly (readonly [number, number])[] = [[1, 0]]) {
    this.cluster.topics = { t: { topicId: ID, leaders } }
    this.cluster.on(Fetch, (request, node, version) => this.fetch(request, node, version))
    this.cluster.on(ListOffsets, ({ topics }) => ({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => {
          const offset = timestamp === -2 ? 0 : this.logEnd
          return { partitionIndex, errorCode: 0, timestamp: -1, offset, leaderEpoch: this.epoch }
        }),
      })),
    }))
  }

  async fetch(request: FetchRequest, node: number, version: number): Promise<FetchResponseInput> {
    this.fetches.push({ node, request, version })
    if (request.sessionEpoch === 0) this.session.clear()
    for (const { partitions } of request.forgottenTopicsData) {
      for (const partition of partitions) this.session.delete(partition)
    }
    for (const { partitions } of request.topics) {
      for (const { partition, fetchOffset } of partitions) this.session.set(partition, fetchOffset)
    }
    const partitions: PartitionInput[] = []
    for (const [partitionIndex, offset] of this.session) {
      const records = offset < this.logEnd ? this.#records(offset) : Buffer.alloc(0)
      const plain = { partitionIndex, errorCode: 0, highWatermark: this.logEnd, records }
      const one = { ...plain, ...this.answer(node, partitionIndex, offset) }
      const isEmpty = one.errorCode === 0 && one.preferredReadReplica === undefined
      if (!isEmpty || bytesOf(one) > 0) {
        partitions.push({ lastStableOffset: -1, abortedTransactions: null, ...one })
      }
    }
    // A long poll, which ends when the test says so, or at the end of the test.
    if (partitions.length === 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    return { errorCode: 0, sessionId: 7, responses: [{ topic: 't', topicId: ID, partitions }] }
  }

  #records(offset: number): Buffer {
    return batch(offset, Math.min(100, this.logEnd - offset), this.epoch)
  }

  /** Ends the long polls. */
  wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  consumer(t: TestContext, options: Partial<ConsumerOptions> = {}): Consumer {
    const consumer = new Consumer(
      { bootstrapServers: 'h:1', retryBackoffMs: 2, autoOffsetReset: 'earliest', ...options },
      this.cluster,
    )
    t.after(async () => {
      const closed = consumer.close()
      this.wake()
      await closed
    })
    return consumer
  }
}

function bytesOf({ records }: PartitionInput): number {
  return records instanceof Uint8Array ? records.length : (records?.bytes ?? 0)
}

function offsetsOf(records: readonly ConsumerRecord[]): number[] {
  return records.map(({ offset }) => offset)
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i)
}

const WHERE = { topic: 't', partition: 0 }

test('follows the leader', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  setup.answer = (node) => (node === 1 ? { errorCode: 6, records: Buffer.alloc(0) } : {})
  setup.cluster.topics = { t: { topicId: ID, leaders: [[1, 0]] } }
  consumer.assign([{ ...WHERE, offset: 0 }])
  assert.deepEqual(await consumer.poll(20), [])
  setup.cluster.topics = { t: { topicId: ID, leaders: [[2, 1]] } }
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(0, 10))
  assert.equal(setup.fetches.at(-1)?.node, 2)
  assert.equal(setup.fetches.at(-1)?.request.topics[0]?.partitions[0]?.currentLeaderEpoch, 1)
})

test('gets over brokers that are gone, and errors that pass', async (t) => {
  for (const errorCode of [3, 5, 9, 56, 74, 75, 78, 100, 103, -1]) {
    const setup = new Setup()
    const consumer = setup.consumer(t)
    let failures = 3
    setup.answer = () => {
      failures -= 1
      return failures >= 0 ? { errorCode, records: Buffer.alloc(0) } : {}
    }
    consumer.assign([{ ...WHERE, offset: 4 }])
    assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(4, 10), `error ${errorCode}`)
  }
  const gone = new Setup()
  const consumer = gone.consumer(t)
  let failures = 3
  gone.cluster.on(Fetch, (request, node, version) => {
    failures -= 1
    if (failures >= 0) throw new ConnectionError('gone')
    return gone.fetch(request, node, version)
  })
  consumer.assign([{ ...WHERE, offset: 4 }])
  assert.equal((await consumer.poll(5000)).length, 6)
})

test('tells what does not pass, and tries again after it', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  setup.answer = () => ({ errorCode: 29, records: Buffer.alloc(0) })
  consumer.assign([{ ...WHERE, offset: 4 }])
  await assert.rejects(consumer.poll(5000), { code: 29 })
  await assert.rejects(consumer.poll(5000), { code: 29 })
  setup.answer = () => ({})
  assert.equal((await consumer.poll(5000)).length, 6)
})

test('reads from the replica that the leader prefers, and returns to the leader', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t, { clientRack: 'r' })
  setup.answer = (node, _, offset) => {
    if (node === 1 && offset < 10) return { preferredReadReplica: 3, records: Buffer.alloc(0) }
    return {}
  }
  consumer.assign([{ ...WHERE, offset: 2 }])
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(2, 10))
  assert.deepEqual(
    setup.fetches.slice(0, 2).map(({ node }) => node),
    [1, 3],
  )
  assert.equal(setup.fetches[0]?.request.rackId, 'r')
  // A follower that lacks the offset is no reason to begin anew elsewhere.
  setup.logEnd = 20
  setup.answer = (node) => (node === 3 ? { errorCode: 1, records: Buffer.alloc(0) } : {})
  setup.wake()
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(10, 20))
  assert.equal(setup.cluster.requests(ListOffsets).length, 0)
})

test('gets to know a replica near by that was away when it asked for the brokers', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t, { clientRack: 'r' })
  setup.cluster.brokers = [1, 2]
  setup.answer = (node) => {
    setup.cluster.brokers = [1, 2, 3]
    const isPatient = setup.fetches.length < 1000
    return node === 1 && isPatient ? { preferredReadReplica: 3, records: Buffer.alloc(0) } : {}
  }
  consumer.assign([{ ...WHERE, offset: 0 }])
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(0, 10))
  assert.equal(setup.fetches.at(-1)?.node, 3)
})

test('a new leader must have what was read', async (t) => {
  const ends: { errorCode: number; leaderEpoch: number; endOffset: number }[] = []
  const setupOf = (): Setup => {
    const setup = new Setup()
    setup.cluster.on(OffsetForLeaderEpoch, () => {
      const answer = ends.length > 1 ? ends.shift() : ends[0]
      return { topics: [{ topic: 't', partitions: [{ partition: 0, errorCode: 0, ...answer }] }] }
    })
    return setup
  }
  const electNew = async (setup: Setup, consumer: Consumer): Promise<void> => {
    assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(0, 10))
    setup.cluster.topics = { t: { topicId: ID, leaders: [[2, 5]] } }
    setup.answer = (node) => (node === 1 ? { errorCode: 6, records: Buffer.alloc(0) } : {})
    setup.logEnd = 15
    setup.epoch = 5
    setup.wake()
  }

  // It has it all.
  const sound = setupOf()
  ends.splice(0, ends.length, { errorCode: 75, leaderEpoch: -1, endOffset: -1 })
  ends.push({ errorCode: 0, leaderEpoch: 0, endOffset: 10 })
  const first = sound.consumer(t, { autoOffsetReset: 'none' })
  first.assign([{ ...WHERE, offset: 0 }])
  await electNew(sound, first)
  assert.deepEqual(offsetsOf(await first.poll(5000)), range(10, 15))
  const [asked] = sound.cluster.requests(OffsetForLeaderEpoch)
  assert.equal(asked?.topics[0]?.partitions[0]?.leaderEpoch, 0)
  assert.equal(asked?.topics[0]?.partitions[0]?.currentLeaderEpoch, 5)

  // Its log ends before.
  const cut = { errorCode: 0, leaderEpoch: 0, endOffset: 7 }
  const truncated = setupOf()
  ends.splice(0, ends.length, cut)
  const second = truncated.consumer(t)
  second.assign([{ ...WHERE, offset: 0 }])
  await electNew(truncated, second)
  assert.deepEqual(offsetsOf(await second.poll(5000)), range(7, 15))

  // And nothing says where to go on.
  const told = setupOf()
  ends.splice(0, ends.length, cut)
  const third = told.consumer(t, { autoOffsetReset: 'none' })
  third.assign([{ ...WHERE, offset: 0 }])
  await electNew(told, third)
  await assert.rejects(third.poll(5000), (error) => {
    assert.ok(error instanceof LogTruncationError)
    assert.deepEqual([error.position, error.divergentOffset], [10, 7])
    return true
  })
  await assert.rejects(third.poll(5000), LogTruncationError)
  third.seek(WHERE, 7)
  assert.deepEqual(offsetsOf(await third.poll(5000)), range(7, 15))

  // It does not know the epoch any more.
  const forgotten = setupOf()
  ends.splice(0, ends.length, { errorCode: 0, leaderEpoch: -1, endOffset: -1 })
  const fourth = forgotten.consumer(t)
  fourth.assign([{ ...WHERE, offset: 0 }])
  await electNew(forgotten, fourth)
  assert.deepEqual(offsetsOf(await fourth.poll(5000)), range(0, 15))
})

test('a session that is lost is begun anew', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  let errors = [70, 71]
  setup.cluster.on(Fetch, async (request, node, version) => {
    if (request.sessionId !== 0 && errors.length > 0 && request.sessionEpoch > 0) {
      const [errorCode] = errors as [number]
      errors = errors.slice(1)
      setup.fetches.push({ node, request, version })
      return { errorCode, sessionId: 0, responses: [] }
    }
    return await setup.fetch(request, node, version)
  })
  consumer.assign([{ ...WHERE, offset: 0 }])
  assert.equal((await consumer.poll(5000)).length, 10)
  await until('both errors are over', () => {
    setup.wake()
    return setup.fetches.length >= 5
  })
  const epochs = setup.fetches
    .slice(0, 5)
    .map(({ request }) => [request.sessionId, request.sessionEpoch])
  assert.deepEqual(epochs, [
    [0, 0],
    [7, 1],
    [0, 0],
    [7, 1],
    [7, 0],
  ])
  setup.logEnd = 12
  setup.wake()
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), [10, 11])
})

test('names topics as the broker can: by id from version 13 on', async (t) => {
  for (const version of [0, 2, 3, 4, 6, 7, 11, 12, 13, 17]) {
    const setup = new Setup()
    setup.cluster.versions.set('Fetch', version)
    const consumer = setup.consumer(t)
    consumer.assign([{ ...WHERE, offset: 3 }])
    assert.equal((await consumer.poll(5000)).length, 7, `version ${version}`)
    assert.equal(setup.fetches[0]?.version, version)
  }
  const old = new Setup()
  old.cluster.topics = { t: { leaders: [[1, 0]] } }
  const consumer = old.consumer(t)
  consumer.assign([{ ...WHERE, offset: 3 }])
  assert.equal((await consumer.poll(5000)).length, 7)
  assert.equal(old.fetches[0]?.version, 12)
})

test('records that cannot be read are told, until the program seeks past them', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  setup.answer = (_, __, offset) => {
    if (offset >= 5) return {}
    const records = Buffer.concat([batch(0, 3), batch(3, 2)])
    records[records.length - 1] = 0x55
    return { records }
  }
  consumer.assign([{ ...WHERE, offset: 0 }])
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), [0, 1, 2])
  for (let i = 0; i < 2; i += 1) {
    await assert.rejects(consumer.poll(5000), {
      name: 'CorruptMessageError',
      message: /t-0 cannot be read at offset 3.*checksum.*seek past it/,
    })
  }
  consumer.seek(WHERE, 5)
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(5, 10))

  const large = new Setup()
  const other = large.consumer(t)
  large.answer = () => ({ records: batch(0, 10).subarray(0, 70) })
  other.assign([{ ...WHERE, offset: 0 }])
  await assert.rejects(other.poll(5000), { name: 'MessageTooLargeError' })
})

test('an answer that comes after a seek does not count', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  let release = (): void => undefined
  setup.cluster.on(Fetch, async (request, node, version) => {
    const answer = await setup.fetch(request, node, version)
    if (setup.fetches.length === 1) {
      await new Promise<void>((resolve) => {
        release = resolve
      })
    }
    return answer
  })
  consumer.assign([{ ...WHERE, offset: 0 }])
  await until('the fetch is sent', async () => {
    assert.deepEqual(await consumer.poll(1), [])
    return setup.fetches.length === 1
  })
  consumer.seek(WHERE, 6)
  release()
  assert.deepEqual(offsetsOf(await consumer.poll(5000)), range(6, 10))
})

test('fetches ahead as much as it may, and no more', async (t) => {
  const setup = new Setup()
  setup.logEnd = 1_000_000
  setup.answer = (_, __, offset) => ({ records: batch(offset, 1, 0, 1000) })
  const consumer = setup.consumer(t, { prefetchBytes: 10_000, maxPollRecords: 1 })
  consumer.assign([{ ...WHERE, offset: 0 }])
  assert.equal((await consumer.poll(5000))[0]?.offset, 0)
  await until('the buffer is full', () => setup.fetches.length >= 10)
  const before = setup.fetches.length
  assert.deepEqual(await consumer.poll(0).then(offsetsOf), [1])
  await until('it goes on', () => setup.fetches.length > before)
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve))
  // Ten wait, one is being read.
  assert.ok(setup.fetches.length <= 13, `${setup.fetches.length} fetches`)
  // What is paused does not keep others from being fetched, and is not fetched itself.
  consumer.pause([WHERE])
  assert.deepEqual(await consumer.poll(20), [])
  const paused = setup.fetches.length
  assert.deepEqual(await consumer.poll(20), [])
  assert.equal(setup.fetches.length, paused)
  consumer.resume([WHERE])
  const rest: number[] = []
  while (rest.length < 30) rest.push(...offsetsOf(await consumer.poll(5000)))
  assert.deepEqual(rest, range(2, 32))
})

test('one caller at a time', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  setup.logEnd = 0
  consumer.assign([{ ...WHERE, offset: 0 }])
  const first = consumer.poll(60_000)
  await assert.rejects(consumer.poll(0), /one caller at a time/)
  const closed = consumer.close()
  setup.wake()
  assert.deepEqual(await first, [])
  await closed
  assert.throws(() => consumer.assign([]), { name: 'ClientClosedError' })
})

test('closing ends an iteration that waits', async (t) => {
  const setup = new Setup()
  const consumer = setup.consumer(t)
  consumer.assign([{ ...WHERE, offset: 8 }])
  const seen: number[] = []
  for await (const { offset } of consumer) {
    seen.push(offset)
    if (offset === 9) setImmediate(() => void consumer.close().then(() => setup.wake()))
  }
  assert.deepEqual(seen, [8, 9])
})
