/**
 * Metadata: brokers, topics, leaders. Creates topics that are asked for and not there, if the
 * broker and the client allow it.
 */
import { wrongTopicName } from '../../controller/topic-name.ts'
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import type { PartitionImage, TopicImage } from '../../metadata/topic-image.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  Metadata,
  MetadataRequest,
  MetadataResponseInput,
} from '../../protocol/messages/metadata.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import type { RequestContext } from '../request-context.ts'
import type { Handler, Services } from '../services.ts'
import {
  ALL_CLUSTER_OPERATIONS,
  ALL_TOPIC_OPERATIONS,
  OPERATIONS_NOT_ASKED,
} from './authorized-operations.ts'

type ResponseTopic = NonNullable<MetadataResponseInput['topics']>[number]
type ResponsePartition = NonNullable<ResponseTopic['partitions']>[number]

/** How long an answer waits for the topics that it creates; then it says that they have no leader. */
const CREATION_WAIT_MS = 50

export function createMetadataHandler(services: Services): Handler<typeof Metadata> {
  const { metadata } = services
  return async (request, context) => {
    const asked = askedTopics(request, context.apiVersion)
    const errors = await createMissing(services, request, asked)
    const view = { metadata, context, operations: operationsOf(request) }
    const topics: ResponseTopic[] = []
    if (asked === null) {
      for (const name of metadata.topicNames()) {
        const topic = metadata.topic(name)
        if (topic) topics.push(describeTopic(topic, view))
      }
    } else {
      for (const one of asked) topics.push(answerTopic(one, errors, view))
    }
    return {
      // Clients that ask for no topic want to know whom they can ask something.
      brokers: metadata.listedBrokers(context.listenerName, topics.length > 0),
      clusterId: metadata.clusterId,
      controllerId: metadata.controllerId,
      topics,
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? ALL_CLUSTER_OPERATIONS
        : OPERATIONS_NOT_ASKED,
    }
  }
}

interface AskedTopic {
  readonly name: string | null
  readonly topicId: string
}

interface View {
  readonly metadata: MetadataCache
  readonly context: RequestContext
  readonly operations: number
}

function operationsOf(request: MetadataRequest): number {
  return request.includeTopicAuthorizedOperations ? ALL_TOPIC_OPERATIONS : OPERATIONS_NOT_ASKED
}

/** Each topic once; null stands for all of them. */
function askedTopics(request: MetadataRequest, version: number): AskedTopic[] | null {
  const { topics } = request
  if (topics === null || (version === 0 && topics.length === 0)) return null
  const asked = new Map<string, AskedTopic>()
  for (const { name, topicId } of topics) {
    const key = topicId === ZERO_UUID ? `name ${name ?? ''}` : `id ${topicId}`
    if (!asked.has(key)) asked.set(key, { name, topicId })
  }
  return [...asked.values()]
}

/** Creates what is missing; the errors that kept topics from being created, by name. */
async function createMissing(
  services: Services,
  request: MetadataRequest,
  asked: readonly AskedTopic[] | null,
): Promise<ReadonlyMap<string, number>> {
  const errors = new Map<string, number>()
  if (asked === null || !request.allowAutoTopicCreation) return errors
  if (!services.config.autoCreateTopicsEnable) return errors
  const missing: string[] = []
  for (const { name, topicId } of asked) {
    if (name === null || topicId !== ZERO_UUID || services.metadata.topic(name)) continue
    if (wrongTopicName(name) === null) missing.push(name)
  }
  if (missing.length === 0) return errors
  const outcomes = await services.topics.createTopics(
    missing.map((name) => ({
      name,
      numPartitions: -1,
      replicationFactor: -1,
      assignments: [],
      configs: [],
    })),
    { timeoutMs: CREATION_WAIT_MS, validateOnly: false },
  )
  for (const { name, errorCode, errorMessage } of outcomes) {
    if (errorCode === ErrorCode.NONE) continue
    // It will be there when the client asks again.
    const comes =
      errorCode === ErrorCode.REQUEST_TIMED_OUT || errorCode === ErrorCode.TOPIC_ALREADY_EXISTS
    errors.set(name, comes ? ErrorCode.LEADER_NOT_AVAILABLE : errorCode)
    services.logger.info(
      { topic: name, errorCode, errorMessage },
      'a topic was not created at once',
    )
  }
  return errors
}

function answerTopic(
  asked: AskedTopic,
  errors: ReadonlyMap<string, number>,
  view: View,
): ResponseTopic {
  const { metadata, context } = view
  const { name, topicId } = asked
  const isById = topicId !== ZERO_UUID
  if (context.apiVersion < 12 && (isById || name === null)) {
    // Those versions have the field, but cannot be asked by id.
    return failedTopic(ErrorCode.INVALID_REQUEST, name ?? '', topicId, view)
  }
  const topic = isById ? metadata.topicById(topicId) : metadata.topic(name ?? '')
  if (topic) return describeTopic(topic, view)
  if (isById) return failedTopic(ErrorCode.UNKNOWN_TOPIC_ID, null, topicId, view)
  const isWrong = wrongTopicName(name ?? '') !== null
  const otherwise = isWrong
    ? ErrorCode.INVALID_TOPIC_EXCEPTION
    : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  return failedTopic(errors.get(name ?? '') ?? otherwise, name, ZERO_UUID, view)
}

function failedTopic(
  errorCode: number,
  name: string | null,
  topicId: string,
  view: View,
): ResponseTopic {
  return {
    errorCode,
    name,
    topicId,
    isInternal: false,
    partitions: [],
    topicAuthorizedOperations: view.operations,
  }
}

function describeTopic(topic: TopicImage, view: View): ResponseTopic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.topicId,
    isInternal: topic.isInternal,
    partitions: topic.partitions.map((partition) => describePartition(partition, view)),
    topicAuthorizedOperations: view.operations,
  }
}

function describePartition(partition: PartitionImage, view: View): ResponsePartition {
  const { metadata, context } = view
  const { listenerName, apiVersion } = context
  const { leader, replicas, isr } = partition
  const isReachable = (id: number): boolean => metadata.endpoint(id, listenerName) !== undefined
  // Version 0 knows of no offline replicas: it is told only of brokers that can be reached.
  const replicaNodes = apiVersion === 0 ? replicas.filter(isReachable) : replicas
  const isrNodes = apiVersion === 0 ? isr.filter(isReachable) : isr
  const hasLeader = isReachable(leader)
  let errorCode: number = ErrorCode.NONE
  if (!hasLeader) {
    errorCode =
      apiVersion >= 6 && metadata.isAlive(leader)
        ? ErrorCode.LISTENER_NOT_FOUND
        : ErrorCode.LEADER_NOT_AVAILABLE
  } else if (replicaNodes.length < replicas.length || isrNodes.length < isr.length) {
    errorCode = ErrorCode.REPLICA_NOT_AVAILABLE
  }
  return {
    errorCode,
    partitionIndex: partition.partition,
    leaderId: hasLeader ? leader : -1,
    leaderEpoch: partition.leaderEpoch,
    replicaNodes,
    isrNodes,
    offlineReplicas: partition.offlineReplicas,
  }
}
