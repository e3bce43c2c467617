/** `kafka-e2e-latency`: how long a record takes from its producer to its consumer. */
import { randomFillSync, randomInt } from 'node:crypto'
import { Consumer } from '../client/consumer.ts'
import { Producer } from '../client/producer.ts'
import { readPropertiesFile } from './kit/connection.ts'
import { consumerOptionsOf } from './kit/consumer-options.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { producerOptionsOf } from './kit/producer-options.ts'
import { Progress } from './kit/progress.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { openCluster } from './kit/with-admin.ts'
import { Latencies } from './measuring/latencies.ts'

const TIMEOUT_MS = 60_000
const POLL_MS = 1000
const REPORT_EVERY = 1000

function numberOf(text: string, what: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw new UsageError(`${what} wants a whole number, not ${JSON.stringify(text)}`)
  }
  return Number(text)
}

async function run(given: ParsedOptions, io: ToolIo): Promise<number> {
  const [servers, topic, count, acks, size, file, ...more] = given.positionals
  if (
    servers === undefined ||
    topic === undefined ||
    count === undefined ||
    acks === undefined ||
    size === undefined ||
    more.length > 0
  ) {
    throw new UsageError(
      'broker_list topic num_messages producer_acks message_size_bytes [properties_file] are wanted',
    )
  }
  // What is less than that says nothing about latency: the record may be on its way for ever.
  if (acks !== '1' && acks !== 'all') throw new UsageError('producer_acks is 1 or all')
  const messages = numberOf(count, 'num_messages')
  const bytes = numberOf(size, 'message_size_bytes')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  const cluster = await openCluster({ bootstrapServers: servers, configFile: undefined }, io.signal)
  let partitions: number[]
  try {
    // Created as a producer would, if the broker does so.
    const known = await cluster.retry(async () => {
      const found = await cluster.metadata([topic], {
        refresh: true,
        allowAutoTopicCreation: true,
      })
      const described = found.topics.get(topic)
      if (described === undefined || described.errorCode !== 0) {
        const { errorFor } = await import('../client/errors.ts')
        throw errorFor(described?.errorCode ?? 3)
      }
      return described
    })
    partitions = known.partitions.map(({ partition }) => partition)
  } finally {
    await cluster.close()
  }
  const producer = new Producer({
    ...producerOptionsOf(new Map([...properties, ['acks', acks]]), servers),
    lingerMs: 0,
  })
  properties.set('group.id', `test-group-${randomInt(1_000_000)}`)
  const consumer = new Consumer({
    ...consumerOptionsOf(properties, servers),
    autoCommit: false,
    maxWaitMs: 0x7fff,
  })
  const all = new Latencies()
  const progress = new Progress(io, 'records')
  let total = 0
  try {
    consumer.assign(
      partitions.map((partition) => ({ topic, partition, offset: 'latest' as const })),
    )
    // The end of the log must be known before the first record.
    for (const partition of partitions) await consumer.position({ topic, partition })
    const payload = randomFillSync(Buffer.alloc(bytes))
    for (let i = 0; i < messages && !io.signal.aborted; i += 1) {
      randomFillSync(payload)
      const startMs = performance.now()
      await producer.send({ topic, value: payload })
      let waitedMs = 0
      let found: readonly { readonly value: Buffer | null }[] = []
      while (found.length === 0 && waitedMs < TIMEOUT_MS) {
        found = await consumer.poll(POLL_MS)
        waitedMs = performance.now() - startMs
      }
      if (found.length === 0) {
        throw new ToolError(`record ${i} was not seen in ${TIMEOUT_MS} ms`)
      }
      const [record, ...others] = found
      if (others.length > 0 || !record?.value?.equals(payload)) {
        throw new ToolError(
          'somebody else writes to the topic: the records read are not those sent',
        )
      }
      const latencyMs = performance.now() - startMs
      all.record(latencyMs)
      total += latencyMs
      progress.update(i + 1, messages)
      if (i % REPORT_EVERY === 0 && !io.json) io.print(`${i}\t${latencyMs.toFixed(6)}`)
    }
  } finally {
    progress.end()
    await Promise.all([producer.close(), consumer.close()])
  }
  const average = total / Math.max(1, all.count)
  const [p50, p99, p999] = [0.5, 0.99, 0.999].map((one) => all.percentile(one))
  if (io.json) {
    io.print(
      JSON.stringify({
        records: all.count,
        latencyMs: { average, p50, p99, p999, max: all.maxMs },
      }),
    )
  } else {
    io.print(`Avg latency: ${average.toFixed(4)} ms`)
    io.print(
      `Percentiles: 50th = ${Math.floor(p50 ?? 0)}, 99th = ${Math.floor(p99 ?? 0)}, 99.9th = ${Math.floor(p999 ?? 0)}`,
    )
  }
  return 0
}

export const kafkaE2eLatency = defineTool({
  name: 'kafka-e2e-latency',
  summary: 'Measures how long a record takes from its producer to its consumer.',
  options: {},
  positionals: [
    ...['broker_list', 'topic', 'num_messages', 'producer_acks', 'message_size_bytes'],
    '[properties_file]',
  ],
  table: true,
  wantsArguments: true,
  run,
})
