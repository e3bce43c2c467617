/**
 * How the controller reaches one broker: with Kafka's own requests. They are carried out, and
 * answered, in the order in which they are given.
 */
import type {
  LeaderAndIsrRequest,
  LeaderAndIsrResponse,
} from '../protocol/messages/leader-and-isr.ts'
import type { StopReplicaRequest, StopReplicaResponse } from '../protocol/messages/stop-replica.ts'
import type {
  UpdateMetadataRequest,
  UpdateMetadataResponse,
} from '../protocol/messages/update-metadata.ts'
import type { RegisteredBroker } from '../registry/cluster-registry.ts'

/** Each call rejects with an Error when the connection is lost before the answer. */
export interface BrokerLink {
  leaderAndIsr(request: LeaderAndIsrRequest): Promise<LeaderAndIsrResponse>
  updateMetadata(request: UpdateMetadataRequest): Promise<UpdateMetadataResponse>
  stopReplica(request: StopReplicaRequest): Promise<StopReplicaResponse>
  /** Called once when the connection is lost, whether or not something was asked for. */
  onLost: (() => void) | null
  close(): void
}

/** Connects to a broker; rejects with an Error that says why it cannot. */
export type OpenBrokerLink = (broker: RegisteredBroker) => Promise<BrokerLink>
