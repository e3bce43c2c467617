/** `kafka-topics`: creates, lists, describes, changes and deletes topics. */
import {
  type Admin,
  allOrThrow,
  type ConfigEntry,
  ConfigResourceType,
  type OngoingReassignment,
  type PartitionDescription,
  type TopicDescription,
} from '../client/admin.ts'
import { KafkaError, UnsupportedVersionError } from '../client/errors.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, ZOOKEEPER } from './kit/connection.ts'
import { nearestName } from './kit/nearest-name.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { topicFilter } from './kit/topic-filter.ts'
import { withAdmin } from './kit/with-admin.ts'

const INT16_MAX = 32767
const INT32_MAX = 2 ** 31 - 1
const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA'

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'command-config': COMMAND_CONFIG,
  zookeeper: ZOOKEEPER,
  create: { help: 'Creates a topic.' },
  list: { help: 'Lists the names of topics.' },
  describe: { help: 'Describes topics and their partitions.' },
  alter: { help: 'Gives a topic more partitions.' },
  delete: { help: 'Deletes topics.' },
  topic: {
    argument: 'topic',
    help: 'The topic; but with --create a regular expression for whole names.',
  },
  'topic-id': { argument: 'topic-id', help: 'The topic to describe, by its id.' },
  partitions: {
    argument: 'count',
    help:
      'Partitions of the topic. More of them change which partition a key goes to. ' +
      "Default with --create: the broker's num.partitions.",
  },
  'replication-factor': {
    argument: 'count',
    help: "Replicas of each partition. Default: the broker's default.replication.factor.",
  },
  'replica-assignment': {
    argument: 'b1:b2,b1:b2',
    help: 'Broker ids for each partition, the preferred leader first.',
  },
  config: {
    argument: 'key=value',
    help: 'With --create, and with --alter --zookeeper: a config of the topic.',
    repeatable: true,
  },
  'delete-config': {
    argument: 'key',
    help: 'With --alter --zookeeper; else kafka-configs --alter --delete-config does it.',
    repeatable: true,
  },
  'if-exists': { help: 'With --alter, --delete, --describe: no error if there is no such topic.' },
  'if-not-exists': { help: 'With --create: no error if the topic exists.' },
  'exclude-internal': { help: 'Leaves out internal topics.' },
  'under-replicated-partitions': { help: 'Describes only partitions with replicas out of sync.' },
  'unavailable-partitions': { help: 'Describes only partitions without a leader.' },
  'under-min-isr-partitions': {
    help: 'Describes only partitions with fewer replicas in sync than min.insync.replicas.',
  },
  'at-min-isr-partitions': {
    help: 'Describes only partitions with just min.insync.replicas in sync.',
  },
  'topics-with-overrides': { help: 'Describes only topics with configs of their own.' },
  'partition-size-limit-per-response': {
    argument: 'count',
    help: 'With --describe: partitions that one answer of the broker may hold.',
    default: '2000',
  },
} as const

type Options = ParsedOptions<keyof typeof options>

const REPORTS = [
  'under-replicated-partitions',
  'unavailable-partitions',
  'under-min-isr-partitions',
  'at-min-isr-partitions',
] as const

type Action = 'create' | 'list' | 'describe' | 'alter' | 'delete'

/** What the 0.8 tool had no word for. */
const NOT_WITH_ZOOKEEPER = [
  ...(['bootstrap-server', 'command-config', 'topic-id', 'exclude-internal'] as const),
  ...(['under-min-isr-partitions', 'at-min-isr-partitions'] as const),
  'partition-size-limit-per-response',
] as const

