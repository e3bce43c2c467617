/**
 * The cleaner on logs written by hand, one rule of Apache Kafka's at a time: what stays, what goes,
 * and what batches look like afterwards.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { CorruptDataError } from '../../src/compression/errors.ts'
import { encodeAbortedTransaction } from '../../src/log/transaction-index.ts'
import { type CleanedLog, CleaningFixture } from './cleaning-fixture.ts'
import {
  dataBatch,
  markerBatch,
  type ReadBackBatch,
  readSegment,
  segmentPath,
  writeSegment,
} from './stored-log.ts'

let fixture: CleaningFixture

before(async () => {
  fixture = await CleaningFixture.start()
})
after(() => fixture.close())

const NOW = 1_700_000_000_000
const DAY = 86_400_000

/** `key=value`, `key` alone is a tombstone; consecutive offsets from `base` on. */
function records(base: number, ...texts: readonly string[]) {
  return texts.map((text, i) => {
    const [key, value] = text.split('=')
    return {
      offset: base + i,
      key: key as string,
      value: value ?? null,
      timestamp: 1000 + base + i,
    }
  })
}

function batch(base: number, ...texts: readonly string[]): Buffer {
  return dataBatch({ baseOffset: base, records: records(base, ...texts) })
}

function texts(batches: readonly ReadBackBatch[]): string[] {
  return batches.flatMap(({ records: found, isControl }) =>
    found.map(({ offset, key, value }) =>
      isControl ? `${offset}:marker` : `${offset}:${key}${value === null ? '' : `=${value}`}`,
    ),
  )
}

async function logOf(segments: Readonly<Record<number, readonly Buffer[]>>): Promise<CleanedLog> {
  const log = fixture.createLog()
  for (const [base, batches] of Object.entries(segments)) {
    writeSegment(log.folder, Number(base), batches)
  }
  await log.open()
  return log
}

const pass = { firstDirty: 0, nowMs: NOW, deleteRetentionMs: DAY }

test('of each key the newest record stays, where it was', async () => {
  const log = await logOf({
    0: [batch(0, 'a=1', 'b=1'), batch(2, 'a=2')],
    3: [batch(3, 'c=1', 'a=3')],
    5: [batch(5, 'b=2')],
  })
  const { indexed, groups } = await log.pass({ ...pass, firstUncleanable: 5 })
  assert.deepEqual(indexed, { endOffset: 5, keys: 3, full: false, groups: [[0, 3]] })
  assert.deepEqual(groups[0]?.recordsBefore, 5)
  assert.deepEqual(groups[0]?.recordsAfter, 3)
  assert.deepEqual(texts(await log.readAll()), ['1:b=1', '3:c=1', '4:a=3', '5:b=2'])
  assert.deepEqual(
    readdirSync(log.folder)
      .filter((name) => name.endsWith('.log'))
      .sort(),
    ['00000000000000000000.log', '00000000000000000005.log'],
  )
  assert.equal(
    readdirSync(log.folder).find((name) => /cleaned|swap|deleted/.test(name)),
    undefined,
  )
})

test('a batch keeps its offsets, its timestamps, its producer and its headers', async () => {
  const log = await logOf({
    0: [
      dataBatch({
        baseOffset: 0,
        records: records(0, 'a=1', 'b=1', 'c=1', 'a=2'),
        producerId: 7,
        producerEpoch: 2,
        baseSequence: 40,
      }),
      batch(4, 'c=2'),
    ],
    5: [],
  })
  await log.pass({ ...pass, firstUncleanable: 5 })
  const [first] = await log.readAll()
  assert.ok(first)
  assert.equal(first.baseOffset, 0)
  assert.equal(first.lastOffset, 3)
  assert.deepEqual([first.producerId, first.producerEpoch, first.baseSequence], [7, 2, 40])
  assert.deepEqual(first.records, [records(0, 'a=1', 'b=1')[1], records(3, 'a=2')[0]])
  assert.ok(first.bytes.includes('h'))
  assert.equal(
    Number(first.bytes.readBigInt64BE(35)),
    1003,
    'the largest timestamp of what is left',
  )
})

