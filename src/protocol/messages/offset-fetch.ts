import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const OffsetFetch = defineApi({
  key: 9,
  name: 'OffsetFetch',
  versions: '0-9',
  flexible: '6+',
  request: {
    groupId: { versions: '0-7', type: 'string' },
    topics: {
      versions: '0-7',
      type: 'array',
      of: {
        name: { versions: '0-7', type: 'string' },
        partitionIndexes: { versions: '0-7', type: 'array', of: 'int32' },
      },
      nullable: '2-7',
    },
    groups: {
      versions: '8+',
      type: 'array',
      of: {
        groupId: { versions: '8+', type: 'string' },
        memberId: {
          versions: '9+',
          type: 'string',
          nullable: '9+',
          default: null,
          ignorable: true,
        },
        memberEpoch: { versions: '9+', type: 'int32', default: -1, ignorable: true },
        topics: {
          versions: '8+',
          type: 'array',
          of: {
            name: { versions: '8+', type: 'string' },
            partitionIndexes: { versions: '8+', type: 'array', of: 'int32' },
          },
          nullable: '8+',
        },
      },
    },
    requireStable: { versions: '7+', type: 'bool', default: false },
  },
  response: {
    throttleTimeMs: { versions: '3+', type: 'int32', ignorable: true },
    topics: {
      versions: '0-7',
      type: 'array',
      of: {
        name: { versions: '0-7', type: 'string' },
        partitions: {
          versions: '0-7',
          type: 'array',
          of: {
            partitionIndex: { versions: '0-7', type: 'int32' },
            committedOffset: { versions: '0-7', type: 'int64' },
            committedLeaderEpoch: { versions: '5-7', type: 'int32', default: -1, ignorable: true },
            metadata: { versions: '0-7', type: 'string', nullable: '0-7' },
            errorCode: { versions: '0-7', type: 'int16' },
          },
        },
      },
    },
    errorCode: { versions: '2-7', type: 'int16', default: 0, ignorable: true },
    groups: {
      versions: '8+',
      type: 'array',
      of: {
        groupId: { versions: '8+', type: 'string' },
        topics: {
          versions: '8+',
          type: 'array',
          of: {
            name: { versions: '8+', type: 'string' },
            partitions: {
              versions: '8+',
              type: 'array',
              of: {
                partitionIndex: { versions: '8+', type: 'int32' },
                committedOffset: { versions: '8+', type: 'int64' },
                committedLeaderEpoch: {
                  versions: '8+',
                  type: 'int32',
                  default: -1,
                  ignorable: true,
                },
                metadata: { versions: '8+', type: 'string', nullable: '8+' },
                errorCode: { versions: '8+', type: 'int16' },
              },
            },
          },
        },
        errorCode: { versions: '8+', type: 'int16', default: 0 },
      },
    },
  },
})

export type OffsetFetchRequest = RequestOf<typeof OffsetFetch>
export type OffsetFetchResponse = ResponseOf<typeof OffsetFetch>
export type OffsetFetchRequestInput = RequestInput<typeof OffsetFetch>
export type OffsetFetchResponseInput = ResponseInput<typeof OffsetFetch>
