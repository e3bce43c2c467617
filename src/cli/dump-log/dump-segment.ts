/** `.log` files and snapshots of a metadata log: batch by batch, record by record. */
import { basename } from 'node:path'
import type { LineWriter } from '../kit/line-writer.ts'
import type { ToolIo } from '../kit/tool.ts'
import { type DumpedBatch, type DumpedRecord, readDumpedBatch, sequenceAfter } from './batches.ts'
import type { RecordDecoder } from './decoders.ts'
import { baseOffsetOf, batchesOf, FileReader } from './segment-file.ts'

export interface SegmentDumpOptions {
  readonly printData: boolean
  readonly deep: boolean
  readonly skipRecordMetadata: boolean
  /** Infinity: the whole file. */
  readonly bytesMax: number
  readonly decoder: RecordDecoder
}

function startLine(path: string): string {
  const name = basename(path)
  if (name.endsWith('.log')) return `Log starting offset: ${baseOffsetOf(path)}`
  const parts = /^(\d{1,20})-(\d{1,10})\.checkpoint$/.exec(name)
  if (parts === null) return 'KRaft bootstrap snapshot'
  return `Snapshot end offset: ${Number(parts[1])}, epoch: ${Number(parts[2])}`
}

function batchLine(batch: DumpedBatch): string {
  const { view } = batch
  let head = `offset: ${batch.lastOffset}`
  if (view !== null) {
    const { baseSequence } = view
    const horizon = view.hasDeleteHorizon
      ? `OptionalLong[${view.baseTimestamp}]`
      : 'OptionalLong.empty'
    head =
      `baseOffset: ${view.baseOffset} lastOffset: ${view.lastOffset} count: ${view.recordCount} ` +
      `baseSequence: ${baseSequence} ` +
      `lastSequence: ${sequenceAfter(baseSequence, view.lastOffsetDelta)} ` +
      `producerId: ${view.producerId} producerEpoch: ${view.producerEpoch} ` +
      `partitionLeaderEpoch: ${view.partitionLeaderEpoch} ` +
      `isTransactional: ${view.isTransactional} isControl: ${view.isControl} ` +
      `deleteHorizonMs: ${horizon}`
  }
  return (
    `${head} position: ${batch.position} ${batch.timestampType}: ${batch.maxTimestamp} ` +
    `size: ${batch.size} magic: ${batch.magic} compresscodec: ${batch.codec} ` +
    `crc: ${batch.crc} isvalid: ${batch.isIntact}`
  )
}

/** What a control record says: the kinds that a partition of a topic can hold, others by number. */
function controlText({ key, value }: DumpedRecord): string {
  if (key === null || key.length < 4) return ' controlType: UNKNOWN'
  const type = key.readInt16BE(2)
  if (type !== 0 && type !== 1) return ` controlType: UNKNOWN(${type})`
  const name = type === 0 ? 'ABORT' : 'COMMIT'
  const epoch = value !== null && value.length >= 6 ? value.readInt32BE(2) : -1
  return ` endTxnMarker: ${name} coordinatorEpoch: ${epoch}`
}

function recordLine(
  batch: DumpedBatch,
  record: DumpedRecord,
  crc: (record: DumpedRecord) => string,
  options: SegmentDumpOptions,
): string {
  let line = ''
  let prefix = '| '
  if (!options.skipRecordMetadata) {
    line =
      `| offset: ${record.offset} ${batch.timestampType}: ${record.timestamp} ` +
      `keySize: ${record.key?.length ?? -1} valueSize: ${record.value?.length ?? -1}`
    prefix = ' '
    if (record.legacy === null) {
      const keys = record.headers.map(({ key }) => key).join(',')
      line += ` sequence: ${record.sequence} headerKeys: [${keys}]`
    } else {
      line += crc(record)
    }
    if (batch.isControl) line += controlText(record)
  }
  if (!options.printData || batch.isControl) return line
  const { key, payload } = options.decoder(record)
  if (key !== null) {
    line += `${prefix}key: ${key}`
    prefix = ' '
  }
  return payload === null ? line : `${line} payload: ${payload}`
}

/** The brace at the end is in Apache's own line, which scripts may know. */
function legacyCrc(checksum: (bytes: Uint8Array, seed: number) => number) {
  return ({ legacy }: DumpedRecord): string =>
    legacy === null ? '' : ` isValid: ${legacy.isIntact(checksum)} crc: ${legacy.crc}}`
}

/** Dumps a segment and returns the pairs of offsets that do not follow each other. */
export async function dumpSegment(
  path: string,
  options: SegmentDumpOptions,
  io: ToolIo,
  writer: LineWriter,
): Promise<readonly (readonly [number, number])[]> {
  const { crc32 } = await import('node:zlib')
  const crcText = legacyCrc(crc32)
  const gaps: [number, number][] = []
  writer.line(startLine(path))
  const file = new FileReader(path)
  try {
    const end = Math.min(file.size, options.bytesMax)
    let validBytes = 0
    let last = -1
    for (const raw of batchesOf(file, 0, end)) {
      if (io.signal.aborted) break
      validBytes = raw.position + raw.size
      try {
        const batch = readDumpedBatch(raw, file.read(raw.position, raw.size))
        writer.line(batchLine(batch))
        if (!options.deep) continue
        for (const record of batch.records()) {
          if (last !== -1 && record.offset !== last + 1) gaps.push([last, record.offset])
          last = record.offset
          writer.line(recordLine(batch, record, crcText, options))
          if (writer.isFull) await writer.flush()
        }
      } catch (error) {
        // Damage in one batch is told; what is behind it may be sound.
        await writer.flush()
        io.warn(`${path}: the batch at ${raw.position} cannot be read: ${(error as Error).message}`)
      }
      if (writer.isFull) await writer.flush()
    }
    const left = file.size - validBytes
    if (left > 0 && end === file.size && !io.signal.aborted) {
      writer.line(`Found ${left} invalid bytes at the end of ${basename(path)}`)
    }
  } finally {
    file.close()
  }
  await writer.flush()
  return gaps
}
