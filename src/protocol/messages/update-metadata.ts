/**
 * The controller of a ZooKeeper cluster tells a broker what to answer to Metadata. `zkVersion` is
 * the version of the partition's state node; a leader of -2 says that the partition is deleted.
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
  topicName: { versions: '0-4', type: 'string', ignorable: true },
  partitionIndex: { versions: '0+', type: 'int32' },
  controllerEpoch: { versions: '0+', type: 'int32' },
  leader: { versions: '0+', type: 'int32' },
  leaderEpoch: { versions: '0+', type: 'int32' },
  isr: { versions: '0+', type: 'array', of: 'int32' },
  zkVersion: { versions: '0+', type: 'int32' },
  replicas: { versions: '0+', type: 'array', of: 'int32' },
  offlineReplicas: { versions: '4+', type: 'array', of: 'int32', ignorable: true },
} as const satisfies Fields

export const UpdateMetadata = defineApi({
  key: 6,
  name: 'UpdateMetadata',
  // 1: endpoints. 2: racks. 3: listener names. 4: offline replicas. 5: broker epoch, partitions by
  // topic. 6: flexible. 7: topic ids. 8: KRaft controllers (KIP-866).
  versions: '0-8',
  flexible: '6+',
  request: {
    controllerId: { versions: '0+', type: 'int32' },
    isKRaftController: { versions: '8+', type: 'bool', default: false },
    type: { versions: '8+', type: 'int8', default: 0, tag: 0, tagged: '8+' },
    controllerEpoch: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '5+', type: 'int64', default: -1, ignorable: true },
    ungroupedPartitionStates: { versions: '0-4', type: 'array', of: PARTITION_STATE },
    topicStates: {
      versions: '5+',
      type: 'array',
      of: {
        topicName: { versions: '5+', type: 'string' },
        topicId: { versions: '7+', type: 'uuid', ignorable: true },
        partitionStates: { versions: '5+', type: 'array', of: PARTITION_STATE },
      },
    },
    liveBrokers: {
      versions: '0+',
      type: 'array',
      of: {
        id: { versions: '0+', type: 'int32' },
        v0Host: { versions: '0', type: 'string', ignorable: true },
        v0Port: { versions: '0', type: 'int32', ignorable: true },
        endpoints: {
          versions: '1+',
          type: 'array',
          of: {
            port: { versions: '1+', type: 'int32' },
            host: { versions: '1+', type: 'string' },
            listener: { versions: '3+', type: 'string', ignorable: true },
            securityProtocol: { versions: '1+', type: 'int16' },
          },
          ignorable: true,
        },
        rack: { versions: '2+', type: 'string', nullable: '0+', ignorable: true },
      },
    },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
  },
})

export type UpdateMetadataRequest = RequestOf<typeof UpdateMetadata>
export type UpdateMetadataResponse = ResponseOf<typeof UpdateMetadata>
export type UpdateMetadataRequestInput = RequestInput<typeof UpdateMetadata>
export type UpdateMetadataResponseInput = ResponseInput<typeof UpdateMetadata>
