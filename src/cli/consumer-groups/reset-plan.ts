/** Where `--reset-offsets` puts a group: one function for each way to say it. */
import {
  type Admin,
  type AdminCallOptions,
  allOrThrow,
  OffsetSpec,
  type TopicPartition,
} from '../../client/admin.ts'
import { UsageError } from '../kit/options.ts'
import { ToolError } from '../kit/tool.ts'

export interface PlannedOffset extends TopicPartition {
  readonly offset: number
}

export type Strategy =
  | { readonly kind: 'earliest' | 'latest' | 'current' }
  | { readonly kind: 'offset' | 'shift' | 'time'; readonly value: number }
  | { readonly kind: 'plan'; readonly plan: ReadonlyMap<string, readonly PlannedOffset[]> }

export interface PlanContext {
  readonly admin: Admin
  readonly options: AdminCallOptions
  /** Told where an offset was moved into the log. */
  readonly warn: (line: string) => void
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

async function offsetsAt(
  { admin, options }: PlanContext,
  partitions: readonly TopicPartition[],
  timestamp: number,
): Promise<PlannedOffset[]> {
  const queries = partitions.map(({ topic, partition }) => ({ topic, partition, timestamp }))
  return allOrThrow(await admin.listOffsets(queries, options)).map(
    ({ topic, partition, offset }) => ({ topic, partition, offset }),
  )
}

/** Offsets of a time; partitions that have nothing from then on are put at their end. */
async function offsetsSince(
  context: PlanContext,
  partitions: readonly TopicPartition[],
  timestamp: number,
): Promise<PlannedOffset[]> {
  const found = await offsetsAt(context, partitions, timestamp)
  const missing = found.filter(({ offset }) => offset < 0)
  for (const { topic, partition } of missing) {
    context.warn(
      `Warn: Partition ${partition} from topic ${topic} is empty. Falling back to latest known ` +
        'offset.',
    )
  }
  const ends = await offsetsAt(context, missing, OffsetSpec.LATEST)
  return found.map((one) =>
    one.offset >= 0 ? one : (ends.find((end) => nameOf(end) === nameOf(one)) as PlannedOffset),
  )
}

/** Offsets moved to the nearest one that the log has. */
async function withinLogs(
  context: PlanContext,
  wanted: readonly PlannedOffset[],
): Promise<PlannedOffset[]> {
  const [starts, ends] = await Promise.all([
    offsetsAt(context, wanted, OffsetSpec.EARLIEST),
    offsetsAt(context, wanted, OffsetSpec.LATEST),
  ])
  return wanted.map((one, at) => {
    const start = (starts[at] as PlannedOffset).offset
    const end = (ends[at] as PlannedOffset).offset
    const moved = Math.max(start, Math.min(end, one.offset))
    if (moved === one.offset) return one
    const [what, which] =
      one.offset > end ? ['higher than latest', end] : ['lower than earliest', start]
    context.warn(
      `New offset (${one.offset}) is ${what} offset for topic partition ${nameOf(one)}. ` +
        `Value will be set to ${which}`,
    )
    return { ...one, offset: moved }
  })
}

async function committedOf(
  { admin, options }: PlanContext,
  groupId: string,
): Promise<PlannedOffset[]> {
  const [group] = allOrThrow(await admin.listGroupOffsets([groupId], null, options))
  return allOrThrow(group?.offsets ?? [])
    .filter(({ offset }) => offset >= 0)
    .map(({ topic, partition, offset }) => ({ topic, partition, offset }))
    .sort((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1))
}

/** Partitions that a group has committed offsets for. */
export async function committedPartitions(
  context: PlanContext,
  groupId: string,
): Promise<TopicPartition[]> {
  return await committedOf(context, groupId)
}

/** The offsets that a group shall have. Throws ToolError or KafkaError. */
export async function planOffsets(
  context: PlanContext,
  groupId: string,
  partitions: readonly TopicPartition[],
  strategy: Strategy,
): Promise<PlannedOffset[]> {
  switch (strategy.kind) {
    case 'earliest':
      return await offsetsAt(context, partitions, OffsetSpec.EARLIEST)
    case 'latest':
      return await offsetsAt(context, partitions, OffsetSpec.LATEST)
    case 'time':
      return await offsetsSince(context, partitions, strategy.value)
    case 'offset': {
      const wanted = partitions.map((one) => ({ ...one, offset: strategy.value }))
      return await withinLogs(context, wanted)
    }
    case 'shift': {
      const committed = await committedOf(context, groupId)
      const wanted = partitions.map((one) => {
        const now = committed.find((other) => nameOf(other) === nameOf(one))
        if (now === undefined) {
          throw new ToolError(
            `Cannot shift offset for partition ${nameOf(one)} since there is no current ` +
              'committed offset',
          )
        }
        return { ...one, offset: now.offset + strategy.value }
      })
      return await withinLogs(context, wanted)
    }
    case 'current': {
      const committed = await committedOf(context, groupId)
      const known = new Map(committed.map((one) => [nameOf(one), one]))
      const rest = partitions.filter((one) => !known.has(nameOf(one)))
      const ends = await offsetsAt(context, rest, OffsetSpec.LATEST)
      const atEnd = new Map(ends.map((one) => [nameOf(one), one]))
      return partitions.map(
        (one) => (known.get(nameOf(one)) ?? atEnd.get(nameOf(one))) as PlannedOffset,
      )
    }
    case 'plan': {
      const plan = strategy.plan.get(groupId)
      if (plan === undefined) throw new ToolError(`No reset plan for group ${groupId} found`)
      return await withinLogs(context, plan)
    }
  }
}

function csvCells(line: string): string[] {
  const cells: string[] = []
  const cell = /(?:"((?:[^"]|"")*)"|([^,"]*))(?:,|$)/gy
  while (cell.lastIndex < line.length) {
    const match = cell.exec(line)
    if (match === null) throw new UsageError(`not a line of CSV: ${JSON.stringify(line)}`)
    cells.push(match[1]?.replaceAll('""', '"') ?? (match[2] as string))
  }
  return cells
}

