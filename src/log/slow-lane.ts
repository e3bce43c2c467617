/**
 * Records that the append path does not take as they are: compressed ones, which must be looked
 * into, and formats 0 and 1, which are stored as format 2. Also the way back, for old consumers.
 * Pure functions on bytes, run on the shard's thread.
 */
import { Codec } from '../compression/codec.ts'
import { CorruptDataError, DecompressionLimitError } from '../compression/errors.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import {
  BATCH_HEADER_BYTES,
  type Batch,
  buildBatch,
  buildLegacy,
  type LegacyMessage,
  type LegacyRecord,
  legacyMessagesOf,
  openWrapper,
  readBatch,
  recompressBatch,
  recordsOf,
  type RecordValue,
  withMaxTimestamp,
} from './record-format.ts'

const FIRST_BATCH_VERSION = 3
const FIRST_ZSTD_VERSION = 7

export interface SlowLaneRules {
  /** Of the Produce request. */
  readonly apiVersion: number
  /** Codec to store with; -1: as the producer sent it. */
  readonly compression: number
  readonly logAppendTime: boolean
  readonly nowMs: number
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly compacted: boolean
  readonly decompressionMaxBytes: number
}

export type SlowLaneOutcome =
  | { readonly kind: 'accept' }
  | { readonly kind: 'replace'; readonly bytes: Buffer }
  | { readonly kind: 'reject'; readonly errorCode: number; readonly recordIndex: number }

class Refused extends Error {
  readonly errorCode: number
  readonly recordIndex: number

  constructor(errorCode: number, recordIndex = -1) {
    super()
    this.errorCode = errorCode
    this.recordIndex = recordIndex
  }
}

/** Looks into a slice: accepts it, makes a batch of format 2 of it, or refuses it. */
export function validateAndConvert(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  try {
    return (bytes[16] as number) < 2 ? convertLegacy(bytes, rules) : checkBatch(bytes, rules)
  } catch (error) {
    if (error instanceof Refused) {
      return { kind: 'reject', errorCode: error.errorCode, recordIndex: error.recordIndex }
    }
    if (error instanceof CorruptDataError) {
      return { kind: 'reject', errorCode: ErrorCode.CORRUPT_MESSAGE, recordIndex: -1 }
    }
    if (error instanceof DecompressionLimitError) {
      return { kind: 'reject', errorCode: ErrorCode.MESSAGE_TOO_LARGE, recordIndex: -1 }
    }
    throw error
  }
}

function checkTimestamp(timestamp: number, index: number, rules: SlowLaneRules): void {
  if (rules.logAppendTime || timestamp === -1) return
  if (
    rules.nowMs - timestamp > rules.timestampBeforeMaxMs ||
    timestamp - rules.nowMs > rules.timestampAfterMaxMs
  ) {
    throw new Refused(ErrorCode.INVALID_TIMESTAMP, index)
  }
}

