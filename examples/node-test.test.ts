/** A broker for one test file: started before the tests, gone after them. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createBroker, type EmbeddedBroker, ManualClock } from 'shardlog'
import { Consumer, Producer } from 'shardlog/client'

const clock = new ManualClock(Date.now())
let broker: EmbeddedBroker

before(async () => {
  broker = await createBroker({
    clock,
    topics: { orders: { partitions: 3 }, audit: { config: { 'retention.ms': 3_600_000 } } },
  })
})

after(() => broker.close())

test('what was sent is received, in the order of its key', async () => {
  const { bootstrapServers } = broker
  const producer = new Producer({ bootstrapServers })
  const consumer = new Consumer({ bootstrapServers, groupId: 'g', autoOffsetReset: 'earliest' })
  try {
    for (let i = 0; i < 10; i += 1) {
      await producer.send({ topic: 'orders', key: 'customer-1', value: `order ${i}` })
    }
    consumer.subscribe(['orders'])
    const received: string[] = []
    for await (const record of consumer) {
      received.push(String(record.value))
      if (received.length === 10) break
    }
    assert.deepEqual(
      received,
      Array.from({ length: 10 }, (_, i) => `order ${i}`),
    )
  } finally {
    await consumer.close()
    await producer.close()
  }
})
