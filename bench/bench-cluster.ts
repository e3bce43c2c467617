/**
 * The clusters that the cluster benchmark compares: three brokers of ours, or three of Apache Kafka
 * 3.9.1 with the JVM of its own start script, both on a ZooKeeper server of their own.
 */
import assert from 'node:assert/strict'
import { Admin, allOrThrow } from '../src/client/admin.ts'
import {
  type ClusterBroker,
  type ClusterKind,
  isWhole,
  startCluster,
  type TestCluster,
} from '../test/support/cluster.ts'
import { readLog } from '../test/support/log-reader.ts'
import { KAFKA_JVM } from './brokers.ts'
import { cpuSeconds, type ResidentMemory, residentMemory } from './process-usage.ts'

export const BROKERS = 3
/** For a topic of many partitions, on a machine that is busy. */
export const CREATION_PATIENCE_MS = 240_000

/** What differs from the defaults, which both kinds share. */
export const CLUSTER_CONFIG = {
  'default.replication.factor': String(BROKERS),
  'min.insync.replicas': '2',
  // Kafka's default, said aloud because failover depends on it.
  'zookeeper.session.timeout.ms': '18000',
  // Deleted topics give their page cache back at once.
  'log.segment.delete.delay.ms': '0',
} as const

export class BenchCluster {
  readonly test: TestCluster
  readonly #admin: Admin
  #topics = 0

  private constructor(cluster: TestCluster) {
    this.test = cluster
    this.#admin = new Admin({ bootstrapServers: cluster.bootstrap })
  }

  static async start(kind: ClusterKind): Promise<BenchCluster> {
    return new BenchCluster(await startCluster({ kind, config: CLUSTER_CONFIG, jvm: KAFKA_JVM }))
  }

  get bootstrap(): string {
    return this.test.bootstrap
  }

  get brokers(): readonly ClusterBroker[] {
    return this.test.brokers
  }

  /** Of the brokers that run. */
  get pids(): readonly number[] {
    return this.test.running.map(({ pid }) => pid)
  }

  get admin(): Admin {
    return this.#admin
  }

  brokersCpuSeconds(): number {
    return this.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  }

  zookeeperCpuSeconds(): number {
    return cpuSeconds(this.test.zookeeper.pid(0))
  }

  /** Mean of the brokers. */
  residentMemory(): ResidentMemory {
    const all = this.pids.map(residentMemory)
    const mean = (field: keyof ResidentMemory) =>
      all.reduce((sum, memory) => sum + memory[field], 0) / all.length
    return { nowMb: mean('nowMb'), peakMb: mean('peakMb') }
  }

  nextTopic(): string {
    this.#topics += 1
    return `bench-${this.#topics}`
  }

  /** A topic whose replicas are all in sync when the promise resolves. */
  async createTopic(partitions: number): Promise<string> {
    const name = this.nextTopic()
    const topic = { name, partitions, replicationFactor: BROKERS }
    allOrThrow(await this.#admin.createTopics([topic], { timeoutMs: CREATION_PATIENCE_MS }))
    await this.test.waitForTopic(
      name,
      (state) => state.partitions.length === partitions && state.partitions.every(isWhole),
      { patienceMs: CREATION_PATIENCE_MS },
    )
    return name
  }

  async deleteTopic(name: string): Promise<void> {
    allOrThrow(await this.#admin.deleteTopics([name]))
  }

  /** Throws unless the logs of all brokers hold so many records, up to the same offsets. */
  async checkLogs(topic: string, records: number): Promise<void> {
    const { partitions } = await this.test.waitForTopic(topic, (state) =>
      state.partitions.every(isWhole),
    )
    const ends = this.brokers.map(({ dataDir }) =>
      partitions.map(({ partition }) => {
        const last = readLog(dataDir, topic, partition).at(-1)
        return last === undefined ? 0 : last.lastOffset + 1
      }),
    )
    const [first] = ends
    for (const one of ends) assert.deepEqual(one, first, `log end offsets of ${topic} differ`)
    const stored = first?.reduce((sum, end) => sum + end, 0)
    assert.equal(stored, records, `records in each log of ${topic}`)
  }

  async close(): Promise<void> {
    await this.#admin.close()
    await this.test.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
