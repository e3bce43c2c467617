/** kafka-server-start in both ways, kafka-server-stop, kafka-run-class. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { isBrokerCommand } from '../../src/cli/kafka-server-stop.ts'
import { ServerProcess } from '../support/server-process.ts'
import { runTool } from '../support/tools.ts'

const root = join(import.meta.dirname, '..', '..', '..')

test('a broker is started here and in the background, used by old class names, and stopped', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'server-tools-test-'))
  const properties = join(folder, 'server.properties')
  const data = join(folder, 'data')
  writeFileSync(properties, `log.dirs=${data}\nbroker.id=3\nlisteners=PLAINTEXT://127.0.0.1:0\n`)
  const only = ['--data-dir', data]
  try {
    const none = await runTool('kafka-server-stop', only)
    assert.deepEqual(none, {
      code: 1,
      stdout: '',
      stderr: 'kafka-server-stop: No kafka server to stop\n',
    })

    const started = await runTool('kafka-server-start.sh', ['-daemon', properties])
    assert.equal(started.code, 0, started.stderr)
    const ready = /^shardlog ready on (127\.0\.0\.1:\d+), .* process (\d+), output in (.*)\n$/
    const [, address = '', pid = '', output = ''] = ready.exec(started.stdout) ?? []
    assert.match(readFileSync(output, 'utf8'), /shardlog ready on/)

    const create = ['kafka.admin.TopicCommand', '--bootstrap-server', address, '--create']
    const created = await runTool('kafka-run-class.sh', [...create, '--topic', 't'])
    assert.equal(created.stdout, 'Created topic t.\n')
    const shell = ['kafka.tools.GetOffsetShell', '--broker-list', address, '--topic', 't']
    const offsets = await runTool('kafka-run-class', [...shell, '--time', '-1'])
    assert.equal(offsets.stdout, 't:0:0\n')
    const unknown = await runTool('kafka-run-class', ['kafka.tools.GetOffsetShel'])
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /did you mean kafka\.tools\.GetOffsetShell\?\n$/)
    const dump = ['kafka.tools.DumpLogSegments', '--files']
    const log = join(data, 't-0', '00000000000000000000.log')
    const dumped = await runTool('kafka-run-class', ['-name', 'x', ...dump, log])
    assert.equal(dumped.stdout, `Dumping ${log}\nLog starting offset: 0\n`)

    const again = await runTool('kafka-server-start', ['-daemon', properties])
    assert.equal(again.code, 1)
    assert.match(again.stderr, /^kafka-server-start: the broker did not start: [^\n]+\n$/)

    assert.equal((await runTool('kafka-server-stop', [...only, '--node-id', '4'])).code, 1)
    const stopped = await runTool('kafka-server-stop', [...only, '--node-id', '3', '--wait'])
    assert.equal(stopped.code, 0, stopped.stderr)
    assert.match(stopped.stdout, new RegExp(`^stopping process ${pid}: `))
    assert.match((await runTool('kafka-server-stop', only)).stderr, /No kafka server to stop/)

    const server = await ServerProcess.start({
      command: process.execPath,
      args: [join(root, 'bin', 'kafka-server-start'), properties, '--override', 'num.partitions=2'],
      ready: /shardlog ready/,
    })
    assert.equal((await runTool('kafka-server-stop.sh', only)).code, 0)
    assert.equal((await server.exited).code, 0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a broker is known by its command line', () => {
  const is = (line: string): boolean => isBrokerCommand(line.split(' '))
  assert.ok(is('/usr/bin/node /opt/shardlog/bin/shardlog-server a.properties'))
  assert.ok(is('node bin/kafka-server-start a.properties'))
  assert.ok(is('node bin/shardlog server'))
  assert.ok(is('node bin/shardlog'))
  assert.ok(!is('node bin/shardlog topics --list'))
  assert.ok(!is('node bin/kafka-server-start -daemon a.properties'))
  assert.ok(!is('vim bin/shardlog-server'))
  assert.ok(!is('node bin/kafka-server-stop'))
})

test('a broker that cannot be is told in one line', async () => {
  const missing = await runTool('kafka-server-start', ['-daemon', '/nowhere/server.properties'])
  assert.equal(missing.code, 1)
  assert.match(missing.stderr, /^kafka-server-start: cannot read \/nowhere[^\n]+\n$/)
  const odd = await runTool('kafka-server-start', ['--overide', 'a=b'])
  assert.equal(odd.code, 1)
  assert.match(odd.stderr, /unknown option --overide; did you mean --override\?/)
  assert.equal((await runTool('kafka-server-start', ['--help'])).code, 0)
})
