/** Segments written by hand, batch by batch at offsets of one's choice, and read back. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { RecordCursor } from '../../src/log/record-cursor.ts'
import { compressBatch, readBatch } from '../../src/log/record-format.ts'

export interface StoredRecord {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
  readonly timestamp: number
}

export interface BatchFields {
  readonly baseOffset: number
  /** Ascending. */
  readonly records: readonly StoredRecord[]
  /** If it is not that of the last record. */
  readonly lastOffset?: number
  readonly codec?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly isTransactional?: boolean
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let raw = value >= 0 ? BigInt(value) * 2n : BigInt(-value) * 2n - 1n
  for (; raw >= 128n; raw >>= 7n) bytes.push(Number(raw & 127n) | 128)
  bytes.push(Number(raw))
  return Buffer.from(bytes)
}

function field(bytes: Buffer | string | null): Buffer {
  if (bytes === null) return varint(-1)
  const content = Buffer.from(bytes)
  return Buffer.concat([varint(content.length), content])
}

/** A batch of format 2, byte by byte as the format says. */
function encode(fields: BatchFields, keys: readonly (Buffer | string | null)[], bits: number) {
  const { baseOffset, records } = fields
  const baseTimestamp = records[0]?.timestamp ?? -1
  const body = records.map((record, i) => {
    const content = Buffer.concat([
      Buffer.from([0]),
      varint(record.timestamp - baseTimestamp),
      varint(record.offset - baseOffset),
      field(keys[i] ?? null),
      field(record.value),
      // One header, so that cleaned records are seen to keep theirs.
      Buffer.concat([varint(1), field('h'), field(String(record.offset))]),
    ])
    return Buffer.concat([varint(content.length), content])
  })
  const batch = Buffer.concat([Buffer.alloc(61), ...body])
  const last = fields.lastOffset ?? records.at(-1)?.offset ?? baseOffset
  batch.writeBigInt64BE(BigInt(baseOffset), 0)
  batch.writeInt32BE(batch.length - 12, 8)
  batch[16] = 2
  batch.writeInt16BE(bits, 21)
  batch.writeInt32BE(last - baseOffset, 23)
  batch.writeBigInt64BE(BigInt(baseTimestamp), 27)
  batch.writeBigInt64BE(BigInt(Math.max(-1, ...records.map((one) => one.timestamp))), 35)
  batch.writeBigInt64BE(BigInt(fields.producerId ?? -1), 43)
  batch.writeInt16BE(fields.producerEpoch ?? -1, 51)
  batch.writeInt32BE(fields.baseSequence ?? -1, 53)
  batch.writeInt32BE(records.length, 57)
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
  return batch
}

export function dataBatch(fields: BatchFields): Buffer {
  const keys = fields.records.map((record) => record.key)
  const batch = encode(fields, keys, fields.isTransactional === true ? 16 : 0)
  return (fields.codec ?? 0) === 0 ? batch : compressBatch(batch, fields.codec ?? 0)
}

/** The marker that ends a transaction. */
export function markerBatch(
  fields: Required<Pick<BatchFields, 'baseOffset' | 'producerId' | 'producerEpoch'>> & {
    readonly commit: boolean
    readonly timestamp: number
  },
): Buffer {
  const { baseOffset, timestamp, commit } = fields
  const key = Buffer.from([0, 0, 0, commit ? 1 : 0])
  const record = { offset: baseOffset, key: null, value: '\0\0\0\0\0\0', timestamp }
  return encode({ ...fields, records: [record] }, [key], 16 | 32)
}

/** A segment's file name without its suffix. */
export function segmentPath(folder: string, baseOffset: number): string {
  return join(folder, String(baseOffset).padStart(20, '0'))
}

export function writeSegment(folder: string, baseOffset: number, batches: readonly Buffer[]): void {
  writeFileSync(`${segmentPath(folder, baseOffset)}.log`, Buffer.concat(batches))
}

export interface ReadBackBatch {
  readonly bytes: Buffer
  readonly baseOffset: number
  readonly lastOffset: number
  readonly codec: number
  readonly isControl: boolean
  readonly isTransactional: boolean
  readonly deleteHorizonMs: number | null
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly leaderEpoch: number
  readonly records: readonly StoredRecord[]
}

/** Takes batches apart; every one must be whole and its checksum right. */
export function decodeBatches(bytes: Buffer): ReadBackBatch[] {
  const batches: ReadBackBatch[] = []
  for (let at = 0; at < bytes.length; ) {
    const header = readBatch(bytes.subarray(at))
    const batch = bytes.subarray(at, at + header.size)
    assert.equal(batch.length, header.size, 'a whole batch')
    assert.equal(crc32c(batch.subarray(21)), batch.readUInt32BE(17), 'checksum')
    const attributes = batch.readInt16BE(21)
    const records: StoredRecord[] = []
    const cursor = new RecordCursor(header, batch, 1e8)
    while (cursor.next()) {
      const text = (from: number, length: number): string | null =>
        length < 0 ? null : cursor.bytes.toString('latin1', from, from + length)
      records.push({
        offset: header.baseOffset + cursor.offsetDelta,
        key: text(cursor.keyAt, cursor.keyBytes),
        value: text(cursor.valueAt, cursor.valueBytes),
        timestamp: header.baseTimestamp + cursor.timestampDelta,
      })
    }
    cursor.close()
    batches.push({
      bytes: batch,
      baseOffset: header.baseOffset,
      lastOffset: header.baseOffset + batch.readInt32BE(23),
      codec: header.codec,
      isControl: header.isControl,
      isTransactional: (attributes & 16) !== 0,
      deleteHorizonMs: (attributes & 64) !== 0 ? header.baseTimestamp : null,
      producerId: Number(batch.readBigInt64BE(43)),
      producerEpoch: batch.readInt16BE(51),
      baseSequence: batch.readInt32BE(53),
      leaderEpoch: batch.readInt32BE(12),
      records,
    })
    at += header.size
  }
  return batches
}

export function readSegment(folder: string, baseOffset: number): Buffer {
  return readFileSync(`${segmentPath(folder, baseOffset)}.log`)
}
