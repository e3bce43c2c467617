/** From which replica a consumer reads (KIP-392): `replica.selector.class`. */
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import type { PartitionLeader } from '../replica/partition-leader.ts'

export interface ConsumerPlace {
  readonly rackId: string
  readonly fetchOffset: number
  readonly listenerName: string
}

export interface ReplicaSelector {
  /** The broker that a consumer of a partition had better ask; −1: its leader. */
  select(leader: PartitionLeader, consumer: ConsumerPlace): number
}

/** Prefers the consumer's own rack: the leader if it is there, or the replica that has most. */
export class RackAwareReplicaSelector implements ReplicaSelector {
  readonly #metadata: MetadataCache
  readonly #brokerId: number

  constructor(options: { readonly metadata: MetadataCache; readonly brokerId: number }) {
    this.#metadata = options.metadata
    this.#brokerId = options.brokerId
  }

  select(leader: PartitionLeader, { rackId, fetchOffset, listenerName }: ConsumerPlace): number {
    if (this.#metadata.broker(this.#brokerId)?.rack === rackId) return -1
    let best = -1
    let bestEnd = -1
    let bestCaughtUpMs = 0
    // One that is behind would send the consumer back again and again.
    for (const brokerId of leader.isr) {
      const follower = leader.follower(brokerId)
      if (follower === undefined) continue
      if (follower.logEnd < fetchOffset || follower.logStart > fetchOffset) continue
      if (this.#metadata.broker(brokerId)?.rack !== rackId) continue
      if (this.#metadata.endpoint(brokerId, listenerName) === undefined) continue
      const { logEnd, caughtUpMs } = follower
      const isBetter =
        logEnd !== bestEnd
          ? logEnd > bestEnd
          : caughtUpMs !== bestCaughtUpMs
            ? caughtUpMs > bestCaughtUpMs
            : brokerId > best
      if (!isBetter) continue
      best = brokerId
      bestEnd = logEnd
      bestCaughtUpMs = caughtUpMs
    }
    return best
  }
}
