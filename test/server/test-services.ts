/**
 * Services on a real embedded registry in a temporary directory, with a host that only remembers
 * what it was asked for, and a way to call a handler through encoded bytes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ReplicationRates } from '../../src/config/broker-quotas.ts'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import type { TopicConfig } from '../../src/config/topic-config.ts'
import { BrokerConfigManager } from '../../src/controller/broker-config-manager.ts'
import type { BrokerLink } from '../../src/controller/broker-link.ts'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import { TopicConfigManager } from '../../src/controller/topic-config-manager.ts'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import type { BrokerImage } from '../../src/metadata/topic-image.ts'
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import type {
  LeaderAndIsrRequest,
  LeaderAndIsrResponse,
} from '../../src/protocol/messages/leader-and-isr.ts'
import type {
  StopReplicaRequest,
  StopReplicaResponse,
} from '../../src/protocol/messages/stop-replica.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type ResponseOf,
} from '../../src/protocol/schema.ts'
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.ts'
import type { JournalFiles } from '../../src/registry/embedded/journal-files.ts'
import { ClusterMember, type MemberReplicas } from '../../src/server/cluster/cluster-member.ts'
import { watchConfigs } from '../../src/server/cluster/config-watch.ts'
import { applyUpdateMetadata } from '../../src/server/cluster/metadata-update.ts'
import { ControllerForwarding } from '../../src/server/controller-forwarding.ts'
import { createGroups } from '../../src/server/groups.ts'
import type { RequestContext } from '../../src/server/request-context.ts'
import { Responder } from '../../src/server/responder.ts'
import type { Handler, Services } from '../../src/server/services.ts'
import { TopicCreator } from '../../src/server/topic-creator.ts'
import { ProducerIdManager } from '../../src/transaction/producer-id-manager.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { MemoryInternalLog } from '../support/memory-internal-log.ts'
import { until } from '../support/until.ts'

/** The replicas of a broker that only remembers what it was told. */
export class RememberingReplicas implements MemberReplicas {
  /** `open t 0-1`, `delete t`, `reconfigure t`. */
  readonly calls: string[] = []
  readonly configs = new Map<string, TopicConfig>()
  readonly leases = { lost: () => undefined, regained: () => undefined }
  rates: ReplicationRates | null = null
  /** Topics whose logs do not open. */
  readonly broken = new Set<string>()
  /** What the next calls wait for. */
  gate: Promise<void> = Promise.resolve()
  readonly #configOf: (topic: string) => TopicConfig

  constructor(configOf: (topic: string) => TopicConfig) {
    this.#configOf = configOf
  }

  setReplicationRates(rates: ReplicationRates): void {
    this.rates = rates
  }

