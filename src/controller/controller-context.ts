/**
 * What the active controller knows: live brokers, topics, where replicas are and which state each
 * partition has. All of it is in the registry; a new controller reads it from there.
 *
 * Changed by the events of the controller only, one at a time. Main thread.
 */
import { ZERO_UUID } from '../protocol/schema.ts'
import type {
  PartitionState,
  RegisteredBroker,
  TopicRegistration,
  Versioned,
} from '../registry/cluster-registry.ts'
import { TopicNames } from './topic-names.ts'

const NO_REPLICAS: readonly number[] = []

export class PartitionEntry {
  readonly topic: TopicEntry
  readonly partition: number
  /** null until a replica of the new partition is online. */
  state: PartitionState | null = null
  /** Of the state in the registry: the partition epoch. */
  version = -1
  /** Brokers on which the log of this partition cannot be used. */
  readonly failedReplicas = new Set<number>()

  constructor(topic: TopicEntry, partition: number) {
    this.topic = topic
    this.partition = partition
  }

  get replicas(): readonly number[] {
    return this.topic.assignment[this.partition] ?? NO_REPLICAS
  }

  /** −1 if there is none. */
  get leader(): number {
    return this.state?.leader ?? -1
  }

  get addingReplicas(): readonly number[] {
    return this.topic.addingReplicas.get(this.partition) ?? NO_REPLICAS
  }

  get removingReplicas(): readonly number[] {
    return this.topic.removingReplicas.get(this.partition) ?? NO_REPLICAS
  }

  get isReassigning(): boolean {
    return this.addingReplicas.length > 0 || this.removingReplicas.length > 0
  }

  /** Where a reassignment leads; the replicas if there is none. */
  get targetReplicas(): readonly number[] {
    return without(this.replicas, this.removingReplicas)
  }

  /** Where a reassignment began. */
  get originReplicas(): readonly number[] {
    return without(this.replicas, this.addingReplicas)
  }

  get name(): string {
    return `${this.topic.name}-${this.partition}`
  }
}

export class TopicEntry {
  readonly name: string
  topicId: string
  /** Of its node in the registry. */
  version: number
  assignment: readonly (readonly number[])[] = []
  addingReplicas: ReadonlyMap<number, readonly number[]> = new Map()
  removingReplicas: ReadonlyMap<number, readonly number[]> = new Map()
  /** Its own configs, without what it inherits. */
  configs: ReadonlyMap<string, string>
  /** To be deleted: brokers are told that it is gone. */
  isDeleting = false
  readonly partitions: PartitionEntry[] = []

  constructor(
    { value, version }: Versioned<TopicRegistration>,
    configs: ReadonlyMap<string, string>,
  ) {
    this.name = value.name
    this.topicId = value.topicId ?? ZERO_UUID
    this.version = version
    this.configs = configs
    this.update(value, version)
  }

  get registration(): TopicRegistration {
    return {
      name: this.name,
      topicId: this.topicId,
      partitions: this.assignment,
      addingReplicas: this.addingReplicas,
      removingReplicas: this.removingReplicas,
    }
  }

  /** Takes over what was written; partitions that are new have no state yet. */
  update(registration: TopicRegistration, version: number): void {
    this.version = version
    this.assignment = registration.partitions
    this.addingReplicas = registration.addingReplicas
    this.removingReplicas = registration.removingReplicas
    while (this.partitions.length < this.assignment.length) {
      this.partitions.push(new PartitionEntry(this, this.partitions.length))
    }
  }
}

export class ControllerContext {
  readonly liveBrokers = new Map<number, RegisteredBroker>()
  /** Those that asked for a controlled shutdown and are still alive. */
  readonly shuttingDown = new Set<number>()
  readonly topics = new Map<string, TopicEntry>()
  readonly topicsById = new Map<string, TopicEntry>()
  readonly names = new TopicNames()

  addTopic(topic: TopicEntry): void {
    this.topics.set(topic.name, topic)
    this.topicsById.set(topic.topicId, topic)
    this.names.take(topic.name)
  }

  removeTopic(topic: TopicEntry): void {
    this.topics.delete(topic.name)
    this.topicsById.delete(topic.topicId)
    this.names.drop(topic.name)
  }

  partition(topic: string, partition: number): PartitionEntry | undefined {
    return this.topics.get(topic)?.partitions[partition]
  }

  /** All partitions of topics that are not being deleted. */
  *partitions(): Generator<PartitionEntry> {
    for (const topic of this.topics.values()) {
      if (!topic.isDeleting) yield* topic.partitions
    }
  }

  isOnline(partition: PartitionEntry, brokerId: number): boolean {
    return this.liveBrokers.has(brokerId) && !partition.failedReplicas.has(brokerId)
  }
}

export function without(all: readonly number[], some: readonly number[]): readonly number[] {
  return some.length === 0 ? all : all.filter((id) => !some.includes(id))
}
