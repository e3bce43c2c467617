/**
 * Records of formats 0, 1 and 2 as values: for the slow lane, which must look inside. The append
 * path of plain format 2 does not come here.
 */
import { crc32 } from 'node:zlib'
import { Codec, compress, decompress, decompressWindows } from '../compression/codec.ts'
import { CorruptDataError } from '../compression/errors.ts'
import { addon } from '../native/addon.ts'

export const BATCH_HEADER_BYTES = 61
const CRC_FROM = 21
const CODEC_MASK = 7
const LOG_APPEND_TIME_BIT = 8
const CONTROL_BIT = 32
const LEGACY_PREFIX_BYTES = 12

export interface RecordValue {
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

/** Header of a batch of format 2 at the start of `bytes`, which must hold it. */
export interface Batch {
  readonly baseOffset: number
  /** Of the whole batch. */
  readonly size: number
  readonly attributes: number
  readonly codec: number
  readonly isLogAppendTime: boolean
  readonly isControl: boolean
  readonly lastOffsetDelta: number
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  readonly recordCount: number
}

function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * 4294967296 + bytes.readUInt32BE(at + 4)
}

function writeInt64(bytes: Buffer, value: number, at: number): void {
  bytes.writeInt32BE(Math.floor(value / 4294967296), at)
  bytes.writeUInt32BE(((value % 4294967296) + 4294967296) % 4294967296, at + 4)
}

export function readBatch(bytes: Buffer): Batch {
  const attributes = bytes.readInt16BE(21)
  return {
    baseOffset: readInt64(bytes, 0),
    size: bytes.readInt32BE(8) + LEGACY_PREFIX_BYTES,
    attributes,
    codec: attributes & CODEC_MASK,
    isLogAppendTime: (attributes & LOG_APPEND_TIME_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    lastOffsetDelta: bytes.readInt32BE(23),
    baseTimestamp: readInt64(bytes, 27),
    maxTimestamp: readInt64(bytes, 35),
    recordCount: bytes.readInt32BE(57),
  }
}

/** The record at `position` of what the batch holds. */
export interface RecordPlace {
  readonly offsetDelta: number
  readonly timestampDelta: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

class Cursor {
  at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** A zigzag varint of at most `groups` groups; null when the bytes end before it does. */
  varint(groups: number): number | null {
    let value = 0
    for (let i = 0; i < groups; i += 1) {
      const byte = this.bytes[this.at + i]
      if (byte === undefined) return null
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) {
        this.at += i + 1
        return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      }
    }
    throw new CorruptDataError('a varint that is too long')
  }
}

function need(value: number | null): number {
  if (value === null) throw new CorruptDataError('a record that is shorter than its fields')
  return value
}

function field(cursor: Cursor, nullable: boolean): Buffer | null {
  const length = need(cursor.varint(5))
  if (length === -1 && nullable) return null
  if (length < 0 || length > cursor.bytes.length - cursor.at) {
    throw new CorruptDataError(`a field of ${length} bytes in a record`)
  }
  cursor.at += length
  return cursor.bytes.subarray(cursor.at - length, cursor.at)
}

function readRecord(bytes: Buffer): RecordPlace {
  const cursor = new Cursor(bytes)
  cursor.at = 1
  const timestampDelta = need(cursor.varint(10))
  const offsetDelta = need(cursor.varint(5))
  const key = field(cursor, true)
  const value = field(cursor, true)
  const headers = need(cursor.varint(5))
  if (headers < 0) throw new CorruptDataError('a negative number of headers')
  for (let i = 0; i < headers; i += 1) {
    field(cursor, false)
    field(cursor, true)
  }
  if (cursor.at !== bytes.length) throw new CorruptDataError('a record that is longer than its fields')
  return { offsetDelta, timestampDelta, key, value }
}

/**
 * Walks the records of a batch of format 2, decompressing window by window: in memory are a window
 * and at most one record that goes over its end. The buffers of a record are valid until the next.
 * Throws CorruptDataError and DecompressionLimitError.
 */
export function* recordsOf(batch: Batch, bytes: Buffer, outputBytesMax: number): Generator<RecordPlace> {
  const body = bytes.subarray(BATCH_HEADER_BYTES, batch.size)
  let left = batch.recordCount
  let rest: Buffer = Buffer.alloc(0)
  for (const window of decompressWindows(batch.codec, body, { outputBytesMax, magic: 2 })) {
    const piece = rest.length === 0 ? window : Buffer.concat([rest, window])
    const cursor = new Cursor(piece)
    let from = 0
    for (; left > 0; left -= 1) {
      cursor.at = from
      const length = cursor.varint(5)
      if (length === null) break
      if (length < 1 || length > outputBytesMax) {
        throw new CorruptDataError(`a record of ${length} bytes`)
      }
      if (length > piece.length - cursor.at) break
      const end = cursor.at + length
      yield readRecord(piece.subarray(cursor.at, end))
      from = end
    }
    if (left === 0 && from < piece.length) {
      throw new CorruptDataError('bytes behind the last record of a batch')
    }
    rest = Buffer.from(piece.subarray(from))
  }
  if (left > 0) throw new CorruptDataError(`${left} records fewer than the batch says`)
}

/** Bytes that grow, with the varints of format 2. */
class RecordWriter {
  bytes: Buffer
  at = 0

  constructor(capacity: number) {
    this.bytes = Buffer.allocUnsafe(capacity)
  }

  room(count: number): number {
    if (this.at + count > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.at + count, this.bytes.length * 2))
      this.bytes.copy(larger, 0, 0, this.at)
      this.bytes = larger
    }
    this.at += count
    return this.at - count
  }

  varint(value: number): void {
    let rest = value >= 0 ? value * 2 : -value * 2 - 1
    while (rest >= 0x80) {
      this.bytes[this.room(1)] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    const at = this.room(1)
    this.bytes[at] = rest
  }

  field(value: Buffer | null): void {
    if (value === null) {
      this.varint(-1)
      return
    }
    this.varint(value.length)
    const at = this.room(value.length)
    value.copy(this.bytes, at)
  }

  int32Field(value: Buffer | null): void {
    const length = this.room(4)
    this.bytes.writeInt32BE(value === null ? -1 : value.length, length)
    if (value === null) return
    const at = this.room(value.length)
    value.copy(this.bytes, at)
  }

  get written(): Buffer {
    return this.bytes.subarray(0, this.at)
  }
}

