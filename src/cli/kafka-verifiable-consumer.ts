/** `kafka-verifiable-consumer`: reads in a group, and prints what happens as JSON. */
import { Consumer } from '../client/consumer.ts'
import type { ConsumerRecord } from '../client/records.ts'
import { BOOTSTRAP_SERVER, readPropertiesFile } from './kit/connection.ts'
import { consumerOptionsOf } from './kit/consumer-options.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'

const POLL_MS = 500

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': { argument: 'host:port,...', help: 'The older name of --bootstrap-server.' },
  topic: { argument: 'topic', help: 'The topic to read.', required: true },
  'group-id': { argument: 'group', help: 'The group to read in.', required: true },
  'group-instance-id': { argument: 'id', help: 'Makes the member static.' },
  'group-protocol': { argument: 'classic', help: 'Only classic.', default: 'classic' },
  'max-messages': { argument: 'count', help: 'How many; -1 for no end.', default: '-1' },
  'session-timeout': { argument: 'ms', help: 'Session time-out.', default: '30000' },
  'enable-autocommit': { help: 'Commits by time, not after each batch.' },
  'reset-policy': {
    argument: 'earliest|latest|none',
    help: 'Where to begin without a committed offset.',
    default: 'earliest',
  },
  'assignment-strategy': {
    argument: 'class',
    help: 'RangeAssignor, RoundRobinAssignor or CooperativeStickyAssignor.',
    default: 'org.apache.kafka.clients.consumer.RangeAssignor',
  },
  verbose: { help: 'Prints each record.' },
  'consumer.config': { argument: 'file', help: 'Properties of the consumer.' },
} as const

type Options = ParsedOptions<keyof typeof options>

async function propertiesOf(given: Options): Promise<Map<string, string>> {
  const protocol = given.value('group-protocol') ?? 'classic'
  if (protocol.toLowerCase() !== 'classic') {
    throw new ToolError(`--group-protocol ${protocol} is not supported`, 'only classic is')
  }
  const file = given.value('consumer.config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  properties.set('group.id', given.required('group-id'))
  const instance = given.value('group-instance-id')
  if (instance !== undefined) properties.set('group.instance.id', instance)
  properties.set('session.timeout.ms', given.value('session-timeout') ?? '30000')
  properties.set('auto.offset.reset', given.value('reset-policy') ?? 'earliest')
  properties.set('enable.auto.commit', String(given.has('enable-autocommit')))
  const strategy = given.value('assignment-strategy') ?? 'range'
  properties.set('partition.assignment.strategy', strategy)
  return properties
}

/** What was read of each partition, for `records_consumed`. */
function summary(records: readonly ConsumerRecord[]) {
  const partitions = new Map<
    string,
    { topic: string; partition: number; count: number; minOffset: number; maxOffset: number }
  >()
  for (const { topic, partition, offset } of records) {
    const key = `${partition}/${topic}`
    const known = partitions.get(key)
    if (known === undefined) {
      partitions.set(key, { topic, partition, count: 1, minOffset: offset, maxOffset: offset })
    } else {
      known.count += 1
      known.maxOffset = offset
    }
  }
  return [...partitions.values()]
}

async function run(given: Options, io: ToolIo): Promise<number> {
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  if (servers === undefined) throw new UsageError('--bootstrap-server is required')
  const topic = given.required('topic')
  const most = given.integer('max-messages', { min: -1 }) ?? -1
  const consumer = new Consumer(consumerOptionsOf(await propertiesOf(given), servers))
  const tell = (name: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    io.print(JSON.stringify({ timestamp: Date.now(), name, ...fields }))
  const stop = (): void => {
    // The close below sees what it rejects with.
    consumer.close().catch(() => undefined)
  }
  io.signal.addEventListener('abort', stop)
  tell('startup_complete')
  consumer.subscribe([topic], {
    onPartitionsRevoked: (partitions) => tell('partitions_revoked', { partitions }),
    onPartitionsAssigned: (partitions) => tell('partitions_assigned', { partitions }),
  })
  let consumed = 0
  try {
    while ((most < 0 || consumed < most) && !io.signal.aborted) {
      const records = await consumer.poll(POLL_MS)
      const taken = most < 0 ? records : records.slice(0, most - consumed)
      if (taken.length === 0) continue
      consumed += taken.length
      const partitions = summary(taken)
      tell('records_consumed', { count: taken.length, partitions })
      if (given.has('verbose')) for (const record of taken) tell('record_data', describe(record))
      if (!given.has('enable-autocommit')) await commit(consumer, partitions, tell)
    }
  } finally {
    io.signal.removeEventListener('abort', stop)
    await consumer.close()
    tell('shutdown_complete')
  }
  return 0
}

function describe({ key, value, topic, partition, offset }: ConsumerRecord) {
  return {
    key: key === null ? null : String(key),
    value: value === null ? null : String(value),
    topic,
    partition,
    offset,
  }
}

async function commit(
  consumer: Consumer,
  partitions: ReturnType<typeof summary>,
  tell: (name: string, fields: Readonly<Record<string, unknown>>) => void,
): Promise<void> {
  const offsets = partitions.map(({ topic, partition, maxOffset }) => ({
    topic,
    partition,
    offset: maxOffset + 1,
  }))
  try {
    await consumer.commit(offsets)
    tell('offsets_committed', { offsets, success: true })
  } catch (error) {
    // A rebalance came in between: what was read will be read again.
    tell('offsets_committed', { offsets, success: false, error: (error as Error).message })
  }
}

export const kafkaVerifiableConsumer = defineTool({
  name: 'kafka-verifiable-consumer',
  summary: 'Reads in a group, and prints what happens as lines of JSON.',
  options,
  wantsArguments: true,
  run,
})
