/** A simulated cluster: an ensemble, some brokers, and what watches over them. */
import { type LoadedConfig, loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import type { Controller } from '../../src/controller/controller.ts'
import { Invariants } from './invariants.ts'
import { Network } from './network.ts'
import { answerAdmin } from './simulated-admin.ts'
import { type AdminRequest, nameOf, SimulatedBroker } from './simulated-broker.ts'
import { answerClient, type ClientOptions } from './simulated-clients.ts'
import { World } from './world.ts'
import { SimulatedEnsemble } from './zookeeper/ensemble.ts'

export interface ClusterOptions {
  readonly seed: number
  /** Is given every line of the history. */
  readonly print?: ((line: string) => void) | null
  readonly brokerCount?: number
  readonly properties?: Readonly<Record<string, string>>
}

/** Short times, so that little simulated time does much. */
const PROPERTIES: Readonly<Record<string, string>> = {
  listeners: 'PLAINTEXT://127.0.0.1:9092',
  'zookeeper.session.timeout.ms': '1500',
  'zookeeper.connection.timeout.ms': '60000',
  'min.insync.replicas': '2',
  'replica.lag.time.max.ms': '1000',
  'replica.fetch.wait.max.ms': '250',
  'replica.fetch.backoff.ms': '100',
  'replica.socket.timeout.ms': '1500',
  'controller.socket.timeout.ms': '1500',
  'replica.high.watermark.checkpoint.interval.ms': '700',
  'controlled.shutdown.max.retries': '2',
  'controlled.shutdown.retry.backoff.ms': '200',
  'auto.leader.rebalance.enable': 'false',
}

/** Loading one takes longer than much of a run. */
const loadedConfigs = new Map<string, LoadedConfig>()

function configOf(brokerId: number, properties: Readonly<Record<string, string>>): LoadedConfig {
  const all = { ...PROPERTIES, ...properties, 'broker.id': String(brokerId) }
  const key = JSON.stringify(all)
  let loaded = loadedConfigs.get(key)
  if (loaded === undefined) {
    loaded = loadBrokerConfig(new Map(Object.entries(all)))
    loadedConfigs.set(key, loaded)
  }
  return loaded
}

export class SimulatedCluster {
  readonly world: World
  readonly network: Network
  readonly ensemble: SimulatedEnsemble
  readonly brokers: ReadonlyMap<number, SimulatedBroker>
  readonly invariants: Invariants
  /** Broker epochs that brokers knew themselves to be registered with. */
  readonly #knownEpochs = new Map<number, number>()

  constructor(options: ClusterOptions) {
    const { seed, print = null, brokerCount = 3, properties = {} } = options
    this.world = new World(seed, print)
    const { world } = this
    this.network = new Network(world, { latencyMinMs: 0.1, latencyMaxMs: 4 })
    this.ensemble = new SimulatedEnsemble(world, this.network)
    const brokers = new Map<number, SimulatedBroker>()
    this.brokers = brokers
    this.invariants = new Invariants(world, brokers)
    this.ensemble.onDecided = (transaction, zxid) => this.invariants.decided(transaction, zxid)
    const { connect } = this.ensemble
    for (let brokerId = 1; brokerId <= brokerCount; brokerId++) {
      const broker = new SimulatedBroker({
        ...{ world, brokers, brokerId },
        network: this.network,
        ensemble: this.ensemble,
        loaded: configOf(brokerId, { 'zookeeper.connect': connect, ...properties }),
        serveClient: async (of, name, body) => {
          this.#mustNotLeadUnregistered(of)
          return name === 'Admin' && of.parts !== null
            ? answerAdmin(of.parts, body as AdminRequest)
            : answerClient(of, name, body)
        },
        observer: {
          hooks: (of) => ({
            advanced: () => undefined,
            appended: () => undefined,
            truncated: (log, to) => this.invariants.truncated(of, log, to),
            started: (log) => this.invariants.started(of, log),
            failed: () => this.invariants.unwhole.add(of.brokerId),
            committed: (log, offset) => this.invariants.committed(of, log, offset),
          }),
          roleChanged: (of, topic, partition) => this.invariants.roleChanged(of, topic, partition),
          told: (of) => this.invariants.told(of),
        },
      })
      brokers.set(brokerId, broker)
    }
  }

  /**
   * A broker that knows that it was fenced leads nothing until it is registered again. It may be so
   * before it knows its new epoch, and be fenced again before it knows of either.
   */
  #mustNotLeadUnregistered({ parts, brokerId, name }: SimulatedBroker): void {
    if (parts === null) return
    const { brokerEpoch } = parts.member
    if (brokerEpoch >= 0) {
      this.#knownEpochs.set(brokerId, brokerEpoch)
      return
    }
    const known = this.#knownEpochs.get(brokerId)
    if (known === undefined || known !== this.invariants.registrations.get(brokerId)) return
    const led = parts.replicas.partitions.find(({ isLeader }) => isLeader)
    if (led !== undefined) this.world.violated(`${name} is not registered, and leads ${led.topic}`)
  }

  broker(brokerId: number): SimulatedBroker {
    const broker = this.brokers.get(brokerId)
    if (broker === undefined) throw new Error(`there is no broker ${brokerId}`)
    return broker
  }

  /** What a client of that name is made with. */
  clientOptions(name: string): ClientOptions {
    const { world, network, brokers, invariants } = this
    return { world, network, brokers, invariants, name }
  }

  /** Starts all brokers; resolves when each has its place. */
  async start(): Promise<void> {
    for (const broker of this.brokers.values()) broker.start()
    await this.until(
      'all brokers have joined',
      () => this.all(({ hasJoined }) => hasJoined),
      20_000,
    )
  }

  all(condition: (broker: SimulatedBroker) => boolean): boolean {
    return [...this.brokers.values()].every(condition)
  }

  /** The active one; null if there is none, or more than one for now. */
  get controller(): Controller | null {
    const active: Controller[] = []
    for (const { controller } of this.brokers.values()) {
      if (controller?.isActive) active.push(controller)
    }
    return active.length === 1 ? (active[0] as Controller) : null
  }

  async until(what: string, condition: () => boolean, limitMs: number): Promise<void> {
    if (await this.world.runUntil(condition, limitMs)) return
    throw new Error(`after ${limitMs} ms still not: ${what}`)
  }

  /** Asks the controller, whoever that is, until it answers; null if none did within the time. */
  async asController<T>(what: (controller: Controller) => Promise<T>, limitMs: number) {
    const { world } = this
    const endMs = world.nowMs + limitMs
    while (world.nowMs < endMs) {
      const { controller } = this
      if (controller === null) {
        await world.runFor(50)
        continue
      }
      let answer: { readonly value: T } | null = null
      what(controller).then(
        (value) => {
          answer = { value }
        },
        (error: unknown) => world.trace('--', String(error)),
      )
      await world.runUntil(() => answer !== null || !controller.isActive, 1000)
      if (answer !== null) return (answer as { readonly value: T }).value
    }
    return null
  }

  /** Creates a topic while all is well. */
  async createTopic(
    name: string,
    assignments: readonly (readonly number[])[],
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const outcome = await this.asController(
      (controller) =>
        controller.createTopics(
          [
            {
              name,
              numPartitions: -1,
              replicationFactor: -1,
              assignments: assignments.map((brokerIds, partitionIndex) => ({
                ...{ brokerIds, partitionIndex },
              })),
              configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
            },
          ],
          { timeoutMs: 5000, validateOnly: false },
        ),
      10_000,
    )
    if (outcome?.[0]?.errorCode !== 0) {
      throw new Error(`topic ${name} is not created: ${JSON.stringify(outcome)}`)
    }
  }

  /** Everything that was done to it is undone but what failed disks did: all run, all are connected. */
  heal(): void {
    this.world.trace('--', 'heals')
    this.network.heal()
    for (const server of this.ensemble.servers) server.extraLagMs = 0
    this.ensemble.restartAll()
    for (const broker of this.brokers.values()) {
      broker.process.resume()
      if (!broker.isUp) broker.start()
    }
  }

  /** Gives brokers whose logs are offline other disks, and starts them again. */
  replaceDisks(): void {
    for (const brokerId of this.brokers.keys()) this.replaceDisk(brokerId)
  }

  replaceDisk(brokerId: number): void {
    const broker = this.broker(brokerId)
    broker.disk.failure = null
    if (!broker.hasFailedLogs) return
    broker.kill()
    broker.start()
  }

  /** A replica that is counted on though its disk failed, and others are there; null if none is. */
  whyCountedOn(): string | null {
    if (this.controller === null) return 'there is no controller, or more than one'
    for (const topic of this.invariants.topicIds.keys()) {
      // Its deletion waits for the replica and changes no state before.
      if (this.#isBeingDeleted(topic)) continue
      for (const [partition] of this.#assignmentOf(topic)) {
        const { leader, isr } = this.invariants.stateOf(topic, partition) ?? { leader: -1, isr: [] }
        const failed = isr.filter(
          (id) => this.brokers.get(id)?.parts?.logs.find(topic, partition)?.hasFailed,
        )
        const name = `${topic}-${partition}`
        if (failed.includes(leader)) return `${name} is led by ${leader}, whose disk failed`
        if (failed.length > 0 && failed.length < isr.length) {
          return `${name} has ${failed.join()} in its ISR, whose disks failed`
        }
      }
    }
    return null
  }

  /** Why the cluster is not whole; null if it is. */
  whyNotWhole(): string | null {
    for (const broker of this.brokers.values()) {
      if (!broker.hasJoined) return `${broker.name} has not joined`
    }
    const { controller } = this
    if (controller === null) return 'there is no controller, or more than one'
    for (const topic of this.invariants.topicIds.keys()) {
      const why = this.#whyNotWholeTopic(topic)
      if (why !== null) return why
    }
    for (const broker of this.brokers.values()) {
      for (const { topic } of broker.disk.logs.values()) {
        if (!this.invariants.topicIds.has(topic)) return `${broker.name} has a log of ${topic}`
      }
    }
    return this.#whyMetadataDiffer(controller)
  }

  #isBeingDeleted(topic: string): boolean {
    return this.ensemble.head.node(`/admin/delete_topics/${topic}`) !== undefined
  }

  #whyNotWholeTopic(topic: string): string | null {
    const node = this.ensemble.head.node(`/brokers/topics/${topic}`)
    if (this.#isBeingDeleted(topic)) return `${topic} is being deleted`
    const registered = JSON.parse(node?.data ?? '{}') as {
      partitions: Record<string, number[]>
      adding_replicas: Record<string, number[]>
      removing_replicas: Record<string, number[]>
    }
    const moving = [registered.adding_replicas, registered.removing_replicas]
    if (moving.some((some) => Object.keys(some).length > 0)) return `${topic} is being moved`
    for (const [number, replicas] of Object.entries(registered.partitions)) {
      const partition = Number(number)
      const state = this.invariants.stateOf(topic, partition)
      const name = `${topic}-${partition}`
      if (state === null) return `${name} has no state`
      if (state.leader < 0) return `${name} has no leader`
      if (state.isr.length !== replicas.length) {
        return `${name} has ISR ${state.isr.join()} of ${replicas.join()}`
      }
      const leader = this.brokers.get(state.leader)?.parts?.replicas.partition(topic, partition)
      if (!leader?.isLeader || leader.leaderEpoch !== state.leader_epoch) {
        return `${nameOf(state.leader)} does not lead ${name}`
      }
      for (const id of replicas) {
        const replica = this.brokers.get(id)?.parts?.replicas.partition(topic, partition)
        if (replica?.leaderEpoch !== state.leader_epoch) return `${nameOf(id)} is behind in ${name}`
        if (replica.logEnd !== leader.logEnd) return `${nameOf(id)} lags in ${name}`
        if (replica.logStart < leader.logStart) return `${nameOf(id)} begins too early in ${name}`
        if (replica.highWatermark !== leader.logEnd) return `${name} is not committed at ${id}`
      }
    }
    return null
  }

  #whyMetadataDiffer(controller: Controller): string | null {
    const topics = [...this.invariants.topicIds.keys()].sort()
    for (const { parts, name } of this.brokers.values()) {
      const metadata = parts?.metadata
      if (metadata === undefined) return `${name} has no metadata`
      if (metadata.controllerId !== controller.controllerId) {
        return `${name} takes ${metadata.controllerId} for the controller`
      }
      const known = [...metadata.topicNames()].sort()
      if (known.join() !== topics.join()) return `${name} knows ${known} and not ${topics}`
      for (const topic of metadata.topics()) {
        for (const partition of topic.partitions) {
          const state = this.invariants.stateOf(topic.name, partition.partition)
          if (state?.leader !== partition.leader || state.leader_epoch !== partition.leaderEpoch) {
            return `${name} has old metadata of ${topic.name}-${partition.partition}`
          }
        }
      }
    }
    return null
  }

  /** Checks that all replicas have the same in the end. */
  checkReplicas(): void {
    for (const topic of this.invariants.topicIds.keys()) {
      for (const [partition, replicas] of this.#assignmentOf(topic)) {
        this.invariants.replicasAgree(topic, partition, replicas)
      }
    }
  }

  /** The replicas of each partition. */
  #assignmentOf(topic: string): readonly (readonly [number, readonly number[]])[] {
    const data = this.ensemble.head.node(`/brokers/topics/${topic}`)?.data || '{}'
    const { partitions = {} } = JSON.parse(data) as { partitions?: Record<string, number[]> }
    return Object.entries(partitions).map(([number, replicas]) => [Number(number), replicas])
  }
}
