/** One run of the checker: a cluster of its own, the load, faults one after the other, the checks. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type ClusterKind,
  type ClusterOptions,
  skipWithoutCluster,
  startCluster,
  type TestCluster,
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
  /** Every broker and every client has a rack, and readers read from a replica in theirs (KIP-392). */
  readonly hasRacks?: boolean
  /** Of every broker; sessions last 6 seconds unless it says otherwise. */
  readonly config?: Readonly<Record<string, string>>
}

const BROKERS = 3
const READ_NEARBY = {
  'replica.selector.class': 'org.apache.kafka.common.replica.RackAwareReplicaSelector',
}

function rackOf(index: number): string {
  return `rack-${index}`
}

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

/** Writes what brokers have said lately to a folder that stays. */
export function keepLogs(cluster: TestCluster): string {
  const folder = mkdtempSync(join(tmpdir(), 'shardlog-faults-'))
  for (const broker of cluster.brokers) {
    writeFileSync(join(folder, `broker-${broker.id}.log`), broker.log)
  }
  return folder
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
    const hasRacks = options.hasRacks === true
    const cluster: ClusterOptions = {
      ...{ kind: options.kind, brokers: BROKERS, zookeepers: 3 },
      config: { ...options.config, ...(hasRacks ? READ_NEARBY : {}) },
      perBroker: (brokerId) => (hasRacks ? { 'broker.rack': rackOf(brokerId) } : {}),
      ...(network === null ? {} : { network }),
      env: (brokerId) => clocks[brokerId]?.env ?? {},
    }
    await using started = await startCluster(cluster)
    const racks = hasRacks ? { racks: started.brokers.map(({ id }) => rackOf(id)) } : {}
    await using stage = await Stage.start(started, { ...options, ...racks })
    try {
      await faults(stage, clocks)
      return { stage, report: await assertClean(stage) }
    } catch (error) {
      options.say(`the logs of the brokers are in ${keepLogs(started)}`)
      throw error
    }
  } finally {
    for (const clock of clocks) clock[Symbol.dispose]()
    network?.close()
  }
}
