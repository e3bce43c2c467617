/**
 * A cluster under test: real ZooKeeper servers and several brokers, each a process of its own, of
 * ours or of Apache Kafka 3.9.1, or of both kinds.
 */
import assert from 'node:assert/strict'
import { Admin, allOrThrow, type NewTopic } from '../../src/client/admin.ts'
import { ErrorCode, errorOf } from '../../src/protocol/error-codes.ts'
import { Metadata, type MetadataResponse } from '../../src/protocol/messages/metadata.ts'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { ApacheKafka } from './apache-kafka.ts'
import { againstKafka, type BrokerUnderTest, type Overrides, ShardlogServer } from './broker.ts'
import type { TestNetwork } from './network-namespaces.ts'
import { requirePeer } from './peers.ts'
import { type Exit, freePort, type Place } from './server-process.ts'
import { until } from './until.ts'
import { WireClient } from './wire-client.ts'
import {
  skipWithoutZooKeeper,
  ZOOKEEPER,
  ZooKeeperEnsemble,
  type ZooKeeperPeer,
} from './zookeeper-ensemble.ts'

export type ClusterKind = 'shardlog' | 'apache'

export interface ClusterOptions {
  /** 3; their ids count from 0. */
  readonly brokers?: number
  /** 1; an ensemble of this many servers. */
  readonly zookeepers?: number
  /** Their release. */
  readonly zookeeper?: ZooKeeperPeer
  /** Ours, or Apache's with SHARDLOG_TEST_BROKER=kafka; a function makes a mixed cluster. */
  readonly kind?: ClusterKind | ((brokerId: number) => ClusterKind)
  /** Settings of every broker. */
  readonly config?: Overrides
  /** Settings of one broker, which win over `config`. */
  readonly perBroker?: (brokerId: number) => Overrides
  /** Brokers live in its nodes, ZooKeeper and clients beside them; 127.0.0.1 if left out. */
  readonly network?: TestNetwork
  /** Environment of one broker's process. */
  readonly env?: (brokerId: number) => NodeJS.ProcessEnv
  /** Options of the Java virtual machine of Apache's brokers; those of short tests if left out. */
  readonly jvm?: readonly string[]
}

/** A partition as one broker's Metadata has it. */
export interface PartitionState {
  readonly partition: number
  readonly errorCode: number
  /** -1: none. */
  readonly leaderId: number
  readonly leaderEpoch: number
  /** The preferred leader first. */
  readonly replicas: readonly number[]
  /** In the order in which the broker has them. */
  readonly isr: readonly number[]
  readonly offlineReplicas: readonly number[]
}

/** Whether it has a leader, and all of its replicas are in sync. */
export function isWhole({ leaderId, isr, replicas }: PartitionState): boolean {
  return leaderId !== -1 && isr.length === replicas.length
}

export interface TopicState {
  readonly name: string
  readonly topicId: string
  /** By ascending number. */
  readonly partitions: readonly PartitionState[]
}

export interface WaitOptions {
  /** Ids of the brokers that must all say so; those that run and are not paused if left out. */
  readonly from?: readonly number[]
  /** 60,000 */
  readonly patienceMs?: number
  /** Between two looks; 50 */
  readonly everyMs?: number
}

const PATIENCE_MS = 60_000
/** Between two looks at the metadata of every broker. */
const LOOK_EVERY_MS = 50
/** A broker that is stopped by a signal accepts connections and says nothing. */
const ANSWER_PATIENCE_MS = 5000

/** Why tests with a cluster of that kind must be skipped, false if they need not. */
export function skipWithoutCluster(kind: ClusterKind): string | false {
  if (kind === 'shardlog') return skipWithoutZooKeeper()
  const missing = (['kafka-server', ZOOKEEPER] as const).filter((name) => !requirePeer(name))
  if (missing.length === 0) return false
  const reason = `not installed: ${missing.join(', ')}`
  assert.notEqual(process.env['CI'], 'true', reason)
  return reason
}

