import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterPartitionReassignments = defineApi({
  key: 45,
  name: 'AlterPartitionReassignments',
  versions: '0',
  flexible: '0+',
  request: {
    timeoutMs: { versions: '0+', type: 'int32', default: 60000 },
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
            replicas: { versions: '0+', type: 'array', of: 'int32', nullable: '0+', default: null },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
    responses: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
            errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
  },
})

export type AlterPartitionReassignmentsRequest = RequestOf<typeof AlterPartitionReassignments>
export type AlterPartitionReassignmentsResponse = ResponseOf<typeof AlterPartitionReassignments>
export type AlterPartitionReassignmentsRequestInput = RequestInput<
  typeof AlterPartitionReassignments
>
export type AlterPartitionReassignmentsResponseInput = ResponseInput<
  typeof AlterPartitionReassignments
>
