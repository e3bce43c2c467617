/**
 * How the leader of a group shares out the partitions of the topics that its members subscribe to.
 * An assignor is pure: members and topics in, partitions of each member out.
 */
import type { ConsumerSubscription, TopicPartitions } from '../../protocol/consumer-protocol.ts'

/** A member of the group, as it joined. */
export interface AssignorMember extends ConsumerSubscription {
  readonly memberId: string
  readonly groupInstanceId: string | null
}

/** A topic that is there. */
export interface AssignorTopic {
  readonly partitionCount: number
  /** Racks of the replicas of each partition, by partition; left out where no broker has a rack. */
  readonly racks?: readonly (readonly string[])[]
}

/**
 * What happens to a member's partitions when it joins again: `eager` gives up all of them first,
 * `cooperative` keeps them and gives up only what the new assignment takes away (KIP-429).
 */
export type RebalanceProtocol = 'eager' | 'cooperative'

export interface Assignor {
  /** Name of the protocol in JoinGroup; all members must have one in common. */
  readonly name: string
  readonly supportedProtocols: readonly RebalanceProtocol[]
  /** Bytes of its own for the subscription of a member that last was in `generationId` (-1: none). */
  userData(generationId: number): Buffer | null
  /**
   * Shares out the partitions. Every member is in the result, with its topics in order. Topics
   * that are not in `topics` do not exist, and are passed over.
   */
  assign(
    topics: ReadonlyMap<string, AssignorTopic>,
    members: readonly AssignorMember[],
  ): Map<string, TopicPartitions[]>
}

/** Orders strings by their UTF-16 units, as Java does. */
export function compareStrings(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

/** Static members first, by instance id, then the dynamic ones by member id. */
export function compareMembers(a: AssignorMember, b: AssignorMember): number {
  if (a.groupInstanceId !== null && b.groupInstanceId !== null) {
    return compareStrings(a.groupInstanceId, b.groupInstanceId)
  }
  if (a.groupInstanceId !== null) return -1
  if (b.groupInstanceId !== null) return 1
  return compareStrings(a.memberId, b.memberId)
}

/** Topics that are there and that someone subscribes to, in order, each with its subscribers in order. */
export function subscribersByTopic(
  topics: ReadonlyMap<string, AssignorTopic>,
  members: readonly AssignorMember[],
): { topic: string; partitionCount: number; subscribers: AssignorMember[] }[] {
  const subscribers = new Map<string, AssignorMember[]>()
  for (const member of [...members].sort(compareMembers)) {
    for (const topic of new Set(member.topics)) {
      const list = subscribers.get(topic)
      if (list) list.push(member)
      else subscribers.set(topic, [member])
    }
  }
  const found = []
  for (const topic of [...subscribers.keys()].sort(compareStrings)) {
    const partitionCount = topics.get(topic)?.partitionCount ?? 0
    if (partitionCount === 0) continue
    found.push({ topic, partitionCount, subscribers: subscribers.get(topic) as AssignorMember[] })
  }
  return found
}

/** Partitions by member while they are being shared out. */
export class AssignmentBuilder {
  readonly #members = new Map<string, Map<string, number[]>>()

  constructor(members: readonly AssignorMember[]) {
    for (const { memberId } of members) this.#members.set(memberId, new Map())
  }

  add(memberId: string, topic: string, partition: number): void {
    const topics = this.#members.get(memberId) as Map<string, number[]>
    const partitions = topics.get(topic)
    if (partitions) partitions.push(partition)
    else topics.set(topic, [partition])
  }

  build(): Map<string, TopicPartitions[]> {
    const result = new Map<string, TopicPartitions[]>()
    for (const [memberId, topics] of this.#members) {
      const list = [...topics].map(([topic, partitions]) => ({
        topic,
        partitions: partitions.sort((a, b) => a - b),
      }))
      list.sort((a, b) => compareStrings(a.topic, b.topic))
      result.set(memberId, list)
    }
    return result
  }
}
