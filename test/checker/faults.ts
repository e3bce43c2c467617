/** What is done to a cluster under load, each with its healing. */
import assert from 'node:assert/strict'
import type { ClusterBroker } from '../support/cluster.ts'
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
}

interface KillOptions {
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

export const KILLS = [killLeader, killFollower, killController] as const
