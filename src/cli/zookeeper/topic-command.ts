/**
 * `kafka-topics --zookeeper`: topics as Kafka 0.8.2 created, listed and described them, through the
 * nodes that the controller watches.
 */
import { topicConfig } from '../../config/topic-config.ts'
import { wrongTopicConfig } from '../../config/topic-settings.ts'
import {
  ANY_VERSION,
  type ClusterRegistry,
  type PartitionState,
  type TopicRegistration,
} from '../../registry/cluster-registry.ts'
import { systemRandom } from '../../util/random.ts'
import { nearestName } from '../kit/nearest-name.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import { topicFilter } from '../kit/topic-filter.ts'
import { proposeReplicas } from '../reassign/proposal.ts'

const NAME_PATTERN = /^[A-Za-z0-9._-]{1,249}$/
const OFFSETS_TOPIC = '__consumer_offsets'

export type Report = 'under-replicated-partitions' | 'unavailable-partitions'

export interface NewTopicRequest {
  readonly name: string
  readonly configs: ReadonlyMap<string, string>
  /** Replicas of each partition, or how many there are to be. */
  readonly layout:
    | readonly (readonly number[])[]
    | { readonly partitions: number; readonly replicationFactor: number }
  readonly ifNotExists: boolean
}

/** Topics that fit the expression, all without one; those to be deleted are among them. */
async function topicsFitting(
  registry: ClusterRegistry,
  expression: string | undefined,
): Promise<string[]> {
  const names = await registry.topicNames()
  return expression === undefined ? [...names] : names.filter(topicFilter(expression))
}

/** As `topicsFitting`, but there must be one. Throws ToolError. */
async function topicsThere(
  registry: ClusterRegistry,
  expression: string | undefined,
  ifExists: boolean,
): Promise<string[]> {
  const found = await topicsFitting(registry, expression)
  if (found.length > 0 || expression === undefined || ifExists) return found
  const nearest = nearestName(expression, await registry.topicNames())
  const hint = nearest === null ? undefined : `did you mean '${nearest}'?`
  throw new ToolError(`Topic ${expression} does not exist`, hint)
}

function checkName(name: string): void {
  if (NAME_PATTERN.test(name) && name !== '.' && name !== '..') return
  throw new ToolError(
    `topic name ${JSON.stringify(name)} is illegal`,
    'it wants 1 to 249 of the characters a-z A-Z 0-9 . _ -',
  )
}

/** Throws ToolError for a config that there is not, or that cannot have this value. */
export function checkTopicConfigs(configs: ReadonlyMap<string, string>): void {
  const known = Object.values(topicConfig).map(({ key }) => key as string)
  const unknown = [...configs.keys()].find((name) => !known.includes(name))
  if (unknown !== undefined) {
    const nearest = nearestName(unknown, known)
    const hint = nearest === null ? '' : `, did you mean ${nearest}?`
    throw new ToolError(`unknown topic config ${unknown}${hint}`)
  }
  const wrong = wrongTopicConfig(configs)
  if (wrong !== null) throw new ToolError(wrong)
}

async function liveBrokers(registry: ClusterRegistry): Promise<number[]> {
  return (await registry.brokers()).map(({ brokerId }) => brokerId)
}

/** The 0.8 tools knew of no racks. */
async function newReplicas(
  registry: ClusterRegistry,
  counts: { readonly partitions: number; readonly replicationFactor: number },
): Promise<number[][]> {
  const ids = await liveBrokers(registry)
  return proposeReplicas(
    ids.map((brokerId) => ({ brokerId, rack: null })),
    counts,
    systemRandom,
  )
}

/**
 * Writes what the controller makes a topic of. The configs come first, so that the topic never is
 * there without them. Throws ToolError; false if it is there already and may be.
 */
