/** The slow lane: old formats up to format 2 and down again, compressed batches looked into. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { Codec, compress } from '../../src/compression/codec.ts'
import { DecompressionLimitError } from '../../src/compression/errors.ts'
import {
  buildBatch,
  buildMessageSet,
  InvalidRecordError,
  readBatch,
} from '../../src/log/record-format.ts'
import {
  convertDown,
  findOffsetByTimestamp,
  type SlowLaneRules,
  validateAndConvert,
} from '../../src/log/slow-lane.ts'
import { addon } from '../../src/native/addon.ts'
import { writeRecordBatch } from '../../src/protocol/record-batch.ts'
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

const modern = { ...rules, apiVersion: 9 }

/** Error code and record index of what must be a refusal. */
function refusal(bytes: Buffer, with_: Partial<SlowLaneRules> = {}): [number, number] {
  const outcome = validateAndConvert(bytes, { ...modern, ...with_ })
  assert.ok(outcome.kind === 'reject', outcome.kind)
  assert.notEqual(outcome.message, '')
  return [outcome.errorCode, outcome.recordIndex]
}

test('what is wrong with a batch is refused with the code of its kind', () => {
  const batch = buildBatch(records, Codec.GZIP)
  assert.deepEqual(refusal(batch, { compacted: true }), [87, 0])
  assert.deepEqual(refusal(batch, { timestampAfterMaxMs: 95 }), [32, 10])
  assert.deepEqual(refusal(batch, { nowMs: 1_700_000_001_000, timestampBeforeMaxMs: 995 }), [32, 0])
  assert.deepEqual(refusal(buildBatch(records, Codec.ZSTD), { apiVersion: 6 }), [76, -1])
  assert.deepEqual(refusal(batch, { decompressionMaxBytes: 100 }), [10, -1])
  const short = Buffer.from(batch)
  short.writeInt32BE(51, 57)
  assert.deepEqual(refusal(short), [87, -1])
  short.writeInt32BE(49, 57)
  assert.deepEqual(refusal(short), [87, -1])
  const cut = Buffer.from(batch.subarray(0, -9))
  cut.writeInt32BE(cut.length - 12, 8)
  assert.deepEqual(refusal(cut), [2, -1])
})

test('all records that are refused are told apart, up to a limit', () => {
  const outcome = validateAndConvert(buildBatch(records, Codec.LZ4), { ...modern, compacted: true })
  assert.ok(outcome.kind === 'reject')
  const indices = outcome.recordErrors.map(({ recordIndex }) => recordIndex)
  assert.deepEqual(indices, [0, 5, 10, 15, 20, 25, 30, 35, 40, 45])
  const nulls = Array.from({ length: 5000 }, () => ({ timestamp: 1, key: null, value: null }))
  const many = validateAndConvert(buildBatch(nulls, Codec.LZ4), { ...modern, compacted: true })
  assert.ok(many.kind === 'reject')
  assert.equal(many.recordErrors.length, 1000)
})

test('offset deltas that do not count up are refused', () => {
  const batch = buildBatch(records.slice(0, 3), Codec.NONE)
  // Length, attributes and timestamp delta take a byte each in the first record.
  batch[61 + 3] = 2
  assert.deepEqual(refusal(batch), [87, -1])
})

test('log-append time is not for producers to set', () => {
  const batch = buildBatch(records, Codec.GZIP)
  batch.writeInt16BE(batch.readInt16BE(21) | 8, 21)
  assert.deepEqual(refusal(batch, { logAppendTime: true }), [32, 0])
  const outcome = validateAndConvert(batch, modern)
  assert.ok(outcome.kind === 'replace')
  assert.ok(!readBatch(outcome.bytes).isLogAppendTime)
  assert.equal(outcome.bytes.readUInt32BE(17), addon.crc32c(outcome.bytes.subarray(21), 0))
  const timeless = records.map((one) => ({ ...one, timestamp: -1 }))
  const set = buildMessageSet(timeless, { magic: 1, codec: Codec.NONE })
  set[17] = 8
  set.writeUInt32BE(crc32(set.subarray(16, 12 + set.readInt32BE(8))), 12)
  assert.deepEqual(refusal(set, { apiVersion: 2 }), [32, 0])
})

