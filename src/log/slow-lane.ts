/**
 * Records that the append path does not take as they are: compressed ones, which must be looked
 * into, and formats 0 and 1, which are stored as format 2. Also the way back, for old consumers.
 * Pure functions on bytes, run on the shard's thread. Record bytes that are only looked at are never
 * all in memory: see RecordCursor.
 */
import { Codec } from '../compression/codec.ts'
import { CorruptDataError, DecompressionLimitError } from '../compression/errors.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import { MessageCursor, RecordCursor, timestampOf } from './record-cursor.ts'
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  InvalidRecordError,
  MessageSetBuilder,
  RecordBatchBuilder,
  readBatch,
  recompressBatch,
  saturate,
  withCreateTime,
} from './record-format.ts'

const FIRST_BATCH_VERSION = 3
const FIRST_ZSTD_VERSION = 7
/** More bad records than this are not told apart: an answer must not outgrow its request. */
const RECORD_ERRORS_MAX = 1000

export interface SlowLaneRules {
  /** Of the Produce request. */
  readonly apiVersion: number
  /** Codec to store with; -1: as the producer sent it. */
  readonly compression: number
  /** Of the codec to store with; its default if left out. */
  readonly compressionLevel?: number
  readonly logAppendTime: boolean
  readonly nowMs: number
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly compacted: boolean
  readonly decompressionMaxBytes: number
}

export interface RecordError {
  readonly recordIndex: number
  readonly message: string
}

export interface Rejection {
  readonly kind: 'reject'
  readonly errorCode: number
  /** The first record that is refused; -1: all of them together. */
  readonly recordIndex: number
  readonly message: string
  /** The records that are refused, at most a thousand of them. */
  readonly recordErrors: readonly RecordError[]
}

export type SlowLaneOutcome =
  /** Store the bytes as they are. */
  | { readonly kind: 'accept' }
  /** Store these instead: one batch of format 2 at base offset 0. */
  | { readonly kind: 'replace'; readonly bytes: Buffer }
  | Rejection

function rejection(errorCode: number, message: string): Rejection {
  return { kind: 'reject', errorCode, recordIndex: -1, message, recordErrors: [] }
}

/**
 * Looks into a slice: accepts it, makes a batch of format 2 of it, or refuses it. Of format 2 it is
 * one batch whose header, length and CRC were checked before.
 */
export function validateAndConvert(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  try {
    return bytes.readUInt8(16) < 2 ? convertUp(bytes, rules) : checkBatch(bytes, rules)
  } catch (error) {
    // Before the class that it extends.
    if (error instanceof InvalidRecordError) {
      return rejection(ErrorCode.INVALID_RECORD, error.message)
    }
    if (error instanceof CorruptDataError) {
      return rejection(ErrorCode.CORRUPT_MESSAGE, error.message)
    }
    if (error instanceof DecompressionLimitError) {
      return rejection(ErrorCode.MESSAGE_TOO_LARGE, error.message)
    }
    throw error
  }
}

/** What is asked of each record, and which records did not stand up to it. */
class RecordCheck {
  #timestampRefused = false
  readonly #errors: RecordError[] = []
  readonly #rules: SlowLaneRules

  constructor(rules: SlowLaneRules) {
    this.#rules = rules
  }

  check(recordIndex: number, keyBytes: number, timestamp: number, isLogAppendTime: boolean): void {
    const { compacted, logAppendTime, nowMs, timestampBeforeMaxMs, timestampAfterMaxMs } =
      this.#rules
    if (compacted && keyBytes < 0) {
      this.#refuse(recordIndex, 'a compacted topic takes no record without a key')
    } else if (logAppendTime || timestamp === -1) {
      if (!isLogAppendTime) return
      this.#timestampRefused = true
      this.#refuse(recordIndex, 'log-append time is not for producers to set')
    } else if (
      saturate(nowMs - timestamp) > timestampBeforeMaxMs ||
      saturate(timestamp - nowMs) > timestampAfterMaxMs
    ) {
      this.#timestampRefused = true
      this.#refuse(recordIndex, `timestamp ${timestamp} is out of range at ${nowMs}`)
    }
  }

