/** What a broker asks the controller for on behalf of its replicas. */
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../protocol/messages/alter-partition.ts'

export interface ControllerLink {
  /**
   * Asks whoever is the controller now. Rejects with an Error when it cannot be reached in time or
   * its answer is lost: nobody can tell then whether the change was made.
   */
  alterPartition(request: AlterPartitionRequest): Promise<AlterPartitionResponse>
}
