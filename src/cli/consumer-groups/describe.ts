/** The tables of `kafka-consumer-groups --describe`. */
import {
  type Admin,
  type AdminCallOptions,
  allOrThrow,
  type GroupDescription,
  OffsetSpec,
  type TopicPartition,
} from '../../client/admin.ts'
import { row, widest } from '../kit/table.ts'
import type { ToolIo } from '../kit/tool.ts'

export interface PartitionRow extends TopicPartition {
  /** Null: nothing committed. */
  readonly currentOffset: number | null
  /** Null: the partition is not there any more. */
  readonly logEndOffset: number | null
  readonly lag: number | null
  readonly consumerId: string | null
  readonly host: string | null
  readonly clientId: string | null
}

const REBALANCING = ['PreparingRebalance', 'CompletingRebalance', 'Assigning', 'Reconciling']

function byPartition(a: TopicPartition, b: TopicPartition): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

/** Partitions of a group: first those of members, then those that only have an offset. */
export async function partitionRows(
  admin: Admin,
  group: GroupDescription,
  options: AdminCallOptions,
): Promise<PartitionRow[]> {
  const [committed] = await admin.listGroupOffsets([group.groupId], null, options)
  if (committed !== undefined) allOrThrow([committed])
  const offsets = new Map(
    (committed?.offsets ?? [])
      .filter(({ offset }) => offset >= 0)
      .map((one) => [nameOf(one), one.offset]),
  )
  const wanted: (TopicPartition & Pick<PartitionRow, 'consumerId' | 'host' | 'clientId'>)[] = []
  const assigned = new Set<string>()
  const members = [...group.members].sort((a, b) => b.assignment.length - a.assignment.length)
  for (const { memberId, clientHost, clientId, assignment } of members) {
    for (const one of [...assignment].sort(byPartition)) {
      assigned.add(nameOf(one))
      wanted.push({ ...one, consumerId: memberId, host: clientHost, clientId })
    }
  }
  const rest = (committed?.offsets ?? [])
    .filter((one) => offsets.has(nameOf(one)) && !assigned.has(nameOf(one)))
    .sort(byPartition)
  for (const { topic, partition } of rest) {
    wanted.push({ topic, partition, consumerId: null, host: null, clientId: null })
  }
  const ends = await admin.listOffsets(
    wanted.map(({ topic, partition }) => ({ topic, partition, timestamp: OffsetSpec.LATEST })),
    options,
  )
  return wanted.map((one, at) => {
    const end = ends[at]
    const currentOffset = offsets.get(nameOf(one)) ?? null
    const logEndOffset = end === undefined || end.error !== null ? null : end.offset
    const lag =
      currentOffset === null || logEndOffset === null ? null : logEndOffset - currentOffset
    return { ...one, currentOffset, logEndOffset, lag }
  })
}

/** Says what is special about the state; false when there is no such group. */
export function tellState(group: GroupDescription, io: ToolIo): boolean {
  if (group.error !== null) {
    io.warn(`Error: ${group.groupId}: ${group.error.message}`)
    return false
  }
  if (group.state === 'Dead') {
    io.warn(`Error: Consumer group '${group.groupId}' does not exist.`)
    return false
  }
  if (group.state === 'Empty') {
    io.warn(`\nConsumer group '${group.groupId}' has no active members.`)
  } else if (REBALANCING.includes(group.state)) {
    io.warn(`\nWarning: Consumer group '${group.groupId}' is rebalancing.`)
  }
  return true
}

export function printPartitionRows(
  groupId: string,
  rows: readonly PartitionRow[],
  io: ToolIo,
): void {
  if (rows.length === 0) return
  const widths = [
    widest(15, [groupId]),
    widest(
      15,
      rows.map(({ topic }) => topic),
    ),
    ...[10, 15, 15, 15],
    widest(
      15,
      rows.map(({ consumerId }) => consumerId),
    ),
    widest(
      15,
      rows.map(({ host }) => host),
    ),
    0,
  ]
  const titles = ['GROUP', 'TOPIC', 'PARTITION', 'CURRENT-OFFSET', 'LOG-END-OFFSET', 'LAG']
  io.print('')
  io.print(row([...titles, 'CONSUMER-ID', 'HOST', 'CLIENT-ID'], widths))
  for (const one of rows) {
    const numbers = [one.partition, one.currentOffset, one.logEndOffset, one.lag]
    const cells = [groupId, one.topic, ...numbers, one.consumerId, one.host, one.clientId]
    io.print(row(cells, widths))
  }
}

function assignmentText(assignment: readonly TopicPartition[]): string {
  if (assignment.length === 0) return '-'
  const topics = new Map<string, string[]>()
  for (const { topic, partition } of assignment) {
    topics.set(topic, [...(topics.get(topic) ?? []), String(partition)])
  }
  return [...topics.values()]
    .map((partitions) => `(${partitions.sort().join(',')})`)
    .sort()
    .join(', ')
}

export function printMembers(
  group: GroupDescription,
  { verbose }: { readonly verbose: boolean },
  io: ToolIo,
): void {
  const { groupId, members } = group
  const withInstances = members.some(({ groupInstanceId }) => groupInstanceId)
  const column = (least: number, title: string, cell: (at: number) => string | number) => ({
    title,
    width: widest(
      least,
      members.map((_, at) => cell(at)),
    ),
    cell,
  })
  const member = (at: number) => members[at] as GroupDescription['members'][number]
  const columns = [
    column(15, 'GROUP', () => groupId),
    column(15, 'CONSUMER-ID', (at) => member(at).memberId),
    ...(withInstances
      ? [column(17, 'GROUP-INSTANCE-ID', (at) => member(at).groupInstanceId ?? '')]
      : []),
    column(15, 'HOST', (at) => member(at).clientHost),
    column(15, 'CLIENT-ID', (at) => member(at).clientId),
    column(15, '#PARTITIONS', (at) => member(at).assignment.length),
  ]
  const widths = columns.map(({ width }) => width)
  const titles = columns.map(({ title }) => title)
  io.print('')
  io.print(`${row(titles, widths)} ${verbose ? 'ASSIGNMENT' : ''}`)
  for (const at of members.keys()) {
    const cells = columns.map(({ cell }) => cell(at))
    io.print(`${row(cells, widths)} ${verbose ? assignmentText(member(at).assignment) : ''}`)
  }
}

export function printState(group: GroupDescription, io: ToolIo): void {
  const { coordinator } = group
  const where =
    coordinator === null
      ? '-'
      : `${coordinator.host}:${coordinator.port}  (${coordinator.brokerId})`
  const widths = [widest(25, [where]), 25, 20, 15, 0]
  io.print('')
  io.print(row(['GROUP', 'COORDINATOR (ID)', 'ASSIGNMENT-STRATEGY', 'STATE', '#MEMBERS'], widths))
  io.print(row([group.groupId, where, group.protocol, group.state, group.members.length], widths))
}
