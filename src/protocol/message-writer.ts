// Hot path.
/**
 * Writes the primitive types of the Kafka protocol into a Buffer that grows and is used again.
 *
 * Record payloads may be left out: each one's place is noted in `cuts`, and whoever sends the
 * message inserts `payloadBytes` there. Fields declared as holes are noted in `holes`.
 */

import type { RecordsInput, UnknownTaggedField } from './schema.ts'
import { writeUuid } from './uuid-cache.ts'

/** Strings are no longer than this, also where their length is a varint. */
const STRING_BYTES_MAX = 0x7fff

/** A buffer that a huge message made larger than this is not kept for the next. */
const KEPT_BYTES_MAX = 1 << 20

/** Up to here a length is one byte, and copying by hand is faster than a call. */
const SHORT_STRING_MAX = 48

const TWO_32 = 4294967296
const TWO_63 = 2 ** 63

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
}

function outOfRange(type: string, value: number): never {
  throw new RangeError(`${value} is no ${type}`)
}

export class MessageWriter {
  #buffer: Buffer
  /** Of the buffer: its writes are compiled to stores, those of Buffer are calls. */
  #view: DataView
  at = 0
  /** Positions where a record payload belongs, in order. */
  readonly cuts: number[] = []
  /** Bytes of all payloads that were left out. */
  payloadBytes = 0
  /** Positions of the fields declared with `hole`, in the order they were written. */
  readonly holes: number[] = []