  #refuse(recordIndex: number, message: string): void {
    if (this.#errors.length < RECORD_ERRORS_MAX) this.#errors.push({ recordIndex, message })
  }

  /** null when all records are good. */
  get rejection(): Rejection | null {
    const first = this.#errors[0]
    if (first === undefined) return null
    return {
      kind: 'reject',
      errorCode: this.#timestampRefused ? ErrorCode.INVALID_TIMESTAMP : ErrorCode.INVALID_RECORD,
      recordIndex: first.recordIndex,
      message: `record ${first.recordIndex}: ${first.message}`,
      recordErrors: this.#errors,
    }
  }
}

function checkBatch(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  const header = readBatch(bytes)
  if (header.codec === Codec.ZSTD && rules.apiVersion < FIRST_ZSTD_VERSION) {
    return rejection(
      ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
      `zstd needs Produce ${FIRST_ZSTD_VERSION} or later`,
    )
  }
  const check = new RecordCheck(rules)
  const maxTimestamp = checkRecords(header, bytes, check, rules.decompressionMaxBytes)
  if (check.rejection !== null) return check.rejection
  const right =
    rules.logAppendTime || (maxTimestamp === header.maxTimestamp && !header.isLogAppendTime)
  const sound = right ? bytes : withCreateTime(bytes, maxTimestamp)
  if (rules.compression >= 0 && rules.compression !== header.codec) {
    const compression = { codec: rules.compression, level: rules.compressionLevel }
    return {
      kind: 'replace',
      bytes: recompressBatch(header, sound, compression, rules.decompressionMaxBytes),
    }
  }
  return right ? { kind: 'accept' } : { kind: 'replace', bytes: sound }
}

/** Returns the largest timestamp. */
function checkRecords(
  header: BatchHeader,
  bytes: Buffer,
  check: RecordCheck,
  outputBytesMax: number,
): number {
  const cursor = new RecordCursor(header, bytes, outputBytesMax)
  try {
    let maxTimestamp = -1
    for (let index = 0; cursor.next(); index += 1) {
      if (cursor.offsetDelta !== index) {
        throw new InvalidRecordError(`offset delta ${cursor.offsetDelta} in record ${index}`)
      }
      const timestamp = timestampOf(header, cursor)
      if (timestamp > maxTimestamp) maxTimestamp = timestamp
      check.check(index, cursor.keyBytes, timestamp, header.isLogAppendTime)
    }
    return maxTimestamp
  } finally {
    cursor.close()
  }
}

/** A message set of format 0 or 1 becomes one batch of format 2. */
function convertUp(bytes: Buffer, rules: SlowLaneRules): SlowLaneOutcome {
  if (rules.apiVersion >= FIRST_BATCH_VERSION) {
    return rejection(
      ErrorCode.INVALID_RECORD,
      `Produce ${FIRST_BATCH_VERSION} and later take only record batches of format 2`,
    )
  }
  const magic = bytes.readInt8(16)
  const check = new RecordCheck(rules)
  const builder = new RecordBatchBuilder(rules.decompressionMaxBytes)
  let codec: number = Codec.NONE
  let left = rules.decompressionMaxBytes
  const add = (message: MessageCursor, from: { timestamp: number; isLogAppendTime: boolean }) => {
    const { timestamp, isLogAppendTime } = from
    check.check(builder.recordCount, message.keyBytes, timestamp, isLogAppendTime)
    builder.append(message, timestamp)
  }
  // The set itself is one window: what its cursor stands on stays where it is.
  const outer = new MessageCursor([bytes])
  // Each outer message stands for itself, as a batch does: the first one with a fault decides.
  while (check.rejection === null && outer.next()) {
    if (outer.magic !== magic) {
      throw new InvalidRecordError(`a message of format ${outer.magic} behind one of ${magic}`)
    }
    if (outer.codec === Codec.NONE) {
      add(outer, outer)
      continue
    }
    codec = outer.codec
    const inner = outer.inner(left)
    try {
      const before = builder.recordCount
      while (inner.next()) {
        if (inner.codec !== Codec.NONE) throw new InvalidRecordError('a wrapper inside a wrapper')
        if (inner.magic !== magic) {
          throw new InvalidRecordError(`a message of format ${inner.magic} inside one of ${magic}`)
        }
        add(inner, outer.isLogAppendTime ? outer : inner)
      }
      if (builder.recordCount === before) throw new InvalidRecordError('an empty wrapper')
      left -= inner.total
    } finally {
      inner.close()
    }
  }
  if (check.rejection !== null) return check.rejection
  if (builder.recordCount === 0) throw new InvalidRecordError('an empty message set')
  const asked = rules.compression >= 0
  return {
    kind: 'replace',
    bytes: builder.build({
      codec: asked ? rules.compression : codec,
      level: asked ? rules.compressionLevel : undefined,
    }),
  }
}

