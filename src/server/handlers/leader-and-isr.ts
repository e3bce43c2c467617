/** LeaderAndIsr: the controller says what this broker leads and follows. */
import type { LeaderAndIsr } from '../../protocol/messages/leader-and-isr.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notTheController } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createLeaderAndIsrHandler(services: ClusterServices): Handler<typeof LeaderAndIsr> {
  return async (request, context) => {
    const errorCode = await notTheController(services, request.controllerId, context)
    if (errorCode !== 0) return { errorCode, topics: [] }
    return services.controlRequests.leaderAndIsr(request)
  }
}