  constructor(capacity = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity)
    this.#view = viewOf(this.#buffer)
  }

  /** Begins anew, in the same memory unless a huge message made it large. */
  reset(): this {
    this.at = 0
    this.cuts.length = 0
    this.holes.length = 0
    this.payloadBytes = 0
    if (this.#buffer.length > KEPT_BYTES_MAX) this.#adopt(Buffer.allocUnsafeSlow(4096))
    return this
  }

  /** Another one whenever it has to grow. */
  get buffer(): Buffer {
    return this.#buffer
  }

  /** What was written; valid until the next reset. */
  get written(): Buffer {
    return this.#buffer.subarray(0, this.at)
  }

  /** Takes the next `bytes` and returns the position where they begin. */
  room(bytes: number): number {
    const at = this.at
    if (at + bytes > this.#buffer.length) this.#grow(at + bytes)
    this.at = at + bytes
    return at
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.at)
    this.#adopt(larger)
  }

  #adopt(buffer: Buffer): void {
    this.#buffer = buffer
    this.#view = viewOf(buffer)
  }

  /** Notes the position of the field that is written next. */
  hole(): void {
    this.holes.push(this.at)
  }

  bool(value: boolean): void {
    this.#buffer[this.room(1)] = value ? 1 : 0
  }

  int8(value: number): void {
    if ((value << 24) >> 24 !== value) outOfRange('int8', value)
    const at = this.room(1)
    this.#view.setInt8(at, value)
  }

  int16(value: number): void {
    if ((value << 16) >> 16 !== value) outOfRange('int16', value)
    const at = this.room(2)
    this.#view.setInt16(at, value)
  }

  uint16(value: number): void {
    if ((value & 0xffff) !== value) outOfRange('uint16', value)
    const at = this.room(2)
    this.#view.setUint16(at, value)
  }

  int32(value: number): void {
    if ((value | 0) !== value) outOfRange('int32', value)
    const at = this.room(4)
    this.#view.setInt32(at, value)
  }

  uint32(value: number): void {
    if (value >>> 0 !== value) outOfRange('uint32', value)
    const at = this.room(4)
    this.#view.setUint32(at, value)
  }

  int64(value: number): void {
    const high = Math.floor(value / TWO_32)
    if (!(value >= -TWO_63 && value < TWO_63)) outOfRange('int64', value)
    const at = this.room(8)
    this.#view.setInt32(at, high)
    this.#view.setUint32(at + 4, value - high * TWO_32)
  }

  int64exact(value: bigint): void {
    if (BigInt.asIntN(64, value) !== value) throw new RangeError(`${value} is no int64`)
    const at = this.room(8)
    this.#view.setBigInt64(at, value)
  }

  float64(value: number): void {
    const at = this.room(8)
    this.#view.setFloat64(at, value)
  }

  uuid(value: string): void {
    const at = this.room(16)
    writeUuid(this.#view, at, value)
  }

  unsignedVarint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.#buffer[this.room(1)] = (rest % 128) | 0x80
      rest = Math.floor(rest / 128)
    }
    const at = this.room(1)
    this.#buffer[at] = rest
  }

  string(value: string | null, compact: boolean): void {
    if (value === null) {
      if (compact) this.unsignedVarint(0)
      else this.int16(-1)
      return
    }
    if (value.length <= SHORT_STRING_MAX && this.#shortString(value, compact)) return
    const bytes = Buffer.byteLength(value)
    if (bytes > STRING_BYTES_MAX) throw new RangeError(`a string of ${bytes} bytes`)
    if (compact) this.unsignedVarint(bytes + 1)
    else this.int16(bytes)
    const at = this.room(bytes)
    this.#buffer.write(value, at, bytes, 'utf8')
  }

  /** Writes a string of ASCII without a call into C++; writes nothing if it is none. */
  #shortString(value: string, compact: boolean): boolean {
    const length = value.length
    const start = this.at
    const at = this.room((compact ? 1 : 2) + length) + (compact ? 1 : 2)
    const buffer = this.#buffer
    for (let index = 0; index < length; index += 1) {
      const code = value.charCodeAt(index)
      if (code > 0x7f) {
        this.at = start
        return false
      }
      buffer[at + index] = code
    }
    if (compact) {
      buffer[start] = length + 1
    } else {
      buffer[start] = 0
      buffer[start + 1] = length
    }
    return true
  }

  bytesLength(length: number, compact: boolean): void {
    if (compact) this.unsignedVarint(length + 1)
    else this.int32(length)
  }

  bytes(value: Uint8Array | null, compact: boolean): void {
    if (value === null) {
      this.bytesLength(-1, compact)
      return
    }
    this.bytesLength(value.length, compact)
    const at = this.room(value.length)
    this.#buffer.set(value, at)
  }

  /** Writes bytes in line, or their length and a cut where they belong. */
  records(value: RecordsInput | null, compact: boolean): void {
    if (value === null || value instanceof Uint8Array) {
      this.bytes(value, compact)
      return
    }
    this.bytesLength(value.bytes, compact)
    if (value.bytes === 0) return
    this.cuts.push(this.at)
    this.payloadBytes += value.bytes
  }

  arrayLength(length: number, compact: boolean): void {
    this.bytesLength(length, compact)
  }

  /** Writes bytes as they are, with no length. */
  raw(bytes: Uint8Array): void {
    const at = this.room(bytes.length)
    this.#buffer.set(bytes, at)
  }

  /**
   * Writes those of `fields` from the index `from` on whose tag is below `tag`, and returns the
   * index behind them. Throws RangeError if the tag is there too, as tags must ascend.
   */
  unknownTaggedFields(
    fields: readonly UnknownTaggedField[] | undefined,
    from: number,
    tag: number,
  ): number {
    if (fields === undefined) return 0
    let index = from
    for (; index < fields.length; index += 1) {
      const field = fields[index] as UnknownTaggedField
      if (field.tag > tag) break
      if (field.tag === tag) throw new RangeError(`two tagged fields with the tag ${tag}`)
      this.unsignedVarint(field.tag)
      this.unsignedVarint(field.bytes.length)
      this.raw(field.bytes)
    }
    return index
  }

  /** Writes an int32 at a position already written. */
  patchInt32(position: number, value: number): void {
    if ((value | 0) !== value) outOfRange('int32', value)
    this.#view.setInt32(position, value)
  }

  /** Puts the size of everything behind `start` in front of it, as an unsigned varint. */
  prefixSize(start: number): void {
    const size = this.at - start
    let prefix = 1
    for (let rest = Math.floor(size / 128); rest > 0; rest = Math.floor(rest / 128)) prefix += 1
    this.room(prefix)
    this.#buffer.copyWithin(start + prefix, start, start + size)
    const end = this.at
    this.at = start
    this.unsignedVarint(size)
    this.at = end
  }
}
