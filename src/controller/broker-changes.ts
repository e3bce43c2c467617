/** Brokers that come, go, come back, fail on a disk, or want to stop. */
import { ErrorCode } from '../protocol/error-codes.ts'
import type {
  ControlledShutdownRequest,
  ControlledShutdownResponse,
} from '../protocol/messages/controlled-shutdown.ts'
import type { LogDirEvent, RegisteredBroker } from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import type { PartitionEntry } from './controller-context.ts'
import {
  electOffline,
  initialState,
  isLeaderFit,
  leaveForShutdown,
  shrinkToOnline,
} from './leader-election.ts'

export interface BrokerChangesOptions {
  readonly active: ActiveController
  /** Calls back when a broker has stopped replicas. */
  readonly stopped: (brokerId: number, partitions: readonly PartitionEntry[]) => void
  /** Brokers that were away are back. */
  readonly returned: (brokerIds: readonly number[]) => void
}

export class BrokerChanges {
  readonly #active: ActiveController
  readonly #options: BrokerChangesOptions

  constructor(options: BrokerChangesOptions) {
    this.#options = options
    this.#active = options.active
  }

  /** Takes over the list of live brokers when everything is read anew. */
  reset(brokers: readonly RegisteredBroker[]): void {
    const { context, channels } = this.#active
    const live = new Map(brokers.map((broker) => [broker.brokerId, broker]))
    for (const [id, { broker }] of channels) {
      if (live.get(id)?.brokerEpoch !== broker.brokerEpoch) this.#active.closeChannel(id)
    }
    for (const [id, { brokerEpoch }] of context.liveBrokers) {
      if (live.get(id)?.brokerEpoch !== brokerEpoch) context.shuttingDown.delete(id)
    }
    context.liveBrokers.clear()
    for (const [id, broker] of live) context.liveBrokers.set(id, broker)
    for (const [id, broker] of live) {
      const channel = channels.get(id)
      if (channel) channel.forget()
      else this.#open(broker)
    }
  }

  /** Tells all live brokers everything. */
  tellAll(): void {
    for (const channel of this.#active.channels.values()) channel.markAll()
  }

  /** What is different from what is known. A broker with another epoch was gone in between. */
  async changed(brokers: readonly RegisteredBroker[]): Promise<void> {
    const { context, logger } = this.#active
    const live = new Map(brokers.map((broker) => [broker.brokerId, broker]))
    const gone: number[] = []
    for (const [id, { brokerEpoch }] of context.liveBrokers) {
      if (live.get(id)?.brokerEpoch !== brokerEpoch) gone.push(id)
    }
    if (gone.length > 0) {
      logger.info({ brokers: gone }, 'brokers are gone')
      await this.#failed(gone)
    }
    const come = brokers.filter(({ brokerId }) => !context.liveBrokers.has(brokerId))
    if (come.length > 0) {
      logger.info({ brokers: come.map((broker) => broker.brokerId) }, 'brokers are new')
      await this.#started(come)
    }
    for (const broker of brokers) context.liveBrokers.set(broker.brokerId, broker)
  }

  async #failed(brokerIds: readonly number[]): Promise<void> {
    const { context } = this.#active
    for (const id of brokerIds) {
      context.liveBrokers.delete(id)
      context.shuttingDown.delete(id)
      this.#active.closeChannel(id)
    }
    this.#active.tellBrokers()
    const led: PartitionEntry[] = []
    for (const partition of context.partitions()) {
      if (brokerIds.includes(partition.leader)) led.push(partition)
    }
    await this.electOffline(led)
    // Others may be served in between: those partitions have their leaders.
    this.#active.enqueue('ISRs without dead brokers', () => this.shrink())
    for (const partition of context.partitions()) {
      const isConcerned = partition.replicas.some((id) => brokerIds.includes(id))
      if (isConcerned) this.#active.tellMetadata(partition)
    }
  }

  async #started(brokers: readonly RegisteredBroker[]): Promise<void> {
    const { context } = this.#active
    const ids = brokers.map((broker) => broker.brokerId)
    for (const broker of brokers) context.liveBrokers.set(broker.brokerId, broker)
    const leaderless: PartitionEntry[] = []
    for (const partition of context.partitions()) {
      if (!partition.replicas.some((id) => ids.includes(id))) continue
      for (const id of ids) partition.failedReplicas.delete(id)
      if (partition.state === null || !isLeaderFit(partition.state, this.#electorate(partition))) {
        leaderless.push(partition)
      }
      this.#active.tellMetadata(partition)
    }
    this.#active.tellBrokers()
    for (const broker of brokers) {
      this.#open(broker)
      this.#active.channels.get(broker.brokerId)?.markAll()
    }
    await this.electOffline(leaderless)
    await this.shrink()
    this.#options.returned(ids)
  }

