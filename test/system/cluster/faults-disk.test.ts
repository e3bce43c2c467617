/**
 * The disk of a broker takes nothing more while it leads some partitions and follows in others: the
 * broker goes on, the others in sync lead without it, and nothing that was acknowledged is lost. What
 * nobody else has can be read there. With room on the disk, and started anew, it is a replica again.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Producer } from '../../../src/client/producer.ts'
import { ErrorCode } from '../../../src/protocol/error-codes.ts'
import { PartitionProbe } from '../../checker/partition-probe.ts'
import { isWhole, skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import { SmallDisk, skipWithoutDisks } from '../../support/small-disk.ts'
import { until } from '../../support/until.ts'
import { readAll } from './read-all.ts'

const TOPIC = 'shared'
const VICTIM = 0
const VALUE_BYTES = 4096

test('a full disk costs the cluster nothing but that replica', {
  // Apache Kafka's broker ends when its only disk fails.
  skip: skipWithoutCluster('shardlog') || skipWithoutDisks(),
  timeout: 120_000,
}, async (t) => {
  using disk = new SmallDisk(24)
  await using cluster = await startCluster({
    kind: 'shardlog',
    config: { 'auto.leader.rebalance.enable': 'false' },
    perBroker: (id) => (id === VICTIM ? { 'log.dirs': disk.path } : {}),
  })
  const victim = cluster.broker(VICTIM)
  await cluster.createTopic({
    name: TOPIC,
    assignments: [
      [0, 1, 2],
      [1, 2, 0],
    ],
    configs: { 'min.insync.replicas': '2' },
  })
  const alone = await PartitionProbe.create(cluster, 'alone', { replicas: [VICTIM] })
  await alone.commit('a')

  await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
  const acknowledged: string[][] = [[], []]
  let next = 0
  const send = async (): Promise<void> => {
    const value = `${next++}`.padEnd(VALUE_BYTES, '.')
    const sends = acknowledged.map(async (values, partition) => {
      await producer.send({ topic: TOPIC, partition, value })
      values.push(value)
    })
    await Promise.all(sends)
  }
  const isOut = async (): Promise<boolean> => {
    const { partitions } = await cluster.describe(TOPIC, 1)
    return partitions.every(({ isr, leaderId }) => !isr.includes(VICTIM) && leaderId !== VICTIM)
  }
  for (let i = 0; i < 10; i += 1) await send()
  disk.fill()
  const begin = performance.now()
  await until('the others lead', async () => {
    await send()
    return await isOut()
  })
  t.diagnostic(
    `${(performance.now() - begin).toFixed()} ms with ${next} records for each partition`,
  )
  for (let i = 0; i < 10; i += 1) await send()

  // It is alive, and everybody knows what it cannot do.
  await cluster.waitForBrokers([0, 1, 2])
  await cluster.waitForTopic(TOPIC, ({ partitions }) => {
    return partitions.every(({ offlineReplicas }) => offlineReplicas.join() === String(VICTIM))
  })
  const full = await alone.produce(VICTIM, ['x'.repeat(200_000)], { acks: 1 })
  assert.equal(full.errorCode, ErrorCode.KAFKA_STORAGE_ERROR)
  assert.deepEqual(await alone.values(VICTIM), ['a'])

  disk.free()
  await victim.stop()
  await victim.restart()
  await cluster.waitForTopic(TOPIC, ({ partitions }) => partitions.every(isWhole))
  for (let i = 0; i < 10; i += 1) await send()
  for (const [partition, values] of acknowledged.entries()) {
    assert.deepEqual(await readAll(cluster.bootstrap, TOPIC, partition), values)
  }
  await alone.commit('b')
  assert.deepEqual(await alone.values(VICTIM), ['a', 'b'])
})
