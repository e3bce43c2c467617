/** `kafka-reassign-partitions`: moves partitions between brokers and log directories. */
import { setTimeout as wait } from 'node:timers/promises'
import type {
  Admin,
  LogDirDescription,
  OngoingReassignment,
  ReplicaLogDir,
  TopicDescription,
} from '../client/admin.ts'
import { systemRandom } from '../util/random.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, ZOOKEEPER } from './kit/connection.ts'
import { objectsOf, readJsonFile, stringField } from './kit/json-file.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'
import {
  byPartition,
  logDirMoves,
  type Placement,
  partitionName,
  planJson,
  readPlan,
} from './reassign/plan-file.ts'
import { type PlacedBroker, proposeReplicas } from './reassign/proposal.ts'
import { clearThrottles, throttleLogDirs, throttleMoves } from './reassign/throttles.ts'

const TIMEOUT_MS = 10_000
const POLL_MS = 100
const REPLICA_NOT_AVAILABLE = 9

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'command-config': COMMAND_CONFIG,
  zookeeper: ZOOKEEPER,
  generate: { help: 'Proposes where the partitions of topics could be, and does nothing.' },
  execute: { help: 'Starts the moves of a plan.' },
  verify: { help: 'Says how far a plan is; once it is done, takes its throttles away.' },
  cancel: { help: 'Cancels the moves of a plan that are under way.' },
  list: { help: 'Lists the moves that are under way.' },
  'topics-to-move-json-file': {
    argument: 'file',
    help: 'With --generate: {"topics": [{"topic": "foo"}], "version": 1}',
  },
  'broker-list': { argument: '0,1,2', help: 'With --generate: brokers to use.' },
  'disable-rack-aware': { help: 'With --generate: racks play no part.' },
  'reassignment-json-file': {
    argument: 'file',
    help: 'The plan. For the form see below.',
  },
  additional: { help: 'With --execute: beside moves that are under way.' },
  throttle: { argument: 'bytes/s', help: 'With --execute: limits moves between brokers.' },
  'replica-alter-log-dirs-throttle': {
    argument: 'bytes/s',
    help: 'With --execute: limits moves between log directories.',
  },
  timeout: {
    argument: 'ms',
    help: 'With --execute: how long to wait for moves between log directories to begin.',
    default: String(TIMEOUT_MS),
  },
  'preserve-throttles': { help: 'With --verify and --cancel: leaves the throttles alone.' },
} as const

type Options = ParsedOptions<keyof typeof options>
type Action = 'generate' | 'execute' | 'verify' | 'cancel' | 'list'

const PERMITTED: Readonly<Record<Action, readonly (keyof typeof options)[]>> = {
  generate: ['topics-to-move-json-file', 'broker-list', 'disable-rack-aware'],
  execute: [
    ...(['reassignment-json-file', 'additional', 'throttle', 'timeout'] as const),
    'replica-alter-log-dirs-throttle',
  ],
  verify: ['reassignment-json-file', 'preserve-throttles'],
  cancel: ['reassignment-json-file', 'preserve-throttles', 'timeout'],
  list: [],
}

const NOT_WITH_ZOOKEEPER = [
  ...(['additional', 'throttle', 'timeout', 'preserve-throttles'] as const),
  'replica-alter-log-dirs-throttle',
] as const

function checkOptions(given: Options): Action {
  const action = given.exactlyOne('generate', 'execute', 'verify', 'cancel', 'list')
  const other = Object.values(PERMITTED).flat()
  for (const name of new Set(other)) {
    if (given.has(name) && !PERMITTED[action].includes(name)) {
      throw new UsageError(`--${name} cannot be used with --${action}`)
    }
  }
  if (action === 'generate') {
    given.required('topics-to-move-json-file')
    given.required('broker-list')
  } else if (action !== 'list') given.required('reassignment-json-file')
  if (given.has('zookeeper')) {
    given.excludes('zookeeper', 'bootstrap-server', 'command-config', 'cancel', 'list')
    given.excludes('zookeeper', ...NOT_WITH_ZOOKEEPER)
  } else given.required('bootstrap-server')
  return action
}

