/** `kafka-consumer-perf-test`: how fast records can be read. */
import { randomInt } from 'node:crypto'
import { Consumer } from '../client/consumer.ts'
import { BOOTSTRAP_SERVER, readPropertiesFile } from './kit/connection.ts'
import { consumerOptionsOf } from './kit/consumer-options.ts'
import type { ParsedOptions } from './kit/options.ts'
import { UsageError } from './kit/options.ts'
import { Progress } from './kit/progress.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { openCluster } from './kit/with-admin.ts'

const MIB = 1024 * 1024
const POLL_MS = 100

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': { argument: 'host:port,...', help: 'The older name of --bootstrap-server.' },
  topic: { argument: 'topic', help: 'The topic to read.', required: true },
  messages: { argument: 'count', help: 'How many records to read.', required: true },
  group: { argument: 'group', help: 'The group to read in; one of its own if it is not given.' },
  'fetch-size': { argument: 'bytes', help: 'Bytes of one answer.', default: '1048576' },
  'from-latest': { help: 'Begins with the records that come, not with those that are there.' },
  timeout: { argument: 'ms', help: 'Ends when no record comes for so long.', default: '10000' },
  'consumer.config': { argument: 'file', help: 'Properties of the consumer.' },
  'reporting-interval': { argument: 'ms', help: 'Time between two lines.', default: '5000' },
  'show-detailed-stats': { help: 'Prints a line at each reporting interval.' },
  'hide-header': { help: 'Leaves out the names of the columns.' },
  'date-format': {
    argument: 'pattern',
    help: 'Of the times printed, as Java has it.',
    default: 'yyyy-MM-dd HH:mm:ss:SSS',
  },
  'print-metrics': { help: 'Prints what was counted at the end.' },
  'socket-buffer-size': { argument: 'bytes', help: 'Without effect.' },
  threads: { argument: 'count', help: 'Without effect.' },
  'num-fetch-threads': { argument: 'count', help: 'Without effect.' },
} as const

type Options = ParsedOptions<keyof typeof options>

const FIELDS: Readonly<Record<string, (date: Date) => number>> = {
  y: (date) => date.getFullYear(),
  M: (date) => date.getMonth() + 1,
  d: (date) => date.getDate(),
  H: (date) => date.getHours(),
  m: (date) => date.getMinutes(),
  s: (date) => date.getSeconds(),
  S: (date) => date.getMilliseconds(),
}

/** The number fields of Java's SimpleDateFormat, and text between quotes. */
export function formatDate(pattern: string, date: Date): string {
  return pattern.replace(/'([^']*)'|([yMdHmsS])\2*/g, (match, quoted: string, field: string) =>
    field === undefined
      ? quoted
      : String(FIELDS[field]?.(date) ?? match).padStart(match.length, '0'),
  )
}

interface Totals {
  bytes: number
  records: number
}

class Report {
  readonly startMs = Date.now()
  readonly #io: ToolIo
  readonly #given: Options
  readonly totals: Totals = { bytes: 0, records: 0 }
  /** Time that was spent waiting for partitions. */
  joinMs = 0
  #windowMs = performance.now()
  #window: Totals = { bytes: 0, records: 0 }
  #windowJoinMs = 0

  constructor(io: ToolIo, given: Options) {
    this.#io = io
    this.#given = given
  }

  get isDetailed(): boolean {
    return this.#given.has('show-detailed-stats')
  }

  #date(ms: number): string {
    return formatDate(this.#given.value('date-format') ?? 'yyyy-MM-dd HH:mm:ss:SSS', new Date(ms))
  }

  header(): void {
    if (this.#given.has('hide-header') || this.#io.json) return
    const rates = 'rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec'
    const data = 'data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec'
    this.#io.print(
      this.isDetailed
        ? `time, threadId, ${data}, ${rates}`
        : `start.time, end.time, ${data}, ${rates}`,
    )
  }

  /** What was read since the last line, if it is time for one. */
  window(intervalMs: number): void {
    const now = performance.now()
    if (!this.isDetailed || this.#io.json || now - this.#windowMs < intervalMs) return
    const elapsedMs = now - this.#windowMs
    const joinMs = this.joinMs - this.#windowJoinMs
    const bytes = this.totals.bytes - this.#window.bytes
    const records = this.totals.records - this.#window.records
    this.#io.print(
      `${this.#date(Date.now())}, 0, ${this.#columns(bytes, records, elapsedMs, joinMs, this.totals)}`,
    )
    this.#windowMs = now
    this.#window = { ...this.totals }
    this.#windowJoinMs = this.joinMs
  }

