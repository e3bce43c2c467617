/**
 * kafka-dump-log on files that no broker of today writes any more or seldom: old formats, control
 * records, the transaction index, transaction metadata, beside Apache's own tool; and on damage.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { after, test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { kafkaDumpLog } from '../../src/cli/kafka-dump-log.ts'
import { runTool as runInProcess } from '../../src/cli/kit/run-tool.ts'
import { buildMessageSet } from '../../src/log/record-format.ts'
import { addon } from '../../src/native/addon.ts'
import { writeLegacyMessageSet } from '../../src/protocol/legacy-message-set.ts'
import { type RecordBatchOptions, writeRecordBatch } from '../../src/protocol/record-batch.ts'
import { skipWithout } from '../support/peers.ts'
import { ApacheTools, runTool } from '../support/tools.ts'

const folder = mkdtempSync(join(tmpdir(), 'dump-log-test-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const NAME = '00000000000000000000'
let files = 0

/** A file in a folder of its own, so that what lies beside it is chosen too. */
function fileOf(
  ending: string,
  bytes: Uint8Array,
  beside: Record<string, Uint8Array> = {},
): string {
  files += 1
  const directory = join(folder, String(files))
  mkdirSync(directory)
  for (const [other, content] of Object.entries(beside)) {
    writeFileSync(join(directory, `${NAME}.${other}`), content)
  }
  const path = join(directory, `${NAME}.${ending}`)
  writeFileSync(path, bytes)
  return path
}

function batch(
  records: Parameters<typeof writeRecordBatch>[0],
  options: Partial<RecordBatchOptions> = {},
): Buffer {
  return writeRecordBatch(records, {
    crc32c: (bytes, seed) => addon.crc32c(bytes, seed),
    ...options,
  })
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  return Buffer.concat([int16(value.length), Buffer.from(value)])
}

const messages = [0, 1, 2].map((offset) => ({
  offset,
  timestamp: 1_700_000_000_000 + offset,
  key: offset === 1 ? null : Buffer.from(`key ${offset}`),
  value: offset === 2 ? null : Buffer.from(`value ${offset}`),
}))

