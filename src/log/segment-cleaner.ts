/**
 * Compacts the closed segments of one log as Apache Kafka's cleaner does: of each key the newest
 * record stays. First the keys of the part that was not cleaned yet are noted, as far as the memory
 * for them goes; then the segments, from the first one to there, are copied group by group without
 * what is superseded. What comes of a group are files under the suffix `.cleaned`, which the owner of
 * the log puts in the place of the group.
 *
 * Runs on a cleaner thread and only reads files that nobody writes any more. It may find them gone
 * or cut; then nothing of its work is used.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { Codec, decompress } from '../compression/codec.ts'
import { CorruptDataError } from '../compression/errors.ts'
import { addon, type OffsetMap } from '../native/addon.ts'
import { RecordCursor } from './record-cursor.ts'
import {
  BATCH_HEADER_BYTES,
  compressBatch,
  emptyBatch,
  readBatch,
  readInt64,
} from './record-format.ts'
import { type ReadBuffer, SegmentReader, type StoredBatch } from './segment-reader.ts'
import { removeCleaned, SegmentWriter, segmentName } from './segment-writer.ts'
import {
  type AbortedTransaction,
  readTransactionIndex,
  TransactionTracker,
} from './transaction-index.ts'

const DROP_ALL = 1
const KEEP_ALL = 2
const KEEP_TOMBSTONES = 4
const WANTS_HORIZON = 8
const MAP_FULL = 1
const RELATIVE_MAX = 2 ** 31 - 1
const CONTROL_BYTES_MAX = 4096

/** Why cleaning stopped before its end: the log changed under it, or nobody wants it any more. */
export class CleaningAbortedError extends Error {
  override readonly name = 'CleaningAbortedError'
}

/** What is to be cleaned, and how; plain, for it goes to another thread. Times in ms. */
export interface CleaningPlan {
  /** The partition's folder. */
  readonly directory: string
  /** Where each segment begins, the active one included. */
  readonly segments: readonly number[]
  /** The first offset that no cleaning has looked at. */
  readonly firstDirty: number
  /** Where a segment begins of which, and of those behind, nothing may be touched. */
  readonly firstUncleanable: number
  readonly nowMs: number
  readonly deleteRetentionMs: number
  readonly segmentBytes: number
  readonly segmentIndexBytes: number
  readonly indexIntervalBytes: number
  /** No batch of the log may be longer. */
  readonly batchBytesMax: number
  /** No batch may hold more when it is decompressed. */
  readonly decompressionMaxBytes: number
  /** Rows of 3: producer id, offset of its last record (-1: none), epoch. */
  readonly producers: Float64Array
}

export interface CleanerResources {
  readonly map: OffsetMap
  readonly readBuffer: ReadBuffer
  readonly writeBuffer: Buffer
  /** Told of bytes read and written, where it may wait. Throws CleaningAbortedError. */
  readonly charge: (bytes: number) => void
}

export interface IndexedLog {
  /** Up to where the keys are known: the new first dirty offset. */
  readonly endOffset: number
  readonly keys: number
  /** Whether there was no room for more keys. */
  readonly full: boolean
  /** Where the segments begin that become one, group by group in order. */
  readonly groups: readonly (readonly number[])[]
}

export interface CleanedGroup {
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly recordsBefore: number
  readonly recordsAfter: number
  /** Records that a compacted log should not have had. */
  readonly withoutKey: number
}

interface SegmentFiles {
  readonly baseOffset: number
  /** Where the next one begins. */
  readonly endOffset: number
  readonly bytes: number
  readonly indexBytes: number
  readonly timeIndexBytes: number
}

interface LastOfProducer {
  readonly lastOffset: number
  readonly epoch: number
}

export class SegmentCleaner {
  readonly #plan: CleaningPlan
  readonly #resources: CleanerResources
  readonly #state = new Float64Array(3)
  readonly #producers = new Map<number, LastOfProducer>()
  readonly #aborted: readonly AbortedTransaction[]
  #tracker: TransactionTracker
  #writer: SegmentWriter | null = null
  #latestOffset = -1

