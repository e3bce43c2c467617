/**
 * Message sets of formats 0 and 1, as clients before 0.11 write and read them: views over the bytes
 * and a builder. A compressed set is a wrapper message whose value is the set.
 *
 * A view owns nothing. Whatever does not fit throws MalformedMessageError; the checksum is compared
 * only when asked.
 */
import { MalformedMessageError } from './message-reader.ts'
import type { Checksum } from './record-batch.ts'

const SIZE_POSITION = 8
/** Bytes before the size field's count begins: offset and the size itself. */
const OVERHEAD_BYTES = 12
const CRC_POSITION = 12
const MAGIC_POSITION = 16
const ATTRIBUTES_POSITION = 17
const TIMESTAMP_POSITION = 18

/** What the size field says at the least. */
const SIZE_MIN = { 0: 14, 1: 22 } as const

const CODEC_MASK = 0x07
const LOG_APPEND_TIME_BIT = 0x08

export type LegacyMagic = 0 | 1

function int64At(buffer: Buffer, position: number): number {
  const value = buffer.readBigInt64BE(position)
  if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER
  if (value < Number.MIN_SAFE_INTEGER) return Number.MIN_SAFE_INTEGER
  return Number(value)
}

export class LegacyMessageView {
  readonly buffer: Buffer
  /** Of the first byte of the message in the buffer. */
  readonly position: number
  /** Of the whole message, with its offset and size. */
  readonly bytes: number
  readonly magic: LegacyMagic
  readonly key: Buffer | null
  readonly value: Buffer | null

  /** Throws MalformedMessageError unless a whole message of format 0 or 1 is there. */
  constructor(buffer: Buffer, position = 0, end = buffer.length) {
    if (end - position < OVERHEAD_BYTES + SIZE_MIN[0]) {
      throw new MalformedMessageError(`${end - position} bytes are no message at ${position}`)
    }
    const size = buffer.readInt32BE(position + SIZE_POSITION)
    const magic = buffer.readInt8(position + MAGIC_POSITION)
    if (magic !== 0 && magic !== 1) {
      throw new MalformedMessageError(`magic ${magic} at ${position}`)
    }
    if (size < SIZE_MIN[magic] || size > end - position - OVERHEAD_BYTES) {
      throw new MalformedMessageError(`a message of ${size} bytes at ${position}`)
    }
    this.buffer = buffer
    this.position = position
    this.bytes = OVERHEAD_BYTES + size
    this.magic = magic
    const keyPosition = position + (magic === 0 ? TIMESTAMP_POSITION : TIMESTAMP_POSITION + 8)
    const last = position + this.bytes
    this.key = this.#part(keyPosition, last)
    const valuePosition = keyPosition + 4 + (this.key?.length ?? 0)
    this.value = this.#part(valuePosition, last)
    const behind = valuePosition + 4 + (this.value?.length ?? 0)
    if (behind !== last) {
      throw new MalformedMessageError(`${last - behind} bytes left in a message at ${position}`)
    }
  }

  #part(position: number, end: number): Buffer | null {
    if (end - position < 4) throw new MalformedMessageError(`a message cut off at ${position}`)
    const length = this.buffer.readInt32BE(position)
    if (length === -1) return null
    if (length < 0 || length > end - position - 4) {
      throw new MalformedMessageError(`${length} bytes in a message at ${position}`)
    }
    return this.buffer.subarray(position + 4, position + 4 + length)
  }

  /** As it is written; of a message inside a wrapper see `innerMessages`. */
  get offset(): number {
    return int64At(this.buffer, this.position)
  }

  get crc(): number {
    return this.buffer.readUInt32BE(this.position + CRC_POSITION)
  }

  get attributes(): number {
    return this.buffer.readInt8(this.position + ATTRIBUTES_POSITION)
  }

  /** Id of the codec that the value, a message set, is compressed with; 0 for none. */
  get codec(): number {
    return this.attributes & CODEC_MASK
  }

  get hasLogAppendTime(): boolean {
    return this.magic === 1 && (this.attributes & LOG_APPEND_TIME_BIT) !== 0
  }

  /** Milliseconds; -1 in format 0, which has none. */
  get timestamp(): number {
    return this.magic === 0 ? -1 : int64At(this.buffer, this.position + TIMESTAMP_POSITION)
  }

  /** Whether the checksum fits; `crc32` is CRC-32 as in zlib. */
  isIntact(crc32: Checksum): boolean {
    const start = this.position + MAGIC_POSITION
    return crc32(this.buffer.subarray(start, this.position + this.bytes), 0) === this.crc
  }
}

