/**
 * Topics with cleanup.policy compact on a running broker: librdkafka writes keys over and over while
 * the cleaner works and the broker is killed with SIGKILL in between; what is left is the newest of
 * each key. Apache Kafka 3.9.1's tools find the segments sound, and Apache Kafka itself goes on from
 * them, also from a directory as a crash leaves it at any step of a replacement.
 */
import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { CleaningFixture } from '../log/cleaning-fixture.ts'
import { dataBatch, segmentPath, writeSegment } from '../log/stored-log.ts'
import { ApacheKafka, createNodes, runKafkaTool, ZooKeeperServer } from '../support/apache-kafka.ts'
import { ShardlogServer } from '../support/broker.ts'
import { kcat } from '../support/kcat.ts'
import { skipWithout } from '../support/peers.ts'
import { seededRandom, testSeed } from '../support/seed.ts'
import { WireClient } from '../support/wire-client.ts'

const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const KEYS = 100
const ROUNDS = 20
const KILLS = 5
const COMPACT = {
  'cleanup.policy': 'compact',
  'segment.bytes': '30000',
  'min.cleanable.dirty.ratio': '0.01',
  'delete.retention.ms': '1000000',
}

async function createTopic(address: string, name: string, configs: Record<string, string>) {
  const client = await WireClient.connect(Number(address.split(':')[1]))
  const created = await client.send(CreateTopics, 5, {
    topics: [
      {
        name,
        numPartitions: 1,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      },
    ],
    timeoutMs: 20_000,
  })
  client.close()
  assert.equal(created.topics[0]?.errorCode, 0)
}

/** `offset:key=value` of every record; without `=` it is a tombstone. */
async function readAll(address: string, topic: string): Promise<string[]> {
  const from = ['-b', address, '-C', '-t', topic, '-p', '0', '-o', 'beginning', '-e', '-q']
  const output = await kcat([...from, '-f', '%o:%k %S=%s\n'])
  return output
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/ -1=$/, '').replace(/ \d+=/, '='))
}

function segmentBases(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .map((name) => Number(name.slice(0, 20)))
    .sort((a, b) => a - b)
}

/** Waits until everything in front of the active segment is clean. */
async function compacted(dataDir: string, topic: string): Promise<void> {
  const file = join(dataDir, 'cleaner-offset-checkpoint')
  for (;;) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const clean = Number(new RegExp(`^${topic} 0 (\\d+)$`, 'm').exec(text)?.[1] ?? -1)
    if (clean === segmentBases(join(dataDir, `${topic}-0`)).at(-1)) return
    await delay(20)
  }
}

for (const shards of ['0', '1']) {
  test(`kill -9 or not, the newest of each key stays (${shards} threads)`, async (t) => {
    if (skipWithout(t, 'kafka-server', 'kcat')) return
    const seed = testSeed()
    t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
    const random = seededRandom(seed)
    const settings = { 'log.cleaner.backoff.ms': '10', 'shardlog.shards': shards }
    await using broker = new ShardlogServer()
    await broker.start(settings)
    await createTopic(broker.address, 'table', COMPACT)
    const newest = new Map<string, string | null>()
    let written = 0
    for (let round = 0; round < ROUNDS; round += 1) {
      const target = ['-b', broker.address, '-P', '-t', 'table', '-p', '0', '-K', ':', '-Z']
      const lines: string[] = []
      for (let i = 0; i < KEYS; i += 1) {
        const key = `key-${Math.floor(random() * KEYS)}`
        const value = random() < 0.1 ? null : `${round}-${'x'.repeat(Math.floor(random() * 200))}`
        newest.set(key, value)
        lines.push(`${key}:${value ?? ''}\n`)
      }
      // A record at the end of each round rolls the segment once in a while.
      lines.push(`round:${round}\n`)
      newest.set('round', String(round))
      written += lines.length
      const codec = CODECS[round % CODECS.length] as string
      await kcat([...target, '-z', codec, '-X', 'enable.idempotence=true'], lines.join(''))
      if (round % Math.floor(ROUNDS / KILLS) === 0) {
        await broker.kill('SIGKILL')
        await broker.start(settings)
      }
    }
    await compacted(broker.dataDir, 'table')
    const left = await readAll(broker.address, 'table')
    const active = segmentBases(join(broker.dataDir, 'table-0')).at(-1) ?? 0
    const seen = new Map<string, string | null>()
    let closed = 0
    let last = -1
    for (const line of left) {
      const [, offset, key, value] = /^(\d+):([^=]+)(?:=(.*))?$/.exec(line) ?? []
      assert.ok(Number(offset) > last, line)
      last = Number(offset)
      if (last < active) closed += 1
      seen.set(key as string, value ?? null)
    }
    assert.equal(last, written - 1)
    assert.deepEqual(new Map([...seen].sort()), new Map([...newest].sort()))
    assert.ok(closed <= KEYS + 1, `${closed} records of ${KEYS + 1} keys in front of ${active}`)
    assert.ok(active > 1000)
    assert.equal((await broker.stop()).code, 0)

    const folder = join(broker.dataDir, 'table-0')
    const files = readdirSync(folder).map((name) => join(folder, name))
    assert.deepEqual(
      files.filter((name) => /cleaned|swap|deleted/.test(name)),
      [],
    )
    const logs = files.filter((name) => name.endsWith('.log')).join(',')
    const dumped = await runKafkaTool('kafka.tools.DumpLogSegments', [
      ...['--deep-iteration', '--files', logs],
    ])
    assert.match(dumped, /isvalid: true/)
    assert.doesNotMatch(dumped, /isvalid: false|Found|corrupt/i)
    for (const suffix of ['.index', '.timeindex']) {
      const indexes = files.filter((name) => name.endsWith(suffix))
      const options = ['--index-sanity-check', '--files', indexes.join(',')]
      const said = await runKafkaTool('kafka.tools.DumpLogSegments', options)
      // An index has an entry for every 4 KiB of its segment, so a small one has none.
      const verdicts = said.split('\n').filter((line) => !/^(Dumping .*)?$/.test(line))
      assert.equal(verdicts.length, indexes.length, said)
      for (const verdict of verdicts) assert.match(verdict, / (passed sanity check|is empty)\.$/)
    }
  })
}

