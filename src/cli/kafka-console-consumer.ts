/** `kafka-console-consumer`: prints the records of topics. */
import { randomInt } from 'node:crypto'
import { Consumer, type ConsumerOptions } from '../client/consumer.ts'
import { type Formatter, formatterOf } from './console/formatters.ts'
import { RecordPrinter } from './console/record-printer.ts'
import { BOOTSTRAP_SERVER, keyValues, readPropertiesFile, ZOOKEEPER } from './kit/connection.ts'
import { consumerOptionsOf } from './kit/consumer-options.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { openCluster } from './kit/with-admin.ts'

const POLL_MS = 1000

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  zookeeper: ZOOKEEPER,
  topic: { argument: 'topic', help: 'The topic to print.' },
  include: { argument: 'regex', help: 'Prints all topics whose whole name fits.' },
  whitelist: { argument: 'regex', help: 'The older name of --include.' },
  partition: { argument: 'number', help: 'Only this partition, without a group.' },
  offset: {
    argument: 'number|earliest|latest',
    help: 'Where to begin, with --partition.',
    default: 'latest',
  },
  'from-beginning': {
    help: 'Begins with the first record there is, unless the group has committed an offset.',
  },
  group: { argument: 'group', help: 'The group to read in; one of its own if it is not given.' },
  'max-messages': { argument: 'count', help: 'Ends after so many records.' },
  'timeout-ms': { argument: 'ms', help: 'Fails when no record comes for so long.' },
  'isolation-level': {
    argument: 'read_committed|read_uncommitted',
    help: 'Whether records of open and aborted transactions are printed.',
    default: 'read_uncommitted',
  },
  'consumer-property': {
    argument: 'key=value',
    help: 'A property of the consumer.',
    repeatable: true,
  },
  'consumer.config': { argument: 'file', help: 'Properties of the consumer.' },
  'consumer-config': { argument: 'file', help: 'The same as --consumer.config.', own: true },
  formatter: {
    argument: 'class',
    help: 'DefaultMessageFormatter, LoggingMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter or GroupMetadataMessageFormatter.',
  },
  'formatter-config': { argument: 'file', help: 'Properties of the formatter.' },
  property: {
    argument: 'key=value',
    help: 'A property of the formatter: print.timestamp, print.partition, print.offset, print.headers, print.key, print.value, key.separator, line.separator, headers.separator, null.literal, key.deserializer, value.deserializer.',
    repeatable: true,
  },
  'key-deserializer': { argument: 'class', help: 'Such as LongDeserializer.' },
  'value-deserializer': { argument: 'class', help: 'Such as LongDeserializer.' },
  'skip-message-on-error': { help: 'Goes on when a record cannot be printed.' },
  'enable-systest-events': { help: 'Prints when the consumer starts and ends, as JSON.' },
  blacklist: {
    argument: 'regex',
    help: 'With --zookeeper: prints all topics whose whole name does not fit.',
    era: 'Use --include.',
  },
  'csv-reporter-enabled': { help: 'Without effect.', era: 'Without effect.' },
  'delete-consumer-offsets': {
    help: 'With --zookeeper: forgets first what the group has read.',
    era: 'Use kafka-consumer-groups.',
  },
  'metrics-dir': { argument: 'dir', help: 'Without effect.', era: 'Without effect.' },
} as const

type Options = ParsedOptions<keyof typeof options>

interface Source {
  readonly topic: string | null
  readonly pattern: RegExp | null
  readonly partition: number | null
  readonly offset: number | 'earliest' | 'latest'
}

function sourceOf(given: Options): Source {
  const include = given.value('include') ?? given.value('whitelist')
  const topic = given.value('topic') ?? null
  if ((topic === null) === (include === undefined)) {
    throw new UsageError('one of --topic and --include is required')
  }
  let pattern: RegExp | null = null
  if (include !== undefined) {
    try {
      // Lists of topics were once joined by commas.
      pattern = new RegExp(`^(?:${include.trim().replaceAll(',', '|')})$`)
    } catch {
      throw new UsageError(`--include: ${JSON.stringify(include)} is not a regular expression`)
    }
  }
  const partition = given.integer('partition', { min: 0, max: 2 ** 31 - 1 }) ?? null
  if (partition !== null && topic === null) throw new UsageError('--partition needs --topic')
  const text = given.value('offset')
  if (text !== undefined && partition === null) throw new UsageError('--offset needs --partition')
  if (text !== undefined && given.has('from-beginning')) {
    throw new UsageError('--from-beginning and --offset exclude each other')
  }
  return { topic, pattern, partition, offset: offsetOf(text, given.has('from-beginning')) }
}

