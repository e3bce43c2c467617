/**
 * ZooKeeper's leader dies, the whole ensemble is away, a broker's session ends, clocks jump by
 * hours, and all brokers are restarted in turn, while clients of five libraries write with acks=-1
 * and read: nothing is lost, repeated or out of order. While there is no ZooKeeper records go on
 * flowing and nobody is elected; a rolling restart shows no client an error.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { kindUnderTest as kind, runFaults, skipFaultRun } from '../../checker/fault-run.ts'
import {
  ensembleAway,
  expireSession,
  jumpClocks,
  killZooKeeperLeader,
  rollingRestart,
} from '../../checker/faults.ts'
import { seededRandom, testSeed } from '../../support/seed.ts'

const hasClocks = kind === 'shardlog'
/** Longer than the sessions of 6 seconds; `npm run faults` has a minute. */
const AWAY_MS = 12_000

test(`trouble with ZooKeeper, clocks and restarts loses nothing, with ${kind}`, {
  skip: skipFaultRun({ kind, hasClocks }),
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const say = (line: string) => t.diagnostic(line)
  const options = { kind, hasClocks, say, random: seededRandom(seed) }
  const { stage, report } = await runFaults(options, async (running, clocks) => {
    await rollingRestart(running)
    await killZooKeeperLeader(running)
    await ensembleAway(running, AWAY_MS)
    if (kind === 'shardlog') {
      await expireSession(running)
      await jumpClocks(running, clocks)
    }
  })
  for (const [client, { indeterminate, failed }] of report.counts) {
    assert.equal(indeterminate + failed, 0, `${client} was shown errors`)
  }
  const away = Math.max(...stage.silencesOf('whole ensemble away'))
  assert.ok(away < 2000, `${away} ms without acknowledgement while there was no ZooKeeper`)
})
