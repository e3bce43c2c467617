/**
 * The clients of 0.8.2.2 against the running broker: both its producers, and its SimpleConsumer.
 * They speak record format 0: no timestamps, no headers.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startBrokerUnderTest } from '../../support/broker.ts'
import { skipWithout } from '../../support/peers.ts'
import { startJavaClient } from './java.ts'
import { modernTraits, startReference, testClient } from './scenario.ts'

const program = { set: 'kafka-0.8.2', main: 'LegacyClient' } as const

for (const producer of ['old', 'new']) {
  testClient({
    ...modernTraits,
    name: `java-0.8.2-${producer}-producer`,
    needs: [program.set],
    codecs: ['none', 'gzip', 'snappy', 'lz4'],
    headers: { writes: 'none', reads: 'none' },
    timestamps: 'none',
    seeksByTime: false,
    start: (bootstrap) => startJavaClient(program, [bootstrap, producer]),
  })
}

test('SimpleConsumer 0.8.2 asks for the earliest and the latest offset', async (t) => {
  if (skipWithout(t, program.set, 'go')) return
  await using broker = await startBrokerUnderTest()
  await using reference = startReference(broker.address)
  await using client = await startJavaClient(program, [broker.address, 'old'])
  const where = { topic: 'offsets', partition: 0 }
  await reference.createTopic({ topic: where.topic, partitions: 1 })
  const record = { key: null, value: '', headers: [], timestamp: Date.now() }
  const records = [record, record, record]
  await reference.produce({ ...where, codec: 'none', acks: -1, records })
  const [earliest, latest] = [-2, -1]
  assert.equal(await client.offsetForTime({ ...where, timestamp: earliest }), 0)
  assert.equal(await client.offsetForTime({ ...where, timestamp: latest }), 3)
})
