/** A broker: what it is made of, and the order in which that starts and stops. */
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { LoadedConfig } from './config/load-broker-config.ts'
import { BrokerConfigManager } from './controller/broker-config-manager.ts'
import { LiveBrokerTexts } from './controller/broker-texts.ts'
import type { NewTopic } from './controller/topic-change.ts'
import { TopicConfigManager } from './controller/topic-config-manager.ts'
import { DataDirectory } from './log/data-directory.ts'
import { MetadataCache } from './metadata/metadata-cache.ts'
import { Transport } from './network/transport.ts'
import type { ClusterRegistry } from './registry/cluster-registry.ts'
import { type AdoptedTopic, planAdoption } from './registry/embedded/adoption.ts'
import { openEmbeddedRegistry } from './registry/embedded/embedded-registry.ts'
import { FetchPurgatory } from './replica/delayed-fetch.ts'
import { createInternalLog } from './replica/internal-log.ts'
import { LogManager } from './replica/log-manager.ts'
import { nativeLeaderLinks } from './replica/native-leader-link.ts'
import type { ReplicaManager } from './replica/replica-manager.ts'
import { type Apis, createApis } from './server/apis.ts'
import { ClusterMember } from './server/cluster/cluster-member.ts'
import { createMemberReplicas } from './server/cluster/member-replicas.ts'
import { noLinks } from './server/cluster/no-links.ts'
import { ConversionPool } from './shard/conversion-pool.ts'
import { Shard } from './shard/shard.ts'
import { type Clock, systemClock } from './util/clock.ts'
import { type Logger, quieter } from './util/logger.ts'
import { type Random, systemRandom } from './util/random.ts'
import { TimerQueue } from './util/timer-queue.ts'

