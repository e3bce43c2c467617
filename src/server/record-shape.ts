/**
 * What a Produce request of version 3 or later must carry for a partition: one record batch of
 * format 2. Apache Kafka looks at that before it looks who leads.
 */
import { ErrorCode } from '../protocol/error-codes.ts'

const LENGTH_AT = 8
const MAGIC_AT = 16
const ATTRIBUTES_AT = 21
/** Base offset and length. */
const PREFIX_BYTES = 12
/** The shortest of the oldest format. */
const LENGTH_MIN = 14
const FORMAT_2_BYTES_MIN = 61
const COMPRESSION_MASK = 0x07
const ZSTD = 4
const FIRST_WITH_ZSTD = 7

/** Bytes of the batch at the start, 0 when none is whole, −1 when it cannot be one. */
function batchBytes(records: Buffer): number {
  if (records.length < PREFIX_BYTES) return 0
  const length = records.readInt32BE(LENGTH_AT)
  if (length < LENGTH_MIN) return -1
  if (records.length <= MAGIC_AT) return 0
  const magic = records.readInt8(MAGIC_AT)
  if (magic < 0 || magic > 2) return -1
  const bytes = PREFIX_BYTES + length
  return records.length < bytes ? 0 : bytes
}

/** The error code for the records of a partition, NONE if they have the right shape. */
export function shapeError(records: Buffer, version: number): number {
  const bytes = batchBytes(records)
  if (bytes < 0) return ErrorCode.CORRUPT_MESSAGE
  if (bytes === 0 || records.readInt8(MAGIC_AT) !== 2) return ErrorCode.INVALID_RECORD
  if (bytes < FORMAT_2_BYTES_MIN) return ErrorCode.CORRUPT_MESSAGE
  const compression = records.readInt16BE(ATTRIBUTES_AT) & COMPRESSION_MASK
  if (compression === ZSTD && version < FIRST_WITH_ZSTD) {
    return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
  }
  const next = batchBytes(records.subarray(bytes))
  if (next === 0) return ErrorCode.NONE
  return next < 0 ? ErrorCode.CORRUPT_MESSAGE : ErrorCode.INVALID_RECORD
}
