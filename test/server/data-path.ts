/**
 * The handlers of the data path on real logs behind a real socket, with roles, epochs and the
 * addresses of brokers given by the test instead of a controller.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TopicConfig } from '../../src/config/topic-config.ts'
import { effectiveTopicConfig } from '../../src/config/topic-settings.ts'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { buildBatch } from '../../src/log/record-format.ts'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import type { BrokerImage, PartitionImage, TopicImage } from '../../src/metadata/topic-image.ts'
import type { Connection } from '../../src/network/connection.ts'
import type { InternalConnection } from '../../src/network/internal-connection.ts'
import { Transport } from '../../src/network/transport.ts'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { Fetch, type FetchRequestInput } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { FetchPurgatory } from '../../src/replica/delayed-fetch.ts'
import { LogManager } from '../../src/replica/log-manager.ts'
import { nativeLeaderLinks } from '../../src/replica/native-leader-link.ts'
import type { Partition } from '../../src/replica/partition.ts'
import { ReplicaManager } from '../../src/replica/replica-manager.ts'
import { FetchSessionCache } from '../../src/server/fetch-session.ts'
import { createDeleteRecordsHandler } from '../../src/server/handlers/delete-records.ts'
import { FetchHandler } from '../../src/server/handlers/fetch.ts'
import { createListOffsetsHandler } from '../../src/server/handlers/list-offsets.ts'
import { createOffsetForLeaderEpochHandler } from '../../src/server/handlers/offset-for-leader-epoch.ts'
import { ProduceHandler } from '../../src/server/handlers/produce.ts'
import { type LeaderQuota, ReplicaFetchHandler } from '../../src/server/handlers/replica-fetch.ts'
import { LeaderHints } from '../../src/server/leader-hints.ts'
import { RackAwareReplicaSelector } from '../../src/server/replica-selector.ts'
import { RequestDispatcher, serve, serveFrames } from '../../src/server/request-dispatcher.ts'
import { Responder } from '../../src/server/responder.ts'
import { ConversionPool } from '../../src/shard/conversion-pool.ts'
import { Shard } from '../../src/shard/shard.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom, systemRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { WireClient } from '../support/wire-client.ts'

export const OWN_ID = 1
const EPOCH_BASE = 100

export function topicIdOf(name: string): string {
  return Buffer.from(name.padEnd(16, '.')).toString('base64url')
}

function brokerImage(brokerId: number): BrokerImage {
  return {
    brokerId,
    brokerEpoch: EPOCH_BASE + brokerId,
    rack: `rack-${brokerId}`,
    endpoints: new Map([
      ['PLAINTEXT', { host: `broker-${brokerId}`, port: 9000 + brokerId }],
      ['OTHER', { host: `other-${brokerId}`, port: 9100 + brokerId }],
    ]),
  }
}

export interface Role {
  readonly leaderEpoch?: number
  readonly replicas?: readonly number[]
  readonly isr?: readonly number[]
}

/** Where what was started is ended: the context of a test. */
export interface Life {
  after(end: () => void | Promise<void>): void
}

export interface DataPathOptions {
  readonly brokerId?: number
  readonly hasSelector?: boolean
  readonly highWatermarkDelayMs?: number
  /** For which a follower waits at its leader. */
  readonly fetchWaitMaxMs?: number
  readonly threaded?: boolean
  readonly quota?: LeaderQuota
  /** Ports of the brokers that it can follow. */
  readonly peers?: ReadonlyMap<number, number>
}

type ReplicaPartition = FetchRequestInput['topics'][number]['partitions'][number]

export class DataPath {
  readonly metadata = new MetadataCache({
    clusterId: 'AbCdEfGhIjKlMnOpQrStUv',
    clock: systemClock,
  })
  /** Broker epochs that are registered. */
  readonly epochs = new Map([OWN_ID, 2, 3].map((id) => [id, EPOCH_BASE + id]))
  /** Whether connections come from an address of the broker that they name. */
  isFromBroker = true
  /** ISRs that leaders proposed. */
  readonly proposals: (readonly number[])[] = []
  readonly replicas: ReplicaManager
  readonly replicaFetch: ReplicaFetchHandler
  readonly purgatory: FetchPurgatory
  readonly brokerId: number
  readonly port: number
  readonly #life: Life
  readonly #transport: Transport
  readonly #connections = new Set<Connection>()
  readonly #internal: InternalConnection
  readonly #configs = new Map<string, TopicConfig>()
  #partitionEpoch = 0