const SHARDS_MAX = 8
/** Measured: up to here one thread does more with less than two that hand work to each other. */
const CORES_WITHOUT_SHARDS = 2
const FRAME_STALL_MS = 30_000
const PARTITIONS_PER_TOPIC_MAX = 1_000_000
/** Of a connection to another broker. */
const CONNECT_TIMEOUT_MS = 10_000

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
  #member: ClusterMember | null = null
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
    const directory = await DataDirectory.open(resolve(loaded.logDirs[0] as string), clock)
    this.#directory = directory
    const meta = await directory.readMeta()

    const transport = this.#openTransport()
    this.#transport = transport
    const purgatory = new FetchPurgatory(this.#timers)
    this.#purgatory = purgatory
    const logs = this.#createLogs(directory)
    this.#logs = logs

    const [registry, , cleanShutdown, checkpoints, folders] = await Promise.all([
      this.#openRegistry(directory, meta.brokerId),
      this.#startShards(transport.id, logs),
      directory.takeCleanShutdownMark(),
      directory.readCheckpoints(),
      directory.partitionFolders(),
    ])
    logs.attachShards(this.#shards)
    const brokerId = await this.#brokerId(meta.brokerId)
    const clusterId = await this.#clusterId(registry, meta.clusterId)
    if (meta.brokerId === null || meta.clusterId === null) {
      await directory.writeMeta(brokerId, clusterId)
    }

    const metadata = new MetadataCache({ clusterId, clock })
    const texts = new LiveBrokerTexts(loaded.explicit)
    const brokerConfigs = new BrokerConfigManager({ brokerId, registry, texts, logger })
    const topicConfigs = new TopicConfigManager({ registry, texts, logger })
    await brokerConfigs.load()
    await topicConfigs.load(folders.map(({ topic }) => topic))
    logs.beginStart(checkpoints, cleanShutdown)
    this.#recovered = await logs.openFolders(folders, (topic) => topicConfigs.effective(topic))
    logs.endStart()

    const listenerName = config.interBrokerListenerName ?? (loaded.listeners[0]?.name as string)
    const others = config.zookeeperConnect === null ? null : await loadClusterModules()
    const clusterLogger = logger.child({ room: 'cluster' })
    const member = new ClusterMember({
      ...{ brokerId, config, texts, topicConfigs, registry, listenerName, clock, random },
      timers: this.#timers,
      lostTail: directory.lostTail,
      links: (brokers) => {
        if (others === null) return noLinks
        return others.remoteLinks({
          ...{ brokerId, brokers, connectTimeoutMs: CONNECT_TIMEOUT_MS },
          timeoutMs: config.controllerSocketTimeoutMs,
        })
      },
      // A broker alone has nobody to tell who the controller is.
      logger: others === null ? quieter(clusterLogger) : clusterLogger,
    })
    this.#member = member
    const replicas = createMemberReplicas({
      ...{ brokerId, clusterId, config, registry, topicConfigs, member, logs, clock },
      timers: this.#timers,
      openLink: nativeLeaderLinks({
        ...{ transport, brokerId, timers: this.#timers },
        timeoutMs: config.replicaSocketTimeoutMs,
      }),
      roleChanged: (partition) => this.#apis?.roleChanged(partition),
      logger: logger.child({ room: 'replica' }),
    })
    this.#replicas = replicas
    const apis = createApis({
      ...{ loaded, brokerId, registry, metadata, texts, brokerConfigs, topicConfigs, member },
      ...{ replicas, purgatory, clock, random },
      internalLog: createInternalLog({ replicas, connection: transport.openInternal(), clock }),
      timers: this.#timers,
      conversions: this.#conversions,
      transport: transport.id,
      dataDirectory: directory.path,
      betweenBrokers: others?.apisBetweenBrokers ?? null,
      logger: logger.child({ room: 'server' }),
    })
    this.#apis = apis
    transport.attachEvents({
      handle: (frame) => apis.handle(frame),
      result: (connection, sequence, version) => apis.produceResult(connection, sequence, version),
      advanced: (row) => purgatory.advanced(row),
      storageError: (row, errno) => logs.storageError(row, errno),
    })
    const endpoints = await this.#listen(transport)
    await apis.join(endpoints)
    logs.startUpkeep()
  }

  #openTransport(): Transport {
    const { config } = this.#options.config
    return new Transport(
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
      this.#options.logger.child({ room: 'network' }),
    )
  }

  #createLogs(directory: DataDirectory): LogManager {
    const { config: loaded, logger, clock, random } = this.#options
    const { config } = loaded
    return new LogManager({
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
  }

  async #clusterId(registry: ClusterRegistry, inDirectory: string | null): Promise<string> {
    const proposed = inDirectory ?? this.#options.random.bytes(16).toString('base64url')
    const clusterId = await registry.ensureClusterId(proposed)
    if (inDirectory === null || inDirectory === clusterId) return clusterId
    throw new Error(
      `the data directory belongs to cluster ${inDirectory} (meta.properties), but zookeeper.connect leads to cluster ${clusterId}`,
    )
  }

  /** Binds the listeners; where clients of each reach this broker. */
  async #listen(transport: Transport): Promise<Map<string, { host: string; port: number }>> {
    const { config: loaded } = this.#options
    const backlog = loaded.config.socketListenBacklogSize
    const endpoints = new Map<string, { host: string; port: number }>()
    for (const [i, { name, host, port }] of loaded.listeners.entries()) {
      const bound = await transport.listen(name, host, port, backlog)
      this.#listeners.push({ name, host, port: bound })
      const advertised = loaded.advertised[i] as { host: string; port: number }
      endpoints.set(name, {
        host: advertised.host,
        port: advertised.port === 0 ? bound : advertised.port,
      })
    }
    return endpoints
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
    // A broker alone is ready sooner without it.
    const zookeeper = await import('./registry/zookeeper/zookeeper-registry.ts')
    this.#registry = await zookeeper.openZooKeeperRegistry({
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
    const { config } = this.#options.config
    if (config.zookeeperConnect === null) return 0
    if (!config.brokerIdGenerationEnable) {
      throw new Error('broker.id is not set, and broker.id.generation.enable is false')
    }
    return (this.#registry as ClusterRegistry).createBrokerId(config.reservedBrokerMaxId)
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

  /** Stops in order: hands its leaderships on, answers what is in flight, flushes, writes the mark. */
  async stop(): Promise<void> {
    if (await this.#member?.leave()) await this.#directory?.settleLostTail()
    this.#apis?.stop()
    this.#purgatory?.expireAll()
    await this.#member?.stop()
    this.#replicas?.close()
    if (this.#transport !== null) {
      const stopped = this.#transport.stop()
      this.#purgatory?.expireAll()
      await stopped
    }
    try {
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
    await this.#member?.stop()
    this.#member = null
    await this.#registry?.close()
    this.#registry = null
    this.#directory?.close()
  }
}

/** What only a broker with others needs: one that is alone is ready sooner without it. */
async function loadClusterModules() {
  const [{ remoteLinks }, { apisBetweenBrokers }] = await Promise.all([
    import('./server/cluster/remote-links.ts'),
    import('./server/apis-between-brokers.ts'),
  ])
  return { remoteLinks, apisBetweenBrokers }
}

function countsByAddress(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  for (const pair of text.split(',')) {
    const at = pair.lastIndexOf(':')
    if (at > 0) counts.set(pair.slice(0, at).trim(), Number(pair.slice(at + 1)))
  }
  return counts
}