/**
 * The first record of a batch that is as late as `timestamp`, with its offset; null when there is
 * none. Throws InvalidRecordError, CorruptDataError and DecompressionLimitError.
 */
export function findOffsetByTimestamp(
  bytes: Buffer,
  timestamp: number,
  decompressionMaxBytes: number,
): { offset: number; timestamp: number } | null {
  const header = readBatch(bytes)
  const cursor = new RecordCursor(header, bytes, decompressionMaxBytes)
  try {
    while (cursor.next()) {
      const found = timestampOf(header, cursor)
      if (found >= timestamp) {
        return { offset: header.baseOffset + cursor.offsetDelta, timestamp: found }
      }
    }
    return null
  } finally {
    cursor.close()
  }
}

export interface DownConversion {
  readonly magic: 0 | 1
  readonly fetchOffset: number
  readonly decompressionMaxBytes: number
}

/**
 * Batches of format 2 (the last one may be cut) as messages of an older format: without headers,
 * control batches and records below the fetch offset. null when the first batch is in zstd, which
 * the old formats do not know; a later one ends the answer. What is returned is no longer than
 * `bytes`, unless the first batch alone is. Throws InvalidRecordError, CorruptDataError and
 * DecompressionLimitError.
 */
export function convertDown(bytes: Buffer, options: DownConversion): Buffer | null {
  const parts: Buffer[] = []
  let total = 0
  let at = 0
  while (bytes.length - at >= BATCH_HEADER_BYTES) {
    const header = readBatch(bytes.subarray(at))
    if (header.magic !== 2) throw new InvalidRecordError(`a batch of format ${header.magic}`)
    const end = at + header.size
    if (end > bytes.length) break
    if (!header.isControl) {
      if (header.codec === Codec.ZSTD) {
        if (total === 0) return null
        break
      }
      const part = convertBatchDown(header, bytes.subarray(at, end), options)
      if (total > 0 && total + part.length > bytes.length) break
      parts.push(part)
      total += part.length
    }
    at = end
  }
  return Buffer.concat(parts)
}

function convertBatchDown(header: BatchHeader, batch: Buffer, options: DownConversion): Buffer {
  const builder = new MessageSetBuilder({
    magic: options.magic,
    compression: { codec: header.codec },
    isLogAppendTime: header.isLogAppendTime,
    bytesMax: options.decompressionMaxBytes,
  })
  const cursor = new RecordCursor(header, batch, options.decompressionMaxBytes)
  try {
    while (cursor.next()) {
      const offset = header.baseOffset + cursor.offsetDelta
      if (offset < options.fetchOffset) continue
      builder.append(cursor, offset, timestampOf(header, cursor))
    }
  } finally {
    cursor.close()
  }
  return builder.build()
}
