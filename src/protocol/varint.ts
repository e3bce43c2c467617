// Hot path.
/** Signed variable-length integers as record batches have them: zigzag, seven bits a byte. */
import { MalformedMessageError } from './message-reader.ts'

/** Where a reader of variable-length integers stands; moved by each read. */
export interface Cursor {
  readonly buffer: Buffer
  position: number
  /** Behind the last byte that may be read. */
  readonly end: number
}

const INT32_BYTES_MAX = 5
const INT64_BYTES_MAX = 10

function nextByte(cursor: Cursor): number {
  if (cursor.position >= cursor.end) {
    throw new MalformedMessageError(`a varint runs over the end at ${cursor.end}`)
  }
  const byte = cursor.buffer[cursor.position] as number
  cursor.position += 1
  return byte
}

/** Reads an int32. Throws MalformedMessageError at the end of the bytes and after five of them. */
export function readVarint(cursor: Cursor): number {
  let value = 0
  for (let count = 0; count < INT32_BYTES_MAX; count += 1) {
    const byte = nextByte(cursor)
    value |= (byte & 0x7f) << (7 * count)
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
  }
  throw new MalformedMessageError(`a varint of more than ${INT32_BYTES_MAX} bytes`)
}

/**
 * Reads an int64, saturated at the integers that a number holds exactly. Throws
 * MalformedMessageError at the end of the bytes and after ten of them.
 */
export function readVarlong(cursor: Cursor): number {
  const start = cursor.position
  let value = 0
  let scale = 1
  // Seven bytes are 49 bits: exact in a number, and enough for any delta seen in practice.
  for (let count = 0; count < 7; count += 1) {
    const byte = nextByte(cursor)
    value += (byte & 0x7f) * scale
    if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
    scale *= 128
  }
  cursor.position = start
  return readLongVarlong(cursor)
}

function readLongVarlong(cursor: Cursor): number {
  let zigzag = 0n
  for (let count = 0; count < INT64_BYTES_MAX; count += 1) {
    const byte = nextByte(cursor)
    zigzag |= BigInt(byte & 0x7f) << BigInt(7 * count)
    if (byte < 0x80) {
      const bits = BigInt.asUintN(64, zigzag)
      const value = BigInt.asIntN(64, (bits >> 1n) ^ -(bits & 1n))
      if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
      if (value < Number.MIN_SAFE_INTEGER) return Number.MIN_SAFE_INTEGER
      return Number(value)
    }
  }
  throw new MalformedMessageError(`a varint of more than ${INT64_BYTES_MAX} bytes`)
}

/** From here on `2n` is no longer exact in a number. */
const ZIGZAG_SAFE_MAX = 2 ** 52 - 1

/** Bytes that `writeVarlong` takes for an integer within ±(2^53-1); int32 values take at most five. */
export function varlongBytes(value: number): number {
  if (value > ZIGZAG_SAFE_MAX || value < -ZIGZAG_SAFE_MAX) return 8
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  let bytes = 1
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes += 1
  return bytes
}

/** Writes an integer within ±(2^53-1) and returns the position behind it. */
export function writeVarlong(buffer: Buffer, position: number, value: number): number {
  let at = position
  if (value > ZIGZAG_SAFE_MAX || value < -ZIGZAG_SAFE_MAX) {
    const wide = BigInt(value)
    let rest = wide < 0n ? -2n * wide - 1n : 2n * wide
    for (; rest >= 128n; rest >>= 7n) {
      buffer[at] = Number(rest & 127n) | 0x80
      at += 1
    }
    buffer[at] = Number(rest)
    return at + 1
  }
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  for (; rest >= 128; rest = Math.floor(rest / 128)) {
    buffer[at] = (rest % 128) | 0x80
    at += 1
  }
  buffer[at] = rest
  return at + 1
}
