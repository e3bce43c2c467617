/**
 * Writes the controller's requests to a broker, always from what the context says at this moment.
 * Fields of all versions are filled; the connection encodes the version that the broker speaks.
 */
import type { LeaderAndIsrRequest } from '../protocol/messages/leader-and-isr.ts'
import type { StopReplicaRequest } from '../protocol/messages/stop-replica.ts'
import type { UpdateMetadataRequest } from '../protocol/messages/update-metadata.ts'
import type {
  PartitionState,
  RegisteredBroker,
  RegisteredEndpoint,
} from '../registry/cluster-registry.ts'
import type { ControllerContext, PartitionEntry, TopicEntry } from './controller-context.ts'

/** `type` of a request that names all there is. Apache's controllers leave it at 0 with ZooKeeper. */
export const FULL_REQUEST = 2
/** `type` of one that names what has changed. */
export const INCREMENTAL_REQUEST = 1

/** In UpdateMetadata: the partition is being deleted. */
export const LEADER_DURING_DELETE = -2
/** In StopReplica: whatever the epoch of the partition is, it is deleted. */
export const EPOCH_DURING_DELETE = -2

const SECURITY_PROTOCOLS: Readonly<Record<string, number>> = {
  PLAINTEXT: 0,
  SSL: 1,
  SASL_PLAINTEXT: 2,
  SASL_SSL: 3,
}

type LeaderAndIsrTopic = LeaderAndIsrRequest['topicStates'][number]
type LeaderAndIsrPartition = LeaderAndIsrTopic['partitionStates'][number]
type MetadataTopic = UpdateMetadataRequest['topicStates'][number]
type MetadataPartition = MetadataTopic['partitionStates'][number]
type StopTopic = StopReplicaRequest['topicStates'][number]
type LiveBroker = UpdateMetadataRequest['liveBrokers'][number]

export class BrokerRequests {
  readonly #context: ControllerContext
  readonly #controllerId: number
  readonly #controllerEpoch: number
  readonly #listenerName: string | null

  constructor(options: {
    readonly context: ControllerContext
    readonly controllerId: number
    readonly controllerEpoch: number
    /** Of the listener over which brokers talk to each other; null: their first. */
    readonly listenerName: string | null
  }) {
    this.#context = options.context
    this.#controllerId = options.controllerId
    this.#controllerEpoch = options.controllerEpoch
    this.#listenerName = options.listenerName
  }

  /** Partitions by whether the replica is new. */
  leaderAndIsr(
    broker: RegisteredBroker,
    partitions: ReadonlyMap<PartitionEntry, boolean>,
    isFull: boolean,
  ): LeaderAndIsrRequest {
    const leaders = new Set<number>()
    const topicStates = byTopic(
      partitions.keys(),
      (topic): LeaderAndIsrTopic => ({
        topicName: topic.name,
        topicId: topic.topicId,
        partitionStates: [],
      }),
      (topicState, entry) => {
        if (entry.state === null) return
        leaders.add(entry.state.leader)
        const isNew = partitions.get(entry) ?? false
        topicState.partitionStates.push(leadershipOf(entry, entry.state, isNew))
      },
    )
    return {
      ...this.#header(broker),
      type: isFull ? FULL_REQUEST : INCREMENTAL_REQUEST,
      ungroupedPartitionStates: [],
      topicStates,
      liveLeaders: this.#leaders(leaders),
    }
  }

