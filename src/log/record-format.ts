/**
 * Record formats 0, 1 and 2 as the slow lane sees them: the header of a batch, and builders of
 * batches and of message sets, which take one record after the other from where a cursor has it and
 * keep nothing but the bytes to be written. The append path of plain format 2 does not come here.
 */
import { crc32 } from 'node:zlib'
import { Codec, compress, decompress } from '../compression/codec.ts'
import { CorruptDataError, DecompressionLimitError } from '../compression/errors.ts'
import { addon } from '../native/addon.ts'

export const BATCH_HEADER_BYTES = 61
/** Offset and size: what stands before a message or batch and is not counted in its size. */
export const PREFIX_BYTES = 12
export const CODEC_MASK = 7
export const LOG_APPEND_TIME_BIT = 8
export const TRANSACTIONAL_BIT = 16
export const CONTROL_BIT = 32
/** The base timestamp is when tombstones, or the marker of a transaction, may go (KIP-534). */
export const DELETE_HORIZON_BIT = 64
/** Bytes of a message of format 0 and 1 behind the prefix when key and value are null. */
export const MESSAGE_BYTES_MIN = [14, 22] as const

const CRC_FROM = 21
const FIRST_CAPACITY = 4096
const EMPTY = Buffer.alloc(0)
const INT64_HIGH = 2 ** 32

/**
 * The structure of records contradicts itself, though each byte may have arrived as it was sent:
 * sending them again does not help.
 */
export class InvalidRecordError extends CorruptDataError {}

/** Keeps within ±(2^53−1), so that sums and differences of timestamps stay in 64 bits. */
export function saturate(value: number): number {
  return Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value))
}

/** Reads an int64, saturated at ±(2^53−1). */
export function readInt64(bytes: Buffer, at: number): number {
  return saturate(bytes.readInt32BE(at) * INT64_HIGH + bytes.readUInt32BE(at + 4))
}

export function writeInt64(bytes: Buffer, value: number, at: number): void {
  const high = Math.floor(value / INT64_HIGH)
  bytes.writeInt32BE(high, at)
  bytes.writeUInt32BE(value - high * INT64_HIGH, at + 4)
}

/** The header of a batch of format 2. */
export interface BatchHeader {
  readonly baseOffset: number
  /** Of the whole batch. */
  readonly size: number
  readonly magic: number
  readonly codec: number
  readonly isLogAppendTime: boolean
  readonly isControl: boolean
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly recordCount: number
}

/**
 * Reads the header at the start of `bytes`, which must hold it; `size` may be more than is there.
 * Throws InvalidRecordError for a size that no batch has.
 */
export function readBatch(bytes: Buffer): BatchHeader {
  const attributes = bytes.readInt16BE(21)
  const size = bytes.readInt32BE(8) + PREFIX_BYTES
  if (size < BATCH_HEADER_BYTES) throw new InvalidRecordError(`a batch of ${size} bytes`)
  return {
    baseOffset: readInt64(bytes, 0),
    size,
    magic: bytes.readInt8(16),
    codec: attributes & CODEC_MASK,
    isLogAppendTime: (attributes & LOG_APPEND_TIME_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    baseTimestamp: readInt64(bytes, 27),
    maxTimestamp: readInt64(bytes, 35),
    recordCount: bytes.readInt32BE(57),
  }
}

// --- Building

/** Where a record is; null keys and values have -1 bytes. The cursors are such places. */
export interface RecordPlace {
  readonly bytes: Buffer
  readonly keyAt: number
  readonly keyBytes: number
  readonly valueAt: number
  readonly valueBytes: number
}

/** Bytes that grow up to a limit. */
class ByteWriter {
  bytes = Buffer.allocUnsafe(FIRST_CAPACITY)
  at = 0
  readonly #bytesMax: number

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Takes `count` bytes and returns where they are. Throws DecompressionLimitError. */
  room(count: number): number {
    const from = this.at
    this.at += count
    if (this.at > this.#bytesMax) {
      throw new DecompressionLimitError(`more than ${this.#bytesMax} bytes when converted`)
    }
    if (this.at > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.at, this.bytes.length * 2))
      this.bytes.copy(larger, 0, 0, from)
      this.bytes = larger
    }
    return from
  }

  /** A zigzag varint, exact for all of ±2^53: doubled, such a number has no place in a double. */
  varint(value: number): void {
    const sign = value < 0 ? 1 : 0
    const size = sign === 0 ? value : -(value + 1)
    const count = varintBytes(value)
    const from = this.room(count)
    this.bytes[from] = ((size % 64) << 1) | sign | (count > 1 ? 0x80 : 0)
    let rest = Math.floor(size / 64)
    for (let at = from + 1; at < this.at; at += 1) {
      this.bytes[at] = at + 1 < this.at ? (rest % 128) | 0x80 : rest
      rest = Math.floor(rest / 128)
    }
  }

  /** A field with a varint before it. */
  field(source: Buffer, at: number, count: number): void {
    this.varint(count)
    this.#copy(source, at, count)
  }

  /** A field with an int32 before it. */
  int32Field(source: Buffer, at: number, count: number): void {
    const from = this.room(4)
    this.bytes.writeInt32BE(count, from)
    this.#copy(source, at, count)
  }

  #copy(source: Buffer, at: number, count: number): void {
    if (count <= 0) return
    const from = this.room(count)
    source.copy(this.bytes, from, at, at + count)
  }

  get written(): Buffer {
    return this.bytes.subarray(0, this.at)
  }
}

