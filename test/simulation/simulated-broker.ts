/**
 * A broker in a simulated world. It is put together as `src/broker.ts` puts one together, of the very
 * classes that production runs; simulated are what lies below them: the connections, the disk, the
 * client of ZooKeeper, clock and timers; and beside them the data path, whose hot part is native.
 */
import type { LoadedConfig } from '../../src/config/load-broker-config.ts'
import { BrokerConfigManager } from '../../src/controller/broker-config-manager.ts'
import type { BrokerLink } from '../../src/controller/broker-link.ts'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import type { Controller } from '../../src/controller/controller.ts'
import { TopicConfigManager } from '../../src/controller/topic-config-manager.ts'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import type { FetchedRecords } from '../../src/network/outbound-connection.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { AllocateProducerIds } from '../../src/protocol/messages/allocate-producer-ids.ts'
import { AlterPartition } from '../../src/protocol/messages/alter-partition.ts'
import { ControlledShutdown } from '../../src/protocol/messages/controlled-shutdown.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { LeaderAndIsr } from '../../src/protocol/messages/leader-and-isr.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { StopReplica } from '../../src/protocol/messages/stop-replica.ts'
import { UpdateMetadata } from '../../src/protocol/messages/update-metadata.ts'
import type { ClusterRegistry } from '../../src/registry/cluster-registry.ts'
import { openZooKeeperRegistry } from '../../src/registry/zookeeper/zookeeper-registry.ts'
import type { LeaderAddress, LeaderLink, LeaderOffsets } from '../../src/replica/leader-link.ts'
import type { ReplicaManager } from '../../src/replica/replica-manager.ts'
import { type ClusterLinks, ClusterMember } from '../../src/server/cluster/cluster-member.ts'
import type { ClusterServices } from '../../src/server/cluster/cluster-services.ts'
import { watchConfigs } from '../../src/server/cluster/config-watch.ts'
import type { ControllerConnection } from '../../src/server/cluster/controller-channel.ts'
import { createMemberReplicas } from '../../src/server/cluster/member-replicas.ts'
import { metadataUpdates } from '../../src/server/cluster/metadata-update.ts'
import { createAllocateProducerIdsHandler } from '../../src/server/handlers/allocate-producer-ids.ts'
import { createAlterPartitionHandler } from '../../src/server/handlers/alter-partition.ts'
import { createControlledShutdownHandler } from '../../src/server/handlers/controlled-shutdown.ts'
import { createLeaderAndIsrHandler } from '../../src/server/handlers/leader-and-isr.ts'
import { createStopReplicaHandler } from '../../src/server/handlers/stop-replica.ts'
import { createUpdateMetadataHandler } from '../../src/server/handlers/update-metadata.ts'
import type { Network } from './network.ts'
import { decodeRecords, ReplicaFetches } from './replica-fetches.ts'
import { answer, answerRequests, ask, Requester } from './requests.ts'
import { SimulatedDisk } from './simulated-disk.ts'
import { type LogHooks, type SimulatedLog, SimulatedLogStore } from './simulated-log.ts'
import { SimulatedProcess, SimulatedTimers } from './simulated-process.ts'
import type { World } from './world.ts'
import { simulatedConnect } from './zookeeper/client.ts'
import type { SimulatedEnsemble } from './zookeeper/ensemble.ts'

export const LISTENER = 'PLAINTEXT'
const PORT = 9092
const LATEST = -1
const CONNECT_TIMEOUT_MS = 10_000
const PROBE_TIMEOUT_MS = 1000
const RESTART_MS = 500

/** The versions that brokers agree on when they speak with each other. */
const Version = {
  LEADER_AND_ISR: 7,
  UPDATE_METADATA: 8,
  STOP_REPLICA: 4,
  ALTER_PARTITION: 3,
  CONTROLLED_SHUTDOWN: 3,
  ALLOCATE_PRODUCER_IDS: 0,
  FETCH: 17,
  LIST_OFFSETS: 8,
} as const

export interface BrokerObserver {
  /** Of the logs of a broker. */
  readonly hooks: (broker: SimulatedBroker) => LogHooks
  /** A partition has another role. */
  readonly roleChanged: (broker: SimulatedBroker, topic: string, partition: number) => void
  /** It knows what the controller has told it of the cluster. */
  readonly told: (broker: SimulatedBroker) => void
}

