/** DeleteRecords (KIP-107): moves the start of a partition. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  DeleteRecordsRequest,
  DeleteRecordsResponseInput,
} from '../../protocol/messages/delete-records.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'

export function createDeleteRecordsHandler(services: { readonly replicas: ReplicaManager }) {
  const { replicas } = services
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
            if (partition === undefined) return answer(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            // A compacted topic without delete keeps its last values for ever.
            if (!partition.settings.deletes) return answer(ErrorCode.POLICY_VIOLATION)
            if (offset < -1) return answer(ErrorCode.OFFSET_OUT_OF_RANGE)
            const [errorCode, lowWatermark] = await replicas.deleteRecords(partition, offset)
            return answer(errorCode, lowWatermark)
          }),
        ),
      })),
    ),
  })
}
