import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ListOffsets = defineApi({
  key: 2,
  name: 'ListOffsets',
  versions: '0-9',
  flexible: '6+',
  request: {
    replicaId: { versions: '0+', type: 'int32' },
    isolationLevel: { versions: '2+', type: 'int8' },
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
            currentLeaderEpoch: { versions: '4+', type: 'int32', default: -1, ignorable: true },
            timestamp: { versions: '0+', type: 'int64' },
            maxNumOffsets: { versions: '0', type: 'int32', default: 1 },
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
        name: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
            oldStyleOffsets: { versions: '0', type: 'array', of: 'int64' },
            timestamp: { versions: '1+', type: 'int64', default: -1 },
            offset: { versions: '1+', type: 'int64', default: -1 },
            leaderEpoch: { versions: '4+', type: 'int32', default: -1 },
          },
        },
      },
    },
  },
})

export type ListOffsetsRequest = RequestOf<typeof ListOffsets>
export type ListOffsetsResponse = ResponseOf<typeof ListOffsets>
export type ListOffsetsRequestInput = RequestInput<typeof ListOffsets>
export type ListOffsetsResponseInput = ResponseInput<typeof ListOffsets>
