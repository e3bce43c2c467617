/** A leader asks the controller to store a new ISR; `partitionEpoch` is the one it believes in. */
import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterPartition = defineApi({
  key: 56,
  name: 'AlterPartition',
  // 1: recovery state (KIP-704). 2: topic ids (KIP-841). 3: epochs of the ISR's brokers (KIP-903).
  versions: '0-3',
  flexible: '0+',
  request: {
    brokerId: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '0+', type: 'int64', default: -1 },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topicName: { versions: '0-1', type: 'string', ignorable: true },
        topicId: { versions: '2+', type: 'uuid', ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            leaderEpoch: { versions: '0+', type: 'int32' },
            newIsr: { versions: '0-2', type: 'array', of: 'int32' },
            newIsrWithEpochs: {
              versions: '3+',
              type: 'array',
              of: {
                brokerId: { versions: '3+', type: 'int32' },
                brokerEpoch: { versions: '3+', type: 'int64', default: -1 },
              },
            },
            leaderRecoveryState: { versions: '1+', type: 'int8', default: 0 },
            partitionEpoch: { versions: '0+', type: 'int32' },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topicName: { versions: '0-1', type: 'string', ignorable: true },
        topicId: { versions: '2+', type: 'uuid', ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
            leaderId: { versions: '0+', type: 'int32' },
            leaderEpoch: { versions: '0+', type: 'int32' },
            isr: { versions: '0+', type: 'array', of: 'int32' },
            leaderRecoveryState: { versions: '1+', type: 'int8', default: 0, ignorable: true },
            partitionEpoch: { versions: '0+', type: 'int32' },
          },
        },
      },
    },
  },
})

export type AlterPartitionRequest = RequestOf<typeof AlterPartition>
export type AlterPartitionResponse = ResponseOf<typeof AlterPartition>
export type AlterPartitionRequestInput = RequestInput<typeof AlterPartition>
export type AlterPartitionResponseInput = ResponseInput<typeof AlterPartition>
