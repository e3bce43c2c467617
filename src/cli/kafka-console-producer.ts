/** `kafka-console-producer`: sends what is typed, line by line. */
import { Producer, type ProducerOptions } from '../client/producer.ts'
import { lineReader, linesOf } from './console/line-reader.ts'
import { keyValuesWithBlanks } from './kafka-console-consumer.ts'
import { BOOTSTRAP_SERVER, keyValues, readPropertiesFile } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { acksOf, codecNamed, producerOptionsOf } from './kit/producer-options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { openCluster } from './kit/with-admin.ts'

const DEFAULT_LINGER_MS = 5
/** Failures that are told one by one. */
const TOLD_MAX = 10

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': {
    argument: 'host:port,...',
    help: 'The older name of --bootstrap-server; records without a key then go round all partitions.',
  },
  topic: { argument: 'topic', help: 'The topic to send to.', required: true },
  'producer-property': {
    argument: 'key=value',
    help: 'A property of the producer.',
    repeatable: true,
  },
  'producer.config': { argument: 'file', help: 'Properties of the producer.' },
  property: {
    argument: 'key=value',
    help: 'A property of the line reader: parse.key, key.separator, parse.headers, headers.delimiter, headers.separator, headers.key.separator, ignore.error, null.marker.',
    repeatable: true,
  },
  'reader-config': { argument: 'file', help: 'Properties of the line reader.' },
  'line-reader': { argument: 'class', help: 'Only the one that reads lines.' },
  'batch-size': { argument: 'bytes', help: 'Size of a batch.', default: '16384' },
  'compression-codec': {
    argument: 'none|gzip|snappy|lz4|zstd',
    argumentOptional: true,
    help: 'Codec of the batches; gzip if it is named without one.',
  },
  'request-required-acks': { argument: '0|1|all', help: 'Who must have a record.', default: 'all' },
  'request-timeout-ms': { argument: 'ms', help: 'How long an answer may take.', default: '1500' },
  'message-send-max-retries': { argument: 'count', help: 'Without effect: --timeout bounds it.' },
  'retry-backoff-ms': { argument: 'ms', help: 'Wait before a repetition.', default: '100' },
  'max-block-ms': { argument: 'ms', help: 'How long to wait for the topic.', default: '60000' },
  'max-memory-bytes': { argument: 'bytes', help: 'Memory for records.', default: '33554432' },
  'max-partition-memory-bytes': {
    argument: 'bytes',
    help: 'The older name of --batch-size.',
  },
  'metadata-expiry-ms': { argument: 'ms', help: 'Age of metadata.', default: '300000' },
  'socket-buffer-size': { argument: 'bytes', help: 'Without effect.' },
  sync: { help: 'Waits for the answer to each record before the next.' },
  timeout: { argument: 'ms', help: 'How long a batch waits for more records.', default: '5' },
  'key-serializer': { argument: 'class', help: 'Without effect.', era: 'Lines are bytes.' },
  'value-serializer': { argument: 'class', help: 'Without effect.', era: 'Lines are bytes.' },
  'queue-size': { argument: 'count', help: 'Without effect.', era: 'Without effect.' },
  'queue-enqueuetimeout-ms': { argument: 'ms', help: 'Without effect.', era: 'Without effect.' },
  'metadata-fetch-timeout-ms': { argument: 'ms', help: 'As --max-block-ms.', era: '0.8' },
  'new-producer': { help: 'Without effect.', era: 'There is one producer.' },
} as const

type Options = ParsedOptions<keyof typeof options>
type Mutable<T> = { -readonly [K in keyof T]: T[K] }

