/**
 * The holes that Kafka once had, each replayed against real brokers: what was acknowledged stays,
 * replicas agree to the byte, and who does not lead any more changes nothing (KIP-101, 106, 279,
 * 320, 380, 392, 841, 903, and the lone replica that loses power, KIP-966). Apache Kafka passes too,
 * but for what its ZooKeeper mode has left open.
 */
import assert from 'node:assert/strict'
import { existsSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ErrorCode } from '../../../src/protocol/error-codes.ts'
import { keepLogs, kindUnderTest as kind, skipFaultRun } from '../../checker/fault-run.ts'
import { PartitionProbe } from '../../checker/partition-probe.ts'
import { ZooKeeperView } from '../../checker/zookeeper-view.ts'
import { type ClusterBroker, startCluster, type TestCluster } from '../../support/cluster.ts'
import { readLog } from '../../support/log-reader.ts'
import { skipWithoutNamespaces, TestNetwork } from '../../support/network-namespaces.ts'
import { until } from '../../support/until.ts'

const skip = skipFaultRun({ kind })
const noNetwork = skip || skipWithoutNamespaces()
const openInApache = kind === 'apache' && 'open in Apache Kafka with ZooKeeper'
const IDS = [0, 1, 2] as const

let network: TestNetwork | null = null
let cluster: TestCluster
let view: ZooKeeperView

before(async () => {
  if (skip) return
  network = noNetwork ? null : TestNetwork.create(IDS.length)
  cluster = await startCluster({
    kind,
    ...(network === null ? {} : { network }),
    // Leaders stay where a scenario has put them.
    config: { 'auto.leader.rebalance.enable': 'false' },
  })
  view = await ZooKeeperView.open(cluster.zookeeper.connect)
})

after(async () => {
  if (skip) return
  view?.[Symbol.dispose]()
  await cluster?.close()
  network?.close()
})

function broker(id: number): ClusterBroker {
  return cluster.broker(id)
}

/** Starts brokers that were killed. Apache Kafka's do not start before their old session is over. */
async function restart(...ids: readonly number[]): Promise<void> {
  if (kind === 'apache') {
    const gone = async () => !(await view.brokerIds()).some((id) => ids.includes(id))
    await until('the old sessions to be over', gone)
  }
  await Promise.all(ids.map((id) => broker(id).restart()))
}

function others(...ids: readonly number[]): number[] {
  return IDS.filter((id) => !ids.includes(id))
}

/** A scenario, which leaves the logs of the brokers behind when it fails. */
function scenario(name: string, skipped: string | false, run: () => Promise<void>): void {
  test(name, { skip: skipped, timeout: 120_000 }, async (t) => {
    try {
      await run()
    } catch (error) {
      t.diagnostic(`the logs of the brokers are in ${keepLogs(cluster)}`)
      throw error
    }
  })
}

scenario(
  'records survive the death of all replicas right after the acknowledgement',
  skip,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'all-die', { replicas: IDS, minInSync: 2 })
    const values: string[] = []
    for (let round = 0; round < (kind === 'apache' ? 1 : 3); round += 1) {
      for (let i = 0; i < 5; i += 1) values.push(`${round}.${i}`)
      await probe.commit(...values.slice(-5))
      await Promise.all(IDS.map((id) => broker(id).kill()))
      await restart(...IDS)
      assert.deepEqual(await probe.agreed(), values)
    }
  },
)

scenario(
  'a follower that restarts before it knew the high watermark can lead (KIP-101)',
  skip,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'kip-101', { replicas: [0, 1, 2] })
    await probe.commit('a', 'b', 'c')
    await broker(1).kill()
    await restart(1)
    await broker(0).kill()
    await probe.leader(({ leaderId }) => leaderId !== 0)
    await probe.commit('d')
    await restart(0)
    assert.deepEqual(await probe.agreed(), ['a', 'b', 'c', 'd'])
  },
)