async function topicsNamed(admin: Admin, names: Iterable<string>): Promise<TopicDescription[]> {
  const topics = await admin.describeTopics([...new Set(names)])
  for (const { name, error } of topics) {
    if (error === null) continue
    throw new ToolError(error.code === 3 ? `Topic ${name} not found.` : `${name}: ${error.message}`)
  }
  return topics
}

function placesOf(topics: readonly TopicDescription[]) {
  return topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partition, replicas }) => ({ topic: name, partition, replicas })),
  )
}

function brokerList(text: string): number[] {
  const ids = text.split(',').map((part) => {
    if (!/^\s*\d{1,10}\s*$/.test(part)) {
      throw new UsageError(`--broker-list: ${JSON.stringify(part)} is not a broker id`)
    }
    return Number(part)
  })
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new UsageError(`Broker list contains duplicate entries: ${twice}`)
  return ids
}

async function placedBrokers(
  admin: Admin,
  ids: readonly number[],
  rackAware: boolean,
): Promise<PlacedBroker[]> {
  const { brokers } = await admin.describeCluster()
  const wanted = brokers.filter(({ brokerId }) => ids.includes(brokerId))
  const racked = wanted.filter(({ rack }) => rack !== null).length
  if (rackAware && racked !== 0 && racked !== wanted.length) {
    throw new ToolError(
      'Not all brokers have rack information',
      '--disable-rack-aware does without',
    )
  }
  return wanted.map(({ brokerId, rack }) => ({ brokerId, rack: rackAware ? rack : null }))
}

function topicsToMove(given: Options): string[] {
  const path = given.required('topics-to-move-json-file')
  const names = objectsOf(readJsonFile(path), 'topics', path).map((item) =>
    stringField(item, 'topic', path),
  )
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice === undefined) return names
  throw new ToolError(`List of topics to reassign contains duplicate entries: ${twice}`)
}

async function generate(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const names = topicsToMove(given)
  const ids = brokerList(given.required('broker-list'))
  const topics = await topicsNamed(admin, names)
  const brokers = await placedBrokers(admin, ids, !given.has('disable-rack-aware'))
  const proposed = topics.flatMap(({ name, partitions }) => {
    const replicationFactor = partitions[0]?.replicas.length ?? 1
    const counts = { partitions: partitions.length, replicationFactor }
    return proposeReplicas(brokers, counts, systemRandom).map((replicas, at) => ({
      topic: name,
      partition: partitions[at]?.partition ?? at,
      replicas,
    }))
  })
  const now = planJson(placesOf(topics))
  if (io.json) {
    io.print(`{"current":${now},"proposed":${planJson(proposed)}}`)
    return
  }
  io.print(`Current partition replica assignment\n${now}\n`)
  io.print(`Proposed partition reassignment configuration\n${planJson(proposed)}`)
}

async function currentPlaces(
  admin: Admin,
  plan: readonly Placement[],
): Promise<Map<string, readonly number[]>> {
  const topics = await topicsNamed(
    admin,
    plan.map(({ topic }) => topic),
  )
  const all = new Map(placesOf(topics).map((one) => [partitionName(one), one.replicas]))
  const missing = plan.map(partitionName).filter((name) => !all.has(name))
  if (missing.length > 0) throw new ToolError(`Unable to find partition: ${missing.join(', ')}`)
  return all
}

