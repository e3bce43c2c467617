import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ListPartitionReassignments = defineApi({
  key: 46,
  name: 'ListPartitionReassignments',
  versions: '0',
  flexible: '0+',
  request: {
    timeoutMs: { versions: '0+', type: 'int32', default: 60000 },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        partitionIndexes: { versions: '0+', type: 'array', of: 'int32' },
      },
      nullable: '0+',
      default: null,
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            replicas: { versions: '0+', type: 'array', of: 'int32' },
            addingReplicas: { versions: '0+', type: 'array', of: 'int32' },
            removingReplicas: { versions: '0+', type: 'array', of: 'int32' },
          },
        },
      },
    },
  },
})

export type ListPartitionReassignmentsRequest = RequestOf<typeof ListPartitionReassignments>
export type ListPartitionReassignmentsResponse = ResponseOf<typeof ListPartitionReassignments>
export type ListPartitionReassignmentsRequestInput = RequestInput<typeof ListPartitionReassignments>
export type ListPartitionReassignmentsResponseInput = ResponseInput<
  typeof ListPartitionReassignments
>