  #open(broker: RegisteredBroker): void {
    this.#active.openChannel(broker, {
      stopped: this.#options.stopped,
      replicas: (id, partitions, areOnline) => this.#replicas(id, partitions, areOnline),
    })
  }

  /** What a broker answered about its logs. */
  #replicas(brokerId: number, partitions: readonly PartitionEntry[], areOnline: boolean): void {
    const { logger } = this.#active
    for (const { failedReplicas } of partitions) {
      if (areOnline) failedReplicas.delete(brokerId)
      else failedReplicas.add(brokerId)
    }
    const fields = { broker: brokerId, partitions: partitions.length, areOnline }
    logger.warn(fields, 'logs of a broker have failed, or can be used again')
    this.#active.enqueue('replicas online or not', async () => {
      const { context } = this.#active
      // Entries may have been replaced since the broker was asked.
      const concerned = partitions.filter(
        (one) => !one.topic.isDeleting && context.partition(one.topic.name, one.partition) === one,
      )
      await this.electOffline(
        concerned.filter(
          (one) => one.state !== null && !isLeaderFit(one.state, this.#electorate(one)),
        ),
      )
      await this.shrink(concerned)
      for (const partition of concerned) this.#active.tellMetadata(partition)
    })
  }

  /** A leader for each that has none, or whose leader is not fit; a first state for new ones. */
  electOffline(partitions: readonly PartitionEntry[]): Promise<void> {
    const created = new Set<PartitionEntry>()
    return this.#active.change(
      partitions,
      (partition, state) => {
        const electorate = this.#electorate(partition)
        if (state === null) {
          created.add(partition)
          return initialState(electorate)
        }
        created.delete(partition)
        if (isLeaderFit(state, electorate)) return null
        const next = electOffline(state, electorate, false)
        const isLed = next !== null && next.leader !== -1
        if (isLed || !this.#active.mayBeUnclean(partition.topic)) return next
        return electOffline(state, electorate, true)
      },
      (partition) => {
        const isNew = created.has(partition)
        this.#active.tell(partition, isNew ? partition.replicas : [])
        if (partition.state?.isRecovering) {
          this.#active.logger.warn({ partition: partition.name }, 'an unclean leader was elected')
        }
      },
    )
  }

  /** Members that are not online leave the ISRs. */
  async shrink(
    partitions: Iterable<PartitionEntry> = this.#active.context.partitions(),
  ): Promise<void> {
    const wanted: PartitionEntry[] = []
    for (const partition of partitions) if (partition.state !== null) wanted.push(partition)
    await this.#active.change(wanted, (partition, state) =>
      state === null ? null : shrinkToOnline(state, this.#electorate(partition)),
    )
  }

  /** Which of its partitions a broker with a failed disk still has: its next answer tells. */
  async logDirsFailed(events: readonly LogDirEvent[]): Promise<void> {
    const ids = new Set(events.map((event) => event.brokerId))
    for (const partition of this.#active.context.partitions()) {
      for (const id of partition.replicas) {
        if (ids.has(id)) this.#active.channels.get(id)?.markLeadership(partition, false)
      }
    }
    await this.#active.registry.completeLogDirEvents(events.map((event) => event.id))
  }

  async controlledShutdown(
    request: ControlledShutdownRequest,
  ): Promise<ControlledShutdownResponse> {
    const { brokerId } = request
    const moved = await this.#active.run(async () => {
      const { context } = this.#active
      const broker = context.liveBrokers.get(brokerId)
      if (broker === undefined) return ErrorCode.BROKER_NOT_AVAILABLE
      const isStale = request.brokerEpoch !== -1 && request.brokerEpoch < broker.brokerEpoch
      if (isStale) return ErrorCode.STALE_BROKER_EPOCH
      context.shuttingDown.add(brokerId)
      return this.#leave(brokerId)
    })
    if (typeof moved === 'number') return { errorCode: moved, remainingPartitions: [] }
    // New leaders shall know before the old one stops; who is slow does not hold it up for long.
    await this.#active.allTold()
    const remainingPartitions = moved
      .filter(({ leader, topic }) => leader === brokerId && !topic.isDeleting)
      .map(({ topic, partition }) => ({ topicName: topic.name, partitionIndex: partition }))
    return { errorCode: ErrorCode.NONE, remainingPartitions }
  }

  /** Replicated partitions of the broker, after those that can have left it. */
  async #leave(brokerId: number): Promise<PartitionEntry[]> {
    const { context, channels } = this.#active
    const replicated: PartitionEntry[] = []
    for (const partition of context.partitions()) {
      const { replicas, state } = partition
      if (state !== null && replicas.length > 1 && replicas.includes(brokerId)) {
        replicated.push(partition)
      }
    }
    const leave = (partition: PartitionEntry, state: PartitionEntry['state']) =>
      state === null ? null : leaveForShutdown(state, this.#electorate(partition), brokerId)
    const isLed = (partition: PartitionEntry): boolean => partition.leader === brokerId
    const led = replicated.filter(isLed)
    await this.#active.change(led, leave)
    const followed = replicated.filter((partition) => !isLed(partition))
    await this.#active.change(followed, leave)
    for (const partition of followed) channels.get(brokerId)?.markStop(partition, false)
    const fields = { broker: brokerId, moved: led.length, remaining: led.filter(isLed).length }
    this.#active.logger.info(fields, 'a broker is about to stop')
    return replicated
  }

  #electorate(partition: PartitionEntry) {
    return this.#active.electorate(partition)
  }
}
