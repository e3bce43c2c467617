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

test('racks: as Apache Kafka places replicas, one in each rack before any twice', () => {
  const brokers = [
    { brokerId: 0, rack: 'rack1' },
    { brokerId: 1, rack: 'rack3' },
    { brokerId: 2, rack: 'rack3' },
    { brokerId: 3, rack: 'rack2' },
    { brokerId: 4, rack: 'rack2' },
    { brokerId: 5, rack: 'rack1' },
  ]
  const first = { integer: () => 0, bytes: (count: number) => Buffer.alloc(count) }
  const assign = (partitionCount: number) =>
    assignReplicas({
      ...{ brokers, partitionCount, replicationFactor: 3 },
      ...{ firstPartition: 0, firstReplica: null, random: first },
    })
  // Worked out by hand from the order 0, 3, 1, 5, 4, 2 of alternating racks.
  assert.deepEqual(assign(7), [
    [0, 3, 1],
    [3, 1, 5],
    [1, 5, 4],
    [5, 4, 2],
    [4, 2, 0],
    [2, 0, 3],
    [0, 4, 2],
  ])
  for (const seed of [1, 2, 3, 4]) {
    const replicas = assignReplicas({
      ...{ brokers, partitionCount: 60, replicationFactor: 4 },
      ...{ firstPartition: 3, firstReplica: 5, random: new SeededRandom(seed) },
    })
    checkAssignment(replicas, (id) => id <= 5, 4)
    for (const ids of replicas) {
      assert.equal(new Set(ids.map((id) => brokers[id]?.rack)).size, 3)
    }
  }
})
