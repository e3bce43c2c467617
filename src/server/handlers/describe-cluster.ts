/** DescribeCluster. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { DescribeCluster } from '../../protocol/messages/describe-cluster.ts'
import type { Handler, Services } from '../services.ts'
import { ALL_CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED } from './authorized-operations.ts'

const EndpointType = { BROKER: 1, CONTROLLER: 2 } as const

export function createDescribeClusterHandler(services: Services): Handler<typeof DescribeCluster> {
  const { metadata } = services
  return (request, context) => {
    const { endpointType } = request
    if (endpointType !== EndpointType.BROKER) {
      return {
        throttleTimeMs: 0,
        errorCode:
          endpointType === EndpointType.CONTROLLER
            ? ErrorCode.MISMATCHED_ENDPOINT_TYPE
            : ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
        errorMessage: `This is an endpoint of brokers (type 1), asked for was type ${endpointType}`,
        clusterId: '',
        brokers: [],
      }
    }
    const brokers = metadata
      .listedBrokers(context.listenerName, false)
      .map(({ nodeId, ...broker }) => ({ brokerId: nodeId, ...broker }))
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      endpointType,
      clusterId: metadata.clusterId,
      controllerId: metadata.controllerId,
      brokers,
      clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
        ? ALL_CLUSTER_OPERATIONS
        : OPERATIONS_NOT_ASKED,
    }
  }
}
