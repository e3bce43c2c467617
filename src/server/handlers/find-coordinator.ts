/** FindCoordinator: which broker looks after a group. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { FindCoordinator } from '../../protocol/messages/find-coordinator.ts'
import type { RequestContext } from '../request-context.ts'
import type { Handler, Services } from '../services.ts'

/** What a key may name. */
const CoordinatorType = { GROUP: 0, TRANSACTION: 1 } as const

interface Coordinator {
  readonly errorCode: number
  readonly errorMessage: string
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export function createFindCoordinatorHandler(services: Services): Handler<typeof FindCoordinator> {
  return (request, context) => {
    const found = find(services, request.keyType, context)
    if (context.apiVersion < 4) return { ...found, coordinators: [] }
    return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...found })) }
  }
}

function find(services: Services, keyType: number, context: RequestContext): Coordinator {
  if (keyType === CoordinatorType.TRANSACTION) {
    services.logger.warn(
      { clientId: context.clientId, clientAddress: context.clientAddress },
      'a client asked for transactions, which this broker does not support',
    )
    // Of the codes that fit this is the only one that every client takes for final.
    return none(
      ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
      'Transactions are not supported by this broker',
    )
  }
  if (keyType !== CoordinatorType.GROUP) {
    return none(ErrorCode.INVALID_REQUEST, `Coordinators of type ${keyType} are not known`)
  }
  const endpoint = services.metadata.endpoint(services.brokerId, context.listenerName)
  if (endpoint === undefined) {
    return none(
      ErrorCode.COORDINATOR_NOT_AVAILABLE,
      `The coordinator cannot be reached through listener ${context.listenerName}`,
    )
  }
  return { errorCode: ErrorCode.NONE, errorMessage: '', nodeId: services.brokerId, ...endpoint }
}

function none(errorCode: number, errorMessage: string): Coordinator {
  return { errorCode, errorMessage, nodeId: -1, host: '', port: -1 }
}
