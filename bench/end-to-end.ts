/**
 * This broker against Apache Kafka 3.9.1 under the same client, alternately in one run, so that
 * what else the machine does falls on both: `npm run bench -- [options]` (`--help` names them).
 *
 * Every round is: create a topic, produce, check that both watermarks span what was sent, (consume,)
 * delete. Broker CPU is the user and system time of all its threads while the client works. One GB
 * is 10^9 bytes of record values.
 */
import assert from 'node:assert/strict'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type BenchBroker, type BrokerKind, KAFKA_JVM, startBroker, stopAll } from './brokers.ts'
import {
  buildClient,
  countRecords,
  createTopic,
  deleteTopic,
  type JobResult,
  runJob,
  type Settings,
} from './client.ts'
import { describeMachine, machineLine } from './machine.ts'
import { type Options, parseOptions, type ScenarioName, USAGE } from './options.ts'
import { residentMemory } from './process-usage.ts'
import { formatReport, type ScenarioReport } from './report.ts'

const KAFKA = 'kafka-3.9.1'
const IDLE_MS = 3000
const WARM_UP_ROUNDS = 2

type Measured = Readonly<Record<string, number>>

class Run {
  readonly reports: ScenarioReport[] = []
  readonly #options: Options
  readonly #folder: string
  readonly #kinds: readonly BrokerKind[]
  readonly #brokers: BenchBroker[] = []
  #topics = 0

  constructor(options: Options, folder: string) {
    this.#options = options
    this.#folder = folder
    const ours = options.shards.map((shards) => ({ name: `shards=${shards}`, shards }))
    this.#kinds = options.kafka ? [{ name: KAFKA, shards: null }, ...ours] : ours
  }

