/** `kafka-console-consumer --zookeeper`: reads in a group of the 0.8 era. */
import { randomInt } from 'node:crypto'
import type { ConsumerOptions } from '../../client/consumer.ts'
import type { ClusterRegistry } from '../../registry/cluster-registry.ts'
import type { RecordPrinter } from '../console/record-printer.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import { topicFilter } from '../kit/topic-filter.ts'
import { withRegistry } from '../kit/with-registry.ts'
import { type Subscription, ZooKeeperConsumer } from './zookeeper-consumer.ts'

const POLL_MS = 1000
const POLL_RECORDS = 2000
const SESSION_TIMEOUT_MS = 6000
const COMMIT_INTERVAL_MS = 60_000
const BACKOFF_MS = 2000

export interface ZooKeeperSource {
  /** `host:port/chroot` */
  readonly connect: string
  readonly subscription: Subscription
  /** null: a group of its own, of which nothing is left when it ends. */
  readonly group: string | null
  readonly fromBeginning: boolean
  /** Forgets first what the group has read. */
  readonly deletesOffsets: boolean
  /** In the names of 0.8. */
  readonly properties: ReadonlyMap<string, string>
  /** -1: no end. */
  readonly most: number
  /** -1: waits for ever. */
  readonly timeoutMs: number
}

function integerOf(properties: ReadonlyMap<string, string>, key: string): number | undefined {
  const text = properties.get(key)
  if (text === undefined) return undefined
  if (/^-?\d{1,15}$/.test(text)) return Number(text)
  throw new ToolError(`${key} wants a whole number, not ${JSON.stringify(text)}`)
}

function switchOf(properties: ReadonlyMap<string, string>, key: string): boolean | undefined {
  const text = properties.get(key)
  if (text === undefined) return undefined
  if (text === 'true' || text === 'false') return text === 'true'
  throw new ToolError(`${key} is true or false, not ${JSON.stringify(text)}`)
}

/** Properties that change what a group means, and of which only one value is known here. */
const ONLY: Readonly<Record<string, string>> = {
  'partition.assignment.strategy': 'range',
  'offsets.storage': 'zookeeper',
}

/** How records are fetched. Throws ToolError. */
function fetchingOf(properties: ReadonlyMap<string, string>) {
  for (const [key, only] of Object.entries(ONLY)) {
    const text = properties.get(key) ?? only
    if (text !== only) throw new ToolError(`${key} is ${only} with --zookeeper, not ${text}`)
  }
  const options: { -readonly [K in keyof ConsumerOptions]?: ConsumerOptions[K] } = {}
  const set = (key: string, name: 'minBytes' | 'maxWaitMs' | 'partitionMaxBytes'): void => {
    const value = integerOf(properties, key)
    if (value !== undefined) options[name] = value
  }
  set('fetch.min.bytes', 'minBytes')
  set('fetch.wait.max.ms', 'maxWaitMs')
  set('fetch.message.max.bytes', 'partitionMaxBytes')
  const requestTimeoutMs = integerOf(properties, 'socket.timeout.ms')
  if (requestTimeoutMs !== undefined) options.requestTimeoutMs = requestTimeoutMs
  return { ...options, clientId: properties.get('client.id') ?? 'console-consumer' }
}

function resetOf(source: ZooKeeperSource): 'earliest' | 'latest' {
  const text = source.properties.get('auto.offset.reset')
  if (text === undefined) return source.fromBeginning ? 'earliest' : 'latest'
  const known = { smallest: 'earliest', largest: 'latest' } as const
  const reset = Object.entries({ ...known, earliest: 'earliest', latest: 'latest' } as const)
  const found = reset.find(([name]) => name === text)?.[1]
  if (found === undefined) {
    throw new ToolError(`auto.offset.reset is smallest or largest, not ${JSON.stringify(text)}`)
  }
  if (source.fromBeginning && found === 'latest') {
    throw new ToolError(`--from-beginning and auto.offset.reset=${text} exclude each other`)
  }
  return found
}

/** Reads until the end that was asked for; the exit status. Throws ToolError. */
export async function consumeThroughZooKeeper(
  source: ZooKeeperSource,
  printer: RecordPrinter,
  io: ToolIo,
): Promise<number> {
  const { properties } = source
  const offsetReset = resetOf(source)
  const fetching = fetchingOf(properties)
  const { subscription } = source
  if (subscription.kind !== 'static') topicFilter(subscription.pattern) // Is it an expression?
  const commits = switchOf(properties, 'auto.commit.enable') ?? true
  const intervalMs = integerOf(properties, 'auto.commit.interval.ms') ?? COMMIT_INTERVAL_MS
  const group = source.group ?? `console-consumer-${randomInt(100_000)}`
  const contact = {
    connect: source.connect,
    sessionTimeoutMs: integerOf(properties, 'zookeeper.session.timeout.ms') ?? SESSION_TIMEOUT_MS,
    connectionTimeoutMs: integerOf(properties, 'zookeeper.connection.timeout.ms'),
  }
  const work = async (registry: ClusterRegistry): Promise<number> => {
    if (source.deletesOffsets) await registry.deleteConsumerGroup(group)
    const consumer = await ZooKeeperConsumer.open({
      ...{ registry, group, subscription, offsetReset, fetching },
      consumerId: properties.get('consumer.id'),
      autoCommitIntervalMs: commits ? intervalMs : null,
      rebalanceBackoffMs: integerOf(properties, 'rebalance.backoff.ms') ?? BACKOFF_MS,
      excludeInternalTopics: switchOf(properties, 'exclude.internal.topics') ?? true,
    })
    const stop = (): void => {
      // What it rejects with is seen by the second call below.
      consumer.close().catch(() => undefined)
    }
    io.signal.addEventListener('abort', stop)
    try {
      return await consume(consumer, printer, source, io)
    } finally {
      io.signal.removeEventListener('abort', stop)
      await consumer.close()
      if (source.group === null) await registry.deleteConsumerGroup(group)
      io.warn(`Consumed ${printer.printed} messages`)
    }
  }
  return await withRegistry(contact, io, work, { endsInOrder: true })
}

async function consume(
  consumer: ZooKeeperConsumer,
  printer: RecordPrinter,
  { most, timeoutMs }: ZooKeeperSource,
  io: ToolIo,
): Promise<number> {
  let lastMs = performance.now()
  while (!io.signal.aborted && printer.printed !== most) {
    const leftMs = timeoutMs < 0 ? POLL_MS : lastMs + timeoutMs - performance.now()
    const room = most < 0 ? POLL_RECORDS : Math.min(POLL_RECORDS, most - printer.printed)
    const records = await consumer.poll(Math.max(0, Math.min(POLL_MS, leftMs)), room)
    if (records.length > 0) {
      await printer.print(records)
      lastMs = performance.now()
    } else if (timeoutMs >= 0 && performance.now() - lastMs >= timeoutMs) {
      throw new ToolError(`no record came in ${timeoutMs} ms`)
    }
  }
  return 0
}
