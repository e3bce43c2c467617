import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DeleteRecords = defineApi({
  key: 21,
  name: 'DeleteRecords',
  versions: '0-2',
  flexible: '2+',
  request: {
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
            offset: { versions: '0+', type: 'int64' },
          },
        },
      },
    },
    timeoutMs: { versions: '0+', type: 'int32' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
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
            lowWatermark: { versions: '0+', type: 'int64' },
            errorCode: { versions: '0+', type: 'int16' },
          },
        },
      },
    },
  },
})

export type DeleteRecordsRequest = RequestOf<typeof DeleteRecords>
export type DeleteRecordsResponse = ResponseOf<typeof DeleteRecords>
export type DeleteRecordsRequestInput = RequestInput<typeof DeleteRecords>
export type DeleteRecordsResponseInput = ResponseInput<typeof DeleteRecords>