function checkOptions(given: Options): Action {
  const action = given.exactlyOne('create', 'list', 'describe', 'alter', 'delete')
  const changesConfigs = given.has('delete-config') || (action === 'alter' && given.has('config'))
  if (given.has('zookeeper')) given.excludes('zookeeper', ...NOT_WITH_ZOOKEEPER)
  const only = (name: keyof typeof options, ...actions: readonly string[]): void => {
    if (given.has(name) && !actions.includes(action)) {
      throw new UsageError(`--${name} cannot be used with --${action}`)
    }
  }
  if (changesConfigs && !given.has('zookeeper')) {
    throw new UsageError(
      'configs of a topic are not changed here',
      'use kafka-configs --alter --entity-type topics --entity-name TOPIC --add-config key=value',
    )
  }
  only('config', 'create', 'alter')
  only('delete-config', 'alter')
  only('partitions', 'create', 'alter')
  only('replication-factor', 'create')
  only('replica-assignment', 'create', 'alter')
  only('if-exists', 'alter', 'delete', 'describe')
  only('if-not-exists', 'create')
  only('exclude-internal', 'list', 'describe')
  for (const report of REPORTS) {
    only(report, 'describe')
    given.excludes(report, 'topics-with-overrides')
  }
  only('topics-with-overrides', 'describe')
  only('topic-id', 'describe')
  if (action === 'create') {
    given.excludes('replica-assignment', 'partitions', 'replication-factor')
  }
  if (action !== 'list' && action !== 'describe') given.required('topic')
  if (action === 'alter' && !changesConfigs) given.required('partitions')
  if (action === 'describe' && given.has('if-exists') && !given.has('topic-id')) {
    given.required('topic')
  }
  return action
}

/** `b1:b2,b1:b2` as lists of broker ids. Throws UsageError. */
export function parseReplicaAssignment(text: string): number[][] {
  const partitions = text.split(',').map((part) =>
    part.split(':').map((id) => {
      if (!/^\s*\d{1,10}\s*$/.test(id)) {
        throw new UsageError(`--replica-assignment: ${JSON.stringify(id)} is not a broker id`)
      }
      return Number(id)
    }),
  )
  for (const [partition, brokers] of partitions.entries()) {
    const twice = brokers.find((id, at) => brokers.indexOf(id) !== at)
    if (twice !== undefined) {
      throw new UsageError(`--replica-assignment: partition ${partition} has broker ${twice} twice`)
    }
    if (brokers.length !== partitions[0]?.length) {
      throw new UsageError(
        `--replica-assignment: partition ${partition} has a different replication factor`,
      )
    }
  }
  return partitions
}

function parseConfigs(texts: readonly string[]): Record<string, string> {
  const configs: Record<string, string> = {}
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at <= 0) throw new UsageError(`--config wants key=value, not ${JSON.stringify(text)}`)
    configs[text.slice(0, at).trim()] = text.slice(at + 1).trim()
  }
  return configs
}

async function create(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const name = given.required('topic')
  if (/[._]/.test(name)) {
    io.print(
      "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore " +
        "('_') could collide. To avoid issues it is best to use either, but not both.",
    )
  }
  const partitions = given.integer('partitions', { min: 1, max: INT32_MAX })
  const replicationFactor = given.integer('replication-factor', { min: 1, max: INT16_MAX })
  const assignment = given.value('replica-assignment')
  const configs = parseConfigs(given.values('config'))
  const [result] = await admin.createTopics([
    {
      name,
      configs,
      ...(partitions === undefined ? {} : { partitions }),
      ...(replicationFactor === undefined ? {} : { replicationFactor }),
      ...(assignment === undefined ? {} : { assignments: parseReplicaAssignment(assignment) }),
    },
  ])
  const error = result?.error ?? null
  if (error !== null && error.name === 'TopicAlreadyExistsError' && given.has('if-not-exists')) {
    return
  }
  if (error !== null) throw await withConfigHint(error, Object.keys(configs))
  if (io.json) io.print(JSON.stringify({ created: name, topicId: result?.topicId }))
  else io.print(`Created topic ${name}.`)
}

