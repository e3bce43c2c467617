/**
 * Who leads instead (KIP-951): what an answer says beside NOT_LEADER_OR_FOLLOWER and
 * FENCED_LEADER_EPOCH, so that a client need not ask for metadata.
 */
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type { Partition } from '../replica/partition.ts'

export interface Leader {
  readonly leaderId: number
  readonly leaderEpoch: number
}

export interface NodeEndpoint {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  readonly rack: string | null
}

export class LeaderHints {
  readonly #metadata: MetadataCache
  readonly #brokerId: number

  constructor(options: { readonly metadata: MetadataCache; readonly brokerId: number }) {
    this.#metadata = options.metadata
    this.#brokerId = options.brokerId
  }

  /**
   * The newest leader that this broker knows of, as a replica or from the controller; undefined
   * where that says nothing beyond the error.
   */
  of(
    errorCode: number,
    topic: string,
    number: number,
    partition: Partition | undefined,
  ): Leader | undefined {
    if (
      errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER &&
      errorCode !== ErrorCode.FENCED_LEADER_EPOCH
    ) {
      return undefined
    }
    const image = this.#metadata.partition(topic, number)
    const isImageNewer = image !== undefined && image.leaderEpoch >= (partition?.leaderEpoch ?? -1)
    const leaderId = isImageNewer ? image.leader : (partition?.leaderId ?? -1)
    const leaderEpoch = isImageNewer ? image.leaderEpoch : (partition?.leaderEpoch ?? -1)
    if (leaderId < 0) return undefined
    // Others still take this broker for the leader, which it has ceased to be.
    if (leaderId === this.#brokerId && errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER) {
      return undefined
    }
    return { leaderId, leaderEpoch }
  }

  /** Where the leaders are reached through a listener; those that are not alive are left out. */
  endpoints(leaders: ReadonlySet<number>, listenerName: string): NodeEndpoint[] {
    const endpoints: NodeEndpoint[] = []
    for (const nodeId of leaders) {
      const endpoint = this.#metadata.endpoint(nodeId, listenerName)
      if (endpoint === undefined) continue
      const rack = this.#metadata.broker(nodeId)?.rack ?? null
      endpoints.push({ nodeId, host: endpoint.host, port: endpoint.port, rack })
    }
    return endpoints
  }
}