async function startLogDirMoves(
  admin: Admin,
  moves: readonly ReplicaLogDir[],
  timeoutMs: number,
  io: ToolIo,
): Promise<void> {
  const begin = performance.now()
  let open = [...moves]
  while (open.length > 0) {
    const results = await admin.alterReplicaLogDirs(open)
    for (const { topic, partition, brokerId, error } of results) {
      const name = `${topic}-${partition}`
      // A replica that is still on its way to that broker can be moved there only later.
      if (error?.code === REPLICA_NOT_AVAILABLE) continue
      if (error !== null) {
        throw new ToolError(`Failed to alter dir for ${name}-${brokerId}: ${error.message}`)
      }
      const move = open.find((one) => partitionName(one) === name && one.brokerId === brokerId)
      open = open.filter((one) => one !== move)
      io.print(
        `Successfully started moving log directory to ${move?.logDir} for replica ${name} ` +
          `with broker ${brokerId} `,
      )
    }
    if (open.length === 0) return
    if (performance.now() - begin >= timeoutMs) {
      const names = open.map((one) => `${partitionName(one)}-${one.brokerId}`).join(',')
      throw new ToolError(`Timed out before log directory moves could be started for: ${names}`)
    }
    await wait(POLL_MS, undefined, { signal: io.signal })
  }
}

async function execute(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const plan = readPlan(given.required('reassignment-json-file'))
  const rate = given.integer('throttle', { min: -1 }) ?? -1
  const logDirRate = given.integer('replica-alter-log-dirs-throttle', { min: -1 }) ?? -1
  const timeoutMs = given.integer('timeout', { min: 0 }) ?? TIMEOUT_MS
  const moves = logDirMoves(plan)
  const ongoing = await admin.listPartitionReassignments()
  if (ongoing.length > 0 && !given.has('additional')) {
    throw new ToolError(
      'Cannot execute because there is an existing partition assignment',
      '--additional starts this one beside it, and changes throttles',
    )
  }
  const { brokers } = await admin.describeCluster()
  const known = new Set(brokers.map(({ brokerId }) => brokerId))
  const unknown = plan.flatMap(({ replicas }) => replicas).find((id) => !known.has(id))
  if (unknown !== undefined) throw new ToolError(`Unknown broker id ${unknown}`)
  const current = await currentPlaces(admin, plan)
  const before = plan.map(({ topic, partition }) => ({
    topic,
    partition,
    replicas: current.get(partitionName({ topic, partition })) ?? [],
  }))
  io.print(`Current partition replica assignment\n\n${planJson(before)}\n`)
  io.print('Save this to use as the --reassignment-json-file option during rollback')
  if (rate >= 0 || logDirRate >= 0) {
    io.print(
      'Warning: You must run --verify periodically, until the reassignment completes, to ensure ' +
        'the throttle is removed.',
    )
  }
  if (rate >= 0) {
    await throttleMoves(admin, { plan, current, ongoing, bytesPerSecond: rate }, io)
  }
  if (logDirRate >= 0) {
    const ids = moves.map(({ brokerId }) => brokerId)
    await throttleLogDirs(admin, ids, logDirRate, io)
  }
  const failed = (await admin.alterPartitionReassignments(plan)).filter(
    ({ error }) => error !== null,
  )
  if (failed.length > 0) {
    const texts = failed
      .sort(byPartition)
      .map((one) => `${partitionName(one)}: ${one.error?.message}`)
    throw new ToolError(`Error reassigning partition(s): ${texts.join(', ')}`)
  }
  const plural = plan.length === 1 ? '' : 's'
  const names = plan.map(partitionName).join(',')
  io.print(`Successfully started partition reassignment${plural} for ${names}`)
  await startLogDirMoves(admin, moves, timeoutMs, io)
}

function stateLine(one: Placement, current: readonly number[], isOngoing: boolean): string {
  const name = partitionName(one)
  if (isOngoing) return `Reassignment of partition ${name} is still in progress.`
  if (current.join() === one.replicas.join())
    return `Reassignment of partition ${name} is completed.`
  return (
    `There is no active reassignment of partition ${name}, but replica set is ` +
    `${current.join(',')} rather than ${one.replicas.join(',')}.`
  )
}

