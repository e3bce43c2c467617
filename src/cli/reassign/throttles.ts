/** Limits on the bandwidth of reassignments: configs of brokers and topics. */
import {
  type Admin,
  allOrThrow,
  type ConfigChange,
  type ConfigResource,
  ConfigResourceType,
  type OngoingReassignment,
  type TopicPartition,
} from '../../client/admin.ts'
import type { ToolIo } from '../kit/tool.ts'
import { type Placement, partitionName } from './plan-file.ts'

const LEADER_RATE = 'leader.replication.throttled.rate'
const FOLLOWER_RATE = 'follower.replication.throttled.rate'
const LOG_DIR_RATE = 'replica.alter.log.dirs.io.max.bytes.per.second'
const LEADERS = 'leader.replication.throttled.replicas'
const FOLLOWERS = 'follower.replication.throttled.replicas'

interface Changed {
  readonly resource: ConfigResource
  readonly changes: ConfigChange[]
}

function changed(
  type: ConfigResource['type'],
  name: string,
  values: Readonly<Record<string, string | null>>,
): Changed {
  const changes = Object.entries(values).map(([key, value]) => ({
    name: key,
    operation: value === null ? ('delete' as const) : ('set' as const),
    value,
  }))
  return { resource: { type, name }, changes }
}

/** Takes the limits away again. */
export async function clearThrottles(
  admin: Admin,
  plan: readonly Placement[],
  io: ToolIo,
): Promise<void> {
  const { brokers } = await admin.describeCluster()
  const ids = new Set(brokers.map(({ brokerId }) => brokerId))
  for (const { replicas } of plan) for (const id of replicas) ids.add(id)
  const sorted = [...ids].sort((a, b) => a - b)
  const topics = [...new Set(plan.map(({ topic }) => topic))]
  const plural = (count: number): string => (count === 1 ? '' : 's')
  io.print(`Clearing broker-level throttles on broker${plural(ids.size)} ${sorted.join(',')}`)
  allOrThrow(
    await admin.incrementalAlterConfigs(
      sorted.map((id) =>
        changed(ConfigResourceType.BROKER, String(id), {
          [LEADER_RATE]: null,
          [FOLLOWER_RATE]: null,
          [LOG_DIR_RATE]: null,
        }),
      ),
    ),
  )
  io.print(`Clearing topic-level throttles on topic${plural(topics.length)} ${topics.join(',')}`)
  allOrThrow(
    await admin.incrementalAlterConfigs(
      topics.map((name) =>
        changed(ConfigResourceType.TOPIC, name, { [LEADERS]: null, [FOLLOWERS]: null }),
      ),
    ),
  )
}

interface Move extends TopicPartition {
  readonly sources: ReadonlySet<number>
  readonly destinations: ReadonlySet<number>
}

function movesOf(
  plan: readonly Placement[],
  current: ReadonlyMap<string, readonly number[]>,
  ongoing: readonly OngoingReassignment[],
): Move[] {
  const moves = new Map<string, Move>()
  for (const { topic, partition, replicas, addingReplicas } of ongoing) {
    const sources = new Set(replicas.filter((id) => !addingReplicas.includes(id)))
    const move = { topic, partition, sources, destinations: new Set(addingReplicas) }
    moves.set(partitionName(move), move)
  }
  for (const one of plan) {
    const name = partitionName(one)
    const sources = moves.get(name)?.sources ?? new Set(current.get(name) ?? [])
    const destinations = new Set(one.replicas.filter((id) => !sources.has(id)))
    moves.set(name, { topic: one.topic, partition: one.partition, sources, destinations })
  }
  return [...moves.values()]
}

/** Limits the moves of a plan, with those under way, to `bytesPerSecond`. */
export async function throttleMoves(
  admin: Admin,
  options: {
    readonly plan: readonly Placement[]
    readonly current: ReadonlyMap<string, readonly number[]>
    readonly ongoing: readonly OngoingReassignment[]
    readonly bytesPerSecond: number
  },
  io: ToolIo,
): Promise<void> {
  const moves = movesOf(options.plan, options.current, options.ongoing)
  const topics = [...new Set(moves.map(({ topic }) => topic))]
  const listed = (topic: string, ids: (move: Move) => Iterable<number>): string =>
    moves
      .filter((move) => move.topic === topic)
      .flatMap((move) => [...ids(move)].map((id) => `${move.partition}:${id}`))
      .sort()
      .join(',')
  allOrThrow(
    await admin.incrementalAlterConfigs(
      topics.map((topic) =>
        changed(ConfigResourceType.TOPIC, topic, {
          [LEADERS]: listed(topic, ({ sources }) => sources),
          [FOLLOWERS]: listed(topic, ({ destinations }) => destinations),
        }),
      ),
    ),
  )
  const rate = String(options.bytesPerSecond)
  const brokers = new Set(
    moves.flatMap(({ sources, destinations }) => [...sources, ...destinations]),
  )
  allOrThrow(
    await admin.incrementalAlterConfigs(
      [...brokers].map((id) =>
        changed(ConfigResourceType.BROKER, String(id), {
          [LEADER_RATE]: rate,
          [FOLLOWER_RATE]: rate,
        }),
      ),
    ),
  )
  io.print(`The inter-broker throttle limit was set to ${rate} B/s`)
}

/** Limits moves between the log directories of brokers. */
export async function throttleLogDirs(
  admin: Admin,
  brokerIds: Iterable<number>,
  bytesPerSecond: number,
  io: ToolIo,
): Promise<void> {
  allOrThrow(
    await admin.incrementalAlterConfigs(
      [...new Set(brokerIds)].map((id) =>
        changed(ConfigResourceType.BROKER, String(id), { [LOG_DIR_RATE]: String(bytesPerSecond) }),
      ),
    ),
  )
  io.print(`The replica-alter-dir throttle limit was set to ${bytesPerSecond} B/s`)
}
