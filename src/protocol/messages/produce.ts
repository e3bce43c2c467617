import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const Produce = defineApi({
  key: 0,
  name: 'Produce',
  versions: '0-11',
  flexible: '9+',
  request: {
    transactionalId: { versions: '3+', type: 'string', nullable: '3+', default: null },
    acks: { versions: '0+', type: 'int16' },
    timeoutMs: { versions: '0+', type: 'int32' },
    topicData: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        partitionData: {
          versions: '0+',
          type: 'array',
          of: {
            index: { versions: '0+', type: 'int32' },
            records: { versions: '0+', type: 'records', nullable: '0+' },
          },
        },
      },
    },
  },
  response: {
    responses: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        partitionResponses: {
          versions: '0+',
          type: 'array',
          of: {
            index: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16', hole: true },
            baseOffset: { versions: '0+', type: 'int64', hole: true },
            logAppendTimeMs: {
              versions: '2+',
              type: 'int64',
              default: -1,
              ignorable: true,
              hole: true,
            },
            logStartOffset: {
              versions: '5+',
              type: 'int64',
              default: -1,
              ignorable: true,
              hole: true,
            },
            recordErrors: {
              versions: '8+',
              type: 'array',
              of: {
                batchIndex: { versions: '8+', type: 'int32' },
                batchIndexErrorMessage: {
                  versions: '8+',
                  type: 'string',
                  nullable: '8+',
                  default: null,
                },
              },
              ignorable: true,
            },
            errorMessage: {
              versions: '8+',
              type: 'string',
              nullable: '8+',
              default: null,
              ignorable: true,
            },
            currentLeader: {
              versions: '10+',
              type: 'struct',
              fields: {
                leaderId: { versions: '10+', type: 'int32', default: -1 },
                leaderEpoch: { versions: '10+', type: 'int32', default: -1 },
              },
              tag: 0,
              tagged: '10+',
            },
          },
        },
      },
    },
    throttleTimeMs: { versions: '1+', type: 'int32', default: 0, ignorable: true },
    nodeEndpoints: {
      versions: '10+',
      type: 'array',
      of: {
        nodeId: { versions: '10+', type: 'int32' },
        host: { versions: '10+', type: 'string' },
        port: { versions: '10+', type: 'int32' },
        rack: { versions: '10+', type: 'string', nullable: '10+', default: null },
      },
      tag: 0,
      tagged: '10+',
    },
  },
})

export type ProduceRequest = RequestOf<typeof Produce>
export type ProduceResponse = ResponseOf<typeof Produce>
export type ProduceRequestInput = RequestInput<typeof Produce>
export type ProduceResponseInput = ResponseInput<typeof Produce>
