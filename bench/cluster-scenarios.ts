/** What is measured on a running cluster: one function per scenario, its figures as the result. */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { allOrThrow } from '../src/client/admin.ts'
import { Producer } from '../src/client/producer.ts'
import { openRegistry } from '../test/registry/zookeeper/open-store.ts'
import { isWhole, type WaitOptions } from '../test/support/cluster.ts'
import { until } from '../test/support/until.ts'
import { type BenchCluster, BROKERS, CREATION_PATIENCE_MS } from './bench-cluster.ts'
import { runJob, SteadyProducer } from './client.ts'
import type { ClusterOptions } from './cluster-options.ts'
import {
  batchedSettings,
  CONSUMER,
  type Load,
  PRODUCER,
  type Producing,
  produceFigures,
} from './load.ts'
import type { Measured } from './report.ts'

export const ACKS = -1
export const LATENCY_RATE = 1000
export const FAILOVER_RATE = 200
/** The figure of failover. */
export const GAP = 'without acknowledgement, ms'
/** Partitions that a record is produced to after the creation of their topic. */
export const SAMPLED_PARTITIONS = 20
/** The many partitions of the election are those of so many topics. */
export const ELECTION_TOPICS = 5

const SETTLE_MS = 5000
const LOOK_EVERY_MS = 20
const FLOWING_MS = 200
/** Acknowledgements may stop once more after a new leader is there. */
const AFTERWARDS_MS = 2000

export function producing(options: ClusterOptions): Producing {
  return { acks: ACKS, partitions: options.partitions, connections: options.connections }
}

/** Of the brokers, and of ZooKeeper, when nothing happens. */
export async function idle(cluster: BenchCluster, seconds: number): Promise<Measured> {
  await setTimeout(SETTLE_MS)
  const start = performance.now()
  const brokersBefore = cluster.brokersCpuSeconds()
  const zookeeperBefore = cluster.zookeeperCpuSeconds()
  await setTimeout(seconds * 1000)
  const percent = 100_000 / (performance.now() - start)
  return {
    'CPU per broker, % of a core':
      ((cluster.brokersCpuSeconds() - brokersBefore) * percent) / BROKERS,
    'CPU of ZooKeeper, % of a core': (cluster.zookeeperCpuSeconds() - zookeeperBefore) * percent,
    'resident per broker, MB': cluster.residentMemory().nowMb,
  }
}

/** Produces a load to a topic of its own, and compares the logs of the brokers afterwards. */
export async function produce(
  cluster: BenchCluster,
  options: ClusterOptions,
  load: Load,
): Promise<Measured> {
  const topic = await cluster.createTopic(options.partitions)
  const settings = batchedSettings(producing(options), load)
  const zookeeperBefore = cluster.zookeeperCpuSeconds()
  const job = await runJob('produce', cluster.pids, {
    brokers: cluster.bootstrap,
    topic,
    ...settings,
  })
  const zookeeperCpu = cluster.zookeeperCpuSeconds() - zookeeperBefore
  assert.equal(job.records, settings.records, 'records acknowledged')
  await cluster.checkLogs(topic, job.records)
  await cluster.deleteTopic(topic)
  return {
    ...produceFigures(job, load.size),
    'ZooKeeper CPU s/GB': (zookeeperCpu * 1e9) / job.bytes,
  }
}

