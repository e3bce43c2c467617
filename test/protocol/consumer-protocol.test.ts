/** Subscriptions and assignments of the `consumer` protocol, by known bytes and by property. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type ConsumerSubscription,
  decodeConsumerAssignment,
  decodeConsumerSubscription,
  encodeConsumerAssignment,
  encodeConsumerSubscription,
} from '../../src/protocol/consumer-protocol.ts'
import { MalformedMessageError } from '../../src/protocol/message-reader.ts'

const topicPartitions = fc.array(
  fc
    .tuple(
      fc.string({ maxLength: 20 }),
      fc.array(fc.integer({ min: 0, max: 2 ** 31 - 1 }), { maxLength: 5 }),
    )
    .map(([topic, partitions]) => ({ topic, partitions })),
  { maxLength: 5 },
)
const userData = fc.option(fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)))
const subscription: fc.Arbitrary<ConsumerSubscription> = fc.record({
  topics: fc.array(fc.string({ maxLength: 20 }), { maxLength: 5 }),
  userData,
  ownedPartitions: topicPartitions,
  generationId: fc.integer({ min: -1, max: 2 ** 31 - 1 }),
  rackId: fc.option(fc.string({ maxLength: 10 })),
})

test('a subscription has the bytes that Kafka gives it', () => {
  const bytes = encodeConsumerSubscription({
    topics: ['t'],
    userData: null,
    ownedPartitions: [{ topic: 't', partitions: [7] }],
    generationId: 5,
    rackId: 'r',
  })
  assert.equal(
    bytes.toString('hex'),
    `0003${'00000001000174'}ffffffff${'00000001000174'}0000000100000007${'00000005'}000172`,
  )
})

test('what a version has comes back, the rest as its default', () => {
  fc.assert(
    fc.property(subscription, fc.integer({ min: 0, max: 3 }), (value, version) => {
      assert.deepEqual(
        { ...decodeConsumerSubscription(encodeConsumerSubscription(value, version)) },
        {
          topics: value.topics,
          userData: value.userData,
          ownedPartitions: version >= 1 ? value.ownedPartitions : [],
          generationId: version >= 2 ? value.generationId : -1,
          rackId: version >= 3 ? value.rackId : null,
        },
      )
    }),
  )
  fc.assert(
    fc.property(topicPartitions, userData, (assignedPartitions, data) => {
      const value = { assignedPartitions, userData: data }
      assert.deepEqual({ ...decodeConsumerAssignment(encodeConsumerAssignment(value)) }, value)
    }),
  )
})

test('a later version is read as the one that is known', () => {
  const value = {
    topics: ['a'],
    userData: null,
    ownedPartitions: [],
    generationId: 1,
    rackId: null,
  }
  const bytes = Buffer.concat([encodeConsumerSubscription(value), Buffer.from('more')])
  bytes.writeInt16BE(9, 0)
  assert.deepEqual({ ...decodeConsumerSubscription(bytes) }, value)
})

test('no bytes are no partitions, and bad bytes are malformed', () => {
  assert.deepEqual(decodeConsumerAssignment(Buffer.alloc(0)).assignedPartitions, [])
  for (const bytes of ['', '00', 'ffff', '0001', '0000ffffffff', '00007fffffff']) {
    const buffer = Buffer.from(bytes, 'hex')
    assert.throws(() => decodeConsumerSubscription(buffer), MalformedMessageError, bytes)
    if (bytes !== '') {
      assert.throws(() => decodeConsumerAssignment(buffer), MalformedMessageError, bytes)
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      for (const decode of [decodeConsumerSubscription, decodeConsumerAssignment]) {
        try {
          decode(Buffer.from(bytes))
        } catch (error) {
          assert.ok(error instanceof MalformedMessageError, String(error))
        }
      }
    }),
  )
})
