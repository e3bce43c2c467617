/** Batches and messages of all formats in one shape, with the records inside. */
import { crc32 } from 'node:zlib'
import { decompress } from '../../compression/codec.ts'
import { addon } from '../../native/addon.ts'
import { innerMessages, LegacyMessageView } from '../../protocol/legacy-message-set.ts'
import { RecordBatchView, type RecordHeader } from '../../protocol/record-batch.ts'
import type { RawBatch } from './segment-file.ts'

/** The most that the records of a batch may come to when they are decompressed. */
const OUTPUT_BYTES_MAX = 512 * 1024 * 1024
const SEQUENCES = 2 ** 31
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

export interface DumpedRecord {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Of format 2. */
  readonly sequence: number
  readonly headers: readonly RecordHeader[]
  /** Of formats 0 and 1. */
  readonly legacy: LegacyMessageView | null
}

export interface DumpedBatch extends RawBatch {
  readonly lastOffset: number
  readonly maxTimestamp: number
  readonly timestampType: 'CreateTime' | 'LogAppendTime' | 'NoTimestampType'
  readonly codec: string
  readonly crc: number
  readonly isIntact: boolean
  readonly isControl: boolean
  /** Null for formats 0 and 1. */
  readonly view: RecordBatchView | null
  /** Throws CorruptDataError, DecompressionLimitError or MalformedMessageError. */
  records(): Iterable<DumpedRecord>
}

/** A sequence number `by` later: they start again behind 2^31-1. */
export function sequenceAfter(sequence: number, by: number): number {
  return sequence === -1 ? -1 : (((sequence + by) % SEQUENCES) + SEQUENCES) % SEQUENCES
}

function codecName(id: number): string {
  return CODECS[id] ?? `unknown(${id})`
}

function* recordsOf(view: RecordBatchView): Generator<DumpedRecord, void, undefined> {
  const options = { outputBytesMax: OUTPUT_BYTES_MAX, magic: 2 }
  const body = view.codec === 0 ? null : decompress(view.codec, view.body, options)
  const { baseOffset, baseSequence } = view
  for (const record of view.records(body)) {
    const sequence = sequenceAfter(baseSequence, record.offset - baseOffset)
    yield { ...record, sequence, legacy: null }
  }
}

function legacyRecord(message: LegacyMessageView, offset: number, timestamp: number): DumpedRecord {
  const { key, value } = message
  return { offset, timestamp, key, value, sequence: -1, headers: [], legacy: message }
}

function* messagesOf(message: LegacyMessageView): Generator<DumpedRecord, void, undefined> {
  if (message.codec === 0) {
    yield legacyRecord(message, message.offset, message.timestamp)
    return
  }
  const options = { outputBytesMax: OUTPUT_BYTES_MAX, magic: message.magic }
  const set = decompress(message.codec, message.value ?? Buffer.alloc(0), options)
  for (const inner of innerMessages(message, set)) {
    yield legacyRecord(inner.message, inner.offset, inner.timestamp)
  }
}

/** Reads a batch that lies in `bytes` as a whole. Throws MalformedMessageError. */
export function readDumpedBatch(raw: RawBatch, bytes: Buffer): DumpedBatch {
  if (raw.magic === 2) {
    const view = new RecordBatchView(bytes)
    return {
      ...raw,
      view,
      lastOffset: view.lastOffset,
      maxTimestamp: view.maxTimestamp,
      timestampType: view.hasLogAppendTime ? 'LogAppendTime' : 'CreateTime',
      codec: codecName(view.codec),
      crc: view.crc,
      isIntact: view.isIntact((part, seed) => addon.crc32c(part, seed)),
      isControl: view.isControl,
      records: () => recordsOf(view),
    }
  }
  const message = new LegacyMessageView(bytes)
  const createTime = message.hasLogAppendTime ? 'LogAppendTime' : 'CreateTime'
  return {
    ...raw,
    view: null,
    lastOffset: message.offset,
    maxTimestamp: message.timestamp,
    timestampType: message.magic === 0 ? 'NoTimestampType' : createTime,
    codec: codecName(message.codec),
    crc: message.crc,
    isIntact: message.isIntact(crc32),
    isControl: false,
    records: () => messagesOf(message),
  }
}