/** The error with the nearest name of a config that the broker does not know. */
async function withConfigHint(error: KafkaError, names: readonly string[]): Promise<Error> {
  if (error.name !== 'InvalidConfigError') return error
  const { topicConfig } = await import('../config/topic-config.ts')
  const known = Object.values(topicConfig).map(({ key }) => key as string)
  const wrong = names.find((name) => !known.includes(name) && error.message.includes(name))
  if (wrong === undefined) return error
  const nearest = nearestName(wrong, known)
  const hint = nearest === null ? '' : `, did you mean ${nearest}?`
  return new ToolError(`unknown topic config ${wrong}${hint}`)
}

/** Names that the option asks for, in order. Throws ToolError when there is none and must be. */
async function topicsWanted(admin: Admin, given: Options): Promise<string[]> {
  const all = (await admin.listTopics({ internal: true })).filter(
    ({ isInternal }) => !(isInternal && given.has('exclude-internal')),
  )
  const text = given.value('topic')
  if (text === undefined) return all.map(({ name }) => name)
  const fits = topicFilter(text)
  const found = all.map(({ name }) => name).filter(fits)
  if (found.length === 0 && text !== '' && !given.has('if-exists') && !given.has('list')) {
    const nearest = nearestName(
      text,
      all.map(({ name }) => name),
    )
    const hint = nearest === null ? undefined : `did you mean '${nearest}'?`
    throw new ToolError(`Topic '${text}' does not exist as expected`, hint)
  }
  return found
}

async function list(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  const names = await topicsWanted(admin, given)
  if (io.json) io.print(JSON.stringify(names))
  else for (const name of names) io.print(name)
}

async function alter(admin: Admin, given: Options): Promise<void> {
  const names = await topicsWanted(admin, given)
  if (names.length === 0) return
  const count = given.integer('partitions', { min: 1, max: INT32_MAX }) as number
  const text = given.value('replica-assignment')
  const assignment = text === undefined ? null : parseReplicaAssignment(text)
  const described = assignment === null ? [] : await admin.describeTopics(names)
  const results = await admin.createPartitions(
    names.map((topic) => {
      if (assignment === null) return { topic, count }
      // The list is of all partitions; those that are there keep their places.
      const there = described.find(({ name }) => name === topic)?.partitions.length ?? 0
      return { topic, count, assignments: assignment.slice(there) }
    }),
  )
  allOrThrow(results)
}

async function remove(admin: Admin, given: Options): Promise<void> {
  const names = await topicsWanted(admin, given)
  if (names.length > 0) allOrThrow(await admin.deleteTopics(names))
}

interface Described {
  readonly topic: TopicDescription
  readonly configs: readonly ConfigEntry[]
  readonly moves: ReadonlyMap<number, OngoingReassignment>
}

async function reassignmentsOf(admin: Admin): Promise<readonly OngoingReassignment[]> {
  try {
    return await admin.listPartitionReassignments(null, { timeoutMs: 10_000 })
  } catch (error) {
    // Brokers that have none, or do not tell: the description goes without.
    if (error instanceof UnsupportedVersionError) return []
    if (error instanceof KafkaError && error.code === 31) return []
    throw error
  }
}

async function describedTopics(admin: Admin, given: Options): Promise<Described[]> {
  const id = given.value('topic-id')
  const byId = id !== undefined && id !== ZERO_UUID
  const names = byId
    ? (await admin.listTopics({ internal: true }))
        .filter(({ topicId, isInternal }) => {
          return topicId === id && !(isInternal && given.has('exclude-internal'))
        })
        .map(({ name }) => name)
    : await topicsWanted(admin, given)
  if (byId && names.length === 0) {
    if (given.has('if-exists')) return []
    throw new ToolError(`TopicId '${id}' does not exist as expected`)
  }
  const limit = given.integer('partition-size-limit-per-response', { min: 1, max: INT32_MAX })
  const resources = names.map((name) => ({ type: ConfigResourceType.TOPIC, name }))
  const [topics, configs, moves] = await Promise.all([
    admin.describeTopics(names, limit === undefined ? {} : { partitionsPerResponse: limit }),
    resources.length === 0 ? [] : admin.describeConfigs(resources),
    reassignmentsOf(admin),
  ])
  allOrThrow(topics)
  allOrThrow(configs)
  const entries = new Map(configs.map(({ resource, entries: list }) => [resource.name, list]))
  return topics.map((topic) => ({
    topic,
    configs: entries.get(topic.name) ?? [],
    moves: new Map(
      moves.filter((move) => move.topic === topic.name).map((move) => [move.partition, move]),
    ),
  }))
}