export interface SimulatedBrokerOptions {
  readonly world: World
  readonly network: Network
  readonly ensemble: SimulatedEnsemble
  readonly brokerId: number
  readonly loaded: LoadedConfig
  readonly observer: BrokerObserver
  /** All brokers, by their ids. */
  readonly brokers: ReadonlyMap<number, SimulatedBroker>
  /** What clients ask of this broker. */
  readonly serveClient: (broker: SimulatedBroker, name: string, body: unknown) => Promise<unknown>
}

/** What an administrator asks of the controller. */
export type AdminRequest = { readonly topic: string } & (
  | { readonly kind: 'create'; readonly assignments: readonly (readonly number[])[] }
  | { readonly kind: 'delete' | 'elect' }
  | { readonly kind: 'grow'; readonly count: number }
  | {
      readonly kind: 'reassign'
      readonly partition: number
      /** null takes a reassignment back. */
      readonly replicas: readonly number[] | null
    }
)

/** What one life of a broker is made of. */
export interface BrokerParts {
  readonly timers: SimulatedTimers
  readonly registry: ClusterRegistry
  readonly metadata: MetadataCache
  readonly member: ClusterMember
  readonly replicas: ReplicaManager
  readonly logs: SimulatedLogStore
  readonly fetches: ReplicaFetches
  readonly topicConfigs: TopicConfigManager
}

export class SimulatedBroker {
  readonly brokerId: number
  readonly process: SimulatedProcess
  readonly disk = new SimulatedDisk()
  readonly #options: SimulatedBrokerOptions
  /** null while it is down or not yet far enough. */
  parts: BrokerParts | null = null
  /** It has its place in the cluster. */
  hasJoined = false
  isStopping = false

  constructor(options: SimulatedBrokerOptions) {
    this.#options = options
    this.brokerId = options.brokerId
    this.process = new SimulatedProcess(options.world, nameOf(options.brokerId))
  }

  get name(): string {
    return this.process.name
  }

  get isUp(): boolean {
    return this.process.isUp
  }

  /** Some of its logs are offline. */
  get hasFailedLogs(): boolean {
    return this.parts?.logs.hasFailed ?? false
  }

  get controller(): Controller | null {
    return this.parts?.member.controller ?? null
  }

