// Hot path.
/**
 * A batch of format 2 that a producer fills: records are encoded straight into its buffer, and the
 * header is written when it is sealed, anew for each attempt that has another sequence.
 *
 * Promises of the records wait here for their offset.
 */
import {
  type Checksum,
  RECORD_BATCH_OVERHEAD_BYTES,
  RecordBatchView,
} from '../protocol/record-batch.ts'
import { varlongBytes, writeVarlong } from '../protocol/varint.ts'
import type { Compress } from './codecs.ts'

/** A part of a record as programs give it; text goes out as UTF-8. */
export type Part = Uint8Array | string | null

export interface HeaderInput {
  readonly key: string
  readonly value: Part
}

/** Where a record is, once it is stored. */
export interface RecordMetadata {
  readonly topic: string
  readonly partition: number
  /** -1 when the broker did not say: with acks 0, or when it found that it had the record already. */
  readonly offset: number
  /** Milliseconds: the record's own, or that of the append if the topic wants so. */
  readonly timestamp: number
}

/** The two ends of a record's promise; one of them is called, once. */
export type Resolve = (metadata: RecordMetadata) => void
export type Reject = (error: Error) => void

export interface EncodableRecord {
  readonly key: Part
  readonly value: Part
  readonly headers: readonly HeaderInput[]
  readonly timestamp: number
}

/** What a batch is sent with. */
export interface Seal {
  readonly codec: number
  readonly compress: Compress | null
  readonly crc32c: Checksum
}

/** Text up to here is copied by hand if it is ASCII: cheaper than a call. */
const SHORT_TEXT_MAX = 64

const TWO_32 = 4294967296

/** Bytes of a zigzag varint of a count or a length. */
function countBytes(value: number): number {
  if (value < 64) return 1
  if (value < 8192) return 2
  if (value < 1048576) return 3
  return value < 134217728 ? 4 : 5
}

function lengthOf(part: Part): number {
  if (part === null) return 0
  return typeof part === 'string' ? Buffer.byteLength(part) : part.length
}

/** Bytes of a record in a batch at the most, with its length; whatever batch it comes to. */
export function recordBytesMax({ key, value, headers }: EncodableRecord): number {
  // Length, attributes, timestamp and offset take 5, 1, 9 and 5 at the most, lengths 5 each.
  let bytes = 35 + lengthOf(key) + lengthOf(value)
  for (const header of headers) bytes += 10 + lengthOf(header.key) + lengthOf(header.value)
  return bytes
}

function writeInt64(buffer: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32)
  buffer.writeInt32BE(high, at)
  buffer.writeUInt32BE(value - high * TWO_32, at + 4)
}

function writeCount(buffer: Buffer, at: number, value: number): number {
  if (value < 64) {
    buffer[at] = value << 1
    return at + 1
  }
  if (value < 8192) {
    buffer[at] = ((value << 1) & 0x7f) | 0x80
    buffer[at + 1] = value >>> 6
    return at + 2
  }
  return writeVarlong(buffer, at, value)
}

function writeText(buffer: Buffer, at: number, text: string, bytes: number): number {
  if (bytes > SHORT_TEXT_MAX || bytes !== text.length) {
    buffer.write(text, at, bytes, 'utf8')
    return at + bytes
  }
  for (let i = 0; i < bytes; i += 1) buffer[at + i] = text.charCodeAt(i)
  return at + bytes
}

function writePart(buffer: Buffer, at: number, part: Part, bytes: number): number {
  if (part === null) {
    buffer[at] = 1
    return at + 1
  }
  const behind = writeCount(buffer, at, bytes)
  if (typeof part === 'string') return writeText(buffer, behind, part, bytes)
  buffer.set(part, behind)
  return behind + bytes
}

