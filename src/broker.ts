/** A broker: what it is made of, and the order in which that starts and stops. */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { LoadedConfig } from './config/load-broker-config.ts'
import type { NewTopic } from './controller/topic-manager.ts'
import { DataDirectory } from './log/data-directory.ts'
import { MetadataCache } from './metadata/metadata-cache.ts'
import { Transport } from './network/transport.ts'
import type { ClusterRegistry } from './registry/cluster-registry.ts'
import { type AdoptedTopic, planAdoption } from './registry/embedded/adoption.ts'
import { openEmbeddedRegistry } from './registry/embedded/embedded-registry.ts'
import { openZooKeeperRegistry } from './registry/zookeeper/zookeeper-registry.ts'
import { FetchPurgatory } from './replica/delayed-fetch.ts'
import { createInternalLog } from './replica/internal-log.ts'
import { LogManager } from './replica/log-manager.ts'
import { ReplicaManager } from './replica/replica-manager.ts'
import { type Apis, createApis } from './server/apis.ts'
import { ConversionPool } from './shard/conversion-pool.ts'
import { Shard } from './shard/shard.ts'
import { type Clock, systemClock } from './util/clock.ts'
import type { Logger } from './util/logger.ts'
import { type Random, systemRandom } from './util/random.ts'
import { TimerQueue } from './util/timer-queue.ts'

const SHARDS_MAX = 8
/** Measured: up to here one thread does more with less than two that hand work to each other. */
const CORES_WITHOUT_SHARDS = 2
const FRAME_STALL_MS = 30_000
const PARTITIONS_PER_TOPIC_MAX = 1_000_000
/** Ids above it are given to brokers that have none. */
const RESERVED_BROKER_ID_MAX = 1000

export interface BrokerOptions {
  readonly config: LoadedConfig
  readonly logger: Logger
  readonly clock?: Clock
  readonly random?: Random
}

export interface BoundListener {
  readonly name: string
  readonly host: string
  readonly port: number
}

export class Broker {
  readonly #options: Required<BrokerOptions>
  readonly #timers: TimerQueue
  readonly #conversions = new ConversionPool()
  #directory: DataDirectory | null = null
  #registry: ClusterRegistry | null = null
  #transport: Transport | null = null
  #logs: LogManager | null = null
  #replicas: ReplicaManager | null = null
  #purgatory: FetchPurgatory | null = null
  #apis: Apis | null = null
  #shards: Shard[] = []
  #listeners: BoundListener[] = []
  #recovered = 0

  private constructor(options: BrokerOptions) {
    this.#options = { clock: systemClock, random: systemRandom, ...options }
    this.#timers = new TimerQueue(this.#options.clock)
  }