  start(): void {
    if (this.isUp) return
    this.process.start()
    const { life } = this.process
    this.#start().catch((error: unknown) => {
      // As a supervisor does with a process that exits.
      if (!this.isUp || this.process.life !== life) return
      this.process.trace(`cannot start: ${String(error)}`)
      this.kill()
      this.#options.world.schedule(RESTART_MS, () => this.start())
    })
  }

  /** As kill -9; or as a loss of power, with which what was not synced goes. */
  kill(isPowerLost = false): void {
    if (!this.isUp) return
    this.process.kill(isPowerLost)
    this.parts = null
    this.hasJoined = false
    this.isStopping = false
    if (isPowerLost) this.disk.losePower(this.process.random)
    this.disk.mend(this.process.random)
  }

  /** As SIGTERM: hands its leaderships on, writes what there is, and is down in the end. */
  shutDown(): void {
    const { parts } = this
    if (parts === null || !this.hasJoined || this.isStopping) return
    this.isStopping = true
    this.process.trace('shuts down')
    const { life } = this.process
    this.#stop(parts).then(
      () => {
        if (this.process.life === life) this.kill()
      },
      (error: unknown) => this.#options.world.fail(error),
    )
  }

  async #stop({ member, replicas, logs, registry }: BrokerParts): Promise<void> {
    // A loss of this life is told in the next one.
    if ((await member.leave()) && !logs.hasFailed) this.disk.lostTail = null
    await member.stop()
    replicas.close()
    logs.sync()
    logs.checkpoint()
    this.disk.isCleanlyShutDown = !logs.hasFailed
    await registry.close()
  }

  async #start(): Promise<void> {
    const { process, disk, brokerId } = this
    const { loaded, ensemble, observer } = this.#options
    const { config } = loaded
    const { clock, random } = process
    const logger = process.logger()
    const timers = new SimulatedTimers(process)
    const cleanShutdown = disk.isCleanlyShutDown
    disk.isCleanlyShutDown = false
    if (!cleanShutdown && disk.hasLostPower) disk.lostTail = process.life
    disk.hasLostPower = false
    const { lostTail } = disk
    const registry = await openZooKeeperRegistry({
      connect: config.zookeeperConnect as string,
      sessionTimeoutMs: config.zookeeperSessionTimeoutMs,
      connectionTimeoutMs: config.zookeeperConnectionTimeoutMs,
      inFlightMax: config.zookeeperMaxInFlightRequests,
      directory: null,
      sessionKeeper: {
        read: async () => disk.session,
        write: async (_, credentials) => {
          disk.session = credentials
        },
        remove: async () => {
          disk.session = null
        },
      },
      ...{ timers, clock, random, logger },
      connectClient: simulatedConnect(ensemble, process),
    })
    const clusterId = await registry.ensureClusterId(random.bytes(16).toString('base64url'))
    const metadata = new MetadataCache({ clusterId, clock })
    const texts = new LiveBrokerTexts(loaded.explicit)
    const brokerConfigs = new BrokerConfigManager({ brokerId, registry, texts, logger })
    const topicConfigs = new TopicConfigManager({ registry, texts, logger })
    await brokerConfigs.load()
    await topicConfigs.load([...disk.logs.values()].map(({ topic }) => topic))
    const hooks = observer.hooks(this)
    const logs = new SimulatedLogStore({
      process,
      disk,
      hooks: {
        ...hooks,
        advanced: (log) => {
          hooks.advanced(log)
          fetches.advanced()
        },
        failed: (log) => {
          hooks.failed(log)
          // Of the next life, which will not have all that this one had.
          disk.lostTail = process.life + 1
        },
      },
    })
    logs.openAll((topic) => topicConfigs.effective(topic))
    const member = new ClusterMember({
      ...{ brokerId, config, texts, topicConfigs, registry, timers, clock, random, logger },
      listenerName: LISTENER,
      lostTail,
      links: () => this.#links(config.controllerSocketTimeoutMs),
    })
    const replicas: ReplicaManager = createMemberReplicas({
      ...{
        brokerId,
        clusterId,
        config,
        registry,
        topicConfigs,
        member,
        logs,
        clock,
        timers,
        logger,
      },
      openLink: (leader) => this.#openLeaderLink(leader, logs, config.replicaSocketTimeoutMs),
      roleChanged: ({ topic, partition }) => {
        fetches.advanced()
        observer.roleChanged(this, topic, partition)
      },
    })
    const epochOf = (id: number): number => member.brokers.epochOf(id)
    const fetches = new ReplicaFetches({ process, replicas, metadata, epochOf })
    watchConfigs({
      ...{ brokerId, registry, brokerConfigs, topicConfigs, metadata, replicas, logger },
    })
    const updateMetadata = metadataUpdates({
      ...{ metadata, topicConfigs, epochOf },
      removed: () => undefined,
    })
    member.attach({
      replicas,
      updateMetadata: async (request) => {
        await updateMetadata(request)
        observer.told(this)
      },
    })
    this.parts = {
      ...{ timers, registry, metadata, member, replicas, logs, fetches, topicConfigs },
    }
    this.#serve(this.parts)
    this.#keepUp(logs, timers, config.replicaHighWatermarkCheckpointIntervalMs)
    process.trace('joins')
    await member.join([
      {
        listenerName: LISTENER,
        securityProtocol: 'PLAINTEXT',
        host: addressOf(this.brokerId),
        port: PORT,
      },
    ])
    this.hasJoined = true
    process.trace(`joined, epoch ${member.brokerEpoch}`)
  }

  /** Checkpoints, and syncs by chance: what the kernel writes by itself. */
  #keepUp(logs: SimulatedLogStore, timers: SimulatedTimers, everyMs: number): void {
    timers.schedule(everyMs, () => {
      logs.checkpoint()
      if (this.process.random.integer(3) === 0) logs.sync()
      this.#keepUp(logs, timers, everyMs)
    })
  }

  #serve(parts: BrokerParts): void {
    const { network, serveClient } = this.#options
    const { member, fetches } = parts
    const { brokers, controller, controlRequests } = member
    const logger = this.process.logger()
    const services = {
      ...{ brokers, controller, controlRequests, logger },
      forwarding: undefined as never,
    } satisfies ClusterServices
    const handlers = {
      leaderAndIsr: createLeaderAndIsrHandler(services),
      updateMetadata: createUpdateMetadataHandler(services),
      stopReplica: createStopReplicaHandler(services),
      alterPartition: createAlterPartitionHandler(services),
      controlledShutdown: createControlledShutdownHandler(services),
      allocateProducerIds: createAllocateProducerIdsHandler(services),
    }
    answerRequests(network, this.process, 'kafka', (request, caller) => {
      const { name, body } = request
      const context = {
        apiKey: 0,
        apiVersion: 0,
        clientId: caller.peer,
        clientAddress: addressOfName(caller.peer),
        listenerName: LISTENER,
      } as never
      switch (name) {
        case LeaderAndIsr.name:
          return answer(LeaderAndIsr, Version.LEADER_AND_ISR, body, async (asked) =>
            handlers.leaderAndIsr(asked, context),
          )
        case UpdateMetadata.name:
          return answer(UpdateMetadata, Version.UPDATE_METADATA, body, async (asked) =>
            handlers.updateMetadata(asked, context),
          )
        case StopReplica.name:
          return answer(StopReplica, Version.STOP_REPLICA, body, async (asked) =>
            handlers.stopReplica(asked, context),
          )
        case AlterPartition.name:
          return answer(AlterPartition, Version.ALTER_PARTITION, body, async (asked) =>
            handlers.alterPartition(asked, context),
          )
        case ControlledShutdown.name:
          return answer(ControlledShutdown, Version.CONTROLLED_SHUTDOWN, body, async (asked) =>
            handlers.controlledShutdown(asked, context),
          )
        case AllocateProducerIds.name:
          return answer(AllocateProducerIds, Version.ALLOCATE_PRODUCER_IDS, body, async (asked) =>
            handlers.allocateProducerIds(asked, context),
          )
        case Fetch.name:
          return answer(Fetch, Version.FETCH, body, (asked) => fetches.fetch(asked, caller))
        case ListOffsets.name:
          return answer(ListOffsets, Version.LIST_OFFSETS, body, async ({ topics }) => ({
            topics: topics.map((topic) => ({
              name: topic.name,
              partitions: topic.partitions.map((wanted) =>
                this.#offsetOf(parts, topic.name, wanted),
              ),
            })),
          }))
        default:
          return serveClient(this, name, body)
      }
    })
  }

  #offsetOf(
    { replicas }: BrokerParts,
    topic: string,
    wanted: {
      readonly partitionIndex: number
      readonly currentLeaderEpoch: number
      readonly timestamp: number
    },
  ) {
    const { partitionIndex, currentLeaderEpoch: asked } = wanted
    const partition = replicas.partition(topic, partitionIndex)
    const fail = (errorCode: number) => ({ partitionIndex, errorCode, timestamp: -1, offset: -1 })
    if (partition === undefined || !partition.isOnline) {
      return fail(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    }
    if (asked >= 0 && asked < partition.leaderEpoch) return fail(ErrorCode.FENCED_LEADER_EPOCH)
    if (asked > partition.leaderEpoch) return fail(ErrorCode.UNKNOWN_LEADER_EPOCH)
    if (!partition.isLeader) return fail(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    const offset = wanted.timestamp === LATEST ? partition.logEnd : partition.logStart
    return { partitionIndex, errorCode: 0, timestamp: -1, offset }
  }

  #links(requestMs: number): ClusterLinks {
    const open = async (brokerId: number): Promise<Requester> => this.#connect(brokerId, requestMs)
    return {
      toBroker: async (broker) => {
        const requester = await open(broker.brokerId)
        const link: BrokerLink = {
          leaderAndIsr: (request) => ask(requester, LeaderAndIsr, Version.LEADER_AND_ISR, request),
          updateMetadata: (request) =>
            ask(requester, UpdateMetadata, Version.UPDATE_METADATA, request),
          stopReplica: (request) => ask(requester, StopReplica, Version.STOP_REPLICA, request),
          onLost: null,
          close: () => requester.close(),
        }
        requester.onLost = () => link.onLost?.()
        return link
      },
      toController: async (broker) => {
        const requester = await open(broker.brokerId)
        const connection: ControllerConnection = {
          alterPartition: (request) =>
            ask(requester, AlterPartition, Version.ALTER_PARTITION, request),
          controlledShutdown: (request) =>
            ask(requester, ControlledShutdown, Version.CONTROLLED_SHUTDOWN, request),
          allocateProducerIds: (request) =>
            ask(requester, AllocateProducerIds, Version.ALLOCATE_PRODUCER_IDS, request),
          envelope: () => Promise.reject(new Error('clients ask the controller themselves')),
          onLost: null,
          close: () => requester.close(),
        }
        requester.onLost = () => connection.onLost?.()
        return connection
      },
      probe: async ({ brokerId }) => {
        try {
          const requester = await this.#connect(brokerId, PROBE_TIMEOUT_MS, PROBE_TIMEOUT_MS)
          requester.close()
          return false
        } catch (error) {
          return String(error).includes('refused')
        }
      },
      resolve: async (host) => [host],
    }
  }

  #connect(
    brokerId: number,
    requestMs: number,
    connectMs = CONNECT_TIMEOUT_MS,
  ): Promise<Requester> {
    const { network, brokers } = this.#options
    const to = brokers.get(brokerId)
    if (to === undefined) return Promise.reject(new Error(`there is no broker ${brokerId}`))
    const target = { process: to.process, service: 'kafka' }
    return Requester.open(network, this.process, target, { connectMs, requestMs })
  }

  async #openLeaderLink(
    leader: LeaderAddress,
    logs: SimulatedLogStore,
    timeoutMs: number,
  ): Promise<LeaderLink> {
    const requester = await this.#connect(leader.brokerId, timeoutMs)
    return {
      fetch: async (request) => {
        const { response, bytes } = await fetchOver(requester, request)
        return {
          response,
          append: (wanted) => appendAll(logs, bytes, wanted),
          drop: () => undefined,
        }
      },
      offsets: async ({ topic, partition, leaderEpoch }): Promise<LeaderOffsets> => {
        const offset = async (timestamp: number) => {
          const answered = await ask(requester, ListOffsets, Version.LIST_OFFSETS, {
            replicaId: this.brokerId,
            isolationLevel: 0,
            topics: [
              {
                name: topic,
                partitions: [
                  { partitionIndex: partition, currentLeaderEpoch: leaderEpoch, timestamp },
                ],
              },
            ],
          })
          const found = answered.topics[0]?.partitions[0]
          if (found === undefined) throw new Error('an answer without the partition')
          return found
        }
        const [start, end] = await Promise.all([offset(-2), offset(LATEST)])
        const errorCode = start.errorCode === 0 ? end.errorCode : start.errorCode
        return { errorCode, logStart: start.offset, logEnd: end.offset }
      },
      close: () => requester.close(),
    }
  }
}

