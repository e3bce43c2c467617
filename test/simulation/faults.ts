/** What may go wrong in a simulated cluster, by chance: some of it at a time, until it heals. */
import type { ClusterRegistry } from '../../src/registry/cluster-registry.ts'
import type { SeededRandom } from '../../src/util/random.ts'
import type { SimulatedCluster } from './cluster.ts'
import type { SimulatedAdmin } from './simulated-admin.ts'
import { nameOf, type SimulatedBroker } from './simulated-broker.ts'

interface Fault {
  readonly name: string
  readonly weight: number
  /** False: not now. */
  readonly strike: () => boolean
}

const HOUR_MS = 3_600_000

export interface FaultOptions {
  readonly cluster: SimulatedCluster
  readonly admin: SimulatedAdmin
  readonly random: SeededRandom
  /** Between two of them, at most. */
  readonly everyMs: number
}

export class Faults {
  readonly #cluster: SimulatedCluster
  readonly #admin: SimulatedAdmin
  readonly #random: SeededRandom
  readonly #everyMs: number
  readonly #faults: readonly Fault[]
  readonly #totalWeight: number
  #isOver = false
  readonly counts = new Map<string, number>()

  constructor(options: FaultOptions) {
    this.#cluster = options.cluster
    this.#admin = options.admin
    this.#random = options.random
    this.#everyMs = options.everyMs
    const all = this.#all()
    // Each run has its own mixture.
    this.#faults = all.filter(() => this.#random.integer(3) > 0)
    if (this.#faults.length === 0) this.#faults = all
    this.#totalWeight = this.#faults.reduce((sum, { weight }) => sum + weight, 0)
  }

  start(): void {
    this.#cluster.world.schedule(this.#random.integer(this.#everyMs), () => {
      if (this.#isOver) return
      this.#strike()
      this.start()
    })
  }

  stop(): void {
    this.#isOver = true
  }