  private constructor(
    life: Life,
    options: DataPathOptions,
    parts: {
      readonly transport: Transport
      readonly logs: LogManager
      readonly purgatory: FetchPurgatory
      readonly timers: TimerQueue
      readonly port: number
    },
  ) {
    const { transport, logs, purgatory, timers } = parts
    const { brokerId = OWN_ID, peers = new Map<number, number>() } = options
    this.#life = life
    this.#transport = transport
    this.brokerId = brokerId
    this.port = parts.port
    this.purgatory = purgatory
    const clock = systemClock
    const epochOf = (brokerId: number): number => this.epochs.get(brokerId) ?? -1
    const replicas = new ReplicaManager({
      ...{ brokerId, clusterId: 'cluster', brokerEpoch: () => epochOf(brokerId), epochOf },
      addressOf: (id) => {
        const port = peers.get(id)
        return port === undefined ? undefined : { brokerId: id, host: '127.0.0.1', port }
      },
      openLink: nativeLeaderLinks({ transport, timers, brokerId, timeoutMs: 30_000 }),
      controller: {
        alterPartition: ({ topics }) => {
          for (const { partitions } of topics) {
            for (const one of partitions) {
              this.proposals.push(one.newIsrWithEpochs.map(({ brokerId }) => brokerId))
            }
          }
          return new Promise(() => undefined)
        },
      },
      topicConfig: (topic) => this.#configs.get(topic) as TopicConfig,
      ...{ lost: () => undefined, logDirFailed: () => undefined },
      roleChanged: (partition) => purgatory.expire(partition.row),
      settings: {
        lagTimeMaxMs: 30_000,
        fetchMinBytes: 1,
        fetchWaitMaxMs: options.fetchWaitMaxMs ?? 500,
        fetchMaxBytes: 1 << 20,
        fetchResponseMaxBytes: 10 << 20,
        fetchBackoffMs: 1000,
        fetchersPerLeader: 1,
      },
      ...{ logs, clock, timers, logger: silentLogger },
    })
    this.replicas = replicas
    this.#internal = transport.openInternal()
    const { metadata } = this
    metadata.setBrokers([OWN_ID, 2, 3].map(brokerImage))
    const responder = new Responder(transport.id)
    const leaders = new LeaderHints({ metadata, brokerId })
    const random = new SeededRandom(7)
    this.replicaFetch = new ReplicaFetchHandler({
      ...{ responder, replicas, metadata, purgatory, leaders, timers, clock, random, epochOf },
      fetchMaxBytes: 50 << 20,
      highWatermarkDelayMs: options.highWatermarkDelayMs ?? 60_000,
      ...(options.quota === undefined ? {} : { quota: options.quota }),
    })
    const isBrokerAddress = (): boolean => this.isFromBroker
    const fetch = new FetchHandler({
      ...{ responder, replicas, metadata, purgatory, leaders, epochOf, isBrokerAddress },
      replicaFetch: this.replicaFetch,
      replicaSelector: options.hasSelector
        ? new RackAwareReplicaSelector({ metadata, brokerId })
        : null,
      brokerId,
      sessions: new FetchSessionCache({ slots: 100, clock, random }),
      fetchMaxBytes: 50 << 20,
      decompressionMaxBytes: 1 << 20,
      conversions: new ConversionPool(),
      logger: silentLogger,
    })
    const produce = new ProduceHandler({
      ...{ responder, replicas, metadata, leaders, clock },
      brokerId,
    })
    const dispatcher = new RequestDispatcher(
      [
        serveFrames(Produce, (frame) => produce.handle(frame)),
        serveFrames(Fetch, (frame) => fetch.handle(frame)),
        serve(
          responder,
          ListOffsets,
          createListOffsetsHandler({ replicas, metadata, isBrokerAddress }),
        ),
        serve(
          responder,
          OffsetForLeaderEpoch,
          createOffsetForLeaderEpochHandler({ replicas, metadata }),
        ),
        serve(responder, DeleteRecords, createDeleteRecordsHandler({ replicas, metadata })),
      ],
      () => undefined,
    )
    transport.attachEvents({
      handle: (frame) => {
        this.#connections.add(frame.connection)
        return dispatcher.handle(frame)
      },
      result: (connection, sequence, version) =>
        produce.handleResult(connection, sequence, version),
      advanced: (row) => purgatory.advanced(row),
      storageError: () => undefined,
    })
  }

