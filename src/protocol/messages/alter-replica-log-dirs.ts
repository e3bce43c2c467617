import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterReplicaLogDirs = defineApi({
  key: 34,
  name: 'AlterReplicaLogDirs',
  versions: '0-2',
  flexible: '2+',
  request: {
    dirs: {
      versions: '0+',
      type: 'array',
      of: {
        path: { versions: '0+', type: 'string' },
        topics: {
          versions: '0+',
          type: 'array',
          of: {
            name: { versions: '0+', type: 'string' },
            partitions: { versions: '0+', type: 'array', of: 'int32' },
          },
        },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        topicName: { versions: '0+', type: 'string' },
        partitions: {
          versions: '0+',
          type: 'array',
          of: {
            partitionIndex: { versions: '0+', type: 'int32' },
            errorCode: { versions: '0+', type: 'int16' },
          },
        },
      },
    },
  },
})

export type AlterReplicaLogDirsRequest = RequestOf<typeof AlterReplicaLogDirs>
export type AlterReplicaLogDirsResponse = ResponseOf<typeof AlterReplicaLogDirs>
export type AlterReplicaLogDirsRequestInput = RequestInput<typeof AlterReplicaLogDirs>
export type AlterReplicaLogDirsResponseInput = ResponseInput<typeof AlterReplicaLogDirs>
