import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const OffsetForLeaderEpoch = defineApi({
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: '0-4',
  flexible: '4+',
  request: {
    replicaId: { versions: '3+', type: 'int32', default: -2, ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partition: { versions: '0+', type: 'int32' },
            currentLeaderEpoch: { versions: '2+', type: 'int32', default: -1, ignorable: true },
            leaderEpoch: { versions: '0+', type: 'int32' },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '2+', type: 'int32', ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            errorCode: { versions: '0+', type: 'int16' },
            partition: { versions: '0+', type: 'int32' },
            leaderEpoch: { versions: '1+', type: 'int32', default: -1, ignorable: true },
            endOffset: { versions: '0+', type: 'int64', default: -1 },
          },
        },
      },
    },
  },
})

export type OffsetForLeaderEpochRequest = RequestOf<typeof OffsetForLeaderEpoch>
export type OffsetForLeaderEpochResponse = ResponseOf<typeof OffsetForLeaderEpoch>
export type OffsetForLeaderEpochRequestInput = RequestInput<typeof OffsetForLeaderEpoch>
export type OffsetForLeaderEpochResponseInput = ResponseInput<typeof OffsetForLeaderEpoch>
