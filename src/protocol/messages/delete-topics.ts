import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DeleteTopics = defineApi({
  key: 20,
  name: 'DeleteTopics',
  versions: '0-6',
  flexible: '4+',
  request: {
    topics: {
      versions: '6+',
      type: 'array',
      of: {
        name: { versions: '6+', type: 'string', nullable: '6+', default: null },
        topicId: { versions: '6+', type: 'uuid' },
      },
    },
    topicNames: { versions: '0-5', type: 'array', of: 'string', ignorable: true },
    timeoutMs: { versions: '0+', type: 'int32' },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    responses: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string', nullable: '6+' },
        topicId: { versions: '6+', type: 'uuid', ignorable: true },
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: {
          versions: '5+',
          type: 'string',
          nullable: '5+',
          default: null,
          ignorable: true,
        },
      },
    },
  },
})

export type DeleteTopicsRequest = RequestOf<typeof DeleteTopics>
export type DeleteTopicsResponse = ResponseOf<typeof DeleteTopics>
export type DeleteTopicsRequestInput = RequestInput<typeof DeleteTopics>
export type DeleteTopicsResponseInput = ResponseInput<typeof DeleteTopics>
