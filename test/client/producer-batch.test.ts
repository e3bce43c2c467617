/** The batches of a producer, held against the plain builder of the protocol. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCrc32c } from '../../src/client/codecs.ts'
import {
  addToSequence,
  type EncodableRecord,
  ProducerBatch,
  recordBytesMax,
} from '../../src/client/producer-batch.ts'
import { decodeRecords } from '../../src/client/records.ts'
import { RECORD_BATCH_OVERHEAD_BYTES, writeRecordBatch } from '../../src/protocol/record-batch.ts'

const part = fc.option(
  fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constant(Buffer.alloc(9000)),
  ),
  { nil: null },
)
const record: fc.Arbitrary<EncodableRecord> = fc.record({
  key: part,
  value: part,
  headers: fc.array(fc.record({ key: fc.string({ unit: 'binary' }), value: part }), {
    maxLength: 3,
  }),
  timestamp: fc.oneof(fc.integer({ min: 0, max: 200 }), fc.maxSafeNat()),
})

const bytesOf = (one: string | Uint8Array | null) =>
  one === null ? null : Buffer.from(one as string)

function batchOf(records: readonly EncodableRecord[], told: (index: number) => void) {
  const bytes = records.reduce((sum, one) => sum + recordBytesMax(one), RECORD_BATCH_OVERHEAD_BYTES)
  const buffer = Buffer.alloc(bytes, 0xee)
  const batch = new ProducerBatch({ topic: 't', partition: 0, createdMs: 0, buffer })
  for (const [index, one] of records.entries()) {
    const taken = batch.append(
      one,
      () => told(index),
      () => undefined,
    )
    assert.ok(taken, 'the estimate is enough')
  }
  return batch
}

test('a batch has the bytes that the plain builder makes', async () => {
  const crc32c = await loadCrc32c()
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 70 }), (records) => {
      const batch = batchOf(records, () => undefined)
      batch.setProducer(7, 3, 11)
      const expected = writeRecordBatch(
        records.map(({ key, value, headers, timestamp }) => ({
          key: bytesOf(key),
          value: bytesOf(value),
          headers: headers.map((one) => ({ key: one.key, value: bytesOf(one.value) })),
          timestamp,
        })),
        { crc32c, producerId: 7, producerEpoch: 3, baseSequence: 11 },
      )
      assert.ok(batch.seal({ codec: 0, compress: null, crc32c }).equals(expected))
    }),
    { numRuns: 300 },
  )
})

test('two halves have the records of the whole, and tell them', async () => {
  const crc32c = await loadCrc32c()
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 2, maxLength: 20 }), async (records) => {
      const told: number[] = []
      const batch = batchOf(records, (index) => told.push(index))
      batch.setProducer(7, 3, 0x7fffffff)
      const seal = { codec: 0, compress: null, crc32c }
      const where = { topic: 't', partition: 0 }
      const whole = await decodeRecords(Buffer.from(batch.seal(seal)), where)
      const halves = batch.split((bytes) => Buffer.alloc(bytes))
      let isDone = false
      batch.whenDone(() => {
        isDone = true
      })
      const found = []
      for (const half of halves) {
        const { records: decoded } = await decodeRecords(half.seal(seal), where)
        for (const one of decoded) found.push({ ...one, offset: found.length })
      }
      assert.deepEqual(found, whole.records)
      assert.equal(halves[0].baseSequence, 0x7fffffff)
      assert.equal(halves[1].baseSequence, addToSequence(0x7fffffff, halves[0].recordCount))
      halves[0].complete(0, -1)
      assert.equal(isDone, false)
      halves[1].complete(halves[0].recordCount, -1)
      assert.equal(isDone, true)
      assert.deepEqual(
        told,
        records.map((_, index) => index),
      )
    }),
    { numRuns: 100 },
  )
})

test('sequences go around', () => {
  assert.equal(addToSequence(0x7fffffff, 1), 0)
  assert.equal(addToSequence(0x7ffffffe, 3), 1)
  assert.equal(addToSequence(5, 3), 8)
})