/** The renames by which a cleaned segment at 0 takes the place of those at `bases`, in order. */
function renamesOf(folder: string, bases: readonly number[]): [string, string][] {
  const cleaned = (suffix: string) => `${segmentPath(folder, 0)}${suffix}`
  const renames: [string, string][] = []
  for (const suffix of ['.index', '.timeindex', '.log']) {
    renames.push([cleaned(`${suffix}.cleaned`), cleaned(`${suffix}.swap`)])
  }
  for (const base of bases) {
    for (const suffix of ['.log', '.index', '.timeindex']) {
      const path = `${segmentPath(folder, base)}${suffix}`
      renames.push([path, `${path}.deleted`])
    }
  }
  for (const suffix of ['.log', '.index', '.timeindex']) {
    renames.push([cleaned(`${suffix}.swap`), cleaned(suffix)])
  }
  return renames
}

test('whatever step of a replacement a crash ends, both brokers recover the log', async (t) => {
  if (skipWithout(t, 'kafka-server', 'kcat')) return
  const fixture = await CleaningFixture.start()
  t.after(() => fixture.close())
  const log = fixture.createLog()
  const timestamp = Date.now()
  for (const base of [0, 40, 80, 120]) {
    const batches = Array.from({ length: 40 }, (_, i) =>
      dataBatch({
        baseOffset: base + i,
        records: [
          { offset: base + i, key: `k${(base + i) % 23}`, value: 'v'.repeat(50), timestamp },
        ],
      }),
    )
    writeSegment(log.folder, base, batches)
  }
  await log.open(false)
  const pass = { firstDirty: 0, firstUncleanable: 120, nowMs: 1, deleteRetentionMs: 1 }
  const cleaner = log.cleaner(await log.plan(pass))
  const { groups } = cleaner.index()
  assert.deepEqual(groups, [[0, 40, 80]])
  cleaner.clean([0, 40, 80])
  await log.close()

  await using zookeeper = new ZooKeeperServer()
  await zookeeper.start()
  await using kafka = new ApacheKafka({ zookeeper: zookeeper.address })
  mkdirSync(kafka.dataDir)
  const clusterId = 'c2hhcmRsb2ctdGVzdHMtMg'
  const meta = `version=0\nbroker.id=0\ncluster.id=${clusterId}\n`
  writeFileSync(join(kafka.dataDir, 'meta.properties'), meta)
  const nodes: Record<string, string> = {
    '/cluster': '',
    '/cluster/id': JSON.stringify({ version: '1', id: clusterId }),
    '/brokers': '',
    '/brokers/topics': '',
  }
  const ours: string[][] = []
  const keep = async (step: number): Promise<void> => {
    const topic = `step-${step}`
    cpSync(log.folder, join(kafka.dataDir, `${topic}-0`), { recursive: true })
    nodes[`/brokers/topics/${topic}`] = JSON.stringify({ version: 1, partitions: { 0: [0] } })
    const copy = fixture.createLog()
    cpSync(log.folder, copy.folder, { recursive: true })
    assert.equal(await copy.open(step % 2 === 0), 0)
    const found = (await copy.readAll()).flatMap(({ records }) => records)
    ours.push(found.map(({ offset, key, value }) => `${offset}:${key}=${value}`))
    const left = readdirSync(copy.folder).filter((name) => /cleaned|swap|deleted/.test(name))
    assert.deepEqual(left, [], topic)
    await copy.close()
  }
  const renames = renamesOf(log.folder, [0, 40, 80])
  for (const [step, [from, to]] of renames.entries()) {
    await keep(step)
    if (existsSync(from)) renameSync(from, to)
  }
  await keep(renames.length)
  const [before, after] = [ours[0] ?? [], ours.at(-1) ?? []]
  assert.equal(before.length, 160)
  assert.equal(after.length, 23 + 40)
  assert.deepEqual(after.slice(0, 23), before.slice(120 - 23, 120))
  for (const [step, found] of ours.entries()) {
    assert.deepEqual(found, step < 3 ? before : after, `step ${step}`)
  }

  await createNodes(zookeeper.address, nodes)
  await kafka.start()
  for (const [step, found] of ours.entries()) {
    const topic = `step-${step}`
    await led(kafka.address, topic)
    assert.deepEqual(await readAll(kafka.address, topic), found, topic)
  }
})

/** Waits until a broker leads the topic's partition. */
async function led(address: string, topic: string): Promise<void> {
  const client = await WireClient.connect(Number(address.split(':')[1]))
  for (;;) {
    const known = await client.send(Metadata, 9, {
      topics: [{ name: topic }],
      allowAutoTopicCreation: false,
    })
    if (known.topics[0]?.partitions[0]?.leaderId === 0) break
  }
  client.close()
}
