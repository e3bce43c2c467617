/** UpdateMetadata: the controller says what to answer to Metadata. */
import type { UpdateMetadata } from '../../protocol/messages/update-metadata.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notTheController } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createUpdateMetadataHandler(
  services: ClusterServices,
): Handler<typeof UpdateMetadata> {
  return async (request, context) => {
    const errorCode = await notTheController(services, request.controllerId, context)
    return errorCode === 0 ? services.controlRequests.updateMetadata(request) : { errorCode }
  }
}
