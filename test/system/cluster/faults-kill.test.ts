/**
 * kill -9 of leaders, a follower, the controller and all brokers at once while Java, librdkafka,
 * franz-go, kafkajs and our client write with acks=-1 and read: nothing that was acknowledged is lost,
 * repeated with idempotence or out of order, and the clients soon get acknowledgements again.
 * `npm run faults` does it for longer.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { median } from '../../checker/availability.ts'
import { kindUnderTest as kind, runFaults, skipFaultRun } from '../../checker/fault-run.ts'
import { killAll, killController, killFollower, killLeader } from '../../checker/faults.ts'
import { seededRandom, testSeed } from '../../support/seed.ts'

/** Kafka's default: by its session alone a broker is known to be dead only after so long. */
const config = { 'zookeeper.session.timeout.ms': '18000' }
const FAULTS = [killLeader, killFollower, killController, killLeader, killAll]

test(`kill -9 loses nothing, with ${kind}`, {
  skip: skipFaultRun({ kind }),
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const say = (line: string) => t.diagnostic(line)
  const { stage } = await runFaults(
    { kind, config, say, random: seededRandom(seed) },
    async (running) => {
      for (const fault of FAULTS) await fault(running)
    },
  )
  if (kind === 'apache') return
  const silences = stage.silencesOf('kill -9 of a leader')
  assert.ok(median(silences) <= 1000, `p50 ${median(silences)} ms without acknowledgement`)
  assert.ok(Math.max(...silences) <= 3000, `${Math.max(...silences)} ms without acknowledgement`)
})
