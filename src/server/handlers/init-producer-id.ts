/** InitProducerId: an id for an idempotent producer. Transactions are refused for good. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { InitProducerId } from '../../protocol/messages/init-producer-id.ts'
import type { Handler, Services } from '../services.ts'

const NO_PRODUCER_ID = -1

export function createInitProducerIdHandler(services: Services): Handler<typeof InitProducerId> {
  const { logger, producerIds } = services
  return async (request, context) => {
    if (request.transactionalId !== null) {
      if (request.transactionalId === '') return failed(ErrorCode.INVALID_REQUEST)
      logger.warn(
        { clientId: context.clientId, clientAddress: context.clientAddress },
        'a client asked for transactions, which this broker does not support',
      )
      // Of the codes that fit this is the only one that every client takes for final.
      return failed(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    }
    try {
      const producerId = await producerIds.next()
      return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, producerId, producerEpoch: 0 }
    } catch (error) {
      logger.error({ err: error }, 'no producer id could be taken')
      return failed(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) // Clients try again.
    }
  }
}

function failed(errorCode: number) {
  return { throttleTimeMs: 0, errorCode, producerId: NO_PRODUCER_ID, producerEpoch: -1 }
}