scenario('ends that two leaders had for themselves are cut off (KIP-279)', skip, async () => {
  const probe = await PartitionProbe.create(cluster, 'kip-279', { replicas: [0, 1, 2] })
  await probe.commit('a')
  broker(1).pause()
  broker(2).pause()
  assert.equal((await probe.produce(0, ['x1', 'x2', 'x3'], { acks: 1 })).errorCode, 0)
  await broker(0).kill()
  broker(1).resume()
  broker(2).resume()
  const second = await probe.leader(({ leaderId }) => leaderId > 0)
  const [third] = others(0, second.leaderId)
  assert.ok(third !== undefined)
  broker(third).pause()
  await probe.produce(second.leaderId, ['y1', 'y2'], { acks: 1 })
  await broker(second.leaderId).kill()
  broker(third).resume()
  await probe.leader(({ leaderId }) => leaderId === third)
  await probe.commit('b')
  await restart(0, second.leaderId)
  const values = await probe.agreed()
  assert.equal(values[0], 'a')
  assert.ok(values.includes('b'))
})

scenario('requests of another leader epoch are told so (KIP-320)', skip, async () => {
  const probe = await PartitionProbe.create(cluster, 'kip-320', { replicas: [0, 1, 2] })
  await probe.commit('a')
  await broker(0).kill()
  const { leaderId, leaderEpoch } = await probe.leader((state) => state.leaderId > 0)
  await probe.commit('b')
  const errors = async (epoch: number) => [
    (await probe.fetch(leaderId, { epoch })).errorCode,
    await probe.latestError(leaderId, epoch),
    await probe.endOfEpochError(leaderId, epoch),
  ]
  assert.deepEqual(await errors(leaderEpoch), [0, 0, 0])
  const { FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH } = ErrorCode
  assert.deepEqual(await errors(leaderEpoch - 1), Array(3).fill(FENCED_LEADER_EPOCH))
  assert.deepEqual(await errors(leaderEpoch + 1), Array(3).fill(UNKNOWN_LEADER_EPOCH))
  await restart(0)
  assert.deepEqual(await probe.agreed(), ['a', 'b'])
})

scenario(
  'a replica that was not in sync does not lead when all that were are dead (KIP-106)',
  skip,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'kip-106', { replicas: [0, 1] })
    await probe.commit('a')
    await broker(1).kill()
    await probe.leader(({ isr }) => isr.join() === '0')
    await probe.commit('b')
    await broker(0).kill()
    await restart(1)
    await cluster.waitForBrokers([1, 2])
    for (let look = 0; look < 20; look += 1) {
      for (const id of [1, 2]) {
        const { leaderId, errorCode } = await probe.state(id)
        assert.equal(leaderId, -1, `broker ${id} names a leader, error ${errorCode}`)
      }
      await pause(100)
    }
    await restart(0)
    assert.deepEqual(await probe.agreed(), ['a', 'b'])
  },
)

scenario(
  'a broker that comes back within its session is another one (KIP-380)',
  skip || (kind === 'apache' && 'its brokers do not start before the session is over'),
  async () => {
    const probe = await PartitionProbe.create(cluster, 'kip-380', { replicas: [0, 1, 2] })
    await probe.commit('a')
    const epochOf = async (id: number) => (await view.node(`/brokers/ids/${id}`))?.stat.czxid ?? -1
    const first = await epochOf(0)
    await broker(0).kill()
    await broker(0).restart()
    assert.ok((await epochOf(0)) > first)
    await probe.commit('b')
    assert.deepEqual(await probe.agreed(), ['a', 'b'])
  },
)

scenario(
  'a leader that slept commits nothing and changes no ISR when it wakes (KIP-841, 903)',
  skip,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'zombie', { replicas: [0, 1, 2] })
    await probe.commit('a')
    broker(0).pause()
    // It is in the socket of the sleeper, and will be read when it wakes.
    const asked = probe.produce(0, ['late'], { timeoutMs: 5000 })
    const answered = asked.catch(() => ({
      errorCode: ErrorCode.UNKNOWN_SERVER_ERROR,
      baseOffset: -1,
    }))
    await probe.leader(({ leaderId }) => leaderId > 0)
    await probe.commit('b')
    const state = '/brokers/topics/zombie/partitions/0/state'
    await probe.leader(({ isr }) => !isr.includes(0))
    const before = await view.node(state)
    await pause(10_000)
    broker(0).resume()
    assert.notEqual((await answered).errorCode, ErrorCode.NONE)
    const values = await probe.agreed()
    assert.deepEqual(values, ['a', 'b'])
    const now = JSON.parse((await view.node(state))?.data ?? '{}')
    const then = JSON.parse(before?.data ?? '{}')
    assert.equal(now.leader, then.leader)
    assert.equal(now.leader_epoch, then.leader_epoch)
  },
)

