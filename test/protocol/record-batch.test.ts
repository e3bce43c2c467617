/**
 * Record batches and message sets: what is written is read again, by us and by Apache Kafka's own
 * classes; broken bytes are malformed and nothing else.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { crc32, crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import {
  innerMessages,
  LegacyMessageView,
  legacyMessages,
  writeLegacyMessageSet,
} from '../../src/protocol/legacy-message-set.ts'
import { MalformedMessageError } from '../../src/protocol/message-reader.ts'
import {
  magicAt,
  RecordBatchView,
  type RecordInput,
  recordBatches,
  writeRecordBatch,
} from '../../src/protocol/record-batch.ts'
import { readVarlong, varlongBytes, writeVarlong } from '../../src/protocol/varint.ts'
import { jarToRun, runJava } from '../support/java-program.ts'

const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value))
const nullableBytes = fc.option(bytes, { freq: 5 })
const timestamp = fc.oneof(fc.constant(-1), fc.nat(), fc.integer({ min: 0, max: 4e12 }))
const header = fc.record(
  { key: fc.string({ unit: 'binary', maxLength: 5 }), value: nullableBytes },
  { noNullPrototype: true },
)
const recordInput = fc.record(
  {
    key: nullableBytes,
    value: nullableBytes,
    timestamp,
    headers: fc.array(header, { maxLength: 3 }),
  },
  { noNullPrototype: true },
)
const recordInputs = fc.array(recordInput, { minLength: 1, maxLength: 12 })
const baseOffsets = fc.oneof(fc.nat(), fc.integer({ min: 0, max: 2 ** 52 }))

function expected(records: readonly RecordInput[], baseOffset: number) {
  return records.map(({ key, value, timestamp, headers }, index) => {
    return { offset: baseOffset + index, timestamp, key, value, headers }
  })
}

test('varlongs are what they were, in the bytes that were announced', () => {
  const edges = [0, -1, 63, 64, -64, -65, 2 ** 31, -(2 ** 31), 2 ** 48, 2 ** 52 - 1, 2 ** 52]
  const values = fc.oneof(
    fc.maxSafeInteger(),
    fc.integer(),
    fc.constantFrom(...edges, ...edges.map((edge) => -edge), Number.MAX_SAFE_INTEGER),
  )
  const buffer = Buffer.alloc(16)
  fc.assert(
    fc.property(values, (value) => {
      const end = writeVarlong(buffer, 0, value)
      assert.equal(end, varlongBytes(value))
      // Subtraction, as a zero may have a sign.
      assert.equal(readVarlong({ buffer, position: 0, end }) - value, 0)
    }),
    { numRuns: 1000 },
  )
  const most = Buffer.from('ffffffffffffffffff01', 'hex')
  assert.equal(readVarlong({ buffer: most, position: 0, end: 10 }), Number.MIN_SAFE_INTEGER)
  const tooLong = Buffer.alloc(11, 0xff)
  assert.throws(() => readVarlong({ buffer: tooLong, position: 0, end: 11 }), MalformedMessageError)
})

test('a batch has the records that were written', () => {
  fc.assert(
    fc.property(recordInputs, baseOffsets, (records, baseOffset) => {
      const batch = writeRecordBatch(records, { crc32c, baseOffset, partitionLeaderEpoch: 4 })
      const padded = Buffer.concat([Buffer.alloc(7), batch, Buffer.alloc(3)])
      const view = new RecordBatchView(padded, 7)
      assert.equal(view.bytes, batch.length)
      assert.equal(magicAt(padded, 7), 2)
      assert.equal(view.isIntact(crc32c), true)
      assert.equal(view.baseOffset, baseOffset)
      assert.equal(view.lastOffset, baseOffset + records.length - 1)
      assert.equal(view.partitionLeaderEpoch, 4)
      assert.equal(view.recordCount, records.length)
      assert.equal(view.baseTimestamp, records[0]?.timestamp)
      assert.equal(view.maxTimestamp, Math.max(...records.map(({ timestamp }) => timestamp)))
      assert.equal(view.codec, 0)
      assert.equal(view.producerId, -1)
      assert.deepEqual([...view.records()], expected(records, baseOffset))
    }),
  )
})

test('a batch says what its producer and its attributes are', () => {
  const batch = writeRecordBatch([{ value: Buffer.from('v'), timestamp: 5 }], {
    crc32c,
    producerId: 2 ** 40,
    producerEpoch: 3,
    baseSequence: 17,
    isTransactional: true,
    isControl: true,
    logAppendTimeMs: 99,
    lastOffsetDelta: 6,
  })
  const view = new RecordBatchView(batch)
  assert.deepEqual(
    [view.producerId, view.producerEpoch, view.baseSequence, view.lastOffsetDelta],
    [2 ** 40, 3, 17, 6],
  )
  assert.deepEqual(
    [view.isTransactional, view.isControl, view.hasLogAppendTime, view.hasDeleteHorizon],
    [true, true, true, false],
  )
  assert.deepEqual([view.baseTimestamp, view.maxTimestamp], [5, 99])
  assert.deepEqual(
    [...view.records()].map(({ timestamp }) => timestamp),
    [99],
  )
})

test('the least batch with one record is 61 bytes and the record', () => {
  // One byte each: length, attributes, two deltas, null key, length of the value, no headers.
  const batch = writeRecordBatch([{ value: Buffer.from('abc') }], { crc32c })
  assert.equal(batch.length, 61 + 7 + 3)
  assert.equal(batch.subarray(61).toString('hex'), '12000000010661626300')
})

test('a compressed batch is read from the decompressed body', () => {
  const records = [{ key: null, value: Buffer.alloc(500, 'x'), timestamp: 1, headers: [] }]
  const batch = writeRecordBatch(records, { crc32c, compression: { codec: 1, compress: gzipSync } })
  const view = new RecordBatchView(batch)
  assert.equal(view.codec, 1)
  assert.throws(() => view.records().next(), /compressed/)
  assert.deepEqual([...view.records(gunzipSync(view.body))], expected(records, 0))
})

test('batches one behind the other are found, and one that is cut off ends them', () => {
  const one = writeRecordBatch([{ value: null }], { crc32c, baseOffset: 5 })
  const two = writeRecordBatch([{ value: null }, { value: null }], { crc32c, baseOffset: 6 })
  const both = Buffer.concat([one, two])
  for (let end = 0; end <= both.length; end += 1) {
    const found = [...recordBatches(both, 0, end)].map(({ baseOffset }) => baseOffset)
    const whole = end < one.length ? [] : end < both.length ? [5] : [5, 6]
    assert.deepEqual(found, whole, `${end} bytes`)
  }
})

test('a changed byte breaks the checksum, and reading it anyway is malformed or something else', () => {
  fc.assert(
    fc.property(recordInputs, fc.nat(), fc.integer({ min: 1, max: 255 }), (records, at, flip) => {
      const batch = writeRecordBatch(records, { crc32c })
      const position = 8 + (at % (batch.length - 8))
      batch[position] = (batch[position] as number) ^ flip
      try {
        const view = new RecordBatchView(batch)
        // The leader epoch is outside the checksum, and so is the checksum itself.
        if (position >= 17) assert.equal(view.isIntact(crc32c), false)
        let count = 0
        for (const record of view.records(view.codec === 0 ? null : view.body)) {
          assert.ok(Number.isSafeInteger(record.offset))
          count += 1
        }
        assert.ok(count <= batch.length)
      } catch (error) {
        assert.ok(error instanceof MalformedMessageError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('bytes that are no batch are malformed', () => {
  const batch = writeRecordBatch([{ value: Buffer.from('value') }], { crc32c })
  for (let end = 0; end < batch.length; end += 1) {
    assert.throws(() => new RecordBatchView(batch, 0, end), MalformedMessageError)
  }
  const fewer = Buffer.from(batch)
  fewer.writeInt32BE(0, 57)
  assert.throws(() => [...new RecordBatchView(fewer).records()], MalformedMessageError)
  const more = Buffer.from(batch)
  more.writeInt32BE(2 ** 31 - 1, 57)
  assert.throws(() => [...new RecordBatchView(more).records()], MalformedMessageError)
  assert.throws(() => magicAt(batch, batch.length - 10), MalformedMessageError)
  batch.writeInt8(1, 16)
  assert.throws(() => new RecordBatchView(batch), MalformedMessageError)
})

const legacyInputs = fc.array(
  fc.record(
    { offset: fc.nat(), key: nullableBytes, value: nullableBytes, timestamp },
    { noNullPrototype: true },
  ),
  { maxLength: 8 },
)

for (const magic of [0, 1] as const) {
  test(`a message set of format ${magic} has the messages that were written`, () => {
    fc.assert(
      fc.property(legacyInputs, (messages) => {
        const set = writeLegacyMessageSet(messages, { magic, crc32 })
        const read = [...legacyMessages(set)]
        assert.ok(read.every((message) => message.isIntact(crc32) && message.magic === magic))
        assert.deepEqual(
          read.map(({ offset, key, value, timestamp }) => ({ offset, key, value, timestamp })),
          messages.map((message) => (magic === 0 ? { ...message, timestamp: -1 } : message)),
        )
      }),
    )
  })

  test(`any byte changed or missing in format ${magic} is malformed or found by the checksum`, () => {
    const one = { offset: 3, key: Buffer.from('k'), value: Buffer.from('value'), timestamp: 8 }
    const set = writeLegacyMessageSet([one], { magic, crc32 })
    for (let at = 8; at < set.length; at += 1) {
      assert.throws(() => new LegacyMessageView(set, 0, at), MalformedMessageError)
      const broken = Buffer.from(set)
      broken[at] = (broken[at] as number) ^ 0x81
      try {
        for (const message of legacyMessages(broken)) assert.equal(message.isIntact(crc32), false)
      } catch (error) {
        assert.ok(error instanceof MalformedMessageError, String(error))
      }
    }
  })
}

test('inner messages count up to the offset of a wrapper of format 1', () => {
  const inner = [0, 1, 4].map((offset) => ({ offset, value: Buffer.of(offset), timestamp: offset }))
  const set = writeLegacyMessageSet(inner, { magic: 1, crc32 })
  for (const hasLogAppendTime of [false, true]) {
    const [wrapper] = legacyMessages(
      writeLegacyMessageSet(
        [{ offset: 104, value: gzipSync(set), codec: 1, timestamp: 77, hasLogAppendTime }],
        { magic: 1, crc32 },
      ),
    )
    assert.ok(wrapper)
    const read = [...innerMessages(wrapper, gunzipSync(wrapper.value as Buffer))]
    assert.deepEqual(
      read.map(({ offset, timestamp }) => [offset, timestamp]),
      hasLogAppendTime
        ? [
            [100, 77],
            [101, 77],
            [104, 77],
          ]
        : [
            [100, 0],
            [101, 1],
            [104, 4],
          ],
    )
  }
})

test('inner messages of a wrapper of format 0 have their own offsets', () => {
  const inner = [102, 103].map((offset) => ({ offset, value: null }))
  const set = writeLegacyMessageSet(inner, { magic: 0, crc32 })
  const wrapperBytes = writeLegacyMessageSet([{ offset: 103, value: set, codec: 1 }], {
    magic: 0,
    crc32,
  })
  const wrapper = new LegacyMessageView(wrapperBytes)
  const offsets = [...innerMessages(wrapper, set)].map(({ offset }) => offset)
  assert.deepEqual(offsets, [102, 103])

  const broken = [
    Buffer.alloc(0),
    set.subarray(0, set.length - 1),
    writeLegacyMessageSet(inner, { magic: 1, crc32 }),
    wrapperBytes,
  ]
  for (const bytes of broken) {
    assert.throws(() => [...innerMessages(wrapper, bytes)], MalformedMessageError)
  }
})

function hexOf(part: Uint8Array | null | undefined): string {
  return part === null || part === undefined ? 'null' : `'${Buffer.from(part).toString('hex')}`
}

/** What the Java program prints for a batch that we wrote. */
function dumpOf(batch: Buffer): string {
  const view = new RecordBatchView(batch)
  const lines = [
    `batch 2 ${view.lastOffset} ${view.producerId} ${view.producerEpoch} ` +
      `${view.baseSequence} ${view.isTransactional} ${view.isControl}`,
  ]
  for (const { offset, timestamp, key, value, headers } of view.records()) {
    const rest = headers.map((one) => ` ${hexOf(Buffer.from(one.key))}=${hexOf(one.value)}`)
    lines.push(`record ${offset} ${timestamp} ${hexOf(key)} ${hexOf(value)}${rest.join('')}`)
  }
  return lines.join('\n')
}