function checkBatch(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  const batch = readBatch(bytes)
  if (batch.codec === Codec.ZSTD && rules.apiVersion < FIRST_ZSTD_VERSION) {
    throw new Refused(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
  }
  let index = 0
  let maxTimestamp = -1
  for (const record of recordsOf(batch, bytes, rules.decompressionMaxBytes)) {
    if (record.offsetDelta !== index) throw new Refused(ErrorCode.INVALID_RECORD, index)
    if (rules.compacted && record.key === null) throw new Refused(ErrorCode.INVALID_RECORD, index)
    const timestamp = batch.baseTimestamp + record.timestampDelta
    checkTimestamp(timestamp, index, rules)
    if (timestamp > maxTimestamp) maxTimestamp = timestamp
    index += 1
  }
  const right = rules.logAppendTime || maxTimestamp === batch.maxTimestamp
  const sound = right ? bytes : withMaxTimestamp(bytes, maxTimestamp)
  if (rules.compression >= 0 && rules.compression !== batch.codec) {
    const recompressed = recompressBatch(batch, sound, rules.compression, rules.decompressionMaxBytes)
    return { kind: 'replace', bytes: recompressed }
  }
  return right ? { kind: 'accept' } : { kind: 'replace', bytes: sound }
}

function convertLegacy(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  if (rules.apiVersion >= FIRST_BATCH_VERSION) throw new Refused(ErrorCode.INVALID_RECORD)
  const records: RecordValue[] = []
  let codec: number = Codec.NONE
  let left = rules.decompressionMaxBytes
  const add = (message: LegacyMessage): void => {
    const index = records.length
    if (rules.compacted && message.key === null) throw new Refused(ErrorCode.INVALID_RECORD, index)
    checkTimestamp(message.timestamp, index, rules)
    records.push(message)
  }
  for (const message of legacyMessagesOf(bytes)) {
    if (message.codec === Codec.NONE) {
      add(message)
      continue
    }
    if (message.codec > Codec.LZ4) throw new Refused(ErrorCode.INVALID_RECORD)
    codec = message.codec
    const inner = openWrapper(message, left)
    left -= inner.length
    for (const one of legacyMessagesOf(inner)) {
      // A wrapper inside a wrapper, or another format inside it.
      if (one.codec !== Codec.NONE || one.magic !== message.magic) {
        throw new Refused(ErrorCode.INVALID_RECORD, records.length)
      }
      add(one)
    }
  }
  if (records.length === 0) throw new Refused(ErrorCode.INVALID_RECORD)
  const target = rules.compression >= 0 ? rules.compression : codec
  return { kind: 'replace', bytes: buildBatch(records, target) }
}

/** The first record of a compressed batch that is as late as `timestamp`. */
export function findOffsetByTimestamp(
  bytes: Buffer,
  timestamp: number,
  decompressionMaxBytes: number,
): { offset: number; timestamp: number } | null {
  const batch = readBatch(bytes)
  for (const record of recordsOf(batch, bytes, decompressionMaxBytes)) {
    const found = batch.baseTimestamp + record.timestampDelta
    if (found >= timestamp) {
      return { offset: batch.baseOffset + record.offsetDelta, timestamp: found }
    }
  }
  return null
}

export interface DownConversion {
  readonly magic: 0 | 1
  readonly fetchOffset: number
  readonly decompressionMaxBytes: number
}

/**
 * Batches of format 2 (the last one may be cut) as messages of an older format: without headers,
 * control batches and records below the fetch offset. null when the first batch is in zstd, which
 * the old formats do not know; a later one ends the answer.
 */
export function convertDown(bytes: Buffer, options: DownConversion): Buffer | null {
  const parts: Buffer[] = []
  let at = 0
  while (bytes.length - at >= BATCH_HEADER_BYTES) {
    const batch = readBatch(bytes.subarray(at))
    if (batch.size > bytes.length - at) break
    if (batch.codec === Codec.ZSTD && !batch.isControl) {
      if (parts.length === 0) return null
      break
    }
    if (!batch.isControl) parts.push(convertBatchDown(batch, bytes.subarray(at), options))
    at += batch.size
  }
  return Buffer.concat(parts)
}

function convertBatchDown(batch: Batch, bytes: Buffer, options: DownConversion): Buffer {
  const records: LegacyRecord[] = []
  for (const record of recordsOf(batch, bytes, options.decompressionMaxBytes)) {
    const offset = batch.baseOffset + record.offsetDelta
    if (offset < options.fetchOffset) continue
    records.push({
      offset,
      timestamp: batch.isLogAppendTime
        ? batch.maxTimestamp
        : batch.baseTimestamp + record.timestampDelta,
      // A window's bytes are only good until the next one.
      key: record.key === null ? null : Buffer.from(record.key),
      value: record.value === null ? null : Buffer.from(record.value),
    })
  }
  return buildLegacy(records, {
    magic: options.magic,
    codec: batch.codec,
    isLogAppendTime: batch.isLogAppendTime,
  })
}
