// Hot path.
/**
 * Record batches of format 2: a view that reads the fields where they lie, an iterator over the
 * records of an uncompressed body, and a builder for clients, tools and tests.
 *
 * A view owns nothing: it is as good as the buffer below it. Bytes are not trusted: whatever does
 * not fit throws MalformedMessageError. The checksum is compared only when asked.
 */
import { MalformedMessageError } from './message-reader.ts'
import { type Cursor, readVarint, readVarlong, varlongBytes, writeVarlong } from './varint.ts'

/** Computes or continues a checksum; `seed` is 0 or the checksum of what comes before. */
export type Checksum = (bytes: Uint8Array, seed: number) => number

/** Bytes before the length field's count begins: base offset and the length itself. */
export const LOG_OVERHEAD_BYTES = 12
/** Bytes of a batch before its records. */
export const RECORD_BATCH_OVERHEAD_BYTES = 61

const LENGTH_POSITION = 8
const LEADER_EPOCH_POSITION = 12
const MAGIC_POSITION = 16
const CRC_POSITION = 17
const ATTRIBUTES_POSITION = 21
const LAST_OFFSET_DELTA_POSITION = 23
const BASE_TIMESTAMP_POSITION = 27
const MAX_TIMESTAMP_POSITION = 35
const PRODUCER_ID_POSITION = 43
const PRODUCER_EPOCH_POSITION = 51
const BASE_SEQUENCE_POSITION = 53
const RECORD_COUNT_POSITION = 57

const CODEC_MASK = 0x07
const LOG_APPEND_TIME_BIT = 0x08
const TRANSACTIONAL_BIT = 0x10
const CONTROL_BIT = 0x20
const DELETE_HORIZON_BIT = 0x40

const TWO_32 = 4294967296

export interface RecordHeader {
  readonly key: string
  readonly value: Buffer | null
}

/** One record; its bytes are views of the batch. */
export interface RecordView {
  readonly offset: number
  /** Milliseconds; of a batch with log-append time the time of the append. */
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly RecordHeader[]
}

const NO_HEADERS: readonly RecordHeader[] = []

function saturatedInt64(buffer: Buffer, position: number): number {
  const value = buffer.readInt32BE(position) * TWO_32 + buffer.readUInt32BE(position + 4)
  if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
  if (value < Number.MIN_SAFE_INTEGER) return Number.MIN_SAFE_INTEGER
  return value
}

/** A part of a record that has a signed length in front of it; null for -1. */
function readBytes(cursor: Cursor): Buffer | null {
  const length = readVarint(cursor)
  if (length === -1) return null
  const start = cursor.position
  if (length < 0 || length > cursor.end - start) {
    throw new MalformedMessageError(`${length} bytes in a record at ${start}`)
  }
  cursor.position = start + length
  return cursor.buffer.subarray(start, start + length)
}

function readHeaders(cursor: Cursor): readonly RecordHeader[] {
  const count = readVarint(cursor)
  if (count === 0) return NO_HEADERS
  // A header is two lengths at least.
  if (count < 0 || count * 2 > cursor.end - cursor.position) {
    throw new MalformedMessageError(`${count} headers in a record at ${cursor.position}`)
  }
  const headers: RecordHeader[] = []
  for (let index = 0; index < count; index += 1) {
    const key = readBytes(cursor)
    if (key === null) throw new MalformedMessageError('a record header without a key')
    headers.push({ key: key.toString('utf8'), value: readBytes(cursor) })
  }
  return headers
}

/** The format of the batch or message at a position: 0, 1 or 2 if it is sound. */
export function magicAt(buffer: Buffer, position: number): number {
  if (position + MAGIC_POSITION >= buffer.length) {
    throw new MalformedMessageError(`no batch at ${position}: ${buffer.length} bytes in all`)
  }
  return buffer.readInt8(position + MAGIC_POSITION)
}

export class RecordBatchView {
  readonly buffer: Buffer
  /** Of the first byte of the batch in the buffer. */
  readonly position: number
  /** Of the whole batch. */
  readonly bytes: number

