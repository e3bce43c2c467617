/** Options of a Consumer from properties in Apache Kafka's names. */
import type { ConsumerOptions } from '../../client/consumer.ts'
import { clientOptionsOf } from './connection.ts'
import { ToolError } from './tool.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const NUMBERS = {
  'auto.commit.interval.ms': 'autoCommitIntervalMs',
  'session.timeout.ms': 'sessionTimeoutMs',
  'heartbeat.interval.ms': 'heartbeatIntervalMs',
  'max.poll.interval.ms': 'rebalanceTimeoutMs',
  'fetch.min.bytes': 'minBytes',
  'fetch.max.bytes': 'maxBytes',
  'fetch.max.wait.ms': 'maxWaitMs',
  'max.partition.fetch.bytes': 'partitionMaxBytes',
  'max.poll.records': 'maxPollRecords',
  'default.api.timeout.ms': 'defaultApiTimeoutMs',
} as const satisfies Record<string, keyof ConsumerOptions>

const SWITCHES = {
  'enable.auto.commit': 'autoCommit',
  'check.crcs': 'checkCrcs',
  'allow.auto.create.topics': 'allowAutoTopicCreation',
  'exclude.internal.topics': 'excludeInternalTopics',
} as const satisfies Record<string, keyof ConsumerOptions>

const TEXTS = {
  'group.id': 'groupId',
  'group.instance.id': 'groupInstanceId',
  'client.rack': 'clientRack',
} as const satisfies Record<string, keyof ConsumerOptions>

const ASSIGNORS: readonly [RegExp, 'range' | 'roundrobin' | 'cooperative-sticky'][] = [
  [/(?:^|\.)RangeAssignor$|^range$/, 'range'],
  [/(?:^|\.)RoundRobinAssignor$|^roundrobin$/, 'roundrobin'],
  [/(?:^|\.)CooperativeStickyAssignor$|^cooperative-sticky$/, 'cooperative-sticky'],
]

/** `org.apache.kafka.clients.consumer.RangeAssignor` or `range`. Throws ToolError. */
export function assignorOf(text: string): 'range' | 'roundrobin' | 'cooperative-sticky' {
  const found = ASSIGNORS.find(([pattern]) => pattern.test(text.trim()))
  if (found !== undefined) return found[1]
  throw new ToolError(
    `there is no assignor ${JSON.stringify(text)}`,
    'there are RangeAssignor, RoundRobinAssignor and CooperativeStickyAssignor',
  )
}

function resetOf(text: string): 'earliest' | 'latest' | 'none' {
  if (text === 'earliest' || text === 'smallest') return 'earliest'
  if (text === 'latest' || text === 'largest') return 'latest'
  if (text === 'none') return 'none'
  throw new ToolError(`auto.offset.reset is earliest, latest or none, not ${JSON.stringify(text)}`)
}

/** Properties that are none of a consumer's are left aside. Throws ToolError. */
export function consumerOptionsOf(
  properties: ReadonlyMap<string, string>,
  bootstrapServers?: string,
): ConsumerOptions {
  const options: Mutable<ConsumerOptions> = { ...clientOptionsOf(properties, bootstrapServers) }
  for (const [key, name] of Object.entries(NUMBERS)) {
    const text = properties.get(key)
    if (text === undefined) continue
    if (!/^\d{1,15}$/.test(text)) {
      throw new ToolError(`${key} wants a whole number, not ${JSON.stringify(text)}`)
    }
    options[name] = Number(text)
  }
  for (const [key, name] of Object.entries(SWITCHES)) {
    const text = properties.get(key)
    if (text === undefined) continue
    if (text !== 'true' && text !== 'false') {
      throw new ToolError(`${key} is true or false, not ${JSON.stringify(text)}`)
    }
    options[name] = text === 'true'
  }
  for (const [key, name] of Object.entries(TEXTS)) {
    const text = properties.get(key)
    if (text !== undefined) options[name] = text
  }
  const reset = properties.get('auto.offset.reset')
  if (reset !== undefined) options.autoOffsetReset = resetOf(reset)
  const isolation = properties.get('isolation.level')
  if (isolation === 'read_committed' || isolation === 'read_uncommitted') {
    options.isolationLevel = isolation
  } else if (isolation !== undefined) {
    throw new ToolError(
      `isolation.level is read_committed or read_uncommitted, not ${JSON.stringify(isolation)}`,
    )
  }
  const assignors = properties.get('partition.assignment.strategy')
  if (assignors !== undefined) options.assignors = assignors.split(',').map(assignorOf)
  return options
}
