/**
 * Kafka Streams keeps a table and counts words on the broker: its stores come back, when their
 * folder is lost, from topics that were compacted; its internal topics are made, and purged by
 * DeleteRecords; a second instance takes its share, and all when the first one crashes.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Admin, allOrThrow, OffsetSpec } from '../../../src/client/admin.ts'
import { Consumer } from '../../../src/client/consumer.ts'
import { Producer } from '../../../src/client/producer.ts'
import { type BrokerUnderTest, startBrokerUnderTest } from '../../support/broker.ts'
import { LineProcess } from '../../support/line-process.ts'
import { peer, skipWithout } from '../../support/peers.ts'
import { until } from '../../support/until.ts'
import { compacted } from './compaction.ts'

const SETTINGS = { 'log.cleaner.backoff.ms': '20', 'group.initial.rebalance.delay.ms': '0' }
/** A batch of the producer that Streams has must fit. */
const SEGMENT_BYTES = 20_000
const COMPACT = {
  'cleanup.policy': 'compact',
  'segment.bytes': String(SEGMENT_BYTES),
  'min.cleanable.dirty.ratio': '0.01',
}
const PARTITIONS = 2
const APPLICATION = 'tables'
const REPARTITION = `${APPLICATION}-count-store-repartition`
const COUNT_CHANGELOG = `${APPLICATION}-count-store-changelog`
const WINDOW_CHANGELOG = `${APPLICATION}-window-store-changelog`
const KEYS = 40
const ROUNDS = 50

const source = join(
  import.meta.dirname,
  ...['..', '..', '..', '..', 'test', 'system', 'groups', 'java', 'TableStreams.java'],
)

type Contents = Readonly<Record<string, string>>

interface AppEvent {
  readonly event: 'state' | 'restored' | 'stores'
  readonly state?: string
  readonly store?: string
  readonly topic?: string
  readonly records?: number
  readonly table?: Contents
  readonly counts?: Contents
}

/** One instance of the application, with its own folder of stores. */
class App {
  readonly restored: AppEvent[] = []
  readonly #process: LineProcess
  readonly #folder = mkdtempSync(join(tmpdir(), 'shardlog-streams-'))
  readonly #answers: AppEvent[] = []
  #state = 'CREATED'

  constructor(classes: string, address: string) {
    const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx256m']
    const classPath = `${classes}:${peer('kafka-streams')}/*`
    const words = [address, APPLICATION, this.#folder, String(SEGMENT_BYTES)]
    this.#process = new LineProcess(
      'java',
      [...jvm, '-cp', classPath, 'TableStreams', ...words],
      (line) => {
        const event = JSON.parse(line) as AppEvent
        if (event.event === 'state') this.#state = event.state ?? ''
        else if (event.event === 'restored') this.restored.push(event)
        else this.#answers.push(event)
      },
    )
  }

  /** What it holds of both stores; nothing while it is changing over. */
  async stores(): Promise<{ table: Contents; counts: Contents }> {
    this.#process.write('stores')
    await this.#process.until(() => this.#answers.length > 0)
    const { table = {}, counts = {} } = this.#answers.shift() ?? {}
    return { table, counts }
  }

  get isRunning(): boolean {
    return this.#state === 'RUNNING'
  }

  describe(): string {
    return `${this.#state}\n${this.#process.errors}`
  }

  stop(): Promise<void> {
    return this.#process.finish()
  }

  kill(): Promise<void> {
    return this.#process.kill()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** What was written, and what the stores must hold of it. */
class Model {
  readonly table = new Map<string, string>()
  readonly counts = new Map<string, number>()
  words = 0
  entries = 0
  readonly #producer: Producer

  constructor(address: string) {
    this.#producer = new Producer({ bootstrapServers: address, lingerMs: 5 })
  }

  async write(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round += 1) {
      const records = []
      for (let i = 0; i < KEYS; i += 1) {
        const key = `key${i}`
        this.entries += 1
        // Every seventh is deleted in the end.
        const value =
          i % 7 === 0 && round % 2 === 1 ? null : `entry${this.entries}${'x'.repeat(80)}`
        if (value === null) this.table.delete(key)
        else this.table.set(key, value)
        records.push({ topic: 'table', key, value })
        const word = `word${(i * 3) % 20}${'y'.repeat(60)}`
        this.counts.set(word, (this.counts.get(word) ?? 0) + 1)
        this.words += 1
        records.push({ topic: 'words', key, value: word })
      }
      await this.#producer.send(records)
    }
  }

  async word(key: string, word: string): Promise<void> {
    this.counts.set(word, (this.counts.get(word) ?? 0) + 1)
    this.words += 1
    await this.#producer.send({ topic: 'words', key, value: word })
  }

  /** Waits until the stores of the instances together hold what was written. */
  async heldBy(...apps: readonly App[]): Promise<void> {
    const expected = JSON.stringify([sorted(this.table), sorted(this.counts)])
    let found = ''
    const holds = async () => {
      const stores = await Promise.all(apps.map((app) => app.stores()))
      const table = new Map(stores.flatMap((one) => Object.entries(one.table)))
      const counts = new Map(stores.flatMap((one) => Object.entries(one.counts)))
      found = JSON.stringify([sorted(table), sorted(counts)])
      return found === expected
    }
    try {
      await until('the stores hold what was written', holds, 90_000)
    } catch (error) {
      assert.equal(found, expected, apps.map((app) => app.describe()).join('\n'))
      throw error
    }
  }

  close(): Promise<void> {
    return this.#producer.close()
  }
}

function sorted(map: ReadonlyMap<string, string | number>): [string, string][] {
  return [...map].map(([key, value]): [string, string] => [key, String(value)]).sort()
}

async function offsetsOf(admin: Admin, topic: string, timestamp: number): Promise<number[]> {
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({
    topic,
    partition,
    timestamp,
  }))
  return allOrThrow(await admin.listOffsets(partitions)).map(({ offset }) => offset)
}

