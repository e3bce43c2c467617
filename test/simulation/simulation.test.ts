/**
 * Random histories of clusters of three or four brokers on a simulated clock, network, disk and
 * ZooKeeper; the brokers are the classes of production. See docs/testing.md.
 *
 * SHARDLOG_SEED: the first seed, and the only one unless SHARDLOG_RUNS says how many follow it.
 * SHARDLOG_TRACE: a file that the history is written to.
 */
import assert from 'node:assert/strict'
import { closeSync, openSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { runScenario, type Summary } from './scenario.ts'

const given = process.env['SHARDLOG_SEED']
const FIRST_SEED = Number(given ?? 1)
const RUNS = Number(process.env['SHARDLOG_RUNS'] ?? (given === undefined ? 1000 : 1))
const TRACE = process.env['SHARDLOG_TRACE']

async function run(seed: number): Promise<Summary> {
  const file = TRACE === undefined ? null : openSync(TRACE, 'w')
  const print = file === null ? null : (line: string) => writeSync(file, `${line}\n`)
  try {
    return await runScenario(seed, { print })
  } catch (error) {
    const replay = `SHARDLOG_SEED=${seed} SHARDLOG_TRACE=/tmp/trace node dist/scripts/test.js simulation/simulation`
    throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay: ${replay}`, {
      cause: error,
    })
  } finally {
    if (file !== null) closeSync(file)
  }
}

test(`${RUNS} random histories of a cluster`, async (t) => {
  const begin = performance.now()
  const sums = { events: 0, acknowledged: 0, elections: 0, healedMs: 0 }
  const faults = new Map<string, number>()
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed += 1) {
    const summary = await run(seed)
    sums.events += summary.eventCount
    sums.acknowledged += summary.acknowledged
    sums.elections += summary.elections
    sums.healedMs = Math.max(sums.healedMs, summary.healedMs)
    for (const [name, count] of summary.faults) faults.set(name, (faults.get(name) ?? 0) + count)
  }
  const seconds = (performance.now() - begin) / 1000
  t.diagnostic(
    `${(RUNS / seconds).toFixed(1)} seeds/s; ${sums.events} events, ${sums.acknowledged} records ` +
      `acknowledged, ${sums.elections} elections; well again after ${sums.healedMs.toFixed(0)} ms at most`,
  )
  t.diagnostic([...faults].map(([name, count]) => `${name}: ${count}`).join(', '))
})

test('one seed gives one history', async () => {
  for (const seed of [FIRST_SEED + 2, FIRST_SEED + 3]) {
    const first = await runScenario(seed)
    const second = await runScenario(seed)
    assert.equal(second.digest, first.digest)
    assert.equal(second.eventCount, first.eventCount)
  }
})