/** The directory that a replica is in, and the one that it is moved to. */
function placeOf(
  { topic, partition, brokerId }: Omit<ReplicaLogDir, 'logDir'>,
  dirs: readonly LogDirDescription[],
): { readonly now: string | undefined; readonly future: string | undefined } {
  const holding = (isFuture: boolean): string | undefined =>
    dirs.find(
      (dir) =>
        dir.brokerId === brokerId &&
        dir.replicas.some(
          (one) => one.topic === topic && one.partition === partition && one.isFuture === isFuture,
        ),
    )?.logDir
  return { now: holding(false), future: holding(true) }
}

async function logDirsOf(
  admin: Admin,
  moves: readonly ReplicaLogDir[],
): Promise<LogDirDescription[]> {
  const brokers = [...new Set(moves.map(({ brokerId }) => brokerId))]
  return moves.length === 0 ? [] : await admin.describeLogDirs(brokers, moves)
}

/** The moves under way among those given, back to where the replicas are now. */
async function activeLogDirMoves(
  admin: Admin,
  moves: readonly ReplicaLogDir[],
): Promise<ReplicaLogDir[]> {
  const dirs = await logDirsOf(admin, moves)
  return moves.flatMap((move) => {
    const { now, future } = placeOf(move, dirs)
    return now === undefined || future === undefined ? [] : [{ ...move, logDir: now }]
  })
}

function logDirLine(
  { topic, partition, brokerId, logDir }: ReplicaLogDir,
  dirs: readonly LogDirDescription[],
): { readonly line: string; readonly isOngoing: boolean } {
  const name = partitionName({ topic, partition })
  const { now, future } = placeOf({ topic, partition, brokerId }, dirs)
  const settled = (line: string) => ({ line, isOngoing: false })
  if (now === undefined) {
    return settled(
      `Partition ${name} is not found in any live log dir on broker ${brokerId}. There is likely ` +
        'an offline log directory on the broker.',
    )
  }
  if (future === logDir) {
    const line = `Reassignment of replica ${name}-${brokerId} is still in progress.`
    return { line, isOngoing: true }
  }
  if (future !== undefined) {
    const line =
      `Partition ${name} on broker ${brokerId} is being moved to log dir ${future} instead of ` +
      `${logDir}.`
    return { line, isOngoing: true }
  }
  if (now === logDir) {
    return settled(`Reassignment of replica ${name}-${brokerId} completed successfully.`)
  }
  return settled(
    `Partition ${name} on broker ${brokerId} is not being moved from log dir ${now} to ${logDir}.`,
  )
}

async function verify(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const plan = readPlan(given.required('reassignment-json-file'))
  const ongoing = await admin.listPartitionReassignments()
  const topics = await admin.describeTopics([...new Set(plan.map(({ topic }) => topic))])
  const places = new Map(placesOf(topics).map((one) => [partitionName(one), one.replicas]))
  const open = new Set(ongoing.map(partitionName))
  io.print('Status of partition reassignment:')
  for (const one of plan) {
    const name = partitionName(one)
    io.print(stateLine(one, places.get(name) ?? [], open.has(name)))
  }
  const moves = logDirMoves(plan)
  const dirs = await logDirsOf(admin, moves)
  const states = moves.map((move) => logDirLine(move, dirs))
  io.print(states.map(({ line }) => line).join('\n'))
  const isDone = ongoing.length === 0 && !states.some(({ isOngoing }) => isOngoing)
  if (isDone && !given.has('preserve-throttles')) await clearThrottles(admin, plan, io)
}

