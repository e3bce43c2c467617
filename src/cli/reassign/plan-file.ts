/** The JSON of kafka-reassign-partitions: which replicas partitions shall have. */
import type { ReplicaLogDir, TopicPartition } from '../../client/admin.ts'
import { type JsonObject, partitionsOfFile } from '../kit/json-file.ts'
import { ToolError } from '../kit/tool.ts'

const ANY_LOG_DIR = 'any'

export interface Placement extends TopicPartition {
  readonly replicas: readonly number[]
  /** As many as replicas. */
  readonly logDirs: readonly string[]
}

export function partitionName({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

export function byPartition(a: TopicPartition, b: TopicPartition): number {
  if (a.topic !== b.topic) return a.topic < b.topic ? -1 : 1
  return a.partition - b.partition
}

function listOf(item: JsonObject, name: string, isRight: (one: unknown) => boolean): unknown[] {
  const list = item[name]
  if (Array.isArray(list) && list.every(isRight)) return list
  throw new ToolError(`"${name}" is not right in ${JSON.stringify(item)}`)
}

/** Reads a plan. Throws ToolError for one that cannot be. */
export function readPlan(path: string): Placement[] {
  const plan = partitionsOfFile(path, (item) => {
    const isId = (one: unknown): boolean => Number.isSafeInteger(one) && (one as number) >= 0
    const replicas = listOf(item, 'replicas', isId) as number[]
    const isText = (one: unknown): boolean => typeof one === 'string'
    const logDirs =
      item['log_dirs'] === undefined
        ? replicas.map(() => ANY_LOG_DIR)
        : (listOf(item, 'log_dirs', isText) as string[])
    if (replicas.length !== logDirs.length) {
      throw new ToolError(
        `Size of replicas list [${replicas}] is different from size of log dirs list [${logDirs}]`,
      )
    }
    return { replicas, logDirs }
  })
  if (plan.length === 0) throw new ToolError('Partition reassignment list cannot be empty')
  for (const one of plan) {
    if (one.replicas.length === 0) throw new ToolError('Partition replica list cannot be empty')
    const twice = one.replicas.find((id, at) => one.replicas.indexOf(id) !== at)
    if (twice !== undefined) {
      throw new ToolError(
        'Partition replica lists may not contain duplicate entries: ' +
          `${partitionName(one)} contains multiple entries for ${twice}`,
      )
    }
  }
  return plan.sort(byPartition)
}

/** Moves between log directories that a plan asks for. */
export function logDirMoves(plan: readonly Placement[]): ReplicaLogDir[] {
  return plan.flatMap(({ topic, partition, replicas, logDirs }) =>
    replicas
      .map((brokerId, at) => ({ topic, partition, brokerId, logDir: logDirs[at] as string }))
      .filter(({ logDir }) => logDir !== ANY_LOG_DIR),
  )
}

/** A plan in the form that `readPlan` takes. */
export function planJson(
  placements: readonly (TopicPartition & { readonly replicas: readonly number[] })[],
): string {
  const partitions = [...placements].sort(byPartition).map(({ topic, partition, replicas }) => ({
    ...{ topic, partition, replicas },
    log_dirs: replicas.map(() => ANY_LOG_DIR),
  }))
  return JSON.stringify({ version: 1, partitions })
}
