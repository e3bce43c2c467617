/** Where the replicas of partitions go. */
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import type { Random } from '../util/random.ts'

/**
 * Spreads replicas over brokers: leaders go round the brokers from a random start, and the
 * followers of one broker's partitions are spread over the others by a shift that grows with each
 * round. Throws KafkaError if there are too few brokers.
 *
 * `firstPartition` continues a topic that has that many partitions.
 */
export function assignReplicas(options: {
  readonly brokerIds: readonly number[]
  readonly partitionCount: number
  readonly replicationFactor: number
  readonly firstPartition: number
  readonly random: Random
}): (readonly number[])[] {
  const { brokerIds, partitionCount, replicationFactor, firstPartition, random } = options
  const brokers = brokerIds.length
  if (replicationFactor > brokers) {
    throw new KafkaError(
      ErrorCode.INVALID_REPLICATION_FACTOR,
      `Replication factor ${replicationFactor} is larger than the number of available brokers, ${brokers}`,
    )
  }
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
