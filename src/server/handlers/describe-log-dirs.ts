/** DescribeLogDirs (KIP-113): what takes how much room in the data directory. */
import { statfs } from 'node:fs/promises'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  DescribeLogDirsRequest,
  DescribeLogDirsResponseInput,
} from '../../protocol/messages/describe-log-dirs.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'

export function createDescribeLogDirsHandler(services: {
  readonly replicas: ReplicaManager
  readonly dataDirectory: string
}) {
  const { replicas, dataDirectory } = services
  return async (request: DescribeLogDirsRequest): Promise<DescribeLogDirsResponseInput> => {
    const wanted =
      request.topics === null
        ? null
        : new Map(request.topics.map(({ topic, partitions }) => [topic, new Set(partitions)]))
    const topics = new Map<
      string,
      { partitionIndex: number; partitionSize: number; offsetLag: number; isFutureKey: boolean }[]
    >()
    for (const partition of replicas.partitions) {
      if (wanted !== null && !wanted.get(partition.topic)?.has(partition.partition)) continue
      const list = topics.get(partition.topic) ?? []
      topics.set(partition.topic, list)
      list.push({
        partitionIndex: partition.partition,
        partitionSize: partition.sizeBytes,
        offsetLag: 0,
        isFutureKey: false,
      })
    }
    const result = {
      logDir: dataDirectory,
      topics: [...topics].map(([name, partitions]) => ({ name, partitions })),
    }
    try {
      const { bsize, blocks, bavail } = await statfs(dataDirectory)
      const room = { totalBytes: blocks * bsize, usableBytes: bavail * bsize }
      return { throttleTimeMs: 0, errorCode: 0, results: [{ errorCode: 0, ...result, ...room }] }
    } catch {
      // The disk is gone: that is the answer, not a failure of the request.
      return {
        throttleTimeMs: 0,
        errorCode: 0,
        results: [{ errorCode: ErrorCode.KAFKA_STORAGE_ERROR, ...result, topics: [] }],
      }
    }
  }
}
