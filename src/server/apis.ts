/** Puts the parts of the control plane together: managers, handlers, the table of APIs. */
import type { LoadedConfig } from '../config/load-broker-config.ts'
import type { TopicConfig } from '../config/topic-config.ts'
import { BrokerConfigManager } from '../controller/broker-config-manager.ts'
import { LiveBrokerTexts } from '../controller/broker-texts.ts'
import {
  type CreateOutcome,
  type NewTopic,
  type TopicHost,
  TopicManager,
} from '../controller/topic-manager.ts'
import type { GroupCoordinator } from '../group/group-coordinator.ts'
import { OFFSETS_TOPIC } from '../group/record-schemas.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import type { BrokerEndpoint, TopicImage } from '../metadata/topic-image.ts'
import type { Connection } from '../network/connection.ts'
import type { RequestHandler } from '../network/request-handler.ts'
import { ApiVersions } from '../protocol/messages/api-versions.ts'
import { DeleteRecords } from '../protocol/messages/delete-records.ts'
import { DescribeLogDirs } from '../protocol/messages/describe-log-dirs.ts'
import { Fetch } from '../protocol/messages/fetch.ts'
import { ListOffsets } from '../protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../protocol/messages/produce.ts'
import { claimBrokerId } from '../registry/broker-claim.ts'
import type { ClusterRegistry } from '../registry/cluster-registry.ts'
import type { FetchPurgatory } from '../replica/delayed-fetch.ts'
import type { InternalLog } from '../replica/internal-log.ts'
import type { RecordConverter } from '../replica/record-converter.ts'
import type { ReplicaManager } from '../replica/replica-manager.ts'
import { ProducerIdManager } from '../transaction/producer-id-manager.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import { createApiTable } from './api-table.ts'
import { FetchSessionCache } from './fetch-session.ts'
import { createGroups } from './groups.ts'
import { unsupportedApiVersions } from './handlers/api-versions.ts'
import { createDeleteRecordsHandler } from './handlers/delete-records.ts'
import { createDescribeLogDirsHandler } from './handlers/describe-log-dirs.ts'
import { FetchHandler } from './handlers/fetch.ts'
import { createListOffsetsHandler } from './handlers/list-offsets.ts'
import { createOffsetForLeaderEpochHandler } from './handlers/offset-for-leader-epoch.ts'
import { ProduceHandler } from './handlers/produce.ts'
import { ReplicaFetchHandler } from './handlers/replica-fetch.ts'
import { LeaderHints } from './leader-hints.ts'
import { RackAwareReplicaSelector } from './replica-selector.ts'
import { RequestDispatcher, serve, serveFrames } from './request-dispatcher.ts'
import { Responder } from './responder.ts'

/** How long an embedding program waits for its topics. */
const CREATE_TIMEOUT_MS = 30_000
/** An ensemble that has just lost its leader grants a session its whole time-out once more. */
const OLD_SESSIONS = 2

export interface ApisOptions {
  readonly loaded: LoadedConfig
  readonly brokerId: number
  readonly registry: ClusterRegistry
  readonly metadata: MetadataCache
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
}

export interface Apis {
  readonly handle: RequestHandler
  /** Answers what waits for something that will not come any more. */
  stop(): void
  produceResult(connection: Connection, sequence: number, apiVersion: number): void
  /** As CreateTopics does; one outcome per topic. */
  createTopics(topics: readonly NewTopic[]): Promise<readonly CreateOutcome[]>
  /** What the logs of this broker are, after `load`. */
  topics(): { readonly image: TopicImage; readonly config: TopicConfig }[]
  /** Announces where clients reach this broker. */
  register(endpoints: ReadonlyMap<string, BrokerEndpoint>): Promise<void>
}

/**
 * The logs of this broker, with the groups told of what happens to topics: they lose the offsets
 * of those that go, and get those of the offsets topic when it comes.
 */
function hostOf(
  replicas: ReplicaManager,
  groups: { readonly current: GroupCoordinator | null },
): TopicHost {
  return {
    openTopic: async (image, config, first = 0) => {
      await replicas.openTopic(image, config, first)
      if (image.name === OFFSETS_TOPIC) lead(groups.current, image, first)
    },
    reconfigureTopic: (name, config) => replicas.reconfigureTopic(name, config),
    deleteTopic: async (name) => {
      const isOffsets = name === OFFSETS_TOPIC
      const partitions = isOffsets ? replicas.partitions.filter((one) => one.topic === name) : []
      for (const { partition } of partitions) groups.current?.resign(partition)
      await replicas.deleteTopic(name)
      await groups.current?.topicDeleted(name)
    },
  }
}

/** Loads the groups of the offsets partitions from number `first` on. */
function lead(groups: GroupCoordinator | null, image: TopicImage, first: number): void {
  for (const { partition } of image.partitions.slice(first)) void groups?.becomeLeader(partition)
}

/** Has `renew` called in each new session, after one has expired. */
function followSession(
  registry: ClusterRegistry,
  logger: Logger,
  renew: () => Promise<void>,
): void {
  let isExpired = false
  registry.onSessionState((state) => {
    if (state === 'expired') isExpired = true
    if (state !== 'connected' || !isExpired) return
    isExpired = false
    renew().catch((error: unknown) => {
      isExpired = true // The next connection tries again.
      logger.error({ err: error }, 'the broker could not register anew')
    })
  })
}