  /** Throws MalformedMessageError unless a whole batch of format 2 lies between the positions. */
  constructor(buffer: Buffer, position = 0, end = buffer.length) {
    const left = end - position
    if (left < RECORD_BATCH_OVERHEAD_BYTES) {
      throw new MalformedMessageError(`${left} bytes are no record batch at ${position}`)
    }
    const bytes = LOG_OVERHEAD_BYTES + buffer.readInt32BE(position + LENGTH_POSITION)
    if (bytes < RECORD_BATCH_OVERHEAD_BYTES || bytes > left) {
      throw new MalformedMessageError(`a record batch of ${bytes} bytes at ${position}`)
    }
    const magic = buffer.readInt8(position + MAGIC_POSITION)
    if (magic !== 2) throw new MalformedMessageError(`magic ${magic} at ${position}`)
    this.buffer = buffer
    this.position = position
    this.bytes = bytes
  }

  get baseOffset(): number {
    return saturatedInt64(this.buffer, this.position)
  }

  get partitionLeaderEpoch(): number {
    return this.buffer.readInt32BE(this.position + LEADER_EPOCH_POSITION)
  }

  get crc(): number {
    return this.buffer.readUInt32BE(this.position + CRC_POSITION)
  }

  get attributes(): number {
    return this.buffer.readInt16BE(this.position + ATTRIBUTES_POSITION)
  }

  /** Id of the codec that the records are compressed with; 0 for none. */
  get codec(): number {
    return this.attributes & CODEC_MASK
  }

  get hasLogAppendTime(): boolean {
    return (this.attributes & LOG_APPEND_TIME_BIT) !== 0
  }

  get isTransactional(): boolean {
    return (this.attributes & TRANSACTIONAL_BIT) !== 0
  }

  get isControl(): boolean {
    return (this.attributes & CONTROL_BIT) !== 0
  }

  /** Whether `baseTimestamp` is the time after which tombstones go (compaction only). */
  get hasDeleteHorizon(): boolean {
    return (this.attributes & DELETE_HORIZON_BIT) !== 0
  }

  get lastOffsetDelta(): number {
    return this.buffer.readInt32BE(this.position + LAST_OFFSET_DELTA_POSITION)
  }

  get lastOffset(): number {
    return this.baseOffset + this.lastOffsetDelta
  }

  get baseTimestamp(): number {
    return saturatedInt64(this.buffer, this.position + BASE_TIMESTAMP_POSITION)
  }

  get maxTimestamp(): number {
    return saturatedInt64(this.buffer, this.position + MAX_TIMESTAMP_POSITION)
  }

  get producerId(): number {
    return saturatedInt64(this.buffer, this.position + PRODUCER_ID_POSITION)
  }

  get producerEpoch(): number {
    return this.buffer.readInt16BE(this.position + PRODUCER_EPOCH_POSITION)
  }

  get baseSequence(): number {
    return this.buffer.readInt32BE(this.position + BASE_SEQUENCE_POSITION)
  }

  /** As the batch says; only reading the records tells whether it is true. */
  get recordCount(): number {
    return this.buffer.readInt32BE(this.position + RECORD_COUNT_POSITION)
  }

  /** The records as they lie in the batch, compressed or not. */
  get body(): Buffer {
    return this.buffer.subarray(
      this.position + RECORD_BATCH_OVERHEAD_BYTES,
      this.position + this.bytes,
    )
  }

  /** Whether the checksum fits; `crc32c` is CRC-32C (Castagnoli). */
  isIntact(crc32c: Checksum): boolean {
    const start = this.position + ATTRIBUTES_POSITION
    return crc32c(this.buffer.subarray(start, this.position + this.bytes), 0) === this.crc
  }

