/** Assignment of replicas: every rule for any size, and that the load is even. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assignReplicas, checkAssignment } from '../../src/controller/replica-assignment.ts'
import { ErrorCode, KafkaError } from '../../src/protocol/error-codes.ts'
import { SeededRandom } from '../../src/util/random.ts'

test('replicas are distinct, as many as wanted, and spread evenly', () => {
  const sizes = fc.record({
    brokers: fc.integer({ min: 1, max: 12 }),
    partitions: fc.integer({ min: 1, max: 60 }),
    first: fc.integer({ min: 0, max: 9 }),
    seed: fc.nat(),
    factor: fc.integer({ min: 1, max: 12 }),
  })
  fc.assert(
    fc.property(sizes, ({ brokers, partitions, first, seed, factor }) => {
      const brokerIds = Array.from({ length: brokers }, (_, i) => 10 + 3 * i)
      const replicationFactor = Math.min(factor, brokers)
      const assignment = assignReplicas({
        brokers: brokerIds.map((brokerId) => ({ brokerId, rack: null })),
        firstReplica: null,
        partitionCount: partitions,
        replicationFactor,
        firstPartition: first,
        random: new SeededRandom(seed),
      })
      assert.equal(assignment.length, partitions)
      checkAssignment(assignment, (id) => brokerIds.includes(id), replicationFactor)
      const leads = brokerIds.map((id) => assignment.filter((r) => r[0] === id).length)
      assert.ok(Math.max(...leads) - Math.min(...leads) <= 1)
    }),
  )
})

test('too few brokers, or none', () => {
  for (const brokerIds of [[], [1, 2]]) {
    assert.throws(
      () =>
        assignReplicas({
          brokers: brokerIds.map((brokerId) => ({ brokerId, rack: null })),
          firstReplica: null,
          partitionCount: 1,
          replicationFactor: 3,
          firstPartition: 0,
          random: new SeededRandom(1),
        }),
      (error) =>
        error instanceof KafkaError && error.errorCode === ErrorCode.INVALID_REPLICATION_FACTOR,
    )
  }
})