/** From the call of the producer, in one client process with the consumer. */
export async function latency(cluster: BenchCluster, seconds: number): Promise<Measured> {
  const topic = await cluster.createTopic(1)
  const zookeeperBefore = cluster.zookeeperCpuSeconds()
  const job = await runJob('latency', cluster.pids, {
    ...CONSUMER,
    brokers: cluster.bootstrap,
    topic,
    partitions: 1,
    acks: ACKS,
    rate: LATENCY_RATE,
    records: LATENCY_RATE * (seconds + 1),
    size: 1024,
    'linger.ms': 0,
  })
  const zookeeperCpu = cluster.zookeeperCpuSeconds() - zookeeperBefore
  await cluster.checkLogs(topic, job.records)
  await cluster.deleteTopic(topic)
  const ms = (us: number | undefined) => (us ?? Number.NaN) / 1000
  return {
    'acknowledged p50, ms': ms(job.acknowledgedP50),
    'acknowledged p99, ms': ms(job.acknowledgedP99),
    'consumed p50, ms': ms(job.p50),
    'consumed p99, ms': ms(job.p99),
    'cores of the brokers': job.brokerCpu / job.seconds,
    'cores of ZooKeeper': zookeeperCpu / job.seconds,
    'produce requests/s': job.produceRequests / job.seconds,
  }
}

export function memory(cluster: BenchCluster): Measured {
  const { nowMb, peakMb } = cluster.residentMemory()
  return { 'resident per broker, MB': nowMb, 'peak per broker, MB': peakMb }
}

/**
 * From the request until every broker's Metadata shows all leaders, and then until each of some
 * random partitions has stored a record. The brokers are looked at one after the other, because
 * what one shows it goes on showing.
 */
export async function createMany(cluster: BenchCluster, partitions: number): Promise<Measured> {
  const name = cluster.nextTopic()
  await using producer = new Producer({ bootstrapServers: cluster.bootstrap, acks: ACKS })
  await cluster.admin.describeCluster()
  const start = performance.now()
  const elapsed = () => performance.now() - start
  const created = cluster.admin
    .createTopics([{ name, partitions, replicationFactor: BROKERS }], {
      timeoutMs: CREATION_PATIENCE_MS,
    })
    .then((results) => {
      allOrThrow(results)
      return elapsed()
    })
  const [answeredMs, leadersMs] = await Promise.all([
    created,
    untilEveryBroker(cluster, [name], partitions, (leaderId) => leaderId !== -1).then(elapsed),
  ])
  const samples = randomPartitions(partitions, SAMPLED_PARTITIONS)
  await Promise.all(
    samples.map((partition) => producer.send({ topic: name, partition, value: 'usable' })),
  )
  const usableMs = elapsed()
  await cluster.deleteTopic(name)
  return {
    'answered, ms': answeredMs,
    'leaders on every broker, ms': leadersMs,
    'records stored, ms': usableMs,
  }
}

function randomPartitions(partitions: number, count: number): readonly number[] {
  const chosen = new Set<number>()
  while (chosen.size < Math.min(count, partitions)) {
    chosen.add(Math.floor(Math.random() * partitions))
  }
  return [...chosen]
}

/** Until the Metadata of each running broker has all the topics' leaders as they are wanted. */
async function untilEveryBroker(
  cluster: BenchCluster,
  topics: readonly string[],
  partitions: number,
  isWanted: (leaderId: number) => boolean,
): Promise<void> {
  for (const { id } of cluster.test.running) {
    const wait: WaitOptions = {
      from: [id],
      patienceMs: CREATION_PATIENCE_MS,
      everyMs: LOOK_EVERY_MS,
    }
    for (const topic of topics) {
      await cluster.test.waitForTopic(
        topic,
        (state) =>
          state.partitions.length === partitions &&
          state.partitions.every(({ leaderId }) => isWanted(leaderId)),
        wait,
      )
    }
  }
}

/**
 * kill -9 of the leader of a partition that is produced to, again and again; each time the longest
 * time between two acknowledgements.
 */
