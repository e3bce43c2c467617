/** A broker inside another program: the real engine on a free port, gone when it is closed. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Broker } from './broker.ts'
import { loadBrokerConfig } from './config/load-broker-config.ts'
import type { Clock } from './util/clock.ts'
import { type Logger, silentLogger } from './util/logger.ts'

export interface TopicOptions {
  /** The broker's `num.partitions` if it is not given. */
  readonly partitions?: number
  /** Topic configs by Kafka's names, as in `{ 'cleanup.policy': 'compact' }`. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
}

export interface CreateBrokerOptions {
  /** Topics to create before the promise resolves: their names, or settings by name. */
  readonly topics?: readonly string[] | Readonly<Record<string, TopicOptions>>
  /** Broker configs by Kafka's names, as in `{ 'auto.create.topics.enable': false }`. */
  readonly config?: Readonly<Record<string, string | number | boolean>>
  /** 127.0.0.1 if it is not given. */
  readonly host?: string
  /** 0, a free one, if it is not given. */
  readonly port?: number
  /** A folder that is kept; without it a temporary one that `close` removes. */
  readonly dataDirectory?: string
  /** Worker threads for the logs; 0, none, if it is not given. */
  readonly shards?: number
  /** Time for retention, sessions and time-outs: a ManualClock moves it without waiting. */
  readonly clock?: Clock
  /** Silent if it is not given. */
  readonly logger?: Logger
}

export interface EmbeddedBroker extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** `host:port`, for the `bootstrap.servers` of any client. */
  readonly bootstrapServers: string
  readonly dataDirectory: string
  /** Throws an Error that says why a topic cannot be. */
  createTopic(name: string, options?: TopicOptions): Promise<void>
  /** Answers what is in flight, stops, and removes a temporary folder. May be called again. */
  close(): Promise<void>
}

function newTopic(name: string, options: TopicOptions) {
  return {
    name,
    numPartitions: options.partitions ?? -1,
    replicationFactor: -1,
    assignments: [],
    configs: Object.entries(options.config ?? {}).map(([key, value]) => ({
      name: key,
      value: String(value),
    })),
  }
}

function topicsOf(topics: CreateBrokerOptions['topics']) {
  if (topics === undefined) return []
  if (Array.isArray(topics)) return topics.map((name: string) => newTopic(name, {}))
  return Object.entries(topics).map(([name, options]) => newTopic(name, options))
}

/**
 * Starts a broker in this process; it serves when the promise resolves. Rejects with an Error of
 * one line when a setting is wrong, the port is in use or a topic cannot be created.
 */
export async function createBroker(options: CreateBrokerOptions = {}): Promise<EmbeddedBroker> {
  const host = options.host ?? '127.0.0.1'
  const properties = new Map<string, string>([
    ['listeners', `PLAINTEXT://${host}:${options.port ?? 0}`],
    ['shardlog.shards', String(options.shards ?? 0)],
    // A group of a test has no members to wait for.
    ['group.initial.rebalance.delay.ms', '0'],
  ])
  for (const [key, value] of Object.entries(options.config ?? {})) {
    properties.set(key, String(value))
  }
  const isTemporary = options.dataDirectory === undefined && !properties.has('log.dirs')
  const directory = isTemporary
    ? await mkdtemp(join(tmpdir(), 'shardlog-'))
    : (options.dataDirectory ?? null)
  if (directory !== null) properties.set('log.dirs', directory)
  const remove = async (): Promise<void> => {
    if (isTemporary && directory !== null) await rm(directory, { recursive: true, force: true })
  }
  let broker: Broker | null = null
  try {
    const config = loadBrokerConfig(properties)
    const unknown = config.unknownKeys[0]
    if (unknown !== undefined) throw new Error(`unknown broker config ${unknown}`)
    broker = await Broker.start({
      config,
      logger: options.logger ?? silentLogger,
      ...(options.clock === undefined ? {} : { clock: options.clock }),
    })
    const topics = topicsOf(options.topics)
    if (topics.length > 0) await broker.createTopics(topics)
  } catch (error) {
    await broker?.stop()
    await remove()
    throw error
  }
  const running = broker
  const { port } = running.listeners[0] as { port: number }
  let closing: Promise<void> | null = null
  const close = (): Promise<void> => {
    closing ??= running.stop().then(remove)
    return closing
  }
  return {
    host,
    port,
    bootstrapServers: `${host}:${port}`,
    dataDirectory: running.dataDirectory,
    createTopic: (name, topic = {}) => running.createTopics([newTopic(name, topic)]),
    close,
    [Symbol.asyncDispose]: close,
  }
}
