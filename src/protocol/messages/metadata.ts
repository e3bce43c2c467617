import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const Metadata = defineApi({
  key: 3,
  name: 'Metadata',
  versions: '0-12',
  flexible: '9+',
  request: {
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topicId: { versions: '10+', type: 'uuid', ignorable: true },
        name: { versions: '0+', type: 'string', nullable: '10+' },
      },
      nullable: '1+',
    },
    allowAutoTopicCreation: { versions: '4+', type: 'bool', default: true },
    includeClusterAuthorizedOperations: { versions: '8-10', type: 'bool' },
    includeTopicAuthorizedOperations: { versions: '8+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '3+', type: 'int32', ignorable: true },
    brokers: {
      versions: '0+',
      type: 'array',
      of: {
        nodeId: { versions: '0+', type: 'int32' },
        host: { versions: '0+', type: 'string' },
        port: { versions: '0+', type: 'int32' },
        rack: { versions: '1+', type: 'string', nullable: '1+', default: null, ignorable: true },
      },
    },
    clusterId: { versions: '2+', type: 'string', nullable: '2+', default: null, ignorable: true },
    controllerId: { versions: '1+', type: 'int32', default: -1, ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        name: { versions: '0+', type: 'string', nullable: '12+' },
        topicId: { versions: '10+', type: 'uuid', ignorable: true },
        isInternal: { versions: '1+', type: 'bool', default: false, ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            errorCode: { versions: '0+', type: 'int16' },
            partitionIndex: { versions: '0+', type: 'int32' },
            leaderId: { versions: '0+', type: 'int32' },
            leaderEpoch: { versions: '7+', type: 'int32', default: -1, ignorable: true },
            replicaNodes: { versions: '0+', type: 'array', of: 'int32' },
            isrNodes: { versions: '0+', type: 'array', of: 'int32' },
            offlineReplicas: { versions: '5+', type: 'array', of: 'int32', ignorable: true },
          },
        },
        topicAuthorizedOperations: { versions: '8+', type: 'int32', default: -2147483648 },
      },
    },
    clusterAuthorizedOperations: { versions: '8-10', type: 'int32', default: -2147483648 },
  },
})

export type MetadataRequest = RequestOf<typeof Metadata>
export type MetadataResponse = ResponseOf<typeof Metadata>
export type MetadataRequestInput = RequestInput<typeof Metadata>
export type MetadataResponseInput = ResponseInput<typeof Metadata>
