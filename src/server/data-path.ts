/** The handlers of the data path: what produces, fetches and looks up records. */
import type { LoadedConfig } from '../config/load-broker-config.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import { DeleteRecords } from '../protocol/messages/delete-records.ts'
import { DescribeLogDirs } from '../protocol/messages/describe-log-dirs.ts'
import { Fetch } from '../protocol/messages/fetch.ts'
import { ListOffsets } from '../protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../protocol/messages/produce.ts'
import type { FetchPurgatory } from '../replica/delayed-fetch.ts'
import type { RecordConverter } from '../replica/record-converter.ts'
import type { ReplicaManager } from '../replica/replica-manager.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import type { ClusterMember } from './cluster/cluster-member.ts'
import { FetchSessionCache } from './fetch-session.ts'
import { createDeleteRecordsHandler } from './handlers/delete-records.ts'
import { createDescribeLogDirsHandler } from './handlers/describe-log-dirs.ts'
import { FetchHandler } from './handlers/fetch.ts'
import { createListOffsetsHandler } from './handlers/list-offsets.ts'
import { createOffsetForLeaderEpochHandler } from './handlers/offset-for-leader-epoch.ts'
import { ProduceHandler } from './handlers/produce.ts'
import { ReplicaFetchHandler } from './handlers/replica-fetch.ts'
import { LeaderHints } from './leader-hints.ts'
import { RackAwareReplicaSelector } from './replica-selector.ts'
import { type ServedApi, serve, serveFrames } from './request-dispatcher.ts'
import type { Responder } from './responder.ts'

/** Until a follower with nothing to fetch hears of a new high watermark. */
const HIGH_WATERMARK_DELAY_MS = 20
/** The same where consumers read from followers. */
const HIGH_WATERMARK_DELAY_FOR_READERS_MS = 1

export interface DataPathOptions {
  readonly loaded: LoadedConfig
  readonly brokerId: number
  readonly metadata: MetadataCache
  readonly member: ClusterMember
  readonly replicas: ReplicaManager
  readonly purgatory: FetchPurgatory
  readonly conversions: RecordConverter
  readonly responder: Responder
  readonly dataDirectory: string
  readonly clock: Clock
  readonly random: Random
  readonly timers: TimerQueue
  readonly logger: Logger
}

export interface DataPath {
  readonly produce: ProduceHandler
  readonly apis: readonly ServedApi[]
}

export function createDataPath(options: DataPathOptions): DataPath {
  const { loaded, brokerId, metadata, replicas, responder, clock, logger } = options
  const { config } = loaded
  const { member, purgatory, random } = options
  const leaders = new LeaderHints({ metadata, brokerId })
  const { fetchMaxBytes, decompressionMaxBytes } = config
  const hasReplicaSelector = config.replicaSelectorClass !== null
  const epochOf = (id: number): number => member.brokers.epochOf(id)
  const isBrokerAddress = (id: number, address: string, listenerName: string): boolean =>
    member.brokers.isAddressOf(id, address, listenerName)
  const produce = new ProduceHandler({ responder, replicas, metadata, leaders, clock, brokerId })
  const replicaFetch = new ReplicaFetchHandler({
    ...{ responder, replicas, metadata, purgatory, leaders, clock, random, epochOf },
    timers: options.timers,
    quota: replicas.leaderQuota,
    fetchMaxBytes,
    highWatermarkDelayMs: hasReplicaSelector
      ? HIGH_WATERMARK_DELAY_FOR_READERS_MS
      : HIGH_WATERMARK_DELAY_MS,
  })
  const fetch = new FetchHandler({
    ...{ responder, replicas, metadata, purgatory, replicaFetch, leaders, brokerId, epochOf },
    ...{ isBrokerAddress, fetchMaxBytes, decompressionMaxBytes, logger },
    replicaSelector: hasReplicaSelector
      ? new RackAwareReplicaSelector({ metadata, brokerId })
      : null,
    sessions: new FetchSessionCache({
      ...{ clock, random, slots: config.maxIncrementalFetchSessionCacheSlots },
    }),
    conversions: options.conversions,
  })
  const listOffsets = createListOffsetsHandler({ replicas, metadata, isBrokerAddress })
  return {
    produce,
    apis: [
      serveFrames(Produce, (frame) => produce.handle(frame)),
      serveFrames(Fetch, (frame) => fetch.handle(frame)),
      serve(responder, ListOffsets, listOffsets),
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
    ],
  }
}
