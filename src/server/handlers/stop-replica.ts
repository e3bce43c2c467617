/** StopReplica: the controller takes replicas from this broker. */
import type { StopReplica } from '../../protocol/messages/stop-replica.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notTheController } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createStopReplicaHandler(services: ClusterServices): Handler<typeof StopReplica> {
  return async (request, context) => {
    const errorCode = await notTheController(services, request.controllerId, context)
    if (errorCode !== 0) return { errorCode, partitionErrors: [] }
    return services.controlRequests.stopReplica(request)
  }
}
