/** The group coordinator of a broker, put together from its configuration. */
import type { BrokerConfig } from '../config/broker-config.ts'
import { GroupCoordinator } from '../group/group-coordinator.ts'
import { OffsetStore } from '../group/offset-store.ts'
import { OFFSETS_TOPIC } from '../group/record-schemas.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import type { InternalLog } from '../replica/internal-log.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'

const MS_PER_MINUTE = 60_000

export interface Groups {
  readonly groups: GroupCoordinator
  readonly offsetStore: OffsetStore
}

export function createGroups(options: {
  readonly config: BrokerConfig
  readonly metadata: MetadataCache
  readonly log: InternalLog
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
}): Groups {
  const { config, metadata, clock, timers, logger } = options
  const offsetStore = new OffsetStore({
    log: options.log,
    clock,
    logger,
    partitionCount: () => metadata.topic(OFFSETS_TOPIC)?.partitions.length ?? 0,
    loadBufferBytes: config.offsetsLoadBufferSize,
    codec: config.offsetsTopicCompressionCodec,
    decompressionMaxBytes: config.decompressionMaxBytes,
  })
  const groups = new GroupCoordinator({
    config: { ...config, offsetsRetentionMs: config.offsetsRetentionMinutes * MS_PER_MINUTE },
    store: offsetStore,
    clock,
    timers,
    logger,
    uuid: () => uuidOf(options.random),
    partitionExists: (topic, partition) => metadata.partition(topic, partition) !== undefined,
  })
  return { groups, offsetStore }
}

/** A random UUID of version 4 (RFC 9562). */
function uuidOf(random: Random): string {
  const bytes = random.bytes(16)
  bytes[6] = ((bytes[6] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  const cuts = [0, 8, 12, 16, 20, 32]
  return cuts
    .slice(1)
    .map((end, i) => hex.slice(cuts[i], end))
    .join('-')
}
