/**
 * OffsetForLeaderEpoch (KIP-101, KIP-279): where a leader epoch ended, which only the leader knows
 * for sure, whoever asks.
 */
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { addon } from '../../native/addon.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  OffsetForLeaderEpochRequest,
  OffsetForLeaderEpochResponseInput,
} from '../../protocol/messages/offset-for-leader-epoch.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import { checkLeaderEpoch } from '../fetch-answer.ts'
import { errorOfMissing } from '../hosted-partition.ts'

type Wanted = OffsetForLeaderEpochRequest['topics'][number]['partitions'][number]

export function createOffsetForLeaderEpochHandler(services: {
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
}) {
  const { replicas, metadata } = services

  function find(topic: string, wanted: Wanted) {
    const { partition: number, currentLeaderEpoch, leaderEpoch } = wanted
    const partition = replicas.partition(topic, number)
    const fail = (errorCode: number) => ({ errorCode, partition: number })
    if (partition === undefined) return fail(errorOfMissing(metadata, topic, number))
    if (!partition.isOnline) return fail(ErrorCode.KAFKA_STORAGE_ERROR)
    const wrongEpoch = checkLeaderEpoch(currentLeaderEpoch, partition.leaderEpoch)
    if (wrongEpoch !== 0) return fail(wrongEpoch)
    if (!partition.isLeader) return fail(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const [epoch, endOffset] = addon.epochEndOffset(partition.log, leaderEpoch)
    return { errorCode: ErrorCode.NONE, partition: number, leaderEpoch: epoch, endOffset }
  }

  return (request: OffsetForLeaderEpochRequest): OffsetForLeaderEpochResponseInput => ({
    topics: request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((wanted) => find(topic, wanted)),
    })),
  })
}
