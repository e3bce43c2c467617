/**
 * Services on a real embedded registry in a temporary directory, with a host that only remembers
 * what it was asked for, and a way to call a handler through encoded bytes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import type { TopicConfig } from '../../src/config/topic-config.ts'
import { BrokerConfigManager } from '../../src/controller/broker-config-manager.ts'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import { type TopicHost, TopicManager } from '../../src/controller/topic-manager.ts'
import { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import type { BrokerImage, TopicImage } from '../../src/metadata/topic-image.ts'
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type ResponseOf,
} from '../../src/protocol/schema.ts'
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.ts'
import type { JournalFiles } from '../../src/registry/embedded/journal-files.ts'
import { createGroups } from '../../src/server/groups.ts'
import type { RequestContext } from '../../src/server/request-context.ts'
import type { Handler, Services } from '../../src/server/services.ts'
import { ProducerIdManager } from '../../src/transaction/producer-id-manager.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { MemoryInternalLog } from '../support/memory-internal-log.ts'

export class RememberingHost implements TopicHost {
  readonly calls: string[] = []
  readonly configs = new Map<string, TopicConfig>()
  /** Thrown by the next call. */
  failure: Error | null = null
  /** What the next calls wait for. */
  gate: Promise<void> = Promise.resolve()

  async openTopic(image: TopicImage, config: TopicConfig, first = 0): Promise<void> {
    await this.#call(`open ${image.name} ${first}-${image.partitions.length - 1}`)
    this.configs.set(image.name, config)
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#call(`delete ${name}`)
    this.configs.delete(name)
  }

  async reconfigureTopic(name: string, config: TopicConfig): Promise<void> {
    await this.#call(`reconfigure ${name}`)
    this.configs.set(name, config)
  }

  async #call(what: string): Promise<void> {
    this.calls.push(what)
    const { failure } = this
    this.failure = null
    await this.gate
    if (failure) throw failure
  }
}

export interface TestServices extends Services {
  readonly host: RememberingHost
  readonly clock: ManualClock
  /** Closes the registry and starts anew on the same directory. */
  restart(): Promise<TestServices>
  close(): Promise<void>
}

export const CLUSTER_ID = 'AbCdEfGhIjKlMnOpQrStUv'

export function brokerImage(brokerId: number, listeners = ['PLAINTEXT']): BrokerImage {
  const endpoints = listeners.map(
    (name, i) => [name, { host: `broker-${brokerId}`, port: 9092 + i }] as const,
  )
  return { brokerId, brokerEpoch: 1, rack: `rack-${brokerId}`, endpoints: new Map(endpoints) }
}

export async function createServices(
  properties: Record<string, string> = {},
  options: {
    directory?: string
    brokers?: readonly BrokerImage[]
    files?: JournalFiles
  } = {},
): Promise<TestServices> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), 'server-')))
  const loaded = loadBrokerConfig(new Map(Object.entries(properties)))
  const { config } = loaded
  const files = options.files ? { files: options.files } : {}
  const registry = await openEmbeddedRegistry({ directory, logger: silentLogger, ...files })
  const metadata = new MetadataCache({ clusterId: await registry.ensureClusterId(CLUSTER_ID) })
  const brokerId = 1
  metadata.setBrokers(options.brokers ?? [brokerImage(brokerId)])
  metadata.setController(brokerId)
  await registry.electController({ brokerId, timestampMs: 0 })
  const texts = new LiveBrokerTexts(loaded.explicit)
  const clock = new ManualClock()
  const timers = new TimerQueue(clock)
  const random = new SeededRandom(7)
  const host = new RememberingHost()
  const logger = silentLogger
  const brokerConfigs = new BrokerConfigManager({ brokerId, registry, texts, logger })
  await brokerConfigs.load()
  const topicManager = new TopicManager({
    registry,
    metadata,
    host,
    config,
    texts,
    random,
    timers,
    logger,
  })
  brokerConfigs.onChange(() => topicManager.reconfigureAll())
  await topicManager.load()
  const producerIds = new ProducerIdManager({ registry, brokerId })
  const log = new MemoryInternalLog()
  const { groups, offsetStore } = createGroups({
    config,
    metadata,
    log,
    clock,
    timers,
    random,
    logger,
  })
  return {
    brokerId,
    config,
    texts,
    metadata,
    registry,
    topicManager,
    brokerConfigs,
    producerIds,
    groups,
    offsetStore,
    clock,
    random,
    timers,
    logger,
    host,
    async restart() {
      timers.close()
      await registry.close()
      return createServices(properties, { ...options, directory })
    },
    async close() {
      timers.close()
      await registry.close()
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
