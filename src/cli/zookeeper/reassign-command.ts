/**
 * `kafka-reassign-partitions --zookeeper` and the election of preferred leaders: requests that are
 * left in ZooKeeper for the controller, as the tools of Kafka 0.8 left them.
 */
import type {
  ClusterRegistry,
  TopicPartition,
  TopicRegistration,
} from '../../registry/cluster-registry.ts'
import { systemRandom } from '../../util/random.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import { byPartition, type Placement } from '../reassign/plan-file.ts'
import { proposeReplicas } from '../reassign/proposal.ts'

type Place = Pick<Placement, 'topic' | 'partition' | 'replicas'>

function nameOf({ topic, partition }: TopicPartition): string {
  return `[${topic},${partition}]`
}

/** The JSON that these tools read and wrote: without log directories. */
function planJson(places: readonly Place[]): string {
  const partitions = [...places].sort(byPartition).map(({ topic, partition, replicas }) => {
    return { topic, partition, replicas }
  })
  return JSON.stringify({ version: 1, partitions })
}

function placesOf({ name, partitions }: TopicRegistration): Place[] {
  return partitions.map((replicas, partition) => ({ topic: name, partition, replicas }))
}

async function topicsNamed(
  registry: ClusterRegistry,
  names: Iterable<string>,
): Promise<TopicRegistration[]> {
  return await Promise.all(
    [...new Set(names)].map(async (name) => {
      const topic = await registry.topic(name)
      if (topic === null) throw new ToolError(`Topic ${name} does not exist`)
      return topic.value
    }),
  )
}

/** Prints where the partitions of topics are and where they could be. */
export async function generate(
  registry: ClusterRegistry,
  request: {
    readonly topics: readonly string[]
    readonly brokerIds: readonly number[]
    readonly usesRacks: boolean
  },
  io: ToolIo,
): Promise<void> {
  const topics = await topicsNamed(registry, request.topics)
  const live = (await registry.brokers()).filter(({ brokerId }) =>
    request.brokerIds.includes(brokerId),
  )
  const brokers = live.map(({ brokerId, rack }) => {
    return { brokerId, rack: request.usesRacks ? rack : null }
  })
  const proposed = topics.flatMap(({ name, partitions }) => {
    const replicationFactor = partitions[0]?.length ?? 1
    const counts = { partitions: partitions.length, replicationFactor }
    return proposeReplicas(brokers, counts, systemRandom).map((replicas, partition) => {
      return { topic: name, partition, replicas }
    })
  })
  const now = planJson(topics.flatMap(placesOf))
  if (io.json) {
    io.print(`{"current":${now},"proposed":${planJson(proposed)}}`)
    return
  }
  io.print(`Current partition replica assignment\n\n${now}`)
  io.print(`Proposed partition reassignment configuration\n\n${planJson(proposed)}`)
}

/** Leaves a plan for the controller. Throws ToolError when one is under way. */
export async function execute(
  registry: ClusterRegistry,
  plan: readonly Placement[],
  io: ToolIo,
): Promise<void> {
  const topics = await topicsNamed(
    registry,
    plan.map(({ topic }) => topic),
  )
  const places = topics.flatMap(placesOf)
  const there = new Set(places.map(nameOf))
  const missing = plan.find((one) => !there.has(nameOf(one)))
  if (missing !== undefined) throw new ToolError(`Partition ${nameOf(missing)} does not exist`)
  const live = new Set((await registry.brokers()).map(({ brokerId }) => brokerId))
  const dead = plan.flatMap(({ replicas }) => replicas).find((id) => !live.has(id))
  if (dead !== undefined) throw new ToolError(`Broker ${dead} is not alive`)
  io.print(
    `Current partition replica assignment\n\n${planJson(places)}\n\n` +
      'Save this to use as the --reassignment-json-file option during rollback',
  )
  const asked = await registry.requestReassignment(plan)
  if (!asked.ok) {
    const current = await registry.reassignmentRequest()
    const names = current?.value.map(nameOf).join(', ') ?? 'other partitions'
    throw new ToolError(`Partition reassignment currently in progress for ${names}`)
  }
  io.print(`Successfully started reassignment of partitions ${planJson(plan)}`)
}

/** Says how far a plan is; 1 if a partition is not where it was to be and does not move. */
export async function verify(
  registry: ClusterRegistry,
  plan: readonly Placement[],
  io: ToolIo,
): Promise<number> {
  const asked = new Set((await registry.reassignmentRequest())?.value.map(nameOf))
  let status = 0
  io.print('Status of partition reassignment:')
  for (const one of plan) {
    const topic = (await registry.topic(one.topic))?.value
    const now = topic?.partitions[one.partition] ?? []
    const isMoving =
      asked.has(nameOf(one)) ||
      topic?.addingReplicas.has(one.partition) ||
      topic?.removingReplicas.has(one.partition)
    if (isMoving) {
      io.print(`Reassignment of partition ${nameOf(one)} is still in progress`)
    } else if (now.join() === one.replicas.join()) {
      io.print(`Reassignment of partition ${nameOf(one)} completed successfully`)
    } else {
      io.print(
        `ERROR: Assigned replicas (${now.join(',')}) don't match the list of replicas for ` +
          `reassignment (${one.replicas.join(',')}) for partition ${nameOf(one)}`,
      )
      io.print(`Reassignment of partition ${nameOf(one)} failed`)
      status = 1
    }
  }
  return status
}

/** Asks for the first replica of partitions to lead, of all if none are named. */
export async function electPreferred(
  registry: ClusterRegistry,
  wanted: readonly TopicPartition[] | null,
  io: ToolIo,
): Promise<void> {
  const names = wanted?.map(({ topic }) => topic) ?? (await registry.topicNames())
  const all = (await topicsNamed(registry, names)).flatMap(placesOf)
  const there = new Set(all.map(nameOf))
  const missing = wanted?.find((one) => !there.has(nameOf(one)))
  if (missing !== undefined) throw new ToolError(`Partition ${nameOf(missing)} does not exist`)
  const partitions = wanted ?? all
  const asked = await registry.requestPreferredElection(partitions)
  if (!asked.ok) {
    const current = await registry.preferredElectionRequest()
    const text = current?.value.map(nameOf).join(', ') ?? 'other partitions'
    throw new ToolError(
      `Preferred replica leader election currently in progress for ${text}`,
      'wait until it is done',
    )
  }
  const text = partitions.map(nameOf).join(', ')
  io.print(`Successfully started preferred replica election for partitions Set(${text})`)
}
