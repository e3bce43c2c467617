/** One run of the checker: a cluster of its own, the load, faults one after the other, the checks. */
import {
  type ClusterKind,
  type ClusterOptions,
  skipWithoutCluster,
  startCluster,
} from '../support/cluster.ts'
import { skipWithoutNamespaces, TestNetwork } from '../support/network-namespaces.ts'
import type { Report } from './checks.ts'
import { FakeClock, skipWithoutFakeClock } from './fake-clock.ts'
import { assertClean, Stage, type StageOptions, skipWithoutClients } from './stage.ts'

export interface FaultRunOptions extends StageOptions {
  readonly kind: ClusterKind
  /** Brokers in network namespaces, where they can be cut off. */
  readonly hasNetwork?: boolean
  /** Brokers with clocks that can jump; ours only. */
  readonly hasClocks?: boolean
  /** Of every broker; sessions last 6 seconds unless it says otherwise. */
  readonly config?: Readonly<Record<string, string>>
}

const BROKERS = 3

/** Ours, or Apache Kafka 3.9.1 with SHARDLOG_TEST_BROKER=kafka, which the checker is held against. */
export const kindUnderTest: ClusterKind =
  process.env['SHARDLOG_TEST_BROKER'] === 'kafka' ? 'apache' : 'shardlog'

/** Why such a run must be skipped, false if it need not. Throws with CI=true. */
export function skipFaultRun(
  options: Pick<FaultRunOptions, 'kind' | 'hasNetwork' | 'hasClocks'>,
): string | false {
  return (
    skipWithoutCluster(options.kind) ||
    skipWithoutClients() ||
    (options.hasNetwork === true && skipWithoutNamespaces()) ||
    (options.hasClocks === true && skipWithoutFakeClock())
  )
}

/** Throws unless `faults` can be done and the history is clean after them. */
export async function runFaults(
  options: FaultRunOptions,
  faults: (stage: Stage, clocks: readonly FakeClock[]) => Promise<void>,
): Promise<{ readonly stage: Stage; readonly report: Report }> {
  const network = options.hasNetwork === true ? TestNetwork.create(BROKERS) : null
  const clocks = Array.from(
    { length: options.hasClocks === true ? BROKERS : 0 },
    () => new FakeClock(),
  )
  try {
    const cluster: ClusterOptions = {
      ...{ kind: options.kind, brokers: BROKERS, zookeepers: 3, config: options.config ?? {} },
      ...(network === null ? {} : { network }),
      env: (brokerId) => clocks[brokerId]?.env ?? {},
    }
    await using started = await startCluster(cluster)
    await using stage = await Stage.start(started, options)
    await faults(stage, clocks)
    return { stage, report: await assertClean(stage) }
  } finally {
    for (const clock of clocks) clock[Symbol.dispose]()
    network?.close()
  }
}
