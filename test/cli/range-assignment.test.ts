/**
 * How consumers of the 0.8 era share out partitions: as properties, with any consumers and topics,
 * and by examples that Apache Kafka 0.8.2.2 gave.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { rangeAssignment, type SharedTopic } from '../../src/cli/zookeeper/range-assignment.ts'
import type { ConsumerRegistration } from '../../src/registry/cluster-registry.ts'

function registration(
  subscription: Readonly<Record<string, number>>,
  pattern: ConsumerRegistration['pattern'] = 'static',
): ConsumerRegistration {
  return { subscription: new Map(Object.entries(subscription)), pattern, timestampMs: 0 }
}

/** Everybody's partitions, as `topic-partition: stream`. */
function assignAll(
  consumers: ReadonlyMap<string, ConsumerRegistration>,
  topics: readonly SharedTopic[],
): Map<string, string> {
  const owners = new Map<string, string>()
  for (const id of consumers.keys()) {
    for (const { topic, partition, stream } of rangeAssignment(consumers, id, topics)) {
      const key = `${topic}-${partition}`
      assert.ok(!owners.has(key), `${key} has two owners`)
      owners.set(key, stream)
    }
  }
  return owners
}

test('each partition has one owner, ranges are whole and even', () => {
  const names = fc.uniqueArray(fc.stringMatching(/^g_[a-z]{1,6}-\d{1,3}$/), {
    minLength: 1,
    maxLength: 5,
  })
  fc.assert(
    fc.property(
      names,
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 30 }),
      (...all) => {
        const [ids, streams, partitions] = all
        const consumers = new Map(ids.map((id) => [id, registration({ t: streams })]))
        const owners = assignAll(consumers, [{ name: 't', partitions }])
        assert.equal(owners.size, partitions)
        const inOrder = Array.from(
          { length: partitions },
          (_, at) => owners.get(`t-${at}`) as string,
        )
        assert.deepEqual(inOrder, [...inOrder].sort())
        const counts = new Map<string, number>()
        for (const stream of inOrder) counts.set(stream, (counts.get(stream) ?? 0) + 1)
        const least = Math.floor(partitions / (ids.length * streams))
        for (const count of counts.values()) assert.ok(count === least || count === least + 1)
      },
    ),
  )
})

test('the first in order of their names get one more', () => {
  const consumers = new Map([
    ['g_vm-1795943434828-f3a07b23', registration({ share: 1 })],
    ['g_vm-1795943431576-040fdfbf', registration({ share: 1 })],
  ])
  const owners = assignAll(consumers, [{ name: 'share', partitions: 5 }])
  assert.deepEqual([...owners].sort(), [
    ['share-0', 'g_vm-1795943431576-040fdfbf-0'],
    ['share-1', 'g_vm-1795943431576-040fdfbf-0'],
    ['share-2', 'g_vm-1795943431576-040fdfbf-0'],
    ['share-3', 'g_vm-1795943434828-f3a07b23-0'],
    ['share-4', 'g_vm-1795943434828-f3a07b23-0'],
  ])
})

test('patterns name topics or leave them out, internal ones are read by none', () => {
  const consumers = new Map([
    ['g_a', registration({ 'or.*,other': 1 }, 'white_list')],
    ['g_b', registration({ 'or.*': 1 }, 'black_list')],
    ['g_c', registration({ orders: 2 })],
  ])
  const topics = ['__consumer_offsets', 'orders', 'other', 'stock'].map((name) => {
    return { name, partitions: 3 }
  })
  const owners = assignAll(consumers, topics)
  const of = (topic: string) => [0, 1, 2].map((partition) => owners.get(`${topic}-${partition}`))
  assert.deepEqual(of('orders'), ['g_a-0', 'g_c-0', 'g_c-1'])
  assert.deepEqual(of('other'), ['g_a-0', 'g_a-0', 'g_b-0'])
  assert.deepEqual(of('stock'), ['g_b-0', 'g_b-0', 'g_b-0'])
  assert.deepEqual(of('__consumer_offsets'), [undefined, undefined, undefined])
})
