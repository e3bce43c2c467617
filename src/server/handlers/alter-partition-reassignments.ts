/** AlterPartitionReassignments: partitions move to other brokers (KIP-455). */
import type { AlterPartitionReassignments } from '../../protocol/messages/alter-partition-reassignments.ts'
import type { Handler, Services } from '../services.ts'

export function createAlterPartitionReassignmentsHandler(
  services: Pick<Services, 'controller'>,
): Handler<typeof AlterPartitionReassignments> {
  return (request) => services.controller.alterPartitionReassignments(request)
}
