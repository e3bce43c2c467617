/** AllocateProducerIds: a broker takes a block of producer ids. */
import type { AllocateProducerIds } from '../../protocol/messages/allocate-producer-ids.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notThatBroker } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createAllocateProducerIdsHandler(
  services: ClusterServices,
): Handler<typeof AllocateProducerIds> {
  return async (request, context) => {
    const errorCode = await notThatBroker(services, request.brokerId, context)
    if (errorCode !== 0) {
      return { throttleTimeMs: 0, errorCode, producerIdStart: -1, producerIdLen: 0 }
    }
    return services.controller.allocateProducerIds(request)
  }
}