  #columns(
    bytes: number,
    records: number,
    elapsedMs: number,
    joinMs: number,
    shown: Totals,
  ): string {
    const seconds = Math.max(0.001, elapsedMs / 1000)
    const fetchSeconds = Math.max(0.001, (elapsedMs - joinMs) / 1000)
    return [
      (shown.bytes / MIB).toFixed(4),
      (bytes / MIB / seconds).toFixed(4),
      String(shown.records),
      (records / seconds).toFixed(4),
      String(Math.round(joinMs)),
      String(Math.round(elapsedMs - joinMs)),
      (bytes / MIB / fetchSeconds).toFixed(4),
      (records / fetchSeconds).toFixed(4),
    ].join(', ')
  }

  end(): void {
    const endMs = Date.now()
    const { bytes, records } = this.totals
    const elapsedMs = endMs - this.startMs
    if (this.#io.json) {
      const seconds = Math.max(0.001, elapsedMs / 1000)
      this.#io.print(
        JSON.stringify({
          records,
          bytes,
          seconds,
          recordsPerSecond: records / seconds,
          mebibytesPerSecond: bytes / MIB / seconds,
          rebalanceMs: Math.round(this.joinMs),
        }),
      )
    } else if (!this.isDetailed) {
      this.#io.print(
        `${this.#date(this.startMs)}, ${this.#date(endMs)}, ${this.#columns(bytes, records, elapsedMs, this.joinMs, this.totals)}`,
      )
    }
  }
}

async function run(given: Options, io: ToolIo): Promise<number> {
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  if (servers === undefined) throw new UsageError('--bootstrap-server is required')
  const topic = given.required('topic')
  const wanted = given.integer('messages', { min: 0 }) as number
  const timeoutMs = given.integer('timeout', { min: 0 }) ?? 10_000
  const intervalMs = given.integer('reporting-interval', { min: 1 }) ?? 5000
  const file = given.value('consumer.config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  const group = given.value('group') ?? `perf-consumer-${randomInt(100_000)}`
  properties.set('group.id', group)
  properties.set('auto.offset.reset', given.has('from-latest') ? 'latest' : 'earliest')
  const settings = consumerOptionsOf(properties, servers)
  await (await openCluster({ bootstrapServers: servers, configFile: undefined }, io.signal)).close()
  const fetchBytes = given.integer('fetch-size', { min: 1 }) ?? 1024 * 1024
  const consumer = new Consumer({
    ...settings,
    clientId: properties.get('client.id') ?? 'perf-consumer-client',
    checkCrcs: properties.get('check.crcs') !== 'false',
    partitionMaxBytes: fetchBytes,
    maxPollRecords: 5000,
  })
  const report = new Report(io, given)
  const progress = new Progress(io, 'records read')
  report.header()
  let joinBegin: number | null = performance.now()
  consumer.subscribe([topic], {
    onPartitionsRevoked: () => {
      joinBegin = performance.now()
    },
    onPartitionsAssigned: () => {
      if (joinBegin !== null) report.joinMs += performance.now() - joinBegin
      joinBegin = null
    },
  })
  const { totals } = report
  let lastMs = performance.now()
  try {
    while (totals.records < wanted && !io.signal.aborted) {
      const records = await consumer.poll(POLL_MS)
      if (records.length > 0) lastMs = performance.now()
      else if (performance.now() - lastMs > timeoutMs) break
      for (const { key, value } of records) {
        totals.bytes += (key?.length ?? 0) + (value?.length ?? 0)
      }
      totals.records += records.length
      report.window(intervalMs)
      progress.update(totals.records, wanted)
    }
  } finally {
    await consumer.close()
    progress.end()
  }
  report.end()
  if (given.has('print-metrics') && !io.json) {
    io.print(`records-consumed: ${totals.records}`)
    io.print(`bytes-consumed: ${totals.bytes}`)
  }
  if (totals.records < wanted && !io.signal.aborted) {
    throw new ToolError(
      `${totals.records} of ${wanted} records came: none in the last ${timeoutMs} ms`,
    )
  }
  return 0
}

export const kafkaConsumerPerfTest = defineTool({
  name: 'kafka-consumer-perf-test',
  summary: 'Measures how fast records can be read.',
  options,
  table: true,
  wantsArguments: true,
  notes: ['Differs from Apache: exits with 1 when fewer records came than were asked for.'],
  run,
})
