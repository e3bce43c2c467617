/** OffsetFetch: how far groups have read. Version 0 asks the registry. */
import type { CommittedOffset } from '../../group/group-metadata.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { OffsetFetch, OffsetFetchRequest } from '../../protocol/messages/offset-fetch.ts'
import { RegistryError } from '../../registry/cluster-registry.ts'
import type { Handler, Services } from '../services.ts'

/** First version with an error of the whole answer. */
const FIRST_TOP_LEVEL_ERROR = 2
/** First version that asks for several groups. */
const FIRST_BATCHED = 8

interface AskedTopic {
  readonly name: string
  readonly partitionIndexes: readonly number[]
}

interface PartitionAnswer {
  readonly partitionIndex: number
  readonly committedOffset: number
  readonly committedLeaderEpoch: number
  readonly metadata: string
  readonly errorCode: number
}

interface TopicAnswer {
  readonly name: string
  readonly partitions: readonly PartitionAnswer[]
}

export function createOffsetFetchHandler(services: Services): Handler<typeof OffsetFetch> {
  return (request, context) => {
    if (context.apiVersion === 0) return fetchFromRegistry(services, request)
    if (context.apiVersion >= FIRST_BATCHED) {
      return {
        groups: request.groups.map(({ groupId, topics }) => ({
          groupId,
          ...fetchGroup(services, groupId, topics),
        })),
      }
    }
    const { topics, errorCode } = fetchGroup(services, request.groupId, request.topics)
    if (errorCode === 0 || context.apiVersion >= FIRST_TOP_LEVEL_ERROR) return { topics, errorCode }
    return { topics: failedTopics(request.topics ?? [], errorCode) }
  }
}

function answerOf(partitionIndex: number, committed: CommittedOffset | undefined): PartitionAnswer {
  return {
    partitionIndex,
    committedOffset: committed?.offset ?? -1,
    committedLeaderEpoch: committed?.leaderEpoch ?? -1,
    metadata: committed?.metadata ?? '',
    errorCode: 0,
  }
}

function failedTopics(topics: readonly AskedTopic[], errorCode: number): TopicAnswer[] {
  return topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((one) => ({ ...answerOf(one, undefined), errorCode })),
  }))
}

/** Null topics ask for everything that is committed. */
function fetchGroup(
  { groups }: Services,
  groupId: string,
  asked: readonly AskedTopic[] | null,
): { topics: TopicAnswer[]; errorCode: number } {
  const [errorCode, offsets] = groups.fetchOffsets(groupId)
  if (errorCode !== 0) return { topics: [], errorCode }
  if (asked === null) {
    const topics = [...offsets].map(([name, partitions]) => ({
      name,
      partitions: [...partitions].map(([partition, committed]) => answerOf(partition, committed)),
    }))
    return { topics, errorCode }
  }
  const topics = asked.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((one) => answerOf(one, offsets.get(name)?.get(one))),
  }))
  return { topics, errorCode }
}

async function fetchFromRegistry(
  { registry, metadata }: Services,
  request: OffsetFetchRequest,
): Promise<{ topics: TopicAnswer[] }> {
  const topics: TopicAnswer[] = []
  for (const { name, partitionIndexes } of request.topics ?? []) {
    const partitions: PartitionAnswer[] = []
    for (const one of partitionIndexes) {
      const answer = answerOf(one, undefined)
      const offset = await offsetOf(registry.consumerOffset(request.groupId, name, one))
      const isUnknown = offset === null || metadata.partition(name, one) === undefined
      partitions.push(
        isUnknown
          ? { ...answer, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION }
          : { ...answer, committedOffset: offset },
      )
    }
    topics.push({ name, partitions })
  }
  return { topics }
}

async function offsetOf(read: Promise<number | null>): Promise<number | null> {
  try {
    return await read
  } catch (error) {
    if (error instanceof RegistryError) return null
    throw error
  }
}
