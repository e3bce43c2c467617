/** From a topic's configuration to what its native logs act on. */
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogSettings } from '../native/addon.ts'

/** Codec ids of the record format. */
const codecs: Readonly<Record<string, number>> = {
  producer: -1,
  uncompressed: 0,
  gzip: 1,
  snappy: 2,
  lz4: 3,
  zstd: 4,
}

export interface LogSettingsOptions {
  readonly producerExpirationMs: number
  /** Already drawn at random below segment.jitter.ms. */
  readonly segmentJitterMs: number
}

export function logSettingsOf(config: TopicConfig, options: LogSettingsOptions): LogSettings {
  const difference = config.messageTimestampDifferenceMaxMs
  const compacted = config.cleanupPolicy.includes('compact')
  // What is in the active segment is not compacted: it must be closed in time.
  const segmentMs = compacted
    ? Math.min(config.segmentMs, config.maxCompactionLagMs)
    : config.segmentMs
  return {
    segmentBytes: config.segmentBytes,
    segmentMs,
    segmentJitterMs: Math.min(options.segmentJitterMs, segmentMs),
    segmentIndexBytes: config.segmentIndexBytes,
    indexIntervalBytes: config.indexIntervalBytes,
    messageMaxBytes: config.maxMessageBytes,
    logAppendTime: config.messageTimestampType === 'LogAppendTime',
    timestampBeforeMaxMs: Math.min(config.messageTimestampBeforeMaxMs, difference),
    timestampAfterMaxMs: Math.min(config.messageTimestampAfterMaxMs, difference),
    compression: codecs[config.compressionType] ?? -1,
    compressionLevel: levelOf(config),
    retentionMs: config.retentionMs,
    retentionBytes: config.retentionBytes,
    compacted,
    deletes: config.cleanupPolicy.includes('delete'),
    producerExpirationMs: options.producerExpirationMs,
  }
}

function levelOf(config: TopicConfig): number | null {
  switch (config.compressionType) {
    case 'gzip':
      return config.compressionGzipLevel
    case 'zstd':
      return config.compressionZstdLevel
    default:
      return null
  }
}