/**
 * The messages that lie one behind the other in a buffer, wrappers as they are. A last one that is
 * cut off ends the iteration, as a fetch may end anywhere. Throws MalformedMessageError on anything
 * else.
 */
export function* legacyMessages(
  buffer: Buffer,
  start = 0,
  end = buffer.length,
): Generator<LegacyMessageView, void, undefined> {
  let position = start
  while (end - position >= OVERHEAD_BYTES) {
    const size = buffer.readInt32BE(position + SIZE_POSITION)
    if (size < SIZE_MIN[0]) {
      throw new MalformedMessageError(`a message of ${size} bytes at ${position}`)
    }
    if (size > end - position - OVERHEAD_BYTES) return
    const message = new LegacyMessageView(buffer, position, end)
    yield message
    position += message.bytes
  }
}

/** A message from inside a wrapper, with what the wrapper says of it. */
export interface InnerMessage {
  readonly offset: number
  readonly timestamp: number
  readonly message: LegacyMessageView
}

/**
 * The messages of a wrapper, whose value the caller has decompressed into `set`. In format 1 their
 * offsets count up to that of the wrapper, and log-append time is the wrapper's. Throws
 * MalformedMessageError for an empty or torn set, another format inside and nested compression.
 */
export function* innerMessages(
  wrapper: LegacyMessageView,
  set: Buffer,
): Generator<InnerMessage, void, undefined> {
  let base = 0
  if (wrapper.magic === 1) {
    let last: LegacyMessageView | null = null
    for (const message of legacyMessages(set)) last = message
    if (last !== null) base = wrapper.offset - last.offset
  }
  let position = 0
  for (const message of legacyMessages(set)) {
    if (message.magic !== wrapper.magic) {
      throw new MalformedMessageError(`magic ${message.magic} in a wrapper of ${wrapper.magic}`)
    }
    if (message.codec !== 0) throw new MalformedMessageError('a wrapper inside a wrapper')
    position += message.bytes
    const timestamp = wrapper.hasLogAppendTime ? wrapper.timestamp : message.timestamp
    yield { offset: base + message.offset, timestamp, message }
  }
  if (position === 0 || position !== set.length) {
    throw new MalformedMessageError(`${set.length - position} of ${set.length} bytes left in a set`)
  }
}

/** A message to be written. */
export interface LegacyMessageInput {
  readonly offset: number
  readonly key?: Uint8Array | null
  readonly value?: Uint8Array | null
  /** Milliseconds, in format 1; -1 if left out. */
  readonly timestamp?: number
  /** Of a wrapper: id of the codec that the value is compressed with. */
  readonly codec?: number
  readonly hasLogAppendTime?: boolean
}

function writePart(buffer: Buffer, position: number, part: Uint8Array | null | undefined): number {
  buffer.writeInt32BE(part?.length ?? -1, position)
  if (part) buffer.set(part, position + 4)
  return position + 4 + (part?.length ?? 0)
}

function writeMessage(message: LegacyMessageInput, magic: LegacyMagic, crc32: Checksum): Buffer {
  const size = SIZE_MIN[magic] + (message.key?.length ?? 0) + (message.value?.length ?? 0)
  const bytes = Buffer.allocUnsafe(OVERHEAD_BYTES + size)
  bytes.writeBigInt64BE(BigInt(message.offset), 0)
  bytes.writeInt32BE(size, SIZE_POSITION)
  bytes.writeInt8(magic, MAGIC_POSITION)
  const appendTime = message.hasLogAppendTime && magic === 1 ? LOG_APPEND_TIME_BIT : 0
  bytes.writeInt8((message.codec ?? 0) | appendTime, ATTRIBUTES_POSITION)
  let at = TIMESTAMP_POSITION
  if (magic === 1) {
    bytes.writeBigInt64BE(BigInt(message.timestamp ?? -1), at)
    at += 8
  }
  at = writePart(bytes, at, message.key)
  writePart(bytes, at, message.value)
  bytes.writeUInt32BE(crc32(bytes.subarray(MAGIC_POSITION), 0), CRC_POSITION)
  return bytes
}

/** Builds a message set of format 0 or 1; `crc32` is CRC-32 as in zlib. */
export function writeLegacyMessageSet(
  messages: readonly LegacyMessageInput[],
  options: { readonly magic: LegacyMagic; readonly crc32: Checksum },
): Buffer {
  return Buffer.concat(
    messages.map((message) => writeMessage(message, options.magic, options.crc32)),
  )
}
