/** `kafka-consumer-groups`: lists, describes and deletes groups, and moves their offsets. */
import { readFileSync } from 'node:fs'
import {
  type Admin,
  type AdminCallOptions,
  allOrThrow,
  type GroupListing,
  type TopicPartition,
} from '../client/admin.ts'
import { KafkaError } from '../client/errors.ts'
import {
  partitionRows,
  printMembers,
  printPartitionRows,
  printState,
  tellState,
} from './consumer-groups/describe.ts'
import {
  committedPartitions,
  type PlanContext,
  type PlannedOffset,
  parseResetPlan,
  planOffsets,
  resetPlanLines,
  type Strategy,
} from './consumer-groups/reset-plan.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { row, widest } from './kit/table.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

const TIMEOUT_MS = 5000
const STATES = [
  'Stable',
  'Empty',
  'PreparingRebalance',
  'CompletingRebalance',
  'Assigning',
  'Reconciling',
  'Dead',
]
const TYPES = ['Consumer', 'Classic']

const options = {
  'bootstrap-server': { ...BOOTSTRAP_SERVER, required: true },
  'command-config': COMMAND_CONFIG,
  timeout: {
    argument: 'ms',
    help: 'How long to wait for an answer.',
    default: String(TIMEOUT_MS),
  },
  list: { help: 'Lists the groups.' },
  describe: { help: 'Describes groups: their partitions, offsets and lag.' },
  delete: { help: 'Deletes groups without members, with their offsets.' },
  'delete-offsets': { help: 'Deletes the offsets of one group for topics.' },
  'reset-offsets': {
    help: 'Moves the offsets of groups without members. Shows the plan unless --execute is given.',
  },
  group: { argument: 'group', help: 'A group.', repeatable: true },
  'all-groups': { help: 'All groups.' },
  topic: {
    argument: 'topic[:0,1]',
    help: 'With --reset-offsets and --delete-offsets: a topic, or some of its partitions.',
    repeatable: true,
  },
  'all-topics': { help: 'With --reset-offsets: all partitions that the group has offsets for.' },
  state: {
    argument: 'state,...',
    argumentOptional: true,
    help: 'With --describe: the state of the group. With --list: states, or groups in them.',
  },
  type: {
    argument: 'type,...',
    argumentOptional: true,
    help: 'With --list: types of the groups, or groups of them: classic, consumer.',
  },
  members: { help: 'With --describe: the members of the group.' },
  offsets: { help: 'With --describe: partitions, offsets and lag, as without it.' },
  verbose: { help: 'With --describe: more, such as the partitions of each member.' },
  'dry-run': { help: 'With --reset-offsets: only shows the plan.' },
  execute: { help: 'With --reset-offsets: does it.' },
  export: { help: 'With --reset-offsets: prints the plan as CSV.' },
  'to-earliest': { help: 'To the first offset.' },
  'to-latest': { help: 'To the end.' },
  'to-current': { help: 'To the committed offset, or the end if there is none.' },
  'to-offset': { argument: 'offset', help: 'To this offset.' },
  'to-datetime': {
    argument: 'YYYY-MM-DDTHH:mm:SS.sss',
    help: 'To the first record from then on; UTC if no zone is given.',
  },
  'by-duration': {
    argument: 'PnDTnHnMnS',
    help: 'To the first record of the time up to now.',
  },
  'shift-by': { argument: 'n', help: 'By so many offsets, forward or (negative) back.' },
  'from-file': {
    argument: 'file',
    help: 'To the offsets of a CSV file: topic,partition,offset, or with the group before them.',
  },
} as const

type Options = ParsedOptions<keyof typeof options>

const STRATEGIES = [
  'to-earliest',
  'to-latest',
  'to-current',
  'to-offset',
  'to-datetime',
  'by-duration',
  'shift-by',
  'from-file',
] as const

type Action = 'list' | 'describe' | 'delete' | 'delete-offsets' | 'reset-offsets'

