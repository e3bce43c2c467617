import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const Fetch = defineApi({
  key: 1,
  name: 'Fetch',
  versions: '0-17',
  flexible: '12+',
  request: {
    clusterId: {
      versions: '12+',
      type: 'string',
      nullable: '12+',
      default: null,
      tag: 0,
      tagged: '12+',
      ignorable: true,
    },
    replicaId: { versions: '0-14', type: 'int32', default: -1 },
    replicaState: {
      versions: '15+',
      type: 'struct',
      fields: {
        replicaId: { versions: '15+', type: 'int32', default: -1 },
        replicaEpoch: { versions: '15+', type: 'int64', default: -1 },
      },
      tag: 1,
      tagged: '15+',
    },
    maxWaitMs: { versions: '0+', type: 'int32' },
    minBytes: { versions: '0+', type: 'int32' },
    maxBytes: { versions: '3+', type: 'int32', default: 2147483647, ignorable: true },
    isolationLevel: { versions: '4+', type: 'int8', default: 0, ignorable: true },
    sessionId: { versions: '7+', type: 'int32', default: 0, ignorable: true },
    sessionEpoch: { versions: '7+', type: 'int32', default: -1, ignorable: true },
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0-12', type: 'string', ignorable: true },
        topicId: { versions: '13+', type: 'uuid', ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partition: { versions: '0+', type: 'int32' },
            currentLeaderEpoch: { versions: '9+', type: 'int32', default: -1, ignorable: true },
            fetchOffset: { versions: '0+', type: 'int64' },
            lastFetchedEpoch: { versions: '12+', type: 'int32', default: -1 },
            logStartOffset: { versions: '5+', type: 'int64', default: -1, ignorable: true },
            partitionMaxBytes: { versions: '0+', type: 'int32' },
            replicaDirectoryId: {
              versions: '17+',
              type: 'uuid',
              tag: 0,
              tagged: '17+',
              ignorable: true,
            },
          },
        },
      },
    },
    forgottenTopicsData: {
      versions: '7+',
      type: 'array',
      of: {
        topic: { versions: '7-12', type: 'string', ignorable: true },
        topicId: { versions: '13+', type: 'uuid', ignorable: true },
        partitions: { versions: '7+', type: 'array', of: 'int32' },
      },
    },
    rackId: { versions: '11+', type: 'string', ignorable: true },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '7+', type: 'int16', ignorable: true },
    sessionId: { versions: '7+', type: 'int32', default: 0 },
    responses: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0-12', type: 'string', ignorable: true },
        topicId: { versions: '13+', type: 'uuid', ignorable: true },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
            highWatermark: { versions: '0+', type: 'int64' },
            lastStableOffset: { versions: '4+', type: 'int64', default: -1, ignorable: true },
            logStartOffset: { versions: '5+', type: 'int64', default: -1, ignorable: true },
            divergingEpoch: {
              versions: '12+',
              type: 'struct',
              fields: {
                epoch: { versions: '12+', type: 'int32', default: -1 },
                endOffset: { versions: '12+', type: 'int64', default: -1 },
              },
              tag: 0,
              tagged: '12+',
            },
            currentLeader: {
              versions: '12+',
              type: 'struct',
              fields: {
                leaderId: { versions: '12+', type: 'int32', default: -1 },
                leaderEpoch: { versions: '12+', type: 'int32', default: -1 },
              },
              tag: 1,
              tagged: '12+',
            },
            snapshotId: {
              versions: '12+',
              type: 'struct',
              fields: {
                endOffset: { versions: '0+', type: 'int64', default: -1 },
                epoch: { versions: '0+', type: 'int32', default: -1 },
              },
              tag: 2,
              tagged: '12+',
            },
            abortedTransactions: {
              versions: '4+',
              type: 'array',
              of: {
                producerId: { versions: '4+', type: 'int64' },
                firstOffset: { versions: '4+', type: 'int64' },
              },
              nullable: '4+',
              ignorable: true,
            },
            preferredReadReplica: { versions: '11+', type: 'int32', default: -1 },
            records: { versions: '0+', type: 'records', nullable: '0+' },
          },
        },
      },
    },
    nodeEndpoints: {
      versions: '16+',
      type: 'array',
      of: {
        nodeId: { versions: '16+', type: 'int32' },
        host: { versions: '16+', type: 'string' },
        port: { versions: '16+', type: 'int32' },
        rack: { versions: '16+', type: 'string', nullable: '16+', default: null },
      },
      tag: 0,
      tagged: '16+',
    },
  },
})

export type FetchRequest = RequestOf<typeof Fetch>
export type FetchResponse = ResponseOf<typeof Fetch>
export type FetchRequestInput = RequestInput<typeof Fetch>
export type FetchResponseInput = ResponseInput<typeof Fetch>
