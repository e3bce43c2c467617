/**
 * Brokers of ours and of Apache Kafka in one cluster, on one ZooKeeper, whichever kind is the
 * controller: topics with replicas on both, nothing acknowledged is lost when leaders are killed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../../src/client/producer.ts'
import { skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import { readAll } from './read-all.ts'

const TOPIC = 'mixed'

test('our brokers follow and lead under a controller of Apache Kafka', {
  skip: skipWithoutCluster('apache') || skipWithoutCluster('shardlog'),
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster({ kind: (id) => (id === 0 ? 'apache' : 'shardlog') })
  const created = await cluster.createTopic({
    name: TOPIC,
    partitions: 3,
    replicationFactor: 3,
    configs: { 'min.insync.replicas': '2' },
  })
  assert.equal(created.partitions.length, 3)
  await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
  for (let n = 0; n < 90; n += 1) {
    await producer.send({ topic: TOPIC, partition: n % 3, value: `${n}` })
  }
  for (const partition of [0, 1, 2]) {
    assert.deepEqual(
      await readAll(cluster.bootstrap, TOPIC, partition),
      Array.from({ length: 30 }, (_, i) => `${i * 3 + partition}`),
    )
  }
})
