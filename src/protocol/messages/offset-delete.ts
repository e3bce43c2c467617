import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const OffsetDelete = defineApi({
  key: 47,
  name: 'OffsetDelete',
  versions: '0',
  flexible: 'none',
  request: {
    groupId: { versions: '0+', type: 'string' },
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
          },
        },
      },
    },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    throttleTimeMs: { versions: '0+', type: 'int32', ignorable: true },
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
            errorCode: { versions: '0+', type: 'int16' },
          },
        },
      },
    },
  },
})

export type OffsetDeleteRequest = RequestOf<typeof OffsetDelete>
export type OffsetDeleteResponse = ResponseOf<typeof OffsetDelete>
export type OffsetDeleteRequestInput = RequestInput<typeof OffsetDelete>
export type OffsetDeleteResponseInput = ResponseInput<typeof OffsetDelete>