export class ProducerBatch {
  readonly topic: string
  readonly partition: number
  readonly createdMs: number
  /** Sealed as it is: nothing is appended to it any more. */
  isClosed = false
  /** All its records have been told. */
  isDone = false
  /** An answer is awaited. */
  isSending = false
  attempts = 0
  /** An attempt failed of which nobody knows whether the records were stored. */
  mayBeStored = false
  /** Not to be sent before. */
  retryAtMs = 0
  /** -1 until it has its place in the sequence of the partition. */
  producerId = -1
  producerEpoch = -1
  baseSequence = -1
  /** The epoch that the last attempt was sent with. */
  sentEpoch = -1
  lastError: Error | null = null
  readonly buffer: Buffer
  #at = RECORD_BATCH_OVERHEAD_BYTES
  #baseTimestamp = 0
  #maxTimestamp = -1
  readonly #timestamps: number[] = []
  readonly #resolves: Resolve[] = []
  readonly #rejects: Reject[] = []
  #sealed: Buffer | null = null
  #compressed: Buffer | null = null
  #whenDone: (() => void)[] = []

  /** The buffer's length is the most that the batch may have. */
  constructor(options: { topic: string; partition: number; createdMs: number; buffer: Buffer }) {
    this.topic = options.topic
    this.partition = options.partition
    this.createdMs = options.createdMs
    this.buffer = options.buffer
  }

  get recordCount(): number {
    return this.#timestamps.length
  }

  /** Bytes of the batch, not compressed. */
  get plainBytes(): number {
    return this.#at
  }

  get hasSequence(): boolean {
    return this.baseSequence >= 0
  }

