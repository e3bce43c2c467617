/**
 * The slow lane held against Apache Kafka's own classes, for every codec and record format: they
 * read what we compress and convert, we read what they write, and where both convert or refuse the
 * same records the outcome is the same.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { Codec, compress } from '../../src/compression/codec.ts'
import { buildBatch, buildMessageSet, readBatch } from '../../src/log/record-format.ts'
import { convertDown, type SlowLaneRules, validateAndConvert } from '../../src/log/slow-lane.ts'
import { addon } from '../../src/native/addon.ts'
import { writeRecordBatch } from '../../src/protocol/record-batch.ts'
import { runJava } from '../support/java-program.ts'
import { peer, skipWithout } from '../support/peers.ts'
import { batchContent, messageSetContent, type RecordContent } from './record-content.ts'

const LIMIT = 64 << 20
const NOW = 1_700_000_000_000
const codecs = Object.values(Codec)
const rules: SlowLaneRules = {
  apiVersion: 9,
  compression: -1,
  logAppendTime: false,
  nowMs: NOW,
  timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
  timestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  compacted: false,
  decompressionMaxBytes: LIMIT,
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

function sized(bytes: Buffer | null): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes?.length ?? -1)
  return Buffer.concat([length, bytes ?? Buffer.alloc(0)])
}

/** Puts questions to RecordsOracle.java; null after the test was skipped. */
function ask(t: TestContext, questions: readonly Buffer[]): Buffer[] | null {
  if (skipWithout(t, 'kafka-server')) return null
  const jar = join(peer('kafka-server'), 'kafka-clients-3.9.1.jar')
  const output = runJava(jar, 'RecordsOracle.java', Buffer.concat(questions))
  const answers: Buffer[] = []
  for (let at = 0; at < output.length; ) {
    const end = at + 4 + output.readInt32BE(at)
    answers.push(output.subarray(at + 4, end))
    at = end
  }
  assert.equal(answers.length, questions.length)
  return answers
}

function hex(bytes: Buffer | null): string {
  if (bytes === null) return 'null'
  return bytes.length <= 16 ? `x${bytes.toString('hex')}` : `${bytes.length}#${crc32(bytes)}`
}

function recordLines(content: readonly RecordContent[]): string[] {
  return content.map(
    ({ offset, timestamp, key, value }) =>
      `record ${offset} ${timestamp} ${hex(key)} ${hex(value)}`,
  )
}

/** The lines of a dump by their first word; an error is a line, too. */
function linesOf(answer: Buffer, word: string): string[] {
  return answer
    .toString()
    .split('\n')
    .filter((line) => line.startsWith(word))
}

const bytes = fc.option(
  fc
    .tuple(fc.uint8Array({ maxLength: 30 }), fc.oneof(fc.nat(8), fc.nat(5000)))
    .map(([piece, times]) => Buffer.concat(Array.from({ length: times }, () => piece))),
)

/** Records that count up from `base`; in format 0 without timestamps. */
function contents(magic: number, base: number): fc.Arbitrary<RecordContent[]> {
  const timestamp =
    magic === 0
      ? fc.constant(-1)
      : fc.oneof(
          fc.constant(-1),
          fc.nat(200).map((ms) => NOW + ms),
        )
  return fc
    .array(fc.record({ timestamp, key: bytes, value: bytes }), { minLength: 1, maxLength: 20 })
    .map((some) => some.map((one, i) => ({ ...one, offset: base + i })))
}

/** Every format with every codec that it has, and some records for each. */
function samples(base: number): { magic: 0 | 1 | 2; codec: number; records: RecordContent[] }[] {
  return ([0, 1, 2] as const).flatMap((magic) =>
    codecs
      .filter((codec) => magic === 2 || codec !== Codec.ZSTD)
      .flatMap((codec) =>
        fc.sample(contents(magic, base), 12).map((records) => ({ magic, codec, records })),
      ),
  )
}

test("Apache Kafka's classes read the records that we compress", (t) => {
  const cases = samples(0)
  const answers = ask(
    t,
    cases.map(({ magic, codec, records }) => {
      const set =
        magic === 2 ? buildBatch(records, codec) : buildMessageSet(records, { magic, codec })
      return Buffer.concat([Buffer.from('R'), sized(set)])
    }),
  )
  for (const [i, answer] of answers?.entries() ?? []) {
    const { magic, codec, records } = cases[i] as (typeof cases)[number]
    assert.deepEqual(linesOf(answer, 'record'), recordLines(records), `${magic} ${codec}`)
    assert.deepEqual(linesOf(answer, 'error'), [])
  }
})

