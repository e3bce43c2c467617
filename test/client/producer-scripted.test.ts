/** The producer against a broker that does what no real one does on demand. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import {
  BufferExhaustedError,
  ClientClosedError,
  DeliveryTimeoutError,
  UnsupportedVersionError,
} from '../../src/client/errors.ts'
import { Producer, type ProducerOptions } from '../../src/client/producer.ts'
import { decodeRecords } from '../../src/client/records.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { InitProducerId } from '../../src/protocol/messages/init-producer-id.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { RecordBatchView } from '../../src/protocol/record-batch.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { type Handler, ScriptedBroker } from '../support/scripted-broker.ts'

const { NONE, NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE_NUMBER } = ErrorCode

/** One batch as it arrived. */
interface Arrived {
  readonly values: readonly string[]
  readonly epoch: number
  readonly sequence: number
}

/** A broker with one topic `t` of two partitions, whose answers to Produce the test gives. */
async function start(
  t: TestContext,
  judge: (batch: Arrived, count: number) => Partial<Outcome> | 'silence' | 'close',
): Promise<{ broker: ScriptedBroker; arrived: Arrived[] }> {
  const arrived: Arrived[] = []
  const broker = await ScriptedBroker.start(t)
  const onProduce: Handler<typeof Produce> = async ({ topicData }, frame) => {
    const responses: { name: string; partitionResponses: (Outcome & { index: number })[] }[] = []
    let throttleTimeMs = 0
    for (const { name, partitionData } of topicData) {
      const partitionResponses = []
      for (const { index, records } of partitionData) {
        const { position = 0, bytes = 0 } = records ?? {}
        const batch = frame.subarray(position, position + bytes)
        const view = new RecordBatchView(batch)
        const { records: decoded } = await decodeRecords(batch, { topic: name, partition: index })
        const one = {
          values: decoded.map(({ value }) => String(value)),
          epoch: view.producerEpoch,
          sequence: view.baseSequence,
        }
        arrived.push(one)
        const outcome = judge(one, arrived.length)
        if (outcome === 'silence' || outcome === 'close') return outcome
        throttleTimeMs = outcome.throttleTimeMs ?? 0
        partitionResponses.push({ ...{ index, errorCode: NONE, baseOffset: 0 }, ...outcome })
      }
      responses.push({ name, partitionResponses })
    }
    return { responses, throttleTimeMs }
  }
  broker
    .on(Metadata, () => ({
      brokers: [{ nodeId: 5, host: broker.host, port: broker.port }],
      controllerId: 5,
      topics: [
        {
          name: 't',
          errorCode: NONE,
          partitions: [0, 1].map((partitionIndex) => ({
            ...{ partitionIndex, errorCode: NONE, leaderId: 5 },
            ...{ replicaNodes: [5], isrNodes: [5], offlineReplicas: [] },
          })),
        },
      ],
    }))
    .on(InitProducerId, () => ({
      errorCode: NONE,
      throttleTimeMs: 0,
      producerId: 9,
      producerEpoch: 0,
    }))
    .on(Produce, onProduce)
  return { broker, arrived }
}

interface Outcome {
  readonly errorCode: number
  readonly baseOffset: number
  readonly errorMessage?: string
  readonly recordErrors?: { batchIndex: number; batchIndexErrorMessage: string }[]
  readonly throttleTimeMs?: number
}

function newProducer(broker: ScriptedBroker, options: Partial<ProducerOptions> = {}): Producer {
  return new Producer({
    bootstrapServers: broker.bootstrapServers,
    retryBackoffMs: 5,
    retryBackoffMaxMs: 10,
    ...options,
  })
}

const record = (value: string) => ({ topic: 't', partition: 0, value })

test('what fails for now goes again with the same sequence', async (t) => {
  const { broker, arrived } = await start(t, (_, count) =>
    count <= 3 ? { errorCode: NOT_LEADER_OR_FOLLOWER } : { baseOffset: 40 },
  )
  await using producer = newProducer(broker)
  const [one, two] = await producer.send([record('a'), record('b')])
  assert.deepEqual([one?.offset, two?.offset], [40, 41])
  assert.deepEqual(
    arrived,
    Array.from({ length: 4 }, () => ({ values: ['a', 'b'], epoch: 0, sequence: 0 })),
  )
})

test('a connection that breaks is opened anew, and what was on it goes again', async (t) => {
  const { broker, arrived } = await start(t, (_, count) => (count === 1 ? 'close' : {}))
  await using producer = newProducer(broker)
  await producer.send(record('a'))
  assert.deepEqual(
    arrived.map(({ sequence }) => sequence),
    [0, 0],
  )
})

test('batches behind one that failed wait for it', async (t) => {
  let next = 0
  const { broker, arrived } = await start(t, ({ sequence }, count) => {
    if (count === 1) return { errorCode: NOT_LEADER_OR_FOLLOWER }
    if (sequence !== next) return { errorCode: OUT_OF_ORDER_SEQUENCE_NUMBER }
    next += 1
    return {}
  })
  await using producer = newProducer(broker, { batchBytes: 100 })
  const value = 'x'.repeat(30)
  await producer.send(Array.from({ length: 3 }, () => record(value)))
  assert.deepEqual(
    arrived.slice(-3).map(({ sequence }) => sequence),
    [0, 1, 2],
  )
  assert.ok(arrived.every(({ epoch }) => epoch === 0))
})

