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
import type { ClusterMember } from './cluster/cluster-member.ts'
import { FetchSessionCache } from './fetch-session.ts'
import { createDeleteRecordsHandler } from './handlers/delete-records.ts'
import { createDescribeLogDirsHandler } from './handlers/describe-log-dirs.ts'
import { FetchHandler } from './handlers/fetch.ts'
import { createListOffsetsHandler } from './handlers/list-offsets.ts'
import { createOffsetForLeaderEpochHandler } from './handlers/offset-for-leader-epoch.ts'
import { ProduceHandler } from './handlers/produce.ts'
import { type ServedApi, serve, serveFrames } from './request-dispatcher.ts'
import type { Responder } from './responder.ts'

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
  readonly logger: Logger
}

export interface DataPath {
  readonly produce: ProduceHandler
  readonly apis: readonly ServedApi[]
}

export function createDataPath(options: DataPathOptions): DataPath {
  const { loaded, brokerId, metadata, replicas, responder, clock, logger } = options
  const { config } = loaded
  const produce = new ProduceHandler({ responder, replicas, clock, brokerId })
  const fetch = new FetchHandler({
    responder,
    replicas,
    metadata,
    purgatory: options.purgatory,
    sessions: new FetchSessionCache({
      slots: config.maxIncrementalFetchSessionCacheSlots,
      clock,
      random: options.random,
    }),
    fetchMaxBytes: config.fetchMaxBytes,
    decompressionMaxBytes: config.decompressionMaxBytes,
    conversions: options.conversions,
    logger,
  })
  return {
    produce,
    apis: [
      serveFrames(Produce, (frame) => produce.handle(frame)),
      serveFrames(Fetch, (frame) => fetch.handle(frame)),
      serve(responder, ListOffsets, createListOffsetsHandler({ replicas })),
      serve(responder, OffsetForLeaderEpoch, createOffsetForLeaderEpochHandler({ replicas })),
      serve(responder, DeleteRecords, createDeleteRecordsHandler({ replicas })),
      serve(
        responder,
        DescribeLogDirs,
        createDescribeLogDirsHandler({ replicas, dataDirectory: options.dataDirectory }),
      ),
    ],
  }
}