function offsetOf(text: string | undefined, fromBeginning: boolean): Source['offset'] {
  if (text === undefined) return fromBeginning ? 'earliest' : 'latest'
  const lower = text.toLowerCase()
  if (lower === 'earliest' || lower === 'latest') return lower
  if (/^\d{1,15}$/.test(text)) return Number(text)
  if (text === '-1') return 'latest'
  if (text === '-2') return 'earliest'
  throw new UsageError(`--offset is a number, earliest or latest, not ${JSON.stringify(text)}`)
}

/** The properties of the consumer, and the group if one is named. */
async function consumerProperties(given: Options) {
  const file = given.value('consumer.config') ?? given.value('consumer-config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  const single = keyValues(given.values('consumer-property'), 'consumer-property')
  for (const [key, value] of single) properties.set(key, value)
  const group = given.value('group')
  const known = properties.get('group.id')
  if (group !== undefined && known !== undefined && group !== known) {
    throw new UsageError(`--group is ${group}, but the properties say group.id=${known}`)
  }
  return { properties, group: group ?? known ?? null }
}

async function consumerOptions(given: Options): Promise<ConsumerOptions> {
  const { properties, group } = await consumerProperties(given)
  const isOwnGroup = group === null
  properties.set('group.id', group ?? `console-consumer-${randomInt(100_000)}`)
  // Nobody will ask for the offsets of a group that only this process knows.
  if (isOwnGroup && !properties.has('enable.auto.commit')) {
    properties.set('enable.auto.commit', 'false')
  }
  const reset = properties.get('auto.offset.reset')
  if (given.has('from-beginning')) {
    if (reset !== undefined && reset !== 'earliest') {
      throw new UsageError(`--from-beginning and auto.offset.reset=${reset} exclude each other`)
    }
    properties.set('auto.offset.reset', 'earliest')
  } else if (reset === undefined) {
    properties.set('auto.offset.reset', 'latest')
  }
  const isolation = given.value('isolation-level')
  if (isolation !== undefined) properties.set('isolation.level', isolation)
  return {
    ...consumerOptionsOf(properties, given.value('bootstrap-server')),
    clientId: properties.get('client.id') ?? 'console-consumer',
  }
}

async function formatter(given: Options): Promise<Formatter> {
  const file = given.value('formatter-config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  for (const [key, value] of keyValuesWithBlanks(given.values('property'))) {
    properties.set(key, value)
  }
  return await formatterOf({
    name: given.value('formatter'),
    properties,
    keyDeserializer: given.value('key-deserializer'),
    valueDeserializer: given.value('value-deserializer'),
  })
}

/** Separators may be blanks, which must stay. */
export function keyValuesWithBlanks(texts: readonly string[]): Map<string, string> {
  const pairs = new Map<string, string>()
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at <= 0) throw new UsageError(`--property wants key=value, not ${JSON.stringify(text)}`)
    pairs.set(text.slice(0, at).trim(), text.slice(at + 1))
  }
  return pairs
}

async function run(given: Options, io: ToolIo): Promise<number> {
  if (given.has('zookeeper')) return await runThroughZooKeeper(given, io)
  if (given.has('blacklist')) throw new UsageError('--blacklist wants --zookeeper; use --include')
  const source = sourceOf(given)
  const most = given.integer('max-messages', { min: -1 }) ?? -1
  const timeoutMs = given.integer('timeout-ms', { min: -1 }) ?? -1
  const settings = await consumerOptions(given)
  const printer = new RecordPrinter(io, await formatter(given), given.has('skip-message-on-error'))
  // Says in one line when nobody is there, instead of waiting for ever.
  await (
    await openCluster({
      bootstrapServers: given.value('bootstrap-server'),
      configFile: undefined,
    })
  ).close()
  const consumer = new Consumer({ ...settings, maxPollRecords: 2000 })
  const stop = (): void => {
    // What it rejects with is seen by the second call below.
    consumer.close().catch(() => undefined)
  }
  io.signal.addEventListener('abort', stop)
  const events = given.has('enable-systest-events')
  if (events) io.print(JSON.stringify({ timestamp: Date.now(), name: 'startup_complete' }))
  try {
    subscribe(consumer, source)
    return await consume(consumer, printer, { most, timeoutMs, io })
  } finally {
    io.signal.removeEventListener('abort', stop)
    await consumer.close()
    io.warn(`Processed a total of ${printer.printed} messages`)
    if (events) io.print(JSON.stringify({ timestamp: Date.now(), name: 'shutdown_complete' }))
  }
}

