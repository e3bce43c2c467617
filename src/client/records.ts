/** Records as programs see them, and whole batches of them. Producers build theirs elsewhere. */
import { innerMessages, LegacyMessageView } from '../protocol/legacy-message-set.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import {
  LOG_OVERHEAD_BYTES,
  magicAt,
  RecordBatchView,
  type RecordHeader,
  type RecordInput,
  writeRecordBatch,
} from '../protocol/record-batch.ts'
import {
  type CompressionType,
  codecOf,
  type Decompress,
  legacyCrc32,
  loadCompress,
  loadCrc32c,
  loadDecompress,
} from './codecs.ts'
import { ProtocolError } from './errors.ts'

export type { RecordHeader } from '../protocol/record-batch.ts'

export type TimestampType = 'NoTimestampType' | 'CreateTime' | 'LogAppendTime'

/** A record as it was read. */
export interface ConsumerRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** -1 where the record format has none. */
  readonly leaderEpoch: number
  /** Milliseconds since 1970; -1 where the record format has none. */
  readonly timestamp: number
  readonly timestampType: TimestampType
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly RecordHeader[]
}

export interface EncodeBatchOptions {
  /** `none` if left out. */
  readonly compression?: CompressionType
  readonly compressionLevel?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly isTransactional?: boolean
}

/** Makes one batch of format 2, as producers send it. Throws InvalidArgumentError. */
export async function encodeBatch(
  records: readonly RecordInput[],
  options: EncodeBatchOptions = {},
): Promise<Buffer> {
  const { compression = 'none', compressionLevel, ...producer } = options
  const codec = codecOf(compression)
  const compress = await loadCompress(codec, compressionLevel)
  const crc32c = await loadCrc32c()
  return writeRecordBatch(records, {
    ...producer,
    crc32c,
    ...(compress === null ? {} : { compression: { codec, compress } }),
  })
}

export interface DecodeRecordsOptions {
  readonly topic: string
  readonly partition: number
  /** Records before it are left out, as a fetch begins with a whole batch; 0 if left out. */
  readonly fetchOffset?: number
  /** Checksums are compared unless this is false. */
  readonly checkCrcs?: boolean
}

/** A batch of format 2 or a message of format 0 or 1. */
type Batch = RecordBatchView | LegacyMessageView

/** Whole batches, one after the other; a last one that is cut off ends them. */
function* batchesOf(bytes: Buffer): Generator<Batch, void, undefined> {
  let position = 0
  // Magic and what is before it must be there, to tell what it is.
  while (bytes.length - position >= LOG_OVERHEAD_BYTES + 5) {
    const size = LOG_OVERHEAD_BYTES + bytes.readInt32BE(position + 8)
    if (size <= LOG_OVERHEAD_BYTES) {
      throw new MalformedMessageError(`a batch of ${size} bytes at ${position}`)
    }
    const end = position + size
    if (end > bytes.length) return
    yield magicAt(bytes, position) === 2
      ? new RecordBatchView(bytes, position, end)
      : new LegacyMessageView(bytes, position, end)
    position = end
  }
}

/**
 * The records of a fetch answer, of every format and codec. Control batches are left out, and what
 * is cut off at the end. Keys and values are views of `bytes` where nothing was compressed. Throws
 * ProtocolError for bytes that are no records.
 */
export async function decodeRecords(
  bytes: Buffer,
  options: DecodeRecordsOptions,
): Promise<ConsumerRecord[]> {
  try {
    const batches = [...batchesOf(bytes)]
    const decompress = await loadDecompress(new Set(batches.map(({ codec }) => codec)))
    const crc32c = options.checkCrcs === false ? null : await loadCrc32c()
    const from = options.fetchOffset ?? 0
    const records: ConsumerRecord[] = []
    for (const batch of batches) {
      const checksum = batch instanceof RecordBatchView ? crc32c : crc32c && legacyCrc32
      if (checksum !== null && !batch.isIntact(checksum)) {
        throw new MalformedMessageError(`a wrong checksum at ${batch.position}`)
      }
      const found =
        batch instanceof RecordBatchView
          ? recordsOfBatch(batch, decompress, options)
          : recordsOfMessage(batch, decompress, options)
      for (const record of found) if (record.offset >= from) records.push(record)
    }
    return records
  } catch (error) {
    if (!(error instanceof MalformedMessageError)) throw error
    const where = `${options.topic}-${options.partition}`
    throw new ProtocolError(`the records of ${where} cannot be read: ${error.message}`, error)
  }
}

function* recordsOfBatch(
  batch: RecordBatchView,
  decompress: Decompress,
  { topic, partition }: DecodeRecordsOptions,
): Generator<ConsumerRecord, void, undefined> {
  if (batch.isControl) return
  const leaderEpoch = batch.partitionLeaderEpoch
  const timestampType = batch.hasLogAppendTime ? 'LogAppendTime' : 'CreateTime'
  const body = batch.codec === 0 ? null : decompress(batch.codec, batch.body, 2)
  for (const { offset, timestamp, key, value, headers } of batch.records(body)) {
    yield { topic, partition, offset, leaderEpoch, timestamp, timestampType, key, value, headers }
  }
}

function* recordsOfMessage(
  outer: LegacyMessageView,
  decompress: Decompress,
  { topic, partition }: DecodeRecordsOptions,
): Generator<ConsumerRecord, void, undefined> {
  let timestampType: TimestampType = 'NoTimestampType'
  if (outer.magic === 1) timestampType = outer.hasLogAppendTime ? 'LogAppendTime' : 'CreateTime'
  const common = { topic, partition, leaderEpoch: -1, timestampType, headers: [] }
  if (outer.codec === 0) {
    const { offset, timestamp, key, value } = outer
    yield { ...common, offset, timestamp, key, value }
    return
  }
  if (outer.value === null) throw new MalformedMessageError('a wrapper without a value')
  const set = decompress(outer.codec, outer.value, outer.magic)
  for (const { offset, timestamp, message } of innerMessages(outer, set)) {
    yield { ...common, offset, timestamp, key: message.key, value: message.value }
  }
}
