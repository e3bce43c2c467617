/**
 * The reader of fetched records: what it leaves out (earlier records, control batches, aborted
 * transactions), that its offset moves past gaps, and that bad bytes never crash or hang it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { legacyCrc32, loadCrc32c, loadDecompress } from '../../src/client/codecs.ts'
import { ProtocolError } from '../../src/client/errors.ts'
import {
  type AbortedTransaction,
  RecordReader,
  scanRecords,
} from '../../src/client/record-reader.ts'
import type { ConsumerRecord } from '../../src/client/records.ts'
import { writeLegacyMessageSet } from '../../src/protocol/legacy-message-set.ts'
import { MalformedMessageError } from '../../src/protocol/message-reader.ts'
import { type RecordBatchOptions, writeRecordBatch } from '../../src/protocol/record-batch.ts'

const crc32c = await loadCrc32c()
const decompress = await loadDecompress([1, 2, 3, 4])

interface BatchShape extends Partial<RecordBatchOptions> {
  readonly deltas?: readonly number[]
}

function batch(baseOffset: number, { deltas = [0], ...options }: BatchShape = {}): Buffer {
  const records = deltas.map((offsetDelta) => ({
    value: Buffer.from(`v${baseOffset + offsetDelta}`),
    timestamp: 1000 + offsetDelta,
    offsetDelta,
  }))
  return writeRecordBatch(records, { crc32c, baseOffset, partitionLeaderEpoch: 3, ...options })
}

/** The marker that ends a transaction: 0 aborts, 1 commits. */
function marker(baseOffset: number, producerId: number, type: 0 | 1): Buffer {
  const key = Buffer.alloc(4)
  key.writeInt16BE(type, 2)
  const options = { isControl: true, isTransactional: true, producerId, producerEpoch: 0 }
  const record = { key, value: Buffer.alloc(6), timestamp: 1 }
  return writeRecordBatch([record], { crc32c, baseOffset, ...options })
}

function readerOf(
  bytes: Buffer,
  fetchOffset = 0,
  abortedTransactions: readonly AbortedTransaction[] | null = null,
): RecordReader {
  const checks = { crc32c, crc32: legacyCrc32, decompress }
  const where = { topic: 't', partition: 5 }
  return new RecordReader({ ...where, bytes, fetchOffset, abortedTransactions, ...checks })
}

function all(reader: RecordReader): ConsumerRecord[] {
  const records: ConsumerRecord[] = []
  for (let one = reader.next(); one !== null; one = reader.next()) records.push(one)
  return records
}

function offsetsOf(reader: RecordReader): number[] {
  return all(reader).map(({ offset }) => offset)
}

test('begins in the middle of a batch, and moves past what compaction has left out', () => {
  const bytes = Buffer.concat([
    batch(10, { deltas: [0, 1, 4], lastOffsetDelta: 6 }),
    batch(17, { deltas: [], lastOffsetDelta: 2 }),
    batch(20, { deltas: [1], lastOffsetDelta: 3 }),
  ])
  assert.deepEqual(scanRecords(bytes, 11), { endOffset: 24, codecs: new Set(), batchCount: 3 })
  const reader = readerOf(bytes, 11)
  assert.equal(reader.next()?.offset, 11)
  assert.equal(reader.nextOffset, 12)
  assert.equal(reader.leaderEpoch, 3)
  assert.deepEqual(offsetsOf(reader), [14, 21])
  assert.equal(reader.nextOffset, 24)
})

test('a batch that is cut off at the end is not there', () => {
  const whole = batch(0, { deltas: [0, 1] })
  const cut = Buffer.concat([whole, batch(2).subarray(0, 50)])
  const reader = readerOf(cut)
  assert.deepEqual(offsetsOf(reader), [0, 1])
  assert.equal(reader.nextOffset, 2)
  assert.equal(scanRecords(cut, 0).endOffset, 2)
  assert.equal(scanRecords(whole.subarray(0, 30), 0).batchCount, 0)
})