  async applyLeaderAndIsr(request: LeaderAndIsrRequest): Promise<LeaderAndIsrResponse> {
    const topics = request.topicStates.map(({ topicName, topicId, partitionStates }) => {
      const added = partitionStates.filter(({ isNew }) => isNew).map((one) => one.partitionIndex)
      if (added.length > 0) this.calls.push(`open ${topicName} ${added[0]}-${added.at(-1)}`)
      this.configs.set(topicName, this.#configOf(topicName))
      const isBroken = this.broken.has(topicName)
      const errorCode = isBroken ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE
      return {
        topicId,
        partitionErrors: partitionStates.map(({ partitionIndex }) => ({
          ...{ topicName, partitionIndex, errorCode },
        })),
      }
    })
    await this.gate
    return { errorCode: ErrorCode.NONE, partitionErrors: [], topics }
  }

  async stopReplicas(request: StopReplicaRequest): Promise<StopReplicaResponse> {
    const partitionErrors = []
    for (const { topicName, partitionStates } of request.topicStates) {
      const isBroken = this.broken.has(topicName)
      const errorCode = isBroken ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE
      if (partitionStates.some((one) => one.deletePartition)) this.calls.push(`delete ${topicName}`)
      this.configs.delete(topicName)
      for (const { partitionIndex } of partitionStates) {
        partitionErrors.push({ topicName, partitionIndex, errorCode })
      }
    }
    await this.gate
    return { errorCode: ErrorCode.NONE, partitionErrors }
  }

  stopLeading(): void {
    this.calls.push('stop leading')
  }

  async reconfigureTopic(topic: string, config: TopicConfig): Promise<void> {
    this.calls.push(`reconfigure ${topic}`)
    this.configs.set(topic, config)
  }
}

export interface TestServices extends Services {
  readonly replicas: RememberingReplicas
  readonly clock: ManualClock
  readonly member: ClusterMember
  /** Has exactly these other brokers in the cluster, and waits until this one knows it. */
  setOthers(others: readonly BrokerImage[]): Promise<void>
  /** Closes the registry and starts anew on the same directory. */
  restart(): Promise<TestServices>
  close(): Promise<void>
}

export const CLUSTER_ID = 'AbCdEfGhIjKlMnOpQrStUv'
const BROKER_ID = 1

export function brokerImage(brokerId: number, listeners = ['PLAINTEXT']): BrokerImage {
  const endpoints = listeners.map(
    (name, i) => [name, { host: `broker-${brokerId}`, port: 9092 + i }] as const,
  )
  return { brokerId, brokerEpoch: 1, rack: `rack-${brokerId}`, endpoints: new Map(endpoints) }
}

function endpointsOf({ endpoints }: BrokerImage) {
  return [...endpoints].map(([listenerName, { host, port }]) => ({
    ...{ listenerName, host, port, securityProtocol: 'PLAINTEXT' },
  }))
}

/** A link to a broker that agrees to everything. */
function agreeingLink(configOf: (topic: string) => TopicConfig): BrokerLink {
  const replicas = new RememberingReplicas(configOf)
  return {
    leaderAndIsr: (request) => replicas.applyLeaderAndIsr(request),
    stopReplica: (request) => replicas.stopReplicas(request),
    updateMetadata: async () => ({ errorCode: ErrorCode.NONE }),
    onLost: null,
    close: () => undefined,
  }
}

export async function createServices(
  properties: Record<string, string> = {},
  options: {
    directory?: string
    /** Those of the cluster; the first is this one. */
    brokers?: readonly BrokerImage[]
    files?: JournalFiles
  } = {},
): Promise<TestServices> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'server-')))
  const loaded = loadBrokerConfig(new Map(Object.entries(properties)))
  const [own = brokerImage(BROKER_ID), ...others] = options.brokers ?? []
  const brokerId = BROKER_ID
  const config = { ...loaded.config, brokerRack: own.rack }
  const files = options.files ? { files: options.files } : {}
  const registry = await openEmbeddedRegistry({ directory, logger: silentLogger, ...files })
  const clock = new ManualClock()
  const clusterId = await registry.ensureClusterId(CLUSTER_ID)
  const metadata = new MetadataCache({ clusterId, clock })
  const texts = new LiveBrokerTexts(loaded.explicit)
  const timers = new TimerQueue(clock)
  const random = new SeededRandom(7)
  const logger = silentLogger
  const brokerConfigs = new BrokerConfigManager({ brokerId, registry, texts, logger })
  await brokerConfigs.load()
  const topicConfigs = new TopicConfigManager({ registry, texts, logger })
  const configOf = (topic: string): TopicConfig => topicConfigs.effective(topic)
  const replicas = new RememberingReplicas(configOf)
  const member = new ClusterMember({
    ...{ brokerId, config, texts, topicConfigs, registry, clock, timers, random, logger },
    ...{ listenerName: 'PLAINTEXT', lostTail: null },
    links: () => ({
      toBroker: async () => agreeingLink(configOf),
      toController: () => Promise.reject(new Error('this broker is the controller')),
      probe: async () => false,
      resolve: async () => [],
    }),
  })
  const log = new MemoryInternalLog()
  const { groups, offsetStore } = createGroups({
    ...{ config, metadata, log, clock, timers, random, logger },
  })
  member.attach({
    replicas,
    updateMetadata: async (request) => {
      await topicConfigs.load(request.topicStates.map(({ topicName }) => topicName))
      const removed = applyUpdateMetadata(request, {
        metadata,
        epochOf: (id) => member.brokers.epochOf(id),
        configsOf: (topic) => topicConfigs.configsOf(topic),
      })
      for (const topic of removed) topicConfigs.forget(topic)
    },
  })
  const unwatch = watchConfigs({
    ...{ brokerId, registry, brokerConfigs, topicConfigs, metadata, replicas, logger },
  })
  const setOthers = async (images: readonly BrokerImage[]): Promise<void> => {
    const wanted = [own, ...images].map((image) => image.brokerId).sort()
    for (const { brokerId: id } of metadata.brokers) {
      if (!wanted.includes(id)) await registry.unregisterBroker(id)
    }
    for (const image of images) {
      const endpoints = endpointsOf(image)
      const registration = { brokerId: image.brokerId, rack: image.rack, endpoints, timestampMs: 1 }
      await registry.registerBroker(registration)
    }
    await until('the brokers are known', () => {
      return metadata.brokers.map((broker) => broker.brokerId).join() === wanted.join()
    })
  }
  await member.join(endpointsOf(own))
  if (others.length > 0) await setOthers(others)
  const { controller, channel } = member
  const responder = new Responder(0)
  const forwarding = new ControllerForwarding({
    ...{ controller, channel, responder, timeoutMs: 1000, clientId: 'test' },
  })
  const stop = async (): Promise<void> => {
    unwatch()
    await member.stop()
    timers.close()
    await registry.close()
  }
  return {
    ...{ brokerId, config, texts, metadata, registry, controller, topicConfigs, brokerConfigs },
    ...{ groups, offsetStore, clock, random, timers, logger, replicas, member, setOthers },
    topics: new TopicCreator({ controller, forwarding }),
    producerIds: new ProducerIdManager({
      allocate: async () => {
        const { producerIdStart: start, producerIdLen } = await channel.allocateProducerIds({
          ...{ brokerId, brokerEpoch: member.brokerEpoch },
        })
        return { start, end: start + producerIdLen - 1 }
      },
    }),
    async restart() {
      await stop()
      return createServices(properties, { ...options, directory })
    },
    async close() {
      await stop()
      await rm(directory, { recursive: true })
    },
  }
}

