// Hot path.
/**
 * Walks the records in one partition's part of a fetch answer, one at a time and only when they are
 * asked for. Keys, values and header values of batches that are not compressed are slices of the
 * answer, not copies.
 *
 * Leaves out what lies before the offset that was asked for, control batches, and with
 * `read_committed` the records of aborted transactions; `nextOffset` moves past all of them, and
 * past the gaps that compaction leaves.
 */
import { innerMessages, LegacyMessageView } from '../protocol/legacy-message-set.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import {
  type Checksum,
  LOG_OVERHEAD_BYTES,
  magicAt,
  RecordBatchView,
  type RecordHeader,
} from '../protocol/record-batch.ts'
import { type Cursor, readVarint, readVarlong } from '../protocol/varint.ts'
import type { Decompress } from './codecs.ts'
import type { ConsumerRecord, TimestampType } from './records.ts'

/** A transaction that was aborted, as a fetch answer names it. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export interface RecordReaderOptions {
  readonly topic: string
  readonly partition: number
  readonly bytes: Buffer
  /** Records before it are left out. */
  readonly fetchOffset: number
  /** The aborted transactions of the range with `read_committed`; null with `read_uncommitted`. */
  readonly abortedTransactions: readonly AbortedTransaction[] | null
  /** Checks CRC-32C of batches (format 2); null: not checked. */
  readonly crc32c: Checksum | null
  /** Checks CRC-32 of messages (formats 0 and 1); null: not checked. */
  readonly crc32: Checksum | null
  /** Has the codecs that `scanRecords` has found. */
  readonly decompress: Decompress
}

/** What can be said of records without decoding them. */
export interface ScannedRecords {
  /** Behind the last whole batch; that of the first batch's beginning is not there to be read. */
  readonly endOffset: number
  /** Ids of the codecs that the records are compressed with; 0 for none is not among them. */
  readonly codecs: ReadonlySet<number>
  /** Whole batches there are. */
  readonly batchCount: number
}

const ABORT_MARKER = 0
const NO_HEADERS: readonly RecordHeader[] = []
const EMPTY = Buffer.alloc(0)

/**
 * Hops from batch to batch. A batch that is cut off ends the walk, as a fetch may end anywhere.
 * Throws MalformedMessageError.
 */
export function scanRecords(bytes: Buffer, fetchOffset: number): ScannedRecords {
  let position = 0
  let endOffset = fetchOffset
  const codecs = new Set<number>()
  let batchCount = 0
  for (;;) {
    const end = endOfBatch(bytes, position)
    if (end < 0) break
    if (magicAt(bytes, position) === 2) {
      const batch = new RecordBatchView(bytes, position)
      endOffset = Math.max(endOffset, batch.lastOffset + 1)
      if (batch.codec !== 0) codecs.add(batch.codec)
    } else {
      const message = new LegacyMessageView(bytes, position)
      endOffset = Math.max(endOffset, message.offset + 1)
      if (message.codec !== 0) codecs.add(message.codec)
    }
    batchCount += 1
    position = end
  }
  return { endOffset, codecs, batchCount }
}

/** Position behind the batch or message at `position`; -1 if it is not whole. */
function endOfBatch(bytes: Buffer, position: number): number {
  // Magic and the length before it must be there, to tell what it is.
  if (bytes.length - position < LOG_OVERHEAD_BYTES + 5) return -1
  const length = bytes.readInt32BE(position + 8)
  if (length < 14) throw new MalformedMessageError(`a batch of ${length} bytes at ${position}`)
  const end = position + LOG_OVERHEAD_BYTES + length
  return end > bytes.length ? -1 : end
}