  updateMetadata(
    broker: RegisteredBroker,
    partitions: Iterable<PartitionEntry>,
    isFull: boolean,
  ): UpdateMetadataRequest {
    const topicStates = byTopic(
      partitions,
      (topic): MetadataTopic => ({
        topicName: topic.name,
        topicId: topic.topicId,
        partitionStates: [],
      }),
      (topicState, entry) => {
        topicState.partitionStates.push(this.#metadataOf(entry))
      },
    )
    return {
      ...this.#header(broker),
      type: isFull ? FULL_REQUEST : INCREMENTAL_REQUEST,
      ungroupedPartitionStates: [],
      topicStates,
      liveBrokers: [...this.#context.liveBrokers.values()].map(liveBroker),
    }
  }

  /** Partitions by whether their logs are to be deleted. */
  stopReplica(
    broker: RegisteredBroker,
    partitions: ReadonlyMap<PartitionEntry, boolean>,
  ): StopReplicaRequest {
    const topicStates = byTopic(
      partitions.keys(),
      (topic): StopTopic => ({ topicName: topic.name, partitionStates: [] }),
      (topicState, entry) => {
        topicState.partitionStates.push({
          partitionIndex: entry.partition,
          leaderEpoch: entry.topic.isDeleting
            ? EPOCH_DURING_DELETE
            : (entry.state?.leaderEpoch ?? -1),
          deletePartition: partitions.get(entry) ?? false,
        })
      },
    )
    return {
      ...this.#header(broker),
      // Of versions below 3: later ones say it of each partition.
      deletePartitions: false,
      ungroupedPartitions: [],
      topics: [],
      topicStates,
    }
  }

  #header(broker: RegisteredBroker) {
    return {
      controllerId: this.#controllerId,
      isKRaftController: false,
      controllerEpoch: this.#controllerEpoch,
      brokerEpoch: broker.brokerEpoch,
    }
  }

  #leaders(ids: ReadonlySet<number>): LeaderAndIsrRequest['liveLeaders'] {
    const leaders: LeaderAndIsrRequest['liveLeaders'] = []
    for (const id of ids) {
      const broker = this.#context.liveBrokers.get(id)
      const endpoint = broker && interBrokerEndpoint(broker, this.#listenerName)
      if (!endpoint) continue
      leaders.push({ brokerId: id, hostName: endpoint.host, port: endpoint.port })
    }
    return leaders
  }

  #metadataOf(entry: PartitionEntry): MetadataPartition {
    const { state, topic, replicas } = entry
    const online = (id: number): boolean => this.#context.isOnline(entry, id)
    return {
      topicName: topic.name,
      partitionIndex: entry.partition,
      controllerEpoch: state?.controllerEpoch ?? this.#controllerEpoch,
      leader: topic.isDeleting ? LEADER_DURING_DELETE : entry.leader,
      leaderEpoch: state?.leaderEpoch ?? 0,
      isr: [...(state?.isr ?? [])],
      zkVersion: entry.version,
      replicas: [...replicas],
      offlineReplicas: replicas.every(online) ? [] : replicas.filter((id) => !online(id)),
    }
  }
}

/** Where the other brokers reach a broker. */
export function interBrokerEndpoint(
  broker: RegisteredBroker,
  listenerName: string | null,
): RegisteredEndpoint | undefined {
  return broker.endpoints.find((one) => one.listenerName === listenerName) ?? broker.endpoints[0]
}

function leadershipOf(
  entry: PartitionEntry,
  state: PartitionState,
  isNew: boolean,
): LeaderAndIsrPartition {
  return {
    topicName: entry.topic.name,
    partitionIndex: entry.partition,
    controllerEpoch: state.controllerEpoch,
    leader: state.leader,
    leaderEpoch: state.leaderEpoch,
    isr: [...state.isr],
    partitionEpoch: entry.version,
    replicas: [...entry.replicas],
    addingReplicas: [...entry.addingReplicas],
    removingReplicas: [...entry.removingReplicas],
    isNew,
    leaderRecoveryState: state.isRecovering ? 1 : 0,
  }
}

function liveBroker({ brokerId, endpoints, rack }: RegisteredBroker): LiveBroker {
  const plaintext = endpoints.find((one) => one.securityProtocol === 'PLAINTEXT')
  return {
    id: brokerId,
    v0Host: plaintext?.host ?? '',
    v0Port: plaintext?.port ?? -1,
    endpoints: endpoints.map((one) => ({
      port: one.port,
      host: one.host,
      listener: one.listenerName,
      securityProtocol: SECURITY_PROTOCOLS[one.securityProtocol] ?? 0,
    })),
    rack,
  }
}

function byTopic<T>(
  partitions: Iterable<PartitionEntry>,
  create: (topic: TopicEntry) => T,
  add: (topicState: T, partition: PartitionEntry) => void,
): T[] {
  const topics = new Map<TopicEntry, T>()
  for (const partition of partitions) {
    let topicState = topics.get(partition.topic)
    if (topicState === undefined) {
      topicState = create(partition.topic)
      topics.set(partition.topic, topicState)
    }
    add(topicState, partition)
  }
  return [...topics.values()]
}