/** Waits until the application has committed all that is in its topics. */
async function allCommitted(admin: Admin): Promise<void> {
  await until('all is committed', async () => {
    const [group] = await admin.listGroupOffsets([APPLICATION])
    for (const topic of ['words', REPARTITION]) {
      for (const [partition, end] of (await offsetsOf(admin, topic, OffsetSpec.LATEST)).entries()) {
        const held = group?.offsets.find(
          (one) => one.topic === topic && one.partition === partition,
        )
        if ((held?.offset ?? 0) < end) return false
      }
    }
    return true
  })
}

async function lastValues(address: string, topic: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const consumer = new Consumer({ bootstrapServers: address })
  consumer.assign([0, 1].map((partition) => ({ topic, partition, offset: 0 })))
  const admin = new Admin({ bootstrapServers: address })
  const ends = await offsetsOf(admin, topic, OffsetSpec.LATEST)
  let left = ends.reduce((sum, end) => sum + end, 0)
  while (left > 0) {
    for (const record of await consumer.poll(1000)) {
      found.set(String(record.key), String(record.value))
      left -= 1
    }
  }
  await consumer.close()
  await admin.close()
  return found
}

async function configOf(admin: Admin, name: string, key: string): Promise<string | null> {
  const [found] = allOrThrow(await admin.describeConfigs([{ type: 2, name }]))
  return found?.entries.find((entry) => entry.name === key)?.value ?? null
}

test('Kafka Streams restores its stores from compacted topics', async (t) => {
  if (skipWithout(t, 'kafka-streams')) return
  const classes = mkdtempSync(join(tmpdir(), 'shardlog-java-'))
  t.after(() => rmSync(classes, { recursive: true, force: true }))
  const jars = `${peer('kafka-streams')}/*`
  await promisify(execFile)('javac', [
    ...['-nowarn', '-proc:none', '-cp', jars, '-d', classes, source],
  ])
  await using broker: BrokerUnderTest = await startBrokerUnderTest(SETTINGS)
  const admin = new Admin({ bootstrapServers: broker.address })
  const model = new Model(broker.address)
  t.after(() => Promise.all([admin.close(), model.close()]))
  const plain = ['words', 'counts', 'joined'].map((name) => ({ name, partitions: PARTITIONS }))
  allOrThrow(
    await admin.createTopics([
      ...plain,
      { name: 'table', partitions: PARTITIONS, configs: COMPACT },
    ]),
  )

  await t.test('stores and their topics', async () => {
    await using app = new App(classes, broker.address)
    await model.write(ROUNDS)
    await model.heldBy(app)
    assert.equal(await configOf(admin, COUNT_CHANGELOG, 'cleanup.policy'), 'compact')
    assert.equal(await configOf(admin, WINDOW_CHANGELOG, 'cleanup.policy'), 'compact,delete')
    assert.equal(await configOf(admin, REPARTITION, 'cleanup.policy'), 'delete')
    await until('what was repartitioned is purged', async () => {
      const begin = await offsetsOf(admin, REPARTITION, OffsetSpec.EARLIEST)
      const end = await offsetsOf(admin, REPARTITION, OffsetSpec.LATEST)
      const total = end.reduce((sum, one) => sum + one, 0)
      return total === model.words && begin.every((offset, i) => offset === end[i])
    })
    const counts = await lastValues(broker.address, 'counts')
    assert.deepEqual(sorted(counts), sorted(model.counts))
    await app.stop()
  })

  await t.test('stores restored after compaction', async () => {
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      await compacted(broker.dataDir, 'table', partition)
      await compacted(broker.dataDir, COUNT_CHANGELOG, partition)
    }
    await broker.kill('SIGKILL')
    await broker.start(SETTINGS)
    await using app = new App(classes, broker.address)
    await model.heldBy(app)
    const restored = (store: string) =>
      app.restored.filter((one) => one.store === store).map(({ records }) => records ?? 0)
    for (const [store, written] of [
      ['table-store', model.entries],
      ['count-store', model.words],
    ] as const) {
      const records = restored(store)
      assert.equal(records.length, PARTITIONS, store)
      const sum = records.reduce((total, one) => total + one, 0)
      t.diagnostic(`${store}: ${sum} of ${written} records restored`)
      assert.ok(sum > 0 && sum < written / 2, `${store}: ${sum} of ${written} records restored`)
    }
    assert.ok(app.restored.some(({ topic }) => topic === 'table'))
    await model.write(4)
    await model.heldBy(app)
    await model.word('key1', 'looked-up')
    const joined = `looked-up=${model.table.get('key1')}`
    await until('the word is joined with the table', async () =>
      [...(await lastValues(broker.address, 'joined')).values()].includes(joined),
    )
    await app.stop()
  })

  await t.test('two instances share the stores, and one takes over', async () => {
    await using first = new App(classes, broker.address)
    await model.heldBy(first)
    await using second = new App(classes, broker.address)
    await until('the second has its share', async () => {
      const { counts } = await second.stores()
      return first.isRunning && second.isRunning && Object.keys(counts).length > 0
    })
    await model.write(3)
    await model.heldBy(first, second)
    const { counts } = await first.stores()
    assert.ok(Object.keys(counts).length < model.counts.size, 'the first has given up its share')
    await allCommitted(admin)
    await first.kill()
    await model.heldBy(second)
    await model.write(3)
    await model.heldBy(second)
    await second.stop()
  })
})
