/** The slow lane: old formats up to format 2 and down again, compressed batches looked into. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Codec } from '../../src/compression/codec.ts'
import { buildBatch, buildMessageSet, readBatch } from '../../src/log/record-format.ts'
import {
  convertDown,
  findOffsetByTimestamp,
  type SlowLaneRules,
  validateAndConvert,
} from '../../src/log/slow-lane.ts'
import { addon } from '../../src/native/addon.ts'
import { batchContent, messageSetContent } from './record-content.ts'

const rules: SlowLaneRules = {
  apiVersion: 2,
  compression: -1,
  logAppendTime: false,
  nowMs: 1_700_000_000_000,
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  compacted: false,
  decompressionMaxBytes: 64 << 20,
}
const LIMIT = 64 << 20

const records = Array.from({ length: 50 }, (_, i) => ({
  offset: i,
  timestamp: 1_700_000_000_000 + i * 10,
  key: i % 5 === 0 ? null : Buffer.from(`key ${i}`),
  value: i % 7 === 0 ? null : Buffer.from(`value ${i} `.repeat(i)),
}))

for (const magic of [0, 1] as const) {
  for (const codec of [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4]) {
    test(`format ${magic}, codec ${codec}: up to format 2 and down again`, () => {
      const wanted = magic === 1 ? records : records.map((one) => ({ ...one, timestamp: -1 }))
      const old = buildMessageSet(wanted, { magic, codec })
      const up = validateAndConvert(old, rules)
      assert.equal(up.kind, 'replace')
      if (up.kind !== 'replace') return
      const batch = readBatch(up.bytes)
      assert.equal(batch.codec, codec)
      assert.equal(batch.recordCount, records.length)
      assert.equal(batch.maxTimestamp, magic === 1 ? records.at(-1)?.timestamp : -1)
      assert.equal(up.bytes.readUInt32BE(17), addon.crc32c(up.bytes.subarray(21), 0))
      assert.deepEqual(batchContent(up.bytes), wanted)
      const down = convertDown(up.bytes, { magic, fetchOffset: 0, decompressionMaxBytes: LIMIT })
      assert.ok(down)
      assert.deepEqual(messageSetContent(down), wanted)
      const later = convertDown(up.bytes, { magic, fetchOffset: 20, decompressionMaxBytes: LIMIT })
      assert.ok(later)
      assert.deepEqual(messageSetContent(later), wanted.slice(20))
    })
  }
}

for (const codec of [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]) {
  test(`a batch in codec ${codec} is accepted, recompressed where asked, and searched`, () => {
    const bytes = buildBatch(records, codec)
    const modern = { ...rules, apiVersion: 9 }
    assert.deepEqual(validateAndConvert(bytes, modern), { kind: 'accept' })
    for (const target of [Codec.NONE, Codec.GZIP, Codec.ZSTD]) {
      const outcome = validateAndConvert(bytes, { ...modern, compression: target })
      if (target === codec) {
        assert.equal(outcome.kind, 'accept')
      } else {
        assert.ok(outcome.kind === 'replace')
        assert.equal(readBatch(outcome.bytes).codec, target)
        assert.deepEqual(batchContent(outcome.bytes), records)
      }
    }
    const time = (records[30]?.timestamp ?? 0) - 5
    assert.deepEqual(findOffsetByTimestamp(bytes, time, LIMIT), {
      offset: 30,
      timestamp: records[30]?.timestamp,
    })
    assert.equal(findOffsetByTimestamp(bytes, 1_800_000_000_000, LIMIT), null)
  })
}

test('what is wrong is refused with the code of its kind', () => {
  const batch = buildBatch(records, Codec.GZIP)
  const modern = { ...rules, apiVersion: 9 }
  const refusal = (bytes: Buffer, with_: Partial<SlowLaneRules> = {}) => {
    const outcome = validateAndConvert(bytes, { ...modern, ...with_ })
    assert.ok(outcome.kind === 'reject', outcome.kind)
    return [outcome.errorCode, outcome.recordIndex]
  }
  assert.deepEqual(refusal(batch, { compacted: true }), [87, 0])
  assert.deepEqual(refusal(batch, { timestampAfterMaxMs: 95 }), [32, 10])
  assert.deepEqual(refusal(buildBatch(records, Codec.ZSTD), { apiVersion: 6 }), [76, -1])
  assert.deepEqual(refusal(batch, { decompressionMaxBytes: 100 }), [10, -1])
  const short = Buffer.from(batch)
  short.writeInt32BE(51, 57)
  assert.deepEqual(refusal(short), [87, -1])
  const old = buildMessageSet(records, { magic: 1, codec: Codec.GZIP })
  assert.deepEqual(refusal(old), [87, -1])
  old[old.length - 1] = (old[old.length - 1] as number) ^ 1
  assert.deepEqual(refusal(old, { apiVersion: 2 }), [2, -1])
})

test('a max timestamp that is not that of the records is put right', () => {
  const batch = buildBatch(records, Codec.GZIP)
  batch.writeBigInt64BE(7n, 35)
  const outcome = validateAndConvert(batch, { ...rules, apiVersion: 9 })
  assert.ok(outcome.kind === 'replace')
  assert.equal(readBatch(outcome.bytes).maxTimestamp, records.at(-1)?.timestamp)
  assert.equal(outcome.bytes.readUInt32BE(17), addon.crc32c(outcome.bytes.subarray(21), 0))
})

test('zstd cannot be sent in an old format', () => {
  const options = { magic: 1, fetchOffset: 0, decompressionMaxBytes: LIMIT } as const
  const zstd = buildBatch(records, Codec.ZSTD)
  const gzip = buildBatch(records, Codec.GZIP)
  assert.equal(convertDown(zstd, options), null)
  const both = convertDown(Buffer.concat([gzip, zstd]), options)
  assert.ok(both)
  assert.equal(messageSetContent(both).length, records.length)
})
