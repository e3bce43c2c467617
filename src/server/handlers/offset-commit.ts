/** OffsetCommit: a group notes how far it has read. Version 0 keeps that in the registry. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { OffsetCommit, OffsetCommitRequest } from '../../protocol/messages/offset-commit.ts'
import { RegistryError } from '../../registry/cluster-registry.ts'
import type { Handler, Services } from '../services.ts'

export function createOffsetCommitHandler(services: Services): Handler<typeof OffsetCommit> {
  return async (request, context) => {
    const errors =
      context.apiVersion === 0
        ? await commitToRegistry(services, request)
        : await commit(services, request)
    let i = 0
    return {
      topics: request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({
          partitionIndex,
          errorCode: errors[i++] as number,
        })),
      })),
    }
  }
}

function commit({ groups }: Services, request: OffsetCommitRequest): Promise<number[]> {
  return groups.commitOffsets({
    groupId: request.groupId,
    generationId: request.generationIdOrMemberEpoch,
    memberId: request.memberId,
    groupInstanceId: request.groupInstanceId,
    retentionMs: request.retentionTimeMs,
    offsets: request.topics.flatMap(({ name, partitions }) =>
      partitions.map((one) => ({
        topic: name,
        partition: one.partitionIndex,
        offset: one.committedOffset,
        leaderEpoch: one.committedLeaderEpoch,
        metadata: one.committedMetadata ?? '',
        timestampMs: one.commitTimestamp,
      })),
    ),
  })
}

async function commitToRegistry(
  services: Services,
  request: OffsetCommitRequest,
): Promise<number[]> {
  const { registry, metadata, config } = services
  const errors: number[] = []
  for (const { name, partitions } of request.topics) {
    for (const { partitionIndex, committedOffset, committedMetadata } of partitions) {
      if (metadata.partition(name, partitionIndex) === undefined) {
        errors.push(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      } else if (Buffer.byteLength(committedMetadata ?? '') > config.offsetMetadataMaxBytes) {
        errors.push(ErrorCode.OFFSET_METADATA_TOO_LARGE)
      } else {
        errors.push(
          await outcomeOf(
            registry.writeConsumerOffset(request.groupId, name, partitionIndex, committedOffset),
          ),
        )
      }
    }
  }
  return errors
}

async function outcomeOf(write: Promise<void>): Promise<number> {
  try {
    await write
    return ErrorCode.NONE
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    return error.kind === 'invalid' ? ErrorCode.INVALID_GROUP_ID : ErrorCode.UNKNOWN_SERVER_ERROR
  }
}
