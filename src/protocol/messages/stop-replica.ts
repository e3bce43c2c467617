/** The controller of a ZooKeeper cluster makes a broker stop following partitions, or delete them. */
import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const StopReplica = defineApi({
  key: 5,
  name: 'StopReplica',
  // 1: broker epoch, partitions by topic. 2: flexible. 3: leader epochs and deletion by partition
  // (KIP-570). 4: KRaft controllers (KIP-866).
  versions: '0-4',
  flexible: '2+',
  request: {
    controllerId: { versions: '0+', type: 'int32' },
    isKRaftController: { versions: '4+', type: 'bool', default: false },
    controllerEpoch: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '1+', type: 'int64', default: -1, ignorable: true },
    deletePartitions: { versions: '0-2', type: 'bool' },
    ungroupedPartitions: {
      versions: '0',
      type: 'array',
      of: {
        topicName: { versions: '0', type: 'string' },
        partitionIndex: { versions: '0', type: 'int32' },
      },
    },
    topics: {
      versions: '1-2',
      type: 'array',
      of: {
        name: { versions: '1-2', type: 'string' },
        partitionIndexes: { versions: '1-2', type: 'array', of: 'int32' },
      },
    },
    topicStates: {
      versions: '3+',
      type: 'array',
      of: {
        topicName: { versions: '3+', type: 'string' },
        partitionStates: {
          versions: '3+',
          type: 'array',
          of: {
            partitionIndex: { versions: '3+', type: 'int32' },
            leaderEpoch: { versions: '3+', type: 'int32', default: -1 },
            deletePartition: { versions: '3+', type: 'bool' },
          },
        },
      },
    },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    partitionErrors: {
      versions: '0+',
      type: 'array',
      of: {
        topicName: { versions: '0+', type: 'string' },
        partitionIndex: { versions: '0+', type: 'int32' },
        errorCode: { versions: '0+', type: 'int16' },
      },
    },
  },
})

export type StopReplicaRequest = RequestOf<typeof StopReplica>
export type StopReplicaResponse = ResponseOf<typeof StopReplica>
export type StopReplicaRequestInput = RequestInput<typeof StopReplica>
export type StopReplicaResponseInput = ResponseInput<typeof StopReplica>
