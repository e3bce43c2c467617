/** ListOffsets: where a partition begins and ends, and where a point in time is. */
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  ListOffsetsRequest,
  ListOffsetsResponseInput,
} from '../../protocol/messages/list-offsets.ts'
import type { Partition } from '../../replica/partition.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import { checkLeaderEpoch } from '../fetch-answer.ts'
import { errorOfMissing } from '../hosted-partition.ts'
import type { RequestContext } from '../request-context.ts'

const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
const READ_COMMITTED = 1
/** A tool that looks at a log as it is, on whichever replica. */
const DEBUGGING_REPLICA = -2
/** Below it OFFSET_NOT_AVAILABLE is unknown to clients. */
const FIRST_OFFSET_NOT_AVAILABLE = 5
/** Below it the answer is a list of offsets (Kafka 0.8 and 0.9). */
const FIRST_SINGLE = 1

/** The version that a special timestamp appeared in. */
const firstVersions = new Map([
  [LATEST, 0],
  [EARLIEST, 0],
  [MAX_TIMESTAMP, 7],
  [EARLIEST_LOCAL, 8],
  [LATEST_TIERED, 9],
])

type Wanted = ListOffsetsRequest['topics'][number]['partitions'][number]

interface Found {
  readonly errorCode: number
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

const NOTHING: Found = { errorCode: 0, offset: -1, timestamp: -1, leaderEpoch: -1 }
const failed = (errorCode: number): Found => ({ ...NOTHING, errorCode })

export interface ListOffsetsServices {
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  /** Whether a connection to that listener came from where a registered broker is. */
  readonly isBrokerAddress: (brokerId: number, address: string, listenerName: string) => boolean
}

/** Who asks: a consumer is told of what is committed, a replica of what is there. */
interface Asker {
  readonly version: number
  readonly isConsumer: boolean
  readonly asksAnyReplica: boolean
  readonly isReadCommitted: boolean
}

export function createListOffsetsHandler(services: ListOffsetsServices) {
  const { replicas, metadata } = services

  function askerOf(request: ListOffsetsRequest, context: RequestContext): Asker {
    const { replicaId, isolationLevel } = request
    const { apiVersion, clientAddress, listenerName } = context
    const asksAnyReplica = replicaId === DEBUGGING_REPLICA
    const isReplica =
      replicaId >= 0 && services.isBrokerAddress(replicaId, clientAddress, listenerName)
    return {
      version: apiVersion,
      isConsumer: !asksAnyReplica && !isReplica,
      asksAnyReplica,
      isReadCommitted: isolationLevel === READ_COMMITTED,
    }
  }

  async function epochOf(partition: Partition, offset: number): Promise<number> {
    const epoch = await replicas.control(partition, 'epochOfOffset', (log) => ({ log, offset }))
    return epoch ?? -1
  }

  function refusal(name: string, wanted: Wanted, asker: Asker): number {
    const { timestamp, partitionIndex, currentLeaderEpoch } = wanted
    const first = firstVersions.get(timestamp) ?? Number.POSITIVE_INFINITY
    if (timestamp < 0 && asker.version < first) return ErrorCode.UNSUPPORTED_VERSION
    const partition = replicas.partition(name, partitionIndex)
    if (partition === undefined) return errorOfMissing(metadata, name, partitionIndex)
    if (!partition.isOnline) return ErrorCode.KAFKA_STORAGE_ERROR
    const wrongEpoch = checkLeaderEpoch(currentLeaderEpoch, partition.leaderEpoch)
    if (wrongEpoch !== 0) return wrongEpoch
    return asker.asksAnyReplica || partition.isLeader
      ? ErrorCode.NONE
      : ErrorCode.NOT_LEADER_OR_FOLLOWER
  }

  /**
   * What was committed under the leader before may be beyond the high watermark that this one knows,
   * until its followers have fetched: an end told now would go back (KIP-207).
   */
  function notAvailable(partition: Partition, { isConsumer, version }: Asker): Found | null {
    const { leader } = partition
    if (!isConsumer || leader === null || version < FIRST_SINGLE) return null
    if (leader.epochStart <= partition.highWatermark) return null
    return failed(
      version >= FIRST_OFFSET_NOT_AVAILABLE
        ? ErrorCode.OFFSET_NOT_AVAILABLE
        : ErrorCode.LEADER_NOT_AVAILABLE,
    )
  }

  async function find(name: string, wanted: Wanted, asker: Asker): Promise<Found> {
    const errorCode = refusal(name, wanted, asker)
    if (errorCode !== 0) return failed(errorCode)
    const partition = replicas.partition(name, wanted.partitionIndex) as Partition
    const limit = asker.isConsumer
      ? asker.isReadCommitted
        ? partition.lastStable
        : partition.highWatermark
      : partition.logEnd
    const { timestamp } = wanted
    switch (timestamp) {
      case LATEST:
        return (
          notAvailable(partition, asker) ?? {
            ...NOTHING,
            offset: limit,
            leaderEpoch: partition.leaderEpoch,
          }
        )
      case EARLIEST:
      case EARLIEST_LOCAL: {
        const offset = partition.logStart
        return { ...NOTHING, offset, leaderEpoch: await epochOf(partition, offset) }
      }
      case LATEST_TIERED:
        return NOTHING
    }
    const found = await replicas.control(partition, 'offsetForTimestamp', (log) => ({
      log,
      timestamp,
      limitOffset: limit,
    }))
    if (found === null || found.errno !== 0) return failed(ErrorCode.KAFKA_STORAGE_ERROR)
    if (!found.found || found.offset >= limit) return notAvailable(partition, asker) ?? NOTHING
    return { ...found, errorCode: 0 }
  }

  /** Version 0: up to maxNumOffsets segment starts below a time; we keep the two ends. */
  async function findMany(
    name: string,
    wanted: Wanted,
    asker: Asker,
  ): Promise<{
    errorCode: number
    offsets: number[]
  }> {
    const found = await find(name, wanted, asker)
    const partition = replicas.partition(name, wanted.partitionIndex)
    if (found.errorCode !== 0 || partition === undefined) {
      return { errorCode: found.errorCode, offsets: [] }
    }
    const start = partition.logStart
    const end = asker.isConsumer ? partition.highWatermark : partition.logEnd
    const first = found.offset < 0 ? end : found.offset
    const offsets = first > start ? [first, start] : [start]
    return { errorCode: 0, offsets: offsets.slice(0, Math.max(0, wanted.maxNumOffsets)) }
  }

  return async (
    request: ListOffsetsRequest,
    context: RequestContext,
  ): Promise<ListOffsetsResponseInput> => {
    const asker = askerOf(request, context)
    const topics = await Promise.all(
      request.topics.map(async ({ name, partitions }) => ({
        name,
        partitions: await Promise.all(
          partitions.map(async (wanted) => {
            const { partitionIndex } = wanted
            if (asker.version < FIRST_SINGLE) {
              const { errorCode, offsets } = await findMany(name, wanted, asker)
              return { partitionIndex, errorCode, oldStyleOffsets: offsets }
            }
            return { partitionIndex, ...(await find(name, wanted, asker)) }
          }),
        ),
      })),
    )
    return { topics }
  }
}
