/** ListOffsets: where a partition begins and ends, and where a point in time is. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  ListOffsetsRequest,
  ListOffsetsResponseInput,
} from '../../protocol/messages/list-offsets.ts'
import type { Partition } from '../../replica/partition.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { RequestContext } from '../request-context.ts'

const LATEST = -1
const EARLIEST = -2
const MAX_TIMESTAMP = -3
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
const READ_COMMITTED = 1
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

export function createListOffsetsHandler(services: { readonly replicas: ReplicaManager }) {
  const { replicas } = services

  async function epochOf(partition: Partition, offset: number): Promise<number> {
    const epoch = await replicas.control(partition, 'epochOfOffset', (log) => ({ log, offset }))
    return epoch ?? -1
  }

  async function find(
    partition: Partition | undefined,
    wanted: Wanted,
    committed: boolean,
    version: number,
  ): Promise<Found> {
    if (partition === undefined) return failed(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if (!partition.isOnline) return failed(ErrorCode.KAFKA_STORAGE_ERROR)
    if (wanted.currentLeaderEpoch >= 0 && wanted.currentLeaderEpoch !== partition.leaderEpoch) {
      return failed(
        wanted.currentLeaderEpoch < partition.leaderEpoch
          ? ErrorCode.FENCED_LEADER_EPOCH
          : ErrorCode.UNKNOWN_LEADER_EPOCH,
      )
    }
    const limit = committed ? partition.lastStable : partition.highWatermark
    const { timestamp } = wanted
    if (timestamp < 0 && version < (firstVersions.get(timestamp) ?? Number.POSITIVE_INFINITY)) {
      return failed(ErrorCode.UNSUPPORTED_VERSION)
    }
    switch (timestamp) {
      case LATEST:
        return { ...NOTHING, offset: limit, leaderEpoch: partition.leaderEpoch }
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
    if (!found.found) return NOTHING
    return { ...found, errorCode: 0 }
  }

  /** Version 0: up to maxNumOffsets segment starts below a time; we keep the two ends. */
  async function findMany(
    partition: Partition | undefined,
    wanted: Wanted,
  ): Promise<{
    errorCode: number
    offsets: number[]
  }> {
    const version = FIRST_SINGLE
    const found = await find(partition, wanted, false, version)
    if (found.errorCode !== 0 || partition === undefined) {
      return { errorCode: found.errorCode, offsets: [] }
    }
    const start = partition.logStart
    const first = found.offset < 0 ? partition.highWatermark : found.offset
    const offsets = first > start ? [first, start] : [start]
    return { errorCode: 0, offsets: offsets.slice(0, Math.max(0, wanted.maxNumOffsets)) }
  }

  return async (
    request: ListOffsetsRequest,
    context: RequestContext,
  ): Promise<ListOffsetsResponseInput> => {
    const version = context.apiVersion
    const committed = request.isolationLevel === READ_COMMITTED
    const topics = await Promise.all(
      request.topics.map(async ({ name, partitions }) => ({
        name,
        partitions: await Promise.all(
          partitions.map(async (wanted) => {
            const { partitionIndex } = wanted
            const partition = replicas.partition(name, partitionIndex)
            if (version < FIRST_SINGLE) {
              const { errorCode, offsets } = await findMany(partition, wanted)
              return { partitionIndex, errorCode, oldStyleOffsets: offsets }
            }
            return { partitionIndex, ...(await find(partition, wanted, committed, version)) }
          }),
        ),
      })),
    )
    return { topics }
  }
}