function varintBytes(value: number): number {
  let count = 1
  let rest = Math.floor((value < 0 ? -(value + 1) : value) / 64)
  for (; rest > 0; rest = Math.floor(rest / 128)) count += 1
  return count
}

function fieldBytes(count: number): number {
  return varintBytes(count) + Math.max(count, 0)
}

/** How what is built gets compressed; `level` is the codec's own default if left out. */
export interface BuildCompression {
  readonly codec: number
  readonly level?: number | undefined
}

/** A batch of format 2 at base offset 0, of records without headers and without a producer. */
export class RecordBatchBuilder {
  #count = 0
  #baseTimestamp = -1
  #maxTimestamp = -1
  readonly #writer: ByteWriter

  /** `bytesMax`: of the records before they are compressed. */
  constructor(bytesMax: number) {
    this.#writer = new ByteWriter(bytesMax)
  }

  get recordCount(): number {
    return this.#count
  }

  /** Throws DecompressionLimitError when there are too many bytes. */
  append(record: RecordPlace, timestamp: number): void {
    if (this.#count === 0) this.#baseTimestamp = timestamp
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
    const timestampDelta = timestamp - this.#baseTimestamp
    const { bytes, keyAt, keyBytes, valueAt, valueBytes } = record
    const writer = this.#writer
    writer.varint(
      // Attributes and the number of headers take a byte each.
      2 +
        varintBytes(timestampDelta) +
        varintBytes(this.#count) +
        fieldBytes(keyBytes) +
        fieldBytes(valueBytes),
    )
    writer.varint(0)
    writer.varint(timestampDelta)
    writer.varint(this.#count)
    writer.field(bytes, keyAt, keyBytes)
    writer.field(bytes, valueAt, valueBytes)
    writer.varint(0)
    this.#count += 1
  }

  build(compression: BuildCompression): Buffer {
    const header = Buffer.alloc(BATCH_HEADER_BYTES)
    header.writeInt32BE(-1, 12)
    header[16] = 2
    header.writeInt32BE(this.#count - 1, 23)
    writeInt64(header, this.#baseTimestamp, 27)
    writeInt64(header, this.#maxTimestamp, 35)
    writeInt64(header, -1, 43)
    header.writeInt16BE(-1, 51)
    header.writeInt32BE(-1, 53)
    header.writeInt32BE(this.#count, 57)
    return sealBatch(header, this.#writer.written, compression)
  }
}

/** A record at hand. */
export interface RecordValue {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

function placeOf({ key, value }: RecordValue): RecordPlace {
  return {
    bytes: Buffer.concat([key ?? EMPTY, value ?? EMPTY]),
    keyAt: 0,
    keyBytes: key?.length ?? -1,
    valueAt: key?.length ?? 0,
    valueBytes: value?.length ?? -1,
  }
}

/** Makes a batch of format 2, at base offset 0, of records without headers. */
export function buildBatch(records: readonly RecordValue[], codec: number): Buffer {
  const builder = new RecordBatchBuilder(Number.MAX_SAFE_INTEGER)
  for (const record of records) builder.append(placeOf(record), record.timestamp)
  return builder.build({ codec })
}

/** Makes a message set of format 0 or 1, as one wrapper if `codec` compresses. */
export function buildMessageSet(
  records: readonly (RecordValue & { readonly offset: number })[],
  { magic, codec }: { readonly magic: 0 | 1; readonly codec: number },
): Buffer {
  const builder = new MessageSetBuilder({
    magic,
    compression: { codec },
    isLogAppendTime: false,
    bytesMax: Number.MAX_SAFE_INTEGER,
  })
  for (const record of records) builder.append(placeOf(record), record.offset, record.timestamp)
  return builder.build()
}

/** The same batch in another codec. Throws CorruptDataError and DecompressionLimitError. */
export function recompressBatch(
  header: BatchHeader,
  batch: Buffer,
  compression: BuildCompression,
  outputBytesMax: number,
): Buffer {
  const body = decompress(header.codec, batch.subarray(BATCH_HEADER_BYTES, header.size), {
    outputBytesMax,
    magic: 2,
  })
  return sealBatch(Buffer.from(batch.subarray(0, BATCH_HEADER_BYTES)), body, compression)
}

/** An uncompressed batch of format 2 with its records in a codec. */
export function compressBatch(batch: Buffer, codec: number): Buffer {
  const header = batch.subarray(0, BATCH_HEADER_BYTES)
  return sealBatch(header, batch.subarray(BATCH_HEADER_BYTES), { codec })
}

/** What a batch of format 2 looks like when all of its records are gone and its offsets are not. */
export function emptyBatch(batch: Buffer): Buffer {
  const empty = Buffer.from(batch.subarray(0, BATCH_HEADER_BYTES))
  empty.writeInt32BE(BATCH_HEADER_BYTES - PREFIX_BYTES, 8)
  empty.writeInt16BE(batch.readInt16BE(21) & ~(CODEC_MASK | DELETE_HORIZON_BIT), 21)
  writeInt64(empty, -1, 27)
  empty.writeInt32BE(0, 57)
  return renewCrc(empty)
}

/** A copy of a batch as one of create time, with the max timestamp that its records have. */
export function withCreateTime(batch: Buffer, maxTimestamp: number): Buffer {
  const copy = Buffer.from(batch)
  copy.writeInt16BE(copy.readInt16BE(21) & ~LOG_APPEND_TIME_BIT, 21)
  writeInt64(copy, maxTimestamp, 35)
  return renewCrc(copy)
}

/** Puts header and records together: codec bits, length, checksum. */
function sealBatch(header: Buffer, records: Buffer, { codec, level }: BuildCompression): Buffer {
  const batch = Buffer.concat([header, compress(codec, records, { magic: 2, level })])
  batch.writeInt32BE(batch.length - PREFIX_BYTES, 8)
  batch.writeInt16BE((header.readInt16BE(21) & ~CODEC_MASK) | codec, 21)
  return renewCrc(batch)
}

function renewCrc(batch: Buffer): Buffer {
  batch.writeUInt32BE(addon.crc32c(batch.subarray(CRC_FROM), 0), 17)
  return batch
}

export interface MessageSetOptions {
  readonly magic: 0 | 1
  /** Compresses into one wrapper; not zstd, which these formats do not have. */
  readonly compression: BuildCompression
  readonly isLogAppendTime: boolean
  /** Of the messages before they are compressed. */
  readonly bytesMax: number
}

/** A message set of format 0 or 1. */
export class MessageSetBuilder {
  #count = 0
  #firstOffset = 0
  #lastOffset = 0
  #maxTimestamp = -1
  readonly #options: MessageSetOptions
  readonly #timeBit: number
  readonly #relative: boolean
  readonly #writer: ByteWriter

  constructor(options: MessageSetOptions) {
    this.#options = options
    this.#timeBit = options.magic === 1 && options.isLogAppendTime ? LOG_APPEND_TIME_BIT : 0
    // Inside a wrapper format 1 counts from the first message, format 0 is absolute.
    this.#relative = options.magic === 1 && options.compression.codec !== Codec.NONE
    this.#writer = new ByteWriter(options.bytesMax)
  }

  /** Throws DecompressionLimitError when there are too many bytes. */
  append(record: RecordPlace, offset: number, timestamp: number): void {
    if (this.#count === 0) this.#firstOffset = offset
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
    this.#lastOffset = offset
    this.#count += 1
    const written = this.#relative ? offset - this.#firstOffset : offset
    this.#write(this.#writer, record, { offset: written, timestamp, attributes: this.#timeBit })
  }

  /** Empty when nothing was appended. */
  build(): Buffer {
    const { codec, level } = this.#options.compression
    const messages = this.#writer.written
    if (codec === Codec.NONE || this.#count === 0) return messages
    const value = compress(codec, messages, { magic: this.#options.magic, level })
    const place = { bytes: value, keyAt: 0, keyBytes: -1, valueAt: 0, valueBytes: value.length }
    const wrapper = new ByteWriter(Number.MAX_SAFE_INTEGER)
    this.#write(wrapper, place, {
      offset: this.#lastOffset,
      timestamp: this.#maxTimestamp,
      attributes: this.#timeBit | codec,
    })
    return wrapper.written
  }

  #write(
    writer: ByteWriter,
    record: RecordPlace,
    { offset, timestamp, attributes }: Record<'offset' | 'timestamp' | 'attributes', number>,
  ): void {
    const { magic } = this.#options
    const start = writer.room(PREFIX_BYTES + 6)
    writeInt64(writer.bytes, offset, start)
    writer.bytes[start + 16] = magic
    writer.bytes[start + 17] = attributes
    if (magic === 1) {
      const at = writer.room(8)
      writeInt64(writer.bytes, timestamp, at)
    }
    writer.int32Field(record.bytes, record.keyAt, record.keyBytes)
    writer.int32Field(record.bytes, record.valueAt, record.valueBytes)
    writer.bytes.writeInt32BE(writer.at - start - PREFIX_BYTES, start + 8)
    writer.bytes.writeUInt32BE(crc32(writer.bytes.subarray(start + 16, writer.at)), start + 12)
  }
}
