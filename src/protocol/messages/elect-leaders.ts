import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ElectLeaders = defineApi({
  key: 43,
  name: 'ElectLeaders',
  versions: '0-2',
  flexible: '2+',
  request: {
    electionType: { versions: '1+', type: 'int8' },
    topicPartitions: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitions: { versions: '0+', type: 'array', of: 'int32' },
      },
      nullable: '0+',
    },
    timeoutMs: { versions: '0+', type: 'int32', default: 60000 },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '1+', type: 'int16' },
    replicaElectionResults: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitionResult: {
          versions: '0+',
          type: 'array',
          of: {
            partitionId: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
            errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
  },
})

export type ElectLeadersRequest = RequestOf<typeof ElectLeaders>
export type ElectLeadersResponse = ResponseOf<typeof ElectLeaders>
export type ElectLeadersRequestInput = RequestInput<typeof ElectLeaders>
export type ElectLeadersResponseInput = ResponseInput<typeof ElectLeaders>
