/** The broker as a process: its ready line, its signals (through npm, too), what it refuses. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ApiVersions } from '../../src/protocol/messages/api-versions.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { createTopic } from '../support/broker-in-process.ts'
import { WireClient } from '../support/wire-client.ts'

const root = join(import.meta.dirname, '..', '..', '..')
const server = join(root, 'bin', 'shardlog-server')
const READY =
  /^shardlog ready on (\S+):(\d+), data in (\S+), (\d+) partitions recovered, (\d+) ms since process start$/m

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'shardlog-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function overrides(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([key, value]) => ['--override', `${key}=${value}`])
}

interface Running {
  readonly pid: number
  readonly ready: RegExpExecArray
  readonly end: Promise<{ code: number | null; signal: string | null }>
}

/** Starts a command and waits for the ready line. */
async function start(t: TestContext, command: string, args: readonly string[]): Promise<Running> {
  const child = spawn(command, [...args], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const end = once(child, 'close').then(([code, signal]) => ({ code, signal }))
  t.after(() => child.kill('SIGKILL'))
  let output = ''
  const ready = await new Promise<RegExpExecArray>((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      const found = READY.exec(output)
      if (found !== null) resolve(found)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    void end.then(() => reject(new Error(`it ended: ${output}`)))
  })
  return { pid: child.pid as number, ready, end }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} answers what waits, writes the mark and exits with 0`, async (t) => {
    const data = join(temporary(t), 'data')
    const settings = overrides({ 'log.dirs': data, listeners: 'PLAINTEXT://127.0.0.1:0' })
    const broker = await start(t, process.execPath, [server, ...settings])
    assert.deepEqual(broker.ready.slice(3, 5), [data, '0'])
    assert.ok(Number(broker.ready[5]) > 0)
    const client = await WireClient.connect(Number(broker.ready[2]))
    await createTopic(client, 't')
    const waiting = client.send(Fetch, 11, {
      maxWaitMs: 60_000,
      minBytes: 1,
      topics: [
        { topic: 't', partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1000 }] },
      ],
    })
    // Answered in order: when this one is there, the fetch before it has been taken.
    const other = await WireClient.connect(Number(broker.ready[2]))
    await other.send(ApiVersions, 0, {})
    process.kill(broker.pid, signal)
    assert.equal((await waiting).responses[0]?.partitions[0]?.errorCode, 0)
    assert.deepEqual(await broker.end, { code: 0, signal: null })
    assert.ok(existsSync(join(data, '.kafka_cleanshutdown')))
    const again = await start(t, process.execPath, [server, ...settings])
    assert.equal(again.ready[4], '1')
    assert.equal(existsSync(join(data, '.kafka_cleanshutdown')), false)
    process.kill(again.pid, signal)
    assert.deepEqual(await again.end, { code: 0, signal: null })
    client.close()
    other.close()
  })

  test(`${signal} to npm reaches the broker`, async (t) => {
    const data = join(temporary(t), 'data')
    const settings = overrides({ 'log.dirs': data, listeners: 'PLAINTEXT://127.0.0.1:0' })
    const npm = await start(t, 'npm', ['start', '--silent', '--', ...settings])
    process.kill(npm.pid, signal)
    await npm.end
    // npm may end before the broker has: the mark is its last word but one.
    while (!existsSync(join(data, '.kafka_cleanshutdown'))) await new Promise(setImmediate)
  })
}

test('a directory in use and a busy port are refused in one line', async (t) => {
  const folder = temporary(t)
  const data = join(folder, 'data')
  const first = overrides({ 'log.dirs': data, listeners: 'PLAINTEXT://127.0.0.1:0' })
  const broker = await start(t, process.execPath, [server, ...first])
  const refused = (settings: Readonly<Record<string, string>>): string => {
    const args = [server, ...overrides(settings)]
    const result = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 })
    assert.equal(result.status, 1)
    assert.equal(result.stdout, '')
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr)
    return result.stderr
  }
  const listeners = 'PLAINTEXT://127.0.0.1:0'
  assert.match(refused({ 'log.dirs': data, listeners }), /in use by another broker/)
  const busy = `PLAINTEXT://127.0.0.1:${broker.ready[2]}`
  const elsewhere = join(folder, 'other')
  assert.match(refused({ 'log.dirs': elsewhere, listeners: busy }), /port is in use/)
  assert.match(
    refused({ 'log.dirs': elsewhere, listeners, 'num.partitions': 'many' }),
    /Invalid value many for configuration num\.partitions/,
  )
  assert.match(refused({ 'log.dirs': elsewhere, listeners: 'nowhere' }), /NAME:\/\/host:port/)
  process.kill(broker.pid, 'SIGTERM')
  assert.equal((await broker.end).code, 0)
})

test('bad arguments are refused in one line with a hint', () => {
  for (const args of [
    ['--overide', 'a=b'],
    ['a', 'b'],
    ['--override', 'novalue'],
  ]) {
    const result = spawnSync(process.execPath, [server, ...args], { encoding: 'utf8' })
    assert.equal(result.status, 1)
    assert.match(result.stderr, /^shardlog-server: .*--help\)\n$/)
  }
  const help = spawnSync(process.execPath, [server, '--help'], { encoding: 'utf8' })
  assert.equal(help.status, 0)
  assert.match(help.stdout, /^Usage: shardlog-server/)
  const version = spawnSync(process.execPath, [server, '--version'], { encoding: 'utf8' })
  const described = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string
  }
  assert.equal(version.stdout.trim(), described.version)
})