function checkOptions(given: Options): Action {
  const action = given.exactlyOne('list', 'describe', 'delete', 'delete-offsets', 'reset-offsets')
  given.atMostOne('group', 'all-groups')
  if (action === 'list') {
    given.excludes('list', 'group', 'all-groups', 'topic')
  } else if (action === 'delete-offsets') {
    given.required('group')
    given.required('topic')
    if (given.values('group').length > 1) throw new UsageError('--delete-offsets wants one --group')
  } else if (!given.has('group') && !given.has('all-groups')) {
    throw new UsageError(`--${action} wants --group or --all-groups`)
  }
  if (action === 'describe') {
    given.atMostOne('members', 'offsets', 'state')
    if (given.value('state') !== undefined) {
      throw new UsageError('--state takes no value with --describe')
    }
    given.excludes('describe', 'topic')
  } else {
    const [first] = given.which('members', 'offsets', 'verbose')
    if (first !== undefined) throw new UsageError(`--${first} wants --describe`)
    if (given.has('state') && action !== 'list') throw new UsageError('--state wants --list')
  }
  if (given.has('type') && action !== 'list') throw new UsageError('--type wants --list')
  if (action === 'delete' && given.has('topic')) {
    throw new UsageError('--delete takes whole groups', '--delete-offsets takes --topic')
  }
  if (action === 'reset-offsets') {
    given.atMostOne('dry-run', 'execute')
    given.exactlyOne(...STRATEGIES)
    if (!given.has('from-file')) given.exactlyOne('topic', 'all-topics')
  }
  return action
}

/** Names from a list with commas, as they are spelled in `known`. Throws UsageError. */
function namesOf(text: string | undefined, known: readonly string[], what: string): string[] {
  if (text === undefined || text === '') return []
  return text.split(',').map((part) => {
    const found = known.find((name) => name.toLowerCase() === part.trim().toLowerCase())
    if (found !== undefined) return found
    throw new UsageError(`Invalid ${what} list '${text}'. Valid ${what}s are: ${known.join(', ')}`)
  })
}

function titled(text: string): string {
  return text === '' ? 'Unknown' : text.charAt(0).toUpperCase() + text.slice(1)
}

/** The consumer groups, and groups that only have offsets; other kinds are not Apache's tool's. */
async function consumerGroups(
  admin: Admin,
  call: AdminCallOptions & {
    readonly states?: readonly string[]
    readonly types?: readonly string[]
  },
  io: ToolIo,
): Promise<GroupListing[]> {
  const { groups, errors } = await admin.listGroups(call)
  for (const { brokerId, error } of errors) {
    io.warn(`broker ${brokerId} could not be asked for its groups: ${error.message}`)
  }
  return groups.filter(({ protocolType }) => protocolType === 'consumer' || protocolType === '')
}

async function list(admin: Admin, given: Options, call: AdminCallOptions, io: ToolIo) {
  const states = namesOf(given.value('state'), STATES, 'state')
  const types = namesOf(given.value('type'), TYPES, 'type').map((name) => name.toLowerCase())
  const groups = await consumerGroups(
    admin,
    {
      ...call,
      ...(states.length > 0 ? { states } : {}),
      ...(types.length > 0 ? { types } : {}),
    },
    io,
  )
  if (io.json) {
    io.print(
      JSON.stringify(groups.map(({ groupId, type, state }) => ({ group: groupId, type, state }))),
    )
    return
  }
  if (!given.has('state') && !given.has('type')) {
    for (const { groupId } of groups) io.print(groupId)
    return
  }
  const columns = [
    { title: 'GROUP', cell: (group: GroupListing) => group.groupId },
    ...(given.has('type')
      ? [{ title: 'TYPE', cell: (group: GroupListing) => titled(group.type) }]
      : []),
    ...(given.has('state')
      ? [{ title: 'STATE', cell: (group: GroupListing) => group.state || 'Unknown' }]
      : []),
  ]
  const longest = widest(
    15,
    groups.map(({ groupId }) => groupId),
  )
  const widths = columns.map((_, at) => (at === 0 ? longest + 10 : 20))
  io.print(
    row(
      columns.map(({ title }) => title),
      widths,
    ),
  )
  for (const group of groups) {
    io.print(
      row(
        columns.map(({ cell }) => cell(group)),
        widths,
      ),
    )
  }
}

async function groupIdsOf(
  admin: Admin,
  given: Options,
  call: AdminCallOptions,
  io: ToolIo,
): Promise<string[]> {
  if (!given.has('all-groups')) return [...new Set(given.values('group'))].sort()
  return (await consumerGroups(admin, call, io)).map(({ groupId }) => groupId)
}

async function describe(
  admin: Admin,
  given: Options,
  call: AdminCallOptions,
  io: ToolIo,
): Promise<number> {
  const groupIds = await groupIdsOf(admin, given, call, io)
  const groups = await admin.describeGroups(groupIds, call)
  const json: unknown[] = []
  let failures = 0
  for (const group of groups) {
    const { groupId, state, protocol, coordinator, members } = group
    if (!tellState(group, io)) {
      failures += 1
      continue
    }
    if (given.has('state')) {
      if (io.json) {
        const count = members.length
        json.push({
          group: groupId,
          coordinator,
          assignmentStrategy: protocol,
          state,
          members: count,
        })
      } else printState(group, io)
    } else if (given.has('members')) {
      if (io.json) {
        json.push({
          group: groupId,
          members: members.map(({ assignmentBytes: _, ...member }) => member),
        })
      } else printMembers(group, { verbose: given.has('verbose') }, io)
    } else {
      const rows = await partitionRows(admin, group, call)
      if (io.json) json.push({ group: groupId, state, partitions: rows })
      else printPartitionRows(groupId, rows, io)
    }
  }
  if (io.json) io.print(JSON.stringify(json))
  return failures === 0 ? 0 : 1
}