test('what is wrong with a message set is refused with the code of its kind', () => {
  const old = { apiVersion: 2 }
  const options = { magic: 1, codec: Codec.GZIP } as const
  const set = buildMessageSet(records, options)
  assert.deepEqual(refusal(set), [87, -1], 'Produce 3 and later')
  assert.deepEqual(refusal(set, { ...old, compacted: true }), [87, 0])
  assert.deepEqual(refusal(set, { ...old, timestampAfterMaxMs: 95 }), [32, 10])
  assert.deepEqual(refusal(set, { ...old, decompressionMaxBytes: 100 }), [10, -1])
  const flipped = Buffer.from(set)
  flipped[set.length - 1] = (set[set.length - 1] as number) ^ 1
  assert.deepEqual(refusal(flipped, old), [2, -1])
  assert.deepEqual(refusal(set.subarray(0, -1), old), [87, -1], 'a partial message')
  const zero = buildMessageSet(records.slice(0, 1), { magic: 0, codec: Codec.NONE })
  assert.deepEqual(refusal(Buffer.concat([set, zero]), old), [87, -1], 'two formats')
  assert.deepEqual(refusal(wrap(set, Codec.GZIP), old), [87, -1], 'a wrapper inside a wrapper')
  assert.deepEqual(refusal(wrap(zero, Codec.GZIP), old), [87, -1], 'another format inside')
  assert.deepEqual(refusal(wrap(Buffer.alloc(0), Codec.GZIP), old), [87, -1], 'an empty wrapper')
  const plain = buildMessageSet(records, { magic: 1, codec: Codec.NONE })
  assert.deepEqual(refusal(wrap(plain, Codec.ZSTD), old), [87, -1], 'zstd')
  plain[plain.length - 1] = (plain[plain.length - 1] as number) ^ 1
  assert.deepEqual(refusal(wrap(plain, Codec.GZIP), old), [2, -1], 'an inner CRC')
})

/** A message of format 1 around what `set` is compressed to. */
function wrap(set: Buffer, codec: number): Buffer {
  const value = compress(codec, set, { magic: 1 })
  const message = buildMessageSet([{ offset: 0, timestamp: 1, key: null, value }], {
    magic: 1,
    codec: Codec.NONE,
  })
  message[17] = codec
  message.writeUInt32BE(crc32(message.subarray(16)), 12)
  return message
}

test('several messages and wrappers become one batch, in another codec where asked', () => {
  const [one, two, three] = [records.slice(0, 10), records.slice(10, 30), records.slice(30)]
  const set = Buffer.concat([
    buildMessageSet(one, { magic: 1, codec: Codec.NONE }),
    buildMessageSet(two, { magic: 1, codec: Codec.LZ4 }),
    buildMessageSet(three, { magic: 1, codec: Codec.SNAPPY }),
  ])
  const same = validateAndConvert(set, rules)
  assert.ok(same.kind === 'replace')
  assert.equal(readBatch(same.bytes).codec, Codec.SNAPPY)
  assert.deepEqual(batchContent(same.bytes), records)
  const asked = validateAndConvert(set, { ...rules, compression: Codec.ZSTD, compressionLevel: 9 })
  assert.ok(asked.kind === 'replace')
  assert.equal(readBatch(asked.bytes).codec, Codec.ZSTD)
  assert.deepEqual(batchContent(asked.bytes), records)
})

test('the inner offsets that a producer chose do not matter', () => {
  const zeros = records.map((one) => ({ ...one, offset: 0 }))
  for (const magic of [0, 1] as const) {
    const set = buildMessageSet(zeros, { magic, codec: Codec.GZIP })
    const outcome = validateAndConvert(set, rules)
    assert.ok(outcome.kind === 'replace')
    assert.deepEqual(
      batchContent(outcome.bytes).map(({ offset }) => offset),
      records.map(({ offset }) => offset),
    )
  }
})

