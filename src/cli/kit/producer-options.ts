/** Options of a Producer from properties in Apache Kafka's names. */
import type { CompressionType } from '../../client/codecs.ts'
import type { PartitionerName } from '../../client/partitioner.ts'
import type { ProducerOptions } from '../../client/producer.ts'
import { clientOptionsOf } from './connection.ts'
import { ToolError } from './tool.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const NUMBERS = {
  'linger.ms': 'lingerMs',
  'batch.size': 'batchBytes',
  'max.in.flight.requests.per.connection': 'maxInFlight',
  'delivery.timeout.ms': 'deliveryTimeoutMs',
  'max.block.ms': 'maxBlockMs',
  'buffer.memory': 'bufferBytes',
  'max.request.size': 'maxRequestBytes',
} as const satisfies Record<string, keyof ProducerOptions>

const CODECS: ReadonlySet<string> = new Set(['none', 'gzip', 'snappy', 'lz4', 'zstd'])

/** Throws ToolError. */
export function codecNamed(text: string, what: string): CompressionType {
  const name = text.toLowerCase()
  if (CODECS.has(name)) return name as CompressionType
  throw new ToolError(`${what} is none, gzip, snappy, lz4 or zstd, not ${JSON.stringify(text)}`)
}

/** `0`, `1`, `-1` or `all`. Throws ToolError. */
export function acksOf(text: string, what: string): 0 | 1 | -1 {
  if (text === '0') return 0
  if (text === '1') return 1
  if (text === '-1' || text === 'all') return -1
  throw new ToolError(`${what} is 0, 1 or all, not ${JSON.stringify(text)}`)
}

/** By the names of Apache's classes. */
const PARTITIONERS: readonly [RegExp, PartitionerName][] = [
  [/(?:^|\.)RoundRobinPartitioner$|^round-?robin$/, 'round-robin'],
  [/(?:^|\.)(?:UniformSticky|Default)Partitioner$|^sticky$/, 'sticky'],
]

/** Throws ToolError. */
function partitionerNamed(text: string): PartitionerName {
  const found = PARTITIONERS.find(([pattern]) => pattern.test(text.trim()))
  if (found !== undefined) return found[1]
  throw new ToolError(
    `there is no partitioner ${JSON.stringify(text)}`,
    'there are RoundRobinPartitioner and DefaultPartitioner',
  )
}

/** Properties that are none of a producer's are left aside. Throws ToolError. */
export function producerOptionsOf(
  properties: ReadonlyMap<string, string>,
  bootstrapServers?: string,
): ProducerOptions {
  const options: Mutable<ProducerOptions> = { ...clientOptionsOf(properties, bootstrapServers) }
  for (const [key, name] of Object.entries(NUMBERS)) {
    const text = properties.get(key)
    if (text === undefined) continue
    if (!/^\d{1,15}$/.test(text)) {
      throw new ToolError(`${key} wants a whole number, not ${JSON.stringify(text)}`)
    }
    options[name] = Number(text)
  }
  const acks = properties.get('acks')
  if (acks !== undefined) options.acks = acksOf(acks, 'acks')
  const partitioner = properties.get('partitioner.class')
  if (partitioner !== undefined) options.partitioner = partitionerNamed(partitioner)
  const compression = properties.get('compression.type')
  if (compression !== undefined) options.compression = codecNamed(compression, 'compression.type')
  const idempotence = properties.get('enable.idempotence')
  if (idempotence === 'true' || idempotence === 'false') {
    options.idempotent = idempotence === 'true'
  } else if (idempotence !== undefined) {
    throw new ToolError(`enable.idempotence is true or false, not ${JSON.stringify(idempotence)}`)
  }
  if (properties.has('transactional.id')) {
    throw new ToolError('transactional.id is set, but transactions are not supported')
  }
  return options
}
