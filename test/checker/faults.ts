/** What is done to a cluster under load, each with its healing. */
import assert from 'node:assert/strict'
import { parseConnectString } from '../../src/registry/zookeeper/connect-string.ts'
import type { ClusterBroker } from '../support/cluster.ts'
import { endSession } from '../support/end-session.ts'
import type { NetworkNode, Peers } from '../support/network-namespaces.ts'
import { until } from '../support/until.ts'
import type { FakeClock } from './fake-clock.ts'
import type { Stage } from './stage.ts'

/** Partitions that a broker leads, and those that it only follows. */
async function roles(stage: Stage, brokerId: number) {
  const { partitions } = await stage.topic()
  const led = partitions.filter(({ leaderId }) => leaderId === brokerId)
  const followed = partitions.filter(({ leaderId }) => leaderId !== brokerId)
  return { led: led.map((p) => p.partition), followed: followed.map((p) => p.partition) }
}

/** The leader of a partition, picked among all. */
export async function pickLeader(stage: Stage): Promise<ClusterBroker> {
  const { partitions } = await stage.topic()
  return stage.cluster.broker(stage.pick(partitions).leaderId)
}

/** The broker that leads the fewest partitions. */
async function pickFollower(stage: Stage): Promise<ClusterBroker> {
  const counts = await Promise.all(
    stage.cluster.brokers.map(async (broker) => ({
      broker,
      count: (await roles(stage, broker.id)).led.length,
    })),
  )
  const fewest = Math.min(...counts.map(({ count }) => count))
  return stage.pick(counts.filter(({ count }) => count === fewest)).broker
}

async function killAndReturn(stage: Stage, options: KillOptions): Promise<void> {
  const { victim, name, partitions } = options
  const kill = async () => {
    await victim.kill('SIGKILL')
  }
  await stage.measure(name, kill, partitions)
  await stage.measure('return after kill -9', () => victim.restart())
  await stage.whole()
  await stage.hold(options.settleMs ?? SETTLE_MS)
}

/** A refused connection says little about a broker that has registered less than 3 seconds ago. */
const SETTLE_MS = 3500

interface KillOptions {
  /** Until the next fault, after all is well again. */
  readonly settleMs?: number
  readonly victim: ClusterBroker
  readonly name: string
  readonly partitions: readonly number[]
}

/** kill -9 of a leader; silences in the partitions that it led. */
export async function killLeader(stage: Stage): Promise<void> {
  const victim = await pickLeader(stage)
  const { led } = await roles(stage, victim.id)
  await killAndReturn(stage, { victim, name: 'kill -9 of a leader', partitions: led })
}

/** kill -9 of a follower; silences in the partitions that it did not lead. */
export async function killFollower(stage: Stage): Promise<void> {
  const victim = await pickFollower(stage)
  const { followed } = await roles(stage, victim.id)
  assert.ok(followed.length > 0)
  await killAndReturn(stage, { victim, name: 'kill -9 of a follower', partitions: followed })
}

/** kill -9 of the controller; silences everywhere. */
export async function killController(stage: Stage): Promise<void> {
  const victim = stage.cluster.broker(await stage.cluster.waitForController())
  const partitions = stage.partitions
  await killAndReturn(stage, { victim, name: 'kill -9 of the controller', partitions })
}

/** kill -9 of a broker that has just come back; silences everywhere. */
export async function killReturned(stage: Stage): Promise<void> {
  const victim = await pickLeader(stage)
  const { partitions } = stage
  const common = { victim, partitions }
  await killAndReturn(stage, { ...common, name: 'kill -9 of a leader, once more', settleMs: 0 })
  await killAndReturn(stage, { ...common, name: 'kill -9 right after a return' })
}

/** kill -9 of all brokers at once, and their return, one a little after the other; silences everywhere. */
export async function killAll(stage: Stage): Promise<void> {
  const { brokers } = stage.cluster
  const kill = async () => {
    await Promise.all(brokers.map((broker) => broker.kill('SIGKILL')))
    const back = async (broker: ClusterBroker) => {
      await stage.hold(stage.random() * RETURN_WITHIN_MS)
      await broker.restart()
    }
    await Promise.all(brokers.map(back))
  }
  await stage.measure('kill -9 of all brokers', kill)
  await stage.whole()
  await stage.agreed()
}

/** Brokers that are started together are not ready together. */
const RETURN_WITHIN_MS = 500

export const KILLS = [killLeader, killFollower, killController] as const

/** SIGSTOP of a leader for a while: it wakes up believing that it leads. */
export async function pauseLeader(stage: Stage, holdMs = 20_000): Promise<void> {
  const victim = await pickLeader(stage)
  const { led } = await roles(stage, victim.id)
  const sleep = async () => {
    victim.pause()
    try {
      await stage.hold(holdMs)
    } finally {
      victim.resume()
    }
  }
  await stage.measure('SIGSTOP of a leader', sleep, led)
  await stage.whole()
}

function nodeOf(stage: Stage, broker: ClusterBroker): NetworkNode {
  assert.ok(stage.cluster.network, 'the cluster has no network of its own')
  return stage.cluster.network.node(broker.id)
}

