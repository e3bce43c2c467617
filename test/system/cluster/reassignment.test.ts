/**
 * A partition of some size is moved between brokers with a limit on the bandwidth: it takes as long
 * as the limit says while producers with acks=-1 go on unhindered, and it can be watched, changed
 * and called off.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Admin, ConfigResourceType, type ConfigSource } from '../../../src/client/admin.ts'
import { Producer } from '../../../src/client/producer.ts'
import { kindUnderTest as kind } from '../../checker/fault-run.ts'
import { isWhole, skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import { runTool } from '../../support/tools.ts'
import { until } from '../../support/until.ts'
import { readAll } from './read-all.ts'

const TOPIC = 'moves'
const VALUE_BYTES = 500_000
const VALUES = 120
const BYTES_PER_SECOND = 10_000_000
/** Nothing of that size would arrive at that rate while the test runs. */
const SLOWEST = 1_000_000
const SENDS = 100

function isDynamic(source: ConfigSource): boolean {
  return source === 'DYNAMIC_TOPIC_CONFIG' || source === 'DYNAMIC_BROKER_CONFIG'
}

test(`a throttled reassignment keeps to its rate and holds up nobody, with ${kind}`, {
  skip: skipWithoutCluster(kind),
  timeout: 180_000,
}, async (t) => {
  await using cluster = await startCluster({
    ...{ kind, config: { 'auto.leader.rebalance.enable': 'false' } },
  })
  await using admin = new Admin({ bootstrapServers: cluster.bootstrap })
  await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
  const folder = mkdtempSync(join(tmpdir(), 'reassignment-test-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const configs = { 'min.insync.replicas': '2' }
  await admin.createTopics([{ name: TOPIC, assignments: [[0, 1]], configs }])
  await cluster.waitForTopic(TOPIC, ({ partitions }) => partitions.every(isWhole))
  const value = Buffer.alloc(VALUE_BYTES, 'x')
  const fill = Array.from({ length: VALUES }, () => {
    return producer.send({ topic: TOPIC, partition: 0, value })
  })
  await Promise.all(fill)

  const plan = join(folder, 'plan.json')
  const reassign = async (...words: readonly string[]): Promise<string> => {
    const where = ['--bootstrap-server', cluster.bootstrap]
    const run = await runTool('kafka-reassign-partitions', [...where, ...words])
    assert.equal(run.code, 0, run.stderr)
    return run.stdout
  }
  const execute = (replicas: readonly number[], ...words: readonly string[]): Promise<string> => {
    const partitions = [{ topic: TOPIC, partition: 0, replicas }]
    writeFileSync(plan, JSON.stringify({ version: 1, partitions }))
    return reassign('--execute', '--reassignment-json-file', plan, ...words)
  }
  const verify = (): Promise<string> => reassign('--verify', '--reassignment-json-file', plan)
  /** Waits until it is done, and the broker that is asked knows it: replicas, and who is in sync. */
  const moved = async (wanted: string): Promise<void> => {
    await until('the reassignment ends', async () => {
      return (await admin.listPartitionReassignments()).length === 0
    })
    let last = ''
    const isSo = async (): Promise<boolean> => {
      const [state] = (await cluster.describe(TOPIC)).partitions
      last = `${state?.replicas} isr ${[...(state?.isr ?? [])].sort()}`
      return last === wanted
    }
    await until(() => `${wanted}, not ${last}`, isSo, 10_000)
  }
  const throttles = async (): Promise<string[]> => {
    const brokers = cluster.brokers.map(({ id }) => {
      return { type: ConfigResourceType.BROKER, name: String(id) }
    })
    const topic = { type: ConfigResourceType.TOPIC, name: TOPIC }
    const described = await admin.describeConfigs([...brokers, topic])
    const texts = described.flatMap(({ resource, entries }) => {
      return entries
        .filter(({ name, source }) => name.includes('.throttled.') && isDynamic(source))
        .map((entry) => `${resource.name} ${entry.name}=${entry.value}`)
    })
    return texts.sort()
  }
  /** Waits until every broker has heard of these limits, and of no others. */
  const throttled = async (wanted: readonly string[]): Promise<void> => {
    let last: readonly string[] = []
    const isSo = async (): Promise<boolean> => {
      last = await throttles()
      return last.join() === wanted.join()
    }
    await until(() => `limits as wanted, not ${last}`, isSo, 10_000)
  }
  const folderOn = (id: number): boolean => {
    return existsSync(join(cluster.broker(id).dataDir, `${TOPIC}-0`))
  }

  // Called off before much of it has come.
  await execute([2, 1], '--throttle', String(SLOWEST))
  await until('the new replica has begun', () => folderOn(2))
  assert.match(await reassign('--cancel', '--reassignment-json-file', plan), /Successfully cancel/)
  await moved('1,0 isr 0,1')
  await throttled([])
  await until('what had come is gone', () => !folderOn(2))

  const begin = performance.now()
  await execute([1, 2], '--throttle', String(BYTES_PER_SECOND))
  await throttled([
    ...['0', '1', '2'].flatMap((id) => [
      `${id} follower.replication.throttled.rate=${BYTES_PER_SECOND}`,
      `${id} leader.replication.throttled.rate=${BYTES_PER_SECOND}`,
    ]),
    `${TOPIC} follower.replication.throttled.replicas=0:2`,
    `${TOPIC} leader.replication.throttled.replicas=0:0,0:1`,
  ])
  const during: string[] = []
  for (let i = 0; i < SENDS; i += 1) {
    during.push(`during-${i}`)
    await producer.send({ topic: TOPIC, partition: 0, value: `during-${i}` })
  }
  // All of these were acknowledged while the move went on.
  assert.equal(
    (await reassign('--list')).trimEnd(),
    `Current partition reassignments:\n${TOPIC}-0: replicas: 1,2,0. adding: 2. removing: 0.`,
  )
  assert.match(await verify(), /moves-0 is still in progress/)
  assert.equal((await throttles()).length, 8)
  await moved('1,2 isr 1,2')
  const seconds = (performance.now() - begin) / 1000
  const atRate = (VALUES * VALUE_BYTES) / BYTES_PER_SECOND
  t.diagnostic(`${seconds.toFixed(1)} s, ${atRate.toFixed(1)} s at exactly the rate`)
  assert.ok(seconds > atRate / 2, `the move took only ${seconds} s`)
  assert.match(await verify(), /moves-0 is completed\.\n+Clearing broker-level throttles/)
  await throttled([])
  await until('the old replica is gone', () => !folderOn(0))

  // Another replication factor, and back.
  await execute([2, 1, 0])
  await moved('2,1,0 isr 0,1,2')
  await execute([1, 0])
  await moved('1,0 isr 0,1')
  await until('the left over replica is gone', () => !folderOn(2))
  const values = await readAll(cluster.bootstrap, TOPIC, 0)
  assert.equal(values.length, VALUES + SENDS)
  assert.deepEqual(values.slice(VALUES), during)
})