  async all(): Promise<void> {
    const { bytes } = this.#options
    if (this.#wants('start')) await this.#start()
    await this.#openBrokers()
    await this.#warmUp()
    await this.#produce('produce-1k-1m', { size: 1024, batch: 1_000_000, bytes })
    await this.#produce('produce-1k-16k', { size: 1024, batch: 16_384, bytes: bytes / 2 })
    await this.#produce('produce-100-1m', { size: 100, batch: 1_000_000, bytes: bytes / 4 })
    await this.#produce('produce-100-16k', { size: 100, batch: 16_384, bytes: bytes / 4 })
    if (this.#wants('single')) await this.#single()
    await this.#consume('consume-1k-1m', { size: 1024, batch: 1_000_000, bytes })
    await this.#consume('consume-1k-16k', { size: 1024, batch: 16_384, bytes })
    await this.#consume('consume-100-1m', { size: 100, batch: 1_000_000, bytes: bytes / 2 })
    if (this.#wants('latency')) await this.#latency()
    if (this.#wants('memory')) this.#memoryAfterLoad()
  }

  async stop(): Promise<void> {
    await stopAll(this.#brokers.splice(0))
  }

  #wants(scenario: ScenarioName): boolean {
    return this.#options.scenarios.has(scenario)
  }

  /** Start-up with an empty directory, then memory when nothing happens. */
  async #start(): Promise<void> {
    const rounds = new Rounds()
    for (let round = 0; round < this.#options.rounds; round += 1) {
      for (const kind of this.#kinds) {
        const broker = await this.#startBroker(kind)
        await setTimeout(IDLE_MS)
        rounds.add(kind.name, {
          'ready line, ms': broker.readyMs,
          'first metadata, ms': broker.metadataMs,
          'resident idle, MB': residentMemory(broker.pid).nowMb,
        })
        await broker.stop()
      }
    }
    this.#report('start', `empty data directory; memory ${IDLE_MS / 1000} s after ready`, rounds)
  }

  async #openBrokers(): Promise<void> {
    for (const kind of this.#kinds) this.#brokers.push(await this.#startBroker(kind))
  }

  /** Small batches, because it is requests, not bytes, that make the JVM compile its code. */
  async #warmUp(): Promise<void> {
    const settings = this.#batchedSettings({
      size: 1024,
      batch: 16_384,
      bytes: this.#options.warmUpBytes,
    })
    for (const broker of this.#brokers) {
      await this.#withTopic(broker, this.#options.partitions, async (topic) => {
        await this.#checkedProduce(broker, topic, settings)
        const { partitions, records } = settings
        const consumer = { ...CONSUMER, brokers: broker.address, topic, partitions, records }
        await runJob('consume', broker.pid, consumer)
        return {}
      })
    }
  }

  #startBroker(kind: BrokerKind): Promise<BenchBroker> {
    const folder = join(this.#folder, kind.name)
    return startBroker(kind, folder, this.#options.segmentBytes)
  }

  /** Calls `measure` for the brokers in turn; the first rounds only warm up. */
  async #alternate(measure: (broker: BenchBroker) => Promise<Measured>): Promise<Rounds> {
    const rounds = new Rounds()
    for (let round = -WARM_UP_ROUNDS; round < this.#options.rounds; round += 1) {
      for (const broker of this.#brokers) {
        const measured = await measure(broker)
        if (round >= 0) rounds.add(broker.kind.name, measured)
      }
    }
    return rounds
  }

  async #produce(scenario: ScenarioName, load: Load): Promise<void> {
    if (!this.#wants(scenario)) return
    const settings = this.#batchedSettings(load)
    const rounds = await this.#alternate((broker) =>
      this.#withTopic(broker, this.#options.partitions, async (topic) =>
        produceFigures(await this.#checkedProduce(broker, topic, settings), load.size),
      ),
    )
    this.#report(scenario, this.#describe(load, settings), rounds)
  }

  /** One record per request, five requests in flight. */
  async #single(): Promise<void> {
    const settings = {
      ...this.#producerSettings(),
      records: this.#options.requests,
      size: 1024,
      'batch.num.messages': 1,
      'linger.ms': 0,
    }
    const rounds = await this.#alternate((broker) =>
      this.#withTopic(broker, this.#options.partitions, async (topic) =>
        produceFigures(await this.#checkedProduce(broker, topic, settings), 1024),
      ),
    )
    const load = { size: 1024, batch: 0, bytes: this.#options.requests * 1024 }
    this.#report('single', this.#describe(load, settings), rounds)
  }

  async #consume(scenario: ScenarioName, load: Load): Promise<void> {
    if (!this.#wants(scenario)) return
    const { partitions } = this.#options
    const produced = this.#batchedSettings(load)
    const topic = this.#nextTopic()
    for (const broker of this.#brokers) {
      await createTopic(broker.address, topic, partitions)
      await this.#checkedProduce(broker, topic, produced)
    }
    const settings = { ...CONSUMER, topic, partitions, records: produced.records }
    const rounds = await this.#alternate(async (broker) => {
      const job = await runJob('consume', broker.pid, { brokers: broker.address, ...settings })
      assert.equal(job.records, settings.records, 'records consumed')
      return {
        'broker CPU s/GB': (job.brokerCpu * 1e9) / job.bytes,
        'client CPU s/GB': (job.clientCpu * 1e9) / job.bytes,
        'MB/s': job.bytes / 1e6 / job.seconds,
        'kB per fetch': job.bytes / 1e3 / job.fetchRequests,
        'broker us/fetch': (job.brokerCpu * 1e6) / job.fetchRequests,
      }
    })
    for (const broker of this.#brokers) await deleteTopic(broker.address, topic)
    const how =
      `fetch.message.max.bytes ${CONSUMER['fetch.message.max.bytes']}, ` +
      `fetch.max.bytes ${CONSUMER['fetch.max.bytes']}, fetch.wait.max.ms ` +
      `${CONSUMER['fetch.wait.max.ms']}, fetch.min.bytes ${CONSUMER['fetch.min.bytes']}`
    this.#report(
      scenario,
      `consume from page cache, ${how}; ${this.#describe(load, produced)}`,
      rounds,
    )
  }

  /** From the call of the producer until the consumer has the record, in one client process. */
  async #latency(): Promise<void> {
    const rate = 1000
    const settings = {
      ...CONSUMER,
      partitions: 1,
      acks: this.#options.acks,
      rate,
      records: rate * (this.#options.seconds + 1),
      size: 1024,
      'linger.ms': 0,
    }
    const rounds = await this.#alternate((broker) =>
      this.#withTopic(broker, 1, async (topic) => {
        const brokers = broker.address
        const job = await runJob('latency', broker.pid, { brokers, topic, ...settings })
        await this.#checkCount(broker, topic, { partitions: 1, records: job.records })
        return {
          'p50, us': job.p50 ?? Number.NaN,
          'p99, us': job.p99 ?? Number.NaN,
          'p99.9, us': job.p999 ?? Number.NaN,
          'broker CPU, us/record': (job.brokerCpu * 1e6) / job.records,
        }
      }),
    )
    const how = `${rate} records/s of 1024 B for ${this.#options.seconds} s after one to start, 1 partition`
    const connections = '1 producer and 1 consumer connection'
    const fetch = 'linger 0, fetch.wait.max.ms 500, fetch.min.bytes 1'
    this.#report('latency', `${how}, ${connections}, acks ${settings.acks}, ${fetch}`, rounds)
  }

  #memoryAfterLoad(): void {
    const rounds = new Rounds()
    for (const { kind, pid } of this.#brokers) {
      const { nowMb, peakMb } = residentMemory(pid)
      rounds.add(kind.name, { 'resident after load, MB': nowMb, 'resident peak, MB': peakMb })
    }
    this.#report('memory', 'after all of the scenarios above', rounds)
  }

  #producerSettings() {
    const { acks, partitions, connections } = this.#options
    return { ...PRODUCER, acks, partitions, connections }
  }

  /** A linger that large batches are full before, also when the client is slower than the broker. */
  #batchedSettings(load: Load) {
    return {
      ...this.#producerSettings(),
      records: Math.round(load.bytes / load.size),
      size: load.size,
      burst: Math.ceil(load.batch / load.size),
      'batch.size': load.batch,
      'batch.num.messages': 1_000_000,
      'linger.ms': load.batch > 100_000 ? 100 : 10,
    }
  }

  #describe(load: Load, settings: Settings): string {
    const batch = load.batch === 0 ? 'one record per request' : `batches of ${load.batch} B`
    return (
      `${settings['records']} records of ${load.size} B, ${batch}, linger ${settings['linger.ms']} ms, ` +
      `${this.#options.partitions} partitions, ${this.#options.connections} connections, ` +
      `acks ${this.#options.acks}, ${PRODUCER['max.in.flight']} in flight`
    )
  }

  async #checkedProduce(
    broker: BenchBroker,
    topic: string,
    settings: Settings & { readonly records: number; readonly partitions: number },
  ): Promise<JobResult> {
    const job = await runJob('produce', broker.pid, { brokers: broker.address, topic, ...settings })
    assert.equal(job.records, settings.records, 'records acknowledged')
    if (this.#options.acks !== 0) await this.#checkCount(broker, topic, settings)
    return job
  }

  async #checkCount(
    broker: BenchBroker,
    topic: string,
    expected: { readonly partitions: number; readonly records: number },
  ): Promise<void> {
    const count = await countRecords(broker.address, topic, expected.partitions)
    assert.equal(count, expected.records, `records in the log of ${broker.kind.name}`)
  }

  async #withTopic(
    broker: BenchBroker,
    partitions: number,
    use: (topic: string) => Promise<Measured>,
  ): Promise<Measured> {
    const topic = this.#nextTopic()
    await createTopic(broker.address, topic, partitions)
    const measured = await use(topic)
    await deleteTopic(broker.address, topic)
    return measured
  }

  #nextTopic(): string {
    this.#topics += 1
    return `bench-${this.#topics}`
  }

  #report(scenario: ScenarioName, settings: string, rounds: Rounds): void {
    const report = { scenario, settings, brokers: rounds.figures }
    this.reports.push(report)
    process.stdout.write(`${formatReport(report, KAFKA)}\n`)
  }
}