  /** Copies the record in; false if there is no room for it. */
  append(record: EncodableRecord, resolve: Resolve, reject: Reject): boolean {
    const { key, value, headers, timestamp } = record
    const count = this.#timestamps.length
    if (count === 0) this.#baseTimestamp = timestamp
    const timestampDelta = timestamp - this.#baseTimestamp
    const keyBytes = lengthOf(key)
    const valueBytes = lengthOf(value)
    let bytes =
      1 +
      (timestampDelta >= 0 && timestampDelta < 64 ? 1 : varlongBytes(timestampDelta)) +
      countBytes(count) +
      (key === null ? 1 : countBytes(keyBytes) + keyBytes) +
      (value === null ? 1 : countBytes(valueBytes) + valueBytes) +
      countBytes(headers.length)
    for (const header of headers) {
      const name = lengthOf(header.key)
      const content = lengthOf(header.value)
      bytes += countBytes(name) + name
      bytes += header.value === null ? 1 : countBytes(content) + content
    }
    const { buffer } = this
    if (this.#at + countBytes(bytes) + bytes > buffer.length) return false
    let at = writeCount(buffer, this.#at, bytes)
    buffer[at] = 0
    at = writeVarlong(buffer, at + 1, timestampDelta)
    at = writeCount(buffer, at, count)
    at = writePart(buffer, at, key, keyBytes)
    at = writePart(buffer, at, value, valueBytes)
    at = writeCount(buffer, at, headers.length)
    for (const header of headers) {
      at = writePart(buffer, at, header.key, lengthOf(header.key))
      at = writePart(buffer, at, header.value, lengthOf(header.value))
    }
    this.#at = at
    if (timestamp > this.#maxTimestamp) this.#maxTimestamp = timestamp
    this.#timestamps.push(timestamp)
    this.#resolves.push(resolve)
    this.#rejects.push(reject)
    return true
  }

  /** Gives the batch its place; it is sealed anew when that is another than before. */
  setProducer(producerId: number, producerEpoch: number, baseSequence: number): void {
    this.producerId = producerId
    this.producerEpoch = producerEpoch
    this.baseSequence = baseSequence
    this.#sealed = null
  }

  /** The bytes to send. */
  seal({ codec, compress, crc32c }: Seal): Buffer {
    if (this.#sealed !== null) return this.#sealed
    this.isClosed = true
    let batch: Buffer
    if (compress === null) {
      batch = this.buffer.subarray(0, this.#at)
    } else {
      this.#compressed ??= this.#compress(compress)
      batch = this.#compressed
    }
    this.#writeHeader(batch, codec)
    batch.writeUInt32BE(crc32c(batch.subarray(21), 0), 17)
    this.#sealed = batch
    return batch
  }

  #compress(compress: Compress): Buffer {
    const body = compress(this.buffer.subarray(RECORD_BATCH_OVERHEAD_BYTES, this.#at))
    const batch = Buffer.allocUnsafe(RECORD_BATCH_OVERHEAD_BYTES + body.length)
    batch.set(body, RECORD_BATCH_OVERHEAD_BYTES)
    return batch
  }

  #writeHeader(batch: Buffer, codec: number): void {
    const count = this.#timestamps.length
    writeInt64(batch, 0, 0)
    batch.writeInt32BE(batch.length - 12, 8)
    batch.writeInt32BE(-1, 12)
    batch[16] = 2
    batch.writeInt16BE(codec, 21)
    batch.writeInt32BE(count - 1, 23)
    writeInt64(batch, this.#baseTimestamp, 27)
    writeInt64(batch, this.#maxTimestamp, 35)
    writeInt64(batch, this.producerId, 43)
    batch.writeInt16BE(this.producerEpoch, 51)
    batch.writeInt32BE(this.baseSequence, 53)
    batch.writeInt32BE(count, 57)
  }

  /** Tells every record its offset. */
  complete(baseOffset: number, appendTimeMs: number): void {
    if (this.isDone) return
    this.isDone = true
    const { topic, partition } = this
    for (let i = 0; i < this.#resolves.length; i += 1) {
      this.#resolves[i]?.({
        topic,
        partition,
        offset: baseOffset < 0 ? -1 : baseOffset + i,
        timestamp: appendTimeMs >= 0 ? appendTimeMs : (this.#timestamps[i] as number),
      })
    }
    this.#settled()
  }

  /** Tells every record that it was not stored, or that nobody knows; `errorOf` by its index. */
  fail(errorOf: (index: number) => Error): void {
    if (this.isDone) return
    this.isDone = true
    for (let i = 0; i < this.#rejects.length; i += 1) this.#rejects[i]?.(errorOf(i))
    this.#settled()
  }

  /** Calls back once every record has been told. */
  whenDone(callback: () => void): void {
    if (this.isDone) callback()
    else this.#whenDone.push(callback)
  }

  #settled(): void {
    for (const callback of this.#whenDone) callback()
    this.#whenDone = []
    this.#resolves.length = 0
    this.#rejects.length = 0
  }

  /**
   * Two batches of half the records each, with the same promises and the same sequences in all. This
   * one is of no use any more, except that it counts as done when both are.
   */
  split(allocate: (bytes: number) => Buffer): [ProducerBatch, ProducerBatch] {
    // With the plain body, whatever codec the header has.
    const plain = this.buffer.subarray(0, this.#at)
    this.#writeHeader(plain, 0)
    const records = [...new RecordBatchView(plain).records()]
    const middle = records.length >>> 1
    const halves = [records.slice(0, middle), records.slice(middle)].map((half, index) => {
      const encodable: EncodableRecord[] = half.map(({ key, value, headers, timestamp }) => {
        return { key, value, headers, timestamp }
      })
      let bytes = RECORD_BATCH_OVERHEAD_BYTES
      for (const record of encodable) bytes += recordBytesMax(record)
      const { topic, partition, createdMs } = this
      const batch = new ProducerBatch({ topic, partition, createdMs, buffer: allocate(bytes) })
      const first = index === 0 ? 0 : middle
      for (const [i, record] of encodable.entries()) {
        const resolve = this.#resolves[first + i] as Resolve
        batch.append(record, resolve, this.#rejects[first + i] as Reject)
      }
      batch.isClosed = true
      batch.attempts = this.attempts
      if (this.hasSequence) {
        const sequence = addToSequence(this.baseSequence, first)
        batch.setProducer(this.producerId, this.producerEpoch, sequence)
      }
      return batch
    }) as [ProducerBatch, ProducerBatch]
    let left = 2
    for (const half of halves) {
      half.whenDone(() => {
        left -= 1
        if (left > 0) return
        this.isDone = true
        this.#settled()
      })
    }
    return halves
  }
}

/** Sequences go from 0 to 2^31-1 and around. */
export function addToSequence(sequence: number, count: number): number {
  const sum = sequence + count
  return sum > 0x7fffffff ? sum - 0x80000000 : sum
}
