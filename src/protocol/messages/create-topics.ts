import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const CreateTopics = defineApi({
  key: 19,
  name: 'CreateTopics',
  versions: '0-7',
  flexible: '5+',
  request: {
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        numPartitions: { versions: '0+', type: 'int32' },
        replicationFactor: { versions: '0+', type: 'int16' },
        assignments: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            brokerIds: { versions: '0+', type: 'array', of: 'int32' },
          },
        },
        configs: {
          versions: '0+',
          type: 'array',
          of: {
            name: { versions: '0+', type: 'string' },
            value: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
    timeoutMs: { versions: '0+', type: 'int32', default: 60000 },
    validateOnly: { versions: '1+', type: 'bool', default: false },
  },
  response: {
    throttleTimeMs: { versions: '2+', type: 'int32', ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        topicId: { versions: '7+', type: 'uuid', ignorable: true },
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '1+', type: 'string', nullable: '0+', ignorable: true },
        topicConfigErrorCode: {
          versions: '5+',
          type: 'int16',
          tag: 0,
          tagged: '5+',
          ignorable: true,
        },
        numPartitions: { versions: '5+', type: 'int32', default: -1, ignorable: true },
        replicationFactor: { versions: '5+', type: 'int16', default: -1, ignorable: true },
        configs: {
          versions: '5+',
          type: 'array',
          of: {
            name: { versions: '5+', type: 'string' },
            value: { versions: '5+', type: 'string', nullable: '5+' },
            readOnly: { versions: '5+', type: 'bool' },
            configSource: { versions: '5+', type: 'int8', default: -1, ignorable: true },
            isSensitive: { versions: '5+', type: 'bool' },
          },
          nullable: '5+',
          ignorable: true,
        },
      },
    },
  },
})

export type CreateTopicsRequest = RequestOf<typeof CreateTopics>
export type CreateTopicsResponse = ResponseOf<typeof CreateTopics>
export type CreateTopicsRequestInput = RequestInput<typeof CreateTopics>
export type CreateTopicsResponseInput = ResponseInput<typeof CreateTopics>
