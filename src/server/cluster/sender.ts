/**
 * Who may send what brokers send each other: without authentication, whoever connects over the
 * listener between brokers from the address of the broker that it says it is.
 */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { RequestContext } from '../request-context.ts'
import type { ClusterServices } from './cluster-services.ts'

type Sender = Pick<RequestContext, 'clientAddress' | 'listenerName' | 'apiKey'>

/** 0 if the request may come from that broker, otherwise the error to answer. */
export async function notThatBroker(
  { brokers, logger }: Pick<ClusterServices, 'brokers' | 'logger'>,
  brokerId: number,
  sender: Sender,
): Promise<number> {
  const { clientAddress, listenerName } = sender
  if (brokers.isAddressOf(brokerId, clientAddress, listenerName)) return ErrorCode.NONE
  if (await brokers.mayBe(brokerId, clientAddress, listenerName)) return ErrorCode.NONE
  logger.warn({ ...sender, brokerId }, 'a request between brokers is refused: it is not from one')
  return ErrorCode.CLUSTER_AUTHORIZATION_FAILED
}

/** The same for a request that only the controller sends. Its epoch is looked at elsewhere. */
export function notTheController(
  services: Pick<ClusterServices, 'brokers' | 'logger'>,
  controllerId: number,
  sender: Sender,
): Promise<number> {
  return notThatBroker(services, controllerId, sender)
}

/** The same for a request that names no broker. */
export function notABroker(
  { brokers, logger }: Pick<ClusterServices, 'brokers' | 'logger'>,
  sender: Sender,
): number {
  if (brokers.isBrokerAddress(sender.clientAddress, sender.listenerName)) return ErrorCode.NONE
  logger.warn({ ...sender }, 'a request between brokers is refused: it is not from one')
  return ErrorCode.CLUSTER_AUTHORIZATION_FAILED
}