  /**
   * The records, in order. Those of a compressed batch are read from `body`, what the caller made of
   * `this.body`. Throws MalformedMessageError, also if there are more or fewer than the batch says.
   */
  *records(body: Buffer | null = null): Generator<RecordView, void, undefined> {
    if (body === null && this.codec !== 0) {
      throw new Error('the records are compressed: pass the decompressed body')
    }
    const source = body ?? this.body
    const baseOffset = this.baseOffset
    const baseTimestamp = this.baseTimestamp
    const appendTime = this.hasLogAppendTime ? this.maxTimestamp : null
    const count = this.recordCount
    let position = 0
    for (let index = 0; index < count; index += 1) {
      const frame: Cursor = { buffer: source, position, end: source.length }
      const length = readVarint(frame)
      const end = frame.position + length
      if (length < 0 || end > source.length) {
        throw new MalformedMessageError(`a record of ${length} bytes at ${position}`)
      }
      // Behind the length come the attributes of the record, which have no meaning yet.
      const cursor: Cursor = { buffer: source, position: frame.position + 1, end }
      const timestampDelta = readVarlong(cursor)
      const offset = baseOffset + readVarint(cursor)
      const key = readBytes(cursor)
      const value = readBytes(cursor)
      const headers = readHeaders(cursor)
      if (cursor.position !== end) {
        throw new MalformedMessageError(`${end - cursor.position} bytes left in a record`)
      }
      position = end
      yield { offset, timestamp: appendTime ?? baseTimestamp + timestampDelta, key, value, headers }
    }
    if (position !== source.length) {
      throw new MalformedMessageError(`${source.length - position} bytes behind the last record`)
    }
  }
}

/**
 * The batches that lie one behind the other in a buffer. A last one that is cut off ends the
 * iteration, as a fetch may end anywhere. Throws MalformedMessageError on anything else.
 */
export function* recordBatches(
  buffer: Buffer,
  start = 0,
  end = buffer.length,
): Generator<RecordBatchView, void, undefined> {
  let position = start
  while (end - position >= LOG_OVERHEAD_BYTES) {
    const bytes = LOG_OVERHEAD_BYTES + buffer.readInt32BE(position + LENGTH_POSITION)
    if (bytes < RECORD_BATCH_OVERHEAD_BYTES) {
      throw new MalformedMessageError(`a record batch of ${bytes} bytes at ${position}`)
    }
    if (bytes > end - position) return
    yield new RecordBatchView(buffer, position, end)
    position += bytes
  }
}

/** A record to be written. */
export interface RecordInput {
  readonly key?: Uint8Array | null
  readonly value?: Uint8Array | null
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | null }[]
  /** Milliseconds; -1, no timestamp, if left out. */
  readonly timestamp?: number
  /** From the base offset of the batch; the place in the list if left out. */
  readonly offsetDelta?: number
}

export interface RecordBatchOptions {
  readonly crc32c: Checksum
  /** 0, as producers send it, if left out. */
  readonly baseOffset?: number
  readonly partitionLeaderEpoch?: number
  /** Time of the append, in milliseconds; without it the batch has the timestamps of the records. */
  readonly logAppendTimeMs?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly isTransactional?: boolean
  readonly isControl?: boolean
  /** Delta of the last offset, if it is another than that of the last record (compaction). */
  readonly lastOffsetDelta?: number
  /** Without it the records are written as they are. */
  readonly compression?: {
    readonly codec: number
    readonly compress: (body: Buffer) => Uint8Array
  }
}

function partBytes(length: number | null): number {
  return length === null ? 1 : varlongBytes(length) + length
}

/** Bytes of a record behind its length. */
function recordBytes(record: RecordInput, timestampDelta: number, offsetDelta: number): number {
  const headers = record.headers ?? []
  let bytes =
    1 +
    varlongBytes(timestampDelta) +
    varlongBytes(offsetDelta) +
    partBytes(record.key?.length ?? null) +
    partBytes(record.value?.length ?? null) +
    varlongBytes(headers.length)
  for (const { key, value } of headers) {
    bytes += partBytes(Buffer.byteLength(key)) + partBytes(value?.length ?? null)
  }
  return bytes
}

