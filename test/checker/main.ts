/**
 * The long form of the fault tests: `npm run faults -- --help`. Real clusters of three brokers and
 * three ZooKeeper servers, clients of five libraries, every fault there is, all checks. Exits with 0
 * when nothing was found, 1 when something was, 2 for wrong arguments.
 */
import { parseArgs } from 'node:util'
import type { ClusterKind } from '../support/cluster.ts'
import { seededRandom, testSeed } from '../support/seed.ts'
import type { FakeClock } from './fake-clock.ts'
import { type FaultRunOptions, runFaults, skipFaultRun } from './fault-run.ts'
import {
  CUT_NAMES,
  cutLeader,
  ensembleAway,
  expireSession,
  jumpClocks,
  KILLS,
  killAll,
  killReturned,
  killZooKeeperLeader,
  pauseLeader,
  rollingRestart,
} from './faults.ts'
import type { Stage } from './stage.ts'

const KILLS_OF_ALL = 5

const USAGE = `npm run faults -- [options]

Does faults to a cluster of three brokers and three ZooKeeper servers while clients of five
libraries (Java, librdkafka, franz-go, kafkajs, our own) write with acks=-1, each idempotent and not, and
read. Says for each fault how long clients went without an acknowledgement, and at the end what was
lost, unseen, duplicated, reordered or inconsistent. Needs the test peers; cuts of the network need
root, nftables and iproute2, clocks libfaketime (node dist/scripts/peers.js --install).

  --only PART     kills, network, zookeeper or clocks; may be given again. All if left out.
  --kills N       kill -9 of a leader, a follower and the controller in turn, N in all; 30. Two
                  more follow, of a broker that has just come back, and ${KILLS_OF_ALL} of all brokers at once.
  --rounds N      how often every other fault is done; 1
  --broker KIND   shardlog, or apache: Apache Kafka 3.9.1, for comparison
  --rate N        records a second, producer and partition; 10
  --config K=V    a setting of every broker; may be given again
  --seed N        repeats the choices of another run
  --minutes N     gives up after so long, and cleans up; 60
  --help          this text
`

interface Settings {
  readonly kind: ClusterKind
  readonly only: readonly Part[]
  readonly kills: number
  readonly rounds: number
  readonly rate: number
  readonly config: Readonly<Record<string, string>>
  readonly seed: number
  readonly minutes: number
}

interface PartPlan {
  readonly needs: Pick<FaultRunOptions, 'hasNetwork' | 'hasClocks' | 'hasRacks' | 'config'>
  readonly run: (stage: Stage, settings: Settings, clocks: readonly FakeClock[]) => Promise<void>
}

/** Kafka's default, so that the figures are those of a cluster as it is installed. */
const DEFAULT_SESSION = { 'zookeeper.session.timeout.ms': '18000' }

const PARTS = {
  kills: {
    needs: { config: DEFAULT_SESSION },
    run: async (stage, { kills }) => {
      for (let kill = 0; kill < kills; kill += 1) {
        stage.say(`kill ${kill + 1} of ${kills}`)
        await KILLS[kill % KILLS.length]?.(stage)
      }
      await killReturned(stage)
      for (let round = 0; round < KILLS_OF_ALL; round += 1) await killAll(stage)
    },
  },
  network: {
    needs: { hasNetwork: true, hasRacks: true },
    run: async (stage, { rounds }) => {
      for (let round = 0; round < rounds; round += 1) {
        await pauseLeader(stage)
        for (const name of CUT_NAMES) await cutLeader(stage, name)
      }
    },
  },
  zookeeper: {
    needs: {},
    run: async (stage, { rounds, kind }) => {
      for (let round = 0; round < rounds; round += 1) {
        await killZooKeeperLeader(stage)
        await ensembleAway(stage)
        if (kind === 'shardlog') await expireSession(stage)
        await rollingRestart(stage)
      }
    },
  },
  clocks: {
    needs: { hasClocks: true },
    run: async (stage, { rounds }, clocks) => {
      for (let round = 0; round < rounds; round += 1) await jumpClocks(stage, clocks)
    },
  },
} satisfies Record<string, PartPlan>

type Part = keyof typeof PARTS
const PART_NAMES = Object.keys(PARTS) as readonly Part[]

class UsageError extends Error {}

function parse(args: readonly string[]): Settings | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true },
      kills: { type: 'string', default: '30' },
      rounds: { type: 'string', default: '1' },
      broker: { type: 'string', default: 'shardlog' },
      rate: { type: 'string', default: '10' },
      config: { type: 'string', multiple: true, default: [] },
      seed: { type: 'string', default: String(testSeed()) },
      minutes: { type: 'string', default: '60' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return null
  const number = (name: 'kills' | 'rounds' | 'rate' | 'seed' | 'minutes') => {
    const value = Number(values[name])
    if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${name} ${values[name]}`)
    return value
  }
  const unknown = values.only?.find((name) => !PART_NAMES.some((part) => part === name))
  if (unknown !== undefined) throw new UsageError(`--only ${unknown}`)
  const kind = values.broker
  if (kind !== 'shardlog' && kind !== 'apache') throw new UsageError(`--broker ${kind}`)
  return {
    kind,
    only: (values.only as Part[] | undefined) ?? PART_NAMES,
    kills: number('kills'),
    rounds: number('rounds'),
    rate: number('rate'),
    config: Object.fromEntries(values.config.map(settingOf)),
    seed: number('seed'),
    minutes: number('minutes'),
  }
}

function settingOf(text: string): [string, string] {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`--config ${text}`)
  return [text.slice(0, at), text.slice(at + 1)]
}

function say(line: string): void {
  process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)
}

/** Runs a part in a cluster of its own; true if nothing was found. */
async function runPart(part: Part, settings: Settings, stopping: AbortSignal): Promise<boolean> {
  const { needs, run }: PartPlan = PARTS[part]
  const { kind, rate, seed } = settings
  if (needs.hasClocks && kind === 'apache') {
    say(`${part}: left out, for brokers of ours only`)
    return true
  }
  const missing = skipFaultRun({ kind, ...needs })
  if (missing) {
    say(`${part}: LEFT OUT, ${missing}`)
    return true
  }
  say(`${part}: begins, --seed ${seed}`)
  const config = { ...needs.config, ...settings.config }
  const random = seededRandom(seed)
  const options = { kind, rate, ...needs, config, say, random, signal: stopping }
  try {
    await runFaults(options, (stage, clocks) => run(stage, settings, clocks))
    say(`${part}: nothing found`)
    return true
  } catch (error) {
    const text = stopping.aborted ? String(stopping.reason) : errorText(error)
    say(`${part}: FAILED: ${text}`)
    return false
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

async function main(): Promise<number> {
  let settings: Settings | null
  try {
    settings = parse(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n\n${USAGE}`)
    return 2
  }
  if (settings === null) {
    process.stdout.write(USAGE)
    return 0
  }
  // Whatever ends a run, it ends through the clean-up of its cluster, clients and namespaces.
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(`stopped by ${signal}`))
  }
  const timer = setTimeout(
    () => stop.abort(`not done after ${settings.minutes} minutes`),
    settings.minutes * 60_000,
  )
  let isClean = true
  for (const part of settings.only) {
    if (!stop.signal.aborted) isClean = (await runPart(part, settings, stop.signal)) && isClean
  }
  clearTimeout(timer)
  return isClean && !stop.signal.aborted ? 0 : 1
}

process.exitCode = await main()
// Clients that were killed in the middle of something must not keep this process.
process.exit()
