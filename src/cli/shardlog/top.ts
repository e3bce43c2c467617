/** `shardlog top`: rates, size, lag and latency of each topic, read from the broker every second. */
import { Admin, OffsetSpec } from '../../client/admin.ts'
import type { Cluster } from '../../client/cluster.ts'
import { clientOptionsOf } from '../kit/connection.ts'
import type { ParsedOptions } from '../kit/options.ts'
import { defineTool, type ToolIo } from '../kit/tool.ts'
import { openCluster } from '../kit/with-admin.ts'

const DEFAULT_SERVER = 'localhost:9092'

const options = {
  'bootstrap-server': {
    argument: 'host:port,...',
    help: 'Brokers to begin with.',
    default: DEFAULT_SERVER,
  },
  'interval-ms': { argument: 'ms', help: 'Time between two looks.', default: '1000' },
  once: { help: 'One look, over one interval, and that is it.' },
  'exclude-internal': { help: 'Leaves out internal topics.' },
} as const

interface Sample {
  readonly atMs: number
  /** Topic → log end of each partition, summed. */
  readonly ends: ReadonlyMap<string, number>
  readonly bytes: ReadonlyMap<string, number>
  readonly partitions: ReadonlyMap<string, number>
  /** Topic → records that groups have consumed, summed over groups and partitions. */
  readonly consumed: ReadonlyMap<string, number>
  /** Topic → records that the groups that read it are behind, of the worst one. */
  readonly lag: ReadonlyMap<string, number>
  /** Topic → ms that its leaders took to answer, of the slowest. */
  readonly latencyMs: ReadonlyMap<string, number>
  readonly groups: number
}

export interface TopicRates {
  readonly topic: string
  readonly partitions: number
  readonly sizeBytes: number
  /** Per second. */
  readonly recordsIn: number
  readonly bytesIn: number
  readonly recordsOut: number
  /** Of the group that is the farthest behind; null when no group reads the topic. */
  readonly lag: number | null
  readonly latencyMs: number
}

function add(map: Map<string, number>, key: string, value: number): void {
  map.set(key, (map.get(key) ?? 0) + value)
}

async function sample(admin: Admin, excludeInternal: boolean): Promise<Sample> {
  const listed = await admin.listTopics()
  const names = listed
    .filter(({ isInternal }) => !(excludeInternal && isInternal))
    .map(({ name }) => name)
  const described = names.length === 0 ? [] : await admin.describeTopics(names)
  const queries = described.flatMap(({ name, partitions }) =>
    partitions.map(({ partition }) => ({
      topic: name,
      partition,
      timestamp: OffsetSpec.LATEST,
    })),
  )
  const begin = performance.now()
  const offsets = await admin.listOffsets(queries)
  const latency = performance.now() - begin
  const ends = new Map<string, number>()
  const endOf = new Map<string, number>()
  const latencyMs = new Map<string, number>()
  for (const { topic, partition, offset, error } of offsets) {
    if (error !== null) continue
    add(ends, topic, offset)
    endOf.set(`${partition}/${topic}`, offset)
    latencyMs.set(topic, latency)
  }
  const bytes = new Map<string, number>()
  const { brokers } = await admin.describeCluster()
  for (const dir of await admin.describeLogDirs(brokers.map(({ brokerId }) => brokerId))) {
    for (const { topic, sizeBytes, isFuture } of dir.replicas) {
      if (!isFuture) add(bytes, topic, sizeBytes)
    }
  }
  const { groups } = await admin.listGroups()
  const consumed = new Map<string, number>()
  const lag = new Map<string, number>()
  const committed = await admin.listGroupOffsets(groups.map(({ groupId }) => groupId))
  for (const group of committed) {
    const behind = new Map<string, number>()
    for (const { topic, partition, offset } of group.offsets) {
      const end = endOf.get(`${partition}/${topic}`)
      if (offset < 0 || end === undefined) continue
      add(consumed, topic, offset)
      add(behind, topic, Math.max(0, end - offset))
    }
    for (const [topic, value] of behind) lag.set(topic, Math.max(lag.get(topic) ?? 0, value))
  }
  return {
    atMs: performance.now(),
    ends,
    bytes,
    partitions: new Map(described.map(({ name, partitions }) => [name, partitions.length])),
    consumed,
    lag,
    latencyMs,
    groups: groups.length,
  }
}