test('a number that is lost for good begins a new epoch', async (t) => {
  const { broker, arrived } = await start(t, ({ epoch, sequence }) =>
    epoch === 0 && sequence > 0 ? { errorCode: OUT_OF_ORDER_SEQUENCE_NUMBER } : {},
  )
  await using producer = newProducer(broker)
  await producer.send(record('a'))
  await producer.send(record('b'))
  await producer.send({ ...record('c'), partition: 1 })
  assert.deepEqual(arrived, [
    { values: ['a'], epoch: 0, sequence: 0 },
    { values: ['b'], epoch: 0, sequence: 1 },
    { values: ['b'], epoch: 1, sequence: 0 },
    { values: ['c'], epoch: 1, sequence: 0 },
  ])
})

test('a record that the broker finds wrong is told so, its neighbours that they went with it', async (t) => {
  const { broker } = await start(t, () => ({
    errorCode: ErrorCode.INVALID_RECORD,
    errorMessage: 'one is wrong',
    recordErrors: [{ batchIndex: 1, batchIndexErrorMessage: 'no key' }],
  }))
  await using producer = newProducer(broker)
  const results = await Promise.allSettled(['a', 'b'].map((value) => producer.send(record(value))))
  const reasons = results.map((one) => (one.status === 'rejected' ? one.reason : null))
  assert.deepEqual(
    reasons.map(({ name, message }) => [name, message]),
    [
      ['InvalidRecordError', 'another record of the same batch was refused'],
      ['InvalidRecordError', 'no key'],
    ],
  )
})

test('what is not stored in time fails and says why', async (t) => {
  const { broker, arrived } = await start(t, () => ({ errorCode: NOT_LEADER_OR_FOLLOWER }))
  const clock = new ManualClock()
  await using producer = newProducer(broker, { deliveryTimeoutMs: 1_000_000, clock })
  const sent = producer.send(record('a'))
  const failed = assert.rejects(sent, (error) => {
    assert.ok(error instanceof DeliveryTimeoutError)
    assert.match(error.message, /^1 records for t-0 were not stored in 1000000 ms: .*does not lead/)
    return true
  })
  while (arrived.length < 2) {
    clock.advance(1)
    await new Promise(setImmediate)
  }
  // It is under way again or about to be; in the end it comes back.
  clock.advance(1_000_000)
  await failed
  while (producer.bufferedBytes > 0) await new Promise(setImmediate)
  assert.equal(producer.bufferedBytes, 0)
})

test('a broker that says nothing is left, also by a batch under way', async (t) => {
  const { broker } = await start(t, () => 'silence')
  await using producer = newProducer(broker, { deliveryTimeoutMs: 50, requestTimeoutMs: 150 })
  await assert.rejects(producer.send(record('a')), DeliveryTimeoutError)
  // Its memory is free once the connection has been given up.
  while (producer.bufferedBytes > 0) await new Promise(setImmediate)
})

test('without room send waits, and not for ever', async (t) => {
  const { broker } = await start(t, () => 'silence')
  const clock = new ManualClock()
  const producer = newProducer(broker, { bufferBytes: 1000, batchBytes: 1000, clock })
  const first = producer.send(record('a'))
  const closed = assert.rejects(first, ClientClosedError)
  while (producer.bufferedBytes === 0) await new Promise(setImmediate)
  const second = producer.send({ ...record('b'), partition: 1 })
  const exhausted = assert.rejects(second, BufferExhaustedError)
  clock.advance(60_000)
  await exhausted
  const closing = producer.close({ timeoutMs: 10 })
  clock.advance(10)
  await closing
  await closed
})

test('a broker that wants to be left alone is', async (t) => {
  const times: number[] = []
  const { broker } = await start(t, (_, count) => {
    times.push(performance.now())
    return count === 1 ? { throttleTimeMs: 120 } : {}
  })
  await using producer = newProducer(broker)
  await producer.send(record('a'))
  await producer.send(record('b'))
  assert.ok((times[1] as number) - (times[0] as number) >= 110, `${times}`)
})

test('a broker that is too old, or refuses a producer id, is an error at once', async (t) => {
  const { broker } = await start(t, () => ({}))
  broker.on({ ...Produce, versions: '0-2' }, () => 'close')
  await using plain = newProducer(broker, { acks: 1 })
  await assert.rejects(plain.send(record('a')), UnsupportedVersionError)
  broker.on(InitProducerId, () => ({
    ...{ errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED, throttleTimeMs: 0, producerEpoch: 0 },
  }))
  await using idempotent = newProducer(broker)
  const expected = { code: ErrorCode.CLUSTER_AUTHORIZATION_FAILED }
  await assert.rejects(idempotent.send(record('a')), expected)
  await assert.rejects(idempotent.send(record('b')), expected)
})