const NOT_WITH_ZOOKEEPER = [
  ...(['bootstrap-server', 'partition', 'offset', 'isolation-level'] as const),
  'enable-systest-events',
] as const

async function runThroughZooKeeper(given: Options, io: ToolIo): Promise<number> {
  given.excludes('zookeeper', ...NOT_WITH_ZOOKEEPER)
  const kind = given.exactlyOne('topic', 'include', 'whitelist', 'blacklist')
  const text = given.required(kind)
  const { properties, group } = await consumerProperties(given)
  const printer = new RecordPrinter(io, await formatter(given), given.has('skip-message-on-error'))
  const { consumeThroughZooKeeper } = await import('./zookeeper/console-source.ts')
  const source = {
    connect: given.required('zookeeper'),
    subscription:
      kind === 'topic'
        ? ({ kind: 'static', topics: [text] } as const)
        : ({ kind: kind === 'blacklist' ? 'black_list' : 'white_list', pattern: text } as const),
    ...{ properties, group },
    fromBeginning: given.has('from-beginning'),
    deletesOffsets: given.has('delete-consumer-offsets'),
    most: given.integer('max-messages', { min: -1 }) ?? -1,
    timeoutMs: given.integer('timeout-ms', { min: -1 }) ?? -1,
  }
  return await consumeThroughZooKeeper(source, printer, io)
}

function subscribe(consumer: Consumer, source: Source): void {
  const { topic, pattern, partition, offset } = source
  if (pattern !== null) consumer.subscribe(pattern)
  else if (partition === null) consumer.subscribe([topic as string])
  else consumer.assign([{ topic: topic as string, partition, offset }])
}

async function consume(
  consumer: Consumer,
  printer: RecordPrinter,
  limits: { readonly most: number; readonly timeoutMs: number; readonly io: ToolIo },
): Promise<number> {
  const { most, timeoutMs, io } = limits
  if (most === 0) return 0
  let lastMs = performance.now()
  while (!io.signal.aborted) {
    const leftMs = timeoutMs < 0 ? POLL_MS : lastMs + timeoutMs - performance.now()
    const records = await consumer.poll(Math.max(0, Math.min(POLL_MS, leftMs)))
    if (records.length === 0) {
      if (timeoutMs >= 0 && performance.now() - lastMs >= timeoutMs) {
        throw new ToolError(`no record came in ${timeoutMs} ms`)
      }
      continue
    }
    lastMs = performance.now()
    const room = most < 0 ? records.length : most - printer.printed
    const taken = records.slice(0, room)
    await printer.print(taken)
    if (most >= 0 && printer.printed >= most) {
      // What was read ahead stays for whoever comes next in the group.
      for (const one of consumer.assignment()) {
        const first = records
          .slice(room)
          .find((record) => record.topic === one.topic && record.partition === one.partition)
        if (first !== undefined) consumer.seek(one, first.offset)
      }
      return 0
    }
  }
  return 0
}

export const kafkaConsoleConsumer = defineTool({
  name: 'kafka-console-consumer',
  summary: 'Prints the records of topics.',
  options,
  wantsArguments: true,
  notes: [
    'Differs from Apache: --timeout-ms exits with 1, as every failure does.',
    'With --zookeeper it reads as Kafka 0.8 did: the group shares partitions and keeps offsets in',
    'ZooKeeper, and --consumer.config takes the properties of that time.',
    'Example: kafka-console-consumer --bootstrap-server localhost:9092 --topic orders',
    '         --from-beginning --property print.key=true',
  ],
  run,
})
