/** OffsetForLeaderEpoch (KIP-101, KIP-279): where a leader epoch ended. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  OffsetForLeaderEpochRequest,
  OffsetForLeaderEpochResponseInput,
} from '../../protocol/messages/offset-for-leader-epoch.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'

export function createOffsetForLeaderEpochHandler(services: { readonly replicas: ReplicaManager }) {
  const { replicas } = services
  return async (
    request: OffsetForLeaderEpochRequest,
  ): Promise<OffsetForLeaderEpochResponseInput> => ({
    topics: await Promise.all(
      request.topics.map(async ({ topic, partitions }) => ({
        topic,
        partitions: await Promise.all(
          partitions.map(async ({ partition: number, currentLeaderEpoch, leaderEpoch }) => {
            const answer = (errorCode: number, epoch = -1, endOffset = -1) => ({
              errorCode,
              partition: number,
              leaderEpoch: epoch,
              endOffset,
            })
            const partition = replicas.partition(topic, number)
            if (partition === undefined) return answer(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            if (!partition.isOnline) return answer(ErrorCode.KAFKA_STORAGE_ERROR)
            if (currentLeaderEpoch >= 0 && currentLeaderEpoch < partition.leaderEpoch) {
              return answer(ErrorCode.FENCED_LEADER_EPOCH)
            }
            if (currentLeaderEpoch > partition.leaderEpoch) {
              return answer(ErrorCode.UNKNOWN_LEADER_EPOCH)
            }
            const end = await replicas.control(partition, 'epochEndOffset', (log) => ({
              log,
              epoch: leaderEpoch,
            }))
            if (end === null) return answer(ErrorCode.KAFKA_STORAGE_ERROR)
            return answer(0, end[0], end[1])
          }),
        ),
      })),
    ),
  })
}
