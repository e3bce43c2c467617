/**
 * The controller for as long as it is elected: what it knows, its channels to the brokers, its
 * events, and the one way in which it writes partition states.
 *
 * Events run one after another, and what they read of the context is what they decide by. They wait
 * for the registry, never for a broker. A write is conditional on the version that the decision was
 * made from; one that is refused is decided again from what is there now. When the registry fails
 * in the middle of an event, everything is read anew, as by a new controller: whatever state a
 * sequence of writes was left in, `load` goes on from there.
 *
 * Once it is over, nothing is written any more: every step looks. Main thread only.
 */
import type { BrokerConfig } from '../config/broker-config.ts'
import { effectiveTopicConfig } from '../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import {
  type ClusterRegistry,
  type PartitionState,
  type RegisteredBroker,
  RegistryError,
} from '../registry/cluster-registry.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import { BrokerChannel, type ChannelEvents } from './broker-channel.ts'
import type { OpenBrokerLink } from './broker-link.ts'
import { BrokerRequests } from './broker-requests.ts'
import type { LiveBrokerTexts } from './broker-texts.ts'
import { ControllerContext, type PartitionEntry, type TopicEntry } from './controller-context.ts'
import type { Electorate } from './leader-election.ts'
import { Serial } from './serial.ts'

/** Partition states that are written together, and told as soon as they are. */
const STATES_PER_CHUNK = 250
const CHUNKS_IN_FLIGHT = 4
/** How often a state is decided anew because somebody else has written it meanwhile. */
const DECISIONS_MAX = 10
const RECOVERY_MS_MIN = 100
const RECOVERY_MS_MAX = 5000
/** How long brokers that are not concerned themselves may hold up an answer. */
const LAGGARD_MS = 500

export interface ActiveControllerOptions {
  readonly brokerId: number
  readonly epoch: number
  readonly registry: ClusterRegistry
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly openLink: OpenBrokerLink
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
  /** A later controller was met, or the registry was closed. */
  readonly deposed: () => void
  readonly suspect: (brokerId: number) => void
}

export interface StateChange {
  readonly partition: PartitionEntry
  readonly state: PartitionState
}

export type Decision = (
  partition: PartitionEntry,
  state: PartitionState | null,
) => PartitionState | null

interface TopicRules {
  readonly configs: ReadonlyMap<string, string>
  readonly dynamic: ReadonlyMap<string, string>
  readonly dynamicDefault: ReadonlyMap<string, string>
  readonly isrMin: number
  readonly mayBeUnclean: boolean
}

export class ActiveController {
  readonly brokerId: number
  readonly epoch: number
  readonly registry: ClusterRegistry
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
  readonly context = new ControllerContext()
  readonly channels = new Map<number, BrokerChannel>()
  /** Reads everything anew; set by whoever knows how. */
  load: () => Promise<void> = () => Promise.resolve()
  readonly #options: ActiveControllerOptions
  readonly #requests: BrokerRequests
  readonly #serial = new Serial()
  readonly #rules = new WeakMap<TopicEntry, TopicRules>()
  readonly #atEnd: (() => void)[] = []
  #changed: (() => void)[] = []
  #recovery: Timer | null = null
  #recoveries = 0
  #isOver = false

