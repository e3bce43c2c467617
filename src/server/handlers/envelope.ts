/** Envelope: a request of a client that came to another broker (KIP-590). */
import type { Envelope } from '../../protocol/messages/envelope.ts'
import type { ClusterServices } from '../cluster/cluster-services.ts'
import { notABroker } from '../cluster/sender.ts'
import type { Handler } from '../services.ts'

export function createEnvelopeHandler(services: ClusterServices): Handler<typeof Envelope> {
  return (request, context) => {
    const errorCode = notABroker(services, context)
    if (errorCode !== 0) return { responseData: null, errorCode }
    return services.forwarding.handleEnvelope(request)
  }
}
