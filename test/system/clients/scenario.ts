/**
 * The one scenario that every client goes through: it produces and reads back keys, values, headers,
 * timestamps, empty and null values, every codec that it has and records of 1 MB, seeks by offset
 * and by time, and reads what another client wrote and the other way round.
 *
 * Each client is a small program (go/, java/, python/, node/) that answers the requests of
 * `support/driver.ts`. The codec is checked in the batches on disk, because clients fall back to no
 * compression without a word.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type BrokerUnderTest, startBrokerUnderTest } from '../../support/broker.ts'
import {
  type Client,
  type Codec,
  Driver,
  type ReadRecord,
  type WireRecord,
} from '../../support/driver.ts'
import { readLog } from '../../support/log-reader.ts'
import { type PeerName, peer, skipWithout } from '../../support/peers.ts'

/** Headers came with record format 2; some clients cannot say null or bytes that are no text. */
type Headers = 'any' | 'no nulls' | 'text' | 'none'

export interface ClientTraits {
  /** Topic names start with it; hence unique per client on a broker. */
  readonly name: string
  /** All that must be installed, besides the reference client. */
  readonly needs: readonly PeerName[]
  readonly codecs: readonly Codec[]
  /** Which headers it can write, and which it can read. */
  readonly headers: { readonly writes: Headers; readonly reads: Headers }
  /** `own`: it stamps records with its own clock. Record format 0 has none. */
  readonly timestamps: 'given' | 'own' | 'none'
  /** Whether the client can read a partition without a group. */
  readonly reads: boolean
  /** Whether it keeps a null value and an empty one apart. */
  readonly nullValues: boolean
  readonly seeksByTime: boolean
  /** Starts the client. */
  readonly start: (bootstrap: string) => Promise<ClosableClient> | ClosableClient
}

export type ClosableClient = Client & AsyncDisposable

/** What a client of today can do; others name the differences. */
export const modernTraits = {
  codecs: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
  headers: { writes: 'any', reads: 'any' },
  timestamps: 'given',
  reads: true,
  nullValues: true,
  seeksByTime: true,
} as const

/** The source folder of the client programs that are not TypeScript. */
export const clientSources = join(
  import.meta.dirname,
  ...['..', '..', '..', '..', 'test', 'system', 'clients'],
)

/** The client that writes and reads for comparison, and makes the topics. */
export function startReference(bootstrap: string): Driver {
  return new Driver(join(peer('go'), 'franz'), [bootstrap])
}

const base64 = (text: string | Buffer) => Buffer.from(text).toString('base64')

interface RecordOptions {
  readonly key?: string | null
  readonly value?: string | Buffer | null
  readonly headers?: WireRecord['headers']
}

// An hour ago: far from any limit on timestamps and from retention.
const beginning = Date.now() - 3_600_000

function record(index: number, options: RecordOptions = {}): WireRecord {
  const { key = `key-${index}`, value = `value-${index}`, headers = [] } = options
  return {
    key: key === null ? null : base64(key),
    value: value === null ? null : base64(value),
    headers,
    timestamp: beginning + index * 1000,
  }
}

/** Every combination of present, empty and null that a record can have. */
function kindsOfRecords(headers: Headers, nullValues: boolean): WireRecord[] {
  const records = [
    record(0),
    record(1, { key: null }),
    record(2, { key: '' }),
    record(3, { value: '' }),
    record(4, { key: '', value: '' }),
    record(5, { key: 'ключ ключей 🔑', value: Buffer.from([0, 255, 128, 10, 13, 0]) }),
  ]
  if (nullValues) records.push(record(6, { value: null }))
  if (headers === 'none') return records
  records.push(record(7, { headers: [['trace', base64('a')]] }))
  const several: WireRecord['headers'][number][] = [
    ['twice', base64('1')],
    ['twice', base64('2')],
    ['empty', ''],
  ]
  if (headers !== 'text') several.push(['имя', base64(Buffer.from([0, 255]))])
  if (headers === 'any') several.push(['null', null])
  records.push(record(8, { headers: several }))
  return records
}

/** Records that every codec shortens. */
function compressible(count: number): WireRecord[] {
  return Array.from({ length: count }, (_, i) => record(i, { value: `${i} `.repeat(100) }))
}

/** 1 MB, half of it noise, so that a codec shortens it but does not make it small. */
function megabyte(index: number): WireRecord {
  const value = Buffer.alloc(1_000_000, 'shardlog')
  let state = 0x2545f491 + index
  for (let i = 0; i < value.length / 2; i += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    value[i] = state >>> 24
  }
  return record(index, { value })
}

interface Aspects {
  readonly headers: boolean
  readonly timestamps: boolean
  /** The first offset to be read. */
  readonly from?: number
}

/** `records`, less what the client cannot know, as they come back from a topic that was empty. */
function expected(records: readonly WireRecord[], aspects: Aspects) {
  const numbered = records.map((r, offset) => ({ ...r, offset }))
  return numbered.slice(aspects.from ?? 0).map((r) => restrict(r, aspects))
}

function restrict(record: ReadRecord, aspects: Aspects) {
  const { offset, key, value, headers, timestamp } = record
  return {
    ...{ offset, key, value },
    ...(aspects.headers ? { headers } : {}),
    ...(aspects.timestamps ? { timestamp } : {}),
  }
}

