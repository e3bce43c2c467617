/**
 * The topics that a consumer reads, as it last heard of them: looked at without waiting, renewed in
 * the background when somebody finds it outdated, and when it becomes old.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import type { Clock } from '../util/clock.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { AssignorTopic } from './assignors/assignor.ts'
import type { BrokerNode, ClusterMetadata, PartitionMetadata, TopicMetadata } from './cluster.ts'
import { type ClusterAccess, isTransient } from './cluster-access.ts'
import type { TopicPartition } from './subscription-state.ts'

/** How soon topics are looked for again that are not there, or have no leader. */
const INCOMPLETE_AGE_MS = 1000

export interface MetadataViewOptions {
  readonly cluster: ClusterAccess
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly metadataMaxAgeMs: number
  readonly retryBackoffMs: number
  readonly allowAutoTopicCreation: boolean
  /** What to ask for; null: all topics. */
  readonly wanted: () => readonly string[] | null
  readonly onUpdate: () => void
  /** What cannot be got over by asking again. */
  readonly onError: (error: Error) => void
}

export class MetadataView {
  readonly #options: MetadataViewOptions
  #topics: ReadonlyMap<string, TopicMetadata> = new Map()
  #brokers: readonly BrokerNode[] = []
  #update: Promise<void> | null = null
  #askedAgain = false
  #timer: Timer | null = null
  #lastMs = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(options: MetadataViewOptions) {
    this.#options = options
  }

  get topics(): ReadonlyMap<string, TopicMetadata> {
    return this.#topics
  }

  hasBroker(id: number): boolean {
    return this.#brokers.some(({ brokerId }) => brokerId === id)
  }

  /** The topics as assignors see them. */
  assignorTopics(): Map<string, AssignorTopic> {
    return assignorTopics({ brokers: this.#brokers, topics: this.#topics })
  }

  partition({ topic, partition }: TopicPartition): PartitionMetadata | undefined {
    const partitions = this.#topics.get(topic)?.partitions
    const guess = partitions?.[partition]
    return guess?.partition === partition
      ? guess
      : partitions?.find((one) => one.partition === partition)
  }

  /** Asks for an update soon: after a pause if there was one just now. */
  requestUpdate(): void {
    if (this.#closed) return
    if (this.#update !== null) {
      this.#askedAgain = true
      return
    }
    const { clock, retryBackoffMs } = this.#options
    this.#schedule(Math.max(0, this.#lastMs + retryBackoffMs - clock.monotonicMs()))
  }

  /** Resolves after an update that begins now or is on its way. Throws when it fails. */
  update(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = null
    this.#update ??= this.#fetch().finally(() => {
      this.#update = null
      if (this.#closed || this.#timer !== null) return
      const { metadataMaxAgeMs, retryBackoffMs } = this.#options
      if (this.#askedAgain) this.#schedule(retryBackoffMs)
      else this.#schedule(this.#isComplete() ? metadataMaxAgeMs : INCOMPLETE_AGE_MS)
      this.#askedAgain = false
    })
    return this.#update
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = null
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#options.timers.schedule(delayMs, () => {
      this.#timer = null
      this.update().catch((error: Error) => {
        if (this.#closed) return
        if (isTransient(error)) this.requestUpdate()
        else this.#options.onError(error)
      })
    })
  }

  /** Whether every topic is there and has leaders. */
  #isComplete(): boolean {
    for (const { errorCode, partitions } of this.#topics.values()) {
      if (errorCode !== ErrorCode.NONE || partitions.some(({ leaderId }) => leaderId === -1)) {
        return false
      }
    }
    return true
  }

  async #fetch(): Promise<void> {
    const { cluster, wanted, allowAutoTopicCreation, clock } = this.#options
    const names = wanted()
    if (names !== null && names.length === 0) return
    this.#lastMs = clock.monotonicMs()
    const metadata = await cluster.metadata(names, { refresh: true, allowAutoTopicCreation })
    this.#topics = metadata.topics
    this.#brokers = metadata.brokers
    if (!this.#closed) this.#options.onUpdate()
  }
}

/** Topics as assignors see them: with the racks of replicas, if any broker has one. */
export function assignorTopics({
  brokers,
  topics,
}: Pick<ClusterMetadata, 'brokers' | 'topics'>): Map<string, AssignorTopic> {
  const racks = new Map(brokers.map(({ brokerId, rack }) => [brokerId, rack]))
  const hasRacks = brokers.some(({ rack }) => rack !== null)
  const seen = new Map<string, AssignorTopic>()
  for (const [name, { partitions }] of topics) {
    if (partitions.length === 0) continue
    const partitionCount = partitions.length
    if (!hasRacks) {
      seen.set(name, { partitionCount })
      continue
    }
    const racksOf = partitions.map(({ replicas }) => {
      const found = replicas.map((id) => racks.get(id)).filter((rack) => typeof rack === 'string')
      return [...new Set(found)].sort()
    })
    seen.set(name, { partitionCount, racks: racksOf })
  }
  return seen
}
