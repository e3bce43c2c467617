/**
 * Three brokers of ours against three of Apache Kafka 3.9.1 in ZooKeeper mode, under the same
 * clients: `npm run bench:cluster -- [options]` (`--help` names them).
 *
 * One cluster runs at a time, with one real ZooKeeper server. A round starts each kind anew, in
 * turns, warms it up and goes through the scenarios. Broker CPU is the user and system time of all
 * threads of the three brokers while the client works. One GB is 10^9 bytes of record values.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { timers } from '../test/registry/zookeeper/open-store.ts'
import { type ClusterKind, skipWithoutCluster } from '../test/support/cluster.ts'
import { ZOOKEEPER } from '../test/support/zookeeper-ensemble.ts'
import { BenchCluster, BROKERS, CLUSTER_CONFIG } from './bench-cluster.ts'
import { KAFKA_JVM } from './brokers.ts'
import { buildClient } from './client.ts'
import {
  CLUSTER_SCENARIOS,
  CLUSTER_USAGE,
  type ClusterOptions,
  type ClusterScenarioName,
  parseClusterOptions,
} from './cluster-options.ts'
import {
  createMany,
  ELECTION_TOPICS,
  election,
  FAILOVER_PRODUCER,
  FAILOVER_RATE,
  failover,
  GAP,
  idle,
  LATENCY_RATE,
  latency,
  memory,
  produce,
  producing,
  SAMPLED_PARTITIONS,
} from './cluster-scenarios.ts'
import { batchedSettings, describeLoad, type Load, prime } from './load.ts'
import { describeMachine, machineLine } from './machine.ts'
import { formatReport, type Measured, Rounds, type ScenarioReport, writeResults } from './report.ts'

const NAMES = { apache: 'kafka-3.9.1', shardlog: 'shardlog' } as const satisfies Record<
  ClusterKind,
  string
>

class Run {
  readonly #options: ClusterOptions
  readonly #kinds: readonly ClusterKind[]
  readonly #rounds = new Map<ClusterScenarioName, Rounds>()
  #starting: Promise<BenchCluster> | null = null

  constructor(options: ClusterOptions) {
    this.#options = options
    const kinds = { ours: ['shardlog'], kafka: ['apache'] } as const
    this.#kinds = options.only === null ? ['apache', 'shardlog'] : kinds[options.only]
  }

  get kinds(): readonly ClusterKind[] {
    return this.#kinds
  }

  async all(): Promise<void> {
    for (let round = 1; round <= this.#options.rounds; round += 1) {
      for (const kind of this.#kinds) await this.#withCluster(kind, round, this.#smallCluster)
      for (const kind of this.#kinds) await this.#withCluster(kind, round, this.#bigCluster)
    }
  }

  /** Of what has been measured up to now. */
  get reports(): readonly ScenarioReport[] {
    return CLUSTER_SCENARIOS.flatMap((scenario) => {
      const rounds = this.#rounds.get(scenario)
      if (rounds === undefined) return []
      const settings = describeScenario(scenario, this.#options)
      const brokers = scenario === 'failover' ? withLongest(rounds.figures) : rounds.figures
      return [{ scenario, settings, brokers }]
    })
  }

  /** Ends the cluster that runs, or is about to. */
  async stop(): Promise<void> {
    const cluster = await this.#starting?.catch(() => null)
    this.#starting = null
    await cluster?.close()
  }

  async #withCluster(
    kind: ClusterKind,
    round: number,
    scenarios: readonly Scenario[],
  ): Promise<void> {
    const wanted = scenarios.filter(({ name }) => this.#options.scenarios.has(name))
    if (wanted.length === 0) return
    this.#starting = BenchCluster.start(kind)
    const cluster = await this.#starting
    let isWarm = false
    for (const { name, needsWarmth, measure } of wanted) {
      if (needsWarmth && !isWarm) {
        await this.#warmUp(cluster)
        isWarm = true
      }
      const results = [await measure(cluster)].flat()
      for (const measured of results) {
        this.#roundsOf(name).add(NAMES[kind], measured)
        process.stderr.write(`round ${round}, ${NAMES[kind]}, ${name}: ${inOneLine(measured)}\n`)
      }
    }
    await this.stop()
  }

  #roundsOf(scenario: ClusterScenarioName): Rounds {
    const rounds = this.#rounds.get(scenario) ?? new Rounds()
    this.#rounds.set(scenario, rounds)
    return rounds
  }

  /** Small batches, because it is requests, not bytes, that make the JVM compile its code. */
  async #warmUp(cluster: BenchCluster): Promise<void> {
    const bytes = this.#options.warmUpBytes
    await produce(cluster, this.#options, { size: 1024, batch: 16_384, bytes })
  }

  /** The first of two passes only warms up. */
  #twice = async (measure: () => Promise<Measured>): Promise<Measured> => {
    await measure()
    return await measure()
  }

  readonly #smallCluster: readonly Scenario[] = [
    { name: 'idle', measure: (cluster) => idle(cluster, this.#options.seconds) },
    this.#produceScenario('produce-1k'),
    this.#produceScenario('produce-100'),
    {
      name: 'latency',
      needsWarmth: true,
      measure: (cluster) => this.#twice(() => latency(cluster, this.#options.seconds)),
    },
    { name: 'memory', needsWarmth: true, measure: memory },
    { name: 'create', measure: (cluster) => createMany(cluster, this.#options.createPartitions) },
    { name: 'failover', measure: (cluster) => failover(cluster, this.#options.kills) },
  ]

  readonly #bigCluster: readonly Scenario[] = [
    { name: 'election', measure: (cluster) => election(cluster, this.#options) },
  ]

  #produceScenario(name: keyof typeof SHARES): Scenario {
    return {
      name,
      needsWarmth: true,
      measure: (cluster) =>
        this.#twice(() => produce(cluster, this.#options, loadOf(name, this.#options))),
    }
  }
}

interface Scenario {
  readonly name: ClusterScenarioName
  /** Whether records were to be produced before, so that code is compiled. */
  readonly needsWarmth?: boolean
  measure(cluster: BenchCluster): Promise<Measured | readonly Measured[]> | Measured
}

const SHARES = {
  'produce-1k': { size: 1024, share: 1 },
  'produce-100': { size: 100, share: 4 },
} as const

function loadOf(name: keyof typeof SHARES, options: ClusterOptions): Load {
  const { size, share } = SHARES[name]
  return { size, batch: options.batchBytes, bytes: options.bytes / share }
}

function describeScenario(scenario: ClusterScenarioName, options: ClusterOptions): string {
  const { seconds, kills, createPartitions, electionPartitions } = options
  switch (scenario) {
    case 'idle':
      return `${seconds} s from 5 s after the start, no topics; memory at their end`
    case 'produce-1k':
    case 'produce-100': {
      const load = loadOf(scenario, options)
      return describeLoad(producing(options), load, batchedSettings(producing(options), load))
    }
    case 'latency':
      return (
        `${LATENCY_RATE} records/s of 1024 B for ${seconds} s after one to start, 1 partition, ` +
        '1 producer and 1 consumer, acks -1, linger 0, fetch.min.bytes 1'
      )
    case 'memory':
      return 'mean of the brokers, after the scenarios above'
    case 'create':
      return (
        `1 topic of ${createPartitions} partitions, replication factor ${BROKERS}; records to ` +
        `${SAMPLED_PARTITIONS} random ones`
      )
    case 'failover':
      return (
        `kill -9 of the leader, ${kills} times a round, ${FAILOVER_RATE} records/s of 1024 B, ` +
        'acks -1, linger 0, topic.metadata.refresh.fast.interval.ms ' +
        `${FAILOVER_PRODUCER['topic.metadata.refresh.fast.interval.ms']}`
      )
    case 'election':
      return (
        `kill -9 of one broker, not the controller, of a cluster with ${electionPartitions} ` +
        `partitions in ${ELECTION_TOPICS} topics, replication factor ${BROKERS}`
      )
  }
}

/** The figures of failover with the longest of all kills beside the median. */
function withLongest(brokers: ScenarioReport['brokers']): ScenarioReport['brokers'] {
  return Object.fromEntries(
    Object.entries(brokers).map(([name, figures]) => [
      name,
      { ...figures, 'the longest of them, ms': [Math.max(...(figures[GAP] ?? []))] },
    ]),
  )
}

function inOneLine(measured: Measured): string {
  return Object.entries(measured)
    .map(([figure, value]) => `${figure} ${value.toFixed(3)}`)
    .join('; ')
}

async function main(): Promise<void> {
  const options = parseClusterOptions(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(CLUSTER_USAGE)
    return
  }
  const run = new Run(options)
  for (const kind of run.kinds) {
    const missing = skipWithoutCluster(kind)
    if (missing !== false) throw new Error(missing)
  }
  const machine = describeMachine()
  const folder = mkdtempSync(join(options.data ?? tmpdir(), 'shardlog-bench-'))
  // Brokers and ZooKeeper make their folders in the temporary one.
  process.env['TMPDIR'] = folder
  const config = Object.entries(CLUSTER_CONFIG).map(([key, value]) => `${key} ${value}`)
  process.stdout.write(
    `${machineLine(machine)}\n${BROKERS} brokers, 1 server of ${ZOOKEEPER}; ${config.join(', ')}, ` +
      `otherwise default settings; Kafka's JVM: ${KAFKA_JVM.join(' ')}\nmedians of ` +
      `${options.rounds} rounds, each on clusters started anew and warmed up with ` +
      `${options.warmUpBytes} bytes; every round in brackets; 1 GB is 10^9 bytes of values\n`,
  )
  const end = async () => {
    await run.stop()
    timers.close()
    rmSync(folder, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void end().finally(() => process.exit(1)))
  }
  try {
    await buildClient()
    prime(folder, options.primeBytes)
    await run.all()
  } finally {
    for (const report of run.reports) {
      process.stdout.write(`${formatReport(report, NAMES.apache)}\n`)
    }
    await end()
  }
  const settings = { ...options, scenarios: [...options.scenarios] }
  writeResults(machine, { settings, config: CLUSTER_CONFIG, jvm: KAFKA_JVM, reports: run.reports })
}

await main()