function replicationFactorOf({ replicas }: PartitionDescription, move?: OngoingReassignment) {
  const moving = [...(move?.addingReplicas ?? []), ...(move?.removingReplicas ?? [])]
  const isMoving = move !== undefined && replicas.some((id) => moving.includes(id))
  return isMoving ? move.replicas.length - move.addingReplicas.length : replicas.length
}

type Partition = { readonly partition: PartitionDescription } & {
  readonly move: OngoingReassignment | undefined
  readonly minIsr: number
  readonly isLeaderAlive: boolean
}

function isReported(report: (typeof REPORTS)[number], one: Partition): boolean {
  const { isr, leaderId } = one.partition
  switch (report) {
    case 'under-replicated-partitions':
      return replicationFactorOf(one.partition, one.move) > isr.length
    case 'unavailable-partitions':
      return leaderId < 0 || !one.isLeaderAlive
    case 'under-min-isr-partitions':
      return leaderId < 0 || isr.length < one.minIsr
    case 'at-min-isr-partitions':
      return isr.length === one.minIsr
  }
}

function partitionLine(topic: string, { partition, move }: Partition): string {
  const ids = (list: readonly number[]): string => list.join(',')
  const moving =
    move === undefined
      ? ''
      : `\tAdding Replicas: ${ids(move.addingReplicas)}` +
        `\tRemoving Replicas: ${ids(move.removingReplicas)}`
  const elr = partition.eligibleLeaderReplicas
  const last = partition.lastKnownEligibleLeaderReplicas
  return (
    `\tTopic: ${topic}\tPartition: ${partition.partition}` +
    `\tLeader: ${partition.leaderId < 0 ? 'none' : partition.leaderId}` +
    `\tReplicas: ${ids(partition.replicas)}\tIsr: ${ids(partition.isr)}${moving}` +
    `\tElr: ${elr === null ? 'N/A' : ids(elr)}` +
    `\tLastKnownElr: ${last === null ? 'N/A' : ids(last)}`
  )
}

async function describe(admin: Admin, given: Options, io: ToolIo): Promise<void> {
  if (given.has('topic') && given.has('topic-id') && given.has('if-exists')) {
    io.warn('--topic-id is given: --topic is not looked at')
  }
  const described = await describedTopics(admin, given)
  const reports = given.which(...REPORTS)
  const { brokers } = await admin.describeCluster()
  const alive = new Set(brokers.map(({ brokerId }) => brokerId))
  const json: unknown[] = []
  for (const { topic, configs, moves } of described) {
    const own = configs.filter(({ source }) => isOwnConfig(source))
    if (given.has('topics-with-overrides') && own.length === 0) continue
    const minIsr = Number(configs.find(({ name }) => name === 'min.insync.replicas')?.value ?? 1)
    const partitions = topic.partitions
      .map((partition) => ({
        partition,
        minIsr,
        move: moves.get(partition.partition),
        isLeaderAlive: alive.has(partition.leaderId),
      }))
      .filter((one) => reports.length === 0 || reports.some((report) => isReported(report, one)))
    const first = topic.partitions[0]
    const replicationFactor = first ? replicationFactorOf(first, moves.get(first.partition)) : 0
    if (io.json) {
      if (reports.length > 0 && partitions.length === 0) continue
      const texts = Object.fromEntries(own.map(({ name, value }) => [name, value]))
      json.push({
        topic: topic.name,
        topicId: topic.topicId,
        partitionCount: topic.partitions.length,
        replicationFactor,
        configs: texts,
        partitions: partitions.map(({ partition, move }) => ({
          ...partition,
          ...(move && { addingReplicas: move.addingReplicas }),
          ...(move && { removingReplicas: move.removingReplicas }),
        })),
      })
      continue
    }
    if (reports.length === 0) {
      const id = topic.topicId === ZERO_UUID ? '' : `\tTopicId: ${topic.topicId}`
      const texts = own.map(({ name, value }) => `${name}=${value}`).join(',')
      io.print(
        `Topic: ${topic.name}${id}\tPartitionCount: ${topic.partitions.length}` +
          `\tReplicationFactor: ${replicationFactor}\tConfigs: ${texts}`,
      )
    }
    if (given.has('topics-with-overrides')) continue
    for (const one of partitions) io.print(partitionLine(topic.name, one))
  }
  if (io.json) io.print(JSON.stringify(json))
}

