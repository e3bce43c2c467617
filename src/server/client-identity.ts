/** What a group remembers of a client. */
import type { ClientIdentity } from '../group/group-coordinator.ts'
import type { RequestContext } from './request-context.ts'

export function clientOf(context: RequestContext): ClientIdentity {
  return { clientId: context.clientId ?? '', clientHost: `/${context.clientAddress}` }
}