  constructor(options: ActiveControllerOptions) {
    this.#options = options
    this.brokerId = options.brokerId
    this.epoch = options.epoch
    this.registry = options.registry
    this.config = options.config
    this.texts = options.texts
    this.clock = options.clock
    this.timers = options.timers
    this.random = options.random
    this.logger = options.logger
    this.#requests = new BrokerRequests({
      context: this.context,
      controllerId: options.brokerId,
      controllerEpoch: options.epoch,
      listenerName: options.config.interBrokerListenerName,
    })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Calls `action` when it is over; at once if it is already. */
  atEnd(action: () => void): void {
    if (this.#isOver) action()
    else this.#atEnd.push(action)
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#recovery?.cancel()
    for (const channel of this.channels.values()) channel.close()
    this.channels.clear()
    for (const action of this.#atEnd.splice(0)) action()
    this.#notify()
  }

  /** Throws KafkaError NOT_CONTROLLER once it is over. */
  check(): void {
    if (this.#isOver) throw new KafkaError(ErrorCode.NOT_CONTROLLER)
  }

  /** Ends it if another controller has been elected since. Throws KafkaError NOT_CONTROLLER. */
  async checkEpoch(): Promise<void> {
    const current = await this.registry.controllerEpoch()
    if (current !== this.epoch) {
      this.logger.warn({ epoch: this.epoch, current }, 'there is a later controller')
      this.depose()
    }
    this.check()
  }

  depose(): void {
    if (!this.#isOver) this.#options.deposed()
    this.end()
  }

  /** An event that somebody waits for. Throws KafkaError or RegistryError. */
  run<T>(event: () => Promise<T>): Promise<T> {
    return this.#serial.run(async () => {
      this.check()
      try {
        return await event()
      } catch (error) {
        if (this.#isOver) throw new KafkaError(ErrorCode.NOT_CONTROLLER)
        if (error instanceof RegistryError) this.#registryFailed(error)
        throw error
      }
    })
  }

  /** An event that nobody waits for. */
  enqueue(what: string, event: () => Promise<void>): void {
    this.run(event).catch((error: unknown) => {
      if (this.#isOver) return
      if (!(error instanceof RegistryError) && !(error instanceof KafkaError)) throw error
      this.logger.warn({ err: error, event: what }, 'an event of the controller failed')
    })
  }

  #registryFailed(error: RegistryError): void {
    if (error.kind === 'fenced' || error.kind === 'closed') this.depose()
    else if (error.kind === 'unavailable' || error.kind === 'uncertain') this.recover()
  }

  /** Reads everything anew after a while: some write may have been left out. */
  recover(): void {
    if (this.#recovery !== null || this.#isOver) return
    const delayMs = Math.min(RECOVERY_MS_MIN * 2 ** this.#recoveries, RECOVERY_MS_MAX)
    this.#recoveries += 1
    this.#recovery = this.timers.schedule(delayMs, () => this.#reload())
  }

  /** The registry can be reached again: what is to be recovered is so at once. */
  reconnected(): void {
    if (this.#recovery === null) return
    this.#recovery.cancel()
    this.#reload()
  }

  #reload(): void {
    this.#recovery = null
    this.enqueue('recovery', async () => {
      await this.load()
      this.#recoveries = 0
    })
  }

  /** Connects to a broker; it is told nothing yet but who is alive. */
  openChannel(broker: RegisteredBroker, events: Omit<ChannelEvents, 'stale' | 'suspect'>): void {
    const channel = new BrokerChannel({
      broker,
      context: this.context,
      requests: this.#requests,
      events: {
        ...events,
        stale: (brokerId, errorCode) => this.#stale(brokerId, errorCode),
        suspect: this.#options.suspect,
      },
      openLink: this.#options.openLink,
      timers: this.timers,
      logger: this.logger,
    })
    this.channels.set(broker.brokerId, channel)
    channel.markBrokers()
  }

  closeChannel(brokerId: number): void {
    this.channels.get(brokerId)?.close()
    this.channels.delete(brokerId)
    this.#notify()
  }

  /** As far as is known at this moment; a live broker may have died and nobody has found out yet. */
  isReachable(brokerId: number): boolean {
    return this.channels.get(brokerId)?.isReachable ?? false
  }

  #stale(brokerId: number, errorCode: number): void {
    if (errorCode !== ErrorCode.STALE_CONTROLLER_EPOCH) return
    this.logger.warn({ from: brokerId, epoch: this.epoch }, 'a broker knows a later controller')
    this.enqueue('look for a later controller', () => this.checkEpoch())
  }

  /** Tells the replicas of a partition what they are, and all brokers where its leader is. */
  tell(partition: PartitionEntry, newReplicas: readonly number[] = []): void {
    for (const id of partition.replicas) {
      this.channels.get(id)?.markLeadership(partition, newReplicas.includes(id))
    }
    this.tellMetadata(partition)
  }

  tellMetadata(partition: PartitionEntry): void {
    for (const channel of this.channels.values()) channel.markMetadata(partition)
    this.#notify()
  }

  tellBrokers(): void {
    for (const channel of this.channels.values()) channel.markBrokers()
  }

  electorate(partition: PartitionEntry): Electorate {
    const { context } = this
    const rules = (): TopicRules => this.#rulesOf(partition.topic)
    return {
      replicas: partition.replicas,
      controllerEpoch: this.epoch,
      isOnline: (id) => partition.replicas.includes(id) && context.isOnline(partition, id),
      isShuttingDown: (id) => context.shuttingDown.has(id),
      isReachable: (id) => this.isReachable(id),
      lostTail: (id) => {
        const broker = context.liveBrokers.get(id)
        return broker === undefined ? undefined : (broker.lostTail ?? null)
      },
      get isrMin() {
        return rules().isrMin
      },
    }
  }

  /** Whether a replica that may lack records may lead. */
  mayBeUnclean(topic: TopicEntry): boolean {
    return this.#rulesOf(topic).mayBeUnclean
  }

  #rulesOf(topic: TopicEntry): TopicRules {
    const { configs } = topic
    const { dynamic, dynamicDefault } = this.texts
    const known = this.#rules.get(topic)
    const isCurrent =
      known?.configs === configs &&
      known.dynamic === dynamic &&
      known.dynamicDefault === dynamicDefault
    if (isCurrent) return known
    const { minInsyncReplicas, uncleanLeaderElectionEnable } = effectiveTopicConfig(
      configs,
      this.texts,
    )
    const rules = {
      ...{ configs, dynamic, dynamicDefault },
      isrMin: minInsyncReplicas,
      mayBeUnclean: uncleanLeaderElectionEnable,
    }
    this.#rules.set(topic, rules)
    return rules
  }

  /**
   * Decides on each partition and writes what was decided, until it is written or there is nothing
   * to decide; tells brokers of every chunk as soon as it is written. Partitions that somebody else
   * kept on writing are left. Throws RegistryError.
   */
  async change(
    partitions: readonly PartitionEntry[],
    decide: Decision,
    written: (partition: PartitionEntry) => void = (partition) => this.tell(partition),
  ): Promise<void> {
    let left = partitions
    for (let attempt = 0; left.length > 0 && attempt < DECISIONS_MAX; attempt++) {
      const changes: StateChange[] = []
      for (const partition of left) {
        const state = decide(partition, partition.state)
        if (state !== null) changes.push({ partition, state })
      }
      left = await this.write(changes, written)
    }
    if (left.length > 0) {
      this.logger.warn({ partitions: left.length }, 'partitions are being written by others')
      this.recover()
    }
  }

  /** Those that were not written because others had: their entries are read anew. */
  async write(
    changes: readonly StateChange[],
    written: (partition: PartitionEntry) => void,
  ): Promise<PartitionEntry[]> {
    const refused: PartitionEntry[] = []
    const inFlight: Promise<void>[] = []
    try {
      for (let start = 0; start < changes.length; start += STATES_PER_CHUNK) {
        this.check()
        if (inFlight.length === CHUNKS_IN_FLIGHT) await inFlight.shift()
        const chunk = changes.slice(start, start + STATES_PER_CHUNK)
        inFlight.push(this.#writeChunk(chunk, written, refused))
      }
      await Promise.all(inFlight)
    } finally {
      await Promise.allSettled(inFlight)
    }
    this.check()
    await this.reread(refused)
    return refused
  }

  async #writeChunk(
    chunk: readonly StateChange[],
    written: (partition: PartitionEntry) => void,
    refused: PartitionEntry[],
  ): Promise<void> {
    const updates = chunk.map(({ partition, state }) => ({
      topic: partition.topic.name,
      partition: partition.partition,
      state,
      expectedVersion: partition.state === null ? null : partition.version,
    }))
    const results = await this.registry.writePartitionStates(updates, this.epoch)
    this.check()
    for (const [i, { partition, state }] of chunk.entries()) {
      const result = results[i]
      if (!result?.ok) {
        refused.push(partition)
        continue
      }
      partition.state = state
      partition.version = result.version
      written(partition)
    }
  }

  /** Takes over what is in the registry. Throws KafkaError NOT_CONTROLLER if a later one wrote it. */
  async reread(partitions: readonly PartitionEntry[]): Promise<void> {
    const found = await Promise.all(
      partitions.map(({ topic, partition }) => this.registry.partitionState(topic.name, partition)),
    )
    this.check()
    for (const [i, partition] of partitions.entries()) {
      const entry = found[i]
      partition.state = entry?.value ?? null
      partition.version = entry?.version ?? -1
      if ((entry?.value.controllerEpoch ?? 0) > this.epoch) await this.checkEpoch()
    }
  }

  /**
   * Resolves when the leaders of the partitions have been told that they are, and the other brokers
   * too unless they take long. Throws KafkaError where a partition cannot get a leader.
   */
  async told(created: readonly PartitionEntry[]): Promise<void> {
    for (;;) {
      this.check()
      // Everything may have been read anew meanwhile.
      const partitions = created.map(
        (one) => this.context.partition(one.topic.name, one.partition) ?? one,
      )
      const leaders = new Set(partitions.map((partition) => partition.leader))
      const channels = [...leaders].map((id) => this.channels.get(id))
      const isTold = await Promise.all(channels.map((channel) => channel?.caughtUp() ?? false))
      this.check()
      if (partitions.some((partition) => partition.topic.isDeleting)) {
        throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      }
      const hasFailed = partitions.find(
        ({ leader, failedReplicas }) => leader === -1 && failedReplicas.size > 0,
      )
      if (hasFailed !== undefined) {
        throw new KafkaError(
          ErrorCode.KAFKA_STORAGE_ERROR,
          `No replica of partition ${hasFailed.name} can use its log`,
        )
      }
      const isLed = partitions.every(
        ({ leader, failedReplicas }) => leaders.has(leader) && !failedReplicas.has(leader),
      )
      if (isLed && isTold.every((is) => is)) break
      await this.#nextChange()
    }
    await this.allTold()
  }

  /** Resolves when all live brokers know what has been marked for them, or had a little time to. */
  async allTold(): Promise<void> {
    const all = [...this.channels.values()].map((channel) => channel.caughtUp())
    await this.atMost(LAGGARD_MS, Promise.all(all))
  }

  /** Whether the promise resolved in time; it must not reject. */
  atMost(timeoutMs: number, promise: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const timer = this.timers.schedule(timeoutMs, () => resolve(false))
      promise.then(() => {
        timer.cancel()
        resolve(true)
      }, reject)
    })
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed.push(resolve)
    })
  }

  #notify(): void {
    if (this.#changed.length === 0) return
    const listeners = this.#changed
    this.#changed = []
    for (const listener of listeners) listener()
  }
}
