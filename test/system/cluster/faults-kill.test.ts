/**
 * kill -9 of leaders, a follower and the controller while Java, librdkafka, franz-go and kafkajs
 * write with acks=-1 and read: nothing that was acknowledged is lost, repeated with idempotence or
 * out of order, and the clients soon get acknowledgements again. `npm run faults` does it for longer.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { median } from '../../checker/availability.ts'
import { killController, killFollower, killLeader } from '../../checker/faults.ts'
import { assertClean, Stage, skipWithoutClients } from '../../checker/stage.ts'
import { type ClusterKind, skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import { seededRandom, testSeed } from '../../support/seed.ts'

const kind = (
  process.env['SHARDLOG_TEST_BROKER'] === 'kafka' ? 'apache' : 'shardlog'
) satisfies ClusterKind
/** What every release of Kafka has: a death is seen by the session only after so long. */
const SESSION_TIMEOUT_MS = 18_000

test(`kill -9 loses nothing, with ${kind}`, {
  skip: skipWithoutCluster(kind) || skipWithoutClients(),
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  await using cluster = await startCluster({
    ...{ kind, zookeepers: 3 },
    config: { 'zookeeper.session.timeout.ms': String(SESSION_TIMEOUT_MS) },
  })
  await using stage = await Stage.start(cluster, {
    say: (line) => t.diagnostic(line),
    random: seededRandom(seed),
  })
  for (const fault of [killLeader, killFollower, killController, killLeader]) await fault(stage)
  await assertClean(stage)
  if (kind === 'apache') return
  const silences = stage.silencesOf('kill -9 of a leader')
  assert.ok(median(silences) <= 1000, `p50 ${median(silences)} ms without acknowledgement`)
  assert.ok(Math.max(...silences) <= 3000, `${Math.max(...silences)} ms without acknowledgement`)
})
