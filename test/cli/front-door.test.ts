/** `shardlog` and what it has beside Apache's tools. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { TOOLS } from '../../src/cli/tools.ts'
import { Producer } from '../../src/client/producer.ts'
import { createBroker, type EmbeddedBroker } from '../../src/index.ts'
import { runTool, type ToolRun } from '../support/tools.ts'

const run = promisify(execFile)
const bin = join(import.meta.dirname, '..', '..', '..', 'bin')

function shardlog(...args: string[]): Promise<ToolRun> {
  return runTool('shardlog', args)
}

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'shardlog-cli-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function brokerWith(t: TestContext, count: number): Promise<EmbeddedBroker> {
  const broker = await createBroker({ topics: { words: { partitions: 2 } } })
  t.after(() => broker.close())
  const producer = new Producer({ bootstrapServers: broker.bootstrapServers })
  for (let i = 0; i < count; i += 1) {
    const record = { topic: 'words', partition: i % 2, key: `k${i}`, value: `v${i}` }
    await producer.send({ ...record, timestamp: 1_700_000_000_000 + i })
  }
  await producer.close()
  return broker
}

test('help names every command, and a wrong one gets the nearest', async () => {
  const help = await shardlog('help')
  assert.equal(help.code, 0)
  for (const { command } of TOOLS) assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'))
  for (const own of ['server', 'tail', 'top', 'doctor', 'tools', 'completion']) {
    assert.match(help.stdout, new RegExp(`^  ${own} `, 'm'))
  }
  assert.match((await shardlog('--version')).stdout, /^\d+\.\d+\.\d+\n$/)
  const wrong = await shardlog('tpics')
  assert.equal(wrong.code, 1)
  assert.equal(wrong.stderr, 'shardlog: there is no command "tpics"; did you mean topics?\n')
})

test('every tool is a command by both of its names, and has its executables', async (t) => {
  const broker = await brokerWith(t, 0)
  const server = ['--bootstrap-server', broker.bootstrapServers]
  for (const name of ['topics', 'kafka-topics', 'kafka-topics.sh']) {
    const { stdout } = await shardlog(name, ...server, '--list')
    assert.equal(stdout, 'words\n')
  }
  const files = new Set(readdirSync(bin))
  for (const { name } of TOOLS) {
    assert.ok(files.has(name), name)
    assert.equal(readlinkSync(join(bin, `${name}.sh`)), name)
  }
})

test('tail prints the last records, and those that come', async (t) => {
  const broker = await brokerWith(t, 20)
  const server = ['--bootstrap-server', broker.bootstrapServers]
  const { code, stdout } = await shardlog('tail', 'words', ...server, '-n', '4', '--json')
  assert.equal(code, 0)
  const records = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { value: string; offset: number })
  assert.deepEqual(
    records.map(({ value }) => value),
    ['v16', 'v17', 'v18', 'v19'],
  )
  const missing = await shardlog('tail', 'nowhere', ...server)
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /topic nowhere does not exist/)

  const follower = spawn(
    process.execPath,
    [join(bin, 'shardlog'), 'tail', 'words', ...server, '-n', '1', '--follow'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  t.after(() => follower.kill('SIGKILL'))
  const lines = createInterface(follower.stdout)[Symbol.asyncIterator]()
  assert.match((await lines.next()).value as string, /\tv19$/)
  const producer = new Producer({ bootstrapServers: broker.bootstrapServers })
  await producer.send({ topic: 'words', value: 'news' })
  await producer.close()
  assert.match((await lines.next()).value as string, /\tnews$/)
  follower.kill('SIGINT')
  const [status] = (await once(follower as ChildProcess, 'exit')) as [number]
  assert.equal(status, 0)
})

test('top shows what topics do', async (t) => {
  const broker = await brokerWith(t, 10)
  const server = ['--bootstrap-server', broker.bootstrapServers]
  const text = await shardlog('top', ...server, '--interval-ms', '100')
  assert.equal(text.code, 0)
  assert.match(text.stdout, /^TOPIC +PARTITIONS +SIZE/m)
  assert.match(text.stdout, /^words +2 /m)
  const json = await shardlog('top', ...server, '--interval-ms', '100', '--json')
  const { topics } = JSON.parse(json.stdout) as { topics: { topic: string; partitions: number }[] }
  assert.equal(topics.find(({ topic }) => topic === 'words')?.partitions, 2)
})

test('doctor looks at the machine and at the broker', async (t) => {
  const broker = await brokerWith(t, 1)
  const args = ['--bootstrap-server', broker.bootstrapServers, '--data-dir', folder(t)]
  const { stdout } = await shardlog('doctor', ...args)
  for (const check of ['open files', 'file system', 'dirty pages', 'clock', 'broker']) {
    assert.match(stdout, new RegExp(`^(?:ok|warn|fail) +${check}`, 'm'))
  }
  assert.match(stdout, /^ok +advertised listener of broker 0: 127\.0\.0\.1:\d+ is reachable/m)
  const json = await shardlog('doctor', ...args, '--json')
  const findings = JSON.parse(json.stdout) as { check: string; level: string }[]
  const failed = findings.some(({ level }) => level === 'fail')
  assert.equal(json.code, failed ? 1 : 0)
})

test('doctor fails where clients cannot reach what the broker advertises', async (t) => {
  const broker = await createBroker({
    config: { 'advertised.listeners': 'PLAINTEXT://127.0.0.1:1' },
  })
  t.after(() => broker.close())
  const { code, stdout } = await shardlog('doctor', '--bootstrap-server', broker.bootstrapServers)
  assert.equal(code, 1)
  assert.match(stdout, /^fail +advertised listener of broker 0: 127\.0\.0\.1:1: ECONNREFUSED/m)
})

test('tools link makes the executables, and touches nothing else', async (t) => {
  const directory = folder(t)
  const first = await shardlog('tools', 'link', directory)
  assert.equal(first.code, 0, first.stderr)
  const version = await run(join(directory, 'kafka-topics.sh'), ['--version'])
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  assert.match((await shardlog('tools', 'link', directory)).stdout, /^0 links made, /)
  rmSync(join(directory, 'kafka-topics'))
  writeFileSync(join(directory, 'kafka-topics'), 'somebody else’s')
  const foreign = await shardlog('tools', 'link', directory)
  assert.equal(foreign.code, 1)
  assert.match(foreign.stderr, /is there already, and is not a link of shardlog/)
})

test('completion completes commands and options', async () => {
  const { stdout } = await shardlog('completion', 'bash')
  const script = `${stdout}
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shardlog; echo "\${COMPREPLY[@]}"; }
complete_words shardlog top
complete_words shardlog topics --descr
complete_words kafka-consumer-groups.sh --reset`
  const completed = await run('bash', ['-c', script])
  assert.deepEqual(completed.stdout.trim().split('\n'), [
    'topics top',
    '--describe',
    '--reset-offsets',
  ])
  for (const shell of ['zsh', 'fish']) assert.equal((await shardlog('completion', shell)).code, 0)
  assert.equal((await shardlog('completion', 'cmd')).code, 1)
})

test('a reader that has seen enough ends a tool quietly', async (t) => {
  const broker = await brokerWith(t, 50)
  const tool = join(bin, 'kafka-console-consumer')
  const args = ['--topic', 'words', '--from-beginning', '--timeout-ms', '1000']
  const line = `"$0" --bootstrap-server ${broker.bootstrapServers} ${args.join(' ')} | head -1; echo "\${PIPESTATUS[0]}"`
  const { stdout, stderr } = await run('bash', ['-c', line, tool])
  assert.match(stdout, /^v\d+\n/)
  assert.doesNotMatch(stderr, /EPIPE|at /)
})
