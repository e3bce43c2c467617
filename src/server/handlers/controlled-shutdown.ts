/** ControlledShutdown: a broker that stops has its leaderships moved. */
import type { ControlledShutdown } from '../../protocol/messages/controlled-shutdown.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notThatBroker } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createControlledShutdownHandler(
  services: ClusterServices,
): Handler<typeof ControlledShutdown> {
  return async (request, context) => {
    const errorCode = await notThatBroker(services, request.brokerId, context)
    if (errorCode !== 0) return { errorCode, remainingPartitions: [] }
    return services.controller.controlledShutdown(request)
  }
}
