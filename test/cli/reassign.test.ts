/**
 * Proposals of kafka-reassign-partitions as properties, and the tool with kafka-leader-election and
 * the quotas and users of kafka-configs beside Apache's own, against Apache Kafka.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { proposeReplicas } from '../../src/cli/reassign/proposal.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { skipWithout } from '../support/peers.ts'
import { ApacheTools, runTool, type ToolRun } from '../support/tools.ts'

test('proposals are even, have no broker twice, and use racks first', () => {
  const cluster = fc
    .record({ brokers: fc.integer({ min: 1, max: 9 }), racks: fc.integer({ min: 0, max: 4 }) })
    .map(({ brokers, racks }) =>
      Array.from({ length: brokers }, (_, brokerId) => ({
        brokerId,
        rack: racks === 0 ? null : `r${brokerId % racks}`,
      })),
    )
  fc.assert(
    fc.property(cluster, fc.integer({ min: 1, max: 40 }), fc.nat(), (brokers, partitions, seed) => {
      const replicationFactor = 1 + (seed % brokers.length)
      const counts = { partitions, replicationFactor }
      const proposal = proposeReplicas(brokers, counts, new SeededRandom(seed))
      assert.equal(proposal.length, partitions)
      const leaders = new Map<number, number>()
      const racks = new Set(brokers.map(({ rack }) => rack))
      for (const replicas of proposal) {
        assert.equal(new Set(replicas).size, replicationFactor)
        const used = new Set(replicas.map((id) => brokers[id]?.rack))
        if (!racks.has(null)) assert.equal(used.size, Math.min(racks.size, replicationFactor))
        const leader = replicas[0] as number
        leaders.set(leader, (leaders.get(leader) ?? 0) + 1)
      }
      const most = Math.max(...leaders.values())
      assert.ok(most <= Math.ceil(partitions / brokers.length))
    }),
  )
  assert.throws(
    () => proposeReplicas([], { partitions: 1, replicationFactor: 1 }, new SeededRandom(1)),
    /Replication factor: 1 larger than available brokers: 0/,
  )
})

test('moves, elections, quotas and users on Apache Kafka', async (t) => {
  if (skipWithout(t, 'kafka-server', 'kafka-tools')) return
  const folder = mkdtempSync(join(tmpdir(), 'reassign-test-'))
  await using broker = new ApacheKafka()
  await broker.start()
  await using apache = new ApacheTools()
  const plan = join(folder, 'plan.json')
  const topics = join(folder, 'topics.json')
  const args = (line: string): string[] => {
    const words = line.replaceAll('PLAN', plan).replaceAll('TOPICS', topics).split(' ')
    return ['--bootstrap-server', broker.address, ...words]
  }
  const ours = (name: string, line: string): Promise<ToolRun> => runTool(name, args(line))
  const same = async (name: string, line: string): Promise<string> => {
    const mine = await ours(name, line)
    assert.equal(mine.code, 0, mine.stderr)
    const other = await apache.run(name, args(line))
    // One message of Apache's has no line feed at its end.
    assert.equal(mine.stdout, other.stdout.replace(/([^\n])$/, '$1\n'), line)
    return mine.stdout
  }
  const fails = async (name: string, line: string, problem: RegExp): Promise<void> => {
    const { code, stderr } = await ours(name, line)
    assert.equal(code, 1, line)
    assert.match(stderr, problem, line)
    assert.match(stderr, /^[^\n]+\n$/)
  }
  const reassign = 'kafka-reassign-partitions'
  try {
    assert.equal((await ours('kafka-topics', '--create --topic demo --partitions 2')).code, 0)
    writeFileSync(topics, '{"topics":[{"topic":"demo"}],"version":1}')
    const generated = '--generate --topics-to-move-json-file TOPICS --broker-list 0'
    const proposal = await same(reassign, generated)
    writeFileSync(plan, proposal.trimEnd().split('\n').at(-1) as string)
    await same(reassign, '--execute --reassignment-json-file PLAN --throttle 100000')
    assert.match(
      await same(reassign, '--verify --reassignment-json-file PLAN'),
      /^Status of partition reassignment:\nReassignment of partition demo-0 is completed\.\n.*\n\nClearing broker-level throttles on broker 0\nClearing topic-level throttles on topic demo\n$/s,
    )
    assert.equal(await same(reassign, '--list'), 'No partition reassignments found.\n')
    await same(reassign, '--cancel --reassignment-json-file PLAN --preserve-throttles')
    const dir = { topic: 'demo', partition: 0, replicas: [0], log_dirs: [broker.dataDir] }
    writeFileSync(plan, JSON.stringify({ version: 1, partitions: [dir] }))
    await same(reassign, '--execute --reassignment-json-file PLAN')
    assert.match(
      await same(reassign, '--verify --reassignment-json-file PLAN --preserve-throttles'),
      /Reassignment of replica demo-0-0 completed successfully\./,
    )

    await fails(reassign, '--list --verify', /exclude each other/)
    await fails(reassign, '--list --throttle 5', /--throttle cannot be used with --list/)
    await fails(reassign, `${generated},0`, /Broker list contains duplicate entries: 0/)
    for (const [text, problem] of [
      ['{"partitions":[]}', /Partition reassignment list cannot be empty/],
      ['{"partitions":[{"topic":"demo","partition":0,"replicas":[]}]}', /cannot be empty/],
      [
        '{"partitions":[{"topic":"demo","partition":0,"replicas":[0,0]}]}',
        /multiple entries for 0/,
      ],
      ['{"partitions":[{"topic":"demo","partition":0,"replicas":[7]}]}', /Unknown broker id 7/],
      [
        '{"partitions":[{"topic":"demo","partition":9,"replicas":[0]}]}',
        /Unable to find partition/,
      ],
      ['{"partitions":[{"topic":"nope","partition":0,"replicas":[0]}]}', /Topic nope not found/],
      ['{"partitions":[{"topic":"demo","partition":0,"replicas":"0"}]}', /"replicas" is not right/],
    ] as const) {
      writeFileSync(plan, text)
      await fails(reassign, '--execute --reassignment-json-file PLAN', problem)
    }

    const election = 'kafka-leader-election'
    await same(election, '--election-type preferred --all-topic-partitions')
    assert.match(
      await same(election, '--election-type preferred --topic demo --partition 0'),
      /^Valid replica already elected for partitions demo-0\n$/,
    )
    await fails(election, '--election-type other --all-topic-partitions', /preferred or unclean/)
    await fails(election, '--election-type preferred --topic demo', /--partition is required/)
    const lost = await ours(election, '--election-type preferred --topic nope --partition 0')
    assert.equal(lost.code, 1)
    assert.match(
      lost.stderr,
      /Error completing leader election \(PREFERRED\) for partition: nope-0/,
    )

    const configs = 'kafka-configs'
    const alice = '--alter --entity-type users --entity-name alice'
    await same(configs, `${alice} --add-config SCRAM-SHA-256=[iterations=4096,password=x]`)
    const pair = `${alice} --entity-type clients --entity-default`
    await same(configs, `${pair} --add-config producer_byte_rate=12345678,request_percentage=0.5`)
    await same(configs, '--alter --ip-defaults --add-config connection_creation_rate=5')
    for (const line of [
      '--describe --entity-type users',
      '--describe --user alice',
      '--describe --user nobody',
      '--describe --user alice --client-defaults',
      '--describe --entity-type users --entity-type clients',
      '--describe --entity-type ips',
      '--describe --broker-defaults',
    ]) {
      await same(configs, line)
    }
    assert.equal((await ours(configs, `${alice} --delete-config SCRAM-SHA-256`)).code, 0)
    assert.equal(await same(configs, '--describe --entity-type users'), '')
    const rate = `${alice} --add-config producer_byte_rat=1`
    await fails(configs, rate, /users do not have the config producer_byte_rat/)
    await fails(configs, `${alice} --delete-config producer_byte_rate`, /Invalid config\(s\)/)
    await fails(configs, `${alice} --add-config SCRAM-SHA-256=x`, /Invalid credential property/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
