/**
 * The console, performance, latency and verifiable tools beside Apache's own, against our broker
 * and against Apache Kafka: what one sends the other prints in the same words.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { ApacheTools, runTool, type ToolRun } from '../support/tools.ts'

const peers = ['kafka-server', 'kafka-tools'] as const

interface Bench {
  readonly broker: BrokerUnderTest
  readonly apache: ApacheTools
}

type Runner = (tool: string, args: readonly string[], input?: string) => Promise<ToolRun>

function sides({ broker, apache }: Bench): Readonly<Record<'ours' | 'theirs', Runner>> {
  const server = ['--bootstrap-server', broker.address]
  return {
    ours: (tool, args, input) =>
      runTool(tool, [...server, ...args], input === undefined ? {} : { input }),
    theirs: (tool, args, input) =>
      apache.run(tool, [...server, ...args], input === undefined ? {} : { input }),
  }
}

async function output(run: Promise<ToolRun>): Promise<string> {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, stderr)
  return stdout
}

const READER = [
  ...['--property', 'parse.key=true', '--property', 'key.separator=;'],
  ...['--property', 'parse.headers=true', '--property', 'headers.delimiter=|'],
  ...['--property', 'null.marker=NULL'],
]
const LINES = 'h1:v1,h2:v2|k1;v1\nNULL|k2;NULL\na:NULL|NULL;x y\nb:|;\n'
const PRINT = ['key', 'headers', 'partition', 'offset'].flatMap((what) => [
  '--property',
  `print.${what}=true`,
])

async function consolesUnderstandEachOther(bench: Bench): Promise<void> {
  const { ours, theirs } = sides(bench)
  const producers = { ours, theirs }
  for (const [name, produce] of Object.entries(producers)) {
    const topic = `console-${name}`
    await output(produce('kafka-console-producer', ['--topic', topic, ...READER], LINES))
    const args = ['--topic', topic, '--from-beginning', '--max-messages', '4']
    for (const extra of [[], PRINT, [...PRINT, '--property', 'null.literal=-']]) {
      const mine = await ours('kafka-console-consumer', [...args, ...extra])
      const original = await theirs('kafka-console-consumer', [...args, ...extra])
      assert.equal(mine.stdout, original.stdout, extra.join(' '))
      assert.match(mine.stderr, /Processed a total of 4 messages/)
      assert.match(original.stderr, /Processed a total of 4 messages/)
    }
  }
}

async function partitionsOffsetsAndGroups(bench: Bench): Promise<void> {
  const { ours, theirs } = sides(bench)
  const text = Array.from({ length: 10 }, (_, i) => `v${i}\n`).join('')
  await output(ours('kafka-console-producer', ['--topic', 'plain'], text))
  const from = ['--topic', 'plain', '--partition', '0', '--offset', '7', '--max-messages', '3']
  const mine = await output(ours('kafka-console-consumer', from))
  assert.equal(mine, 'v7\nv8\nv9\n')
  assert.equal(mine, await output(theirs('kafka-console-consumer', from)))
  const group = ['--topic', 'plain', '--group', 'shared', '--from-beginning', '--max-messages']
  assert.equal(await output(ours('kafka-console-consumer', [...group, '4'])), 'v0\nv1\nv2\nv3\n')
  assert.equal(
    await output(theirs('kafka-console-consumer', [...group, '2'])),
    'v4\nv5\n',
    'Apache goes on where we stopped',
  )
  const pattern = ['--include', 'pla.n|other', '--from-beginning', '--max-messages', '1']
  assert.equal(await output(ours('kafka-console-consumer', pattern)), 'v0\n')
  for (const formatter of ['LoggingMessageFormatter', 'NoOpMessageFormatter']) {
    const args = [...from, '--formatter', `org.apache.kafka.tools.consumer.${formatter}`]
    assert.equal(
      await output(ours('kafka-console-consumer', args)),
      await output(theirs('kafka-console-consumer', args)),
      formatter,
    )
  }
  const waits = await ours('kafka-console-consumer', ['--topic', 'plain', '--timeout-ms', '300'])
  assert.equal(waits.code, 1)
  assert.match(waits.stderr, /kafka-console-consumer: no record came in 300 ms\n/)
}

async function offsetsTopicIsPrintedAlike(bench: Bench): Promise<void> {
  const { ours, theirs } = sides(bench)
  for (const formatter of ['OffsetsMessageFormatter', 'GroupMetadataMessageFormatter']) {
    const args = [
      ...['--topic', '__consumer_offsets', '--from-beginning', '--timeout-ms', '4000'],
      ...['--consumer-property', 'exclude.internal.topics=false'],
      ...['--formatter', `org.apache.kafka.tools.consumer.${formatter}`],
    ]
    const about = (run: ToolRun): string[] =>
      run.stdout
        // Apache writes one object behind the other.
        .replaceAll('}{', '}\n{')
        .split('\n')
        .filter((line) => line.includes('"shared"'))
        .sort()
    const mine = about(await ours('kafka-console-consumer', args))
    const original = about(await theirs('kafka-console-consumer', args))
    assert.ok(original.length > 0, formatter)
    assert.deepEqual(
      mine.map((line) => JSON.parse(line) as unknown),
      original.map((line) => JSON.parse(line) as unknown),
      formatter,
    )
  }
}

const NUMBER = '-?\\d+(?:\\.\\d+)?'

async function measuringToolsPrintAlike(bench: Bench): Promise<void> {
  const { ours, theirs } = sides(bench)
  const { address } = bench.broker
  const props = ['--producer-props', `bootstrap.servers=${address}`, 'acks=all']
  const load = ['--topic', 'perf', '--num-records', '2000', '--record-size', '100']
  const perf = [...load, '--throughput', '-1', ...props]
  const sent = new RegExp(
    `^2000 records sent, ${NUMBER} records/sec \\(${NUMBER} MB/sec\\), ${NUMBER} ms avg latency, ${NUMBER} ms max latency, \\d+ ms 50th, \\d+ ms 95th, \\d+ ms 99th, \\d+ ms 99\\.9th\\.\n$`,
  )
  assert.match(await output(runTool('kafka-producer-perf-test', perf)), sent)
  assert.match(await output(bench.apache.run('kafka-producer-perf-test', perf)), sent)

  const columns = (text: string): string[][] =>
    text
      .trim()
      .split('\n')
      .map((line) => line.split(', '))
  const read = ['--topic', 'perf', '--messages', '4000']
  const mine = columns(await output(ours('kafka-consumer-perf-test', read)))
  const original = columns(await output(theirs('kafka-consumer-perf-test', read)))
  assert.deepEqual(mine[0], original[0])
  assert.equal(mine[1]?.length, original[1]?.length)
  assert.equal(mine[1]?.[4], '4000')
  assert.match(mine[1]?.[0] ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}$/)
  const json = await output(ours('kafka-consumer-perf-test', [...read, '--output', 'json']))
  assert.equal((JSON.parse(json) as { records: number }).records, 4000)

  const latency = [address, 'e2e', '20', 'all', '50']
  const shape = new RegExp(
    `^0\t${NUMBER}\nAvg latency: ${NUMBER} ms\nPercentiles: 50th = \\d+, 99th = \\d+, 99\\.9th = \\d+\n$`,
  )
  assert.match(await output(runTool('kafka-e2e-latency', latency)), shape)
}

/** Apache's print from a hook that only the end of their process runs: held against samples. */
async function verifiableToolsPrintWhatHappens(bench: Bench): Promise<void> {
  const { ours } = sides(bench)
  const eventsOf = (text: string): Record<string, unknown>[] =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  const send = ['--topic', 'verify', '--max-messages', '3', '--repeating-keys', '2']
  const sent = eventsOf(await output(ours('kafka-verifiable-producer', send)))
  assert.deepEqual(
    sent.map(({ name, key, value, offset }) => [name, key, value, offset]),
    [
      ['startup_complete', undefined, undefined, undefined],
      ['producer_send_success', '0', '0', 0],
      ['producer_send_success', '1', '1', 1],
      ['producer_send_success', '0', '2', 2],
      ['shutdown_complete', undefined, undefined, undefined],
      ['tool_data', undefined, undefined, undefined],
    ],
  )
  assert.deepEqual(Object.keys(sent.at(-1) ?? {}), [
    ...['timestamp', 'name', 'sent', 'acked', 'target_throughput', 'avg_throughput'],
  ])
  const read = ['--topic', 'verify', '--max-messages', '3', '--group-id', 'v', '--verbose']
  const seen = eventsOf(await output(ours('kafka-verifiable-consumer', read)))
  assert.deepEqual(
    seen.map(({ name }) => name),
    [
      ...['startup_complete', 'partitions_assigned', 'records_consumed'],
      ...['record_data', 'record_data', 'record_data'],
      ...['offsets_committed', 'partitions_revoked', 'shutdown_complete'],
    ],
  )
  const partition = { topic: 'verify', partition: 0 }
  const range = { count: 3, minOffset: 0, maxOffset: 2 }
  assert.deepEqual(seen[2]?.['partitions'], [{ ...partition, ...range }])
  assert.deepEqual(seen[6]?.['offsets'], [{ ...partition, offset: 3 }])
}