  /** Throws CorruptDataError for a damaged transaction index. */
  constructor(plan: CleaningPlan, resources: CleanerResources) {
    this.#plan = plan
    this.#resources = resources
    for (let at = 0; at < plan.producers.length; at += 3) {
      const [id, lastOffset, epoch] = plan.producers.subarray(at, at + 3)
      this.#producers.set(id as number, {
        lastOffset: lastOffset as number,
        epoch: epoch as number,
      })
    }
    // A transaction may end in a later segment than it begins in, also in one that is not cleaned.
    this.#aborted = plan.segments.flatMap((base) =>
      readTransactionIndex(join(plan.directory, `${segmentName(base)}.txnindex`)),
    )
    this.#tracker = new TransactionTracker(this.#aborted, (aborted) =>
      this.#writer?.appendAborted(aborted),
    )
  }

  /** Notes the keys. Throws CorruptDataError, CleaningAbortedError and I/O errors. */
  index(): IndexedLog {
    const { segments, firstDirty, firstUncleanable } = this.#plan
    const tracker = new TransactionTracker(
      this.#aborted.filter((aborted) => aborted.lastOffset >= firstDirty),
    )
    this.#latestOffset = firstDirty - 1
    let full = false
    for (const [i, base] of segments.entries()) {
      const end = segments[i + 1] ?? firstUncleanable
      if (end <= firstDirty || base >= firstUncleanable) continue
      full = this.#indexSegment(base, tracker)
      if (full) break
      // Offsets that are missing at the end of a segment belong to it.
      this.#latestOffset = Math.max(this.#latestOffset, Math.min(end, firstUncleanable) - 1)
    }
    const [keys] = addon.offsetMapSize(this.#resources.map)
    const endOffset = this.#latestOffset + 1
    return { endOffset, keys, full, groups: this.#groups(endOffset) }
  }

  /** Whether the map was full before the end of the segment. */
  #indexSegment(base: number, tracker: TransactionTracker): boolean {
    const { firstDirty } = this.#plan
    const reader = this.#open(base)
    try {
      for (let batch = reader.next(); batch !== null; batch = reader.next()) {
        if (batch.isControl) tracker.onMarker({ ...batch, kind: markerKind(batch) })
        const dropped = batch.isControl || tracker.onBatch(batch)
        if (!dropped && batch.lastOffset >= firstDirty && this.#indexBatch(batch, reader)) {
          return true
        }
        this.#latestOffset = Math.max(this.#latestOffset, batch.lastOffset)
      }
      return false
    } finally {
      reader.close()
    }
  }

  #indexBatch(batch: StoredBatch, reader: SegmentReader): boolean {
    const { map } = this.#resources
    const records = this.#records(batch)
    const result = addon.indexRecords(map, batch.bytes, records, this.#plan.firstDirty, this.#state)
    if (result < 0) throw reader.corrupt('malformed records in the batch before')
    if (result !== MAP_FULL) return false
    this.#latestOffset = Math.max(this.#latestOffset, this.#state[0] as number)
    return true
  }

  /** The records of a compressed batch; null of one that is not. */
  #records(batch: StoredBatch): Buffer | null {
    if (batch.codec === Codec.NONE || batch.recordCount === 0) return null
    return decompress(batch.codec, batch.bytes.subarray(BATCH_HEADER_BYTES), {
      outputBytesMax: this.#plan.decompressionMaxBytes,
      magic: 2,
    })
  }

  /** Segments before `endOffset`, put together as long as what they become is one segment. */
  #groups(endOffset: number): number[][] {
    const { segmentBytes, segmentIndexBytes } = this.#plan
    const files = this.#files(endOffset)
    const groups: number[][] = []
    for (let i = 0; i < files.length; ) {
      const first = files[i] as SegmentFiles
      let { bytes, indexBytes, timeIndexBytes } = first
      const group = [first.baseOffset]
      for (i += 1; i < files.length; i += 1) {
        const next = files[i] as SegmentFiles
        bytes += next.bytes
        indexBytes += next.indexBytes
        timeIndexBytes += next.timeIndexBytes
        const fits =
          bytes <= segmentBytes &&
          indexBytes <= segmentIndexBytes &&
          timeIndexBytes <= segmentIndexBytes &&
          (next.bytes === 0 || next.endOffset - 1 - first.baseOffset <= RELATIVE_MAX)
        if (!fits) break
        group.push(next.baseOffset)
      }
      groups.push(group)
    }
    return groups
  }

  #files(endOffset: number): SegmentFiles[] {
    const { directory, segments, firstUncleanable } = this.#plan
    const files: SegmentFiles[] = []
    for (const [i, baseOffset] of segments.entries()) {
      if (baseOffset >= endOffset || baseOffset >= firstUncleanable) break
      const sizeOf = (suffix: string): number => {
        const path = join(directory, segmentName(baseOffset) + suffix)
        return statSync(path, { throwIfNoEntry: false })?.size ?? 0
      }
      files.push({
        baseOffset,
        endOffset: segments[i + 1] ?? firstUncleanable,
        bytes: sizeOf('.log'),
        indexBytes: sizeOf('.index'),
        timeIndexBytes: sizeOf('.timeindex'),
      })
    }
    return files
  }

  /**
   * Copies what stays of a group; groups are to be cleaned in order, after `index`. On an error no
   * files are left. Throws as `index`.
   */
  clean(group: readonly number[]): CleanedGroup {
    const writer = new SegmentWriter({
      directory: this.#plan.directory,
      baseOffset: group[0] as number,
      indexIntervalBytes: this.#plan.indexIntervalBytes,
      buffer: this.#resources.writeBuffer,
      onWrite: this.#resources.charge,
    })
    this.#writer = writer
    const total = { bytesBefore: 0, recordsBefore: 0, recordsAfter: 0, withoutKey: 0 }
    try {
      let modifiedMs = 0
      for (const base of group) {
        const reader = this.#open(base)
        try {
          total.bytesBefore += reader.size
          modifiedMs = reader.modifiedMs
          for (let batch = reader.next(); batch !== null; batch = reader.next()) {
            total.recordsBefore += batch.recordCount
            total.recordsAfter += this.#cleanBatch(batch, reader, writer)
            total.withoutKey += this.#state[2] as number
          }
        } finally {
          reader.close()
        }
      }
      writer.finish(modifiedMs)
      return { ...total, bytesAfter: writer.size }
    } catch (error) {
      writer.abandon()
      throw error
    } finally {
      this.#writer = null
    }
  }

  /** Removes the files of a group that was cleaned and is not wanted any more. */
  discard(group: readonly number[]): void {
    removeCleaned(this.#plan.directory, group[0] as number)
  }

  /** Writes what stays of a batch; how many records that is. */
  #cleanBatch(batch: StoredBatch, reader: SegmentReader, writer: SegmentWriter): number {
    const { nowMs, deleteRetentionMs, firstUncleanable } = this.#plan
    const isOver = batch.deleteHorizonMs !== null && batch.deleteHorizonMs <= nowMs
    const unneeded = batch.isControl
      ? this.#tracker.onMarker({ ...batch, kind: markerKind(batch) })
      : this.#tracker.onBatch(batch)
    let flags = 0
    if (batch.isControl) {
      flags = unneeded && isOver ? DROP_ALL : KEEP_ALL
      if (unneeded) flags |= WANTS_HORIZON
    } else {
      flags = unneeded ? DROP_ALL : 0
      if (!isOver) flags |= KEEP_TOMBSTONES
    }
    const changed = addon.filterRecords(
      this.#resources.map,
      batch.bytes,
      this.#records(batch),
      this.#latestOffset,
      flags,
      nowMs + deleteRetentionMs,
      this.#state,
    )
    if (this.#state[0] !== 0) throw reader.corrupt('malformed records in the batch before')
    const kept = this.#state[1] as number
    if (kept === 0) {
      // An offset that a producer goes on from, or that the cleaned part ends with.
      if (this.#isLastOfProducer(batch) || batch.lastOffset + 1 === firstUncleanable) {
        this.#write(emptyBatch(batch.bytes), batch, writer, reader)
      }
    } else if (changed === null) {
      this.#write(batch.bytes, batch, writer, reader)
    } else {
      const stored = batch.codec === Codec.NONE ? changed : compressBatch(changed, batch.codec)
      this.#write(stored, batch, writer, reader)
    }
    return kept
  }

  #write(bytes: Buffer, batch: StoredBatch, writer: SegmentWriter, reader: SegmentReader): void {
    if (!writer.hasRoom(bytes.length, batch.lastOffset)) {
      throw reader.corrupt('more than a segment can hold, ending with the batch before')
    }
    writer.append(bytes, { lastOffset: batch.lastOffset, maxTimestamp: readInt64(bytes, 35) })
  }

  #isLastOfProducer(batch: StoredBatch): boolean {
    if (batch.producerId < 0) return false
    const last = this.#producers.get(batch.producerId)
    if (last === undefined) return false
    // Without records of its own it is known by its newest marker, which has its epoch.
    return last.lastOffset >= 0
      ? last.lastOffset === batch.lastOffset
      : batch.isControl && batch.producerEpoch === last.epoch
  }

  #open(base: number): SegmentReader {
    try {
      return new SegmentReader({
        path: join(this.#plan.directory, `${segmentName(base)}.log`),
        baseOffset: base,
        batchBytesMax: this.#plan.batchBytesMax,
        buffer: this.#resources.readBuffer,
        onRead: this.#resources.charge,
      })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new CleaningAbortedError(`segment ${base} is gone`)
    }
  }
}

const MARKER_KINDS = ['abort', 'commit'] as const

/** What a control batch says. Throws CorruptDataError. */
function markerKind(batch: StoredBatch): 'abort' | 'commit' | 'empty' | 'other' {
  if (batch.recordCount === 0) return 'empty'
  const header = readBatch(batch.bytes)
  const cursor = new RecordCursor(header, batch.bytes, CONTROL_BYTES_MAX)
  try {
    if (!cursor.next()) return 'empty'
    // Its version, then its type.
    if (cursor.keyBytes < 4) throw new CorruptDataError('a control record without a type')
    return MARKER_KINDS[cursor.bytes.readInt16BE(cursor.keyAt + 2)] ?? 'other'
  } finally {
    cursor.close()
  }
}