for (const codec of [1, 2, 3, 4]) {
  test(`a batch in codec ${codec} stays in it, and as it is when nothing goes`, async () => {
    const whole = dataBatch({ baseOffset: 0, records: records(0, 'x=1', 'y=1'), codec })
    const partly = dataBatch({ baseOffset: 2, records: records(2, 'a=1', 'z=1'), codec })
    const log = await logOf({ 0: [whole, partly, batch(4, 'a=2')], 5: [] })
    await log.pass({ ...pass, firstUncleanable: 5 })
    const [first, second] = await log.readAll()
    assert.deepEqual(first?.bytes, whole)
    assert.equal(second?.codec, codec)
    assert.deepEqual(texts(await log.readAll()), ['0:x=1', '1:y=1', '3:z=1', '4:a=2'])
  })
}

test('a tombstone gets its time to go at the first pass and goes when that is over', async () => {
  const log = await logOf({
    0: [batch(0, 'a=1', 'b=1'), batch(2, 'a')],
    3: [batch(3, 'c=1')],
    4: [],
  })
  await log.pass({ ...pass, firstUncleanable: 4 })
  const marked = (await log.readAll())[1]
  assert.equal(marked?.deleteHorizonMs, NOW + DAY)
  assert.deepEqual(marked?.records, [{ ...records(2, 'a')[0] }], 'its time is what it was')
  assert.deepEqual(texts(await log.readAll()), ['1:b=1', '2:a', '3:c=1'])
  const again = { ...pass, firstDirty: 4, firstUncleanable: 4 }
  await log.pass({ ...again, nowMs: NOW + DAY - 1 })
  assert.deepEqual(texts(await log.readAll()), ['1:b=1', '2:a', '3:c=1'])
  assert.equal((await log.readAll())[1]?.deleteHorizonMs, NOW + DAY, 'not put off')
})

test('tombstones whose time is over go', async () => {
  const log = await logOf({ 0: [batch(0, 'b=1'), batch(1, 'a')], 2: [batch(2, 'c=1')], 3: [] })
  await log.pass({ ...pass, firstUncleanable: 2 })
  assert.deepEqual(texts(await log.readAll()), ['0:b=1', '1:a', '2:c=1'])
  await log.pass({ ...pass, firstDirty: 2, firstUncleanable: 3, nowMs: NOW + DAY })
  assert.deepEqual(texts(await log.readAll()), ['0:b=1', '2:c=1'])
})

test('records without a key go', async () => {
  const keyless = { offset: 0, key: null, value: 'v', timestamp: 5 }
  const log = await logOf({
    0: [dataBatch({ baseOffset: 0, records: [keyless] }), batch(1, 'a=1')],
    2: [],
  })
  const { groups } = await log.pass({ ...pass, firstUncleanable: 2 })
  assert.equal(groups[0]?.withoutKey, 1)
  assert.deepEqual(texts(await log.readAll()), ['1:a=1'])
})

test('an empty key is a key, an empty value no tombstone', async () => {
  const log = await logOf({ 0: [batch(0, '=1', 'a='), batch(2, '=2')], 3: [] })
  await log.pass({ ...pass, firstUncleanable: 3 })
  assert.deepEqual(texts(await log.readAll()), ['1:a=', '2:=2'])
})

test("a producer's last batch stays, if only its header", async () => {
  const fields = { producerId: 9, producerEpoch: 0, codec: 4 }
  const log = await logOf({
    0: [
      dataBatch({ ...fields, baseOffset: 0, records: records(0, 'a=1'), baseSequence: 0 }),
      dataBatch({ ...fields, baseOffset: 1, records: records(1, 'a=2', 'b=1'), baseSequence: 1 }),
      batch(3, 'a=3', 'b=2'),
    ],
    5: [batch(5, 'a=4', 'b=3')],
    7: [],
  })
  await log.pass({ ...pass, firstUncleanable: 7 })
  const [kept, ...rest] = await log.readAll()
  assert.deepEqual(texts(rest), ['5:a=4', '6:b=3'])
  assert.ok(kept)
  assert.deepEqual([kept.baseOffset, kept.lastOffset, kept.baseSequence], [1, 2, 1])
  assert.deepEqual([kept.codec, kept.records.length, kept.bytes.length], [0, 0, 61])
  assert.deepEqual([kept.producerId, kept.producerEpoch], [9, 0])
  // And it is enough to know the producer by after a crash.
  await log.close(false)
  assert.equal(await log.open(false), 0)
  const { producers } = await log.plan({ ...pass, firstUncleanable: 7 })
  assert.deepEqual([...producers], [9, 2, 0])
})

