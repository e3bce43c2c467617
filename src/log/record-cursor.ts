// Hot path.
/**
 * Cursors over records that may be compressed: over those of a batch of format 2 and over the
 * messages of a set of format 0 or 1. They decompress window by window and make nothing per record:
 * the record they stand on is described by numbers, and its key and value are places in `bytes`.
 *
 * In memory are a window and one record that goes over its end; neither is ever allocated by a
 * length that the records announce.
 */
import { crc32 } from 'node:zlib'
import { Codec, decompressWindows } from '../compression/codec.ts'
import { CorruptDataError } from '../compression/errors.ts'
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CODEC_MASK,
  InvalidRecordError,
  LOG_APPEND_TIME_BIT,
  MESSAGE_BYTES_MIN,
  PREFIX_BYTES,
  readInt64,
  saturate,
} from './record-format.ts'

const EMPTY = Buffer.alloc(0)
const VARINT_BYTES_MAX = 5
const VARLONG_BYTES_MAX = 10

/** Bytes that come in windows, seen from `at` on as one piece as long as is asked for. */
class WindowReader {
  /** Valid until the cursor moves on. */
  bytes: Buffer = EMPTY
  /** Bytes of all windows so far. */
  total = 0
  protected at = 0
  protected end = 0
  readonly #windows: Iterator<Buffer>
  /** Where bytes are put together that lie in several windows. */
  #carry: Buffer = EMPTY

  constructor(windows: Iterable<Buffer>) {
    this.#windows = windows[Symbol.iterator]()
  }

  /** Frees the decoder; for every cursor, whether walked to its end or not. */
  close(): void {
    this.#windows.return?.()
  }

  /** Makes `count` bytes from `at` on contiguous; false when there are fewer. */
  protected fill(count: number): boolean {
    while (this.end - this.at < count) {
      const rest = this.end - this.at
      // The window is only good until the next one is asked for.
      if (rest > 0) this.#keep(rest)
      const next = this.#windows.next()
      if (next.done === true) return false
      this.total += next.value.length
      if (rest > 0) {
        this.#append(next.value)
      } else {
        this.bytes = next.value
        this.at = 0
        this.end = next.value.length
      }
    }
    return true
  }

  #keep(rest: number): void {
    if (this.bytes === this.#carry) {
      if (this.at > 0) this.#carry.copyWithin(0, this.at, this.end)
    } else {
      if (this.#carry.length < rest) this.#carry = Buffer.allocUnsafe(rest)
      this.bytes.copy(this.#carry, 0, this.at, this.end)
    }
    this.bytes = this.#carry
    this.at = 0
    this.end = rest
  }

  #append(window: Buffer): void {
    const end = this.end + window.length
    if (end > this.#carry.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, this.#carry.length * 2))
      this.#carry.copy(larger, 0, 0, this.end)
      this.#carry = larger
      this.bytes = larger
    }
    window.copy(this.#carry, this.end)
    this.end = end
  }
}

/** The records of a batch of format 2. Null keys and values have -1 bytes. */
export class RecordCursor extends WindowReader {
  offsetDelta = 0
  /** Relative to the base timestamp of the batch. */
  timestampDelta = 0
  keyAt = 0
  keyBytes = -1
  valueAt = 0
  valueBytes = -1
  #left: number

  /** `batch` is the batch with its header. */
  constructor(header: BatchHeader, batch: Buffer, outputBytesMax: number) {
    const body = batch.subarray(BATCH_HEADER_BYTES, header.size)
    super(decompressWindows(header.codec, body, { outputBytesMax, magic: 2 }))
    this.#left = header.recordCount
  }

  /**
   * Goes to the next record; false behind the last, when everything there was has been looked at.
   * Throws InvalidRecordError, CorruptDataError and DecompressionLimitError.
   */
  next(): boolean {
    if (this.#left <= 0) {
      if (this.fill(1)) throw new InvalidRecordError('bytes behind the last record of a batch')
      return false
    }
    // A length takes up to five bytes; the last records may be shorter than that.
    this.fill(VARINT_BYTES_MAX)
    const length = this.#varint(this.end, VARINT_BYTES_MAX)
    if (length < 1) throw new InvalidRecordError(`a record of ${length} bytes`)
    if (!this.fill(length)) {
      throw new InvalidRecordError(`${this.#left} records fewer than the batch says`)
    }
    const end = this.at + length
    // Attributes, of which none is defined.
    this.at += 1
    this.timestampDelta = this.#varint(end, VARLONG_BYTES_MAX)
    this.offsetDelta = this.#varint(end, VARINT_BYTES_MAX)
    this.keyBytes = this.#field(end, -1)
    this.keyAt = this.at - Math.max(this.keyBytes, 0)
    this.valueBytes = this.#field(end, -1)
    this.valueAt = this.at - Math.max(this.valueBytes, 0)
    const headers = this.#varint(end, VARINT_BYTES_MAX)
    if (headers < 0) throw new InvalidRecordError(`${headers} headers in a record`)
    for (let i = 0; i < headers; i += 1) {
      this.#field(end, 0)
      this.#field(end, -1)
    }
    if (this.at !== end) throw new InvalidRecordError('a record that is longer than its fields')
    this.#left -= 1
    return true
  }

