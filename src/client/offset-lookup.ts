/**
 * Asks the leaders of partitions for offsets: by timestamp (ListOffsets), and where the log of a
 * leader epoch ends (OffsetForLeaderEpoch, KIP-320).
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import { ListOffsets } from '../protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../protocol/messages/offset-for-leader-epoch.ts'
import type { ClusterAccess } from './cluster-access.ts'
import { errorFor } from './errors.ts'
import type { MetadataView } from './metadata-view.ts'
import { groupByTopic, type TopicPartition } from './subscription-state.ts'

export const LATEST_TIMESTAMP = -1
export const EARLIEST_TIMESTAMP = -2

/** A partition, and the timestamp that is looked for: milliseconds, -1 latest, -2 earliest. */
export interface PartitionTimestamp extends TopicPartition {
  readonly timestamp: number
}

export interface PartitionOffset extends TopicPartition {
  readonly errorCode: number
  /** -1: there is none. */
  readonly offset: number
  readonly timestamp: number
  /** -1: not known. */
  readonly leaderEpoch: number
}

export interface PartitionEpoch extends TopicPartition {
  readonly leaderEpoch: number
}

export interface EpochEnd extends TopicPartition {
  readonly errorCode: number
  /** -1: the leader does not know the epoch. */
  readonly leaderEpoch: number
  /** Where the log of the epoch ends; -1: not known. */
  readonly endOffset: number
}

/** Divides partitions by the broker that leads them; those without a leader are under -1. */
export function byLeader<T extends TopicPartition>(
  metadata: MetadataView,
  partitions: Iterable<T>,
): Map<number, T[]> {
  const nodes = new Map<number, T[]>()
  for (const one of partitions) {
    const node = metadata.partition(one)?.leaderId ?? -1
    const list = nodes.get(node)
    if (list) list.push(one)
    else nodes.set(node, [one])
  }
  return nodes
}

/** Asks one broker for the offsets of timestamps. */
export async function listOffsets(
  { cluster, metadata }: { cluster: ClusterAccess; metadata: MetadataView },
  node: number,
  isolationLevel: number,
  partitions: readonly PartitionTimestamp[],
): Promise<PartitionOffset[]> {
  const connection = await cluster.broker(node)
  const response = await connection.send(ListOffsets, {
    replicaId: -1,
    isolationLevel,
    topics: [...groupByTopic(partitions)].map(([name, list]) => ({
      name,
      partitions: list.map((one) => ({
        partitionIndex: one.partition,
        currentLeaderEpoch: metadata.partition(one)?.leaderEpoch ?? -1,
        timestamp: one.timestamp,
      })),
    })),
  })
  return response.topics.flatMap(({ name: topic, partitions: list }) =>
    list.map(({ partitionIndex, oldStyleOffsets, ...answer }) => ({
      topic,
      partition: partitionIndex,
      errorCode: answer.errorCode,
      // Version 0 has a list in place of the offset.
      offset: answer.offset === -1 ? (oldStyleOffsets[0] ?? -1) : answer.offset,
      timestamp: answer.timestamp,
      leaderEpoch: answer.leaderEpoch,
    })),
  )
}

/**
 * Asks one broker where the logs of leader epochs end. Null when it is too old to tell, or cannot
 * fence: below version 2 a request says nothing of the epoch that the client believes in.
 */
export async function epochEnds(
  { cluster, metadata }: { cluster: ClusterAccess; metadata: MetadataView },
  node: number,
  partitions: readonly PartitionEpoch[],
): Promise<EpochEnd[] | null> {
  const connection = await cluster.broker(node)
  if (connection.versionOf(OffsetForLeaderEpoch) < 3) return null
  const response = await connection.send(OffsetForLeaderEpoch, {
    replicaId: -1,
    topics: [...groupByTopic(partitions)].map(([topic, list]) => ({
      topic,
      partitions: list.map((one) => ({
        partition: one.partition,
        currentLeaderEpoch: metadata.partition(one)?.leaderEpoch ?? -1,
        leaderEpoch: one.leaderEpoch,
      })),
    })),
  })
  return response.topics.flatMap(({ topic, partitions: list }) =>
    list.map(({ partition, errorCode, leaderEpoch, endOffset }) => {
      return { topic, partition, errorCode, leaderEpoch, endOffset }
    }),
  )
}

/**
 * Looks up offsets of any partitions, whether assigned or not, until all are known or `timeoutMs`
 * is over. Throws KafkaError, or what the connection throws.
 */
export async function lookUpOffsets(
  options: {
    readonly cluster: ClusterAccess
    /** Of the topics that are asked for. */
    readonly metadata: MetadataView
    readonly isolationLevel: number
    readonly timeoutMs: number
  },
  partitions: readonly PartitionTimestamp[],
): Promise<PartitionOffset[]> {
  const { cluster, metadata, isolationLevel, timeoutMs } = options
  const found: PartitionOffset[] = []
  let left = partitions
  let attempts = 0
  await cluster.retry(
    async () => {
      if (attempts > 0 || left.some((one) => metadata.partition(one) === undefined)) {
        await metadata.update()
      }
      attempts += 1
      let failure = 0
      const next: PartitionTimestamp[] = []
      for (const [node, list] of byLeader(metadata, left)) {
        if (node === -1) {
          next.push(...list)
          failure = metadata.topics.get(list[0]?.topic ?? '')?.errorCode || LEADER_NOT_AVAILABLE
          continue
        }
        const answers = await listOffsets(options, node, isolationLevel, list)
        for (const answer of answers) {
          const asked = list.find((one) => isSamePartition(one, answer))
          if (asked === undefined) continue
          if (answer.errorCode === ErrorCode.NONE) {
            found.push(answer)
          } else {
            failure = answer.errorCode
            next.push(asked)
          }
        }
      }
      left = next
      if (failure !== 0) throw errorFor(failure, `no offset of ${nameOf(left[0])}`)
    },
    { timeoutMs },
  )
  return found
}

const LEADER_NOT_AVAILABLE = ErrorCode.LEADER_NOT_AVAILABLE

export function isSamePartition(a: TopicPartition, b: TopicPartition): boolean {
  return a.partition === b.partition && a.topic === b.topic
}

function nameOf(partition: TopicPartition | undefined): string {
  return partition === undefined ? 'a partition' : `${partition.topic}-${partition.partition}`
}