const CHECKS: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  'the consoles understand each other': consolesUnderstandEachOther,
  'partitions, offsets, groups, formatters': partitionsOffsetsAndGroups,
  'the offsets topic is printed alike': offsetsTopicIsPrintedAlike,
  'the measuring tools print alike': measuringToolsPrintAlike,
  'the verifiable tools print what happens': verifiableToolsPrintWhatHappens,
}

for (const kind of ['our broker', 'Apache Kafka'] as const) {
  test(`console and measuring tools beside Apache's, against ${kind}`, async (t) => {
    if (skipWithout(t, ...peers)) return
    await using broker = kind === 'our broker' ? new ShardlogServer() : new ApacheKafka()
    await broker.start({ 'group.initial.rebalance.delay.ms': '0' })
    await using apache = new ApacheTools()
    for (const [name, check] of Object.entries(CHECKS)) {
      await t.test(name, () => check({ broker, apache }))
    }
  })
}

test('wrong words get one line and status 1, and what cannot be reached too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'shardlog-cli-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'empty')
  writeFileSync(file, '')
  const nobody = ['--bootstrap-server', '127.0.0.1:1']
  const cases: [string, string[], RegExp][] = [
    ['kafka-console-consumer', [...nobody, '--topic', 't'], /no broker answers at 127\.0\.0\.1:1/],
    ['kafka-console-consumer', [...nobody], /one of --topic and --include is required/],
    ['kafka-console-consumer', [...nobody, '--topic', 't', '--offset', '1'], /needs --partition/],
    ['kafka-console-consumer', [...nobody, '--topic', 't', '--formatter', 'No'], /no formatter/],
    ['kafka-console-consumer', ['--zookeeper', 'a:b:c', '--topic', 't'], /is not host:port/],
    ['kafka-console-producer', [...nobody, '--topic', 't'], /no broker answers/],
    ['kafka-console-producer', [...nobody, '--topic', 't', '--request-required-acks', '2'], /acks/],
    ['kafka-console-producer', [...nobody, '--tpic', 't'], /did you mean --topic|--tpic/],
    ['kafka-producer-perf-test', ['--topic', 't', '--num-records', '1'], /--throughput/],
    [
      'kafka-producer-perf-test',
      [...['--topic', 't', '--num-records', '1', '--throughput', '1'], '--payload-file', file],
      /has no records/,
    ],
    ['kafka-consumer-perf-test', [...nobody, '--topic', 't', '--messages', 'x'], /whole number/],
    ['kafka-e2e-latency', ['127.0.0.1:1', 't', '1', '0', '10'], /producer_acks is 1 or all/],
    ['kafka-verifiable-consumer', [...nobody, '--topic', 't'], /--group-id is required/],
  ]
  for (const [tool, args, expected] of cases) {
    const { code, stdout, stderr } = await runTool(tool, args, { input: '' })
    const words = `${tool} ${args.join(' ')}`
    assert.equal(code, 1, words)
    assert.equal(stdout, '', words)
    assert.match(stderr, expected, words)
    assert.equal(stderr.trim().split('\n').length, 1, `${words}: ${stderr}`)
    assert.ok(stderr.startsWith(`${tool}: `), stderr)
  }
})