export function contextOf(
  api: ApiSchema,
  apiVersion: number,
  listenerName = 'PLAINTEXT',
): RequestContext {
  return {
    apiKey: api.key,
    apiVersion,
    correlationId: 1,
    clientId: 'test',
    clientAddress: '127.0.0.1',
    listenerName,
    clientSoftware: null,
  }
}

export function versionsOf(api: ApiSchema): number[] {
  const { min, max } = parseVersions(api.versions)
  return Array.from({ length: max - min + 1 }, (_, i) => min + i)
}

/** Calls a handler with a request as a client of that version sends it; what the client reads. */
export async function call<A extends ApiSchema>(
  api: A,
  handler: Handler<A>,
  version: number,
  request: RequestInput<A>,
  context: RequestContext = contextOf(api, version),
): Promise<ResponseOf<A>> {
  const writer = new MessageWriter()
  encodeRequest(api, version, writer, request)
  const sent = Buffer.from(writer.written)
  const reader = new MessageReader().reset(sent, 0, sent.length, false)
  const response = await handler(decodeRequest(api, version, reader), context)
  writer.reset()
  encodeResponse(api, version, writer, response)
  const answered = Buffer.from(writer.written)
  reader.reset(answered, 0, answered.length, false)
  const decoded = decodeResponse(api, version, reader)
  if (reader.at !== answered.length) throw new Error('the answer is longer than its schema')
  return decoded
}