function varintBytes(value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1
  let count = 1
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) count += 1
  return count
}

function fieldBytes(value: Buffer | null): number {
  return value === null ? 1 : varintBytes(value.length) + value.length
}

/** Makes a batch of format 2, at base offset 0, of records without headers. */
export function buildBatch(records: readonly RecordValue[], codec: number): Buffer {
  const baseTimestamp = records[0]?.timestamp ?? -1
  let maxTimestamp = -1
  const writer = new RecordWriter(4096)
  for (const [i, { timestamp, key, value }] of records.entries()) {
    if (timestamp > maxTimestamp) maxTimestamp = timestamp
    const delta = timestamp - baseTimestamp
    writer.varint(1 + varintBytes(delta) + varintBytes(i) + fieldBytes(key) + fieldBytes(value) + 1)
    writer.bytes[writer.room(1)] = 0
    writer.varint(delta)
    writer.varint(i)
    writer.field(key)
    writer.field(value)
    writer.varint(0)
  }
  const header = Buffer.alloc(BATCH_HEADER_BYTES)
  header.writeInt32BE(-1, 12)
  header[16] = 2
  header.writeInt32BE(records.length - 1, 23)
  writeInt64(header, baseTimestamp, 27)
  writeInt64(header, maxTimestamp, 35)
  writeInt64(header, -1, 43)
  header.writeInt16BE(-1, 51)
  header.writeInt32BE(-1, 53)
  header.writeInt32BE(records.length, 57)
  return sealBatch(header, writer.written, codec)
}

/** The same batch with another codec. Throws CorruptDataError and DecompressionLimitError. */
export function recompressBatch(
  batch: Batch,
  bytes: Buffer,
  codec: number,
  outputBytesMax: number,
): Buffer {
  const body = decompress(batch.codec, bytes.subarray(BATCH_HEADER_BYTES, batch.size), {
    outputBytesMax,
    magic: 2,
  })
  return sealBatch(Buffer.from(bytes.subarray(0, BATCH_HEADER_BYTES)), body, codec)
}

/** Puts header and body together: codec bits, length, checksum. */
function sealBatch(header: Buffer, plainBody: Buffer, codec: number): Buffer {
  const body = compress(codec, plainBody, 2)
  const batch = Buffer.concat([header, body])
  batch.writeInt32BE(batch.length - LEGACY_PREFIX_BYTES, 8)
  batch.writeInt16BE((header.readInt16BE(21) & ~CODEC_MASK) | codec, 21)
  return renewCrc(batch)
}

function renewCrc(batch: Buffer): Buffer {
  batch.writeUInt32BE(addon.crc32c(batch.subarray(CRC_FROM), 0), 17)
  return batch
}

/** A copy of a batch with another max timestamp. */
export function withMaxTimestamp(bytes: Buffer, maxTimestamp: number): Buffer {
  const copy = Buffer.from(bytes)
  writeInt64(copy, maxTimestamp, 35)
  return renewCrc(copy)
}

