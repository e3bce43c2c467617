/**
 * The handlers of the data path on real logs behind a real socket, with roles, epochs and the
 * addresses of brokers given by the test instead of a controller.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { effectiveTopicConfig } from '../../src/config/topic-settings.ts'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { buildBatch } from '../../src/log/record-format.ts'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import type { BrokerImage, PartitionImage, TopicImage } from '../../src/metadata/topic-image.ts'
import type { InternalConnection } from '../../src/network/internal-connection.ts'
import { Transport } from '../../src/network/transport.ts'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { Fetch, type FetchRequestInput } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { FetchPurgatory } from '../../src/replica/delayed-fetch.ts'
import type { Partition } from '../../src/replica/partition.ts'
import { type IsrMember, PartitionLeader } from '../../src/replica/partition-leader.ts'
import { ReplicaManager } from '../../src/replica/replica-manager.ts'
import { FetchSessionCache } from '../../src/server/fetch-session.ts'
import { createDeleteRecordsHandler } from '../../src/server/handlers/delete-records.ts'
import { FetchHandler } from '../../src/server/handlers/fetch.ts'
import { createListOffsetsHandler } from '../../src/server/handlers/list-offsets.ts'
import { createOffsetForLeaderEpochHandler } from '../../src/server/handlers/offset-for-leader-epoch.ts'
import { ProduceHandler } from '../../src/server/handlers/produce.ts'
import { ReplicaFetchHandler } from '../../src/server/handlers/replica-fetch.ts'
import { LeaderHints } from '../../src/server/leader-hints.ts'
import { RackAwareReplicaSelector } from '../../src/server/replica-selector.ts'
import { RequestDispatcher, serve, serveFrames } from '../../src/server/request-dispatcher.ts'
import { Responder } from '../../src/server/responder.ts'
import { ConversionPool } from '../../src/shard/conversion-pool.ts'
import {
  failParked,
  follow,
  lead,
  moveHighWatermark,
  setInSync,
} from '../../src/shard/log-commands.ts'
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

type ReplicaPartition = FetchRequestInput['topics'][number]['partitions'][number]

export class DataPath {
  readonly metadata = new MetadataCache({ clusterId: 'AbCdEfGhIjKlMnOpQrStUv' })
  /** Broker epochs that are registered. */
  readonly epochs = new Map([OWN_ID, 2, 3].map((id) => [id, EPOCH_BASE + id]))
  /** Whether connections come from an address of the broker that they name. */
  isFromBroker = true
  /** What the leaders proposed as ISR. */
  readonly proposals: (readonly IsrMember[])[] = []
  minInSyncReplicas = 1
  readonly replicas: ReplicaManager
  readonly replicaFetch: ReplicaFetchHandler
  readonly #port: number
  readonly #t: TestContext
  readonly #purgatory: FetchPurgatory
  readonly #internal: InternalConnection

  private constructor(
    t: TestContext,
    parts: {
      readonly transport: Transport
      readonly replicas: ReplicaManager
      readonly purgatory: FetchPurgatory
      readonly timers: TimerQueue
      readonly port: number
      readonly hasSelector: boolean
      readonly highWatermarkDelayMs: number
    },
  ) {
    const { transport, replicas, purgatory, timers } = parts
    this.#t = t
    this.#port = parts.port
    this.#purgatory = purgatory
    this.replicas = replicas
    this.#internal = transport.openInternal()
    const { metadata } = this
    metadata.setBrokers([OWN_ID, 2, 3].map(brokerImage))
    const responder = new Responder(transport.id)
    const leaders = new LeaderHints({ metadata, brokerId: OWN_ID })
    const epochOf = (brokerId: number): number => this.epochs.get(brokerId) ?? -1
    const random = new SeededRandom(7)
    const clock = systemClock
    this.replicaFetch = new ReplicaFetchHandler({
      ...{ responder, replicas, metadata, purgatory, leaders, timers, clock, random, epochOf },
      fetchMaxBytes: 50 << 20,
      highWatermarkDelayMs: parts.highWatermarkDelayMs,
    })
    const isBrokerAddress = (): boolean => this.isFromBroker
    const fetch = new FetchHandler({
      ...{ responder, replicas, metadata, purgatory, leaders, epochOf, isBrokerAddress },
      replicaFetch: this.replicaFetch,
      replicaSelector: parts.hasSelector
        ? new RackAwareReplicaSelector({ metadata, brokerId: OWN_ID })
        : null,
      brokerId: OWN_ID,
      sessions: new FetchSessionCache({ slots: 100, clock, random }),
      fetchMaxBytes: 50 << 20,
      decompressionMaxBytes: 1 << 20,
      conversions: new ConversionPool(),
      logger: silentLogger,
    })
    const produce = new ProduceHandler({
      ...{ responder, replicas, metadata, leaders, clock },
      brokerId: OWN_ID,
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
      handle: (frame) => dispatcher.handle(frame),
      result: (connection, sequence, version) =>
        produce.handleResult(connection, sequence, version),
      advanced: (row) => purgatory.advanced(row),
      storageError: () => undefined,
    })
  }

  static async start(
    t: TestContext,
    options: { hasSelector?: boolean; highWatermarkDelayMs?: number; threaded?: boolean } = {},
  ): Promise<DataPath> {
    const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
    const directory = await DataDirectory.open(path)
    const clock = systemClock
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
    const replicas = new ReplicaManager({
      ...{ directory, clock, timers, random: systemRandom, logger: silentLogger },
      producerExpirationMs: 86_400_000,
      retentionCheckIntervalMs: 300_000,
      recoveryPointIntervalMs: 60_000,
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
      partitionGone: (partition) => purgatory.expire(partition.row),
    })
    const shard: Shard = await Shard.start({
      transport: transport.id,
      threaded: options.threaded ?? false,
      decompressionMaxBytes: 1e7,
      logger: silentLogger,
      restarted: () => replicas.shardRestarted(shard),
    })
    replicas.attachShards([shard])
    const port = await transport.listen('PLAINTEXT', '127.0.0.1', 0, 10)
    const made = new DataPath(t, {
      ...{ transport, replicas, purgatory, timers, port },
      hasSelector: options.hasSelector ?? false,
      highWatermarkDelayMs: options.highWatermarkDelayMs ?? 60_000,
    })
    t.after(async () => {
      purgatory.expireAll()
      await transport.stop()
      await replicas.close()
      timers.close()
      await shard.stop()
      transport.destroy()
      directory.close()
      await rm(path, { recursive: true, force: true })
    })
    return made
  }

  async connect(): Promise<WireClient> {
    const client = await WireClient.connect(this.#port)
    this.#t.after(() => client.close())
    return client
  }

  /** Creates a topic whose partitions this broker leads. */
  async open(
    name: string,
    options: { partitions?: number; configs?: Record<string, string>; role?: Role } = {},
  ): Promise<Partition[]> {
    const images: PartitionImage[] = []
    for (let partition = 0; partition < (options.partitions ?? 1); partition += 1) {
      images.push({
        ...{ topic: name, partition, leader: OWN_ID, leaderEpoch: 0, partitionEpoch: 0 },
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
    await this.replicas.openTopic(
      image,
      effectiveTopicConfig(new Map(Object.entries(options.configs ?? {})), {
        dynamic: new Map(),
        dynamicDefault: new Map(),
        fixed: new Map(),
      }),
    )
    this.metadata.putTopic(image)
    const partitions = images.map(({ partition }) => this.partition(name, partition))
    for (const partition of partitions) this.lead(partition, options.role)
    return partitions
  }

  partition(topic: string, number = 0): Partition {
    const partition = this.replicas.partition(topic, number)
    assert.ok(partition)
    return partition
  }

  /** This broker leads from now on. */
  lead(partition: Partition, role: Role = {}): void {
    partition.leader?.close()
    partition.leaderEpoch = role.leaderEpoch ?? 1
    partition.leaderId = OWN_ID
    partition.leader = new PartitionLeader({
      brokerId: OWN_ID,
      state: {
        leaderEpoch: partition.leaderEpoch,
        partitionEpoch: 1,
        replicas: role.replicas ?? [OWN_ID, 2, 3],
        isr: role.isr ?? [OWN_ID, 2, 3],
      },
      log: {
        get logEnd() {
          return partition.logEnd
        },
        get highWatermark() {
          return partition.highWatermark
        },
        lead: ({ leaderEpoch, followers, inSync, required }) => {
          lead(partition.log, { leaderEpoch, followers })
          setInSync(partition.log, { inSync, required })
        },
        moveHighWatermark: (offset, epoch) => moveHighWatermark(partition.log, offset, epoch),
        failParked: (errorCode) => failParked(partition.log, errorCode),
      },
      minInSyncReplicas: () => this.minInSyncReplicas,
      lagTimeMaxMs: 30_000,
      brokerEpoch: (brokerId) => this.epochs.get(brokerId) ?? -1,
      propose: (_leader, isr) => this.proposals.push(isr),
      nowMs: () => systemClock.monotonicMs(),
    })
    this.#announce(partition, OWN_ID)
    this.#purgatory.expire(partition.row)
  }

  /** Another broker leads from now on. */
  follow(partition: Partition, leaderId: number, leaderEpoch: number): void {
    partition.leader?.close()
    partition.leader = null
    partition.leaderId = leaderId
    partition.leaderEpoch = leaderEpoch
    follow(partition.log, leaderEpoch)
    this.#announce(partition, leaderId)
    this.#purgatory.expire(partition.row)
  }

  #announce(partition: Partition, leader: number): void {
    const image = this.metadata.partition(partition.topic, partition.partition)
    if (image === undefined) return
    this.metadata.putPartition({ ...image, leader, leaderEpoch: partition.leaderEpoch })
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