function wholeNumber(text: string | undefined, line: string): number {
  const value = Number(text)
  if (text === undefined || !/^\d+$/.test(text.trim()) || !Number.isSafeInteger(value)) {
    throw new UsageError(`not a line of a reset plan: ${JSON.stringify(line)}`)
  }
  return value
}

/**
 * Reads `topic,partition,offset` lines for the one group given, or `group,topic,partition,offset`
 * lines. Throws UsageError.
 */
export function parseResetPlan(
  text: string,
  groups: readonly string[],
): Map<string, PlannedOffset[]> {
  const plan = new Map<string, PlannedOffset[]>()
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === '') continue
    const cells = csvCells(line)
    const only = groups.length === 1 ? groups[0] : undefined
    const full = cells.length === 3 && only !== undefined ? [only, ...cells] : cells
    const [group, topic, partition, offset] = full
    if (full.length !== 4 || group === undefined || topic === undefined) {
      throw new UsageError(`not a line of a reset plan: ${JSON.stringify(line)}`)
    }
    const one = {
      topic,
      partition: wholeNumber(partition, line),
      offset: wholeNumber(offset, line),
    }
    plan.set(group, [...(plan.get(group) ?? []), one])
  }
  return plan
}

function csvCell(text: string): string {
  return /[",\s]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Lines that `parseResetPlan` reads; with several groups the group is in them. */
export function resetPlanLines(
  groupId: string,
  offsets: readonly PlannedOffset[],
  { withGroup }: { readonly withGroup: boolean },
): string[] {
  return offsets.map(({ topic, partition, offset }) => {
    const line = `${csvCell(topic)},${partition},${offset}`
    return withGroup ? `${csvCell(groupId)},${line}` : line
  })
}