export async function createTopic(
  registry: ClusterRegistry,
  request: NewTopicRequest,
): Promise<boolean> {
  const { name, configs, layout } = request
  checkName(name)
  checkTopicConfigs(configs)
  const exists = (): boolean => {
    if (request.ifNotExists) return false
    throw new ToolError(`Topic "${name}" already exists.`)
  }
  const names = await registry.topicNames()
  if (names.includes(name)) return exists()
  const flat = (text: string): string => text.replaceAll('.', '_')
  const twin = names.find((other) => flat(other) === flat(name))
  if (twin !== undefined) {
    throw new ToolError(`Topic "${name}" collides with existing topics: ${twin}`)
  }
  const partitions =
    'partitions' in layout ? await newReplicas(registry, layout) : (layout as number[][])
  const entity = { type: 'topics', name } as const
  await registry.writeConfig(entity, configs, ANY_VERSION)
  const created = await registry.createTopic({
    ...{ name, topicId: null, partitions },
    addingReplicas: new Map(),
    removingReplicas: new Map(),
  })
  return created.ok || exists()
}

/** `kafka-topics --create --zookeeper`. */
export async function create(
  registry: ClusterRegistry,
  request: NewTopicRequest,
  io: ToolIo,
): Promise<void> {
  if (!(await createTopic(registry, request))) return
  if (io.json) io.print(JSON.stringify({ created: request.name }))
  else io.print(`Created topic "${request.name}".`)
}

export async function list(
  registry: ClusterRegistry,
  expression: string | undefined,
  io: ToolIo,
): Promise<void> {
  const [names, deletions] = await Promise.all([
    topicsFitting(registry, expression),
    registry.topicDeletions(),
  ])
  if (io.json) io.print(JSON.stringify(names))
  for (const name of io.json ? [] : names) {
    io.print(deletions.includes(name) ? `${name} - marked for deletion` : name)
  }
}

/** What a topic is to be given or to lose. */
export interface TopicChanges {
  readonly added: ReadonlyMap<string, string>
  readonly deleted: readonly string[]
  readonly partitions: number | undefined
  /** Replicas of all partitions, those that are there already among them. */
  readonly assignment: readonly (readonly number[])[] | undefined
}

export async function alter(
  registry: ClusterRegistry,
  which: { readonly topic: string; readonly ifExists: boolean },
  changes: TopicChanges,
  io: ToolIo,
): Promise<void> {
  checkTopicConfigs(changes.added)
  for (const name of await topicsThere(registry, which.topic, which.ifExists)) {
    if (changes.added.size > 0 || changes.deleted.length > 0) {
      await changeTopicConfigs(registry, name, changes)
      io.print(`Updated config for topic "${name}".`)
    }
    if (changes.partitions === undefined) continue
    if (name === OFFSETS_TOPIC) {
      throw new ToolError('The number of partitions for the offsets topic cannot be changed.')
    }
    io.print(
      'WARNING: If partitions are increased for a topic that has a key, the partition logic or ' +
        'ordering of the messages will be affected',
    )
    await addPartitions(registry, name, changes.partitions, changes.assignment)
    io.print('Adding partitions succeeded!')
  }
}

/** Writes the whole config and has the brokers read it; repeats it when another writer was faster. */
export async function changeTopicConfigs(
  registry: ClusterRegistry,
  name: string,
  { added, deleted }: Pick<TopicChanges, 'added' | 'deleted'>,
): Promise<void> {
  const entity = { type: 'topics', name } as const
  for (;;) {
    const current = await registry.config(entity)
    const kept = [...(current?.value ?? [])].filter(([key]) => !deleted.includes(key))
    const values = new Map([...kept, ...added])
    const written = await registry.writeConfig(entity, values, current?.version ?? ANY_VERSION)
    if (!written.ok) continue
    await registry.announceConfigChange(entity)
    return
  }
}

async function addPartitions(
  registry: ClusterRegistry,
  name: string,
  count: number,
  assignment: readonly (readonly number[])[] | undefined,
): Promise<void> {
  const topic = await registry.topic(name)
  if (topic === null) throw new ToolError(`Topic ${name} does not exist`)
  const there = topic.value.partitions
  const more = count - there.length
  if (more <= 0) {
    throw new ToolError(
      'The number of partitions for a topic can only be increased',
      `${name} has ${there.length}`,
    )
  }
  const replicationFactor = there[0]?.length ?? 1
  const added =
    assignment?.slice(there.length) ??
    (await newReplicas(registry, { partitions: more, replicationFactor }))
  if (added.length !== more || added.some(({ length }) => length !== replicationFactor)) {
    throw new ToolError(
      `--replica-assignment wants ${count} partitions of ${replicationFactor} replicas each`,
    )
  }
  const value = { ...topic.value, partitions: [...there, ...added] }
  const written = await registry.updateTopic(value, topic.version)
  if (!written.ok) throw new ToolError(`Topic ${name} was changed by somebody else, try again`)
}

