/** `kafka-producer-perf-test`: how fast records can be sent. */
import { randomFillSync } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Producer } from '../client/producer.ts'
import { readPropertiesFile } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { producerOptionsOf } from './kit/producer-options.ts'
import { Progress } from './kit/progress.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { Latencies } from './measuring/latencies.ts'
import { Pace, pause } from './measuring/pace.ts'

const REPORT_MS = 5000
/** Records that are sent before the loop lets answers in. */
const TURN = 256
const MIB = 1024 * 1024
const LETTERS = 26

const options = {
  topic: { argument: 'topic', help: 'The topic to send to.', required: true },
  'num-records': { argument: 'count', help: 'How many records.', required: true },
  throughput: {
    argument: 'records/s',
    help: 'The most records a second; -1 for no limit.',
    required: true,
  },
  'record-size': { argument: 'bytes', help: 'Size of each record.' },
  'payload-file': { argument: 'file', help: 'Records to choose from at random.' },
  'payload-delimiter': {
    argument: 'text',
    help: 'What is between the records of --payload-file.',
    default: '\\n',
  },
  'payload-monotonic': { help: 'Each record is its number.' },
  'producer-props': {
    argument: 'key=value',
    help: 'Properties of the producer, bootstrap.servers among them.',
    variadic: true,
    repeatable: true,
  },
  'producer.config': { argument: 'file', help: 'Properties of the producer.' },
  'print-metrics': { help: 'Prints what was counted at the end.' },
  'bootstrap-server': { argument: 'host:port,...', help: 'Brokers to begin with.', own: true },
  'transactional-id': { argument: 'id', help: 'Not taken: there are no transactions.' },
  'transaction-duration-ms': { argument: 'ms', help: 'Not taken: there are no transactions.' },
} as const

type Options = ParsedOptions<keyof typeof options>

async function payloadsOf(given: Options): Promise<(index: number) => Buffer> {
  const kind = given.exactlyOne('record-size', 'payload-file', 'payload-monotonic')
  if (kind === 'payload-monotonic') return (index) => Buffer.from(String(index))
  if (kind === 'record-size') {
    const size = given.integer('record-size', { min: 1, max: 2 ** 30 }) as number
    const bytes = randomFillSync(Buffer.alloc(size))
    for (let i = 0; i < size; i += 1) bytes[i] = 65 + ((bytes[i] as number) % LETTERS)
    return () => bytes
  }
  const path = given.required('payload-file')
  const delimiter = (given.value('payload-delimiter') ?? '\n').replaceAll('\\n', '\n')
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new ToolError(`--payload-file: ${error.message}`)
  })
  const payloads = text.split(delimiter).filter((one) => one !== '')
  if (payloads.length === 0) throw new ToolError(`--payload-file: ${path} has no records`)
  const all = payloads.map((one) => Buffer.from(one))
  return () => all[Math.floor(Math.random() * all.length)] as Buffer
}

class Report {
  readonly #io: ToolIo
  readonly #startMs = performance.now()
  readonly all = new Latencies()
  #window = new Latencies()
  #windowMs = performance.now()
  #bytes = 0
  #windowBytes = 0
  failures = 0

  constructor(io: ToolIo) {
    this.#io = io
  }

  record(latencyMs: number, bytes: number): void {
    this.all.record(latencyMs)
    this.#window.record(latencyMs)
    this.#bytes += bytes
    this.#windowBytes += bytes
    const now = performance.now()
    if (now - this.#windowMs >= REPORT_MS) this.#printWindow(now)
  }

  #printWindow(now: number): void {
    const seconds = (now - this.#windowMs) / 1000
    const { count, averageMs, maxMs } = this.#window
    if (!this.#io.json) {
      this.#io.print(
        `${count} records sent, ${(count / seconds).toFixed(1)} records/sec (${(this.#windowBytes / seconds / MIB).toFixed(2)} MB/sec), ` +
          `${averageMs.toFixed(1)} ms avg latency, ${maxMs.toFixed(1)} ms max latency.`,
      )
    }
    this.#window = new Latencies()
    this.#windowMs = now
    this.#windowBytes = 0
  }