/** One broker of a cluster. It keeps its id, address and data directory over every start. */
export class ClusterBroker {
  readonly id: number
  readonly kind: ClusterKind
  readonly #broker: BrokerUnderTest
  readonly #settings: () => Promise<Overrides>
  #state: 'down' | 'paused' | 'running' = 'down'

  constructor(options: {
    readonly id: number
    readonly kind: ClusterKind
    readonly settings: Overrides
    readonly place?: Place
    readonly jvm?: readonly string[]
  }) {
    const { id, kind, settings } = options
    const jvm = options.jvm ? { jvm: options.jvm } : {}
    this.id = id
    this.kind = kind
    const common = { ...settings, 'broker.id': String(id) }
    const place = options.place ? { place: options.place } : {}
    if (kind === 'apache') {
      const zookeeper = settings['zookeeper.connect'] ?? ''
      this.#broker = new ApacheKafka({ zookeeper, ...place, ...jvm })
      this.#settings = async () => common
    } else {
      this.#broker = new ShardlogServer(place)
      const host = options.place?.host ?? '127.0.0.1'
      let listeners: string | null = null
      this.#settings = async () => {
        listeners ??= `PLAINTEXT://${host}:${await freePort()}`
        return { listeners, ...common }
      }
    }
  }

  /** `host:port` */
  get address(): string {
    return this.#broker.address
  }

  get port(): number {
    return Number(this.address.split(':').at(-1))
  }

  get host(): string {
    return this.address.split(':')[0] ?? ''
  }

  /** A connection for requests of the test's own making. */
  connect(): Promise<WireClient> {
    return WireClient.connect(this.port, this.host)
  }

  get pid(): number {
    return this.#broker.pid
  }

  /** The folder that holds the partitions. */
  get dataDir(): string {
    return this.#broker.dataDir
  }

  /** What the process has written lately. */
  get log(): string {
    return this.#broker.output
  }

  /** False while it is down, or held by `pause`. */
  get isRunning(): boolean {
    return this.#state === 'running'
  }

  /** Starts the broker, which is down; `overrides` win over its settings this once. */
  async restart(overrides: Overrides = {}): Promise<void> {
    assert.equal(this.#state, 'down', `broker ${this.id} is not down`)
    await this.#broker.start({ ...(await this.#settings()), ...overrides })
    this.#state = 'running'
  }

  /** Sends a signal that ends the process, and waits for its end. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> {
    this.#state = 'down'
    return this.#broker.kill(signal)
  }

  /** An orderly stop, with controlled shutdown. */
  stop(): Promise<Exit> {
    return this.kill('SIGTERM')
  }

  /** SIGSTOP: the process lives, holds its connections and does nothing until `resume`. */
  pause(): void {
    assert.equal(this.#state, 'running', `broker ${this.id} does not run`)
    process.kill(this.pid, 'SIGSTOP')
    this.#state = 'paused'
  }

  resume(): void {
    assert.equal(this.#state, 'paused', `broker ${this.id} is not paused`)
    process.kill(this.pid, 'SIGCONT')
    this.#state = 'running'
  }

  /** What this broker answers to Metadata: all topics if none are named. Creates none. */
  async metadata(topics: readonly string[] | null = null): Promise<MetadataResponse> {
    const client = await this.connect()
    const timer = setTimeout(() => client.close(), ANSWER_PATIENCE_MS)
    try {
      return await client.send(Metadata, 12, {
        topics: topics?.map((name) => ({ topicId: ZERO_UUID, name })) ?? null,
        allowAutoTopicCreation: false,
        includeTopicAuthorizedOperations: false,
      })
    } finally {
      clearTimeout(timer)
      client.close()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'down'
    await this.#broker[Symbol.asyncDispose]()
  }
}

export class TestCluster {
  readonly zookeeper: ZooKeeperEnsemble
  readonly brokers: readonly ClusterBroker[]
  /** Null on 127.0.0.1. It outlives the cluster. */
  readonly network: TestNetwork | null

  constructor(
    zookeeper: ZooKeeperEnsemble,
    brokers: readonly ClusterBroker[],
    network: TestNetwork | null = null,
  ) {
    this.zookeeper = zookeeper
    this.brokers = brokers
    this.network = network
  }

  /** As in `bootstrap.servers`: every broker, up or down. */
  get bootstrap(): string {
    return this.brokers.map(({ address }) => address).join(',')
  }

  broker(id: number): ClusterBroker {
    const broker = this.brokers[id]
    assert.ok(broker, `there is no broker ${id}`)
    return broker
  }

  /** Those that are up and not paused. */
  get running(): readonly ClusterBroker[] {
    return this.brokers.filter(({ isRunning }) => isRunning)
  }

  /** Creates a topic and waits until every running broker knows its leaders and full ISRs. */
  async createTopic(topic: NewTopic): Promise<TopicState> {
    await using admin = new Admin({ bootstrapServers: this.bootstrap })
    allOrThrow(await admin.createTopics([topic]))
    return await this.waitForTopic(topic.name, ({ partitions }) => partitions.every(isWhole))
  }

  /**
   * A topic as a broker sees it, the first that runs if none is named. Throws when that broker
   * does not know it.
   */
  async describe(topic: string, brokerId?: number): Promise<TopicState> {
    const broker = brokerId === undefined ? this.running[0] : this.broker(brokerId)
    assert.ok(broker, 'no broker runs')
    const response = await broker.metadata([topic])
    const state = topicState(response, topic)
    const { errorCode } = response.topics[0] ?? { errorCode: ErrorCode.UNKNOWN_SERVER_ERROR }
    assert.ok(state, `broker ${broker.id}, ${topic}: ${errorOf(errorCode).name}`)
    return state
  }

  /** Waits until every broker that is asked sees the topic so, and returns it as the last does. */
  async waitForTopic(
    topic: string,
    predicate: (state: TopicState) => boolean,
    options: WaitOptions = {},
  ): Promise<TopicState> {
    let found: TopicState | null = null
    await this.waitForMetadata(`${topic} is as wanted`, [topic], options, (response) => {
      found = topicState(response, topic)
      return found !== null && predicate(found)
    })
    assert.ok(found)
    return found
  }

  /**
   * Waits until every broker that is asked names a leader of the partition, the same one in the
   * same epoch, and sees the partition as the predicate wants it.
   */
  async waitForLeader(
    topic: string,
    partition: number,
    predicate: (state: PartitionState) => boolean = () => true,
    options: WaitOptions = {},
  ): Promise<PartitionState> {
    let agreed: PartitionState | null = null
    const what = `a leader of ${topic}-${partition}`
    await this.waitForMetadata(what, [topic], options, (response, isFirst) => {
      const state = topicState(response, topic)?.partitions.find(
        (one) => one.partition === partition,
      )
      if (state === undefined || state.leaderId === -1 || !predicate(state)) return false
      if (isFirst) agreed = state
      return agreed?.leaderId === state.leaderId && agreed.leaderEpoch === state.leaderEpoch
    })
    assert.ok(agreed)
    return agreed
  }

  /** Waits until every broker that is asked names the same running controller; returns its id. */
  async waitForController(options: WaitOptions = {}): Promise<number> {
    let agreed = -1
    await this.waitForMetadata('a controller', [], options, ({ controllerId }, isFirst) => {
      if (isFirst) agreed = controllerId
      return controllerId === agreed && this.brokers[agreed]?.isRunning === true
    })
    return agreed
  }

  /** Waits until every broker that is asked lists exactly these ids, ascending, as alive. */
  async waitForBrokers(ids: readonly number[], options: WaitOptions = {}): Promise<void> {
    await this.waitForMetadata(`brokers ${ids}`, [], options, ({ brokers }) => {
      const alive = brokers.map(({ nodeId }) => nodeId).sort((a, b) => a - b)
      return alive.join() === ids.join()
    })
  }

  /**
   * Waits until the answers of all brokers that are asked, looked at one after the other, are as
   * wanted. Fails with the last answers.
   */
  async waitForMetadata(
    what: string,
    topics: readonly string[],
    options: WaitOptions,
    isWanted: (response: MetadataResponse, isFirst: boolean) => boolean,
  ): Promise<void> {
    let last: readonly PromiseSettledResult<MetadataResponse>[] = []
    const lookOnce = async () => {
      const asked = options.from?.map((id) => this.broker(id)) ?? this.running
      last = await Promise.allSettled(asked.map((broker) => broker.metadata(topics)))
      return (
        last.length > 0 &&
        last.every((one, i) => one.status === 'fulfilled' && isWanted(one.value, i === 0))
      )
    }
    const said = () => `${what}; the last answers: ${last.map(answerText).join(' and ')}`
    await until(said, lookOnce, options.patienceMs ?? PATIENCE_MS, options.everyMs ?? LOOK_EVERY_MS)
  }

  async close(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker[Symbol.asyncDispose]()))
    await this.zookeeper[Symbol.asyncDispose]()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function answerText(answer: PromiseSettledResult<MetadataResponse>): string {
  return answer.status === 'fulfilled' ? JSON.stringify(answer.value) : String(answer.reason)
}

function topicState(response: MetadataResponse, name: string): TopicState | null {
  const topic = response.topics.find((one) => one.name === name)
  if (topic === undefined || topic.errorCode !== ErrorCode.NONE) return null
  const partitions = topic.partitions.map((one) => ({
    partition: one.partitionIndex,
    errorCode: one.errorCode,
    leaderId: one.leaderId,
    leaderEpoch: one.leaderEpoch,
    replicas: one.replicaNodes,
    isr: one.isrNodes,
    offlineReplicas: one.offlineReplicas,
  }))
  partitions.sort((a, b) => a.partition - b.partition)
  return { name, topicId: topic.topicId, partitions }
}

/**
 * Starts a cluster; every broker knows all the others and the controller when the promise
 * resolves. Sessions are 6 seconds, so that a killed broker is soon found dead.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<TestCluster> {
  const count = options.brokers ?? 3
  const kind = options.kind ?? (againstKafka ? 'apache' : 'shardlog')
  const { network } = options
  const zookeeper = await ZooKeeperEnsemble.start(
    options.zookeepers ?? 1,
    options.zookeeper ?? ZOOKEEPER,
    network?.hostAddress,
  )
  const replication = String(Math.min(3, count))
  const brokers = Array.from({ length: count }, (_, id) => {
    const settings = {
      'zookeeper.connect': zookeeper.connect,
      'zookeeper.session.timeout.ms': '6000',
      'zookeeper.connection.timeout.ms': '30000',
      'controlled.shutdown.retry.backoff.ms': '500',
      'group.initial.rebalance.delay.ms': '0',
      'offsets.topic.num.partitions': '5',
      'offsets.topic.replication.factor': replication,
      'transaction.state.log.num.partitions': '5',
      'transaction.state.log.replication.factor': replication,
      'transaction.state.log.min.isr': String(Math.min(2, count)),
      ...options.config,
      ...options.perBroker?.(id),
    }
    const node = network?.node(id)
    const place: Place = {
      host: node?.address ?? '127.0.0.1',
      prefix: node?.prefix ?? [],
      ...(options.env ? { env: options.env(id) } : {}),
    }
    return new ClusterBroker({
      ...{ id, settings, place },
      ...(options.jvm ? { jvm: options.jvm } : {}),
      kind: typeof kind === 'string' ? kind : kind(id),
    })
  })
  const cluster = new TestCluster(zookeeper, brokers, network ?? null)
  try {
    // All of them come to an end, so that none is left behind when one cannot start.
    const started = await Promise.allSettled(brokers.map((broker) => broker.restart()))
    for (const one of started) if (one.status === 'rejected') throw one.reason
    await cluster.waitForBrokers(brokers.map(({ id }) => id))
    await cluster.waitForController()
    return cluster
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** As `startCluster`, of Apache Kafka's brokers. */
export function startApacheCluster(options: Omit<ClusterOptions, 'kind'> = {}) {
  return startCluster({ ...options, kind: 'apache' })
}