test("we read the records that Apache Kafka's classes compress", (t) => {
  const cases = samples(1000).map((one, i) => ({
    ...one,
    appendTime: one.magic > 0 && i % 3 === 0 ? NOW + 5 : -1,
  }))
  const answers = ask(
    t,
    cases.map(({ magic, codec, records, appendTime }) =>
      Buffer.concat([
        Buffer.from('B'),
        Buffer.from([magic, codec]),
        int64(appendTime),
        int64(1000),
        sized(Buffer.alloc(records.length)).subarray(0, 4),
        ...records.flatMap(({ timestamp, key, value }) => [
          int64(timestamp),
          sized(key),
          sized(value),
        ]),
      ]),
    ),
  )
  for (const [i, set] of answers?.entries() ?? []) {
    const { magic, codec, records, appendTime } = cases[i] as (typeof cases)[number]
    const wanted = records.map((one) => (appendTime < 0 ? one : { ...one, timestamp: appendTime }))
    const content = magic === 2 ? batchContent(set) : messageSetContent(set)
    assert.deepEqual(content, wanted, `${magic} ${codec}`)
    if (appendTime >= 0) continue
    const apiVersion = magic === 2 ? 9 : 2
    const outcome = validateAndConvert(set, { ...rules, apiVersion })
    assert.equal(outcome.kind, magic === 2 ? 'accept' : 'replace')
    if (outcome.kind !== 'replace') continue
    const stored = batchContent(outcome.bytes)
    assert.deepEqual(
      recordLines(stored),
      recordLines(wanted.map((one, offset) => ({ ...one, offset }))),
    )
  }
})

test('conversion down gives the records that Apache Kafka gives', (t) => {
  const headers = [{ key: 'header', value: Buffer.from('lost') }]
  const cases = ([0, 1] as const).flatMap((magic) =>
    codecs.flatMap((codec) =>
      fc.sample(fc.tuple(contents(2, 0), contents(2, 0), fc.nat(25)), 12).map((sample, i) => {
        const [first, second, ahead] = sample
        const options = {
          crc32c: addon.crc32c,
          compression: { codec, compress: (body: Buffer) => compress(codec, body, { magic: 2 }) },
          ...(i % 4 === 0 ? { logAppendTimeMs: NOW + 7 } : {}),
        }
        const batch = (records: RecordContent[], baseOffset: number): Buffer =>
          writeRecordBatch(
            records.map((one) => ({ ...one, headers })),
            { ...options, baseOffset },
          )
        const marker = writeRecordBatch([{ key: Buffer.alloc(4), value: Buffer.alloc(6) }], {
          crc32c: addon.crc32c,
          baseOffset: 500,
          producerId: 1,
          producerEpoch: 0,
          isTransactional: true,
          isControl: true,
        })
        const stored = Buffer.concat([batch(first, 400), marker, batch(second, 501)])
        return { magic, codec, stored, fetchOffset: 400 + Math.min(ahead, first.length - 1) }
      }),
    ),
  )
  const answers = ask(
    t,
    cases.map(({ magic, fetchOffset, stored }) =>
      Buffer.concat([Buffer.from('D'), Buffer.from([magic]), int64(fetchOffset), sized(stored)]),
    ),
  )
  for (const [i, answer] of answers?.entries() ?? []) {
    const { magic, codec, fetchOffset, stored } = cases[i] as (typeof cases)[number]
    const converted = convertDown(stored, { magic, fetchOffset, decompressionMaxBytes: LIMIT })
    if (codec === Codec.ZSTD) {
      assert.equal(converted, null)
      assert.deepEqual(linesOf(answer, 'error'), ['error 76'])
      continue
    }
    assert.ok(converted)
    const lines = recordLines(messageSetContent(converted))
    // Theirs keeps a compressed batch whole, though old consumers skip what they did not ask for.
    const theirs = linesOf(answer, 'record').filter(
      (line) => Number(line.split(' ')[1]) >= fetchOffset,
    )
    // What exceeds the room of the stored batches is for the next fetch.
    assert.deepEqual(lines, theirs.slice(0, lines.length), `${magic} ${codec}`)
    const promised = Math.min(theirs.length, readBatch(stored).recordCount - (fetchOffset - 400))
    assert.ok(lines.length >= promised)
  }
})

function validation(set: Buffer, own: SlowLaneRules): Buffer {
  return Buffer.concat([
    Buffer.from('V'),
    Buffer.from([own.compression & 0xff, Number(own.compacted), Number(own.logAppendTime)]),
    int64(own.nowMs),
    int64(own.timestampBeforeMaxMs),
    int64(own.timestampAfterMaxMs),
    sized(set),
  ])
}