  static async start(life: Life, options: DataPathOptions = {}): Promise<DataPath> {
    const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
    const clock = systemClock
    const directory = await DataDirectory.open(path, clock)
    const timers = new TimerQueue(clock)
    const transport = new Transport(
      {
        frameBytesMax: 1e8,
        inflightMax: 100,
        inflightBytesMax: 1e8,
        outputBytesMax: 1e8,
        receivedBytesMax: 1e8,
        connectionsMax: 100,
        idleMs: 60_000,
        frameStallMs: 60_000,
        sendBufferBytes: -1,
        receiveBufferBytes: -1,
      },
      { maxPerIp: 100, maxPerIpOverrides: new Map() },
      silentLogger,
    )
    const purgatory = new FetchPurgatory(timers)
    const logs = new LogManager({
      ...{ directory, clock, timers, random: systemRandom, logger: silentLogger },
      producerExpirationMs: 86_400_000,
      retentionCheckIntervalMs: 300_000,
      recoveryPointIntervalMs: 60_000,
      highWatermarkIntervalMs: 5000,
      cleaner: {
        threads: 0,
        mapBytes: 1 << 20,
        mapLoadFactor: 0.9,
        ioBufferBytes: 8192,
        bytesPerSecond: Number.MAX_VALUE,
        batchBytesMax: 1 << 20,
        decompressionMaxBytes: 1 << 24,
      },
      cleanerBackoffMs: 15_000,
    })
    const shard: Shard = await Shard.start({
      transport: transport.id,
      threaded: options.threaded ?? false,
      decompressionMaxBytes: 1e7,
      logger: silentLogger,
      restarted: () => logs.shardRestarted(shard),
    })
    logs.attachShards([shard])
    const port = await transport.listen('PLAINTEXT', '127.0.0.1', 0, 10)
    const made = new DataPath(life, options, { transport, logs, purgatory, timers, port })
    life.after(async () => {
      purgatory.expireAll()
      await transport.stop()
      made.replicas.close()
      await logs.close()
      timers.close()
      await shard.stop()
      transport.destroy()
      directory.close()
      await rm(path, { recursive: true, force: true })
    })
    return made
  }

  async connect(): Promise<WireClient> {
    const client = await WireClient.connect(this.port)
    this.#life.after(() => client.close())
    return client
  }