/** Reads `records` through `client` and compares. */
async function assertReads(client: Client, topic: string, wanted: Wanted): Promise<void> {
  const { records, aspects } = wanted
  const offset = aspects.from ?? 0
  const count = records.length - offset
  const back = await client.read({ topic, partition: 0, offset, count })
  assert.deepEqual(
    back.map((r) => restrict(r, aspects)),
    expected(records, aspects),
  )
}

interface Wanted {
  readonly records: readonly WireRecord[]
  readonly aspects: Aspects
}

/** Registers the scenario as one test with a subtest for each subject. */
export function testClient(traits: ClientTraits): void {
  test(`${traits.name} produces, reads and seeks`, { timeout: 180_000 }, async (t) => {
    if (skipWithout(t, ...traits.needs, 'go')) return
    await using broker = await startBrokerUnderTest()
    await using client = await traits.start(broker.address)
    await using reference = startReference(broker.address)
    const stage: Stage = { broker, client, reference, traits }
    await t.test('keys, values, headers, timestamps', () => kinds(stage))
    for (const codec of traits.codecs) await t.test(codec, () => oneCodec(stage, codec))
    await t.test('records of 1 MB', () => megabytes(stage))
    if (!traits.reads) return
    await t.test('seeks by offset', () => seekByOffset(stage))
    if (traits.seeksByTime) await t.test('seeks by time', () => seekByTime(stage))
    for (const codec of traits.codecs) {
      await t.test(`reads ${codec} of another client`, () => readOthers(stage, codec))
    }
  })
}

interface Stage {
  readonly broker: BrokerUnderTest
  readonly client: Client
  readonly reference: Client
  readonly traits: ClientTraits
}

async function newTopic(stage: Stage, subject: string): Promise<string> {
  const topic = `${stage.traits.name}-${subject}`
  await stage.reference.createTopic({ topic, partitions: 1 })
  return topic
}

/** Produces through the client, and reads through itself, if it can, and the reference. */
async function roundTrip(stage: Stage, topic: string, codec: Codec, records: WireRecord[]) {
  const { client, reference, traits } = stage
  const offsets = await client.produce({ topic, partition: 0, codec, acks: -1, records })
  if (offsets.length > 0) assert.deepEqual(offsets, [...records.keys()])
  const aspects = { headers: true, timestamps: traits.timestamps === 'given' }
  await assertReads(reference, topic, { records, aspects })
  if (!traits.reads) return
  const headers = traits.headers.reads !== 'none'
  await assertReads(client, topic, { records, aspects: { ...aspects, headers } })
}

function aspectsRead(traits: ClientTraits): Aspects {
  return { headers: traits.headers.reads !== 'none', timestamps: traits.timestamps !== 'none' }
}

async function kinds(stage: Stage): Promise<void> {
  const topic = await newTopic(stage, 'kinds')
  const { headers, nullValues } = stage.traits
  await roundTrip(stage, topic, 'none', kindsOfRecords(headers.writes, nullValues))
}

async function oneCodec(stage: Stage, codec: Codec): Promise<void> {
  const topic = await newTopic(stage, `codec-${codec}`)
  await roundTrip(stage, topic, codec, compressible(50))
  const batches = readLog(stage.broker.dataDir, topic, 0)
  assert.ok(batches.length > 0)
  for (const batch of batches) assert.equal(batch.codec, codec, `the batch on disk: ${batch.file}`)
}

async function megabytes(stage: Stage): Promise<void> {
  const topic = await newTopic(stage, 'megabytes')
  const codec = stage.traits.codecs.includes('gzip') ? 'gzip' : 'none'
  await roundTrip(stage, topic, codec, [megabyte(0), megabyte(1), megabyte(2)])
}

async function seekByOffset(stage: Stage): Promise<void> {
  const topic = await newTopic(stage, 'offsets')
  const records = compressible(40)
  await stage.reference.produce({ topic, partition: 0, codec: 'none', acks: -1, records })
  // Into the middle of a batch, to the first record, to the last.
  for (const from of [17, 0, 39]) {
    const aspects = { ...aspectsRead(stage.traits), from }
    await assertReads(stage.client, topic, { records, aspects })
  }
}

async function seekByTime(stage: Stage): Promise<void> {
  const { client, reference } = stage
  const topic = await newTopic(stage, 'times')
  for (const codec of stage.traits.codecs) {
    await reference.produce({ topic, partition: 0, codec, acks: -1, records: compressible(20) })
  }
  const at = async (milliseconds: number) =>
    client.offsetForTime({ topic, partition: 0, timestamp: beginning + milliseconds })
  assert.equal(await at(-5000), 0)
  assert.equal(await at(0), 0)
  assert.equal(await at(7000), 7)
  assert.equal(await at(7001), 8)
  assert.equal(await at(19_000), 19)
}

async function readOthers(stage: Stage, codec: Codec): Promise<void> {
  const { client, reference, traits } = stage
  const topic = await newTopic(stage, `others-${codec}`)
  // A reader that knows no headers still meets them.
  const headers = traits.headers.reads === 'none' ? 'any' : traits.headers.reads
  const kinds = kindsOfRecords(headers, traits.nullValues)
  const records = [...kinds, ...compressible(20), megabyte(30)]
  await reference.produce({ topic, partition: 0, codec, acks: -1, records })
  await assertReads(client, topic, { records, aspects: aspectsRead(traits) })
}
