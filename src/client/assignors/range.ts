import type { TopicPartitions } from '../../protocol/consumer-protocol.ts'
import {
  AssignmentBuilder,
  type Assignor,
  type AssignorMember,
  type AssignorTopic,
  subscribersByTopic,
} from './assignor.ts'

/** One topic while it is being shared out. */
class TopicState {
  readonly topic: string
  readonly partitionCount: number
  /** Member ids, in order. */
  readonly consumers: readonly string[]
  readonly #rackOf = new Map<string, string>()
  readonly #racksOfPartition: readonly (readonly string[])[]
  readonly #assignedCount = new Map<string, number>()
  readonly #quota: number
  #extraLeft: number
  /** By partition. */
  readonly isAssigned: boolean[]
  readonly isRackAware: boolean

  constructor(options: {
    topic: string
    partitionCount: number
    subscribers: readonly AssignorMember[]
    racks: readonly (readonly string[])[]
  }) {
    const { topic, partitionCount, subscribers, racks } = options
    this.topic = topic
    this.partitionCount = partitionCount
    this.consumers = subscribers.map((member) => member.memberId)
    for (const { memberId, rackId } of subscribers) {
      this.#assignedCount.set(memberId, 0)
      // An empty rack is none.
      if (rackId) this.#rackOf.set(memberId, rackId)
    }
    this.#racksOfPartition = racks
    this.#quota = Math.floor(partitionCount / subscribers.length)
    this.#extraLeft = partitionCount % subscribers.length
    this.isAssigned = Array.from({ length: partitionCount }, () => false)
    this.isRackAware = this.#wantsRackAwareness()
  }

  /** Where every partition has a replica in every rack, racks make no difference. */
  #wantsRackAwareness(): boolean {
    const all = new Set(this.#racksOfPartition.flat())
    const consumerRacks = new Set(this.#rackOf.values())
    if (![...consumerRacks].some((rack) => all.has(rack))) return false
    for (let partition = 0; partition < this.partitionCount; partition += 1) {
      if (new Set(this.#racksOfPartition[partition]).size !== all.size) return true
    }
    return false
  }

  racksMatch(consumer: string, partition: number): boolean {
    const rack = this.#rackOf.get(consumer)
    return rack === undefined || (this.#racksOfPartition[partition] ?? []).includes(rack)
  }

  /** How many more partitions a consumer may have. */
  assignable(consumer: string): number {
    const assigned = this.#assignedCount.get(consumer) as number
    return Math.max(0, this.#quota + (this.#extraLeft > 0 ? 1 : 0) - assigned)
  }

  assign(consumer: string, partitions: readonly number[], builder: AssignmentBuilder): void {
    for (const partition of partitions) {
      builder.add(consumer, this.topic, partition)
      this.isAssigned[partition] = true
    }
    const count = (this.#assignedCount.get(consumer) as number) + partitions.length
    this.#assignedCount.set(consumer, count)
    if (count > this.#quota) this.#extraLeft -= 1
  }
}

/**
 * Gives each member a run of neighbouring partitions of each topic, the first members one more
 * where the division leaves a rest, so that topics of the same partition count are shared out
 * alike. Where members and replicas have racks, partitions go to members in the rack of a replica as far
 * as balance allows (KIP-881). The result is that of Apache Kafka's RangeAssignor.
 */
export class RangeAssignor implements Assignor {
  readonly name: string = 'range'
  readonly supportedProtocols = ['eager'] as const

  userData(): null {
    return null
  }

  assign(
    topics: ReadonlyMap<string, AssignorTopic>,
    members: readonly AssignorMember[],
  ): Map<string, TopicPartitions[]> {
    const builder = new AssignmentBuilder(members)
    const hasRacks = members.some(({ rackId }) => rackId)
    const states = subscribersByTopic(topics, members).map((entry) => {
      const racks = hasRacks ? (topics.get(entry.topic)?.racks ?? []) : []
      return new TopicState({ ...entry, racks })
    })
    if (states.some((state) => state.isRackAware)) assignByRack(states, builder)
    for (const state of states) assignRanges(state, () => true, builder)
    return builder.build()
  }
}

function assignRanges(
  state: TopicState,
  mayAssign: (consumer: string, partition: number) => boolean,
  builder: AssignmentBuilder,
): void {
  for (const consumer of state.consumers) {
    const countMax = state.assignable(consumer)
    const partitions: number[] = []
    for (let p = 0; p < state.partitionCount && partitions.length < countMax; p += 1) {
      if (!state.isAssigned[p] && mayAssign(consumer, p)) partitions.push(p)
    }
    if (partitions.length > 0) state.assign(consumer, partitions, builder)
  }
}

/** Topics with the same subscribers and partition count stay assigned alike. */
function assignByRack(states: readonly TopicState[], builder: AssignmentBuilder): void {
  const alike = new Map<string, TopicState[]>()
  for (const state of states) {
    const key = JSON.stringify([state.partitionCount, state.consumers])
    const group = alike.get(key)
    if (group) group.push(state)
    else alike.set(key, [state])
  }
  for (const group of alike.values()) {
    const [first] = group as [TopicState]
    if (group.length > 1) assignAlikeByRack(group, builder)
    else if (first.isRackAware) assignRanges(first, (c, p) => first.racksMatch(c, p), builder)
  }
}

function assignAlikeByRack(states: readonly TopicState[], builder: AssignmentBuilder): void {
  const [first] = states as [TopicState]
  const remaining = new Set(first.consumers)
  for (let partition = 0; partition < first.partitionCount; partition += 1) {
    for (const consumer of remaining) {
      const fits = states.every(
        (state) => state.racksMatch(consumer, partition) && state.assignable(consumer) > 0,
      )
      if (!fits) continue
      for (const state of states) state.assign(consumer, [partition], builder)
      if (states.every((state) => state.assignable(consumer) === 0)) remaining.delete(consumer)
      break
    }
  }
}
