/**
 * What the controller tells this broker: which partitions it leads and follows, what to answer to
 * Metadata, which logs to delete. One request after the other, in the order in which they came;
 * those of an older controller, or meant for an earlier life of this broker, change nothing (KIP-380).
 *
 * Main thread, no input or output of its own.
 */

import { Serial } from '../../controller/serial.ts'
import type { TopicConfigManager } from '../../controller/topic-config-manager.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  LeaderAndIsrRequest,
  LeaderAndIsrResponse,
} from '../../protocol/messages/leader-and-isr.ts'
import type {
  StopReplicaRequest,
  StopReplicaResponse,
} from '../../protocol/messages/stop-replica.ts'
import type {
  UpdateMetadataRequest,
  UpdateMetadataResponse,
} from '../../protocol/messages/update-metadata.ts'

/** What a broker does with its replicas. */
export interface ControlledReplicas {
  applyLeaderAndIsr(request: LeaderAndIsrRequest): Promise<LeaderAndIsrResponse>
  stopReplicas(request: StopReplicaRequest): Promise<StopReplicaResponse>
}

export interface ControlRequestsOptions {
  /** The lowest broker epoch that requests may be meant for. */
  readonly brokerEpochMin: () => number
  readonly replicas: ControlledReplicas
  readonly configs: Pick<TopicConfigManager, 'load'>
  /** Takes over what the request says of the cluster. */
  readonly updateMetadata: (request: UpdateMetadataRequest) => Promise<void>
}

interface Addressed {
  readonly controllerEpoch: number
  readonly brokerEpoch: number
}

/** As a broker epoch: not known to the sender. */
const UNKNOWN_BROKER_EPOCH = -1

export class ControlRequests {
  readonly #options: ControlRequestsOptions
  readonly #serial = new Serial()
  #controllerEpoch = 0

  constructor(options: ControlRequestsOptions) {
    this.#options = options
  }

  leaderAndIsr(request: LeaderAndIsrRequest): Promise<LeaderAndIsrResponse> {
    return this.#serial.run(async () => {
      let stale = this.#stale(request)
      if (stale === 0) {
        await this.#options.configs.load(topicsOf(request))
        // This broker may have been fenced while they were read.
        stale = this.#stale(request)
      }
      if (stale !== 0) return { errorCode: stale, partitionErrors: [], topics: [] }
      return this.#options.replicas.applyLeaderAndIsr(request)
    })
  }

  stopReplica(request: StopReplicaRequest): Promise<StopReplicaResponse> {
    return this.#serial.run(async () => {
      const stale = this.#stale(request)
      if (stale !== 0) return { errorCode: stale, partitionErrors: [] }
      return this.#options.replicas.stopReplicas(request)
    })
  }

  updateMetadata(request: UpdateMetadataRequest): Promise<UpdateMetadataResponse> {
    return this.#serial.run(async () => {
      const stale = this.#stale(request)
      if (stale !== 0) return { errorCode: stale }
      await this.#options.updateMetadata(request)
      return { errorCode: ErrorCode.NONE }
    })
  }

  /** 0, or why the request must not be carried out. */
  #stale({ controllerEpoch, brokerEpoch }: Addressed): number {
    const isForAnotherLife =
      brokerEpoch !== UNKNOWN_BROKER_EPOCH && brokerEpoch < this.#options.brokerEpochMin()
    if (isForAnotherLife) return ErrorCode.STALE_BROKER_EPOCH
    if (controllerEpoch < this.#controllerEpoch) return ErrorCode.STALE_CONTROLLER_EPOCH
    this.#controllerEpoch = controllerEpoch
    return ErrorCode.NONE
  }
}

function* topicsOf(request: LeaderAndIsrRequest): Generator<string> {
  for (const { topicName } of request.topicStates) yield topicName
  for (const { topicName } of request.ungroupedPartitionStates) yield topicName
}
