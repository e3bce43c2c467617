/**
 * Writes a cleaned segment: the log, its index and its time index, under the suffix `.cleaned`, which
 * says that they do not count yet.
 */
import { closeSync, fdatasyncSync, futimesSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { writeInt64 } from './record-format.ts'
import type { StoredBatch } from './segment-reader.ts'
import { type AbortedTransaction, encodeAbortedTransaction } from './transaction-index.ts'

const INDEX_ENTRY_BYTES = 8
const TIME_ENTRY_BYTES = 12
const FIRST_ENTRIES = 128
/** A log ends at offset 2^31-1 of its base, and at position 2^31-1. */
const RELATIVE_MAX = 2 ** 31 - 1

/** The name that the files of a segment begin with. */
export function segmentName(baseOffset: number): string {
  return String(baseOffset).padStart(20, '0')
}

const SUFFIXES = ['.log', '.index', '.timeindex', '.txnindex'] as const
type Suffix = (typeof SUFFIXES)[number]

/** Entries of one size, one behind the other. */
class Entries {
  #bytes: Buffer
  #at = 0
  readonly #size: number

  constructor(size: number) {
    this.#size = size
    this.#bytes = Buffer.allocUnsafe(size * FIRST_ENTRIES)
  }

  /** Room for another entry: where it begins. */
  room(): number {
    const from = this.#at
    this.#at += this.#size
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(this.#bytes.length * 2)
      this.#bytes.copy(larger, 0, 0, from)
      this.#bytes = larger
    }
    return from
  }

  get bytes(): Buffer {
    return this.#bytes
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }
}

export interface SegmentWriterOptions {
  readonly directory: string
  readonly baseOffset: number
  /** Bytes between two index entries. */
  readonly indexIntervalBytes: number
  /** What is not written yet is kept here, up to its length. */
  readonly buffer: Buffer
  /** Told of the bytes that were written. */
  readonly onWrite: (bytes: number) => void
}

export class SegmentWriter {
  readonly #options: SegmentWriterOptions
  readonly #log: number
  readonly #index = new Entries(INDEX_ENTRY_BYTES)
  readonly #timeIndex = new Entries(TIME_ENTRY_BYTES)
  readonly #aborted: Buffer[] = []
  #buffered = 0
  #size = 0
  #bytesSinceIndex = 0
  #maxTimestamp = -1
  #maxTimestampOffset = -1
  #lastIndexedTimestamp = -1

  /** Throws as `openSync`. */
  constructor(options: SegmentWriterOptions) {
    this.#options = options
    this.#log = openSync(this.#path('.log'), 'w')
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size
  }

  /** Adds a batch as it is in `bytes`, of which the rest is told as the cleaner knows it. */
  append(
    bytes: Buffer,
    { lastOffset, maxTimestamp }: Pick<StoredBatch, 'lastOffset' | 'maxTimestamp'>,
  ) {
    if (maxTimestamp > this.#maxTimestamp) {
      this.#maxTimestamp = maxTimestamp
      this.#maxTimestampOffset = lastOffset
    }
    if (this.#bytesSinceIndex > this.#options.indexIntervalBytes) {
      const at = this.#index.room()
      this.#index.bytes.writeInt32BE(lastOffset - this.#options.baseOffset, at)
      this.#index.bytes.writeInt32BE(this.#size, at + 4)
      this.#noteTime()
      this.#bytesSinceIndex = 0
    }
    this.#bytesSinceIndex += bytes.length
    this.#write(bytes)
  }

  /** Whether a batch of these bytes and this last offset is still within the bounds of a segment. */
  hasRoom(bytes: number, lastOffset: number): boolean {
    return (
      this.#size + bytes <= RELATIVE_MAX && lastOffset - this.#options.baseOffset <= RELATIVE_MAX
    )
  }

  appendAborted(transaction: AbortedTransaction): void {
    this.#aborted.push(encodeAbortedTransaction(transaction))
  }

  /** Writes what is left and forces all of it to disk. The files then date from `modifiedMs`. */
  finish(modifiedMs: number): void {
    this.#flush()
    this.#noteTime()
    futimesSync(this.#log, modifiedMs / 1000, modifiedMs / 1000)
    fdatasyncSync(this.#log)
    closeSync(this.#log)
    this.#writeFile('.index', this.#index.written)
    this.#writeFile('.timeindex', this.#timeIndex.written)
    if (this.#aborted.length > 0) this.#writeFile('.txnindex', Buffer.concat(this.#aborted))
  }

  /** Removes what there is, after a failure or when it is not wanted any more. */
  abandon(): void {
    try {
      closeSync(this.#log)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBADF') throw error
    }
    removeCleaned(this.#options.directory, this.#options.baseOffset)
  }

  #path(suffix: Suffix): string {
    const { directory, baseOffset } = this.#options
    return join(directory, `${segmentName(baseOffset)}${suffix}.cleaned`)
  }

  #noteTime(): void {
    if (this.#maxTimestamp < 0 || this.#maxTimestamp <= this.#lastIndexedTimestamp) return
    const at = this.#timeIndex.room()
    writeInt64(this.#timeIndex.bytes, this.#maxTimestamp, at)
    this.#timeIndex.bytes.writeInt32BE(this.#maxTimestampOffset - this.#options.baseOffset, at + 8)
    this.#lastIndexedTimestamp = this.#maxTimestamp
  }

  #write(bytes: Buffer): void {
    this.#size += bytes.length
    const { buffer } = this.#options
    if (this.#buffered + bytes.length > buffer.length) this.#flush()
    if (bytes.length > buffer.length) {
      this.#writeNow(bytes)
      return
    }
    bytes.copy(buffer, this.#buffered)
    this.#buffered += bytes.length
  }

  #flush(): void {
    this.#writeNow(this.#options.buffer.subarray(0, this.#buffered))
    this.#buffered = 0
  }

  #writeNow(bytes: Buffer): void {
    writeAll(this.#log, bytes)
    if (bytes.length > 0) this.#options.onWrite(bytes.length)
  }

  #writeFile(suffix: Suffix, bytes: Buffer): void {
    const file = openSync(this.#path(suffix), 'w')
    try {
      writeAll(file, bytes)
      fdatasyncSync(file)
    } finally {
      closeSync(file)
    }
  }
}

function writeAll(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
}

/** Removes the files of a cleaned segment that does not count yet. */
export function removeCleaned(directory: string, baseOffset: number): void {
  for (const suffix of SUFFIXES) {
    try {
      unlinkSync(join(directory, `${segmentName(baseOffset)}${suffix}.cleaned`))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}