/** The answer, and the bytes that its records are in. */
async function fetchOver(requester: Requester, request: Parameters<LeaderLink['fetch']>[0]) {
  let bytes = Buffer.alloc(0)
  const kept = {
    request: async (name: string, body: unknown) => {
      bytes = (await requester.request(name, body)) as Buffer<ArrayBuffer>
      return bytes
    },
  }
  const response = await ask(kept, Fetch, Version.FETCH, request)
  return { response, bytes }
}

async function appendAll(
  logs: SimulatedLogStore,
  bytes: Buffer,
  wanted: readonly FetchedRecords[],
): Promise<Int16Array> {
  const codes = await Promise.all(
    wanted.map(
      (one) =>
        new Promise<number>((resolve) => {
          const log: SimulatedLog | undefined = logs.byHandle(one.log)
          if (log === undefined) {
            resolve(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            return
          }
          const { position, leaderEpoch, highWatermark } = one
          const content = decodeRecords(bytes.subarray(position, position + one.bytes))
          log.appendFetched({ ...content, leaderEpoch, highWatermark }, resolve)
        }),
    ),
  )
  return Int16Array.from(codes)
}

export function nameOf(brokerId: number): string {
  return `b${brokerId}`
}

/** Its IP address. */
export function addressOf(brokerId: number): string {
  return `10.0.0.${brokerId}`
}

function addressOfName(name: string): string {
  return /^b\d+$/.test(name) ? addressOf(Number(name.slice(1))) : '10.0.1.1'
}
