/** Where the replicas of partitions go. */
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import type { Random } from '../util/random.ts'

export interface PlacementBroker {
  readonly brokerId: number
  readonly rack: string | null
}

export interface Placement {
  /** By id. */
  readonly brokers: readonly PlacementBroker[]
  readonly partitionCount: number
  readonly replicationFactor: number
  /** Continues a topic that has that many partitions. */
  readonly firstPartition: number
  /** The preferred replica of partition 0 of a topic that is continued; null: begin anywhere. */
  readonly firstReplica: number | null
  readonly random: Random
}

/**
 * Spreads replicas over brokers: leaders go round the brokers from a start, and the followers of
 * one broker's partitions are spread over the others by a shift that grows with each round. If all
 * brokers name their rack, the replicas of a partition are in as many racks as there can be, as
 * Apache Kafka places them (KIP-36). Throws KafkaError if there are too few brokers.
 */
export function assignReplicas(placement: Placement): (readonly number[])[] {
  const { brokers, replicationFactor } = placement
  if (replicationFactor > brokers.length) {
    throw new KafkaError(
      ErrorCode.INVALID_REPLICATION_FACTOR,
      `Replication factor ${replicationFactor} is larger than the number of available brokers, ${brokers.length}`,
    )
  }
  const hasRacks = brokers.every((broker) => broker.rack !== null)
  return hasRacks ? assignByRack(placement) : assignAnywhere(placement)
}

function assignAnywhere(placement: Placement): (readonly number[])[] {
  const { partitionCount, replicationFactor, firstPartition, random } = placement
  const brokerIds = placement.brokers.map((broker) => broker.brokerId)
  const brokers = brokerIds.length
  const start = random.integer(brokers)
  const assignment: number[][] = []
  let shift = random.integer(brokers)
  for (let i = 0; i < partitionCount; i++) {
    const partition = firstPartition + i
    if (i > 0 && partition % brokers === 0) shift += 1
    const leader = (start + partition) % brokers
    const replicas = [brokerIds[leader] as number]
    for (let follower = 0; follower < replicationFactor - 1; follower++) {
      const distance = 1 + ((shift + follower) % (brokers - 1))
      replicas.push(brokerIds[(leader + distance) % brokers] as number)
    }
    assignment.push(replicas)
  }
  return assignment
}

function assignByRack(placement: Placement): (readonly number[])[] {
  const { partitionCount, replicationFactor, firstPartition, firstReplica, random } = placement
  const arranged = alternatingRacks(placement.brokers)
  const racks = new Set(arranged.map((broker) => broker.rack)).size
  const brokers = arranged.length
  const continued = placement.brokers.findIndex((broker) => broker.brokerId === firstReplica)
  const start = continued >= 0 ? continued : random.integer(brokers)
  let shift = continued >= 0 ? continued : random.integer(brokers)
  const assignment: number[][] = []
  for (let i = 0; i < partitionCount; i++) {
    const partition = firstPartition + i
    if (partition > 0 && partition % brokers === 0) shift += 1
    const leader = (start + partition) % brokers
    const first = arranged[leader] as PlacementBroker
    const replicas = [first.brokerId]
    const used = new Set([first.rack])
    for (let step = 0; replicas.length < replicationFactor; step++) {
      const distance = 1 + ((shift * racks + step) % (brokers - 1))
      const { brokerId, rack } = arranged[(leader + distance) % brokers] as PlacementBroker
      const isCrowded = used.has(rack) && used.size < racks
      if (isCrowded || replicas.includes(brokerId)) continue
      replicas.push(brokerId)
      used.add(rack)
    }
    assignment.push(replicas)
  }
  return assignment
}

/** One broker of each rack in turn, until all are listed. */
function alternatingRacks(brokers: readonly PlacementBroker[]): readonly PlacementBroker[] {
  const byRack = new Map<string, PlacementBroker[]>()
  for (const broker of brokers) {
    const rack = broker.rack ?? ''
    const members = byRack.get(rack)
    if (members) members.push(broker)
    else byRack.set(rack, [broker])
  }
  const queues = [...byRack.keys()].sort().map((rack) => byRack.get(rack) ?? [])
  const arranged: PlacementBroker[] = []
  for (let turn = 0; arranged.length < brokers.length; turn++) {
    for (const queue of queues) {
      const broker = queue[turn]
      if (broker !== undefined) arranged.push(broker)
    }
  }
  return arranged
}

/**
 * Checks replicas that a client chose. Throws KafkaError. All partitions must have as many
 * replicas as the first, or `replicationFactor` if that is given.
 */
export function checkAssignment(
  partitions: readonly (readonly number[])[],
  isKnownBroker: (brokerId: number) => boolean,
  replicationFactor?: number,
): void {
  const fail = (what: string): never => {
    throw new KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, what)
  }
  const count = replicationFactor ?? partitions[0]?.length ?? 0
  for (const [i, replicas] of partitions.entries()) {
    if (replicas.length === 0) fail(`Partition at place ${i} of the assignment has no replicas`)
    if (replicas.length !== count) {
      fail(
        `All partitions must have the same number of replicas: ${replicas.length} is not ${count}`,
      )
    }
    if (new Set(replicas).size !== replicas.length) {
      fail(`A broker is named twice in the replicas ${replicas.join(', ')}`)
    }
    for (const id of replicas) if (!isKnownBroker(id)) fail(`There is no broker with id ${id}`)
  }
}