export async function remove(
  registry: ClusterRegistry,
  which: { readonly topic: string; readonly ifExists: boolean },
  io: ToolIo,
): Promise<void> {
  for (const name of await topicsThere(registry, which.topic, which.ifExists)) {
    const asked = await registry.requestTopicDeletion(name)
    if (!asked.ok) {
      io.print(`Topic ${name} is already marked for deletion.`)
      continue
    }
    io.print(`Topic ${name} is marked for deletion.`)
    io.print('Note: This will have no impact if delete.topic.enable is not set to true.')
  }
}

interface Row {
  readonly partition: number
  /** null: the controller has not elected one yet. */
  readonly leader: number | null
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

interface DescribedTopic {
  readonly topic: TopicRegistration
  readonly configs: ReadonlyMap<string, string>
  readonly rows: readonly Row[]
}

function rowsOf(topic: TopicRegistration, states: ReadonlyMap<number, PartitionState>): Row[] {
  return topic.partitions.map((replicas, partition) => {
    const state = states.get(partition)
    return { partition, leader: state?.leader ?? null, replicas, isr: state?.isr ?? [] }
  })
}

/** null if the topic went away meanwhile. */
async function describedTopic(
  registry: ClusterRegistry,
  name: string,
): Promise<DescribedTopic | null> {
  const [topic, config, states] = await Promise.all([
    registry.topic(name),
    registry.config({ type: 'topics', name }),
    registry.partitionStates(name),
  ])
  if (topic === null) return null
  const byPartition = new Map(states.map(({ partition, value }) => [partition, value]))
  return {
    topic: topic.value,
    configs: config?.value ?? new Map(),
    rows: rowsOf(topic.value, byPartition),
  }
}

function isReported(row: Row, report: Report | undefined, alive: ReadonlySet<number>): boolean {
  if (report === 'under-replicated-partitions') return row.isr.length < row.replicas.length
  if (report === 'unavailable-partitions') return row.leader === null || !alive.has(row.leader)
  return true
}

/** Topics with the partitions that the report wants. */
export async function describedTopics(
  registry: ClusterRegistry,
  names: readonly string[],
  report: Report | undefined,
): Promise<DescribedTopic[]> {
  const alive = new Set(await liveBrokers(registry))
  const found = await Promise.all(names.map((name) => describedTopic(registry, name)))
  return found
    .filter((one) => one !== null)
    .map((one) => ({ ...one, rows: one.rows.filter((row) => isReported(row, report, alive)) }))
}

export async function describe(
  registry: ClusterRegistry,
  which: {
    readonly topic: string | undefined
    readonly ifExists: boolean
    readonly report: Report | undefined
    readonly withOverridesOnly: boolean
  },
  io: ToolIo,
): Promise<void> {
  const names = await topicsThere(registry, which.topic, which.ifExists)
  const found = (await describedTopics(registry, names, which.report)).filter(
    ({ configs }) => !which.withOverridesOnly || configs.size > 0,
  )
  if (io.json) {
    io.print(
      JSON.stringify(
        found.map(({ topic, configs, rows }) => ({
          topic: topic.name,
          partitionCount: topic.partitions.length,
          replicationFactor: topic.partitions[0]?.length ?? 0,
          configs: Object.fromEntries(configs),
          partitions: rows,
        })),
      ),
    )
    return
  }
  for (const { topic, configs, rows } of found) {
    if (which.report === undefined) {
      const texts = [...configs].map(([key, value]) => `${key}=${value}`).sort()
      io.print(
        `Topic:${topic.name}\tPartitionCount:${topic.partitions.length}` +
          `\tReplicationFactor:${topic.partitions[0]?.length ?? 0}\tConfigs:${texts.join(',')}`,
      )
    }
    for (const { partition, leader, replicas, isr } of which.withOverridesOnly ? [] : rows) {
      io.print(
        `\tTopic: ${topic.name}\tPartition: ${partition}\tLeader: ${leader ?? 'none'}` +
          `\tReplicas: ${replicas.join(',')}\tIsr: ${isr.join(',')}`,
      )
    }
  }
}
