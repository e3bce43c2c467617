/**
 * The cluster on every release of ZooKeeper that is supported, but for the one that all other tests
 * run on: the leader is killed while a producer sends with acks=-1, another leads, and the killed
 * broker comes back into the ISR.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../../src/client/producer.ts'
import { startCluster } from '../../support/cluster.ts'
import {
  skipWithoutZooKeeper,
  ZOOKEEPER,
  ZOOKEEPER_PEERS,
} from '../../support/zookeeper-ensemble.ts'
import { readAll } from './read-all.ts'

const TOPIC = 'releases'

for (const zookeeper of ZOOKEEPER_PEERS) {
  if (zookeeper === ZOOKEEPER) continue
  const isNewest = zookeeper === ZOOKEEPER_PEERS.at(-1)
  test(`another replica leads after kill -9, on ${zookeeper}`, {
    skip: skipWithoutZooKeeper(zookeeper),
    timeout: 120_000,
  }, async () => {
    await using cluster = await startCluster({
      ...{ kind: 'shardlog', zookeeper, zookeepers: isNewest ? 3 : 1 },
    })
    const created = await cluster.createTopic({
      name: TOPIC,
      partitions: 1,
      replicationFactor: 3,
      configs: { 'min.insync.replicas': '2' },
    })
    const before = created.partitions[0]
    assert.ok(before)
    await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
    const values: string[] = []
    const send = async (count: number) => {
      const more = Array.from({ length: count }, (_, i) => `${values.length + i}`)
      values.push(...more)
      await Promise.all(more.map((value) => producer.send({ topic: TOPIC, partition: 0, value })))
    }
    await send(100)
    const leader = cluster.broker(before.leaderId)
    await leader.kill()
    await send(100)
    const after = await cluster.waitForLeader(TOPIC, 0, ({ isr }) => !isr.includes(leader.id))
    assert.ok(after.leaderEpoch > before.leaderEpoch)
    await leader.restart()
    await cluster.waitForLeader(TOPIC, 0, ({ isr }) => isr.length === 3)
    await send(100)
    assert.deepEqual(await readAll(cluster.bootstrap, TOPIC, 0), values)
  })
}
