/**
 * The producer and the simple consumer against our broker and against Apache Kafka: what is sent is
 * what is read, in order, from the partitions where it belongs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Admin } from '../../src/client/admin.ts'
import { COMPRESSION_CODECS, type CompressionType } from '../../src/client/codecs.ts'
import {
  ClientClosedError,
  InvalidArgumentError,
  MessageTooLargeError,
  OffsetOutOfRangeError,
  UnknownTopicOrPartitionError,
} from '../../src/client/errors.ts'
import { partitionOfKey } from '../../src/client/murmur2.ts'
import { Producer, type ProducerOptions } from '../../src/client/producer.ts'
import type { ConsumerRecord } from '../../src/client/records.ts'
import { SimpleConsumer } from '../../src/client/simple-consumer.ts'
import { describeOnBoth } from '../support/both-brokers.ts'
import type { BrokerUnderTest } from '../support/broker.ts'

let topics = 0

async function createTopic(
  { address }: BrokerUnderTest,
  partitions: number,
  configs: Readonly<Record<string, string>> = {},
): Promise<string> {
  topics += 1
  const name = `produced-${topics}`
  const admin = new Admin({ bootstrapServers: address })
  try {
    const [created] = await admin.createTopics([{ name, partitions, configs }])
    assert.equal(created?.error, null)
  } finally {
    await admin.close()
  }
  return name
}

function newProducer(broker: BrokerUnderTest, options: Partial<ProducerOptions> = {}): Producer {
  return new Producer({ bootstrapServers: broker.address, ...options })
}

async function readAll(
  { address }: BrokerUnderTest,
  topic: string,
  partition: number,
): Promise<ConsumerRecord[]> {
  await using consumer = new SimpleConsumer({ bootstrapServers: address })
  const found: ConsumerRecord[] = []
  let offset = 0
  for (;;) {
    const { records, nextOffset, highWatermark } = await consumer.fetch({
      ...{ topic, partition, offset, maxWaitMs: 100 },
    })
    found.push(...records)
    offset = nextOffset
    if (offset >= highWatermark) return found
  }
}

describeOnBoth((broker) => {
  for (const compression of Object.keys(COMPRESSION_CODECS) as CompressionType[]) {
    test(`what is sent is what is read: ${compression}`, async () => {
      const topic = await createTopic(broker(), 1)
      await using producer = newProducer(broker(), { compression, lingerMs: 2 })
      const sent = Array.from({ length: 300 }, (_, i) => ({
        topic,
        key: i % 3 === 0 ? null : `key ${i}`,
        value: i % 7 === 0 ? null : Buffer.alloc(i, `${i} `),
        headers:
          i % 5 === 0
            ? [
                { key: 'h', value: `v${i}` },
                { key: 'n', value: null },
              ]
            : [],
        timestamp: 1_700_000_000_000 + (i % 50),
      }))
      const stored = await producer.send(sent)
      assert.deepEqual(
        stored.map(({ offset }) => offset),
        sent.map((_, i) => i),
      )
      const read = await readAll(broker(), topic, 0)
      const text = (part: Buffer | string | null) => (part === null ? null : String(part))
      assert.deepEqual(
        read.map((one) => [
          one.offset,
          text(one.key),
          text(one.value),
          one.headers.map(({ key, value }) => [key, text(value)]),
          one.timestamp,
        ]),
        sent.map((one, i) => [
          i,
          one.key,
          text(one.value),
          one.headers.map(({ key, value }) => [key, value]),
          one.timestamp,
        ]),
      )
    })
  }

  for (const acks of [0, 1, 'all'] as const) {
    test(`records with acks ${acks} are stored, in order`, async () => {
      const topic = await createTopic(broker(), 1)
      await using producer = newProducer(broker(), { acks, batchBytes: 500, maxInFlight: 1 })
      const stored = await producer.send(
        Array.from({ length: 200 }, (_, i) => ({ topic, value: `${i}` })),
      )
      assert.equal(stored[199]?.offset, acks === 0 ? -1 : 199)
      await using consumer = new SimpleConsumer({ bootstrapServers: broker().address })
      // Nobody says when records with acks 0 have arrived.
      const read: string[] = []
      while (read.length < 200) {
        const offset = read.length
        const { records } = await consumer.fetch({ topic, partition: 0, offset })
        read.push(...records.map(({ value }) => String(value)))
      }
      assert.deepEqual(
        read,
        Array.from({ length: 200 }, (_, i) => `${i}`),
      )
    })
  }

  test('a key has its partition, as in Java', async () => {
    const topic = await createTopic(broker(), 7)
    await using producer = newProducer(broker())
    const keys = Array.from({ length: 50 }, (_, i) => `key-${i}`)
    const stored = await producer.send(keys.map((key) => ({ topic, key, value: null })))
    assert.deepEqual(
      stored.map(({ partition }) => partition),
      keys.map((key) => partitionOfKey(Buffer.from(key), 7)),
    )
  })

  test('round-robin takes every partition in turn, sticky fills batches', async () => {
    const topic = await createTopic(broker(), 4)
    await using inTurn = newProducer(broker(), { partitioner: 'round-robin' })
    const stored = await inTurn.send(
      Array.from({ length: 8 }, (_, i) => ({ topic, value: `${i}` })),
    )
    const turns = stored.map(({ partition }) => partition)
    assert.deepEqual(
      turns,
      turns.map((_, i) => ((turns[0] as number) + i) % 4),
    )
    await using sticky = newProducer(broker(), { batchBytes: 2000 })
    const stuck = await sticky.send(
      Array.from({ length: 400 }, () => ({ topic, value: Buffer.alloc(100) })),
    )
    let changes = 0
    for (const [i, { partition }] of stuck.entries()) {
      if (i > 0 && partition !== stuck[i - 1]?.partition) changes += 1
    }
    // 400 records of some 110 bytes are 22 batches or more; by chance the next is the same.
    assert.ok(changes > 5 && changes < 35, `${changes} changes`)
  })

  test('a topic comes to be with its first record', async () => {
    await using producer = newProducer(broker())
    const { offset } = await producer.send({ topic: `auto-${broker().kind}`, value: 'x' })
    assert.equal(offset, 0)
  })

  test('a topic that does not come to be is an error', async () => {
    await using producer = newProducer(broker(), {
      allowAutoTopicCreation: false,
      maxBlockMs: 1000,
    })
    await assert.rejects(
      producer.send({ topic: 'nowhere', value: 'x' }),
      UnknownTopicOrPartitionError,
    )
    await assert.rejects(producer.send({ topic: 'no/such name', value: 'x' }), {
      name: 'InvalidTopicError',
    })
  })

  test('what is too large is refused, here or by the broker, and the rest is stored', async () => {
    const topic = await createTopic(broker(), 1, { 'max.message.bytes': '10000' })
    await using producer = newProducer(broker(), { maxRequestBytes: 200_000, batchBytes: 100_000 })
    await assert.rejects(
      producer.send({ topic, value: Buffer.alloc(300_000) }),
      MessageTooLargeError,
    )
    // One batch of some 80 kB, which must be split, with one record that can be in none.
    const sent = Array.from({ length: 40 }, (_, i) =>
      producer.send({ topic, value: Buffer.alloc(i === 17 ? 20_000 : 1500, `${i}.`) }),
    )
    const results = await Promise.allSettled(sent)
    const failed = results.flatMap((one, i) => (one.status === 'rejected' ? [[i, one.reason]] : []))
    assert.deepEqual(
      failed.map(([i]) => i),
      [17],
    )
    assert.ok(failed[0]?.[1] instanceof MessageTooLargeError)
    const read = await readAll(broker(), topic, 0)
    assert.deepEqual(
      read.map(({ value }) => value?.length),
      Array.from({ length: 39 }, () => 1500),
    )
    assert.deepEqual(
      read.map(({ value }) => Number.parseInt(String(value), 10)),
      Array.from({ length: 40 }, (_, i) => i).filter((i) => i !== 17),
    )
  })

  test('memory is bounded: more waits, and everything arrives in order', async () => {
    const topic = await createTopic(broker(), 1)
    await using producer = newProducer(broker(), { bufferBytes: 20_000, batchBytes: 4000 })
    let most = 0
    const sent = Array.from({ length: 500 }, (_, i) => {
      const promise = producer.send({ topic, value: Buffer.alloc(500, `${i}.`) })
      most = Math.max(most, producer.bufferedBytes)
      return promise
    })
    assert.equal(producer.isReady, false)
    await producer.ready()
    const stored = await Promise.all(sent)
    assert.deepEqual(
      stored.map(({ offset }) => offset),
      Array.from({ length: 500 }, (_, i) => i),
    )
    assert.ok(most <= 20_000, `${most} bytes`)
    assert.equal(producer.bufferedBytes, 0)
  })

  test('flush waits for all that was sent, whatever linger says; close too', async () => {
    const topic = await createTopic(broker(), 2)
    const producer = newProducer(broker(), { lingerMs: 60_000 })
    const offsets: number[] = []
    const note = ({ offset }: { offset: number }) => {
      offsets.push(offset)
    }
    const first = producer.send({ topic, partition: 0, value: 'one' }).then(note)
    await producer.flush()
    await first
    assert.deepEqual(offsets, [0])
    const second = producer.send({ topic, partition: 0, value: 'two' }).then(note)
    await producer.close()
    await second
    assert.deepEqual(offsets, [0, 1])
    await assert.rejects(producer.send({ topic, value: 'three' }), ClientClosedError)
  })

  test('what cannot be a record is refused', async () => {
    await using producer = newProducer(broker())
    const wrong = [
      { topic: '', value: 'x' },
      { topic: 't', value: 5 as unknown as string },
      { topic: 't', value: 'x', partition: -1 },
      { topic: 't', value: 'x', timestamp: 1.5 },
      { topic: 't', value: 'x', headers: [{ key: null as unknown as string, value: 'x' }] },
    ]
    for (const record of wrong) await assert.rejects(producer.send(record), InvalidArgumentError)
    const topic = await createTopic(broker(), 1)
    await producer.send({ topic, value: 'x' })
    await assert.rejects(
      producer.send({ topic, value: 'x', partition: 1 }),
      UnknownTopicOrPartitionError,
    )
  })

  test('the simple consumer reads by offset, and tells topics and offsets', async () => {
    const topic = await createTopic(broker(), 1)
    await using producer = newProducer(broker())
    await producer.send(Array.from({ length: 10 }, (_, i) => ({ topic, value: `${i}` })))
    await using consumer = new SimpleConsumer({ bootstrapServers: broker().address })
    const found = await consumer.fetch({ topic, partition: 0, offset: 4 })
    assert.deepEqual(
      found.records.map(({ offset, value }) => [offset, String(value)]),
      [4, 5, 6, 7, 8, 9].map((i) => [i, `${i}`]),
    )
    assert.deepEqual(
      [found.nextOffset, found.highWatermark, found.lastStableOffset, found.logStartOffset],
      [10, 10, 10, 0],
    )
    const none = await consumer.fetch({ topic, partition: 0, offset: 10, maxWaitMs: 10 })
    assert.deepEqual([none.records, none.nextOffset], [[], 10])
    await assert.rejects(consumer.fetch({ topic, partition: 0, offset: 11 }), OffsetOutOfRangeError)
    assert.deepEqual(await consumer.getOffsetsBefore(topic, 0, -1, 10), [10, 0])
    assert.deepEqual(await consumer.getOffsetsBefore(topic, 0, -1, 1), [10])
    assert.deepEqual(await consumer.getOffsetsBefore(topic, 0, -2, 10), [0])
    const [metadata, missing] = await consumer.topicMetadata([topic, 'not-there'])
    assert.deepEqual(
      metadata?.partitions.map(({ partition, leaderId, isr }) => [partition, leaderId, isr]),
      [[0, 0, [0]]],
    )
    assert.equal(missing?.errorCode, 3)
  })
})
