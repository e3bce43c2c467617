/**
 * Kills the broker with SIGKILL again and again while librdkafka produces, idempotently and not,
 * with and without compression, and starts it anew on the same directory. Every acknowledged record
 * must be at the offset that was acknowledged; with idempotence each record is there once and in
 * order; without it, retries may repeat records but the first of each keeps its order.
 *
 * The moments are drawn from a seed, printed and set by SHARDLOG_TEST_SEED.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBrokerUnderTest } from '../support/broker.ts'
import type { Driver } from '../support/driver.ts'
import { LineProcess } from '../support/line-process.ts'
import { readLog } from '../support/log-reader.ts'
import { peer, skipWithout } from '../support/peers.ts'
import { seededRandom, testSeed } from '../support/seed.ts'
import { clientSources, startReference } from './clients/scenario.ts'

const KILLS = 20
const PARTITIONS = 2
const topics = [
  'crash-idempotent',
  'crash-idempotent-zstd',
  'crash-acks-1',
  'crash-acks-all-lz4',
] as const
// Segments roll often, so that some kills meet a roll.
const settings = { 'log.segment.bytes': '1048576', 'num.partitions': String(PARTITIONS) }

/** What one partition's producer was told: the offset of each of its numbers. */
type Acknowledged = Map<number, number>

test('kill -9 loses, repeats and reorders nothing', { timeout: 300_000 }, async (t) => {
  if (skipWithout(t, 'python', 'go')) return
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const random = seededRandom(seed)
  await using broker = createBrokerUnderTest()
  await broker.start(settings)
  await createTopics(broker.address)

  const acknowledged = new Map<string, Acknowledged>()
  const failed: string[] = []
  let total = 0
  const onLine = (line: string) => {
    const [topic = '', partition, number, offset] = line.split(' ')
    if (topic === 'failed') failed.push(line)
    if (topic === 'failed' || topic === 'end') return
    const name = `${topic}-${partition}`
    const known = acknowledged.get(name) ?? new Map()
    acknowledged.set(name, known.set(Number(number), Number(offset)))
    total += 1
  }
  const program = join(clientSources, 'python', 'crash_load.py')
  const args = ['-B', program, broker.address, String(PARTITIONS)]
  await using load = new LineProcess(peer('python'), args, onLine)
  for (let kill = 0; kill < KILLS; kill += 1) {
    const enough = total + 1000 + Math.floor(random() * 4000)
    await load.until(() => total >= enough)
    await broker.kill('SIGKILL')
    await broker.start(settings)
  }
  await load.until(() => acknowledged.size === topics.length * PARTITIONS)
  await load.finish()
  assert.deepEqual(failed.slice(0, 3), [], `${failed.length} records were given up`)
  t.diagnostic(`${KILLS} kills, ${total} records acknowledged`)

  await using reference = startReference(broker.address)
  for (const [name, known] of acknowledged) {
    await t.test(name, () => checkPartition(reference, broker.dataDir, name, known))
  }
})

async function createTopics(address: string): Promise<void> {
  await using reference = startReference(address)
  for (const topic of topics) await reference.createTopic({ topic, partitions: PARTITIONS })
}

async function checkPartition(
  reference: Driver,
  dataDir: string,
  name: string,
  known: Acknowledged,
): Promise<void> {
  const topic = name.slice(0, name.lastIndexOf('-'))
  const partition = Number(name.slice(topic.length + 1))
  const batches = readLog(dataDir, topic, partition)
  const count = (batches.at(-1)?.lastOffset ?? -1) + 1
  const records = await reference.read({ topic, partition, offset: 0, count })
  const numbers = records.map(({ value }) =>
    Number(
      Buffer.from(value ?? '', 'base64')
        .toString()
        .split(' ', 1)[0],
    ),
  )
  assert.deepEqual(
    records.map(({ offset }) => offset),
    [...records.keys()],
    'offsets without a gap',
  )
  for (const [number, offset] of known) {
    assert.equal(numbers[offset], number, `record ${number} acknowledged at ${offset}`)
  }
  const first = [...new Set(numbers)]
  assert.deepEqual(first, [...first.keys()], 'the order of the first of each record')
  if (topic.startsWith('crash-idempotent')) {
    assert.equal(numbers.length, first.length, 'records that are there twice')
  }
}
