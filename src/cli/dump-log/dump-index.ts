/** Index files, the transaction index and snapshots of producer state. */
import { existsSync } from 'node:fs'
import { addon } from '../../native/addon.ts'
import type { LineWriter } from '../kit/line-writer.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import { readDumpedBatch, sequenceAfter } from './batches.ts'
import { baseOffsetOf, batchesOf, FileReader } from './segment-file.ts'

const OFFSET_ENTRY_BYTES = 8
const TIME_ENTRY_BYTES = 12
const TXN_ENTRY_BYTES = 34
const PRODUCER_ENTRY_BYTES = 46
const CHUNK_ENTRIES = 8192

export interface IndexDumpOptions {
  readonly verifyOnly: boolean
  readonly sanityOnly: boolean
  readonly messageBytesMax: number
}

interface Context {
  readonly options: IndexDumpOptions
  readonly io: ToolIo
  readonly writer: LineWriter
}

interface OffsetEntry {
  readonly offset: number
  readonly position: number
}

interface TimeEntry {
  readonly timestamp: number
  readonly offset: number
}

/** Entries of an index one by one; what is behind the last whole one is left out. */
function* entriesOf(file: FileReader, bytesPerEntry: number): Generator<Buffer, void, undefined> {
  const count = Math.floor(file.size / bytesPerEntry)
  for (let from = 0; from < count; from += CHUNK_ENTRIES) {
    const some = Math.min(CHUNK_ENTRIES, count - from)
    const bytes = file.read(from * bytesPerEntry, some * bytesPerEntry)
    for (let at = 0; at + bytesPerEntry <= bytes.length; at += bytesPerEntry) {
      yield bytes.subarray(at, at + bytesPerEntry)
    }
  }
}

/** Zeroes behind the first entry are room that was never filled. */
function* offsetEntries(file: FileReader, base: number): Generator<OffsetEntry, void, undefined> {
  let first = true
  for (const bytes of entriesOf(file, OFFSET_ENTRY_BYTES)) {
    const entry = { offset: base + bytes.readInt32BE(0), position: bytes.readInt32BE(4) }
    if (!first && entry.offset === base) return
    first = false
    yield entry
  }
}

function* timeEntries(file: FileReader, base: number): Generator<TimeEntry, void, undefined> {
  let first = true
  for (const bytes of entriesOf(file, TIME_ENTRY_BYTES)) {
    const entry = {
      timestamp: Number(bytes.readBigInt64BE(0)),
      offset: base + bytes.readInt32BE(8),
    }
    if (!first && entry.offset === base) return
    first = false
    yield entry
  }
}

function logBeside(path: string, io: ToolIo): FileReader | null {
  const log = path.replace(/\.[a-z]+$/, '.log')
  if (existsSync(log)) return new FileReader(log)
  io.warn(`${log} is not there: the entries are not compared with it`)
  return null
}

function checkSanity(file: FileReader, bytesPerEntry: number, last: number, base: number): void {
  if (file.size % bytesPerEntry !== 0) {
    throw new ToolError(`${file.path} is damaged: ${file.size} bytes are no whole entries`)
  }
  if (last < base) throw new ToolError(`${file.path} is damaged: the last offset is ${last}`)
}

/** Dumps an `.index`; returns how many entries do not fit the log. */
export async function dumpOffsetIndex(path: string, context: Context): Promise<number> {
  const { options, io, writer } = context
  const base = baseOffsetOf(path)
  const file = new FileReader(path)
  const log = logBeside(path, io)
  const mismatches: [number, number][] = []
  try {
    if (file.size === 0) {
      writer.line(`${path} is empty.`)
      return 0
    }
    if (options.sanityOnly) {
      let last = base
      for (const { offset } of offsetEntries(file, base)) last = offset
      checkSanity(file, OFFSET_ENTRY_BYTES, last, base)
      writer.line(`${path} passed sanity check.`)
      return 0
    }
    for (const entry of offsetEntries(file, base)) {
      if (log !== null) {
        const end = Math.min(log.size, entry.position + options.messageBytesMax)
        const raw = batchesOf(log, entry.position, end).next().value
        const found =
          raw === undefined ? -1 : readDumpedBatch(raw, log.read(raw.position, raw.size)).lastOffset
        if (found !== entry.offset) mismatches.push([entry.offset, found])
      }
      if (!options.verifyOnly) writer.line(`offset: ${entry.offset} position: ${entry.position}`)
      if (writer.isFull) await writer.flush()
    }
  } finally {
    file.close()
    log?.close()
    await writer.flush()
  }
  if (mismatches.length > 0) io.warn(`Mismatches in :${path}`)
  for (const [offset, found] of mismatches) {
    io.warn(`  Index offset: ${offset}, log offset: ${found}`)
  }
  return mismatches.length
}

/** Position of the last entry at or before an offset, as the broker looks it up. */
function positionsOf(path: string, base: number): (offset: number) => number {
  const index = path.replace(/\.timeindex$/, '.index')
  if (!existsSync(index)) return () => 0
  const file = new FileReader(index)
  try {
    const entries = [...offsetEntries(file, base)]
    return (offset) => {
      let low = 0
      let high = entries.length
      while (low < high) {
        const middle = (low + high) >>> 1
        if ((entries[middle] as OffsetEntry).offset <= offset) low = middle + 1
        else high = middle
      }
      return low === 0 ? 0 : (entries[low - 1] as OffsetEntry).position
    }
  } finally {
    file.close()
  }
}

