import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const CreatePartitions = defineApi({
  key: 37,
  name: 'CreatePartitions',
  versions: '0-3',
  flexible: '2+',
  request: {
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        count: { versions: '0+', type: 'int32' },
        assignments: {
          versions: '0+',
          type: 'array',
          of: {
            brokerIds: { versions: '0+', type: 'array', of: 'int32' },
          },
          nullable: '0+',
        },
      },
    },
    timeoutMs: { versions: '0+', type: 'int32' },
    validateOnly: { versions: '0+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+', default: null },
      },
    },
  },
})

export type CreatePartitionsRequest = RequestOf<typeof CreatePartitions>
export type CreatePartitionsResponse = ResponseOf<typeof CreatePartitions>
export type CreatePartitionsRequestInput = RequestInput<typeof CreatePartitions>
export type CreatePartitionsResponseInput = ResponseInput<typeof CreatePartitions>
