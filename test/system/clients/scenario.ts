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
import { type Client, type Codec, Driver, type WireRecord } from '../../support/driver.ts'
import { readLog } from '../../support/log-reader.ts'
import { type PeerName, peer, skipWithout } from '../../support/peers.ts'

export interface ClientTraits {
  /** Topic names start with it; hence unique per client on a broker. */
  readonly name: string
  /** All that must be installed, besides the reference client. */
  readonly needs: readonly PeerName[]
  readonly codecs: readonly Codec[]
  /** Headers came with record format 2. */
  readonly headers: boolean
  /** Whether a header may be null; some clients read it as an empty one. */
  readonly nullHeaders: boolean
  /** Record timestamps came with format 1. */
  readonly timestamps: boolean
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
  headers: true,
  nullHeaders: true,
  timestamps: true,
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
function kindsOfRecords(traits: ClientTraits): WireRecord[] {
  const records = [
    record(0),
    record(1, { key: null }),
    record(2, { key: '' }),
    record(3, { value: '' }),
    record(4, { key: '', value: '' }),
    record(5, { key: 'ключ ключей 🔑', value: Buffer.from([0, 255, 128, 10, 13, 0]) }),
  ]
  if (traits.nullValues) records.push(record(6, { value: null }))
  if (traits.headers) {
    records.push(record(7, { headers: [['trace', base64('a')]] }))
    const several: WireRecord['headers'] = [
      ['twice', base64('1')],
      ['twice', base64('2')],
      ['empty', ''],
      ['имя', base64(Buffer.from([0, 255]))],
      ...(traits.nullHeaders ? [['null', null] as const] : []),
    ]
    records.push(record(8, { headers: several }))
  }
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

/** `records` as they come back from a topic that started empty. */
function expected(records: readonly WireRecord[], options: { timestamps: boolean; from?: number }) {
  const from = options.from ?? 0
  return records
    .map(({ timestamp, ...rest }, i) => ({
      offset: i,
      ...rest,
      ...(options.timestamps ? { timestamp } : {}),
    }))
    .slice(from)
}

async function readBack(client: Client, topic: string, options: ReadBackOptions) {
  const { count, from = 0, timestamps } = options
  const records = await client.read({ topic, partition: 0, offset: from, count })
  return records.map(({ timestamp, ...rest }) => (timestamps ? { timestamp, ...rest } : rest))
}

interface ReadBackOptions {
  readonly count: number
  readonly from?: number
  readonly timestamps: boolean
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
  const { timestamps } = traits
  const request = { topic, partition: 0, codec, acks: -1, records } as const
  const offsets = await client.produce(request)
  if (offsets.length > 0) assert.deepEqual(offsets, [...records.keys()])
  const wanted = expected(records, { timestamps })
  const count = records.length
  assert.deepEqual(await readBack(reference, topic, { count, timestamps }), wanted)
  if (traits.reads) {
    assert.deepEqual(await readBack(client, topic, { count, timestamps }), wanted)
  }
}

async function kinds(stage: Stage): Promise<void> {
  const topic = await newTopic(stage, 'kinds')
  await roundTrip(stage, topic, 'none', kindsOfRecords(stage.traits))
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
  const { client, traits } = stage
  const topic = await newTopic(stage, 'offsets')
  const records = compressible(40)
  await stage.reference.produce({ topic, partition: 0, codec: 'none', acks: -1, records })
  // Into the middle of a batch, to the first record, to the last.
  for (const from of [17, 0, 39]) {
    const count = 40 - from
    const { timestamps } = traits
    const wanted = expected(records, { from, timestamps })
    assert.deepEqual(await readBack(client, topic, { from, count, timestamps }), wanted)
  }
}

async function seekByTime(stage: Stage): Promise<void> {
  const { client, reference } = stage
  const topic = await newTopic(stage, 'times')
  for (const codec of stage.traits.codecs) {
    const records = compressible(20).map((r, i) => ({ ...r, timestamp: beginning + i * 1000 }))
    await reference.produce({ topic, partition: 0, codec, acks: -1, records })
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
  const records = [...kindsOfRecords(traits), ...compressible(20), megabyte(30)]
  await reference.produce({ topic, partition: 0, codec, acks: -1, records })
  const { timestamps } = traits
  const back = await readBack(client, topic, { count: records.length, timestamps })
  assert.deepEqual(back, expected(records, { timestamps }))
}