function legacyDumpOf(set: Buffer): string {
  const lines: string[] = []
  for (const { magic, offset, timestamp, key, value } of legacyMessages(set)) {
    lines.push(`batch ${magic} ${offset} -1 -1 -1 false false`)
    lines.push(`record ${offset} ${timestamp} ${hexOf(key)} ${hexOf(value)}`)
  }
  return lines.join('\n')
}

test("Apache Kafka's classes read the same records from what we write", (t) => {
  const jar = jarToRun(t, '3.9.1')
  if (jar === null) return
  const sets: Buffer[] = []
  const dumps: string[] = []
  for (const [records, baseOffset] of fc.sample(fc.tuple(recordInputs, baseOffsets), 150)) {
    const batch = writeRecordBatch(records, {
      crc32c,
      baseOffset,
      producerId: baseOffset,
      producerEpoch: 2,
      baseSequence: 5,
      isTransactional: records.length % 2 === 0,
    })
    sets.push(batch)
    dumps.push(dumpOf(batch))
  }
  for (const magic of [0, 1] as const) {
    for (const messages of fc.sample(legacyInputs, 50)) {
      const set = writeLegacyMessageSet(messages, { magic, crc32 })
      sets.push(set)
      dumps.push(legacyDumpOf(set))
    }
  }
  const input = sets.flatMap((set) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(set.length)
    return [length, set]
  })
  const output = runJava(jar, 'RecordDump.java', Buffer.concat(input)).toString()
  assert.equal(output, dumps.map((dump) => `${dump}${dump === '' ? '' : '\n'}\n`).join(''))
})