/** Apache's tool shows what is not a default: the broker's own settings count as well. */
function isOwnConfig(source: ConfigEntry['source']): boolean {
  return source !== 'DEFAULT_CONFIG'
}

/** The same as Kafka 0.8.2 did it, without a broker. */
async function throughZooKeeper(action: Action, given: Options, io: ToolIo): Promise<number> {
  const { withRegistry } = await import('./kit/with-registry.ts')
  const command = await import('./zookeeper/topic-command.ts')
  const ifExists = given.has('if-exists')
  const topic = given.value('topic')
  const text = given.value('replica-assignment')
  const assignment = text === undefined ? undefined : parseReplicaAssignment(text)
  const partitions = given.integer('partitions', { min: 1, max: INT32_MAX })
  const replicationFactor = given.integer('replication-factor', { min: 1, max: INT16_MAX })
  if (action === 'create' && assignment === undefined) {
    given.required('partitions')
    given.required('replication-factor')
  }
  const configs = new Map(Object.entries(parseConfigs(given.values('config'))))
  await withRegistry({ connect: given.required('zookeeper') }, io, async (registry) => {
    switch (action) {
      case 'create': {
        const counts = { partitions: partitions ?? 1, replicationFactor: replicationFactor ?? 1 }
        const layout = assignment ?? counts
        const request = {
          name: topic ?? '',
          configs,
          layout,
          ifNotExists: given.has('if-not-exists'),
        }
        return await command.create(registry, request, io)
      }
      case 'list':
        return await command.list(registry, topic, io)
      case 'alter': {
        const deleted = given.values('delete-config')
        const changes = { added: configs, deleted, partitions, assignment }
        return await command.alter(registry, { topic: topic ?? '', ifExists }, changes, io)
      }
      case 'delete':
        return await command.remove(registry, { topic: topic ?? '', ifExists }, io)
      case 'describe': {
        const report = given.atMostOne('under-replicated-partitions', 'unavailable-partitions')
        const withOverridesOnly = given.has('topics-with-overrides')
        return await command.describe(registry, { topic, ifExists, report, withOverridesOnly }, io)
      }
    }
  })
  return 0
}

export const kafkaTopics = defineTool({
  name: 'kafka-topics',
  summary: 'Creates, lists, describes, changes and deletes topics.',
  options,
  table: true,
  wantsArguments: true,
  notes: [
    'Exactly one of --create, --list, --describe, --alter, --delete.',
    'Configs of an existing topic are changed with kafka-configs.',
    'With --zookeeper the results are printed as Kafka 0.8.2 prints them.',
  ],
  async run(given, io) {
    const action = checkOptions(given)
    const asOf = (error: unknown): unknown => {
      if (error instanceof UsageError) return error
      return new ToolError(`Error while executing topic command : ${(error as Error).message}`)
    }
    if (given.has('zookeeper')) {
      return await throughZooKeeper(action, given, io).catch((error: unknown) => {
        throw asOf(error)
      })
    }
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      try {
        if (action === 'create') await create(admin, given, io)
        else if (action === 'list') await list(admin, given, io)
        else if (action === 'alter') await alter(admin, given)
        else if (action === 'delete') await remove(admin, given)
        else await describe(admin, given, io)
        return 0
      } catch (error) {
        throw asOf(error)
      }
    })
  },
})
