/**
 * A leader is stopped for 20 seconds, cut off in several ways or loses packets, while clients of
 * five libraries write with acks=-1 and read: nothing is lost, repeated or out of order, and what
 * such a leader had not committed it never commits. Readers have replicas nearby that they read from.
 */
import { test } from 'node:test'
import { kindUnderTest as kind, runFaults, skipFaultRun } from '../../checker/fault-run.ts'
import { type CutName, cutLeader, pauseLeader } from '../../checker/faults.ts'
import { seededRandom, testSeed } from '../../support/seed.ts'

const CUTS: readonly CutName[] = [
  'leader cut off from brokers and ZooKeeper',
  'leader cut off from ZooKeeper',
  'leader hears nobody',
  'leader is heard by nobody',
  'leader loses 30 % of packets',
]
/** Longer than the sessions of 6 seconds. */
const HOLD_MS = 9000

test(`pauses and cuts of the network lose nothing, with ${kind}`, {
  skip: skipFaultRun({ kind, hasNetwork: true }),
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const say = (line: string) => t.diagnostic(line)
  const options = {
    ...{ kind, hasNetwork: true, hasRacks: true },
    ...{ say, random: seededRandom(seed) },
  }
  await runFaults(options, async (stage) => {
    await pauseLeader(stage)
    for (const name of CUTS) await cutLeader(stage, name, HOLD_MS)
  })
})
