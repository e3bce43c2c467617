import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeLogDirs = defineApi({
  key: 35,
  name: 'DescribeLogDirs',
  versions: '0-4',
  flexible: '2+',
  request: {
    topics: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitions: { versions: '0+', type: 'array', of: 'int32' },
      },
      nullable: '0+',
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '3+', type: 'int16', ignorable: true },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        logDir: { versions: '0+', type: 'string' },
        topics: {
          versions: '0+',
          type: 'array',
          of: {
            name: { versions: '0+', type: 'string' },
            partitions: {
              versions: '0+',
              type: 'array',
              of: {
                partitionIndex: { versions: '0+', type: 'int32' },
                partitionSize: { versions: '0+', type: 'int64' },
                offsetLag: { versions: '0+', type: 'int64' },
                isFutureKey: { versions: '0+', type: 'bool' },
              },
            },
          },
        },
        totalBytes: { versions: '4+', type: 'int64', default: -1, ignorable: true },
        usableBytes: { versions: '4+', type: 'int64', default: -1, ignorable: true },
      },
    },
  },
})

export type DescribeLogDirsRequest = RequestOf<typeof DescribeLogDirs>
export type DescribeLogDirsResponse = ResponseOf<typeof DescribeLogDirs>
export type DescribeLogDirsRequestInput = RequestInput<typeof DescribeLogDirs>
export type DescribeLogDirsResponseInput = ResponseInput<typeof DescribeLogDirs>