test('the end of what was cleaned keeps its offset', async () => {
  const log = await logOf({
    0: [batch(0, 'a=1'), batch(1, 'b=1', 'b=2')],
    3: [batch(3, 'b=3')],
    4: [],
  })
  await log.pass({ ...pass, firstUncleanable: 3 })
  await log.pass({ ...pass, firstUncleanable: 4 })
  const batches = await log.readAll()
  assert.deepEqual(texts(batches), ['0:a=1', '3:b=3'])
})

test('nothing at or behind the limit is touched, though newer keys are there', async () => {
  const behind = [batch(2, 'a=2', 'a=3'), batch(4, 'a=4')]
  const log = await logOf({ 0: [batch(0, 'a=1', 'b=1')], 2: behind, 5: [] })
  await log.pass({ ...pass, firstUncleanable: 2 })
  assert.deepEqual(texts(await log.readAll()), ['0:a=1', '1:b=1', '2:a=2', '3:a=3', '4:a=4'])
  assert.deepEqual(readSegment(log.folder, 2), Buffer.concat(behind))
})

test('segments become one as far as the size of one goes', async () => {
  const log = await logOf({
    0: [batch(0, 'a=1')],
    1: [batch(1, 'b=1')],
    2: [batch(2, 'c=1')],
    3: [batch(3, 'd=1')],
    4: [],
  })
  const two = statSync(`${segmentPath(log.folder, 0)}.log`).size * 2
  const { indexed } = await log.pass({ ...pass, firstUncleanable: 4, segmentBytes: two })
  assert.deepEqual(indexed.groups, [
    [0, 1],
    [2, 3],
  ])
  assert.deepEqual(texts(await log.readAll()), ['0:a=1', '1:b=1', '2:c=1', '3:d=1'])
})

test('with too many keys it cleans as far as it knows them', async () => {
  const keys = Array.from({ length: 100 }, (_, i) => `k${i}=1`)
  const log = await logOf({
    0: [batch(0, ...keys), batch(100, ...keys)],
    200: [batch(200, 'k0=3', 'k99=3')],
    202: [],
  })
  // Room for 16 slots, at 24 bytes each.
  const { indexed } = await log.pass({ ...pass, firstUncleanable: 202, mapBytes: 24 * 16 })
  assert.ok(indexed.full)
  assert.ok(indexed.endOffset > 0 && indexed.endOffset < 100, `${indexed.endOffset}`)
  assert.deepEqual(indexed.groups, [[0]])
  assert.equal((await log.readAll()).flatMap(({ records: found }) => found).length, 202)
  let next = indexed.endOffset
  let passes = 0
  for (; next < 202; passes += 1) {
    const options = { ...pass, firstDirty: next, firstUncleanable: 202, mapBytes: 24 * 16 }
    const more = (await log.pass(options)).indexed
    assert.ok(more.endOffset > next)
    next = more.endOffset
  }
  assert.ok(passes > 5)
  const left = texts(await log.readAll())
  assert.equal(left.length, 100)
  assert.deepEqual(left.slice(-2), ['200:k0=3', '201:k99=3'])
})

test('a batch larger than the buffers is cleaned with larger ones', async () => {
  const large = 'x'.repeat(50_000)
  const log = await logOf({
    0: [batch(0, `a=${large}`, `b=${large}`), batch(2, 'a=2')],
    3: [],
  })
  await log.pass({ ...pass, firstUncleanable: 3, ioBufferBytes: 1024 })
  assert.deepEqual(texts(await log.readAll()), [`1:b=${large}`, '2:a=2'])
})

