import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeTopicPartitions = defineApi({
  key: 75,
  name: 'DescribeTopicPartitions',
  versions: '0',
  flexible: '0+',
  request: {
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
      },
    },
    responsePartitionLimit: { versions: '0+', type: 'int32', default: 2000 },
    cursor: {
      versions: '0+',
      type: 'struct',
      fields: {
        topicName: { versions: '0+', type: 'string' },
        partitionIndex: { versions: '0+', type: 'int32' },
      },
      nullable: '0+',
      default: null,
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32', ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        name: { versions: '0+', type: 'string', nullable: '0+' },
        topicId: { versions: '0+', type: 'uuid', ignorable: true },
        isInternal: { versions: '0+', type: 'bool', default: false, ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            errorCode: { versions: '0+', type: 'int16' },
            partitionIndex: { versions: '0+', type: 'int32' },
            leaderId: { versions: '0+', type: 'int32' },
            leaderEpoch: { versions: '0+', type: 'int32', default: -1, ignorable: true },
            replicaNodes: { versions: '0+', type: 'array', of: 'int32' },
            isrNodes: { versions: '0+', type: 'array', of: 'int32' },
            eligibleLeaderReplicas: {
              versions: '0+',
              type: 'array',
              of: 'int32',
              nullable: '0+',
              default: null,
            },
            lastKnownElr: {
              versions: '0+',
              type: 'array',
              of: 'int32',
              nullable: '0+',
              default: null,
            },
            offlineReplicas: { versions: '0+', type: 'array', of: 'int32', ignorable: true },
          },
        },
        topicAuthorizedOperations: { versions: '0+', type: 'int32', default: -2147483648 },
      },
    },
    nextCursor: {
      versions: '0+',
      type: 'struct',
      fields: {
        topicName: { versions: '0+', type: 'string' },
        partitionIndex: { versions: '0+', type: 'int32' },
      },
      nullable: '0+',
      default: null,
    },
  },
})

export type DescribeTopicPartitionsRequest = RequestOf<typeof DescribeTopicPartitions>
export type DescribeTopicPartitionsResponse = ResponseOf<typeof DescribeTopicPartitions>
export type DescribeTopicPartitionsRequestInput = RequestInput<typeof DescribeTopicPartitions>
export type DescribeTopicPartitionsResponseInput = ResponseInput<typeof DescribeTopicPartitions>