  #strike(): void {
    let dice = this.#random.integer(this.#totalWeight)
    for (const fault of this.#faults) {
      dice -= fault.weight
      if (dice >= 0) continue
      if (!fault.strike()) return
      this.counts.set(fault.name, (this.counts.get(fault.name) ?? 0) + 1)
      return
    }
  }

  #all(): Fault[] {
    const { network, ensemble, invariants, world } = this.#cluster
    return [
      {
        name: 'kill',
        weight: 6,
        strike: () =>
          this.#withBroker((broker) => {
            broker.kill()
            this.#later(4000, () => broker.start())
          }),
      },
      {
        name: 'kill, back within the session',
        weight: 4,
        strike: () =>
          this.#withBroker((broker) => {
            broker.kill()
            this.#later(200, () => broker.start())
          }),
      },
      {
        name: 'power loss',
        weight: 3,
        strike: () => {
          if (this.#cluster.whyNotWhole() === null) invariants.unwhole.clear()
          // A second one before all is well again may lose what was acknowledged.
          if (invariants.unwhole.size > 0) return false
          return this.#withBroker((broker) => {
            invariants.unwhole.add(broker.brokerId)
            broker.kill(true)
            this.#later(4000, () => broker.start())
          })
        },
      },
      {
        name: 'disk fails',
        weight: 4,
        strike: () => {
          if (this.#cluster.whyNotWhole() === null) invariants.unwhole.clear()
          // As with a loss of power.
          if (invariants.unwhole.size > 0) return false
          return this.#withBroker((broker) => this.#failDisk(broker))
        },
      },
      {
        name: 'pause',
        weight: 5,
        strike: () =>
          this.#withBroker(({ process }) => {
            process.pause()
            this.#later(this.#random.integer(2) === 0 ? 500 : 5000, () => process.resume())
          }),
      },
      {
        name: 'controlled shutdown',
        weight: 3,
        strike: () =>
          this.#withBroker((broker) => {
            broker.shutDown()
            this.#restartWhenDown(broker)
          }),
      },
      {
        name: 'broker cut off from all',
        weight: 4,
        strike: () => this.#withBroker(({ name }) => this.#cut([name], this.#everyone())),
      },
      {
        name: 'broker cut off from ZooKeeper',
        weight: 3,
        strike: () => this.#withBroker(({ name }) => this.#cut([name], this.#servers())),
      },
      {
        name: 'two brokers apart',
        weight: 4,
        strike: () =>
          this.#withBroker(({ name }) => {
            const others = [...this.#cluster.brokers.keys()].map(nameOf)
            const other = others[this.#random.integer(others.length)] as string
            if (other !== name) this.#cut([name], [other])
          }),
      },
      {
        name: 'connection broken',
        weight: 5,
        strike: () => {
          network.breakOne()
          return true
        },
      },
      {
        name: 'connections of a broker broken',
        weight: 2,
        strike: () =>
          this.#withBroker(({ name }) => {
            network.breakAll(name)
          }),
      },
      {
        name: 'ZooKeeper server killed',
        weight: 3,
        strike: () => {
          const { servers } = ensemble
          const server =
            this.#random.integer(2) === 0
              ? ensemble.leader
              : servers[this.#random.integer(servers.length)]
          if (!server) return false
          ensemble.kill(server)
          this.#later(3000, () => ensemble.restart(server))
          return true
        },
      },
      {
        name: 'ZooKeeper away',
        weight: 1,
        strike: () => {
          ensemble.killAll()
          this.#later(5000, () => ensemble.restartAll())
          return true
        },
      },
      {
        name: 'ZooKeeper server behind',
        weight: 3,
        strike: () => {
          const server = ensemble.servers[this.#random.integer(ensemble.servers.length)]
          if (server === undefined) return false
          server.extraLagMs = this.#random.integer(800)
          this.#later(2000, () => {
            server.extraLagMs = 0
          })
          return true
        },
      },
      {
        name: 'session expired',
        weight: 3,
        strike: () =>
          this.#withBroker(({ name, disk }) => {
            if (disk.session === null) return
            world.trace('--', `the session of ${name} is ended`)
            ensemble.expire(disk.session.id)
          }),
      },
      {
        name: 'clock jump',
        weight: 2,
        strike: () =>
          this.#withBroker(({ process }) => {
            process.wallOffsetMs = (this.#random.integer(9) - 4) * HOUR_MS
            process.trace('the wall clock jumps')
          }),
      },
      {
        name: 'controller killed',
        weight: 2,
        strike: () => {
          const broker = [...this.#cluster.brokers.values()].find(
            ({ controller }) => controller?.isActive,
          )
          if (broker === undefined) return false
          broker.kill()
          this.#later(3000, () => broker.start())
          return true
        },
      },
      {
        name: 'leader paused',
        weight: 3,
        strike: () => {
          const leader = invariants.stateOf('t', 0)?.leader ?? -1
          const process = this.#cluster.brokers.get(leader)?.process
          if (process === undefined || !process.isUp) return false
          process.pause()
          this.#later(4000, () => process.resume())
          return true
        },
      },
      {
        name: 'controller taken for dead',
        weight: 3,
        strike: () =>
          this.#withRegistry(async (registry) => {
            const controller = await registry.controller()
            if (controller !== null) await registry.fenceController(controller.registrationId)
          }),
      },
      {
        name: 'broker taken for dead',
        weight: 3,
        strike: () => {
          const ids = [...this.#cluster.brokers.keys()]
          const id = ids[this.#random.integer(ids.length)] as number
          return this.#withRegistry(async (registry) => {
            const broker = await registry.broker(id)
            if (broker !== null) await registry.fenceBroker(id, broker.brokerEpoch)
          })
        },
      },
      { name: 'topic created', weight: 2, strike: () => this.#admin.createTopic() },
      { name: 'topic deleted', weight: 2, strike: () => this.#admin.deleteTopic() },
      { name: 'partitions added', weight: 1, strike: () => this.#admin.addPartitions() },
      { name: 'records deleted', weight: 2, strike: () => this.#admin.deleteRecords() },
      { name: 'preferred leaders elected', weight: 2, strike: () => this.#admin.electPreferred() },
      { name: 'replicas reassigned', weight: 3, strike: () => this.#admin.reassign() },
      { name: 'reassignment cancelled', weight: 1, strike: () => this.#admin.cancel() },
    ]
  }

  /** All of it or one log, until the broker is started with another one. */
  #failDisk({ brokerId, disk, process }: SimulatedBroker): void {
    const stored = [...disk.logs.keys()]
    const one = stored[this.#random.integer(stored.length || 1)]
    const logs = one === undefined || this.#random.integer(2) === 0 ? null : new Set([one])
    const kind = this.#random.integer(2) === 0 ? 'sync' : 'write'
    process.trace(`the disk fails (${kind}): ${one ?? 'all of it'}`)
    disk.failure = { kind, logs }
    this.#cluster.invariants.unwhole.add(brokerId)
    this.#later(4000, () => this.#cluster.replaceDisk(brokerId))
  }

  #withBroker(what: (broker: SimulatedBroker) => void): boolean {
    const up = [...this.#cluster.brokers.values()].filter(({ isUp }) => isUp)
    const broker = up[this.#random.integer(up.length || 1)]
    if (broker === undefined) return false
    what(broker)
    return true
  }

  /** What a broker does that is wrong about another one. */
  #withRegistry(what: (registry: ClusterRegistry) => Promise<void>): boolean {
    return this.#withBroker(({ parts, process }) => {
      if (parts === null) return
      process.at(0, () => {
        what(parts.registry).catch((error: unknown) => process.trace(String(error)))
      })
    })
  }

  /** After some time, at most that; not when everything has healed before. */
  #later(maxMs: number, what: () => void): void {
    this.#cluster.world.schedule(this.#random.integer(maxMs), () => {
      if (!this.#isOver) what()
    })
  }

  #restartWhenDown(broker: SimulatedBroker): void {
    // Whether or not all has healed meanwhile.
    this.#cluster.world.schedule(this.#random.integer(1000), () => {
      if (broker.isUp) this.#restartWhenDown(broker)
      else broker.start()
    })
  }

  #everyone(): string[] {
    return [...[...this.#cluster.brokers.keys()].map(nameOf), ...this.#servers()]
  }

  #servers(): string[] {
    return this.#cluster.ensemble.servers.map(({ name }) => name)
  }

  /** One way or both ways, for a while. */
  #cut(some: readonly string[], others: readonly string[]): void {
    const { network, world } = this.#cluster
    const way = this.#random.integer(4)
    const pairs: (readonly [string, string])[] = []
    for (const one of some) {
      for (const other of others) {
        if (one === other) continue
        if (way !== 0) pairs.push([one, other])
        if (way !== 1) pairs.push([other, one])
      }
    }
    world.trace('--', `cut off: ${pairs.map((pair) => pair.join('>')).join(' ')}`)
    for (const [from, to] of pairs) network.block(from, to)
    this.#later(4000, () => {
      world.trace('--', 'connected again')
      for (const [from, to] of pairs) network.unblock(from, to)
    })
  }
}