/** What happened between two looks, the busiest topic first. */
function ratesOf(before: Sample, now: Sample): TopicRates[] {
  const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000)
  const rate = (map: (one: Sample) => ReadonlyMap<string, number>, topic: string): number => {
    const old = map(before).get(topic)
    const current = map(now).get(topic)
    // A topic that was made or emptied in between has no rate yet.
    return old === undefined || current === undefined ? 0 : Math.max(0, (current - old) / seconds)
  }
  return [...now.partitions]
    .map(([topic, partitions]) => ({
      topic,
      partitions,
      sizeBytes: now.bytes.get(topic) ?? 0,
      recordsIn: rate((one) => one.ends, topic),
      bytesIn: rate((one) => one.bytes, topic),
      recordsOut: rate((one) => one.consumed, topic),
      lag: now.lag.get(topic) ?? null,
      latencyMs: now.latencyMs.get(topic) ?? 0,
    }))
    .sort((a, b) => b.bytesIn - a.bytesIn || (a.topic < b.topic ? -1 : 1))
}

function human(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

function table(rates: readonly TopicRates[], rows: number): string[] {
  const width = Math.max(5, ...rates.map(({ topic }) => topic.length))
  const head = `${'TOPIC'.padEnd(width)}  PARTITIONS        SIZE    RECORDS-IN/s      BYTES-IN/s   RECORDS-OUT/s         LAG  LATENCY-ms`
  const lines = rates
    .slice(0, rows)
    .map((one) =>
      [
        one.topic.padEnd(width),
        String(one.partitions).padStart(12),
        human(one.sizeBytes).padStart(12),
        one.recordsIn.toFixed(1).padStart(16),
        human(one.bytesIn).padStart(16),
        one.recordsOut.toFixed(1).padStart(16),
        (one.lag === null ? '-' : String(one.lag)).padStart(12),
        one.latencyMs.toFixed(1).padStart(12),
      ].join(''),
    )
  return [head, ...lines]
}

async function show(
  cluster: Cluster,
  given: ParsedOptions<keyof typeof options>,
  io: ToolIo,
): Promise<void> {
  const admin = new Admin(cluster)
  const intervalMs = given.integer('interval-ms', { min: 100, max: 3_600_000 }) ?? 1000
  const isLive = process.stdout.isTTY === true && !given.has('once') && !io.json
  const excludeInternal = given.has('exclude-internal')
  let before = await sample(admin, excludeInternal)
  for (;;) {
    await cluster.pause(intervalMs, io.signal)
    if (io.signal.aborted) return
    const now = await sample(admin, excludeInternal)
    const rates = ratesOf(before, now)
    before = now
    if (io.json) {
      io.print(JSON.stringify({ timestamp: Date.now(), groups: now.groups, topics: rates }))
      if (given.has('once') || !process.stdout.isTTY) return
      continue
    }
    const lines = table(rates, isLive ? Math.max(1, (process.stdout.rows ?? 24) - 3) : rates.length)
    const clear = isLive ? '\u001B[H\u001B[2J' : ''
    const title = `${rates.length} topics, ${now.groups} groups, ${new Date().toISOString()}`
    io.stdout.write(`${clear}${title}\n${lines.join('\n')}\n`)
    if (!isLive) return
  }
}

async function run(given: ParsedOptions<keyof typeof options>, io: ToolIo): Promise<number> {
  const bootstrapServers = given.value('bootstrap-server') ?? DEFAULT_SERVER
  clientOptionsOf(new Map(), bootstrapServers)
  const cluster = await openCluster({ bootstrapServers, configFile: undefined }, io.signal)
  try {
    await show(cluster, given, io)
  } finally {
    await cluster.close()
  }
  return 0
}

export const shardlogTop = defineTool({
  name: 'shardlog top',
  summary: 'Shows rates, lag and latency of each topic, live.',
  options,
  table: true,
  notes: [
    'Where standard output is not a terminal it looks once. RECORDS-OUT/s counts what groups commit;',
    'LATENCY-ms is what the leaders took to answer; LAG is that of the group that is farthest behind.',
  ],
  run,
})
