/**
 * The administrative tools against our broker: what they print is held against what Apache Kafka's
 * own tools print of the same broker, and each side sees what the other has done.
 */
import assert from 'node:assert/strict'
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { TOOLS } from '../../src/cli/tools.ts'
import { ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { ApacheTools, runTool, type ToolRun } from '../support/tools.ts'

const broker = new ShardlogServer()
const folder = mkdtempSync(join(tmpdir(), 'admin-tools-test-'))
let apache: ApacheTools | null = null

before(async () => {
  await broker.start({ 'log.index.interval.bytes': '1024' })
})
after(async () => {
  await apache?.[Symbol.asyncDispose]()
  await broker[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

const withBroker = (args: readonly string[]): string[] => [
  '--bootstrap-server',
  broker.address,
  ...args,
]

function ours(name: string, ...args: readonly string[]): Promise<ToolRun> {
  return runTool(name, withBroker(args))
}

function theirs(name: string, ...args: readonly string[]): Promise<ToolRun> {
  apache ??= new ApacheTools()
  return apache.run(name, withBroker(args))
}

/** What the tool prints when it succeeds. */
async function output(run: Promise<ToolRun>): Promise<string> {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, stderr)
  return stdout
}

/** The one line that a failing tool of ours writes. */
async function failure(run: Promise<ToolRun>): Promise<string> {
  const { code, stderr } = await run
  assert.equal(code, 1, stderr)
  assert.match(stderr, /^[^\n]+\n$/)
  return stderr.trimEnd()
}

/** Apache's tool prints the configs of a topic in the order of a hash table. */
function inOrder(text: string): string {
  return text.replaceAll(/(?<=Configs: )\S+/g, (list) => list.split(',').sort().join(','))
}

/** Both sides print the same. */
async function assertSame(name: string, ...args: readonly string[]): Promise<string> {
  const [mine, other] = await Promise.all([ours(name, ...args), theirs(name, ...args)])
  assert.equal(inOrder(mine.stdout), inOrder(other.stdout))
  assert.equal(mine.code, other.code)
  return mine.stdout
}

const peers = ['kafka-server', 'kafka-tools'] as const

test('topics are created, described, changed and deleted', async (t) => {
  if (skipWithout(t, ...peers)) return
  const topics = 'kafka-topics'
  assert.equal(
    await output(ours(topics, '--create', '--topic', 'demo', '--partitions', '3')),
    'Created topic demo.\n',
  )
  const underscored = ['--create', '--topic', 'my_own.topic', '--config', 'retention.ms=3600000']
  assert.match(await output(ours(topics, ...underscored)), /^WARNING: .*\nCreated topic my_own/)
  await output(theirs(topics, '--create', '--topic', 'apache', '--config', 'segment.ms=60000'))

  assert.equal(await assertSame(topics, '--list'), 'apache\ndemo\nmy_own.topic\n')
  assert.equal(await assertSame(topics, '--list', '--topic', 'de.*,apache'), 'apache\ndemo\n')
  for (const topic of ['demo', 'my_own.topic', 'apache']) {
    await assertSame(topics, '--describe', '--topic', topic)
  }
  const described = await assertSame(topics, '--describe', '--topic', 'demo')
  const id = /TopicId: (\S+)/.exec(described)?.[1] as string
  const byId = await output(ours(topics, '--describe', '--topic-id', id))
  assert.equal(byId, described)
  await assertSame(topics, '--describe', '--topics-with-overrides', '--topic', 'apache')
  await assertSame(topics, '--describe', '--topics-with-overrides', '--topic', 'demo')
  for (const report of [
    '--under-replicated-partitions',
    '--unavailable-partitions',
    '--under-min-isr-partitions',
    '--at-min-isr-partitions',
  ]) {
    await assertSame(topics, '--describe', '--topic', 'demo', report)
  }
  assert.equal(
    await output(ours(topics, '--describe', '--topic', 'demo', '--partition-size', '1')),
    described,
  )

  assert.equal(await assertSame(topics, '--describe', '--topic', 'gone', '--if-exists'), '')
  assert.equal(await output(ours(topics, '--alter', '--topic', 'demo', '--partitions', '4')), '')
  assert.match(await assertSame(topics, '--describe', '--topic', 'demo'), /PartitionCount: 4/)
  assert.equal(await output(ours(topics, '--delete', '--topic', 'apache')), '')
  assert.equal(await output(ours(topics, '--delete', '--topic', 'apache', '--if-exists')), '')
  await output(theirs(topics, '--delete', '--topic', 'my_own.topic'))
  assert.equal(await assertSame(topics, '--list'), 'demo\n')
})

test('a topic that cannot be is refused in one line, with a hint', async (t) => {
  const topics = 'kafka-topics'
  assert.match(
    await failure(ours(topics, '--create', '--topic', 'demo')),
    /^kafka-topics: Error while executing topic command : Topic 'demo' already exists/,
  )
  const again = await ours(topics, '--create', '--topic', 'demo', '--if-not-exists')
  assert.deepEqual(again, { code: 0, stdout: '', stderr: '' })
  assert.match(
    await failure(ours(topics, '--create', '--topic', 'x', '--config', 'retentio.ms=1')),
    /unknown topic config retentio\.ms, did you mean retention\.ms\?$/,
  )
  assert.match(
    await failure(ours(topics, '--describe', '--topic', 'demp')),
    /Topic 'demp' does not exist as expected; did you mean 'demo'\?$/,
  )
  assert.match(
    await failure(ours(topics, '--alter', '--topic', 'demo')),
    /--partitions is required/,
  )
  assert.match(await failure(ours(topics, '--delete', '--topic', 'nope')), /does not exist/)
  assert.match(await failure(ours(topics, '--create', '--topic', 'a b')), /Error while executing/)
  assert.match(await failure(ours(topics, '--list', '--describe')), /exclude each other/)
  assert.match(await failure(ours(topics, '--list', '--tpoic', 'a')), /did you mean --topic\?/)
  assert.match(await failure(ours(topics, '--list', '--topic', '(')), /not a regular expression/)
  const many = ['--create', '--topic', 'y', '--replication-factor', '9']
  assert.match(await failure(ours(topics, ...many)), /[Rr]eplication factor.* 9 .*larger than/)
  if (skipWithout(t, ...peers)) return
  assert.equal((await theirs(topics, '--create', '--topic', 'demo')).code, 1)
  assert.equal((await theirs(topics, '--describe', '--topic', 'nope')).code, 1)
})

test('a cluster that cannot be reached is told in one line', async () => {
  const nobody = ['--bootstrap-server', '127.0.0.1:1', '--list', '--timeout', '200']
  const { code, stdout, stderr } = await runTool('kafka-consumer-groups', nobody)
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, /^kafka-consumer-groups: no broker answers at 127\.0\.0\.1:1: [^\n]+\n$/)
  const odd = await runTool('kafka-topics', ['--bootstrap-server', 'nowhere', '--list'])
  assert.match(odd.stderr, /^kafka-topics: "nowhere" is not host:port\n$/)
  const zookeeper = await runTool('kafka-topics', ['--zookeeper', 'a:b:c', '--list'])
  assert.match(zookeeper.stderr, /^kafka-topics: .* --zookeeper: "a:b:c" is not host:port\n$/)
  assert.equal(zookeeper.code, 1)
})

test('offsets, record deletion, log directories', async (t) => {
  if (skipWithout(t, ...peers)) return
  const lines = Array.from({ length: 400 }, (_, i) => `k${i % 7}\tvalue ${i} ${'x'.repeat(50)}`)
  const producer = ['--topic', 'demo', '--property', 'parse.key=true', '--batch-size', '600']
  apache ??= new ApacheTools()
  const produced = await apache.run('kafka-console-producer', withBroker(producer), {
    input: `${lines.join('\n')}\n`,
  })
  assert.equal(produced.code, 0, produced.stderr)

  const offsets = 'kafka-get-offsets'
  await assertSame(offsets)
  await assertSame(offsets, '--topic', 'demo', '--time', 'earliest')
  await assertSame(offsets, '--topic', 'demo', '--partitions', '0,2', '--time', '-1')
  await assertSame(offsets, '--topic-partitions', 'demo:1-3', '--time', 'max-timestamp')
  await assertSame(offsets, '--topic-partitions', 'demo:-1,demo:3', '--exclude-internal-topics')
  await assertSame(offsets, '--time', '0', '--topic', 'd.*')
  const total = (await output(ours(offsets, '--json', '--topic', 'demo'))).trim()
  const sum = (JSON.parse(total) as { offset: number }[]).reduce((all, one) => all + one.offset, 0)
  assert.equal(sum, 400)
  assert.match(await failure(ours(offsets, '--topic', 'nope')), /Could not match any/)
  assert.match(await failure(ours(offsets, '--time', 'soon')), /Malformed time argument soon/)

  const file = join(folder, 'delete.json')
  const partitions = [
    { topic: 'demo', partition: 0, offset: 3 },
    { topic: 'demo', partition: 1, offset: -1 },
  ]
  writeFileSync(file, JSON.stringify({ partitions, version: 1 }))
  const deleted = await output(ours('kafka-delete-records', '--offset-json-file', file))
  assert.match(
    deleted,
    /^Executing records delete operation\nRecords delete operation completed:\npartition: demo-0\tlow_watermark: 3\npartition: demo-1\tlow_watermark: \d+\n$/,
  )
  const again = await output(theirs('kafka-delete-records', '--offset-json-file', file))
  assert.deepEqual(again.split('\n').sort(), deleted.split('\n').sort())
  await assertSame(offsets, '--topic', 'demo', '--time', 'earliest')
  for (const [text, problem] of [
    ['{', /is not JSON/],
    ['{"version":2}', /Not supported version field value 2/],
    ['{"version":1}', /has no list "partitions"/],
    [JSON.stringify({ partitions: [...partitions, partitions[0]] }), /duplicate topic partitions/],
    ['{"partitions":[{"topic":"demo","partition":0,"offset":"1"}]}', /"offset" is no whole number/],
  ] as const) {
    writeFileSync(file, text)
    const line = await failure(ours('kafka-delete-records', '--offset-json-file', file))
    assert.match(line, problem)
  }
  writeFileSync(file, '{"partitions":[{"topic":"nope","partition":0,"offset":1}]}')
  const nope = await ours('kafka-delete-records', '--offset-json-file', file)
  assert.equal(nope.code, 1)
  assert.match(nope.stdout, /partition: nope-0\terror: /)

  interface LogDirs {
    readonly brokers: readonly {
      readonly logDirs: readonly {
        readonly partitions: { readonly partition: string; readonly size: number }[]
      }[]
    }[]
  }
  const dirs = async (run: Promise<ToolRun>): Promise<{ head: string[]; json: LogDirs }> => {
    const [last = '', ...head] = (await output(run)).trimEnd().split('\n').reverse()
    const json = JSON.parse(last) as LogDirs
    for (const { logDirs } of json.brokers) {
      for (const { partitions: list } of logDirs) {
        list.sort((a, b) => (a.partition < b.partition ? -1 : 1))
      }
    }
    return { head, json }
  }
  const args = ['--describe', '--topic-list', 'demo', '--broker-list', '0']
  const mine = await dirs(ours('kafka-log-dirs', ...args))
  assert.deepEqual(mine, await dirs(theirs('kafka-log-dirs', ...args)))
  assert.equal(mine.json.brokers[0]?.logDirs[0]?.partitions.length, 4)
  assert.match(
    await failure(ours('kafka-log-dirs', '--describe', '--broker-list', '7')),
    /given brokers do not exist from --broker-list: 7\. Current existent brokers: 0$/,
  )
})

test('API versions', async (t) => {
  if (skipWithout(t, ...peers)) return
  const text = await assertSame('kafka-broker-api-versions')
  assert.match(text, /\tProduce\(0\): 0 to 11 \[usable: 11\],\n/)
  const [json] = JSON.parse(await output(ours('kafka-broker-api-versions', '--json'))) as {
    apis: { name: string; range: number[] | null }[]
  }[]
  assert.deepEqual(json?.apis.find(({ name }) => name === 'Produce')?.range, [0, 11])
})

test('configs of topics and brokers', async (t) => {
  if (skipWithout(t, ...peers)) return
  const configs = 'kafka-configs'
  const alter = ['--alter', '--entity-type', 'topics', '--entity-name', 'demo']
  const add = 'retention.ms=7200000,cleanup.policy=[compact,delete]'
  assert.equal(
    await output(ours(configs, ...alter, '--add-config', add)),
    'Completed updating config for topic demo.\n',
  )
  assert.match(
    await assertSame(configs, '--describe', '--entity-type', 'topics', '--entity-name', 'demo'),
    /cleanup\.policy=compact,delete sensitive=false/,
  )
  await assertSame(configs, '--describe', '--topic', 'demo', '--all')
  await assertSame(configs, '--describe', '--broker', '0', '--all')
  await assertSame(configs, '--describe', '--entity-type', 'brokers')
  await output(theirs(configs, ...alter, '--delete-config', 'retention.ms,cleanup.policy'))
  assert.equal(
    await assertSame(configs, '--describe', '--topic', 'demo'),
    'Dynamic configs for topic demo are:\n',
  )
  const file = join(folder, 'add.properties')
  writeFileSync(file, 'segment.ms=60000\n# a remark\n')
  await output(ours(configs, '--alter', '--topic', 'demo', '--add-config-file', file))
  const [one] = JSON.parse(await output(ours(configs, '--describe', '--topic', 'demo', '--json')))
  assert.equal(one.configs[0].name, 'segment.ms')
  await output(ours(configs, '--alter', '--topic', 'demo', '--delete-config', 'segment.ms'))

  assert.match(
    await failure(ours(configs, ...alter, '--add-config', 'retentio.ms=1')),
    /unknown topic config retentio\.ms, did you mean retention\.ms\?$/,
  )
  assert.match(
    await failure(ours(configs, ...alter, '--delete-config', 'retention.ms')),
    /Invalid config\(s\): retention\.ms; it is not set$/,
  )
  for (const [line, problem] of [
    ['--describe', /At least one entity type/],
    ['--alter --topic demo', /--alter wants --add-config/],
    ['--alter --topic demo --add-config a', /in the format "key=val"/],
    ['--describe --entity-type topic --entity-name demo', /Invalid entity type topic/],
    ['--describe --topic demo --entity-type topics', /should not be used in conjunction/],
    ['--describe --broker x', /must be a valid integer broker id/],
    ['--describe --topic a --broker 0', /Only 'users' and 'clients'/],
    ['--describe --topic nope', /nope/],
    ['--alter --topic demo --add-config retention.ms=soon', /retention\.ms/],
  ] as const) {
    assert.match(await failure(ours(configs, ...line.split(' '))), problem, line)
  }
})

test('the tools of Kafka 0.8', async () => {
  const brokers = ['--broker-list', broker.address]
  const create = await runTool('kafka-create-topic.sh', [
    ...[...brokers, '--topic', 'era', '--partition', '2', '--replica', '1'],
  ])
  assert.equal(create.stdout, 'creation succeeded!\n')
  const twice = await runTool('kafka-create-topic', [...brokers, '--topic', 'era'])
  assert.equal(twice.code, 1)
  assert.match(twice.stderr, /creation failed because of Topic 'era' already exists/)
  const list = await runTool('kafka-list-topic.sh', [...brokers, '--topic', 'era'])
  assert.equal(
    list.stdout,
    'topic: era\tpartition: 0\tleader: 0\treplicas: 0\tisr: 0\n' +
      'topic: era\tpartition: 1\tleader: 0\treplicas: 0\tisr: 0\n',
  )
  const none = await runTool('kafka-list-topic', [...brokers, '--topic', 'nope'])
  assert.equal(none.stdout, "topic nope doesn't exist!\n")
})

test('segments, indexes and snapshots are dumped as Apache dumps them', async (t) => {
  if (skipWithout(t, ...peers)) return
  apache ??= new ApacheTools()
  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
    const producer = ['--topic', 'demo', '--compression-codec', codec, '--property']
    const args = withBroker([...producer, 'parse.headers=true'])
    const input = `h1:v1,h2:v2\tfirst ${codec}\nh3:v3\tsecond ${codec}\n`
    assert.equal((await apache.run('kafka-console-producer', args, { input })).code, 0)
  }
  await broker.stop()
  const files = readdirSync(broker.dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /demo-\d+\/\d+\.(log|index|timeindex|snapshot)$/.test(name))
    .map((name) => join(broker.dataDir, name))
    .sort()
  assert.ok(files.some((name) => name.endsWith('.index')))
  const logs = files.filter((name) => name.endsWith('.log'))
  const damaged = join(folder, '00000000000000000000.log')
  copyFileSync(logs.find((name) => readFileSync(name).length > 1000) as string, damaged)
  const bytes = readFileSync(damaged)
  bytes[200] = (bytes[200] as number) ^ 1
  writeFileSync(damaged, bytes.subarray(0, bytes.length - 5))
  const same = async (...args: string[]): Promise<string> => {
    const mine = await runTool('kafka-dump-log', args)
    const other = await (apache as ApacheTools).run('kafka-dump-log', args)
    assert.equal(mine.stdout, other.stdout)
    assert.equal(mine.code, 0, mine.stderr)
    return mine.stdout
  }
  const all = await same('--files', files.join(','))
  assert.match(all, /compresscodec: zstd/)
  assert.match(all, /offset: \d+ position: \d+\n/)
  assert.match(await same('--print-data-log', '--files', logs.join()), /headerKeys: \[h1,h2\]/)
  await same('--deep-iteration', '--files', logs.join())
  await same('--print-data-log', '--skip-record-metadata', '--files', logs.join())
  const broken = await same('--files', damaged)
  assert.match(broken, /isvalid: false\n/)
  assert.match(broken, /Found \d+ invalid bytes at the end of 00000000000000000000\.log\n$/)
  await same('--index-sanity-check', '--files', files.filter((n) => n.endsWith('.index')).join())
  await same('--max-bytes', '2000', '--files', logs.join())

  const missing = await runTool('kafka-dump-log', ['--files', join(folder, 'no.log')])
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /^[^\n]*(is not named after|cannot read)[^\n]*\n$/)
  const wrong = await runTool('kafka-dump-log', [
    ...['--files', damaged, '--value-decoder-class', 'com.example.Mine'],
  ])
  assert.match(wrong.stderr, /no decoder "com\.example\.Mine"; there are StringDecoder/)
})

test('help tells of every option that Apache’s tool has', async (t) => {
  if (skipWithout(t, ...peers)) return
  apache ??= new ApacheTools()
  for (const { name } of TOOLS) {
    const mine = await runTool(name, ['--help'])
    assert.equal(mine.code, 0, name)
    assert.equal(mine.stderr, '')
    const longest = Math.max(...mine.stdout.split('\n').map((line) => line.length))
    assert.ok(longest <= 140, `${name} --help has a line of ${longest}`)
    assert.match((await runTool(name, ['--version'])).stdout, /^\d+\.\d+\.\d+\S*\n$/)
    // The verifiable ones end the whole Java on --help.
    if (!apache.has(name) || name.includes('verifiable')) continue
    const other = await apache.run(name, ['--help'])
    const options = `${other.stdout}\n${other.stderr}`.matchAll(/^\s{0,2}(--[a-z][a-z.-]+)/gm)
    const missing = [...options]
      .map(([, option]) => option as string)
      .filter(
        (option) => !mine.stdout.includes(`${option} `) && !mine.stdout.includes(`${option}\n`),
      )
    assert.deepEqual(missing, [], name)
  }
})
