/** Puts the parts of the control plane together: cluster, managers, handlers, the table of APIs. */
import type { LoadedConfig } from '../config/load-broker-config.ts'
import type { BrokerConfigManager } from '../controller/broker-config-manager.ts'
import type { LiveBrokerTexts } from '../controller/broker-texts.ts'
import type { NewTopic, TopicOutcome } from '../controller/topic-change.ts'
import type { TopicConfigManager } from '../controller/topic-config-manager.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import type { BrokerEndpoint } from '../metadata/topic-image.ts'
import type { Connection } from '../network/connection.ts'
import type { RequestHandler } from '../network/request-handler.ts'
import { errorName } from '../protocol/error-codes.ts'
import { ApiVersions } from '../protocol/messages/api-versions.ts'
import type { ClusterRegistry } from '../registry/cluster-registry.ts'
import type { FetchPurgatory } from '../replica/delayed-fetch.ts'
import type { InternalLog } from '../replica/internal-log.ts'
import type { Partition } from '../replica/partition.ts'
import type { RecordConverter } from '../replica/record-converter.ts'
import type { ReplicaManager } from '../replica/replica-manager.ts'
import { ProducerIdManager, type ProducerIdRange } from '../transaction/producer-id-manager.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import { createApiTable } from './api-table.ts'
import type { apisBetweenBrokers } from './apis-between-brokers.ts'
import type { ClusterMember } from './cluster/cluster-member.ts'
import { watchConfigs } from './cluster/config-watch.ts'
import { metadataUpdates } from './cluster/metadata-update.ts'
import { ControllerForwarding } from './controller-forwarding.ts'
import { createDataPath } from './data-path.ts'
import { GroupRoles } from './group-roles.ts'
import { createGroups } from './groups.ts'
import { unsupportedApiVersions } from './handlers/api-versions.ts'
import { RequestDispatcher } from './request-dispatcher.ts'
import { Responder } from './responder.ts'
import { TopicCreator } from './topic-creator.ts'

/** How long an embedding program waits for its topics. */
const CREATE_TIMEOUT_MS = 30_000

export interface ApisOptions {
  readonly loaded: LoadedConfig
  readonly brokerId: number
  readonly registry: ClusterRegistry
  readonly metadata: MetadataCache
  readonly texts: LiveBrokerTexts
  readonly brokerConfigs: BrokerConfigManager
  readonly topicConfigs: TopicConfigManager
  readonly member: ClusterMember
  readonly replicas: ReplicaManager
  readonly internalLog: InternalLog
  readonly purgatory: FetchPurgatory
  readonly timers: TimerQueue
  readonly conversions: RecordConverter
  readonly transport: number
  readonly dataDirectory: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** null for a broker alone. */
  readonly betweenBrokers: typeof apisBetweenBrokers | null
}

export interface Apis {
  readonly handle: RequestHandler
  /** The role of a partition has changed, or its log is not open any more. */
  roleChanged(partition: Partition): void
  /** Announces where this broker is, and waits until it has its place in the cluster. */
  join(endpoints: ReadonlyMap<string, BrokerEndpoint>): Promise<void>
  /** Answers what waits for something that will not come any more. */
  stop(): void
  produceResult(connection: Connection, sequence: number, apiVersion: number): void
  /** As CreateTopics does; one outcome per topic. */
  createTopics(topics: readonly NewTopic[]): Promise<readonly TopicOutcome[]>
}

/** Makes the handlers, and has the cluster's requests change what they answer. */
export function createApis(options: ApisOptions): Apis {
  const { loaded, brokerId, registry, metadata, replicas, member, logger, clock } = options
  const { config } = loaded
  const { groups, offsetStore } = createGroups({
    config,
    metadata,
    log: options.internalLog,
    clock,
    timers: options.timers,
    random: options.random,
    logger,
  })
  const groupRoles = new GroupRoles(groups)
  const responder = new Responder(options.transport)
  const forwarding = new ControllerForwarding({
    ...{ controller: member.controller, channel: member.channel, responder },
    timeoutMs: config.controllerSocketTimeoutMs,
    clientId: `broker-${brokerId}`,
  })
  const topics = new TopicCreator({ controller: member.controller, forwarding })
  const services = {
    brokerId,
    config,
    texts: options.texts,
    metadata,
    registry,
    controller: member.controller,
    topics,
    topicConfigs: options.topicConfigs,
    brokerConfigs: options.brokerConfigs,
    producerIds: new ProducerIdManager({ allocate: () => allocateProducerIds(member, brokerId) }),
    groups,
    offsetStore,
    clock,
    random: options.random,
    timers: options.timers,
    logger,
  }
  const dataPath = createDataPath({ ...options, responder })
  const apis = createApiTable({
    ...{ responder, services, forwarding, dataPath: dataPath.apis },
    betweenBrokers:
      options.betweenBrokers?.(responder, {
        ...member,
        ...{ forwarding, logger, controlRequests: member.controlRequests },
      }) ?? [],
  })
  const dispatcher = new RequestDispatcher(apis, (frame) => {
    // In the oldest version, which every client can read.
    responder.respond(ApiVersions, { ...frame, apiVersion: 0 }, unsupportedApiVersions())
  })
  const unwatchConfigs = watchConfigs({ ...options, brokerId, registry, metadata, replicas })
  member.attach({
    replicas,
    updateMetadata: metadataUpdates({
      metadata,
      topicConfigs: options.topicConfigs,
      epochOf: (id) => member.brokers.epochOf(id),
      removed: (topic) => void groups.topicDeleted(topic),
    }),
  })
  const expireOffsets = (): void => {
    options.timers.schedule(config.offsetsRetentionCheckIntervalMs, () => {
      void groups.expireOffsets().then(expireOffsets)
    })
  }
  return {
    handle: (frame) => dispatcher.handle(frame),
    roleChanged: (partition) => {
      groupRoles.roleChanged(partition)
      if (partition.row >= 0) options.purgatory.expire(partition.row)
    },
    stop: () => {
      unwatchConfigs()
      groups.close()
    },
    produceResult: (connection, sequence, version) =>
      dataPath.produce.handleResult(connection, sequence, version),
    createTopics: (wanted) =>
      topics.createTopics(wanted, { timeoutMs: CREATE_TIMEOUT_MS, validateOnly: false }),
    join: async (endpoints) => {
      await member.join(
        [...endpoints].map(([listenerName, { host, port }]) => ({
          ...{ listenerName, host, port, securityProtocol: 'PLAINTEXT' },
        })),
      )
      expireOffsets()
    },
  }
}

/** A block of producer ids from the controller. Throws an Error. */
async function allocateProducerIds(
  member: ClusterMember,
  brokerId: number,
): Promise<ProducerIdRange> {
  const { brokerEpoch } = member
  const answer = await member.channel.allocateProducerIds({ brokerId, brokerEpoch })
  if (answer.errorCode !== 0) {
    throw new Error(`the controller gives no producer ids: ${errorName(answer.errorCode)}`)
  }
  const { producerIdStart, producerIdLen } = answer
  return { start: producerIdStart, end: producerIdStart + producerIdLen - 1 }
}