async function deleteGroups(
  admin: Admin,
  given: Options,
  call: AdminCallOptions,
  io: ToolIo,
): Promise<number> {
  const groupIds = await groupIdsOf(admin, given, call, io)
  const results = await admin.deleteGroups(groupIds, call)
  const failed = results.filter(({ error }) => error !== null)
  const done = results.filter(({ error }) => error === null).map(({ groupId }) => groupId)
  if (io.json) {
    io.print(
      JSON.stringify(
        results.map(({ groupId, error }) => ({ group: groupId, error: error?.message ?? null })),
      ),
    )
  } else if (failed.length === 0) {
    io.print(`Deletion of requested consumer groups ('${done.join(', ')}') was successful.`)
  } else if (done.length > 0) {
    const names = done.map((name) => `'${name}'`).join(', ')
    io.print(`These consumer groups were deleted successfully: ${names}`)
  }
  if (failed.length > 0) io.warn('Error: Deletion of some consumer groups failed:')
  for (const { groupId, error } of failed) {
    io.warn(`* Group '${groupId}' could not be deleted due to: ${error?.message}`)
  }
  return failed.length === 0 ? 0 : 1
}

/** `topic` and `topic:0,1` as partitions. Throws ToolError for a topic that is not there. */
async function partitionsOf(
  admin: Admin,
  texts: readonly string[],
  call: AdminCallOptions,
): Promise<TopicPartition[]> {
  const partitions: TopicPartition[] = []
  const whole: string[] = []
  for (const text of texts) {
    const [topic = '', list, ...more] = text.split(':')
    if (list === undefined) {
      whole.push(topic)
      continue
    }
    if (more.length > 0 || topic === '' || !/^\d+(,\d+)*$/.test(list)) {
      throw new UsageError(`Invalid topic arg '${text}', expected topic name and partitions`)
    }
    for (const partition of list.split(',')) {
      partitions.push({ topic, partition: Number(partition) })
    }
  }
  for (const { name, error, partitions: all } of await admin.describeTopics(whole, call)) {
    if (error !== null) throw new ToolError(`topic '${name}': ${error.message}`)
    for (const { partition } of all) partitions.push({ topic: name, partition })
  }
  const names = new Map(partitions.map((one) => [`${one.topic}:${one.partition}`, one]))
  return [...names.values()].sort(
    (a, b) => (a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : 0) || a.partition - b.partition,
  )
}

const OFFSET_ERRORS: Readonly<Record<string, (group: string) => string>> = {
  InvalidGroupIdError: (group) => `'${group}' is not valid.`,
  GroupIdNotFoundError: (group) => `'${group}' does not exist.`,
  GroupAuthorizationFailedError: (group) => `Access to '${group}' is not authorized.`,
  NonEmptyGroupError: (group) =>
    `Deleting offsets of a consumer group '${group}' is forbidden if the group is not empty.`,
}

async function deleteOffsets(
  admin: Admin,
  given: Options,
  call: AdminCallOptions,
  io: ToolIo,
): Promise<number> {
  const group = given.required('group')
  const topics = given.values('topic')
  const partitions = await partitionsOf(admin, topics, call)
  const results = await (async () => {
    try {
      return await admin.deleteGroupOffsets(group, partitions, call)
    } catch (error) {
      const text = error instanceof KafkaError ? OFFSET_ERRORS[error.name]?.(group) : undefined
      throw text === undefined ? error : new ToolError(`Error: ${text}`)
    }
  })()
  const failed = results.some(({ error }) => error !== null)
  if (io.json) {
    const list = results.map(({ error, ...one }) => ({ ...one, error: error?.message ?? null }))
    io.print(JSON.stringify({ group, partitions: list }))
    return failed ? 1 : 0
  }
  if (failed) io.warn('Error: Encounter some partition level error, see the follow-up details:')
  else {
    io.print(`Request succeed for deleting offsets with topic ${topics.join(', ')} group ${group}`)
  }
  const widths = [30, 15, 15]
  io.print('')
  io.print(row(['TOPIC', 'PARTITION', 'STATUS'], widths))
  for (const { topic, partition, error } of results) {
    const status = error === null ? 'Successful' : `Error: :${error.message}`
    io.print(row([topic, partition, status], widths))
  }
  return failed ? 1 : 0
}

