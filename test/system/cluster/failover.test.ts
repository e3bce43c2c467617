/**
 * The leader of a partition is killed with SIGKILL while a producer sends with acks=-1: another
 * replica of the ISR leads in a higher epoch, nothing that was acknowledged is lost, and the killed
 * broker comes back into the ISR.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../../src/client/producer.ts'
import { type ClusterKind, skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import {
  skipWithoutZooKeeper,
  ZOOKEEPER,
  ZOOKEEPER_PEERS,
  type ZooKeeperPeer,
} from '../../support/zookeeper-ensemble.ts'
import { readAll } from './read-all.ts'

const TOPIC = 'failover'

interface Case {
  readonly kind: ClusterKind
  readonly zookeeper: ZooKeeperPeer
}

/** Both kinds on one release of ZooKeeper, ours on every other that is supported as well. */
const CASES: readonly Case[] = [
  { kind: 'shardlog', zookeeper: ZOOKEEPER },
  { kind: 'apache', zookeeper: ZOOKEEPER },
  ...ZOOKEEPER_PEERS.filter((zookeeper) => zookeeper !== ZOOKEEPER).map((zookeeper): Case => {
    return { kind: 'shardlog', zookeeper }
  }),
]

for (const { kind, zookeeper } of CASES) {
  const skip = skipWithoutCluster(kind) || skipWithoutZooKeeper(zookeeper)
  test(`another replica leads after kill -9, with ${kind} on ${zookeeper}`, {
    skip,
    timeout: 300_000,
  }, async () => {
    const zookeepers = zookeeper === ZOOKEEPER_PEERS.at(-1) ? 3 : 1
    await using cluster = await startCluster({ kind, zookeeper, zookeepers })
    const created = await cluster.createTopic({
      name: TOPIC,
      partitions: 1,
      replicationFactor: 3,
      configs: { 'min.insync.replicas': '2' },
    })
    const before = created.partitions[0]
    assert.ok(before)
    assert.deepEqual([...before.isr].sort(), [0, 1, 2])
    assert.equal(before.leaderId, before.replicas[0])

    await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
    const send = async (from: number, count: number) => {
      const numbers = Array.from({ length: count }, (_, i) => from + i)
      const sends = numbers.map((n) => producer.send({ topic: TOPIC, partition: 0, value: `${n}` }))
      return (await Promise.all(sends)).map(({ offset }) => offset)
    }
    await send(0, 100)
    const leader = cluster.broker(before.leaderId)
    await leader.kill()
    const underway = send(100, 100)
    const after = await cluster.waitForLeader(TOPIC, 0, ({ leaderId }) => leaderId !== leader.id)
    assert.ok(after.leaderEpoch > before.leaderEpoch)
    assert.ok(before.isr.includes(after.leaderId))
    await underway
    await cluster.waitForBrokers([0, 1, 2].filter((id) => id !== leader.id))

    await leader.restart()
    await cluster.waitForBrokers([0, 1, 2])
    const back = await cluster.waitForLeader(TOPIC, 0, ({ isr }) => isr.length === 3)
    assert.equal(back.leaderId, after.leaderId)
    assert.deepEqual(back.replicas, before.replicas)
    await send(200, 100)
    assert.deepEqual(
      await readAll(cluster.bootstrap, TOPIC, 0),
      Array.from({ length: 300 }, (_, i) => `${i}`),
    )
  })
}