/** What is wrong with one entry of a time index, by the log; nothing: null. */
function timeProblem(
  log: FileReader,
  entry: TimeEntry,
  position: number,
): { readonly kind: 'not found' | 'mismatch'; readonly found: number } | null {
  for (const raw of batchesOf(log, position)) {
    const batch = readDumpedBatch(raw, log.read(raw.position, raw.size))
    if (batch.lastOffset < entry.offset) continue
    if (batch.lastOffset !== entry.offset) return { kind: 'not found', found: batch.lastOffset }
    let timestamp = -1
    for (const record of batch.records()) timestamp = Math.max(timestamp, record.timestamp)
    return timestamp === entry.timestamp ? null : { kind: 'mismatch', found: timestamp }
  }
  return { kind: 'not found', found: -1 }
}

/** Dumps a `.timeindex`; returns how many entries do not fit the log. */
export async function dumpTimeIndex(path: string, context: Context): Promise<number> {
  const { options, io, writer } = context
  const base = baseOffsetOf(path)
  const file = new FileReader(path)
  const log = logBeside(path, io)
  const mismatches: string[] = []
  const disorder: string[] = []
  const missing: string[] = []
  try {
    if (options.sanityOnly) {
      let last = base
      for (const { offset } of timeEntries(file, base)) last = offset
      checkSanity(file, TIME_ENTRY_BYTES, last, base)
      writer.line(`${path} passed sanity check.`)
      return 0
    }
    const positionOf = positionsOf(path, base)
    let previous = -1
    for (const entry of timeEntries(file, base)) {
      const problem = log === null ? null : timeProblem(log, entry, positionOf(entry.offset))
      if (problem?.kind === 'not found') {
        missing.push(`Indexed offset: ${entry.offset}, found log offset: ${problem.found}`)
      } else {
        if (problem !== null) {
          const { timestamp } = entry
          mismatches.push(`  Index timestamp: ${timestamp}, log timestamp: ${problem.found}`)
        }
        if (previous >= entry.timestamp) {
          disorder.push(
            `  Index timestamp: ${entry.timestamp}, Previously indexed timestamp: ${previous}`,
          )
        }
      }
      if (!options.verifyOnly) writer.line(`timestamp: ${entry.timestamp} offset: ${entry.offset}`)
      if (writer.isFull) await writer.flush()
      previous = entry.timestamp
    }
  } finally {
    file.close()
    log?.close()
    await writer.flush()
  }
  const tell = (title: string, lines: readonly string[]): void => {
    for (const line of lines.length > 0 ? [title, ...lines] : []) io.warn(line)
  }
  tell(`Found timestamp mismatch in :${path}`, mismatches)
  tell(`Found out of order timestamp in :${path}`, disorder)
  tell('The following indexed offsets are not found in the log.', missing)
  return mismatches.length + disorder.length + missing.length
}

/** Dumps a `.txnindex`. */
export function dumpTransactionIndex(path: string, { writer }: Context): void {
  const file = new FileReader(path)
  try {
    for (const bytes of entriesOf(file, TXN_ENTRY_BYTES)) {
      writer.line(
        `version: ${bytes.readInt16BE(0)} producerId: ${bytes.readBigInt64BE(2)} ` +
          `firstOffset: ${bytes.readBigInt64BE(10)} lastOffset: ${bytes.readBigInt64BE(18)} ` +
          `lastStableOffset: ${bytes.readBigInt64BE(26)}`,
      )
    }
  } finally {
    file.close()
  }
}

/** Dumps a `.snapshot` of producer state. Throws ToolError for a damaged one. */
export function dumpProducerSnapshot(path: string, { writer }: Context): void {
  const file = new FileReader(path)
  const bytes = file.read(0, file.size)
  file.close()
  if (bytes.length < 10) throw new ToolError(`${path} is damaged: ${bytes.length} bytes`)
  const version = bytes.readInt16BE(0)
  if (version !== 1) throw new ToolError(`${path} has the unknown version ${version}`)
  if (addon.crc32c(bytes.subarray(6), 0) !== bytes.readUInt32BE(2)) {
    throw new ToolError(`${path} is damaged: its checksum does not fit`)
  }
  const count = bytes.readInt32BE(6)
  if (count < 0 || bytes.length !== 10 + count * PRODUCER_ENTRY_BYTES) {
    throw new ToolError(`${path} is damaged: ${count} entries in ${bytes.length} bytes`)
  }
  for (let at = 10; at < bytes.length; at += PRODUCER_ENTRY_BYTES) {
    const lastSequence = bytes.readInt32BE(at + 10)
    const lastOffset = bytes.readBigInt64BE(at + 14)
    const offsetDelta = bytes.readInt32BE(at + 22)
    const timestamp = bytes.readBigInt64BE(at + 26)
    const firstOffset = bytes.readBigInt64BE(at + 38)
    writer.write(
      `producerId: ${bytes.readBigInt64BE(at)} producerEpoch: ${bytes.readInt16BE(at + 8)} ` +
        `coordinatorEpoch: ${bytes.readInt32BE(at + 34)} currentTxnFirstOffset: ` +
        `${firstOffset < 0n ? 'OptionalLong.empty' : `OptionalLong[${firstOffset}]`} ` +
        `lastTimestamp: ${timestamp} `,
    )
    if (lastOffset >= 0n) {
      writer.write(
        `firstSequence: ${sequenceAfter(lastSequence, -offsetDelta)} ` +
          `lastSequence: ${lastSequence} lastOffset: ${lastOffset} ` +
          `offsetDelta: ${offsetDelta} timestamp: ${timestamp}`,
      )
    }
    writer.line('')
  }
}