interface Load {
  /** Bytes of a record's value. */
  readonly size: number
  /** Bytes of a full batch; 0: one record each. */
  readonly batch: number
  /** Of all records of a round. */
  readonly bytes: number
}

const PRODUCER = {
  'enable.idempotence': 'false',
  'max.in.flight': 5,
  'socket.nagle.disable': 'true',
  'queue.buffering.max.messages': 300_000,
  'queue.buffering.max.kbytes': 131_072,
} as const

// The queue limits keep librdkafka from pausing a partition for a second when it is ahead.
const CONSUMER = {
  'group.id': 'bench',
  'enable.auto.commit': 'false',
  'socket.nagle.disable': 'true',
  'fetch.message.max.bytes': 1_048_576,
  'fetch.max.bytes': 52_428_800,
  'fetch.wait.max.ms': 500,
  'fetch.min.bytes': 1,
  'queued.min.messages': 10_000_000,
  'queued.max.messages.kbytes': 2_097_151,
} as const

/** Collects the rounds of each broker, figure by figure. */
class Rounds {
  readonly #figures = new Map<string, Map<string, number[]>>()

  add(broker: string, measured: Measured): void {
    const figures = this.#figures.get(broker) ?? new Map<string, number[]>()
    this.#figures.set(broker, figures)
    for (const [name, value] of Object.entries(measured)) {
      const values = figures.get(name)
      if (values === undefined) figures.set(name, [value])
      else values.push(value)
    }
  }

