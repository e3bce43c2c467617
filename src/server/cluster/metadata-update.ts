/** Puts what an UpdateMetadata request says into the metadata cache. */
import { FULL_REQUEST } from '../../controller/broker-requests.ts'
import type { TopicConfigManager } from '../../controller/topic-config-manager.ts'
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import {
  type BrokerEndpoint,
  type BrokerImage,
  isInternalTopic,
  type PartitionImage,
  type TopicImage,
} from '../../metadata/topic-image.ts'
import type { UpdateMetadataRequest } from '../../protocol/messages/update-metadata.ts'

type LiveBroker = UpdateMetadataRequest['liveBrokers'][number]
type TopicState = UpdateMetadataRequest['topicStates'][number]
type PartitionState = TopicState['partitionStates'][number]

/** As a leader: the partition is deleted. */
const LEADER_DURING_DELETE = -2
const NONE: readonly number[] = []

export interface MetadataUpdate {
  readonly metadata: MetadataCache
  readonly epochOf: (brokerId: number) => number
  readonly configsOf: (topic: string) => ReadonlyMap<string, string>
}

/** Applies the request; the names of topics that are gone with it. */
export function applyUpdateMetadata(
  request: UpdateMetadataRequest,
  { metadata, epochOf, configsOf }: MetadataUpdate,
): string[] {
  metadata.setController(request.controllerId)
  metadata.setBrokers(request.liveBrokers.map((broker) => brokerImage(broker, epochOf(broker.id))))
  const removed: string[] = []
  if (request.type === FULL_REQUEST) {
    // Deleted while this broker could not be told, by a controller that is it no more.
    const named = new Set(request.topicStates.map(({ topicName }) => topicName))
    for (const name of [...metadata.topicNames()]) {
      if (named.has(name)) continue
      metadata.removeTopic(name)
      removed.push(name)
    }
  }
  for (const state of request.topicStates) {
    const image = topicImage(state, metadata.topic(state.topicName), configsOf(state.topicName))
    if (image === null) {
      const old = metadata.topic(state.topicName)
      // Another topic of this name may have been told of before the end of this one.
      if (old === undefined || old.topicId !== state.topicId) continue
      metadata.removeTopic(state.topicName)
      removed.push(state.topicName)
    } else {
      metadata.putTopic(image)
    }
  }
  return removed
}

/** What a broker does with the requests: `removed` hears of topics that are gone. */
export function metadataUpdates({
  metadata,
  topicConfigs,
  epochOf,
  removed,
}: {
  readonly metadata: MetadataCache
  readonly topicConfigs: TopicConfigManager
  readonly epochOf: (brokerId: number) => number
  readonly removed: (topic: string) => void
}): (request: UpdateMetadataRequest) => Promise<void> {
  const configsOf = (topic: string) => topicConfigs.configsOf(topic)
  return async (request) => {
    await topicConfigs.load(request.topicStates.map(({ topicName }) => topicName))
    for (const topic of applyUpdateMetadata(request, { metadata, epochOf, configsOf })) {
      topicConfigs.forget(topic)
      removed(topic)
    }
  }
}

function brokerImage({ id, rack, endpoints }: LiveBroker, brokerEpoch: number): BrokerImage {
  const byListener = new Map<string, BrokerEndpoint>()
  for (const { listener, host, port } of endpoints) byListener.set(listener, { host, port })
  return { brokerId: id, brokerEpoch, rack, endpoints: byListener }
}

/** The topic with its new partitions; null if all of it is deleted. */
function topicImage(
  { topicName, topicId, partitionStates }: TopicState,
  known: TopicImage | undefined,
  configs: ReadonlyMap<string, string>,
): TopicImage | null {
  if (partitionStates.some(({ leader }) => leader === LEADER_DURING_DELETE)) return null
  const old = known?.topicId === topicId ? known : undefined
  const partitions = [...(old?.partitions ?? [])]
  for (const state of partitionStates) {
    while (partitions.length < state.partitionIndex) {
      partitions.push(unknownPartition(topicName, partitions.length))
    }
    partitions[state.partitionIndex] = partitionImage(topicName, state)
  }
  return { name: topicName, topicId, isInternal: isInternalTopic(topicName), partitions, configs }
}

function partitionImage(topic: string, state: PartitionState): PartitionImage {
  return {
    topic,
    partition: state.partitionIndex,
    leader: state.leader,
    leaderEpoch: state.leaderEpoch,
    partitionEpoch: state.zkVersion,
    controllerEpoch: state.controllerEpoch,
    replicas: state.replicas,
    isr: state.isr,
    offlineReplicas: state.offlineReplicas,
  }
}

/** One that others of its topic were told of before. */
function unknownPartition(topic: string, partition: number): PartitionImage {
  return {
    topic,
    partition,
    leader: -1,
    leaderEpoch: -1,
    partitionEpoch: -1,
    controllerEpoch: -1,
    replicas: NONE,
    isr: NONE,
    offlineReplicas: NONE,
  }
}