  /** A zigzag varint before `end`, exact for all of ±2^53. */
  #varint(end: number, bytesMax: number): number {
    if (this.at >= end) throw new InvalidRecordError('a record that is shorter than its fields')
    const first = this.bytes[this.at] as number
    this.at += 1
    const sign = first & 1
    let size = (first & 0x7e) >> 1
    let unit = 64
    let byte = first
    for (let i = 1; byte >= 0x80; i += 1) {
      if (i === bytesMax || this.at >= end) {
        throw new InvalidRecordError('a number in a record that does not end')
      }
      byte = this.bytes[this.at] as number
      this.at += 1
      size += (byte & 0x7f) * unit
      unit *= 128
    }
    return sign === 0 ? size : -size - 1
  }

  /** Goes over a field and returns its length, at least `bytesMin`; -1 is null. */
  #field(end: number, bytesMin: number): number {
    const length = this.#varint(end, VARINT_BYTES_MAX)
    if (length < bytesMin || length > end - this.at) {
      throw new InvalidRecordError(`a field of ${length} bytes in a record`)
    }
    if (length > 0) this.at += length
    return length
  }
}

/** The messages of a set of format 0 or 1, wrappers not opened. */
export class MessageCursor extends WindowReader {
  offset = 0
  magic = 0
  codec = 0
  isLogAppendTime = false
  /** -1 in format 0. */
  timestamp = -1
  keyAt = 0
  keyBytes = -1
  valueAt = 0
  valueBytes = -1

  /**
   * Goes to the next message; false behind the last. Throws InvalidRecordError, also for a partial
   * message at the end, CorruptDataError, also for a wrong CRC, and DecompressionLimitError.
   */
  next(): boolean {
    if (!this.fill(1)) return false
    if (!this.fill(PREFIX_BYTES + MESSAGE_BYTES_MIN[0])) {
      throw new InvalidRecordError('a partial message')
    }
    const size = this.bytes.readInt32BE(this.at + 8)
    const magic = this.bytes.readInt8(this.at + 16)
    if (magic !== 0 && magic !== 1) throw new InvalidRecordError(`a message of format ${magic}`)
    if (size < MESSAGE_BYTES_MIN[magic]) {
      throw new CorruptDataError(`a message of ${size} bytes in format ${magic}`)
    }
    if (!this.fill(PREFIX_BYTES + size)) throw new InvalidRecordError('a partial message')
    const start = this.at
    const end = start + PREFIX_BYTES + size
    if (crc32(this.bytes.subarray(start + 16, end)) !== this.bytes.readUInt32BE(start + 12)) {
      throw new CorruptDataError('a message with a wrong CRC')
    }
    const attributes = this.bytes.readInt8(start + 17)
    this.offset = readInt64(this.bytes, start)
    this.magic = magic
    this.codec = attributes & CODEC_MASK
    this.isLogAppendTime = magic === 1 && (attributes & LOG_APPEND_TIME_BIT) !== 0
    this.timestamp = magic === 1 ? readInt64(this.bytes, start + 18) : -1
    this.at = start + (magic === 1 ? 26 : 18)
    this.keyBytes = this.#field(end)
    this.keyAt = this.at - Math.max(this.keyBytes, 0)
    this.valueBytes = this.#field(end)
    this.valueAt = this.at - Math.max(this.valueBytes, 0)
    if (this.at !== end) throw new InvalidRecordError('a message that is longer than its fields')
    return true
  }

  /** Goes over a field and returns its length; -1 is null. */
  #field(end: number): number {
    if (end - this.at < 4) throw new InvalidRecordError('a message that is shorter than its fields')
    const length = this.bytes.readInt32BE(this.at)
    this.at += 4
    if (length < -1 || length > end - this.at) {
      throw new InvalidRecordError(`a field of ${length} bytes in a message`)
    }
    if (length > 0) this.at += length
    return length
  }

  /**
   * The messages inside the wrapper that this cursor stands on, and must stand on while they are
   * walked. Throws InvalidRecordError.
   */
  inner(outputBytesMax: number): MessageCursor {
    if (this.valueBytes < 0) throw new InvalidRecordError('a wrapper without a value')
    if (this.codec > Codec.LZ4) {
      throw new InvalidRecordError(`a message of format ${this.magic} in codec ${this.codec}`)
    }
    const value = this.bytes.subarray(this.valueAt, this.valueAt + this.valueBytes)
    return new MessageCursor(
      decompressWindows(this.codec, value, { outputBytesMax, magic: this.magic }),
    )
  }
}

/** Timestamp of the record that a cursor stands on. */
export function timestampOf(header: BatchHeader, cursor: RecordCursor): number {
  return header.isLogAppendTime
    ? header.maxTimestamp
    : saturate(header.baseTimestamp + cursor.timestampDelta)
}
