/** Command line of the cluster benchmark. */
import { parseArgs } from 'node:util'
import { scenariosOf, wholeNumber } from './options.ts'

export const CLUSTER_SCENARIOS = [
  'idle',
  'produce-1k',
  'produce-100',
  'latency',
  'memory',
  'create',
  'failover',
  'election',
] as const

export type ClusterScenarioName = (typeof CLUSTER_SCENARIOS)[number]

export const CLUSTER_USAGE = `usage: npm run bench:cluster -- [options]
  --scenario A,B            what to run: ${CLUSTER_SCENARIOS.join(', ')} (all)
  --only ours|kafka         one of the two clusters
  --rounds N                starts of each cluster, in turns (3)
  --bytes N                 record bytes of produce-1k; a quarter of it for produce-100 (1000000000)
  --batch-bytes N           size of a full batch (1000000)
  --seconds N               length of idle and latency (10)
  --partitions N            of the topic that is produced to (8)
  --connections N           producers, each with its own connections (1)
  --create-partitions N     of the topic whose creation is timed (1000)
  --kills N                 leaders killed in a round of failover (5)
  --election-partitions N   in the cluster that loses a broker in election (5000)
  --data DIR                where brokers and ZooKeeper keep their data (below the temporary folder)
  --prime-bytes N           page cache touched beforehand (3000000000)
  --warm-up-bytes N         produced in 16 KiB batches at each start of a cluster (1000000000)
  --quick                   1 round of a quarter of all the above, 1 kill
`

export interface ClusterOptions {
  readonly scenarios: ReadonlySet<ClusterScenarioName>
  readonly only: 'ours' | 'kafka' | null
  readonly rounds: number
  readonly bytes: number
  readonly batchBytes: number
  readonly seconds: number
  readonly partitions: number
  readonly connections: number
  readonly createPartitions: number
  readonly kills: number
  readonly electionPartitions: number
  readonly data: string | null
  readonly primeBytes: number
  readonly warmUpBytes: number
}

/** Throws an Error that names the option when a value is not allowed; null when help is wanted. */
export function parseClusterOptions(args: readonly string[]): ClusterOptions | null {
  const string = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: string,
      only: string,
      rounds: string,
      bytes: string,
      'batch-bytes': string,
      seconds: string,
      partitions: string,
      connections: string,
      'create-partitions': string,
      kills: string,
      'election-partitions': string,
      data: string,
      'prime-bytes': string,
      'warm-up-bytes': string,
      quick: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return null
  const share = values.quick ? 4 : 1
  const number = (name: keyof typeof values, otherwise: number, low: number, high: number) =>
    wholeNumber({ name, text: values[name] as string | undefined, otherwise, low, high })
  return {
    scenarios: scenariosOf(values.scenario, CLUSTER_SCENARIOS),
    only: onlyOf(values.only),
    rounds: number('rounds', values.quick ? 1 : 3, 1, 100),
    bytes: number('bytes', 1e9 / share, 1e6, 1e12),
    batchBytes: number('batch-bytes', 1e6, 1, 1e6),
    seconds: number('seconds', Math.ceil(10 / share), 1, 3600),
    partitions: number('partitions', 8, 1, 4096),
    connections: number('connections', 1, 1, 64),
    createPartitions: number('create-partitions', 1000 / share, 1, 100_000),
    kills: number('kills', values.quick ? 1 : 5, 1, 1000),
    electionPartitions: number('election-partitions', 5000 / share, 3, 100_000),
    data: values.data ?? null,
    primeBytes: number('prime-bytes', 3e9 / share, 0, 1e12),
    warmUpBytes: number('warm-up-bytes', 1e9 / share, 1e6, 1e12),
  }
}

function onlyOf(text: string | undefined): ClusterOptions['only'] {
  if (text === undefined || text === 'ours' || text === 'kafka') return text ?? null
  throw new Error(`--only: ${text} is neither ours nor kafka`)
}
