/**
 * kafka-consumer-groups beside Apache's own tool, against our broker and against Apache Kafka: what
 * both print of the same groups, which plans they make, and that what one does the other sees.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Admin, allOrThrow } from '../../src/client/admin.ts'
import { Consumer } from '../../src/client/consumer.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { ApacheTools, runTool, type ToolRun } from '../support/tools.ts'

const TOOL = 'kafka-consumer-groups'
const peers = ['kafka-server', 'kafka-tools'] as const

interface Bench {
  readonly broker: BrokerUnderTest
  readonly apache: ApacheTools
  readonly admin: Admin
  readonly folder: string
}

/** Apache's rows begin with a line feed and the last has none: rows as they are, in order. */
function rowsOf(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .sort()
}

function ours({ broker }: Bench, line: string): Promise<ToolRun> {
  return runTool(TOOL, ['--bootstrap-server', broker.address, ...line.split(' ')])
}

function theirs({ broker, apache }: Bench, line: string): Promise<ToolRun> {
  return apache.run(TOOL, ['--bootstrap-server', broker.address, ...line.split(' ')])
}

async function output(run: Promise<ToolRun>): Promise<string> {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, stderr)
  return stdout
}

async function assertSame(bench: Bench, line: string): Promise<string> {
  const mine = await output(ours(bench, line))
  assert.deepEqual(rowsOf(mine), rowsOf((await theirs(bench, line)).stdout), line)
  assert.ok(mine.endsWith('\n'))
  return mine
}

/** Where Apache's dry run, whose rows all stand on one line, would put the partitions. */
function plannedBy(stdout: string): string[] {
  return [...stdout.matchAll(/(\S+) +(t[12]) +(\d+) +(-?\d+) +/g)]
    .map((match) => match.slice(1).join(' '))
    .sort()
}

async function produce({ broker, apache }: Bench, topic: string, count: number): Promise<void> {
  const lines = Array.from({ length: count }, (_, i) => `k${i}\tv${i}`)
  const args = ['--bootstrap-server', broker.address, '--topic', topic]
  const run = await apache.run(
    'kafka-console-producer',
    [...args, '--property', 'parse.key=true'],
    { input: `${lines.join('\n')}\n` },
  )
  assert.equal(run.code, 0, run.stderr)
}

/** A group with committed offsets and no members. */
async function emptyGroup({ admin }: Bench, group: string, offset: number): Promise<void> {
  const partitions = [0, 1, 2].map((partition) => ({ topic: 't1', partition, offset }))
  allOrThrow(await admin.alterGroupOffsets(group, partitions))
}

async function describesAndLists(bench: Bench): Promise<void> {
  const { admin } = bench
  await emptyGroup(bench, 'g1', 2)
  await emptyGroup(bench, 'g2', 3)
  assert.equal(await assertSame(bench, '--list'), 'g1\ng2\n')
  await assertSame(bench, '--list --state')
  await assertSame(bench, '--list --type')
  await assertSame(bench, '--list --state --type')
  await assertSame(bench, '--list --state empty,Stable')
  assert.equal(rowsOf(await assertSame(bench, '--list --state stable')).length, 1)

  const described = await assertSame(bench, '--describe --group g1')
  assert.match(described, /\ng1 +t1 +0 +2 +\d+ +\d+ +- +- +-\n/)
  await assertSame(bench, '--describe --group g1 --offsets')
  await assertSame(bench, '--describe --group g1 --group g2')
  await assertSame(bench, '--describe --all-groups')
  await assertSame(bench, '--describe --group g1 --state')
  const empty = await ours(bench, '--describe --group g1')
  assert.equal(empty.stderr, "\nConsumer group 'g1' has no active members.\n")

  const json = JSON.parse(await output(ours(bench, '--describe --group g1 --json')))
  assert.equal(json[0].group, 'g1')
  assert.equal(json[0].partitions[0].currentOffset, 2)
  assert.deepEqual(
    (JSON.parse(await output(ours(bench, '--list --output json'))) as { group: string }[]).map(
      ({ group }) => group,
    ),
    ['g1', 'g2'],
  )
  const [told] = await admin.describeGroups(['g1'])
  assert.equal(told?.state, 'Empty')
}

