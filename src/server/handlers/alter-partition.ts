/** AlterPartition: a leader asks the controller for a new ISR (KIP-497). */
import type { AlterPartition } from '../../protocol/messages/alter-partition.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notThatBroker } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createAlterPartitionHandler(
  services: ClusterServices,
): Handler<typeof AlterPartition> {
  return async (request, context) => {
    const errorCode = await notThatBroker(services, request.brokerId, context)
    if (errorCode !== 0) return { throttleTimeMs: 0, errorCode, topics: [] }
    return services.controller.alterPartition(request)
  }
}