test('aborted transactions are left out with read_committed only', () => {
  const open = (producerId: number) => ({ isTransactional: true, producerId, producerEpoch: 0 })
  const bytes = Buffer.concat([
    batch(0, open(1)),
    batch(1, open(2)),
    batch(2),
    marker(3, 1, 0),
    batch(4, open(1)),
    marker(5, 2, 1),
    batch(6, open(2)),
    marker(7, 1, 1),
    marker(8, 2, 0),
  ])
  // Of producer 1 the first transaction is aborted, of producer 2 the second.
  const aborted = [
    { producerId: 2, firstOffset: 6 },
    { producerId: 1, firstOffset: 0 },
  ]
  const committed = readerOf(bytes, 0, aborted)
  assert.deepEqual(offsetsOf(committed), [1, 2, 4])
  assert.equal(committed.nextOffset, 9)
  assert.deepEqual(offsetsOf(readerOf(bytes)), [0, 1, 2, 4, 6])
  // The fetch begins in the middle of the aborted one.
  assert.deepEqual(
    offsetsOf(readerOf(bytes.subarray(batch(0, open(1)).length), 1, aborted)),
    [1, 2, 4],
  )
})

test('what follows only control batches is a new offset without a record', () => {
  const reader = readerOf(marker(41, 1, 1), 41, [])
  assert.equal(reader.next(), null)
  assert.equal(reader.nextOffset, 42)
})

test('timestamps are those of the producer, or of the append', () => {
  const plain = readerOf(batch(0)).next()
  assert.deepEqual([plain?.timestamp, plain?.timestampType], [1000, 'CreateTime'])
  const appended = readerOf(batch(0, { logAppendTimeMs: 777 })).next()
  assert.deepEqual([appended?.timestamp, appended?.timestampType], [777, 'LogAppendTime'])
})

test('formats 0 and 1 are read, wrapped or not', () => {
  for (const magic of [0, 1] as const) {
    const messages = [7, 8].map((offset) => ({
      offset: offset - (magic === 1 ? 7 : 0),
      key: Buffer.from('k'),
      value: Buffer.from(`v${offset}`),
      timestamp: 5,
    }))
    const inner = writeLegacyMessageSet(messages, { magic, crc32: legacyCrc32 })
    const value = gzipSync(inner)
    const wrapper = [{ offset: 8, value, timestamp: 5, codec: 1 }]
    const bytes = Buffer.concat([
      writeLegacyMessageSet([{ offset: 6, value: null }], { magic, crc32: legacyCrc32 }),
      writeLegacyMessageSet(wrapper, { magic, crc32: legacyCrc32 }),
    ])
    assert.deepEqual(scanRecords(bytes, 6).codecs, new Set([1]))
    const reader = readerOf(bytes, 6)
    const records = all(reader)
    assert.deepEqual(
      records.map((one) => [one.offset, String(one.value), one.leaderEpoch, one.timestampType]),
      [
        [6, 'null', -1, magic === 0 ? 'NoTimestampType' : 'CreateTime'],
        [7, 'v7', -1, magic === 0 ? 'NoTimestampType' : 'CreateTime'],
        [8, 'v8', -1, magic === 0 ? 'NoTimestampType' : 'CreateTime'],
      ],
    )
    assert.equal(reader.nextOffset, 9)
    assert.deepEqual(offsetsOf(readerOf(bytes, 8)), [8])
  }
})

test('a wrong checksum is told, with the offset before it', () => {
  const bytes = Buffer.concat([batch(0), batch(1)])
  bytes[bytes.length - 1] = 0xff
  const reader = readerOf(bytes)
  assert.equal(reader.next()?.offset, 0)
  assert.throws(() => reader.next(), MalformedMessageError)
  assert.equal(reader.nextOffset, 1)
})

test('no bytes crash it, and it comes to an end', () => {
  const sound = Buffer.concat([
    batch(0, { deltas: [0, 1, 2] }),
    batch(3, { compression: { codec: 1, compress: (body) => gzipSync(body) } }),
    writeLegacyMessageSet([{ offset: 4, value: Buffer.from('x') }], {
      magic: 1,
      crc32: legacyCrc32,
    }),
  ])
  const change = fc.record({
    at: fc.nat(sound.length - 1),
    to: fc.nat(255),
    cut: fc.nat(sound.length),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4 }), (changes) => {
      let bytes = Buffer.from(sound)
      for (const { at, to } of changes) bytes[at] = to
      bytes = bytes.subarray(0, changes[0]?.cut ?? bytes.length)
      const reader = new RecordReader({
        ...{ topic: 't', partition: 0, bytes, fetchOffset: 0, abortedTransactions: [] },
        ...{ crc32c: null, crc32: null, decompress },
      })
      try {
        scanRecords(bytes, 0)
        all(reader)
      } catch (error) {
        const isTold = error instanceof MalformedMessageError || error instanceof ProtocolError
        assert.ok(isTold, String(error))
      }
    }),
    { numRuns: 3000 },
  )
})