  end(): void {
    const seconds = Math.max(1e-6, (performance.now() - this.#startMs) / 1000)
    const { count, averageMs, maxMs } = this.all
    const [p50, p95, p99, p999] = [0.5, 0.95, 0.99, 0.999].map((one) => this.all.percentile(one))
    if (this.#io.json) {
      this.#io.print(
        JSON.stringify({
          records: count,
          failed: this.failures,
          seconds,
          recordsPerSecond: count / seconds,
          mebibytesPerSecond: this.#bytes / seconds / MIB,
          latencyMs: { average: averageMs, max: maxMs, p50, p95, p99, p999 },
        }),
      )
      return
    }
    const round = (ms: number | undefined): string => String(Math.round(ms ?? 0))
    this.#io.print(
      `${count} records sent, ${(count / seconds).toFixed(6)} records/sec (${(this.#bytes / seconds / MIB).toFixed(2)} MB/sec), ` +
        `${averageMs.toFixed(2)} ms avg latency, ${maxMs.toFixed(2)} ms max latency, ` +
        `${round(p50)} ms 50th, ${round(p95)} ms 95th, ${round(p99)} ms 99th, ${round(p999)} ms 99.9th.`,
    )
  }
}

async function propertiesOf(given: Options): Promise<Map<string, string>> {
  const file = given.value('producer.config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  for (const text of given.values('producer-props')) {
    const at = text.indexOf('=')
    if (at <= 0) {
      throw new UsageError(`--producer-props wants key=value, not ${JSON.stringify(text)}`)
    }
    properties.set(text.slice(0, at).trim(), text.slice(at + 1).trim())
  }
  return properties
}

async function run(given: Options, io: ToolIo): Promise<number> {
  if (given.has('transactional-id') || given.has('transaction-duration-ms')) {
    throw new ToolError('transactions are not supported')
  }
  const topic = given.required('topic')
  const count = given.integer('num-records', { min: 0 }) as number
  const throughput = Number(given.required('throughput'))
  if (!Number.isFinite(throughput)) throw new UsageError('--throughput wants a number')
  const payload = await payloadsOf(given)
  const producer = new Producer(
    producerOptionsOf(await propertiesOf(given), given.value('bootstrap-server')),
  )
  const report = new Report(io)
  const pace = new Pace(throughput)
  const progress = new Progress(io, 'records sent')
  let firstFailure: Error | null = null
  try {
    for (let i = 0; i < count && !io.signal.aborted; i += 1) {
      const waitMs = pace.waitMs(i)
      if (waitMs >= 1) await pause(waitMs, io.signal)
      else if (i % TURN === TURN - 1) {
        progress.update(i, count)
        await new Promise(setImmediate)
      }
      const value = payload(i)
      const startMs = performance.now()
      producer.send({ topic, value }).then(
        () => report.record(performance.now() - startMs, value.length),
        (error: Error) => {
          report.failures += 1
          firstFailure ??= error
        },
      )
      if (!producer.isReady) await producer.ready()
    }
    await producer.flush()
  } finally {
    await producer.close()
    progress.end()
  }
  report.end()
  if (given.has('print-metrics') && !io.json) {
    io.print(`records-sent: ${report.all.count}`)
    io.print(`record-errors: ${report.failures}`)
  }
  if (firstFailure !== null) {
    throw new ToolError(
      `${report.failures} records were not sent: ${(firstFailure as Error).message}`,
    )
  }
  return 0
}

export const kafkaProducerPerfTest = defineTool({
  name: 'kafka-producer-perf-test',
  summary: 'Measures how fast records can be sent.',
  options,
  table: true,
  wantsArguments: true,
  notes: [
    'Example: kafka-producer-perf-test --topic t --num-records 1000000 --record-size 100',
    '         --throughput -1 --producer-props bootstrap.servers=localhost:9092 acks=all',
  ],
  run,
})
