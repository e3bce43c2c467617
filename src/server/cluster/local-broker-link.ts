/** How a controller tells its own broker: without a connection. */
import type { BrokerLink } from '../../controller/broker-link.ts'
import type { ControlRequests } from './control-requests.ts'

export function localBrokerLink(requests: ControlRequests): BrokerLink {
  return {
    leaderAndIsr: (request) => requests.leaderAndIsr(request),
    updateMetadata: (request) => requests.updateMetadata(request),
    stopReplica: (request) => requests.stopReplica(request),
    onLost: null,
    close: () => undefined,
  }
}