scenario(
  'consumers read from a follower only below the high watermark (KIP-392)',
  skip,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'kip-392', { replicas: [0, 1, 2] })
    await probe.commit('a')
    assert.deepEqual(await probe.agreed(), ['a'])
    broker(2).pause()
    try {
      assert.equal((await probe.produce(0, ['b'], { acks: 1 })).errorCode, ErrorCode.NONE)
      // The other follower has it, the high watermark has not passed it.
      await until('the follower to have the record', () => endOf(1, probe.topic) === 2)
      for (const id of [0, 1]) {
        const { errorCode, bytes, highWatermark } = await probe.fetch(id, { offset: 1 })
        assert.deepEqual(
          { errorCode, bytes, highWatermark },
          {
            ...{ errorCode: ErrorCode.NONE, bytes: 0, highWatermark: 1 },
          },
        )
        assert.deepEqual(await probe.values(id), ['a'])
      }
    } finally {
      broker(2).resume()
    }
    assert.deepEqual(await probe.agreed(), ['a', 'b'])
  },
)

/** The end of a replica's log as it is in its files. */
function endOf(id: number, topic: string): number {
  return (readLog(broker(id).dataDir, topic, 0).at(-1)?.lastOffset ?? -1) + 1
}

scenario(
  'a client that says to be a replica moves no high watermark',
  noNetwork || openInApache,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'forged', { replicas: [0, 1, 2] })
    await probe.commit('a')
    broker(2).pause()
    try {
      const epoch = (await view.node('/brokers/ids/2'))?.stat.czxid ?? -1
      assert.equal((await probe.produce(0, ['b'], { acks: 1 })).errorCode, ErrorCode.NONE)
      await until('the other follower to have the record', () => endOf(1, probe.topic) === 2)
      for (const replica of [
        { id: 2 },
        { id: 2, epoch: -1 },
        { id: 2, epoch },
        { id: 7, epoch: 1 },
      ]) {
        await probe.fetch(0, { offset: 2, replica })
        await probe.fetch(0, { offset: 2, replica })
        const { highWatermark } = await probe.fetch(0)
        assert.equal(highWatermark, 1, `after fetches as replica ${JSON.stringify(replica)}`)
      }
    } finally {
      broker(2).resume()
    }
    assert.deepEqual(await probe.agreed(), ['a', 'b'])
  },
)

scenario(
  'the last replica in sync loses power: what others have acknowledged stays (KIP-966)',
  skip || openInApache,
  async () => {
    const probe = await PartitionProbe.create(cluster, 'elr', { replicas: [0, 1, 2], minInSync: 2 })
    const values = Array.from({ length: 10 }, (_, i) => `v${i}`)
    for (const value of values) await probe.commit(value)
    assert.deepEqual(await probe.agreed(), values)
    await broker(1).kill()
    await probe.leader(({ isr }) => !isr.includes(1))
    await probe.commit('v10')
    await broker(2).kill()
    await probe.leader(({ isr }) => isr.join() === '0')
    await broker(0).kill()
    losePower(broker(0), probe.topic, 5)
    await restart(0)
    await cluster.waitForBrokers([0])
    await restart(1, 2)
    await probe.commit('v11')
    assert.deepEqual(await probe.agreed(), [...values, 'v10', 'v11'])
  },
)

/** What the disk has after a loss of power that took all but the first batches of a log. */
function losePower({ dataDir }: ClusterBroker, topic: string, batches: number): void {
  const lost = readLog(dataDir, topic, 0)[batches]
  assert.ok(lost, 'nothing would be lost')
  truncateSync(lost.file, lost.position)
  const bootId = join(dataDir, '.boot-id')
  assert.ok(existsSync(bootId), 'the broker does not know when the machine has started')
  writeFileSync(bootId, '00000000-0000-4000-8000-000000000000\n')
}
