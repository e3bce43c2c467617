import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeCluster = defineApi({
  key: 60,
  name: 'DescribeCluster',
  versions: '0-1',
  flexible: '0+',
  request: {
    includeClusterAuthorizedOperations: { versions: '0+', type: 'bool' },
    endpointType: { versions: '1+', type: 'int8', default: 1 },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+', default: null },
    endpointType: { versions: '1+', type: 'int8', default: 1 },
    clusterId: { versions: '0+', type: 'string' },
    controllerId: { versions: '0+', type: 'int32', default: -1 },
    brokers: {
      versions: '0+',
      type: 'array',
      of: {
        brokerId: { versions: '0+', type: 'int32' },
        host: { versions: '0+', type: 'string' },
        port: { versions: '0+', type: 'int32' },
        rack: { versions: '0+', type: 'string', nullable: '0+', default: null },
      },
    },
    clusterAuthorizedOperations: { versions: '0+', type: 'int32', default: -2147483648 },
  },
})

export type DescribeClusterRequest = RequestOf<typeof DescribeCluster>
export type DescribeClusterResponse = ResponseOf<typeof DescribeCluster>
export type DescribeClusterRequestInput = RequestInput<typeof DescribeCluster>
export type DescribeClusterResponseInput = ResponseInput<typeof DescribeCluster>