async function cancel(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const plan = readPlan(given.required('reassignment-json-file'))
  const ongoing = new Set((await admin.listPartitionReassignments()).map(partitionName))
  const active = plan.filter((one) => ongoing.has(partitionName(one)))
  if (active.length > 0) {
    const requests = active.map(({ topic, partition }) => ({ topic, partition, replicas: null }))
    const failed = (await admin.alterPartitionReassignments(requests)).filter(
      ({ error }) => error !== null,
    )
    if (failed.length > 0) {
      const texts = failed.map((one) => `${partitionName(one)}: ${one.error?.message}`)
      throw new ToolError(`Error cancelling partition reassignment(s) for: ${texts.join(', ')}`)
    }
    const plural = active.length === 1 ? '' : 's'
    const names = active.map(partitionName).join(',')
    io.print(`Successfully cancelled partition reassignment${plural} for: ${names}`)
  } else io.print('None of the specified partition reassignments are active.')
  const back = await activeLogDirMoves(admin, logDirMoves(plan))
  if (back.length === 0) io.print('None of the specified partition moves are active.')
  else {
    const timeoutMs = given.integer('timeout', { min: 0 }) ?? TIMEOUT_MS
    await startLogDirMoves(admin, back, timeoutMs, io)
  }
  if (!given.has('preserve-throttles')) await clearThrottles(admin, plan, io)
}

function ongoingLine(one: OngoingReassignment): string {
  const part = (name: string, ids: readonly number[]): string =>
    ids.length === 0 ? '' : ` ${name}: ${ids.join(',')}.`
  return (
    `${partitionName(one)}: replicas: ${one.replicas.join(',')}.` +
    part('adding', one.addingReplicas) +
    part('removing', one.removingReplicas)
  )
}

async function list(admin: Admin, io: ToolIo): Promise<void> {
  const ongoing = (await admin.listPartitionReassignments()).sort(byPartition)
  if (io.json) io.print(JSON.stringify(ongoing))
  else if (ongoing.length === 0) io.print('No partition reassignments found.')
  else io.print(['Current partition reassignments:', ...ongoing.map(ongoingLine)].join('\n'))
}

/** Asks the controller as the tool of Kafka 0.8 did. */
async function throughZooKeeper(action: Action, given: Options, io: ToolIo): Promise<number> {
  const { withRegistry } = await import('./kit/with-registry.ts')
  const command = await import('./zookeeper/reassign-command.ts')
  const plan = action === 'generate' ? [] : readPlan(given.required('reassignment-json-file'))
  if (logDirMoves(plan).length > 0) {
    throw new ToolError(
      'log directories can be chosen through a broker only',
      'use --bootstrap-server',
    )
  }
  return await withRegistry({ connect: given.required('zookeeper') }, io, async (registry) => {
    if (action === 'execute') await command.execute(registry, plan, io)
    if (action === 'verify') return await command.verify(registry, plan, io)
    if (action === 'generate') {
      const topics = topicsToMove(given)
      const brokerIds = brokerList(given.required('broker-list'))
      const usesRacks = !given.has('disable-rack-aware')
      await command.generate(registry, { topics, brokerIds, usesRacks }, io)
    }
    return 0
  })
}

export const kafkaReassignPartitions = defineTool({
  name: 'kafka-reassign-partitions',
  summary: 'Moves partitions between brokers and log directories.',
  options,
  table: true,
  wantsArguments: true,
  notes: [
    'Exactly one of --generate, --execute, --verify, --cancel, --list. The plan:',
    '  {"version": 1, "partitions": [{"topic": "foo", "partition": 1, "replicas": [1, 2, 3],',
    '    "log_dirs": ["any", "any", "/data/2"]}]}',
    '--output json is for --generate and --list.',
    'With --zookeeper it asks and prints as Kafka 0.8.2 did: --generate, --execute, --verify.',
  ],
  async run(given, io) {
    const action = checkOptions(given)
    if (given.has('zookeeper')) return await throughZooKeeper(action, given, io)
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      if (action === 'generate') await generate(admin, given, io)
      else if (action === 'execute') await execute(admin, given, io)
      else if (action === 'verify') await verify(admin, given, io)
      else if (action === 'cancel') await cancel(admin, given, io)
      else await list(admin, io)
      return 0
    })
  },
})