  get figures(): ScenarioReport['brokers'] {
    return Object.fromEntries([...this.#figures].map(([name, f]) => [name, Object.fromEntries(f)]))
  }
}

function produceFigures(job: JobResult, size: number): Measured {
  return {
    'broker CPU s/GB': (job.brokerCpu * 1e9) / job.bytes,
    'broker CPU s/M records': (job.brokerCpu * 1e6) / job.records,
    'broker us/request': (job.brokerCpu * 1e6) / job.produceRequests,
    'client CPU s/GB': (job.clientCpu * 1e9) / job.bytes,
    'MB/s': job.bytes / 1e6 / job.seconds,
    'records/s': job.records / job.seconds,
    'kB per request': (job.records * size) / 1e3 / job.produceRequests,
  }
}

/** Touches page cache before anything is measured: a guest's first use of memory is slow. */
function prime(folder: string, bytes: number): void {
  const path = join(folder, 'prime')
  const chunk = Buffer.alloc(1 << 20, 1)
  const file = openSync(path, 'w')
  for (let written = 0; written < bytes; written += chunk.length) writeSync(file, chunk)
  closeSync(file)
  rmSync(path)
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(USAGE)
    return
  }
  const machine = describeMachine()
  const folder = mkdtempSync(join(options.data ?? tmpdir(), 'shardlog-bench-'))
  process.stdout.write(
    `${machineLine(machine)}\nlog.segment.bytes ${options.segmentBytes}, otherwise default ` +
      `settings; Kafka's JVM: ${KAFKA_JVM.join(' ')}\nmedians of ${options.rounds} rounds after ` +
      `${WARM_UP_ROUNDS} to warm up; every round in brackets; 1 GB is 10^9 bytes of values\n`,
  )
  const run = new Run(options, folder)
  try {
    await buildClient()
    prime(folder, options.primeBytes)
    await run.all()
  } finally {
    await run.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  const results = join(import.meta.dirname, '..', '..', 'bench', 'results')
  mkdirSync(results, { recursive: true })
  const path = join(results, `${machine.date.replaceAll(':', '-')}.json`)
  const settings = { ...options, scenarios: [...options.scenarios] }
  const content = { machine, settings, jvm: KAFKA_JVM, reports: run.reports }
  writeFileSync(path, `${JSON.stringify(content, null, 2)}\n`)
  process.stdout.write(`\nwritten to ${path}\n`)
}

await main()