async function describesMembers(bench: Bench): Promise<void> {
  const consumer = new Consumer({
    bootstrapServers: bench.broker.address,
    clientId: 'member',
    groupId: 'busy',
    groupInstanceId: 'instance-1',
    autoOffsetReset: 'earliest',
  })
  try {
    consumer.subscribe(['t1', 't2'])
    let records = 0
    while (records < 60) records += (await consumer.poll(500)).length
    await consumer.commit()
    const rows = await assertSame(bench, '--describe --group busy')
    assert.match(rows, /\nbusy +t2 +0 +20 +20 +0 +\S+ +\/127\.0\.0\.1 +member\n/)
    await assertSame(bench, '--describe --group busy --members')
    const verbose = await assertSame(bench, '--describe --group busy --members --verbose')
    assert.match(verbose, /instance-1 .* 4 +\(0\), \(0,1,2\)\n/)
    await assertSame(bench, '--describe --group busy --state')
    assert.match(await assertSame(bench, '--list --state'), /busy +Stable/)

    const reset = await ours(
      bench,
      '--reset-offsets --group busy --topic t1 --to-earliest --execute',
    )
    assert.equal(reset.code, 1)
    assert.match(
      reset.stderr,
      /^Error: Assignments can only be reset if the group 'busy' is inactive, but the current state is Stable\.\n$/,
    )
    const gone = await ours(bench, '--delete --group busy')
    assert.equal(gone.code, 1)
    assert.match(gone.stderr, /\* Group 'busy' could not be deleted due to: The group is not empty/)
    const offsets = await ours(bench, '--delete-offsets --group busy --topic t1')
    assert.equal(offsets.code, 1)
  } finally {
    await consumer.close()
  }
}

async function resets(bench: Bench): Promise<void> {
  const { folder } = bench
  const plan = join(folder, 'plan.csv')
  const plans = join(folder, 'plans.csv')
  writeFileSync(plan, 't1,0,1\nt1,2,4\n')
  writeFileSync(plans, 'g1,t1,0,1\ng2,t1,1,999999\n')
  const hourAgo = new Date(Date.now() - 3_600_000).toISOString().slice(0, -1)
  for (const line of [
    '--group g1 --all-topics --to-earliest',
    '--group g1 --topic t1 --to-latest',
    '--group g1 --topic t1:0,2 --to-offset 3',
    '--group g1 --topic t1 --to-offset 100000',
    '--group g1 --all-topics --shift-by 1',
    '--group g1 --all-topics --shift-by -100',
    '--group g1 --topic t1 --topic t2 --to-current',
    `--group g1 --topic t1 --to-datetime ${hourAgo}`,
    '--group g1 --topic t1 --to-datetime 2100-01-01T00:00:00.000',
    '--group g1 --topic t1 --by-duration PT1H',
    `--group g1 --from-file ${plan}`,
    `--group g1 --group g2 --from-file ${plans}`,
    '--all-groups --topic t1:1 --to-earliest',
  ]) {
    const full = `--reset-offsets ${line} --dry-run`
    const { code, stdout } = await ours(bench, full)
    // The static member of the group `busy` is still one: that group cannot be reset.
    assert.equal(code, line.includes('--all-groups') ? 1 : 0, line)
    const mine = plannedBy(stdout)
    assert.ok(mine.length > 0, line)
    assert.deepEqual(mine, plannedBy((await theirs(bench, full)).stdout), line)
  }
  const warned = await ours(bench, '--reset-offsets --group g1 --all-topics --shift-by -100')
  assert.match(warned.stderr, /^WARN: No action will be performed as the --execute option/)
  assert.match(
    warned.stderr,
    /New offset \(-98\) is lower than earliest offset .* t1-0\. .* to 0\n/,
  )

  await output(ours(bench, '--reset-offsets --group g1 --topic t1 --to-offset 4 --execute'))
  assert.match((await theirs(bench, '--describe --group g1')).stdout, /t1 +2 +4 /)
  await theirs(bench, '--reset-offsets --group g1 --topic t1 --to-earliest --execute')
  assert.match(await output(ours(bench, '--describe --group g1')), /t1 +2 +0 /)

  const csv = '--reset-offsets --group g1 --topic t1 --to-latest --export --dry-run'
  const exported = await assertSame(bench, csv)
  writeFileSync(plan, exported)
  const many = '--reset-offsets --group g1 --group g2 --all-topics --to-earliest --export --dry-run'
  assert.match(await assertSame(bench, many), /^g1,t1,0,0$/m)
  await output(ours(bench, `--reset-offsets --group g1 --from-file ${plan} --execute`))
  const [group] = await bench.admin.listGroupOffsets(['g1'])
  const now = group?.offsets.map(
    ({ topic, partition, offset }) => `${topic},${partition},${offset}`,
  )
  assert.deepEqual(now?.sort(), exported.trimEnd().split('\n'))

  for (const [line, problem] of [
    ['--group g1 --topic t1', /one of --to-earliest, /],
    ['--group g1 --to-latest', /one of --topic, --all-topics/],
    ['--group g1 --topic t1 --to-latest --to-earliest', /exclude each other/],
    ['--group g1 --topic t1 --to-latest --execute --dry-run', /exclude each other/],
    ['--group g1 --topic nope --to-latest', /topic 'nope': /],
    ['--group g1 --topic t1:x --to-latest', /Invalid topic arg 't1:x'/],
    ['--group g1 --topic t1 --to-datetime yesterday', /"yesterday" is not a point in time/],
    ['--group g1 --topic t1 --by-duration long', /"long" is not a duration/],
    ['--group g1 --topic t1 --to-offset x', /a whole number, not "x"/],
    ['--group g1 --from-file /nowhere.csv', /cannot read \/nowhere\.csv/],
    ['--topic t1 --to-latest', /--reset-offsets wants --group or --all-groups/],
    ['--group fresh --topic t1 --shift-by 1', /no current committed offset/],
  ] as const) {
    const { code, stderr } = await ours(bench, `--reset-offsets ${line} --dry-run`)
    assert.equal(code, 1, line)
    assert.match(stderr, problem, line)
    assert.match(stderr, /^[^\n]+\n$/)
  }
}

