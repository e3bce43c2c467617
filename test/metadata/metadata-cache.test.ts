/** The cache: lookups by name and id, order, offline replicas, and against a plain model. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import {
  type BrokerImage,
  isInternalTopic,
  type TopicImage,
} from '../../src/metadata/topic-image.ts'
import { ManualClock } from '../../src/util/clock.ts'

function brokerImage(brokerId: number): BrokerImage {
  const endpoint = { host: `b${brokerId}`, port: 9092 }
  return { brokerId, brokerEpoch: 1, rack: null, endpoints: new Map([['PLAINTEXT', endpoint]]) }
}

function topicImage(name: string, topicId: string, replicas: number[][]): TopicImage {
  return {
    name,
    topicId,
    isInternal: false,
    configs: new Map(),
    partitions: replicas.map((ids, partition) => ({
      topic: name,
      partition,
      leader: ids[0] ?? -1,
      leaderEpoch: 0,
      partitionEpoch: 0,
      controllerEpoch: 1,
      replicas: ids,
      isr: ids,
      offlineReplicas: [],
    })),
  }
}

test('topics are found by name and id, and listed in order', () => {
  const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  cache.setBrokers([brokerImage(2), brokerImage(1)])
  cache.putTopic(topicImage('b', 'id-b', [[1], [2]]))
  cache.putTopic(topicImage('a', 'id-a', [[1]]))
  assert.deepEqual(cache.topicNames(), ['a', 'b'])
  assert.equal(cache.topicById('id-b')?.name, 'b')
  assert.equal(cache.partition('b', 1)?.leader, 2)
  assert.equal(cache.partition('b', 2), undefined)
  assert.equal(cache.partition('b', -1), undefined)
  assert.equal(cache.partitionCount, 3)
  assert.deepEqual(
    cache.brokers.map((b) => b.brokerId),
    [1, 2],
  )
  assert.deepEqual(cache.endpoint(2, 'PLAINTEXT'), { host: 'b2', port: 9092 })
  assert.equal(cache.endpoint(2, 'INSIDE'), undefined)
  // The same name with another id is another topic.
  cache.putTopic(topicImage('b', 'id-b2', [[1]]))
  assert.equal(cache.topicById('id-b'), undefined)
  assert.equal(cache.partitionCount, 2)
  assert.equal(cache.removeTopic('b')?.topicId, 'id-b2')
  assert.equal(cache.removeTopic('b'), undefined)
  assert.deepEqual(cache.topicNames(), ['a'])
})

test('offline replicas follow the live brokers', () => {
  const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  cache.setBrokers([brokerImage(1), brokerImage(2), brokerImage(3)])
  cache.putTopic(topicImage('t', 'id', [[1, 2, 3]]))
  const before = cache.topic('t')
  assert.deepEqual(before?.partitions[0]?.offlineReplicas, [])
  cache.setBrokers([brokerImage(2)])
  assert.deepEqual(cache.partition('t', 0)?.offlineReplicas, [1, 3])
  assert.equal(cache.topicById('id'), cache.topic('t'))
  assert.deepEqual(before?.partitions[0]?.offlineReplicas, [])
  cache.setBrokers([brokerImage(1), brokerImage(2), brokerImage(3)])
  assert.deepEqual(cache.partition('t', 0)?.offlineReplicas, [])
})

test('a broker that goes is listed for two seconds more, where it was last', () => {
  const clock = new ManualClock()
  const cache = new MetadataCache({ clusterId: 'c', clock })
  const listedIds = (isWithGone: boolean, listener = 'PLAINTEXT') =>
    cache.listedBrokers(listener, isWithGone).map(({ nodeId }) => nodeId)
  cache.setBrokers([brokerImage(1), brokerImage(2), brokerImage(3)])
  cache.setBrokers([brokerImage(2), brokerImage(3)])
  clock.advance(1000)
  cache.setBrokers([brokerImage(3)])
  cache.setBrokers([brokerImage(3)])
  assert.deepEqual(listedIds(true), [1, 2, 3])
  assert.deepEqual(cache.listedBrokers('PLAINTEXT', true)[0], {
    ...{ nodeId: 1, host: 'b1', port: 9092, rack: null },
  })
  assert.deepEqual(listedIds(false), [3])
  assert.deepEqual(listedIds(true, 'INSIDE'), [])
  assert.equal(cache.isAlive(1), false)
  assert.equal(cache.endpoint(1, 'PLAINTEXT'), undefined)
  clock.advance(999)
  assert.deepEqual(listedIds(true), [1, 2, 3])
  clock.advance(1)
  assert.deepEqual(listedIds(true), [2, 3])
  clock.advance(1000)
  assert.deepEqual(listedIds(true), [3])
})

test('a gone broker is not listed when it is back, or its place is taken, or it was the last', () => {
  const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  const listed = () =>
    cache.listedBrokers('PLAINTEXT', true).map(({ nodeId, host }) => `${nodeId}@${host}`)
  const moved = (brokerId: number, host: string): BrokerImage => ({
    ...brokerImage(brokerId),
    endpoints: new Map([['PLAINTEXT', { host, port: 9092 }]]),
  })
  cache.setBrokers([brokerImage(1), brokerImage(2)])
  cache.setBrokers([brokerImage(2)])
  cache.setBrokers([moved(1, 'elsewhere'), brokerImage(2)])
  assert.deepEqual(listed(), ['1@elsewhere', '2@b2'])
  cache.setBrokers([brokerImage(2)])
  assert.deepEqual(listed(), ['1@elsewhere', '2@b2'])
  cache.setBrokers([brokerImage(2), moved(4, 'elsewhere')])
  assert.deepEqual(listed(), ['2@b2', '4@elsewhere'])
  cache.setBrokers([])
  assert.deepEqual(listed(), [])
})

test('replicas whose disk failed are offline until their broker is back', () => {
  const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  const brokers = [1, 2, 3].map(brokerImage)
  cache.setBrokers(brokers)
  const { partitions, ...topic } = topicImage('t', 'id', [[1, 2, 3]])
  const failed = partitions.map((one) => ({ ...one, offlineReplicas: [2] }))
  cache.putTopic({ ...topic, partitions: failed })
  const offline = (): readonly number[] | undefined => cache.partition('t', 0)?.offlineReplicas
  assert.deepEqual(offline(), [2])
  cache.setBrokers(brokers)
  assert.deepEqual(offline(), [2])
  cache.setBrokers(brokers.slice(0, 2))
  assert.deepEqual(offline(), [2, 3])
  cache.setBrokers(brokers.slice(0, 1))
  cache.setBrokers(brokers)
  assert.deepEqual(offline(), [])
})

test('a partition is replaced, a partition that is not known is ignored', () => {
  const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  cache.setBrokers([brokerImage(1)])
  const image = cache.putTopic(topicImage('t', 'id', [[1], [1]]))
  const partition = { ...(image.partitions[1] as (typeof image.partitions)[0]), leaderEpoch: 7 }
  const generation = cache.generation
  cache.putPartition(partition)
  assert.equal(cache.partition('t', 1)?.leaderEpoch, 7)
  assert.ok(cache.generation > generation)
  cache.putPartition({ ...partition, partition: 2 })
  cache.putPartition({ ...partition, topic: 'u' })
  assert.equal(cache.partitionCount, 2)
})

test('counts and indexes agree with a plain model', () => {
  const step = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    id: fc.constantFrom('1', '2'),
    partitions: fc.integer({ min: 0, max: 3 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const cache = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
      const model = new Map<string, TopicImage>()
      for (const { name, id, partitions } of steps) {
        if (partitions === 0) {
          cache.removeTopic(name)
          model.delete(name)
        } else {
          const image = topicImage(name, name + id, Array(partitions).fill([]))
          cache.putTopic(image)
          model.set(name, image)
        }
      }
      assert.deepEqual(cache.topicNames(), [...model.keys()].sort())
      const partitions = [...model.values()].map((t) => t.partitions.length)
      assert.equal(
        cache.partitionCount,
        partitions.reduce((a, b) => a + b, 0),
      )
      for (const name of ['a', 'b', 'c']) {
        for (const id of ['1', '2']) {
          const expected = model.get(name)
          const found = expected?.topicId === name + id ? expected : undefined
          assert.deepEqual(cache.topicById(name + id), found)
        }
      }
    }),
  )
})

test('internal topics', () => {
  assert.equal(isInternalTopic('__consumer_offsets'), true)
  assert.equal(isInternalTopic('__other'), false)
})
