import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const OffsetCommit = defineApi({
  key: 8,
  name: 'OffsetCommit',
  versions: '0-9',
  flexible: '8+',
  request: {
    groupId: { versions: '0+', type: 'string' },
    generationIdOrMemberEpoch: { versions: '1+', type: 'int32', default: -1, ignorable: true },
    memberId: { versions: '1+', type: 'string', ignorable: true },
    groupInstanceId: { versions: '7+', type: 'string', nullable: '7+', default: null },
    retentionTimeMs: { versions: '2-4', type: 'int64', default: -1, ignorable: true },
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
            committedOffset: { versions: '0+', type: 'int64' },
            committedLeaderEpoch: { versions: '6+', type: 'int32', default: -1, ignorable: true },
            commitTimestamp: { versions: '1', type: 'int64', default: -1 },
            committedMetadata: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '3+', type: 'int32', ignorable: true },
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

export type OffsetCommitRequest = RequestOf<typeof OffsetCommit>
export type OffsetCommitResponse = ResponseOf<typeof OffsetCommit>
export type OffsetCommitRequestInput = RequestInput<typeof OffsetCommit>
export type OffsetCommitResponseInput = ResponseInput<typeof OffsetCommit>