  /** Starts a broker; it serves when the promise resolves. Rejects with a one-line message. */
  static async start(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options)
    try {
      await broker.#start()
    } catch (error) {
      await broker.#abandon()
      throw error
    }
    return broker
  }

  get listeners(): readonly BoundListener[] {
    return this.#listeners
  }

  /** The threads (or the one turn) that own the partitions. */
  get shards(): readonly Shard[] {
    return this.#shards
  }

  get dataDirectory(): string {
    return this.#directory?.path ?? ''
  }

  /** Partitions found in the data directory at start. */
  get recoveredPartitions(): number {
    return this.#recovered
  }

  /** As CreateTopics does. Throws an Error that names the first topic that failed. */
  async createTopics(topics: readonly NewTopic[]): Promise<void> {
    if (this.#apis === null) throw new Error('the broker is not running')
    for (const { name, errorCode, errorMessage } of await this.#apis.createTopics(topics)) {
      if (errorCode === 0) continue
      throw new Error(`topic ${name} could not be created: ${errorMessage ?? errorCode}`)
    }
  }

  async #start(): Promise<void> {
    const { config: loaded, logger, clock, random } = this.#options
    const { config } = loaded
    const directory = await DataDirectory.open(resolve(loaded.logDirs[0] as string))
    this.#directory = directory
    const meta = await directory.readMeta()

    const transport = new Transport(
      {
        frameBytesMax: config.socketRequestMaxBytes,
        inflightMax: config.connectionInflightMax,
        inflightBytesMax: config.connectionInflightMaxBytes,
        outputBytesMax: config.connectionOutputMaxBytes,
        receivedBytesMax: config.frameMemoryBytes,
        connectionsMax: config.maxConnections,
        idleMs: config.connectionsMaxIdleMs,
        frameStallMs: FRAME_STALL_MS,
        sendBufferBytes: config.socketSendBufferBytes,
        receiveBufferBytes: config.socketReceiveBufferBytes,
      },
      {
        maxPerIp: config.maxConnectionsPerIp,
        maxPerIpOverrides: countsByAddress(config.maxConnectionsPerIpOverrides),
      },
      logger.child({ room: 'network' }),
    )
    this.#transport = transport
    const purgatory = new FetchPurgatory(this.#timers)
    this.#purgatory = purgatory
    const logs = new LogManager({
      directory,
      clock,
      random,
      timers: this.#timers,
      logger: logger.child({ room: 'replica' }),
      producerExpirationMs: config.producerIdExpirationMs,
      retentionCheckIntervalMs: config.logRetentionCheckIntervalMs,
      recoveryPointIntervalMs: config.logFlushOffsetCheckpointIntervalMs,
      highWatermarkIntervalMs: config.replicaHighWatermarkCheckpointIntervalMs,
      cleaner: {
        threads: config.logCleanerEnable ? config.logCleanerThreads : 0,
        mapBytes: config.logCleanerDedupeBufferSize,
        mapLoadFactor: config.logCleanerIoBufferLoadFactor,
        ioBufferBytes: config.logCleanerIoBufferSize,
        bytesPerSecond: config.logCleanerIoMaxBytesPerSecond,
        batchBytesMax: config.socketRequestMaxBytes,
        decompressionMaxBytes: config.decompressionMaxBytes,
      },
      cleanerBackoffMs: config.logCleanerBackoffMs,
    })
    this.#logs = logs

    const [registry, , cleanShutdown, checkpoints] = await Promise.all([
      this.#openRegistry(directory, meta.brokerId),
      this.#startShards(transport.id, logs),
      directory.takeCleanShutdownMark(),
      directory.readCheckpoints(),
    ])
    logs.attachShards(this.#shards)
    const brokerId = await this.#brokerId(meta.brokerId)
    const clusterId = await registry.ensureClusterId(
      meta.clusterId ?? random.bytes(16).toString('base64url'),
    )
    if (meta.clusterId !== null && meta.clusterId !== clusterId) {
      throw new Error(
        `the data directory belongs to cluster ${meta.clusterId} (meta.properties), but zookeeper.connect leads to cluster ${clusterId}`,
      )
    }
    if (config.zookeeperConnect !== null) await checkAlone(registry, brokerId)
    if (meta.brokerId === null || meta.clusterId === null) {
      await directory.writeMeta(brokerId, clusterId)
    }

    const replicas = new ReplicaManager({
      brokerId,
      clusterId,
      brokerEpoch: () => -1,
      epochOf: () => -1,
      addressOf: () => undefined,
      openLink: () => Promise.reject(new Error('there is no other broker')),
      controller: {
        alterPartition: () => Promise.reject(new Error('there is no other broker')),
      },
      topicConfig: () => {
        throw new Error('nobody else controls this broker')
      },
      lost: () => undefined,
      roleChanged: (partition) => {
        if (partition.row >= 0) purgatory.expire(partition.row)
      },
      logDirFailed: () => undefined,
      logs,
      settings: {
        lagTimeMaxMs: config.replicaLagTimeMaxMs,
        fetchMinBytes: config.replicaFetchMinBytes,
        fetchWaitMaxMs: config.replicaFetchWaitMaxMs,
        fetchMaxBytes: config.replicaFetchMaxBytes,
        fetchResponseMaxBytes: config.replicaFetchResponseMaxBytes,
        fetchBackoffMs: config.replicaFetchBackoffMs,
        fetchersPerLeader: config.numReplicaFetchers,
      },
      clock,
      timers: this.#timers,
      logger: logger.child({ room: 'replica' }),
    })
    this.#replicas = replicas
    const metadata = new MetadataCache({ clusterId })
    const apis = await createApis({
      loaded,
      brokerId,
      registry,
      metadata,
      replicas,
      internalLog: createInternalLog({ replicas, connection: transport.openInternal(), clock }),
      purgatory,
      timers: this.#timers,
      conversions: this.#conversions,
      transport: transport.id,
      dataDirectory: directory.path,
      clock,
      random,
      logger: logger.child({ room: 'server' }),
    })
    this.#apis = apis
    const summary = await replicas.openAll(apis.topics(), checkpoints, cleanShutdown)
    this.#recovered = summary.partitions
    transport.attachEvents({
      handle: (frame) => apis.handle(frame),
      result: (connection, sequence, version) => apis.produceResult(connection, sequence, version),
      advanced: (row) => purgatory.advanced(row),
      storageError: (row, errno) => logs.storageError(row, errno),
    })
    const endpoints = new Map<string, { host: string; port: number }>()
    for (const [i, { name, host, port }] of loaded.listeners.entries()) {
      const bound = await transport.listen(name, host, port, config.socketListenBacklogSize)
      this.#listeners.push({ name, host, port: bound })
      const advertised = loaded.advertised[i] as { host: string; port: number }
      endpoints.set(name, {
        host: advertised.host,
        port: advertised.port === 0 ? bound : advertised.port,
      })
    }
    await apis.register(endpoints)
    logs.startUpkeep()
  }

  async #openRegistry(
    directory: DataDirectory,
    brokerIdInDirectory: number | null,
  ): Promise<ClusterRegistry> {
    const { config: loaded, clock, random } = this.#options
    const { config } = loaded
    const logger = this.#options.logger.child({ room: 'registry' })
    if (config.zookeeperConnect === null) {
      const brokerId = this.#givenBrokerId(brokerIdInDirectory) ?? 0
      this.#registry = await openEmbeddedRegistry({
        directory: directory.path,
        logger,
        adopt: () => this.#adoptable(directory, brokerId),
      })
      return this.#registry
    }
    this.#registry = await openZooKeeperRegistry({
      connect: config.zookeeperConnect,
      sessionTimeoutMs: config.zookeeperSessionTimeoutMs,
      connectionTimeoutMs: config.zookeeperConnectionTimeoutMs,
      inFlightMax: config.zookeeperMaxInFlightRequests,
      directory: directory.path,
      timers: this.#timers,
      clock,
      random,
      logger,
    })
    return this.#registry
  }

  /** From the configuration or the data directory; null if neither says. */
  #givenBrokerId(inDirectory: number | null): number | null {
    const { config } = this.#options.config
    const configured = config.brokerId >= 0 ? config.brokerId : config.nodeId
    if (configured >= 0 && inDirectory !== null && configured !== inDirectory) {
      throw new Error(
        `broker.id is ${configured}, but the data directory belongs to broker ${inDirectory} (meta.properties)`,
      )
    }
    return configured >= 0 ? configured : inDirectory
  }

  /** A broker of a cluster that was given no id gets one that no other has. */
  async #brokerId(inDirectory: number | null): Promise<number> {
    const given = this.#givenBrokerId(inDirectory)
    if (given !== null) return given
    if (this.#options.config.config.zookeeperConnect === null) return 0
    return (this.#registry as ClusterRegistry).createBrokerId(RESERVED_BROKER_ID_MAX)
  }

  async #startShards(transport: number, logs: LogManager): Promise<void> {
    const { config } = this.#options.config
    const cores = availableParallelism()
    const chosen = cores <= CORES_WITHOUT_SHARDS ? 0 : Math.min(SHARDS_MAX, cores - 1)
    const threads = config.shards >= 0 ? config.shards : chosen
    const logger = this.#options.logger.child({ room: 'shard' })
    this.#shards = await Promise.all(
      Array.from({ length: Math.max(1, threads) }, async () => {
        const shard: Shard = await Shard.start({
          transport,
          threaded: threads > 0,
          decompressionMaxBytes: config.decompressionMaxBytes,
          logger,
          restarted: () => logs.shardRestarted(shard),
        })
        return shard
      }),
    )
  }

  /** A data directory that Apache Kafka wrote: its folders say which topics there are. */
  async #adoptable(directory: DataDirectory, brokerId: number): Promise<readonly AdoptedTopic[]> {
    const plan = planAdoption({
      found: await directory.partitionFolders(),
      brokerId,
      partitionsPerTopicMax: PARTITIONS_PER_TOPIC_MAX,
      createTopicId: () => this.#options.random.bytes(16).toString('base64url'),
    })
    for (const { partition, reason } of plan.refused) {
      this.#options.logger.warn(
        { topic: partition.topic, partition: partition.partition, reason },
        'a partition folder is left alone',
      )
    }
    if (plan.topics.length > 0) {
      this.#options.logger.info({ topics: plan.topics.length }, 'topics adopted from their folders')
    }
    return plan.topics
  }

  /** Stops in order: answers what is in flight, flushes, writes the clean-shutdown mark. */
  async stop(): Promise<void> {
    this.#apis?.stop()
    this.#purgatory?.expireAll()
    if (this.#transport !== null) {
      const stopped = this.#transport.stop()
      this.#purgatory?.expireAll()
      await stopped
    }
    try {
      this.#replicas?.close()
      await this.#logs?.close()
    } finally {
      await this.#close()
    }
  }

  /** Takes down what a failed start left. */
  async #abandon(): Promise<void> {
    await this.#close()
  }

  async #close(): Promise<void> {
    this.#apis = null
    this.#timers.close()
    for (const shard of this.#shards) await shard.stop()
    this.#shards = []
    await this.#conversions.close()
    this.#transport?.destroy()
    this.#transport = null
    await this.#registry?.close()
    this.#registry = null
    this.#directory?.close()
  }
}

/** Throws if other brokers are in the cluster: replication is not there yet. */
async function checkAlone(registry: ClusterRegistry, brokerId: number): Promise<void> {
  const others = (await registry.brokers()).filter((broker) => broker.brokerId !== brokerId)
  if (others.length === 0) return
  throw new Error(
    `broker ${others.map((broker) => broker.brokerId).join(', ')} is in this cluster already; clusters of several brokers are not supported yet`,
  )
}

function countsByAddress(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const pair of text.split(',')) {
    const at = pair.lastIndexOf(':')
    if (at > 0) counts.set(pair.slice(0, at).trim(), Number(pair.slice(at + 1)))
  }
  return counts
}
