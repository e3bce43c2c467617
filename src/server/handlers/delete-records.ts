/** DeleteRecords (KIP-107): moves the start of a partition, on all of its live replicas. */
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { isInternalTopic } from '../../metadata/topic-image.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  DeleteRecordsRequest,
  DeleteRecordsResponseInput,
} from '../../protocol/messages/delete-records.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import { errorOfMissing } from '../hosted-partition.ts'

export function createDeleteRecordsHandler(services: {
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
}) {
  const { replicas, metadata } = services
  return async (request: DeleteRecordsRequest): Promise<DeleteRecordsResponseInput> => ({
    throttleTimeMs: 0,
    topics: await Promise.all(
      request.topics.map(async ({ name, partitions }) => ({
        name,
        partitions: await Promise.all(
          partitions.map(async ({ partitionIndex, offset }) => {
            const answer = (errorCode: number, lowWatermark = -1) => ({
              partitionIndex,
              lowWatermark,
              errorCode,
            })
            const partition = replicas.partition(name, partitionIndex)
            const missing = errorOfMissing(metadata, name, partitionIndex)
            const isUnknown = missing === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            if (partition === undefined && isUnknown) return answer(missing)
            if (isInternalTopic(name)) return answer(ErrorCode.INVALID_TOPIC_EXCEPTION)
            if (partition === undefined) return answer(missing)
            if (!partition.isOnline) return answer(ErrorCode.KAFKA_STORAGE_ERROR)
            if (!partition.isLeader) return answer(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            // A compacted topic without delete keeps its last values for ever.
            if (!partition.settings.deletes) return answer(ErrorCode.POLICY_VIOLATION)
            if (offset < -1) return answer(ErrorCode.OFFSET_OUT_OF_RANGE)
            const [errorCode, lowWatermark] = await replicas.deleteRecords(
              partition,
              offset,
              request.timeoutMs,
            )
            return answer(errorCode, lowWatermark)
          }),
        ),
      })),
    ),
  })
}
