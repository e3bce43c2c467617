/** ListPartitionReassignments: which partitions are on their way (KIP-455). */
import type { ListPartitionReassignments } from '../../protocol/messages/list-partition-reassignments.ts'
import type { Handler, Services } from '../services.ts'

export function createListPartitionReassignmentsHandler(
  services: Pick<Services, 'controller'>,
): Handler<typeof ListPartitionReassignments> {
  return (request) => services.controller.listPartitionReassignments(request)
}
