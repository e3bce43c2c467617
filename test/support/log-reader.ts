/**
 * Reads a partition's `.log` files from disk, independently of the broker's own code: the header of
 * every record batch of format 2, its checksum verified.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import type { Codec } from './driver.ts'

const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const satisfies readonly Codec[]
const HEADER_SIZE = 61

export interface StoredBatch {
  readonly file: string
  readonly position: number
  readonly size: number
  readonly baseOffset: number
  readonly lastOffset: number
  readonly codec: Codec
  readonly hasLogAppendTime: boolean
  readonly maxTimestamp: number
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/**
 * The batches of one partition in order. Throws on a wrong checksum, another format, or offsets
 * that do not rise. Zero bytes after the last batch are preallocated space, not damage.
 */
export function readLog(dataDir: string, topic: string, partition: number): StoredBatch[] {
  const folder = join(dataDir, `${topic}-${partition}`)
  const files = readdirSync(folder).filter((name) => name.endsWith('.log'))
  const batches = files.sort().flatMap((name) => [...readSegment(join(folder, name))])
  for (const [i, batch] of batches.entries()) {
    const previous = batches[i - 1]
    if (previous === undefined) continue
    const where = `${batch.file} at ${batch.position}`
    assert.ok(batch.baseOffset > previous.lastOffset, `${where}: offset ${batch.baseOffset}`)
  }
  return batches
}

function* readSegment(file: string): Generator<StoredBatch> {
  const bytes = readFileSync(file)
  let position = 0
  while (position + HEADER_SIZE <= bytes.length && bytes.readInt32BE(position + 8) !== 0) {
    const size = 12 + bytes.readInt32BE(position + 8)
    const where = `${file} at ${position}`
    assert.ok(size >= HEADER_SIZE && position + size <= bytes.length, `${where}: size ${size}`)
    yield readBatch(bytes.subarray(position, position + size), file, position)
    position += size
  }
  const rest = bytes.subarray(position)
  assert.ok(
    rest.every((byte) => byte === 0),
    `${file}: ${rest.length} bytes after ${position} are no batch`,
  )
}

function readBatch(batch: Buffer, file: string, position: number): StoredBatch {
  const where = `${file} at ${position}`
  assert.equal(batch.readInt8(16), 2, `${where}: record format`)
  assert.equal(crc32c(batch.subarray(21)), batch.readUInt32BE(17), `${where}: checksum`)
  const attributes = batch.readInt16BE(21)
  const codec = codecs[attributes & 7]
  assert.ok(codec, `${where}: codec ${attributes & 7}`)
  const baseOffset = Number(batch.readBigInt64BE(0))
  return {
    file,
    position,
    size: batch.length,
    baseOffset,
    lastOffset: baseOffset + batch.readInt32BE(23),
    codec,
    hasLogAppendTime: (attributes & 8) !== 0,
    maxTimestamp: Number(batch.readBigInt64BE(35)),
    producerId: Number(batch.readBigInt64BE(43)),
    producerEpoch: batch.readInt16BE(51),
    baseSequence: batch.readInt32BE(53),
    recordCount: batch.readInt32BE(57),
  }
}