test('records of aborted transactions go, their markers when nothing is left of them', async () => {
  const transaction = { producerId: 5, producerEpoch: 0, isTransactional: true }
  const log = await logOf({
    0: [
      dataBatch({ ...transaction, baseOffset: 0, records: records(0, 'a=1'), baseSequence: 0 }),
      markerBatch({ baseOffset: 1, producerId: 5, producerEpoch: 0, commit: true, timestamp: 1 }),
      dataBatch({ ...transaction, baseOffset: 2, records: records(2, 'a=2'), baseSequence: 1 }),
      markerBatch({ baseOffset: 3, producerId: 5, producerEpoch: 0, commit: false, timestamp: 1 }),
    ],
    4: [
      dataBatch({ ...transaction, baseOffset: 4, records: records(4, 'b=1'), baseSequence: 2 }),
      markerBatch({ baseOffset: 5, producerId: 5, producerEpoch: 0, commit: true, timestamp: 1 }),
    ],
    6: [],
  })
  const aborted = { producerId: 5, firstOffset: 2, lastOffset: 3, lastStableOffset: 4 }
  writeFileSync(`${segmentPath(log.folder, 0)}.txnindex`, encodeAbortedTransaction(aborted))
  await log.pass({ ...pass, firstUncleanable: 4 })
  const first = await log.readAll()
  assert.deepEqual(texts(first), ['0:a=1', '1:marker', '3:marker', '4:b=1', '5:marker'])
  assert.deepEqual(
    first.map((one) => one.deleteHorizonMs),
    [null, null, null, null, null],
    'the batches of both transactions were still there',
  )
  assert.ok(existsSync(`${segmentPath(log.folder, 0)}.txnindex`), 'a marker that stays is indexed')

  await log.pass({ ...pass, firstDirty: 4, firstUncleanable: 6 })
  const second = await log.readAll()
  assert.deepEqual(texts(second), ['0:a=1', '1:marker', '3:marker', '4:b=1', '5:marker'])
  assert.deepEqual(
    second.map((one) => one.deleteHorizonMs),
    [null, null, NOW + DAY, null, null],
    'nothing is left of the aborted one',
  )
  assert.ok(!existsSync(`${segmentPath(log.folder, 0)}.txnindex`))

  await log.pass({ ...pass, firstDirty: 6, firstUncleanable: 6, nowMs: NOW + DAY })
  assert.deepEqual(texts(await log.readAll()), ['0:a=1', '1:marker', '4:b=1', '5:marker'])
})

test('a damaged batch stops it, and the log stays as it was', async () => {
  for (const [what, damage] of [
    [/wrong CRC/, (bytes: Buffer) => bytes.writeUInt8(1, bytes.length - 1)],
    [/incomplete/, (bytes: Buffer) => bytes.writeInt32BE(5000, 8)],
    [/a batch of \d+ bytes/, (bytes: Buffer) => bytes.writeInt32BE(3, 8)],
    [/the limit is/, (bytes: Buffer) => bytes.writeInt32BE(0x7fffff00, 8)],
    [/format 1/, (bytes: Buffer) => bytes.writeInt8(1, 16)],
    [/impossible offsets/, (bytes: Buffer) => bytes.writeInt32BE(0, 4)],
  ] as const) {
    const damaged = batch(2, 'a=2')
    damage(damaged)
    const log = await logOf({ 0: [batch(0, 'a=1', 'b=1')], 2: [damaged], 3: [batch(3, 'c=1')] })
    await assert.rejects(log.pass({ ...pass, firstUncleanable: 3 }), (error: unknown) => {
      assert.ok(error instanceof CorruptDataError)
      assert.match(error.message, what)
      return true
    })
    assert.deepEqual(
      readdirSync(log.folder).filter((name) => name.includes('cleaned')),
      [],
    )
    assert.deepEqual(readSegment(log.folder, 2), damaged)
  }
})

test('a cleaned segment has indexes that fit, and the age of what it was made from', async () => {
  const many = Array.from({ length: 100 }, (_, i) => batch(i, `k${i}=${'v'.repeat(50)}`))
  const log = await logOf({ 0: many, 100: [] })
  const age = statSync(`${segmentPath(log.folder, 0)}.log`).mtimeMs
  await log.pass({ ...pass, firstUncleanable: 100 })
  const path = segmentPath(log.folder, 0)
  assert.ok(Math.abs(statSync(`${path}.log`).mtimeMs - age) < 2)
  assert.ok(statSync(`${path}.index`).size > 8 * 20)
  assert.ok(statSync(`${path}.timeindex`).size > 12 * 20)
  for (let offset = 0; offset < 100; offset += 7) {
    assert.equal((await log.readFrom(offset, 1))[0]?.baseOffset, offset)
  }
  const { segments } = await log.state()
  assert.equal(segments[0]?.largestTimestamp, 1099)
})