  /** Creates a topic whose partitions this broker leads, unless another one does. */
  async open(
    name: string,
    options: {
      readonly partitions?: number
      readonly configs?: Readonly<Record<string, string>>
      readonly role?: Role
      readonly leader?: number
    } = {},
  ): Promise<Partition[]> {
    const { leader = this.brokerId } = options
    const images: PartitionImage[] = []
    for (let partition = 0; partition < (options.partitions ?? 1); partition += 1) {
      images.push({
        ...{ topic: name, partition, leader, leaderEpoch: 0, partitionEpoch: 0 },
        ...{ controllerEpoch: 1, replicas: [OWN_ID, 2, 3], isr: [OWN_ID, 2, 3] },
        offlineReplicas: [],
      })
    }
    const image: TopicImage = {
      name,
      topicId: topicIdOf(name),
      isInternal: false,
      configs: new Map(),
      partitions: images,
    }
    this.#configs.set(
      name,
      effectiveTopicConfig(new Map(Object.entries(options.configs ?? {})), {
        dynamic: new Map(),
        dynamicDefault: new Map(),
        fixed: new Map(),
      }),
    )
    this.metadata.putTopic(image)
    await this.#tell(name, images.length, leader, options.role)
    return images.map(({ partition }) => this.partition(name, partition))
  }

  /** Breaks every connection that somebody has asked something on. */
  disconnect(): void {
    for (const connection of this.#connections) this.#transport.close(connection)
    this.#connections.clear()
  }

  partition(topic: string, number = 0): Partition {
    const partition = this.replicas.partition(topic, number)
    assert.ok(partition)
    return partition
  }

  /** This broker leads from now on. */
  async lead(partition: Partition, role: Role = {}): Promise<void> {
    await this.#tell(partition.topic, [partition.partition], this.brokerId, role)
  }

  /** Another broker leads from now on. */
  async follow(partition: Partition, leaderId: number, leaderEpoch: number): Promise<void> {
    await this.#tell(partition.topic, [partition.partition], leaderId, { leaderEpoch })
  }

  /** What the controller says of partitions, of their roles and to the clients. */
  async #tell(
    topicName: string,
    partitions: number | readonly number[],
    leader: number,
    { leaderEpoch = 1, replicas = [OWN_ID, 2, 3], isr = replicas }: Role = {},
  ): Promise<void> {
    this.#partitionEpoch += 1
    const numbers =
      typeof partitions === 'number' ? Array.from({ length: partitions }, (_, i) => i) : partitions
    const partitionStates = numbers.map((partitionIndex) => ({
      ...{ topicName, partitionIndex, leader, leaderEpoch, controllerEpoch: 1 },
      ...{ isr: [...isr], replicas: [...replicas], addingReplicas: [], removingReplicas: [] },
      ...{ partitionEpoch: this.#partitionEpoch, isNew: false, leaderRecoveryState: 0 },
    }))
    const told = await this.replicas.applyLeaderAndIsr({
      ...{ controllerId: OWN_ID, isKRaftController: false, controllerEpoch: 1 },
      ...{ brokerEpoch: this.epochs.get(OWN_ID) ?? -1, type: 0, liveLeaders: [] },
      ungroupedPartitionStates: [],
      topicStates: [{ topicName, topicId: topicIdOf(topicName), partitionStates }],
    })
    assert.equal(told.errorCode, 0)
    assert.ok(told.partitionErrors.every(({ errorCode }) => errorCode === 0))
    const image = this.metadata.topic(topicName)
    if (image === undefined) return
    this.metadata.putTopic({
      ...image,
      partitions: image.partitions.map((one) =>
        numbers.includes(one.partition) ? { ...one, leader, leaderEpoch } : one,
      ),
    })
  }

  /** What this broker hosts without leading it; the controller has not told of it yet. */
  forget(topic: string): void {
    this.metadata.removeTopic(topic)
  }

  /** A topic that is on other brokers only. */
  elsewhere(name: string, leader = 2, leaderEpoch = 7): void {
    this.metadata.putTopic({
      name,
      topicId: topicIdOf(name),
      isInternal: false,
      configs: new Map(),
      partitions: [
        {
          ...{ topic: name, partition: 0, leader, leaderEpoch, partitionEpoch: 0 },
          ...{ controllerEpoch: 1, replicas: [2, 3], isr: [2, 3], offlineReplicas: [] },
        },
      ],
    })
  }

  /** Appends one record without waiting for replicas. */
  async append(partition: Partition, value: string): Promise<void> {
    const records = [{ timestamp: 1, key: null, value: Buffer.from(value) }]
    const { errorCode } = await this.#internal.append(partition.log, buildBatch(records, 0), {
      leaderEpoch: partition.leaderEpoch,
      acks: 1,
      nowMs: 1,
    })
    assert.equal(errorCode, 0)
  }
}

/** What a replica asks of one partition. */
export function position(
  fetchOffset: number,
  more: Partial<ReplicaPartition> = {},
): ReplicaPartition {
  return {
    partition: 0,
    currentLeaderEpoch: 1,
    fetchOffset,
    lastFetchedEpoch: -1,
    logStartOffset: 0,
    partitionMaxBytes: 1 << 20,
    ...more,
  }
}

export interface ReplicaFetch {
  readonly topic?: string
  readonly partitions?: readonly ReplicaPartition[]
  readonly sessionId?: number
  readonly sessionEpoch?: number
  readonly replicaId?: number
  readonly replicaEpoch?: number
  readonly maxWaitMs?: number
  readonly minBytes?: number
  readonly maxBytes?: number
  readonly forgotten?: readonly number[]
}

/** A fetch as replica 2 sends it. */
export function replicaFetch(fetch: ReplicaFetch): FetchRequestInput {
  const { topic = 't', partitions = [], forgotten = [], replicaId = 2 } = fetch
  const topicId = topicIdOf(topic)
  return {
    clusterId: null,
    replicaState: { replicaId, replicaEpoch: fetch.replicaEpoch ?? EPOCH_BASE + replicaId },
    maxWaitMs: fetch.maxWaitMs ?? 60_000,
    minBytes: fetch.minBytes ?? 1,
    maxBytes: fetch.maxBytes ?? 50 << 20,
    isolationLevel: 0,
    sessionId: fetch.sessionId ?? 0,
    sessionEpoch: fetch.sessionEpoch ?? 0,
    topics: partitions.length === 0 ? [] : [{ topicId, partitions }],
    forgottenTopicsData: forgotten.length === 0 ? [] : [{ topicId, partitions: forgotten }],
  }
}
