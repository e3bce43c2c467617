/** The simulated ensemble passes what every store and every registry has to. */
import { describe } from 'node:test'
import { NodeRegistry } from '../../../src/registry/node-registry.ts'
import type { ZooKeeperNodeStore } from '../../../src/registry/zookeeper/zookeeper-node-store.ts'
import { openZooKeeperStore } from '../../../src/registry/zookeeper/zookeeper-registry.ts'
import { testClusterRegistry } from '../../registry/cluster-registry-suite.ts'
import { testNodeStore } from '../../registry/node-store-suite.ts'
import { Network } from '../network.ts'
import { SimulatedProcess, SimulatedTimers } from '../simulated-process.ts'
import { World } from '../world.ts'
import { simulatedConnect } from './client.ts'
import { SimulatedEnsemble } from './ensemble.ts'

interface Opened {
  readonly world: World
  readonly stores: readonly [ZooKeeperNodeStore, ZooKeeperNodeStore]
  readonly processes: readonly [SimulatedProcess, SimulatedProcess]
  /** Cuts connections every now and then, while it is not stopped. */
  readonly stopFaults: () => void
}

async function open(seed: number, isFaulty: boolean): Promise<Opened> {
  const world = new World(seed)
  const network = new Network(world, { latencyMinMs: 0.1, latencyMaxMs: 2 })
  const ensemble = new SimulatedEnsemble(world, network)
  const processes = ['b1', 'b2'].map((name) => new SimulatedProcess(world, name))
  const opening = processes.map((process) => {
    process.start()
    return openZooKeeperStore({
      connect: `${ensemble.connect}/suite`,
      sessionTimeoutMs: 6000,
      connectionTimeoutMs: null,
      inFlightMax: 1000,
      directory: null,
      timers: new SimulatedTimers(process),
      clock: process.clock,
      random: process.random,
      logger: process.logger(),
      connectClient: simulatedConnect(ensemble, process),
    })
  })
  const stores = await world.settled(Promise.all(opening))
  const random = world.stream()
  let areFaultsOver = !isFaulty
  const fault = (): void => {
    if (areFaultsOver) return
    network.breakOne()
    world.schedule(random.integer(40), fault)
  }
  fault()
  return {
    world,
    stores: stores as unknown as Opened['stores'],
    processes: processes as unknown as Opened['processes'],
    stopFaults: () => {
      areFaultsOver = true
    },
  }
}

function waiting({ world, stopFaults }: Opened, close: () => Promise<unknown>) {
  return {
    settled: <T>(promise: Promise<T>): Promise<T> => world.settled(promise),
    until: async (what: string, condition: () => boolean): Promise<void> => {
      if (!(await world.runUntil(condition, 600_000))) throw new Error(`not in time: ${what}`)
    },
    close: async (): Promise<void> => {
      stopFaults()
      await world.settled(close())
    },
  }
}

let seed = 0

describe('a simulated ensemble', () => {
  testNodeStore('simulated', async () => {
    seed += 1
    const opened = await open(seed, false)
    const [store, other] = opened.stores
    const close = () => Promise.all([store.close(), other.close()])
    return { store, other, ...waiting(opened, close) }
  })

  for (const isFaulty of [false, true]) {
    const name = isFaulty ? 'simulated, connections break' : 'simulated'
    testClusterRegistry(name, async () => {
      seed += 1
      const opened = await open(seed, isFaulty)
      const registries = opened.stores.map(
        (store, i) =>
          new NodeRegistry({
            store,
            clock: (opened.processes[i] as SimulatedProcess).clock,
            isShared: true,
          }),
      )
      const [registry, other] = registries as [NodeRegistry, NodeRegistry]
      const close = () => Promise.all([registry.close(), other.close()])
      return { registry, other, ...waiting(opened, close) }
    })
  }
})