test('the same records are refused, with the same error, and stored as Apache Kafka does', (t) => {
  const cases = samples(0).map((one, i) => {
    const set =
      one.magic === 2
        ? buildBatch(one.records, one.codec)
        : buildMessageSet(one.records, { magic: one.magic, codec: one.codec })
    const own = {
      ...rules,
      apiVersion: one.magic === 2 ? 9 : 2,
      compression: [-1, Codec.NONE, Codec.GZIP, Codec.ZSTD][i % 4] as number,
      compacted: i % 5 === 0,
      logAppendTime: i % 7 === 0,
      timestampBeforeMaxMs: i % 3 === 0 ? 10 : Number.MAX_SAFE_INTEGER,
      timestampAfterMaxMs: i % 3 === 1 ? 150 : Number.MAX_SAFE_INTEGER,
      nowMs: NOW + 30,
    }
    return { ...one, set, own }
  })
  const answers = ask(
    t,
    cases.map(({ set, own }) => validation(set, own)),
  )
  let refused = 0
  for (const [i, answer] of answers?.entries() ?? []) {
    const { magic, codec, set, own } = cases[i] as (typeof cases)[number]
    const name = `format ${magic}, codec ${codec}, ${JSON.stringify(own)}`
    const outcome = validateAndConvert(set, own)
    if (outcome.kind === 'reject') {
      refused += 1
      assert.deepEqual(linesOf(answer, 'error'), [`error ${outcome.errorCode}`], name)
      continue
    }
    assert.deepEqual(linesOf(answer, 'error'), [], name)
    const stored = outcome.kind === 'replace' ? outcome.bytes : set
    const content = batchContent(stored)
    // The append time is stamped where the offsets are.
    const stamped = own.logAppendTime
      ? content.map((record) => ({ ...record, timestamp: own.nowMs }))
      : content
    assert.deepEqual(linesOf(answer, 'record'), recordLines(stamped), name)
    const header = readBatch(stored)
    const maxTimestamp = own.logAppendTime ? own.nowMs : header.maxTimestamp
    const line = `batch 2 ${header.codec} ${own.logAppendTime} ${maxTimestamp}`
    assert.deepEqual(linesOf(answer, 'batch'), [`${line} ${content.length - 1}`], name)
  }
  if (answers !== null) assert.ok(refused > 0 && refused < cases.length, `${refused}`)
})

test('records that contradict themselves are refused with the error that Apache Kafka has', (t) => {
  const records = ['a', 'b', 'c'].map((text, offset) => ({
    offset,
    timestamp: NOW,
    key: Buffer.from(text),
    value: Buffer.from(text.repeat(20)),
  }))
  const batchWith = (change: (batch: Buffer) => void): Buffer => {
    const batch = buildBatch(records, Codec.GZIP)
    change(batch)
    batch.writeUInt32BE(addon.crc32c(batch.subarray(21), 0), 17)
    return batch
  }
  const messageWith = (value: Buffer, attributes: number): Buffer => {
    const message = buildMessageSet([{ offset: 0, timestamp: NOW, key: null, value }], {
      magic: 1,
      codec: Codec.NONE,
    })
    message[17] = attributes
    message.writeUInt32BE(crc32(message.subarray(16)), 12)
    return message
  }
  const gzip = (set: Buffer): Buffer => compress(Codec.GZIP, set, { magic: 1 })
  const plain = buildMessageSet(records, { magic: 1, codec: Codec.NONE })
  const flipped = Buffer.from(plain)
  flipped[plain.length - 1] = (plain[plain.length - 1] as number) ^ 1
  const format0 = buildMessageSet(records, { magic: 0, codec: Codec.NONE })
  const appendTime = { ...rules, logAppendTime: true }
  const old = { ...rules, apiVersion: 2 }
  const cases: [string, Buffer, SlowLaneRules][] = [
    ['one record too few', batchWith((batch) => counted(batch, 4)), rules],
    ['one record too many', batchWith((batch) => counted(batch, 2)), rules],
    ['log-append time in a batch', batchWith((batch) => batch.writeInt16BE(9, 21)), appendTime],
    [
      'log-append time in a message',
      messageWith(Buffer.from('x'), 8),
      { ...old, logAppendTime: true },
    ],
    ['two formats', Buffer.concat([plain, format0]), old],
    ['a wrong CRC', flipped, old],
    ['a wrong CRC in a wrapper', messageWith(gzip(flipped), 1), old],
    ['another format in a wrapper', messageWith(gzip(format0), 1), old],
    ['a wrapper in a wrapper', messageWith(gzip(messageWith(gzip(plain), 1)), 1), old],
    ['an empty wrapper', messageWith(gzip(Buffer.alloc(0)), 1), old],
  ]
  const answers = ask(
    t,
    cases.map(([, set, own]) => validation(set, own)),
  )
  for (const [i, answer] of answers?.entries() ?? []) {
    const [name, set, own] = cases[i] as (typeof cases)[number]
    const outcome = validateAndConvert(set, own)
    const verdict = outcome.kind === 'reject' ? `error ${outcome.errorCode}` : outcome.kind
    assert.equal(verdict, answer.toString().split('\n')[0], name)
  }
})

/** Claims another number of records, and offsets that go with it. */
function counted(batch: Buffer, count: number): void {
  batch.writeInt32BE(count - 1, 23)
  batch.writeInt32BE(count, 57)
}