export class RecordReader {
  readonly #options: RecordReaderOptions
  readonly #aborted: AbortedTransaction[]
  readonly #abortedProducers = new Set<number>()
  #abortedAt = 0
  #position = 0
  #nextOffset: number
  #leaderEpoch = -1
  /** Of the batch that is being read. */
  #recordsLeft = 0
  #cursor: { buffer: Buffer; position: number; end: number } = {
    buffer: EMPTY,
    position: 0,
    end: 0,
  }
  #baseOffset = 0
  #baseTimestamp = 0
  #appendTime: number | null = null
  #batchEndOffset = 0
  #legacy: Iterator<ConsumerRecord> | null = null

  constructor(options: RecordReaderOptions) {
    this.#options = options
    this.#nextOffset = options.fetchOffset
    this.#aborted = [...(options.abortedTransactions ?? [])].sort(
      (a, b) => a.firstOffset - b.firstOffset,
    )
  }

  /** Where reading goes on: behind the last record that was given, at the end behind all there was. */
  get nextOffset(): number {
    return this.#nextOffset
  }

  /** Leader epoch of the batch that was read last; -1: none, or a format without epochs. */
  get leaderEpoch(): number {
    return this.#leaderEpoch
  }

  /**
   * The next record, or null at the end. Throws MalformedMessageError for bytes that are no records,
   * also where a checksum is wrong, and ProtocolError where they cannot be decompressed; then too `nextOffset` is right.
   */
  next(): ConsumerRecord | null {
    for (;;) {
      const record = this.#legacy === null ? this.#nextOfBatch() : this.#nextLegacy()
      if (record !== null) {
        if (record.offset < this.#nextOffset) continue
        this.#nextOffset = record.offset + 1
        return record
      }
      this.#nextOffset = Math.max(this.#nextOffset, this.#batchEndOffset)
      if (!this.#openBatch()) return null
    }
  }

  #nextLegacy(): ConsumerRecord | null {
    const result = this.#legacy?.next()
    if (result === undefined || result.done === true) {
      this.#legacy = null
      return null
    }
    return result.value
  }

  #nextOfBatch(): ConsumerRecord | null {
    if (this.#recordsLeft === 0) return null
    const { topic, partition } = this.#options
    const cursor = this.#cursor
    const end = cursor.end
    const length = readVarint(cursor)
    const recordEnd = cursor.position + length
    if (length < 1 || recordEnd > end) {
      throw new MalformedMessageError(`a record of ${length} bytes in a batch`)
    }
    cursor.end = recordEnd
    // Behind the length come the attributes of the record, which have no meaning yet.
    cursor.position += 1
    const timestampDelta = readVarlong(cursor)
    const offset = this.#baseOffset + readVarint(cursor)
    const key = readPart(cursor)
    const value = readPart(cursor)
    const headers = readHeaders(cursor)
    if (cursor.position !== recordEnd) {
      throw new MalformedMessageError(`${recordEnd - cursor.position} bytes left in a record`)
    }
    cursor.end = end
    this.#recordsLeft -= 1
    return {
      topic,
      partition,
      offset,
      leaderEpoch: this.#leaderEpoch,
      timestamp: this.#appendTime ?? this.#baseTimestamp + timestampDelta,
      timestampType: this.#appendTime === null ? 'CreateTime' : 'LogAppendTime',
      key,
      value,
      headers,
    }
  }

  /** Goes to the next batch that has records for the reader; false at the end. */
  #openBatch(): boolean {
    const { bytes } = this.#options
    for (;;) {
      const end = endOfBatch(bytes, this.#position)
      if (end < 0) return false
      const opened =
        magicAt(bytes, this.#position) === 2
          ? this.#openRecordBatch(new RecordBatchView(bytes, this.#position, end))
          : this.#openLegacy(new LegacyMessageView(bytes, this.#position, end))
      this.#position = end
      if (opened) return true
      this.#nextOffset = Math.max(this.#nextOffset, this.#batchEndOffset)
    }
  }

  #openRecordBatch(batch: RecordBatchView): boolean {
    const { crc32c, decompress, fetchOffset, abortedTransactions } = this.#options
    const lastOffset = batch.lastOffset
    if (crc32c !== null && !batch.isIntact(crc32c)) {
      throw new MalformedMessageError(
        `the batch at offset ${batch.baseOffset} has a wrong checksum`,
      )
    }
    this.#leaderEpoch = batch.partitionLeaderEpoch
    this.#batchEndOffset = lastOffset + 1
    if (abortedTransactions !== null && this.#isAborted(batch, lastOffset)) return false
    if (batch.isControl || lastOffset < fetchOffset) return false
    const { codec } = batch
    const body = codec === 0 ? batch.body : decompress(codec, batch.body, 2)
    this.#recordsLeft = Math.max(0, batch.recordCount)
    this.#cursor = { buffer: body, position: 0, end: body.length }
    this.#baseOffset = batch.baseOffset
    this.#baseTimestamp = batch.baseTimestamp
    this.#appendTime = batch.hasLogAppendTime ? batch.maxTimestamp : null
    return this.#recordsLeft > 0
  }

  /** Also takes note of the marker that ends an aborted transaction. */
  #isAborted(batch: RecordBatchView, lastOffset: number): boolean {
    for (; this.#abortedAt < this.#aborted.length; this.#abortedAt += 1) {
      const { firstOffset, producerId } = this.#aborted[this.#abortedAt] as AbortedTransaction
      if (firstOffset > lastOffset) break
      this.#abortedProducers.add(producerId)
    }
    if (batch.isControl) {
      if (isAbortMarker(batch)) this.#abortedProducers.delete(batch.producerId)
      return false
    }
    return batch.isTransactional && this.#abortedProducers.has(batch.producerId)
  }

  #openLegacy(message: LegacyMessageView): boolean {
    this.#leaderEpoch = -1
    this.#batchEndOffset = message.offset + 1
    this.#legacy = this.#legacyRecords(message)
    return true
  }

  *#legacyRecords(message: LegacyMessageView): Generator<ConsumerRecord, void, undefined> {
    const { crc32, decompress } = this.#options
    const { offset, timestamp, codec } = message
    if (crc32 !== null && !message.isIntact(crc32)) {
      throw new MalformedMessageError(`the message at offset ${offset} has a wrong checksum`)
    }
    if (codec === 0) {
      yield this.#legacyRecord(message, message, offset, timestamp)
      return
    }
    if (message.value === null) throw new MalformedMessageError('a wrapper without a value')
    const set = decompress(codec, message.value, message.magic)
    for (const inner of innerMessages(message, set)) {
      yield this.#legacyRecord(message, inner.message, inner.offset, inner.timestamp)
    }
  }

  #legacyRecord(
    outer: LegacyMessageView,
    { key, value }: LegacyMessageView,
    offset: number,
    timestamp: number,
  ): ConsumerRecord {
    const { topic, partition } = this.#options
    let timestampType: TimestampType = 'NoTimestampType'
    if (outer.magic === 1) timestampType = outer.hasLogAppendTime ? 'LogAppendTime' : 'CreateTime'
    const headers = NO_HEADERS
    return {
      topic,
      partition,
      offset,
      leaderEpoch: -1,
      timestamp,
      timestampType,
      key,
      value,
      headers,
    }
  }
}

function readPart(cursor: Cursor): Buffer | null {
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
    const key = readPart(cursor)
    if (key === null) throw new MalformedMessageError('a record header without a key')
    headers.push({ key: key.toString('utf8'), value: readPart(cursor) })
  }
  return headers
}

/** The key of a control record: version and type, both int16. */
function isAbortMarker(batch: RecordBatchView): boolean {
  const body = batch.body
  const cursor: Cursor = { buffer: body, position: 0, end: body.length }
  readVarint(cursor)
  cursor.position += 1
  readVarlong(cursor)
  readVarint(cursor)
  const key = readPart(cursor)
  return key !== null && key.length >= 4 && key.readInt16BE(2) === ABORT_MARKER
}
