/** What a request says of partitions that this broker does not serve. */
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import { ErrorCode } from '../protocol/error-codes.ts'

/** Why a partition is not here: clients ask for metadata again where others have it. */
export function errorOfMissing(metadata: MetadataCache, topic: string, partition: number): number {
  return metadata.partition(topic, partition) === undefined
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.NOT_LEADER_OR_FOLLOWER
}