test('what old and rare files hold is printed as Apache prints it', async (t) => {
  if (skipWithout(t, 'kafka-server', 'kafka-tools')) return
  await using apache = new ApacheTools()
  const same = async (path: string, ...args: string[]): Promise<string> => {
    const words = [...args, '--files', path]
    const mine = await runTool('kafka-dump-log', words)
    assert.equal(mine.stdout, (await apache.run('kafka-dump-log', words)).stdout)
    assert.equal(mine.code, 0, mine.stderr)
    return mine.stdout
  }
  for (const magic of [0, 1] as const) {
    for (const codec of [0, 1, 2, 3]) {
      const path = fileOf('log', buildMessageSet(messages, { magic, codec }))
      await same(path)
      await same(path, '--print-data-log')
      await same(path, '--deep-iteration')
    }
  }
  const appended = messages.map((one) => ({ ...one, hasLogAppendTime: true }))
  const old = fileOf('log', writeLegacyMessageSet(appended, { magic: 1, crc32 }))
  assert.match(await same(old, '--print-data-log'), /LogAppendTime: 1700000000002/)

  const producer = { producerId: 7, producerEpoch: 2, isTransactional: true }
  const records = [
    { key: Buffer.from('a'), value: null, timestamp: 5 },
    { key: null, value: Buffer.from([0xff, 0x00, 0x41]), timestamp: 6 },
  ]
  const data = batch(records, { ...producer, baseSequence: 2 ** 31 - 1, partitionLeaderEpoch: 3 })
  const end = { ...producer, isControl: true, baseOffset: 2 }
  const commit = { key: Buffer.concat([int16(0), int16(1)]), value: Buffer.alloc(6) }
  const abort = { key: Buffer.concat([int16(0), int16(0)]), value: Buffer.alloc(6, 0) }
  const emptied = batch([], { baseOffset: 4, lastOffsetDelta: 3 })
  const controlled = fileOf(
    'log',
    Buffer.concat([data, batch([commit], end), batch([abort], { ...end, baseOffset: 3 }), emptied]),
  )
  assert.match(
    await same(controlled, '--print-data-log'),
    /endTxnMarker: COMMIT coordinatorEpoch: 0/,
  )
  await same(controlled)
  await same(controlled, '--print-data-log', '--skip-record-metadata')

  const aborted = Buffer.concat([int16(0), ...[7, 1, 9, 5].map(int64)])
  const index = fileOf('txnindex', Buffer.concat([aborted, aborted]))
  assert.match(await same(index), /producerId: 7 firstOffset: 1 lastOffset: 9 lastStableOffset: 5/)

  const metadata = Buffer.concat([
    ...[int16(0), int64(7), int16(2), int32(60_000), Buffer.from([1])],
    ...[int32(1), text('demo'), int32(2), int32(0), int32(1)],
    ...[int64(1_700_000_000_000), int64(1_700_000_000_001)],
  ])
  const transactions = fileOf(
    'log',
    batch([
      { key: Buffer.concat([int16(0), text('tx')]), value: metadata },
      { key: Buffer.concat([int16(0), text('tx')]), value: null },
    ]),
  )
  const printed = await same(transactions, '--transaction-log-decoder')
  assert.match(printed, /transactionalId=tx payload: producerId:7,producerEpoch:2,state=Ongoing/)

  const numbers = fileOf('log', batch([{ key: int32(42), value: int64(-7) }]))
  const decoders = ['Integer', 'Long'].map((type) => `org.apache.kafka.tools.api.${type}Decoder`)
  await same(
    numbers,
    ...['--key-decoder-class', decoders[0] as string],
    ...['--value-decoder-class', decoders[1] as string],
  )

  const log = Buffer.concat([batch(records), batch(records, { baseOffset: 2 })])
  const entry = Buffer.concat([int32(3), int32(log.length / 2)])
  const sparse = fileOf('index', Buffer.concat([entry, Buffer.alloc(80)]), { log })
  assert.match(await same(sparse), /offset: 3 position: \d+\n$/)
  const wrong = fileOf('index', Buffer.concat([int32(2), int32(log.length / 2)]), { log })
  const mismatch = await runTool('kafka-dump-log', ['--verify-index-only', '--files', wrong])
  assert.equal(mismatch.code, 1)
  assert.match(mismatch.stderr, /Mismatches in :.*\n {2}Index offset: 2, log offset: 3\n$/)
})

/** Runs the tool in this process; it must neither throw nor print nonsense. */
async function dumped(path: string, ...args: string[]): Promise<{ code: number; stderr: string }> {
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  stdout.resume()
  const told: Buffer[] = []
  stderr.on('data', (chunk: Buffer) => told.push(chunk))
  const code = await runInProcess(kafkaDumpLog, [...args, '--files', path], {
    ...{ stdin: Readable.from([]), stdout, stderr, isTerminal: false },
    signal: new AbortController().signal,
  })
  return { code, stderr: Buffer.concat(told).toString() }
}

test('no bytes make it crash or hang', async () => {
  const sound = batch(messages, { producerId: 1, producerEpoch: 0, baseSequence: 0 })
  const old = buildMessageSet(messages, { magic: 1, codec: 1 })
  const damaged = fc
    .record({
      base: fc.constantFrom(sound, old, Buffer.concat([sound, old])),
      flips: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
      cut: fc.nat(20),
    })
    .map(({ base, flips, cut }) => {
      const bytes = Buffer.from(base)
      for (const [at, value] of flips) bytes[at % bytes.length] = value
      return bytes.subarray(0, bytes.length - cut)
    })
  const bytes = fc.oneof(damaged, fc.uint8Array({ maxLength: 200 }))
  const ending = fc.constantFrom('log', 'index', 'timeindex', 'txnindex', 'snapshot', 'checkpoint')
  const option = fc.constantFrom(
    '--print-data-log',
    '--offsets-decoder',
    '--transaction-log-decoder',
  )
  await fc.assert(
    fc.asyncProperty(bytes, bytes, ending, option, async (content, log, name, decoder) => {
      const { code, stderr } = await dumped(fileOf(name, content, { log }), decoder)
      assert.ok(code === 0 || code === 1)
      assert.doesNotMatch(stderr, /TypeError|undefined|\n\s+at /)
    }),
    { numRuns: 300 },
  )
})
