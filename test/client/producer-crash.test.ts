/**
 * Kills the broker with SIGKILL while an idempotent producer sends, and starts it anew on the same
 * directory: every record is there once, at the offset that was acknowledged, and in order.
 *
 * The moments are drawn from a seed, printed and set by SHARDLOG_TEST_SEED.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../src/client/producer.ts'
import { SimpleConsumer } from '../../src/client/simple-consumer.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { seededRandom, testSeed } from '../support/seed.ts'

const PARTITIONS = 3
const KILLS = { shardlog: 6, kafka: 1 }
const SETTINGS = { 'num.partitions': String(PARTITIONS), 'log.segment.bytes': '1048576' }

/** Values of a partition by offset. */
async function readAll(address: string, topic: string, partition: number): Promise<string[]> {
  await using consumer = new SimpleConsumer({ bootstrapServers: address })
  const values: string[] = []
  for (;;) {
    const { records, nextOffset, highWatermark } = await consumer.fetch({
      ...{ topic, partition, offset: values.length, maxWaitMs: 10 },
    })
    for (const { offset, value } of records) values[offset] = String(value)
    if (nextOffset >= highWatermark) return values
  }
}

async function crashUnderLoad(broker: BrokerUnderTest, random: () => number): Promise<void> {
  const topic = 'crash'
  await broker.start(SETTINGS)
  const producer = new Producer({
    bootstrapServers: broker.address,
    lingerMs: 1,
    batchBytes: 2000,
    requestTimeoutMs: 5000,
    retryBackoffMs: 20,
    bufferBytes: 200_000,
  })
  const acknowledged = Array.from({ length: PARTITIONS }, () => new Map<number, number>())
  const failures: Error[] = []
  const sent = Array.from({ length: PARTITIONS }, () => 0)
  let total = 0
  let isEnough = false
  const load = (async () => {
    for (let i = 0; !isEnough; i += 1) {
      const partition = i % PARTITIONS
      const number = sent[partition] as number
      sent[partition] = number + 1
      producer.send({ topic, partition, value: `${number} ${'x'.repeat(i % 90)}` }).then(
        ({ offset }) => {
          acknowledged[partition]?.set(number, offset)
          total += 1
        },
        (error: Error) => failures.push(error),
      )
      if (i % 20 === 0) await new Promise(setImmediate)
      await producer.ready()
    }
  })()
  const reach = async (count: number) => {
    while (total < count && failures.length === 0) await new Promise(setImmediate)
  }
  for (let kill = 0; kill < KILLS[broker.kind]; kill += 1) {
    await reach(total + 500 + Math.floor(random() * 5000))
    await broker.kill('SIGKILL')
    await broker.start(SETTINGS)
  }
  await reach(total + 1000)
  isEnough = true
  await load
  await producer.close()
  assert.deepEqual(failures, [])
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const values = await readAll(broker.address, topic, partition)
    assert.deepEqual(
      values.map((value) => Number.parseInt(value, 10)),
      Array.from({ length: sent[partition] as number }, (_, i) => i),
      `partition ${partition}`,
    )
    // A record that the broker had already when it came again has no offset.
    for (const [number, offset] of acknowledged[partition] ?? []) {
      assert.ok(offset === number || offset === -1, `${number} is at ${offset}`)
    }
  }
}

test('kill -9 loses, repeats and reorders nothing (shardlog)', { timeout: 120_000 }, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  await using broker = new ShardlogServer()
  await crashUnderLoad(broker, seededRandom(seed))
})

test('kill -9 loses, repeats and reorders nothing (kafka)', { timeout: 120_000 }, async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  await using broker = new ApacheKafka()
  await crashUnderLoad(broker, seededRandom(seed))
})