test('records of any size and time go through every codec and both old formats', () => {
  const bytes = fc.option(
    fc
      .tuple(fc.uint8Array({ maxLength: 50 }), fc.oneof(fc.nat(10), fc.nat(9000)))
      .map(([piece, times]) => Buffer.concat(Array.from({ length: times }, () => piece))),
  )
  const record = fc.record({
    timestamp: fc.oneof(fc.nat(), fc.constant(-1), fc.maxSafeNat()),
    key: bytes,
    value: bytes,
  })
  void fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 30 }),
      fc.constantFrom<0 | 1>(0, 1),
      fc.constantFrom(Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4),
      (some, magic, codec) => {
        const wanted = some.map((one, offset) => ({
          offset,
          timestamp: magic === 0 ? -1 : one.timestamp,
          key: one.key,
          value: one.value,
        }))
        const set = buildMessageSet(wanted, { magic, codec })
        assert.deepEqual(messageSetContent(set), wanted)
        const up = validateAndConvert(set, rules)
        assert.ok(up.kind === 'replace')
        assert.deepEqual(batchContent(up.bytes), wanted)
        const down = convertDown(up.bytes, { magic, fetchOffset: 0, decompressionMaxBytes: LIMIT })
        assert.ok(down)
        assert.deepEqual(down, set)
      },
    ),
    { numRuns: 200 },
  )
})

test('no mutation or truncation does more than be refused', () => {
  const sources = [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD].flatMap((codec) => {
    const batch = { bytes: buildBatch(records, codec), apiVersion: 9 }
    if (codec === Codec.ZSTD) return [batch]
    const sets = ([0, 1] as const).map((magic) => ({
      bytes: buildMessageSet(records, { magic, codec }),
      apiVersion: 2,
    }))
    return [batch, ...sets]
  })
  const change = fc.tuple(fc.nat(1 << 16), fc.integer({ min: 0, max: 255 }))
  void fc.assert(
    fc.property(
      fc.constantFrom(...sources),
      fc.array(change, { maxLength: 6 }),
      fc.option(fc.nat(1 << 16)),
      fc.boolean(),
      (source, changes, cut, mended) => {
        let bytes = Buffer.from(source.bytes)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const isBatch = source.apiVersion === 9
        if (cut !== null) bytes = bytes.subarray(0, isBatch ? 61 + (cut % bytes.length) : cut)
        if (bytes.length < 17) return
        // Of batches the header was checked before they come here.
        if (isBatch) {
          bytes[16] = 2
          bytes.writeInt32BE(bytes.length - 12, 8)
          bytes[22] = source.bytes[22] as number
        } else if (mended && bytes.length >= 26) {
          // Past the CRC of the first message, to what is behind it.
          const end = 12 + bytes.readInt32BE(8)
          if (end > 16) bytes.writeUInt32BE(crc32(bytes.subarray(16, end)), 12)
        }
        const outcome = validateAndConvert(bytes, { ...rules, apiVersion: source.apiVersion })
        if (outcome.kind !== 'replace') return
        assert.equal(outcome.bytes.readUInt32BE(17), addon.crc32c(outcome.bytes.subarray(21), 0))
        const again = validateAndConvert(outcome.bytes, modern)
        assert.equal(again.kind, 'accept')
      },
    ),
    { numRuns: 5000 },
  )
})

test('a large record in small windows is walked in little memory', () => {
  const value = Buffer.alloc(48 << 20, 7)
  const batch = buildBatch([{ timestamp: 1, key: null, value }], Codec.LZ4)
  const before = process.memoryUsage.rss()
  assert.equal(validateAndConvert(batch, modern).kind, 'accept')
  assert.ok(process.memoryUsage.rss() - before < 160 << 20)
})