function peersOf(stage: Stage, broker: ClusterBroker): Peers[] {
  const others = stage.cluster.brokers.filter((other) => other !== broker)
  return others.map(({ host }) => ({ address: host }))
}

function zookeeperOf({ cluster: { zookeeper } }: Stage): Peers {
  return { address: zookeeper.host, ports: zookeeper.ports }
}

/** What a network fault takes from a leader. Clients go on reaching it in all of them. */
const CUTS = {
  'leader cut off from brokers and ZooKeeper': (stage, leader) => ({
    from: [...peersOf(stage, leader), zookeeperOf(stage)],
  }),
  'leader cut off from ZooKeeper': (stage) => ({ from: [zookeeperOf(stage)] }),
  'leader cut off from the other brokers': (stage, leader) => ({ from: peersOf(stage, leader) }),
  'leader hears nobody': (stage, leader) => ({
    from: [...peersOf(stage, leader), zookeeperOf(stage)],
    direction: 'in',
  }),
  'leader is heard by nobody': (stage, leader) => ({
    from: [...peersOf(stage, leader), zookeeperOf(stage)],
    direction: 'out',
  }),
  'leader loses 30 % of packets': (stage, leader) => ({
    from: [...peersOf(stage, leader), zookeeperOf(stage)],
    percent: 30,
  }),
} satisfies Record<
  string,
  (stage: Stage, leader: ClusterBroker) => Parameters<NetworkNode['cut']>[0]
>

export type CutName = keyof typeof CUTS
export const CUT_NAMES = Object.keys(CUTS) as readonly CutName[]

/** A network fault at a leader for a while; silences in the partitions that it led. */
export async function cutLeader(stage: Stage, name: CutName, holdMs = 15_000): Promise<void> {
  const victim = await pickLeader(stage)
  const { led } = await roles(stage, victim.id)
  const node = nodeOf(stage, victim)
  const cut = async () => {
    node.cut(CUTS[name](stage, victim))
    try {
      await stage.hold(holdMs)
    } finally {
      node.heal()
    }
  }
  await stage.measure(name, cut, led)
  await stage.whole()
}

/** kill -9 of the ZooKeeper server that leads, and its return. */
export async function killZooKeeperLeader(stage: Stage): Promise<void> {
  const { zookeeper } = stage.cluster
  const leader = await zookeeper.leader()
  assert.ok(leader !== null)
  await stage.measure('kill -9 of the ZooKeeper leader', async () => {
    await zookeeper.kill(leader)
    await until('another ZooKeeper server leads', async () => (await zookeeper.leader()) !== null)
  })
  await stage.measure('return of a ZooKeeper server', () => zookeeper.restart(leader))
}

/** No ZooKeeper at all for a while: records go on flowing, and nobody is elected. */
export async function ensembleAway(stage: Stage, holdMs = 60_000): Promise<void> {
  const { zookeeper } = stage.cluster
  const servers = Array.from({ length: zookeeper.size }, (_, i) => i)
  await stage.whole()
  const before = await leadership(stage)
  const away = async () => {
    await Promise.all(servers.map((server) => zookeeper.kill(server)))
    await stage.hold(holdMs)
  }
  await stage.measure('whole ensemble away', away)
  const back = async () => {
    await Promise.all(servers.map((server) => zookeeper.restart(server)))
    await until('ZooKeeper serves', async () => (await zookeeper.leader()) !== null)
    // Whoever would be elected because of what was missed would be so by now.
    await stage.hold(5000)
  }
  await stage.measure('return of the whole ensemble', back)
  assert.deepEqual(await leadership(stage), before, 'leaders or epochs have changed')
}

/** Leaders and their epochs. */
async function leadership(stage: Stage): Promise<string[]> {
  const { partitions } = await stage.topic()
  return partitions.map((one) => `${one.partition}: ${one.leaderId} in ${one.leaderEpoch}`)
}

/** Ends the ZooKeeper session of a leader of ours behind its back. */
export async function expireSession(stage: Stage): Promise<void> {
  const victim = await pickLeader(stage)
  const { led } = await roles(stage, victim.id)
  const [server] = parseConnectString(stage.cluster.zookeeper.connect).servers
  assert.ok(server)
  await stage.measure('session of a leader expires', () => endSession(server, victim.dataDir), led)
  await stage.cluster.waitForBrokers(stage.cluster.brokers.map(({ id }) => id))
  await stage.whole()
}

/** The clocks of the brokers jump by hours, apart and back. */
export async function jumpClocks(stage: Stage, clocks: readonly FakeClock[]): Promise<void> {
  const jumps = [
    [3, -5, 0],
    [-2, 4, 1],
    [0, 0, 0],
  ]
  for (const hours of jumps) {
    await stage.measure('clocks jump', async () => {
      for (const [i, clock] of clocks.entries()) clock.set(hours[i] ?? 0)
      await stage.hold(5000)
    })
  }
}

/** Every broker is stopped in order and started again, one after the other. */
export async function rollingRestart(stage: Stage): Promise<void> {
  for (const broker of stage.cluster.brokers) {
    await stage.measure('orderly stop', async () => {
      await broker.stop()
    })
    await stage.measure('start after an orderly stop', () => broker.restart())
    await stage.whole()
  }
}
