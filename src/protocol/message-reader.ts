// Hot path.
/**
 * Reads the primitive types of the Kafka protocol from a Buffer. Every read checks the bytes left;
 * anything impossible throws MalformedMessageError and allocates nothing by an announced length.
 */

import type { RecordsPlace, UnknownTaggedField } from './schema.ts'
import { readUuid } from './uuid-cache.ts'

/** Bytes that cannot be the message they should be. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError'
}

/**
 * Array elements and unknown tagged fields that one message may hold, by default. Each becomes an
 * object of many times its bytes on the wire: without a limit a frame of empty elements would
 * exhaust the heap. 150,000 partitions with three replicas each are half of it.
 */
export const ELEMENTS_MAX = 2_000_000

/** Strings are no longer than this, also where their length is a varint. */
const STRING_BYTES_MAX = 0x7fff

const TWO_32 = 4294967296

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
}

const EMPTY = Buffer.alloc(0)

export class MessageReader {
  #buffer: Buffer = EMPTY
  /** Of the buffer: its reads are compiled to loads, those of Buffer are calls. */
  #view: DataView = viewOf(EMPTY)
  at = 0
  end = 0
  /**
   * The buffer holds a frame without its record payloads (each left out behind its length), so
   * that what follows lies `gap` bytes further on in the frame.
   */
  skipsPayload = false
  gap = 0
  #elementsLeft = 0

  get buffer(): Buffer {
    return this.#buffer
  }

  /**
   * Begins to read `buffer` from `start` up to `end`. Throws MalformedMessageError as soon as more
   * than `elementsMax` array elements are announced.
   */
  reset(
    buffer: Buffer,
    start: number,
    end: number,
    skipsPayload: boolean,
    elementsMax = ELEMENTS_MAX,
  ): this {
    if (start < 0 || end > buffer.length || start > end) {
      throw new RangeError(`${start} to ${end} is not within ${buffer.length} bytes`)
    }
    this.#elementsLeft = elementsMax
    if (buffer !== this.#buffer) {
      this.#buffer = buffer
      this.#view = viewOf(buffer)
    }
    this.at = start
    this.end = end
    this.skipsPayload = skipsPayload
    this.gap = 0
    return this
  }

  /** Throws MalformedMessageError if bytes are left. */
  expectEnd(): void {
    if (this.at !== this.end) {
      throw new MalformedMessageError(`${this.end - this.at} bytes left behind the message`)
    }
  }

  /** Moves over `bytes` and returns the position where they begin. */
  need(bytes: number): number {
    const at = this.at
    if (bytes > this.end - at) {
      throw new MalformedMessageError(`${bytes} bytes wanted at ${at}, ${this.end - at} left`)
    }
    this.at = at + bytes
    return at
  }

  bool(): boolean {
    return this.#buffer[this.need(1)] !== 0
  }

  int8(): number {
    return this.#view.getInt8(this.need(1))
  }

  int16(): number {
    return this.#view.getInt16(this.need(2))
  }

  uint16(): number {
    return this.#view.getUint16(this.need(2))
  }

  int32(): number {
    return this.#view.getInt32(this.need(4))
  }

  uint32(): number {
    return this.#view.getUint32(this.need(4))
  }

  /** Saturates at the integers that a number holds exactly. */
  int64(): number {
    const at = this.need(8)
    const value = this.#view.getInt32(at) * TWO_32 + this.#view.getUint32(at + 4)
    if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
    if (value < Number.MIN_SAFE_INTEGER) return Number.MIN_SAFE_INTEGER
    return value
  }

  int64exact(): bigint {
    return this.#view.getBigInt64(this.need(8))
  }

  float64(): number {
    return this.#view.getFloat64(this.need(8))
  }

  uuid(): string {
    return readUuid(this.#view, this.need(16))
  }

  unsignedVarint(): number {
    if (this.at < this.end) {
      // Nearly all are a single byte.
      const byte = this.#buffer[this.at] as number
      if (byte < 0x80) {
        this.at += 1
        return byte
      }
    }
    let value = 0
    let scale = 1
    for (let count = 0; count < 5; count += 1) {
      const byte = this.#buffer[this.need(1)] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > 0xffffffff) break
        return value
      }
      scale *= 128
    }
    throw new MalformedMessageError(`a varint at ${this.at} that is too long`)
  }

  /** The length of a string: -1 for null. */
  stringLength(compact: boolean): number {
    const length = compact ? this.unsignedVarint() - 1 : this.int16()
    if (length < -1 || length > STRING_BYTES_MAX) {
      throw new MalformedMessageError(`a string of ${length} bytes at ${this.at}`)
    }
    return length
  }

  stringOf(length: number): string {
    const at = this.need(length)
    return this.#buffer.toString('utf8', at, at + length)
  }

  string(compact: boolean): string {
    const length = this.stringLength(compact)
    if (length < 0) throw new MalformedMessageError(`null where a string must be at ${this.at}`)
    return this.stringOf(length)
  }

  nullableString(compact: boolean): string | null {
    const length = this.stringLength(compact)
    return length < 0 ? null : this.stringOf(length)
  }

  bytesLength(compact: boolean): number {
    const length = compact ? this.unsignedVarint() - 1 : this.int32()
    if (length < -1) throw new MalformedMessageError(`${length} bytes at ${this.at}`)
    return length
  }

  bytes(compact: boolean): Buffer {
    const value = this.nullableBytes(compact)
    if (value === null) throw new MalformedMessageError(`null where bytes must be at ${this.at}`)
    return value
  }

  nullableBytes(compact: boolean): Buffer | null {
    const length = this.bytesLength(compact)
    if (length < 0) return null
    const at = this.need(length)
    // A copy: the buffer is a scratch that the next message overwrites.
    return Buffer.from(this.#buffer.subarray(at, at + length))
  }

  nullableRecords(compact: boolean): RecordsPlace | null {
    const bytes = this.bytesLength(compact)
    if (bytes < 0) return null
    if (!this.skipsPayload) return { position: this.need(bytes), bytes }
    const position = this.at + this.gap
    this.gap += bytes
    return { position, bytes }
  }

  records(compact: boolean): RecordsPlace {
    const value = this.nullableRecords(compact)
    if (value === null) throw new MalformedMessageError(`null where records must be at ${this.at}`)
    return value
  }

  /** The count of an array, -1 for null; each element takes at least `elementBytesMin`. */
  arrayLength(compact: boolean, elementBytesMin: number): number {
    const length = compact ? this.unsignedVarint() - 1 : this.int32()
    if (length < -1 || length * elementBytesMin > this.end - this.at) {
      throw new MalformedMessageError(`an array of ${length} elements at ${this.at}`)
    }
    if (length > 0) this.#spend(length)
    return length
  }

  /** Takes the tagged field that lies between `start` and `end`, and goes on behind it. */
  unknownTaggedField(tag: number, start: number, end: number): UnknownTaggedField {
    this.#spend(1)
    this.at = end
    // A copy, as the buffer may be a scratch; of its own, as it may live long.
    return { tag, bytes: Buffer.from(this.#buffer.subarray(start, end)) }
  }

  #spend(elements: number): void {
    this.#elementsLeft -= elements
    if (this.#elementsLeft < 0) {
      throw new MalformedMessageError(`more elements than a message may have at ${this.at}`)
    }
  }
}