function writePart(buffer: Buffer, position: number, part: Uint8Array | null | undefined): number {
  if (part === null || part === undefined) return writeVarlong(buffer, position, -1)
  const at = writeVarlong(buffer, position, part.length)
  buffer.set(part, at)
  return at + part.length
}

function encodeBody(records: readonly RecordInput[], baseTimestamp: number): Buffer {
  let total = 0
  const lengths: number[] = []
  for (const [index, record] of records.entries()) {
    const timestampDelta = (record.timestamp ?? -1) - baseTimestamp
    const length = recordBytes(record, timestampDelta, record.offsetDelta ?? index)
    lengths.push(length)
    total += varlongBytes(length) + length
  }
  const body = Buffer.allocUnsafe(total)
  let at = 0
  for (const [index, record] of records.entries()) {
    at = writeVarlong(body, at, lengths[index] as number)
    body[at] = 0
    at = writeVarlong(body, at + 1, (record.timestamp ?? -1) - baseTimestamp)
    at = writeVarlong(body, at, record.offsetDelta ?? index)
    at = writePart(body, at, record.key)
    at = writePart(body, at, record.value)
    const headers = record.headers ?? []
    at = writeVarlong(body, at, headers.length)
    for (const { key, value } of headers) {
      at = writePart(body, at, Buffer.from(key, 'utf8'))
      at = writePart(body, at, value)
    }
  }
  return body
}

function attributesOf(options: RecordBatchOptions): number {
  return (
    (options.compression?.codec ?? 0) |
    (options.logAppendTimeMs === undefined ? 0 : LOG_APPEND_TIME_BIT) |
    (options.isTransactional ? TRANSACTIONAL_BIT : 0) |
    (options.isControl ? CONTROL_BIT : 0)
  )
}

/** Builds a batch of format 2. Without records it is one that compaction has emptied. */
export function writeRecordBatch(
  records: readonly RecordInput[],
  options: RecordBatchOptions,
): Buffer {
  const baseTimestamp = records[0]?.timestamp ?? -1
  let maxTimestamp = -1
  for (const { timestamp } of records) maxTimestamp = Math.max(maxTimestamp, timestamp ?? -1)
  const plain = encodeBody(records, baseTimestamp)
  const body = options.compression?.compress(plain) ?? plain
  const bytes = RECORD_BATCH_OVERHEAD_BYTES + body.length
  const batch = Buffer.allocUnsafe(bytes)
  batch.writeBigInt64BE(BigInt(options.baseOffset ?? 0), 0)
  batch.writeInt32BE(bytes - LOG_OVERHEAD_BYTES, LENGTH_POSITION)
  batch.writeInt32BE(options.partitionLeaderEpoch ?? -1, LEADER_EPOCH_POSITION)
  batch.writeInt8(2, MAGIC_POSITION)
  batch.writeInt16BE(attributesOf(options), ATTRIBUTES_POSITION)
  const lastDelta = records.at(-1)?.offsetDelta ?? records.length - 1
  batch.writeInt32BE(options.lastOffsetDelta ?? lastDelta, LAST_OFFSET_DELTA_POSITION)
  batch.writeBigInt64BE(BigInt(baseTimestamp), BASE_TIMESTAMP_POSITION)
  batch.writeBigInt64BE(BigInt(options.logAppendTimeMs ?? maxTimestamp), MAX_TIMESTAMP_POSITION)
  batch.writeBigInt64BE(BigInt(options.producerId ?? -1), PRODUCER_ID_POSITION)
  batch.writeInt16BE(options.producerEpoch ?? -1, PRODUCER_EPOCH_POSITION)
  batch.writeInt32BE(options.baseSequence ?? -1, BASE_SEQUENCE_POSITION)
  batch.writeInt32BE(records.length, RECORD_COUNT_POSITION)
  batch.set(body, RECORD_BATCH_OVERHEAD_BYTES)
  const crc = options.crc32c(batch.subarray(ATTRIBUTES_POSITION), 0)
  batch.writeUInt32BE(crc, CRC_POSITION)
  return batch
}
