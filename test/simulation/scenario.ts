/** One random history of a cluster: some load, some faults, then all heals and must be well. */
import { SimulatedCluster } from './cluster.ts'
import { Faults } from './faults.ts'
import { SimulatedAdmin } from './simulated-admin.ts'
import { SimulatedConsumer, SimulatedProducer } from './simulated-clients.ts'
import { failWith } from './world.ts'

export interface Summary {
  readonly digest: string
  readonly eventCount: number
  readonly acknowledged: number
  readonly elections: number
  readonly faults: ReadonlyMap<string, number>
  /** Until all was well after the last fault. */
  readonly healedMs: number
}

export interface ScenarioOptions {
  readonly print?: ((line: string) => void) | null
  /** How long things go wrong. */
  readonly faultsMs?: number
}

const TOPIC = 't'
const PARTITIONS = 2
const HEAL_LIMIT_MS = 60_000

export async function runScenario(seed: number, options: ScenarioOptions = {}): Promise<Summary> {
  const { print = null, faultsMs = 4500 } = options
  const brokerCount = 3 + (seed % 3 === 0 ? 1 : 0)
  const cluster = new SimulatedCluster({ seed, print, brokerCount })
  const { world, invariants } = cluster
  const forgetFailures = failWith(world)
  try {
    await cluster.start()
    await cluster.createTopic(TOPIC, [
      [1, 2, 3],
      [2, 3, 1],
    ])
    const load = { topic: TOPIC, partitionCount: PARTITIONS }
    const producers = [1, 2, 3].map(
      (producerId) =>
        new SimulatedProducer({
          ...cluster.clientOptions(`p${producerId}`),
          ...load,
          // The third does not wait for replicas: what it sends may go.
          acks: producerId === 3 ? 1 : -1,
          producerId,
          pauseMs: 60 * producerId,
        }),
    )
    const consumer = new SimulatedConsumer({
      ...cluster.clientOptions('c1'),
      ...load,
      pauseMs: 60,
    })
    const admin = new SimulatedAdmin(cluster.clientOptions('a1'))
    const random = world.stream()
    const everyMs = [200, 500, 1500][random.integer(3)] as number
    const faults = new Faults({ cluster, admin, random, everyMs })
    const running = [...producers, consumer].map((client) => client.run())
    for (const one of running) one.catch((error: unknown) => world.fail(error))
    faults.start()
    await world.runFor(faultsMs)
    faults.stop()
    cluster.heal()
    const healMs = world.nowMs
    await world.runFor(500)
    let whyCountedOn: string | null = ''
    const isLed = await world.runUntil(() => {
      whyCountedOn = cluster.whyCountedOn()
      return whyCountedOn === null
    }, HEAL_LIMIT_MS)
    if (!isLed) throw new Error(`not well after ${HEAL_LIMIT_MS} ms: ${whyCountedOn}`)
    cluster.replaceDisks()
    for (const client of [...producers, consumer]) client.stop()
    let why: string | null = ''
    const isWhole = await world.runUntil(() => {
      why = producers.some(({ isBusy }) => isBusy)
        ? 'a producer still tries'
        : cluster.whyNotWhole()
      return why === null
    }, HEAL_LIMIT_MS)
    if (!isWhole) throw new Error(`not well after ${HEAL_LIMIT_MS} ms: ${why}`)
    cluster.checkReplicas()
    for (const topic of admin.mustExist) {
      if (!invariants.topicIds.has(topic)) world.violated(`topic ${topic} was created, and is not`)
    }
    for (const topic of admin.mustBeGone) {
      if (invariants.topicIds.has(topic)) world.violated(`topic ${topic} was deleted, and is there`)
    }
    await world.runFor(1)
    return {
      digest: world.digest,
      eventCount: world.eventCount,
      acknowledged: invariants.acknowledgedCount,
      elections: invariants.electionCount,
      faults: faults.counts,
      healedMs: world.nowMs - healMs,
    }
  } finally {
    forgetFailures()
  }
}