async function deletes(bench: Bench): Promise<void> {
  assert.match(
    await output(ours(bench, '--delete-offsets --group g2 --topic t1:0')),
    /^Request succeed for deleting offsets with topic t1:0 group g2\n\nTOPIC +PARTITION +STATUS +\nt1 +0 +Successful +\n$/,
  )
  assert.doesNotMatch((await theirs(bench, '--describe --group g2')).stdout, /t1 +0 /)
  for (const [line, problem] of [
    ['--delete-offsets --group nope --topic t1', /Error: 'nope' does not exist\./],
    ['--delete-offsets --group g2', /--topic is required/],
    ['--describe --group nope', /Error: Consumer group 'nope' does not exist\./],
    ['--describe --group nope --members', /Error: Consumer group 'nope' does not exist\./],
    ['--delete', /--delete wants --group or --all-groups/],
    ['--list --describe', /exclude each other/],
    ['--list --state Sleepy', /Invalid state list 'Sleepy'\. Valid states are: Stable/],
    ['--describe --group g1 --state --members', /exclude each other/],
  ] as const) {
    const { code, stderr } = await ours(bench, line)
    assert.equal(code, 1, line)
    assert.match(stderr, problem, line)
    assert.match(stderr, /^[^\n]+\n$/)
  }
  assert.equal(
    await output(ours(bench, '--delete --group g1')),
    "Deletion of requested consumer groups ('g1') was successful.\n",
  )
  const again = await ours(bench, '--delete --group g1 --group g2')
  assert.equal(again.code, 1)
  assert.equal(again.stdout, "These consumer groups were deleted successfully: 'g2'\n")
  assert.match(again.stderr, /Group 'g1' could not be deleted due to: /)
}

async function dumpsOffsets({ broker, apache }: Bench): Promise<void> {
  await broker.stop()
  const logs = readdirSync(broker.dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /__consumer_offsets-\d+\/\d+\.log$/.test(name))
    .map((name) => join(broker.dataDir, name))
  const args = ['--offsets-decoder', '--files', logs.join(',')]
  const mine = await runTool('kafka-dump-log', args)
  const other = await apache.run('kafka-dump-log', args)
  assert.equal(mine.code, 0, mine.stderr)
  assert.equal(mine.stdout, other.stdout)
  assert.match(mine.stdout, /"subscription":\{"topics":\["t1","t2"\]/)
  assert.match(mine.stdout, /payload: <DELETE>/)
}

for (const kind of ['shardlog', 'kafka'] as const) {
  test(`groups on ${kind}`, async (t) => {
    if (skipWithout(t, ...peers)) return
    const folder = mkdtempSync(join(tmpdir(), 'consumer-groups-test-'))
    await using broker = kind === 'kafka' ? new ApacheKafka() : new ShardlogServer()
    await broker.start({
      'offsets.topic.num.partitions': '3',
      'group.initial.rebalance.delay.ms': '0',
    })
    await using apache = new ApacheTools()
    await using admin = new Admin({ bootstrapServers: broker.address })
    const bench = { broker, apache, admin, folder }
    try {
      allOrThrow(
        await admin.createTopics([
          { name: 't1', partitions: 3 },
          { name: 't2', partitions: 1 },
        ]),
      )
      await produce(bench, 't1', 40)
      await produce(bench, 't2', 20)
      await t.test('lists and describes', () => describesAndLists(bench))
      await t.test('members', () => describesMembers(bench))
      await t.test('resets in every way', () => resets(bench))
      await t.test('deletes', () => deletes(bench))
      await t.test('records of the offsets topic', () => dumpsOffsets(bench))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
}