test('many records are looked at in bounded memory, converted up and down', () => {
  const one = { timestamp: 1, key: null, value: null }
  const many = Array.from({ length: 400_000 }, (_, offset) => ({ ...one, offset }))
  const batch = buildBatch(many, Codec.GZIP)
  const before = process.memoryUsage.rss()
  assert.equal(validateAndConvert(batch, modern).kind, 'accept')
  assert.ok(process.memoryUsage.rss() - before < 64 << 20)
  const down = convertDown(batch, { magic: 1, fetchOffset: 0, decompressionMaxBytes: LIMIT })
  assert.ok(down)
  const up = validateAndConvert(down, rules)
  assert.ok(up.kind === 'replace')
  assert.deepEqual(up.bytes, batch)
  // A record of 8 bytes is one of 34 in format 1: the limit holds for what comes out, too.
  const small = { magic: 1, fetchOffset: 0, decompressionMaxBytes: 8 << 20 } as const
  assert.throws(() => convertDown(batch, small), DecompressionLimitError)
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

test('conversion down leaves out control batches, a cut last batch and what exceeds the room', () => {
  const options = { magic: 0, fetchOffset: 0, decompressionMaxBytes: LIMIT } as const
  const batch = buildBatch(records, Codec.NONE)
  const control = buildBatch(records.slice(0, 1), Codec.NONE)
  control.writeInt16BE(0x30, 21)
  const whole = convertDown(batch, options)
  assert.deepEqual(
    convertDown(Buffer.concat([control, batch, batch.subarray(0, -1)]), options),
    whole,
  )
  assert.deepEqual(convertDown(batch.subarray(0, -1), options), Buffer.alloc(0))
  // Format 0 takes more room than format 2, and the answer was promised the size of the batches.
  const tiny = buildBatch([{ timestamp: 1, key: null, value: null }], Codec.NONE)
  const grown = convertDown(Buffer.concat([tiny, tiny, tiny, tiny]), options)
  assert.equal(grown?.length, 4 * 26)
  const many = Array.from({ length: 100 }, () => ({ timestamp: 1, key: null, value: null }))
  const dense = buildBatch(many, Codec.NONE)
  assert.equal(convertDown(Buffer.concat([dense, dense, dense]), options)?.length, 100 * 26)
})

test('headers, producer and transaction are gone in the old formats, log-append time stays', () => {
  const headers = [{ key: 'h', value: Buffer.from('x') }]
  // Compaction has taken the records between.
  const batch = writeRecordBatch(
    [
      { key: Buffer.from('k'), value: Buffer.from('v'), headers, timestamp: 5 },
      { value: Buffer.from('w'), headers, timestamp: 6, offsetDelta: 3 },
    ],
    {
      crc32c: addon.crc32c,
      baseOffset: 70,
      producerId: 5,
      producerEpoch: 1,
      baseSequence: 9,
      isTransactional: true,
      logAppendTimeMs: 99,
      compression: {
        codec: Codec.LZ4,
        compress: (body) => compress(Codec.LZ4, body, { magic: 2 }),
      },
    },
  )
  const set = convertDown(batch, { magic: 1, fetchOffset: 0, decompressionMaxBytes: LIMIT })
  assert.ok(set)
  assert.deepEqual(messageSetContent(set), [
    { offset: 70, timestamp: 99, key: Buffer.from('k'), value: Buffer.from('v') },
    { offset: 73, timestamp: 99, key: null, value: Buffer.from('w') },
  ])
  assert.equal(set[17], 8 | Codec.LZ4)
})

test('a torn or foreign batch in a log is an error, not a loop', () => {
  const options = { magic: 1, fetchOffset: 0, decompressionMaxBytes: LIMIT } as const
  const small = buildBatch(records, Codec.NONE)
  small.writeInt32BE(-12, 8)
  assert.throws(() => convertDown(small, options), InvalidRecordError)
  const old = buildMessageSet(records, { magic: 1, codec: Codec.NONE })
  assert.throws(() => convertDown(old, options), InvalidRecordError)
})

test('a batch of log-append time is found by that time alone', () => {
  const batch = buildBatch(records, Codec.ZSTD)
  batch.writeInt16BE(batch.readInt16BE(21) | 8, 21)
  batch.writeBigInt64BE(1_900_000_000_000n, 35)
  batch.writeBigInt64BE(1000n, 0)
  assert.deepEqual(findOffsetByTimestamp(batch, 1_800_000_000_000, LIMIT), {
    offset: 1000,
    timestamp: 1_900_000_000_000,
  })
  assert.equal(findOffsetByTimestamp(batch, 1_900_000_000_001, LIMIT), null)
})

test('timestamps at the ends of int64 are walked, converted and searched', () => {
  const batch = buildBatch([{ timestamp: 1, key: null, value: null }], Codec.GZIP)
  for (const timestamp of [2n ** 63n - 1n, -(2n ** 63n)]) {
    batch.writeBigInt64BE(timestamp, 27)
    batch.writeBigInt64BE(timestamp, 35)
    assert.notEqual(validateAndConvert(batch, modern).kind, 'reject')
    assert.ok(convertDown(batch, { magic: 1, fetchOffset: 0, decompressionMaxBytes: LIMIT }))
  }
})
