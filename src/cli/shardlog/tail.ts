/** `shardlog tail`: the last records of a topic, and those that come. */
import { once } from 'node:events'
import { Consumer } from '../../client/consumer.ts'
import type { ConsumerRecord } from '../../client/records.ts'
import { formatterOf } from '../console/formatters.ts'
import { clientOptionsOf } from '../kit/connection.ts'
import { type ParsedOptions, UsageError } from '../kit/options.ts'
import { defineTool, ToolError, type ToolIo } from '../kit/tool.ts'
import { openCluster } from '../kit/with-admin.ts'

const DEFAULT_SERVER = 'localhost:9092'
const POLL_MS = 500

const options = {
  'bootstrap-server': {
    argument: 'host:port,...',
    help: 'Brokers to begin with.',
    default: DEFAULT_SERVER,
  },
  lines: { argument: 'count', help: 'Records to begin with.', default: '10', letter: 'n' },
  follow: { help: 'Goes on with what comes, until it is interrupted.', letter: 'f' },
  partition: { argument: 'number', help: 'Only this partition.' },
  key: { help: 'Prints keys, too.', letter: 'k' },
} as const

interface LastRecords {
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[]
  readonly starts: readonly number[]
  readonly ends: readonly number[]
}

async function lastRecords(
  consumer: Consumer,
  topic: string,
  partitions: readonly number[],
  count: number,
): Promise<LastRecords> {
  const all = partitions.map((partition) => ({ topic, partition }))
  const [begins, ends] = await Promise.all([
    consumer.beginningOffsets(all),
    consumer.endOffsets(all),
  ])
  const starts = ends.map((end, i) => Math.max(begins[i] as number, end - count))
  return { partitions: all, starts, ends }
}

function order(a: ConsumerRecord, b: ConsumerRecord): number {
  return a.timestamp - b.timestamp || a.partition - b.partition || a.offset - b.offset
}

async function run(
  given: ParsedOptions<keyof typeof options>,
  io: ToolIo,
): Promise<number | undefined> {
  const [topic, ...more] = given.positionals
  if (topic === undefined || more.length > 0) throw new UsageError('one topic is required')
  const bootstrapServers = given.value('bootstrap-server') ?? DEFAULT_SERVER
  const count = given.integer('lines', { min: 0, max: 1_000_000 }) ?? 10
  const only = given.integer('partition', { min: 0, max: 2 ** 31 - 1 })
  const cluster = await openCluster({ bootstrapServers, configFile: undefined }, io.signal)
  const known = await cluster
    .metadata([topic], { allowAutoTopicCreation: false })
    .finally(() => cluster.close())
  const described = known.topics.get(topic)
  if (described === undefined || described.errorCode !== 0) {
    throw new ToolError(
      `topic ${topic} does not exist`,
      'shardlog topics --list names those that do',
    )
  }
  const numbers = described.partitions.map(({ partition }) => partition)
  if (only !== undefined && !numbers.includes(only)) {
    throw new ToolError(`topic ${topic} has no partition ${only}`)
  }
  const consumer = new Consumer(clientOptionsOf(new Map(), bootstrapServers))
  const stop = (): void => {
    // The close below sees what it rejects with.
    consumer.close().catch(() => undefined)
  }
  io.signal.addEventListener('abort', stop)
  try {
    const wanted = only === undefined ? numbers : [only]
    await print(consumer, await lastRecords(consumer, topic, wanted, count), given, count, io)
  } finally {
    io.signal.removeEventListener('abort', stop)
    await consumer.close()
  }
  return 0
}

async function print(
  consumer: Consumer,
  last: LastRecords,
  given: ParsedOptions<keyof typeof options>,
  count: number,
  io: ToolIo,
): Promise<void> {
  const format = io.json
    ? jsonLine
    : await formatterOf({
        name: undefined,
        properties: new Map([
          ['print.timestamp', 'true'],
          ['print.partition', 'true'],
          ['print.offset', 'true'],
          ['print.key', String(given.has('key'))],
        ]),
        keyDeserializer: undefined,
        valueDeserializer: undefined,
      })
  const write = async (records: readonly ConsumerRecord[]): Promise<void> => {
    const text = Buffer.concat(records.map((record) => Buffer.from(format(record))))
    if (text.length > 0 && !io.stdout.write(text)) await once(io.stdout, 'drain')
  }
  consumer.assign(last.partitions.map((one, i) => ({ ...one, offset: last.starts[i] as number })))
  const first: ConsumerRecord[] = []
  const left = new Set(
    last.partitions
      .filter((_, i) => (last.starts[i] as number) < (last.ends[i] as number))
      .map(({ partition }) => partition),
  )
  while (left.size > 0 && !io.signal.aborted) {
    first.push(...(await consumer.poll(POLL_MS)))
    for (const [i, one] of last.partitions.entries()) {
      if ((await consumer.position(one)) >= (last.ends[i] as number)) left.delete(one.partition)
    }
  }
  // A partition may have given more than its share of the last ones.
  await write(count === 0 ? [] : first.sort(order).slice(-count))
  while (given.has('follow') && !io.signal.aborted) await write(await consumer.poll(POLL_MS))
}

function jsonLine(record: ConsumerRecord): string {
  return `${JSON.stringify({
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    timestamp: record.timestamp,
    headers: record.headers.map(({ key, value }) => [key, value === null ? null : String(value)]),
    key: record.key === null ? null : String(record.key),
    value: record.value === null ? null : String(record.value),
  })}\n`
}

export const shardlogTail = defineTool({
  name: 'shardlog tail',
  summary: 'Prints the last records of a topic, and those that come.',
  options,
  positionals: ['TOPIC'],
  table: true,
  notes: ['Reads without a group: it commits nothing. With --json each record is a line of JSON.'],
  run,
})
