/**
 * This broker against Apache Kafka 3.9.1 under the same client, alternately in one run, so that
 * what else the machine does falls on both: `npm run bench -- [options]` (`--help` names them).
 *
 * Every round is: create a topic, produce, check that both watermarks span what was sent, (consume,)
 * delete. Broker CPU is the user and system time of all its threads while the client works. One GB
 * is 10^9 bytes of record values.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
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
import {
  batchedSettings,
  CONSUMER,
  describeLoad,
  type Load,
  PRODUCER,
  prime,
  produceFigures,
} from './load.ts'
import { describeMachine, machineLine } from './machine.ts'
import { type Options, parseOptions, type ScenarioName, USAGE } from './options.ts'
import { residentMemory } from './process-usage.ts'
import { formatReport, type Measured, Rounds, type ScenarioReport, writeResults } from './report.ts'

const KAFKA = 'kafka-3.9.1'
const IDLE_MS = 3000
const WARM_UP_ROUNDS = 2

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
    const settings = batchedSettings(this.#options, {
      size: 1024,
      batch: 16_384,
      bytes: this.#options.warmUpBytes,
    })
    for (const broker of this.#brokers) {
      await this.#withTopic(broker, this.#options.partitions, async (topic) => {
        await this.#checkedProduce(broker, topic, settings)
        const { partitions, records } = settings
        const consumer = { ...CONSUMER, brokers: broker.address, topic, partitions, records }
        await runJob('consume', [broker.pid], consumer)
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
    const settings = batchedSettings(this.#options, load)
    const rounds = await this.#alternate((broker) =>
      this.#withTopic(broker, this.#options.partitions, async (topic) =>
        produceFigures(await this.#checkedProduce(broker, topic, settings), load.size),
      ),
    )
    this.#report(scenario, describeLoad(this.#options, load, settings), rounds)
  }

  /** One record per request, five requests in flight. */
  async #single(): Promise<void> {
    const settings = {
      ...PRODUCER,
      acks: this.#options.acks,
      partitions: this.#options.partitions,
      connections: this.#options.connections,
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
    this.#report('single', describeLoad(this.#options, load, settings), rounds)
  }

  async #consume(scenario: ScenarioName, load: Load): Promise<void> {
    if (!this.#wants(scenario)) return
    const { partitions } = this.#options
    const produced = batchedSettings(this.#options, load)
    const topic = this.#nextTopic()
    for (const broker of this.#brokers) {
      await createTopic(broker.address, topic, partitions)
      await this.#checkedProduce(broker, topic, produced)
    }
    const settings = { ...CONSUMER, topic, partitions, records: produced.records }
    const rounds = await this.#alternate(async (broker) => {
      const job = await runJob('consume', [broker.pid], { brokers: broker.address, ...settings })
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
      `consume from page cache, ${how}; ${describeLoad(this.#options, load, produced)}`,
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
        const job = await runJob('latency', [broker.pid], { brokers, topic, ...settings })
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

  async #checkedProduce(
    broker: BenchBroker,
    topic: string,
    settings: Settings & { readonly records: number; readonly partitions: number },
  ): Promise<JobResult> {
    const job = await runJob('produce', [broker.pid], {
      brokers: broker.address,
      topic,
      ...settings,
    })
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
  const settings = { ...options, scenarios: [...options.scenarios] }
  writeResults(machine, { settings, jvm: KAFKA_JVM, reports: run.reports })
}

await main()