async function producerOptions(given: Options): Promise<ProducerOptions> {
  const file = given.value('producer.config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  const single = keyValues(given.values('producer-property'), 'producer-property')
  for (const [key, value] of single) properties.set(key, value)
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  const chosen: Mutable<ProducerOptions> = {
    lingerMs: DEFAULT_LINGER_MS,
    // As producers of the 0.8 era share out records without a key.
    ...(given.has('broker-list') && { partitioner: 'round-robin' }),
    ...producerOptionsOf(properties, servers),
    clientId: properties.get('client.id') ?? 'console-producer',
  }
  const number = (name: keyof typeof options): number | undefined =>
    given.integer(name, { min: 0, max: 2 ** 31 - 1 })
  chosen.batchBytes =
    number('batch-size') ?? number('max-partition-memory-bytes') ?? chosen.batchBytes ?? 16_384
  chosen.lingerMs = number('timeout') ?? chosen.lingerMs ?? DEFAULT_LINGER_MS
  chosen.maxBlockMs =
    number('max-block-ms') ?? number('metadata-fetch-timeout-ms') ?? chosen.maxBlockMs ?? 60_000
  chosen.bufferBytes = number('max-memory-bytes') ?? chosen.bufferBytes ?? 32 * 2 ** 20
  chosen.retryBackoffMs = number('retry-backoff-ms') ?? chosen.retryBackoffMs ?? 100
  const timeoutMs = number('request-timeout-ms')
  if (timeoutMs !== undefined) chosen.requestTimeoutMs = timeoutMs
  const acks = given.value('request-required-acks')
  if (acks !== undefined) chosen.acks = acksOf(acks, '--request-required-acks')
  if (given.has('compression-codec')) {
    chosen.compression = codecNamed(
      given.value('compression-codec') ?? 'gzip',
      '--compression-codec',
    )
  }
  return chosen
}

async function readerProperties(given: Options): Promise<Map<string, string>> {
  const name = given.value('line-reader')
  if (name !== undefined && !/(?:^|[.$])LineMessageReader$/.test(name)) {
    throw new UsageError(`there is no line reader ${JSON.stringify(name)}`)
  }
  const file = given.value('reader-config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  for (const [key, value] of keyValuesWithBlanks(given.values('property'))) {
    properties.set(key, value)
  }
  return properties
}

async function run(given: Options, io: ToolIo): Promise<number> {
  const topic = given.required('topic')
  const read = lineReader({ topic, properties: await readerProperties(given) })
  const settings = await producerOptions(given)
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  // Says at once when nobody is there, instead of when the first record is too old.
  await (await openCluster({ bootstrapServers: servers, configFile: undefined }, io.signal)).close()
  const producer = new Producer(settings)
  let failures = 0
  const failed = (error: unknown): void => {
    failures += 1
    const message = (error as Error).message.replace(/\s*\n\s*/g, ' ')
    if (failures <= TOLD_MAX) io.warn(`kafka-console-producer: a record was not sent: ${message}`)
  }
  const isPrompting = process.stdin.isTTY === true && process.stdout.isTTY === true
  const prompt = (): void => {
    if (isPrompting) io.stdout.write('>')
  }
  const stop = (): void => {
    io.stdin.destroy()
  }
  io.signal.addEventListener('abort', stop)
  try {
    let number = 0
    prompt()
    for await (const line of linesOf(io.stdin)) {
      number += 1
      const record = read(line, number)
      if (record !== null) {
        const sent = producer.send(record)
        if (given.has('sync')) {
          await sent.catch(failed)
        } else {
          sent.catch(failed)
          if (!producer.isReady) await producer.ready()
        }
      }
      prompt()
    }
  } catch (error) {
    // An interrupted input ends the work in order; what was read is sent.
    if (!io.signal.aborted) throw error
  } finally {
    io.signal.removeEventListener('abort', stop)
    await producer.close()
  }
  if (failures === 0) return 0
  throw new ToolError(`${failures} records were not sent`)
}

export const kafkaConsoleProducer = defineTool({
  name: 'kafka-console-producer',
  summary: 'Sends what is typed to a topic, a record a line.',
  options,
  wantsArguments: true,
  notes: [
    'Differs from Apache: exits with 1 when a record was not sent.',
    'Example: kafka-console-producer --bootstrap-server localhost:9092 --topic orders',
    '         --property parse.key=true --property key.separator=:',
  ],
  run,
})
