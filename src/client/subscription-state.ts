/**
 * What a consumer reads and how far it is: its subscription, the partitions assigned to it, and for
 * each one the position. Holds no connection and knows no time.
 */
import { compareStrings } from './assignors/assignor.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** Where to begin when a partition has no valid offset. */
export type AutoOffsetReset = 'earliest' | 'latest' | 'none'

/** What is known of the position of a partition. */
export type PositionState =
  /** Nothing: the committed offset is to be fetched. */
  | 'unknown'
  /** It is to be looked up by timestamp (-1 latest, -2 earliest). */
  | 'resetting'
  /** It may lie in a part of the log that a new leader has cut off (KIP-320). */
  | 'validating'
  | 'known'

/** One assigned partition. */
export class PartitionState {
  readonly topic: string
  readonly partition: number
  /** Offset of the next record for the program. */
  position = -1
  /** Leader epoch of the record before `position`, -1: not known. */
  positionEpoch = -1
  /** What the program is done with, and what a commit by the clock takes; -1: nothing yet. */
  consumed = -1
  consumedEpoch = -1
  /** Offset of the next fetch: `position` and what lies in the buffer. */
  fetchOffset = -1
  state: PositionState = 'unknown'
  /** While `resetting`: a timestamp, -1 latest or -2 earliest. */
  resetTimestamp = 0
  isPaused = false
  /** Grows with every change that makes answers and buffers worthless that are on their way. */
  version = 0
  /** The leader epoch for which the position has been validated. */
  validatedEpoch = -1
  /** Committed before, so that it need not be committed again. */
  committed = -1
  highWatermark = -1
  logStartOffset = -1
  /** KIP-392: read from this replica until the time given; -1: from the leader. */
  preferredReplica = -1
  preferredUntilMs = 0
  /** In the buffer. */
  bufferedBytes = 0

  constructor({ topic, partition }: TopicPartition) {
    this.topic = topic
    this.partition = partition
  }

  /** Goes to an offset; what was fetched before is worthless. */
  seek(offset: number, leaderEpoch = -1): void {
    this.position = offset
    this.positionEpoch = leaderEpoch
    this.consumed = offset
    this.consumedEpoch = leaderEpoch
    this.fetchOffset = offset
    this.state = 'known'
    this.validatedEpoch = -1
    this.version += 1
  }

  /** Asks for the offset of a timestamp, -1 latest or -2 earliest. */
  requestReset(timestamp: number): void {
    this.state = 'resetting'
    this.resetTimestamp = timestamp
    this.version += 1
  }

  /** Drops what was fetched ahead: the next fetch begins where the program is. */
  rewind(): void {
    this.fetchOffset = this.position
    this.version += 1
  }
}

/** A partition as the key of a map. */
export function keyOf({ topic, partition }: TopicPartition): string {
  return `${partition}-${topic}`
}

export function comparePartitions(a: TopicPartition, b: TopicPartition): number {
  return compareStrings(a.topic, b.topic) || a.partition - b.partition
}

/** Topic by topic, in order. */
export function groupByTopic<T extends TopicPartition>(partitions: Iterable<T>): Map<string, T[]> {
  const topics = new Map<string, T[]>()
  for (const one of [...partitions].sort(comparePartitions)) {
    const list = topics.get(one.topic)
    if (list) list.push(one)
    else topics.set(one.topic, [one])
  }
  return topics
}

export class SubscriptionState {
  #kind: 'none' | 'topics' | 'pattern' | 'manual' = 'none'
  #topics: readonly string[] = []
  #pattern: RegExp | null = null
  readonly #assigned = new Map<string, PartitionState>()

  get kind(): 'none' | 'topics' | 'pattern' | 'manual' {
    return this.#kind
  }

  /** Whether the group decides on the partitions. */
  get isGroupManaged(): boolean {
    return this.#kind === 'topics' || this.#kind === 'pattern'
  }

  /** Topics subscribed to, in order; with a pattern those that it has matched. */
  get topics(): readonly string[] {
    return this.#topics
  }

  get pattern(): RegExp | null {
    return this.#pattern
  }

  get partitions(): IterableIterator<PartitionState> {
    return this.#assigned.values()
  }

  get size(): number {
    return this.#assigned.size
  }

  subscribe(topics: readonly string[]): void {
    this.#kind = 'topics'
    this.#pattern = null
    this.#topics = [...new Set(topics)].sort(compareStrings)
  }

  subscribePattern(pattern: RegExp): void {
    this.#kind = 'pattern'
    this.#pattern = pattern
    this.#topics = []
  }

  /** Topics that the pattern now matches; true if they are others than before. */
  matched(topics: readonly string[]): boolean {
    const sorted = [...topics].sort(compareStrings)
    const same =
      sorted.length === this.#topics.length && sorted.every((t, i) => t === this.#topics[i])
    this.#topics = sorted
    return !same
  }

  unsubscribe(): void {
    this.#kind = 'none'
    this.#pattern = null
    this.#topics = []
    this.#assigned.clear()
  }

  /** The program decides on the partitions; those that stay keep their position. */
  assignManually(partitions: readonly TopicPartition[]): void {
    this.#kind = 'manual'
    this.#topics = []
    this.setAssigned(partitions)
  }

  /** The assigned partitions from now on; those that stay keep their position. */
  setAssigned(partitions: readonly TopicPartition[]): void {
    const kept = new Map(this.#assigned)
    this.#assigned.clear()
    for (const one of partitions) {
      const key = keyOf(one)
      this.#assigned.set(key, kept.get(key) ?? new PartitionState(one))
    }
  }

  get(partition: TopicPartition): PartitionState | undefined {
    return this.#assigned.get(keyOf(partition))
  }

  /** True as long as this very assignment of the partition lasts. */
  isCurrent(state: PartitionState): boolean {
    return this.#assigned.get(keyOf(state)) === state
  }

  assignment(): TopicPartition[] {
    return [...this.#assigned.values()]
      .map(({ topic, partition }) => ({ topic, partition }))
      .sort(comparePartitions)
  }
}
