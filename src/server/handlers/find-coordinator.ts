/** FindCoordinator: which broker looks after a group. */
import { OFFSETS_TOPIC } from '../../group/record-schemas.ts'
import { ErrorCode, errorMessage } from '../../protocol/error-codes.ts'
import type { FindCoordinator } from '../../protocol/messages/find-coordinator.ts'
import { ensureOffsetsTopic } from '../offsets-topic.ts'
import type { RequestContext } from '../request-context.ts'
import type { Handler, Services } from '../services.ts'

/** What a key may name. */
const CoordinatorType = { GROUP: 0, TRANSACTION: 1 } as const
/** First version that takes several keys. */
const FIRST_BATCHED = 4

interface Coordinator {
  readonly errorCode: number
  readonly errorMessage: string
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export function createFindCoordinatorHandler(services: Services): Handler<typeof FindCoordinator> {
  return async (request, context) => {
    const isGroup = request.keyType === CoordinatorType.GROUP
    const exists = isGroup && (await ensureOffsetsTopic(services))
    const find = (key: string): Coordinator =>
      isGroup
        ? findGroup(services, key, exists, context)
        : refuse(services, request.keyType, context)
    if (context.apiVersion < FIRST_BATCHED) return { ...find(request.key), coordinators: [] }
    return { coordinators: request.coordinatorKeys.map((key) => ({ key, ...find(key) })) }
  }
}

function findGroup(
  services: Services,
  groupId: string,
  exists: boolean,
  context: RequestContext,
): Coordinator {
  if (!exists) return none(ErrorCode.COORDINATOR_NOT_AVAILABLE)
  const partition = services.offsetStore.partitionOf(groupId)
  const leader = services.metadata.partition(OFFSETS_TOPIC, partition)?.leader ?? -1
  const endpoint = services.metadata.endpoint(leader, context.listenerName)
  if (endpoint === undefined) return none(ErrorCode.COORDINATOR_NOT_AVAILABLE)
  return { errorCode: ErrorCode.NONE, errorMessage: '', nodeId: leader, ...endpoint }
}

function refuse(services: Services, keyType: number, context: RequestContext): Coordinator {
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
  return none(ErrorCode.INVALID_REQUEST, `Coordinators of type ${keyType} are not known`)
}

function none(errorCode: number, message: string = errorMessage(errorCode)): Coordinator {
  return { errorCode, errorMessage: message, nodeId: -1, host: '', port: -1 }
}
