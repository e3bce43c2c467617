/**
 * The controller of a ZooKeeper cluster tells a broker which partitions it leads and follows.
 * `partitionEpoch` is the version of the partition's state node. `type` is 2 for a request with
 * every partition of the broker, 1 for one with the changes only, and 0 if the sender does not say.
 */
import {
  defineApi,
  type Fields,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

const PARTITION_STATE = {
  topicName: { versions: '0-1', type: 'string', ignorable: true },
  partitionIndex: { versions: '0+', type: 'int32' },
  controllerEpoch: { versions: '0+', type: 'int32' },
  leader: { versions: '0+', type: 'int32' },
  leaderEpoch: { versions: '0+', type: 'int32' },
  isr: { versions: '0+', type: 'array', of: 'int32' },
  partitionEpoch: { versions: '0+', type: 'int32' },
  replicas: { versions: '0+', type: 'array', of: 'int32' },
  addingReplicas: { versions: '3+', type: 'array', of: 'int32', ignorable: true },
  removingReplicas: { versions: '3+', type: 'array', of: 'int32', ignorable: true },
  isNew: { versions: '1+', type: 'bool', default: false, ignorable: true },
  leaderRecoveryState: { versions: '6+', type: 'int8', default: 0 },
} as const satisfies Fields

const PARTITION_ERROR = {
  topicName: { versions: '0-4', type: 'string', ignorable: true },
  partitionIndex: { versions: '0+', type: 'int32' },
  errorCode: { versions: '0+', type: 'int16' },
} as const satisfies Fields

export const LeaderAndIsr = defineApi({
  key: 4,
  name: 'LeaderAndIsr',
  // 1: isNew. 2: broker epoch, partitions by topic. 3: reassignment. 4: flexible. 5: topic ids and
  // type (KIP-516). 6: recovery state (KIP-704). 7: KRaft controllers (KIP-866).
  versions: '0-7',
  flexible: '4+',
  request: {
    controllerId: { versions: '0+', type: 'int32' },
    isKRaftController: { versions: '7+', type: 'bool', default: false },
    controllerEpoch: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '2+', type: 'int64', default: -1, ignorable: true },
    type: { versions: '5+', type: 'int8' },
    ungroupedPartitionStates: { versions: '0-1', type: 'array', of: PARTITION_STATE },
    topicStates: {
      versions: '2+',
      type: 'array',
      of: {
        topicName: { versions: '2+', type: 'string' },
        topicId: { versions: '5+', type: 'uuid', ignorable: true },
        partitionStates: { versions: '2+', type: 'array', of: PARTITION_STATE },
      },
    },
    liveLeaders: {
      versions: '0+',
      type: 'array',
      of: {
        brokerId: { versions: '0+', type: 'int32' },
        hostName: { versions: '0+', type: 'string' },
        port: { versions: '0+', type: 'int32' },
      },
    },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    partitionErrors: { versions: '0-4', type: 'array', of: PARTITION_ERROR },
    topics: {
      versions: '5+',
      type: 'array',
      of: {
        topicId: { versions: '5+', type: 'uuid' },
        partitionErrors: { versions: '5+', type: 'array', of: PARTITION_ERROR },
      },
    },
  },
})

export type LeaderAndIsrRequest = RequestOf<typeof LeaderAndIsr>
export type LeaderAndIsrResponse = ResponseOf<typeof LeaderAndIsr>
export type LeaderAndIsrRequestInput = RequestInput<typeof LeaderAndIsr>
export type LeaderAndIsrResponseInput = ResponseInput<typeof LeaderAndIsr>
