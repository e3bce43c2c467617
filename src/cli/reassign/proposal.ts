/** Where `--generate` would put the replicas of topics. */
import type { Random } from '../../util/random.ts'
import { ToolError } from '../kit/tool.ts'

export interface PlacedBroker {
  readonly brokerId: number
  /** Null: racks play no part. */
  readonly rack: string | null
}

/** Brokers in an order in which neighbours are in different racks as long as there are some. */
function alternating(brokers: readonly PlacedBroker[]): PlacedBroker[] {
  const racks = new Map<string | number, PlacedBroker[]>()
  for (const broker of [...brokers].sort((a, b) => a.brokerId - b.brokerId)) {
    const rack = broker.rack ?? broker.brokerId
    racks.set(rack, [...(racks.get(rack) ?? []), broker])
  }
  const rows = [...racks.keys()].sort().map((rack) => racks.get(rack) as PlacedBroker[])
  const order: PlacedBroker[] = []
  for (let at = 0; order.length < brokers.length; at += 1) {
    for (const row of rows) {
      const broker = row[at]
      if (broker !== undefined) order.push(broker)
    }
  }
  return order
}

/**
 * Replicas of each partition, the preferred leader first: leaders go round the brokers, followers
 * begin at a distance that grows with each round, and a rack gets a second replica of a partition
 * only when every rack has one. Throws ToolError when there are too few brokers.
 */
export function proposeReplicas(
  brokers: readonly PlacedBroker[],
  { partitions, replicationFactor }: Record<'partitions' | 'replicationFactor', number>,
  random: Random,
): number[][] {
  if (replicationFactor > brokers.length) {
    throw new ToolError(
      `Replication factor: ${replicationFactor} larger than available brokers: ${brokers.length}.`,
    )
  }
  const order = alternating(brokers)
  const start = random.integer(order.length)
  const firstShift = random.integer(order.length)
  return Array.from({ length: partitions }, (_, partition) => {
    const leader = (start + partition) % order.length
    const shift = firstShift + Math.floor(partition / order.length)
    const others = order.length - 1
    const candidates = Array.from(
      { length: others },
      (__, at) => order[(leader + 1 + ((shift + at) % others)) % order.length] as PlacedBroker,
    )
    const chosen = [order[leader] as PlacedBroker]
    while (chosen.length < replicationFactor) {
      const free = candidates.filter((one) => !chosen.includes(one))
      const used = new Set(chosen.map(({ rack }) => rack))
      const other = free.find(({ rack }) => rack === null || !used.has(rack))
      chosen.push(other ?? (free[0] as PlacedBroker))
    }
    return chosen.map(({ brokerId }) => brokerId)
  })
}
