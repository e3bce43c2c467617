/**
 * Walks the batches of a segment's file one after the other, for the cleaner. In memory is one
 * buffer, which grows for a batch that is larger, up to a limit, and only when the batch is there.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { CorruptDataError } from '../compression/errors.ts'
import { addon } from '../native/addon.ts'
import {
  BATCH_HEADER_BYTES,
  CODEC_MASK,
  CONTROL_BIT,
  DELETE_HORIZON_BIT,
  PREFIX_BYTES,
  readInt64,
  TRANSACTIONAL_BIT,
} from './record-format.ts'

const MAGIC_AT = 16
const CRC_AT = 17
const CHECKSUMMED_AT = 21

/** A buffer that several readers use in turn. */
export interface ReadBuffer {
  bytes: Buffer
}

/** The header of a stored batch, as far as the cleaner goes by it. */
export interface StoredBatch {
  /** The whole batch; valid until the next one is asked for. */
  readonly bytes: Buffer
  readonly codec: number
  readonly isTransactional: boolean
  readonly isControl: boolean
  /** From when on its tombstones, or its marker, may go; null while that is not decided. */
  readonly deleteHorizonMs: number | null
  readonly lastOffset: number
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly recordCount: number
}

export interface SegmentReaderOptions {
  readonly path: string
  readonly baseOffset: number
  /** No batch may be longer. */
  readonly batchBytesMax: number
  readonly buffer: ReadBuffer
  /** Told of the bytes that were read. */
  readonly onRead: (bytes: number) => void
}

export class SegmentReader {
  readonly size: number
  readonly modifiedMs: number
  readonly #options: SegmentReaderOptions
  readonly #file: number
  /** The position in the file of the first byte in the buffer. */
  #begin = 0
  #end = 0
  #position = 0
  #expected: number

  /** Throws as `openSync`. */
  constructor(options: SegmentReaderOptions) {
    this.#options = options
    this.#expected = options.baseOffset
    this.#file = openSync(options.path, 'r')
    const { size, mtimeMs } = fstatSync(this.#file)
    this.size = size
    this.modifiedMs = mtimeMs
  }

  close(): void {
    closeSync(this.#file)
  }

  /** null behind the last batch. Throws CorruptDataError, which names the place, and I/O errors. */
  next(): StoredBatch | null {
    if (this.#position >= this.size) return null
    const prefix = this.#window(MAGIC_AT + 1)
    if (prefix === null) throw this.#corrupt('an incomplete batch')
    const magic = prefix[MAGIC_AT] as number
    if (magic < 2) throw this.#corrupt(`a message of format ${magic}`)
    if (magic > 2) throw this.#corrupt(`a batch of format ${magic}`)
    const size = prefix.readInt32BE(8) + PREFIX_BYTES
    if (size < BATCH_HEADER_BYTES) throw this.#corrupt(`a batch of ${size} bytes`)
    if (size > this.#options.batchBytesMax) {
      throw this.#corrupt(`a batch of ${size} bytes, the limit is ${this.#options.batchBytesMax}`)
    }
    const bytes = this.#window(size)
    if (bytes === null) throw this.#corrupt('an incomplete batch')
    if (addon.crc32c(bytes.subarray(CHECKSUMMED_AT), 0) !== bytes.readUInt32BE(CRC_AT)) {
      throw this.#corrupt('a batch with a wrong CRC')
    }
    const batch = describe(bytes)
    const baseOffset = readInt64(bytes, 0)
    if (baseOffset < this.#expected || batch.lastOffset < baseOffset || batch.recordCount < 0) {
      throw this.#corrupt('a batch with impossible offsets')
    }
    this.#expected = batch.lastOffset + 1
    this.#position += size
    return batch
  }

  /** What is wrong with the batch that was read last, or is about to be. */
  corrupt(what: string): CorruptDataError {
    return this.#corrupt(what)
  }

  #corrupt(what: string): CorruptDataError {
    return new CorruptDataError(`${what} at position ${this.#position} of ${this.#options.path}`)
  }

  /** `count` bytes from the position on; null when the file ends before. */
  #window(count: number): Buffer | null {
    if (this.#position + count > this.size) return null
    const { buffer } = this.#options
    if (this.#position + count > this.#end) {
      if (count > buffer.bytes.length) buffer.bytes = Buffer.allocUnsafeSlow(count)
      this.#fill()
      if (this.#position + count > this.#end) return null
    }
    const from = this.#position - this.#begin
    return buffer.bytes.subarray(from, from + count)
  }

  #fill(): void {
    const { bytes } = this.#options.buffer
    this.#begin = this.#end = this.#position
    const wanted = Math.min(bytes.length, this.size - this.#begin)
    while (this.#end - this.#begin < wanted) {
      const at = this.#end - this.#begin
      const read = readSync(this.#file, bytes, at, wanted - at, this.#end)
      // Shorter than it was: somebody cut it.
      if (read === 0) break
      this.#end += read
    }
    this.#options.onRead(this.#end - this.#begin)
  }
}

function describe(bytes: Buffer): StoredBatch {
  const attributes = bytes.readInt16BE(21)
  const hasHorizon = (attributes & DELETE_HORIZON_BIT) !== 0
  return {
    bytes,
    codec: attributes & CODEC_MASK,
    isTransactional: (attributes & TRANSACTIONAL_BIT) !== 0,
    isControl: (attributes & CONTROL_BIT) !== 0,
    deleteHorizonMs: hasHorizon ? readInt64(bytes, 27) : null,
    lastOffset: readInt64(bytes, 0) + bytes.readInt32BE(23),
    maxTimestamp: readInt64(bytes, 35),
    producerId: readInt64(bytes, 43),
    producerEpoch: bytes.readInt16BE(51),
    recordCount: bytes.readInt32BE(57),
  }
}
