/**
 * Taking over the partition folders of a data directory that has no registry journal: one that
 * Apache Kafka wrote, or whose journal was moved away.
 */
import type { ClusterRegistry, PartitionState, TopicRegistration } from '../cluster-registry.ts'

/** Topics whose writes share a sync of the registry. */
const ADOPT_TOGETHER = 1000

/** A folder `topic-partition` that was found. */
export interface FoundPartition {
  readonly topic: string
  readonly partition: number
  /** From its `partition.metadata`. */
  readonly topicId: string | null
  /** The last of its `leader-epoch-checkpoint`: whoever leads from now on is in a later one. */
  readonly leaderEpoch?: number | null
}

export interface AdoptedTopic extends TopicRegistration {
  readonly topicId: string
  /** Of each partition. */
  readonly states: readonly PartitionState[]
}

export interface AdoptionPlan {
  readonly topics: readonly AdoptedTopic[]
  /** Folders that cannot be part of a topic, with the reason. */
  readonly refused: readonly { readonly partition: FoundPartition; readonly reason: string }[]
}

/**
 * Makes topics of found folders. A topic gets all partitions up to its largest folder: those
 * without a folder are made empty when they are opened. Folders of one topic that name different
 * topic ids are left alone if they are not of the id that most of them name.
 */
export function planAdoption(options: {
  readonly found: readonly FoundPartition[]
  readonly brokerId: number
  readonly partitionsPerTopicMax: number
  /** Makes an id for a topic of which no folder names one. */
  readonly createTopicId: () => string
}): AdoptionPlan {
  const byTopic = new Map<string, FoundPartition[]>()
  const refused: { partition: FoundPartition; reason: string }[] = []
  for (const partition of options.found) {
    if (partition.partition >= options.partitionsPerTopicMax) {
      refused.push({ partition, reason: 'its number is too high' })
      continue
    }
    const list = byTopic.get(partition.topic)
    if (list) list.push(partition)
    else byTopic.set(partition.topic, [partition])
  }
  const topics: AdoptedTopic[] = []
  for (const [name, folders] of [...byTopic].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const topicId = commonTopicId(folders)
    const accepted = folders.filter((f) => f.topicId === null || f.topicId === topicId)
    for (const partition of folders) {
      if (accepted.includes(partition)) continue
      refused.push({ partition, reason: `the topic's id is ${topicId}` })
    }
    const count = Math.max(...accepted.map((f) => f.partition)) + 1
    topics.push({
      name,
      topicId: topicId ?? options.createTopicId(),
      partitions: Array.from({ length: count }, () => [options.brokerId]),
      addingReplicas: new Map(),
      removingReplicas: new Map(),
      states: statesOf(accepted, count, options.brokerId),
    })
  }
  return { topics, refused }
}

function statesOf(
  folders: readonly FoundPartition[],
  count: number,
  brokerId: number,
): PartitionState[] {
  const epochs = new Map(folders.map((f) => [f.partition, f.leaderEpoch ?? -1]))
  return Array.from({ length: count }, (_, partition) => {
    const leaderEpoch = (epochs.get(partition) ?? -1) + 1
    return { leader: brokerId, leaderEpoch, isr: [brokerId], controllerEpoch: 0 }
  })
}

/** The id that most folders name; of equally frequent ones the first in order. */
function commonTopicId(folders: readonly FoundPartition[]): string | null {
  const counts = new Map<string, number>()
  for (const { topicId } of folders) {
    if (topicId !== null) counts.set(topicId, (counts.get(topicId) ?? 0) + 1)
  }
  let best: string | null = null
  for (const [topicId, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (best === null || count > (counts.get(best) ?? 0)) best = topicId
  }
  return best
}

/**
 * Writes adopted topics into a registry that is open already; topics that exist are left as they
 * are. A crash in the middle loses the rest: `openEmbeddedRegistry` adopts all or nothing.
 */
export async function adoptTopics(
  registry: ClusterRegistry,
  topics: readonly AdoptedTopic[],
): Promise<void> {
  for (let start = 0; start < topics.length; start += ADOPT_TOGETHER) {
    await Promise.all(topics.slice(start, start + ADOPT_TOGETHER).map(adopt))
  }

  async function adopt(topic: AdoptedTopic): Promise<void> {
    const created = await registry.createTopic(topic)
    if (!created.ok) return
    const { name, states } = topic
    await Promise.all(states.map((state, i) => registry.createPartitionState(name, i, state)))
  }
}