export async function failover(cluster: BenchCluster, kills: number): Promise<readonly Measured[]> {
  const topic = await cluster.createTopic(1)
  const { test } = cluster
  using producer = await SteadyProducer.start({
    ...FAILOVER_PRODUCER,
    brokers: cluster.bootstrap,
    topic,
    acks: ACKS,
    rate: FAILOVER_RATE,
    size: 1024,
  })
  const measured: Measured[] = []
  const flows = () =>
    until('records are acknowledged', async () => {
      const { records, silentMs } = await producer.report()
      return records > 0 && silentMs < FLOWING_MS
    })
  for (let kill = 0; kill < kills; kill += 1) {
    const { leaderId } = await test.waitForLeader(topic, 0, isWhole)
    const controllerId = await test.waitForController()
    await flows()
    await setTimeout(AFTERWARDS_MS)
    await producer.mark()
    await test.broker(leaderId).kill('SIGKILL')
    await test.waitForLeader(topic, 0, (state) => state.leaderId !== leaderId)
    await setTimeout(AFTERWARDS_MS)
    await flows()
    const { longestGapMs } = await producer.report()
    const which = leaderId === controllerId ? 'leader and controller' : 'leader'
    measured.push({
      [GAP]: longestGapMs,
      [`${which} killed, ms`]: longestGapMs,
    })
    await test.broker(leaderId).restart()
  }
  await test.waitForLeader(topic, 0, isWhole)
  const records = await producer.stop()
  const stored = await cluster.admin.listOffsets([{ topic, partition: 0, timestamp: -1 }])
  for (const { offset } of allOrThrow(stored)) {
    assert.ok(offset >= records, `${records} records were acknowledged, ${offset} are there`)
  }
  return measured
}

/** Soon at the new leader: what is to be measured is the brokers' time, not the client's patience. */
export const FAILOVER_PRODUCER = {
  ...PRODUCER,
  'linger.ms': 0,
  'topic.metadata.refresh.fast.interval.ms': 50,
  'retry.backoff.ms': 50,
  'reconnect.backoff.ms': 50,
  'reconnect.backoff.max.ms': 500,
} as const

/**
 * kill -9 of a broker, not the controller, that leads a third of many partitions: until every
 * partition has a living leader in the Metadata of both others, from the kill and from the end of
 * its registration in ZooKeeper, which is when it counts as dead.
 */
export async function election(cluster: BenchCluster, options: ClusterOptions): Promise<Measured> {
  const { test } = cluster
  const perTopic = Math.ceil(options.electionPartitions / ELECTION_TOPICS)
  const topics: string[] = []
  for (let i = 0; i < ELECTION_TOPICS; i += 1) topics.push(await cluster.createTopic(perTopic))
  const { 'CPU per broker, % of a core': idleCpu, 'resident per broker, MB': resident } =
    await idle(cluster, options.seconds)
  const controllerId = await test.waitForController()
  const victim = cluster.brokers.find(({ id }) => id !== controllerId)
  assert.ok(victim)
  const led = await leaderCount(cluster, topics, victim.id)
  const registry = await openRegistry(test.zookeeper.connect, { isVisitor: true })
  try {
    const unregistered = new Promise<number>((settle) => {
      registry.watchBroker(victim.id, (broker) => {
        if (broker === null) settle(performance.now())
      })
    })
    const start = performance.now()
    await victim.kill('SIGKILL')
    const gone = await unregistered
    const isLiving = (leaderId: number) => leaderId !== -1 && leaderId !== victim.id
    await untilEveryBroker(cluster, topics, perTopic, isLiving)
    const end = performance.now()
    return {
      'led by the dead broker': led,
      'registration gone, ms': gone - start,
      'elected after that, ms': end - gone,
      'elected after the kill, ms': end - start,
      'idle CPU per broker, % of a core': idleCpu ?? Number.NaN,
      'resident per broker, MB': resident ?? Number.NaN,
    }
  } finally {
    await registry.close()
  }
}

async function leaderCount(
  cluster: BenchCluster,
  topics: readonly string[],
  brokerId: number,
): Promise<number> {
  let count = 0
  for (const topic of topics) {
    const { partitions } = await cluster.test.describe(topic)
    count += partitions.filter(({ leaderId }) => leaderId === brokerId).length
  }
  return count
}
