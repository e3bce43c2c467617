/** Records as programs see them, and whole batches of them. Producers build theirs elsewhere. */
import { MalformedMessageError } from '../protocol/message-reader.ts'
import { type RecordHeader, type RecordInput, writeRecordBatch } from '../protocol/record-batch.ts'
import {
  type CompressionType,
  codecOf,
  legacyCrc32,
  loadCompress,
  loadCrc32c,
  loadDecompress,
} from './codecs.ts'
import { ProtocolError } from './errors.ts'
import { type AbortedTransaction, RecordReader, scanRecords } from './record-reader.ts'

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
  /** With `read_committed`, from the fetch answer: their records are left out. */
  readonly abortedTransactions?: readonly AbortedTransaction[] | null
}

export interface DecodedRecords {
  readonly records: ConsumerRecord[]
  /** Behind the last whole batch, also where it holds nothing for a program. */
  readonly nextOffset: number
}

/**
 * The records of a fetch answer, of every format and codec. Control batches are left out, and what
 * is cut off at the end. Keys and values are views of `bytes` where nothing was compressed. Throws
 * ProtocolError for bytes that are no records.
 */
export async function decodeRecords(
  bytes: Buffer,
  options: DecodeRecordsOptions,
): Promise<DecodedRecords> {
  const { topic, partition, fetchOffset = 0, abortedTransactions = null } = options
  try {
    const decompress = await loadDecompress(scanRecords(bytes, fetchOffset).codecs)
    const crc32c = options.checkCrcs === false ? null : await loadCrc32c()
    const crc32 = crc32c && legacyCrc32
    const reader = new RecordReader({
      ...{ topic, partition, bytes, fetchOffset, abortedTransactions, crc32c, crc32, decompress },
    })
    const records: ConsumerRecord[] = []
    for (let record = reader.next(); record !== null; record = reader.next()) records.push(record)
    return { records, nextOffset: reader.nextOffset }
  } catch (error) {
    if (!(error instanceof MalformedMessageError)) throw error
    throw new ProtocolError(`${topic}-${partition} cannot be read: ${error.message}`, error)
  }
}