/** Reads the cluster's state and makes the handlers. Throws RegistryError. */
export async function createApis(options: ApisOptions): Promise<Apis> {
  const { loaded, brokerId, registry, metadata, replicas, logger, clock } = options
  const texts = new LiveBrokerTexts(loaded.explicit)
  const brokerConfigs = new BrokerConfigManager({ brokerId, registry, texts, logger })
  const groupsOf: { current: GroupCoordinator | null } = { current: null }
  const topicManager = new TopicManager({
    registry,
    metadata,
    host: hostOf(replicas, groupsOf),
    config: loaded.config,
    texts,
    random: options.random,
    timers: options.timers,
    logger,
  })
  brokerConfigs.onChange(() => topicManager.reconfigureAll())
  const { groups, offsetStore } = createGroups({
    config: loaded.config,
    metadata,
    log: options.internalLog,
    clock,
    timers: options.timers,
    random: options.random,
    logger,
  })
  groupsOf.current = groups
  const producerIds = new ProducerIdManager({ registry, brokerId, firstId: clock.nowMs() })
  const responder = new Responder(options.transport)
  const services = {
    brokerId,
    config: loaded.config,
    texts,
    metadata,
    registry,
    topicManager,
    brokerConfigs,
    producerIds,
    groups,
    offsetStore,
    clock,
    random: options.random,
    timers: options.timers,
    logger,
  }
  const leaders = new LeaderHints({ metadata, brokerId })
  const epochOf = (id: number): number => metadata.broker(id)?.brokerEpoch ?? -1
  const hasReplicaSelector = loaded.config.replicaSelectorClass !== null
  const isBrokerAddress = (): boolean => false
  const produce = new ProduceHandler({ responder, replicas, metadata, leaders, clock, brokerId })
  const replicaFetch = new ReplicaFetchHandler({
    responder,
    replicas,
    metadata,
    purgatory: options.purgatory,
    leaders,
    timers: options.timers,
    clock,
    random: options.random,
    fetchMaxBytes: loaded.config.fetchMaxBytes,
    epochOf,
    highWatermarkDelayMs: hasReplicaSelector ? 1 : 20,
  })
  const fetch = new FetchHandler({
    responder,
    replicas,
    metadata,
    purgatory: options.purgatory,
    replicaFetch,
    leaders,
    replicaSelector: hasReplicaSelector
      ? new RackAwareReplicaSelector({ metadata, brokerId })
      : null,
    brokerId,
    epochOf,
    isBrokerAddress,
    sessions: new FetchSessionCache({
      slots: loaded.config.maxIncrementalFetchSessionCacheSlots,
      clock,
      random: options.random,
    }),
    fetchMaxBytes: loaded.config.fetchMaxBytes,
    decompressionMaxBytes: loaded.config.decompressionMaxBytes,
    conversions: options.conversions,
    logger,
  })
  const apis = createApiTable(responder, services, [
    serveFrames(Produce, (frame) => produce.handle(frame)),
    serveFrames(Fetch, (frame) => fetch.handle(frame)),
    serve(
      responder,
      ListOffsets,
      createListOffsetsHandler({ replicas, metadata, isBrokerAddress }),
    ),
    serve(
      responder,
      OffsetForLeaderEpoch,
      createOffsetForLeaderEpochHandler({ replicas, metadata }),
    ),
    serve(responder, DeleteRecords, createDeleteRecordsHandler({ replicas, metadata })),
    serve(
      responder,
      DescribeLogDirs,
      createDescribeLogDirsHandler({ replicas, dataDirectory: options.dataDirectory }),
    ),
  ])
  const dispatcher = new RequestDispatcher(apis, (frame) => {
    // In the oldest version, which every client can read.
    responder.respond(ApiVersions, { ...frame, apiVersion: 0 }, unsupportedApiVersions())
  })

  const setBroker = (brokerEpoch: number, endpoints: ReadonlyMap<string, BrokerEndpoint>): void =>
    metadata.setBrokers([{ brokerId, brokerEpoch, rack: loaded.config.brokerRack, endpoints }])

  // One broker: it is alive, and it is the controller.
  setBroker(-1, new Map())
  await registry.electController({ brokerId, timestampMs: clock.nowMs() })
  metadata.setController(brokerId)
  await brokerConfigs.load()
  await topicManager.load()

  const claim = async (endpoints: ReadonlyMap<string, BrokerEndpoint>): Promise<void> => {
    const brokerEpoch = await claimBrokerId({
      registry,
      registration: {
        brokerId,
        rack: loaded.config.brokerRack,
        timestampMs: clock.nowMs(),
        endpoints: [...endpoints].map(([listenerName, { host, port }]) => ({
          listenerName,
          securityProtocol: 'PLAINTEXT',
          host,
          port,
        })),
      },
      patienceMs: OLD_SESSIONS * loaded.config.zookeeperSessionTimeoutMs,
      timers: options.timers,
      logger,
    })
    setBroker(brokerEpoch, endpoints)
  }

  const expireOffsets = (): void => {
    options.timers.schedule(loaded.config.offsetsRetentionCheckIntervalMs, () => {
      void groups.expireOffsets().then(expireOffsets)
    })
  }

  return {
    handle: (frame) => dispatcher.handle(frame),
    stop: () => groups.close(),
    produceResult: (connection, sequence, version) =>
      produce.handleResult(connection, sequence, version),
    createTopics: (topics) =>
      topicManager.createTopics(topics, { timeoutMs: CREATE_TIMEOUT_MS, validateOnly: false }),
    topics: () =>
      [...metadata.topics()].map((image) => ({
        image,
        config: topicManager.effectiveConfig(image),
      })),
    register: async (endpoints) => {
      await claim(endpoints)
      followSession(registry, logger, async () => {
        await registry.electController({ brokerId, timestampMs: clock.nowMs() })
        await claim(endpoints)
      })
      const offsets = metadata.topic(OFFSETS_TOPIC)
      if (offsets !== undefined) lead(groups, offsets, 0)
      expireOffsets()
      await topicManager.resumeDeletions()
    },
  }
}