// --- Formats 0 and 1

export interface LegacyMessage {
  readonly offset: number
  readonly magic: number
  readonly codec: number
  readonly isLogAppendTime: boolean
  /** -1 in format 0. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

/**
 * The messages of a message set, wrappers not opened; a partial last one is an error. Throws
 * CorruptDataError.
 */
export function* legacyMessagesOf(bytes: Buffer): Generator<LegacyMessage> {
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < LEGACY_PREFIX_BYTES + 6) throw new CorruptDataError('a partial message')
    const size = bytes.readInt32BE(at + 8)
    const magic = bytes.readInt8(at + 16)
    if (magic !== 0 && magic !== 1) throw new CorruptDataError(`a message of format ${magic}`)
    if (size < (magic === 0 ? 14 : 22) || size > bytes.length - at - LEGACY_PREFIX_BYTES) {
      throw new CorruptDataError(`a message of ${size} bytes`)
    }
    const end = at + LEGACY_PREFIX_BYTES + size
    if (crc32(bytes.subarray(at + 16, end)) !== bytes.readUInt32BE(at + 12)) {
      throw new CorruptDataError('a message with a wrong CRC')
    }
    const attributes = bytes.readInt8(at + 17)
    let position = at + 18
    let timestamp = -1
    if (magic === 1) {
      timestamp = readInt64(bytes, position)
      position += 8
    }
    const take = (): Buffer | null => {
      if (end - position < 4) throw new CorruptDataError('a message without its fields')
      const length = bytes.readInt32BE(position)
      position += 4
      if (length === -1) return null
      if (length < 0 || length > end - position) throw new CorruptDataError(`a field of ${length} bytes`)
      position += length
      return bytes.subarray(position - length, position)
    }
    const key = take()
    const value = take()
    if (position !== end) throw new CorruptDataError('a message that is longer than its fields')
    yield {
      offset: readInt64(bytes, at),
      magic,
      codec: attributes & CODEC_MASK,
      isLogAppendTime: (attributes & LOG_APPEND_TIME_BIT) !== 0,
      timestamp,
      key,
      value,
    }
    at = end
  }
}

/** The messages inside a wrapper. Throws CorruptDataError and DecompressionLimitError. */
export function openWrapper(wrapper: LegacyMessage, outputBytesMax: number): Buffer {
  if (wrapper.value === null) throw new CorruptDataError('a compressed message without a value')
  return decompress(wrapper.codec, wrapper.value, { outputBytesMax, magic: wrapper.magic })
}

export interface LegacyRecord extends RecordValue {
  readonly offset: number
}

/** Writes a message set of format 0 or 1, as one wrapper if `codec` compresses. */
export function buildLegacy(
  records: readonly LegacyRecord[],
  options: { readonly magic: 0 | 1; readonly codec: number; readonly isLogAppendTime: boolean },
): Buffer {
  const { magic, codec } = options
  const timeBit = magic === 1 && options.isLogAppendTime ? LOG_APPEND_TIME_BIT : 0
  const first = records[0]
  const last = records.at(-1)
  if (first === undefined || last === undefined) return Buffer.alloc(0)
  const writer = new RecordWriter(4096)
  for (const record of records) {
    // Inside a wrapper format 1 counts from the first, format 0 is absolute.
    const offset = codec !== Codec.NONE && magic === 1 ? record.offset - first.offset : record.offset
    writeLegacy(writer, { ...record, offset }, magic, timeBit)
  }
  if (codec === Codec.NONE) return Buffer.from(writer.written)
  const wrapper = new RecordWriter(4096)
  const timestamp = Math.max(...records.map((record) => record.timestamp))
  const value = compress(codec, Buffer.from(writer.written), magic)
  writeLegacy(wrapper, { offset: last.offset, timestamp, key: null, value }, magic, timeBit | codec)
  return Buffer.from(wrapper.written)
}

function writeLegacy(writer: RecordWriter, record: LegacyRecord, magic: 0 | 1, attributes: number): void {
  const start = writer.room(LEGACY_PREFIX_BYTES + 6)
  writeInt64(writer.bytes, record.offset, start)
  writer.bytes[start + 16] = magic
  writer.bytes[start + 17] = attributes
  if (magic === 1) {
    const at = writer.room(8)
    writeInt64(writer.bytes, record.timestamp, at)
  }
  writer.int32Field(record.key)
  writer.int32Field(record.value)
  writer.bytes.writeInt32BE(writer.at - start - LEGACY_PREFIX_BYTES, start + 8)
  writer.bytes.writeUInt32BE(crc32(writer.bytes.subarray(start + 16, writer.at)), start + 12)
}