async function strategyOf(given: Options): Promise<Strategy> {
  const times = () => import('./consumer-groups/points-in-time.ts')
  switch (given.exactlyOne(...STRATEGIES)) {
    case 'to-earliest':
      return { kind: 'earliest' }
    case 'to-latest':
      return { kind: 'latest' }
    case 'to-current':
      return { kind: 'current' }
    case 'to-offset':
      return { kind: 'offset', value: given.integer('to-offset') as number }
    case 'shift-by':
      return { kind: 'shift', value: given.integer('shift-by') as number }
    case 'to-datetime': {
      const { parseDateTime } = await times()
      return { kind: 'time', value: parseDateTime(given.required('to-datetime')) }
    }
    case 'by-duration': {
      const { parseDuration } = await times()
      return { kind: 'time', value: Date.now() - parseDuration(given.required('by-duration')) }
    }
    case 'from-file': {
      const path = given.required('from-file')
      try {
        return {
          kind: 'plan',
          plan: parseResetPlan(readFileSync(path, 'utf8'), given.values('group')),
        }
      } catch (error) {
        if (error instanceof UsageError) throw error
        throw new ToolError(`cannot read ${path}: ${(error as Error).message}`)
      }
    }
  }
}

function printPlan(plans: readonly (readonly [string, readonly PlannedOffset[]])[], io: ToolIo) {
  const widths = [30, 30, 10, 15]
  io.print('')
  io.print(row(['GROUP', 'TOPIC', 'PARTITION', 'NEW-OFFSET'], widths))
  for (const [groupId, offsets] of plans) {
    for (const { topic, partition, offset } of offsets) {
      io.print(row([groupId, topic, partition, offset], widths))
    }
  }
}

async function resetOffsets(
  admin: Admin,
  given: Options,
  call: AdminCallOptions,
  io: ToolIo,
): Promise<number> {
  const strategy = await strategyOf(given)
  const execute = given.has('execute')
  if (!execute && !given.has('dry-run')) {
    io.warn('WARN: No action will be performed as the --execute option is missing.')
  }
  const groupIds = await groupIdsOf(admin, given, call, io)
  const groups = await admin.describeGroups(groupIds, call)
  const context: PlanContext = { admin, options: call, warn: io.warn }
  const plans: [string, PlannedOffset[]][] = []
  let failures = 0
  for (const { groupId, state, error } of groups) {
    if (error !== null) throw error
    if (state !== 'Empty' && state !== 'Dead') {
      io.warn(
        `Error: Assignments can only be reset if the group '${groupId}' is inactive, but the ` +
          `current state is ${state}.`,
      )
      failures += 1
      continue
    }
    const partitions = given.has('all-topics')
      ? await committedPartitions(context, groupId)
      : await partitionsOf(admin, given.values('topic'), call)
    const plan = await planOffsets(context, groupId, partitions, strategy)
    if (execute) allOrThrow(await admin.alterGroupOffsets(groupId, plan, call))
    plans.push([groupId, plan])
  }
  if (io.json) {
    const list = plans.map(([group, offsets]) => ({ group, executed: execute, offsets }))
    io.print(JSON.stringify(list))
  } else if (given.has('export')) {
    const withGroup = given.values('group').length !== 1
    for (const [groupId, offsets] of plans) {
      for (const line of resetPlanLines(groupId, offsets, { withGroup })) io.print(line)
    }
  } else if (plans.length > 0) printPlan(plans, io)
  return failures === 0 ? 0 : 1
}

export const kafkaConsumerGroups = defineTool({
  name: 'kafka-consumer-groups',
  summary: 'Lists, describes and deletes consumer groups, and moves their offsets.',
  options,
  table: true,
  wantsArguments: true,
  notes: [
    'Exactly one of --list, --describe, --delete, --delete-offsets, --reset-offsets.',
    'A missing group, a group with members that cannot be deleted or reset, and a partition that',
    "fails end with status 1, where Apache Kafka's tool says 0; errors are on standard error.",
  ],
  async run(given, io) {
    const action = checkOptions(given)
    const timeoutMs = given.integer('timeout', { min: 1 }) ?? TIMEOUT_MS
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
      timeoutMs,
    }
    return await withAdmin(contact, io, async (admin) => {
      const call = { timeoutMs, signal: io.signal }
      if (action === 'list') {
        await list(admin, given, call, io)
        return 0
      }
      if (action === 'describe') return await describe(admin, given, call, io)
      if (action === 'delete') return await deleteGroups(admin, given, call, io)
      if (action === 'delete-offsets') return await deleteOffsets(admin, given, call, io)
      return await resetOffsets(admin, given, call, io)
    })
  },
})
