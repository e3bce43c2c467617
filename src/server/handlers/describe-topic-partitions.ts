/** DescribeTopicPartitions: topics page by page (KIP-966). */
import { wrongTopicName } from '../../controller/topic-name.ts'
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import type { PartitionImage, TopicImage } from '../../metadata/topic-image.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  DescribeTopicPartitions,
  DescribeTopicPartitionsRequest,
  DescribeTopicPartitionsResponseInput,
} from '../../protocol/messages/describe-topic-partitions.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import type { RequestContext } from '../request-context.ts'
import type { Handler, Services } from '../services.ts'
import { ALL_TOPIC_OPERATIONS } from './authorized-operations.ts'

type ResponseTopic = NonNullable<DescribeTopicPartitionsResponseInput['topics']>[number]
type ResponsePartition = NonNullable<ResponseTopic['partitions']>[number]

export function createDescribeTopicPartitionsHandler(
  services: Services,
): Handler<typeof DescribeTopicPartitions> {
  const { config, metadata } = services
  return (request, context) => {
    const { cursor } = request
    const names = namesFrom(request, metadata)
    if (cursor !== null && cursor.partitionIndex < 0) {
      const code = ErrorCode.INVALID_REQUEST
      return { throttleTimeMs: 0, topics: names.map((name) => failedTopic(code, name)) }
    }
    const limit = Math.min(config.maxRequestPartitionSizeLimit, request.responsePartitionLimit)
    let left = Math.max(1, limit)
    const topics: ResponseTopic[] = []
    for (const name of names) {
      const topic = metadata.topic(name)
      if (topic === undefined) {
        // A page that goes on in a topic that was deleted since does not call it unknown.
        if (cursor === null || cursor.topicName !== name) topics.push(unknownTopic(name))
        continue
      }
      const start = cursor?.topicName === name ? cursor.partitionIndex : 0
      if (left === 0) return page(topics, name, start)
      const partitions = topic.partitions.slice(start, start + left)
      topics.push(describeTopic(topic, partitions, metadata, context))
      left -= partitions.length
      const next = start + partitions.length
      if (next < topic.partitions.length) return page(topics, name, next)
    }
    return { throttleTimeMs: 0, topics, nextCursor: null }
  }
}

function page(topics: ResponseTopic[], topicName: string, partitionIndex: number) {
  return { throttleTimeMs: 0, topics, nextCursor: { topicName, partitionIndex } }
}

/** The topics asked for, or all, in order, from the one that the cursor names on. */
function namesFrom(request: DescribeTopicPartitionsRequest, metadata: MetadataCache): string[] {
  const names =
    request.topics.length === 0
      ? metadata.topicNames()
      : [...new Set(request.topics.map((topic) => topic.name))].sort()
  const first = request.cursor?.topicName ?? ''
  return names.filter((name) => name >= first)
}

function unknownTopic(name: string): ResponseTopic {
  const isWrong = wrongTopicName(name) !== null
  const code = isWrong ? ErrorCode.INVALID_TOPIC_EXCEPTION : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  return failedTopic(code, name)
}

function failedTopic(errorCode: number, name: string): ResponseTopic {
  return { errorCode, name, topicId: ZERO_UUID, isInternal: false, partitions: [] }
}

function describeTopic(
  topic: TopicImage,
  partitions: readonly PartitionImage[],
  metadata: MetadataCache,
  context: RequestContext,
): ResponseTopic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.topicId,
    isInternal: topic.isInternal,
    partitions: partitions.map((partition) => describePartition(partition, metadata, context)),
    topicAuthorizedOperations: ALL_TOPIC_OPERATIONS,
  }
}

function describePartition(
  partition: PartitionImage,
  metadata: MetadataCache,
  context: RequestContext,
): ResponsePartition {
  const { leader } = partition
  const hasLeader = metadata.endpoint(leader, context.listenerName) !== undefined
  const without = metadata.isAlive(leader)
    ? ErrorCode.LISTENER_NOT_FOUND
    : ErrorCode.LEADER_NOT_AVAILABLE
  return {
    errorCode: hasLeader ? ErrorCode.NONE : without,
    partitionIndex: partition.partition,
    leaderId: hasLeader ? leader : -1,
    leaderEpoch: partition.leaderEpoch,
    replicaNodes: partition.replicas,
    isrNodes: partition.isr,
    eligibleLeaderReplicas: [],
    lastKnownElr: [],
    offlineReplicas: partition.offlineReplicas,
  }
}
