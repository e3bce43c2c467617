/**
 * zookeeper-server-start in both ways and zookeeper-server-stop, with a release as ZOOKEEPER_HOME
 * names one, and what is said when no server can be had.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { propertiesOfServer } from '../../src/cli/zookeeper/server-process.ts'
import { peer } from '../support/peers.ts'
import { freePort, ServerProcess } from '../support/server-process.ts'
import { runTool } from '../support/tools.ts'
import { askServer, skipWithoutZooKeeper, ZOOKEEPER } from '../support/zookeeper-ensemble.ts'

const root = join(import.meta.dirname, '..', '..', '..')

test('a server is started here and in the background, serves, and is stopped', {
  skip: skipWithoutZooKeeper(),
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zookeeper-server-test-'))
  const properties = join(folder, 'zookeeper.properties')
  const address = `127.0.0.1:${await freePort()}`
  const example = readFileSync(join(root, 'config', 'zookeeper.properties'), 'utf8')
  writeFileSync(
    properties,
    example.replace('2181', address.split(':')[1] as string).replace('/tmp/zookeeper', folder),
  )
  symlinkSync(peer(ZOOKEEPER), join(folder, 'lib'))
  const env = { ZOOKEEPER_HOME: folder }
  const only = ['--config', properties]
  try {
    const none = await runTool('zookeeper-server-stop', only)
    assert.deepEqual(none, {
      code: 1,
      stdout: '',
      stderr: 'zookeeper-server-stop: No zookeeper server to stop\n',
    })

    const started = await runTool('zookeeper-server-start.sh', ['-daemon', properties], { env })
    assert.equal(started.code, 0, started.stderr)
    const ready = /^ZooKeeper ready on (\S+), process (\d+), output in (.*)\n$/
    const [, where, pid, output = ''] = ready.exec(started.stdout) ?? []
    assert.equal(where, address)
    assert.match(readFileSync(output, 'utf8'), /INFO .*binding to port/)
    const [host = '', port] = address.split(':')
    assert.match(await askServer(host, Number(port)), /^Zookeeper version/)

    const again = await runTool('zookeeper-server-start', ['-daemon', properties], { env })
    assert.equal(again.code, 1)
    assert.match(again.stderr, /^zookeeper-server-start: a ZooKeeper serves on \S+ already\n$/)

    const stopped = await runTool('zookeeper-server-stop.sh', [...only, '--wait'])
    assert.equal(stopped.stdout, `stopping process ${pid}: ZooKeeper of ${properties}\n`)

    const server = await ServerProcess.start({
      command: process.execPath,
      args: [join(root, 'bin', 'zookeeper-server-start'), properties],
      env,
      ready: /binding to port/,
    })
    assert.equal((await runTool('zookeeper-server-stop', only)).code, 0)
    await server.exited
  } finally {
    await runTool('zookeeper-server-stop', [...only, '--wait'])
    rmSync(folder, { recursive: true, force: true })
  }
})

test('what is missing is told in one line', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'zookeeper-server-test-'))
  const properties = join(folder, 'zookeeper.properties')
  const failure = async (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const { code, stderr } = await runTool('zookeeper-server-start', args, { env })
    assert.equal(code, 1)
    return stderr
  }
  try {
    assert.match(await failure([properties]), /^zookeeper-server-start: there is no file [^\n]+\n$/)
    writeFileSync(properties, 'clientPort=12181\n')
    assert.match(await failure(['-daemon', properties]), /has no dataDir\n$/)
    writeFileSync(properties, `clientPort=x\ndataDir=${folder}\n`)
    assert.match(await failure(['-daemon', properties]), /clientPort is x\n$/)
    writeFileSync(properties, `clientPort=${await freePort()}\ndataDir=${folder}\n`)
    assert.match(
      await failure([properties], { ZOOKEEPER_HOME: folder }),
      /^zookeeper-server-start: ZOOKEEPER_HOME is [^\n]+ no zookeeper jar [^\n]+\n$/,
    )
    mkdirSync(join(folder, 'lib'))
    writeFileSync(join(folder, 'lib', 'zookeeper-3.8.4.jar'), '')
    assert.match(
      await failure([properties], { ZOOKEEPER_HOME: folder, JAVA_HOME: '/nowhere' }),
      /^zookeeper-server-start: \/nowhere\/bin\/java is not here; ZooKeeper needs Java[^\n]+\n$/,
    )
    assert.match(
      await failure([properties], {
        PATH: dirname(folder),
        XDG_CACHE_HOME: folder,
        ZOOKEEPER_HOME: '',
      }),
      /^zookeeper-server-start: there is no Apache ZooKeeper here; set ZOOKEEPER_HOME [^\n]+ Maven [^\n]+\n$/,
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a server is known by its command line', () => {
  const of = (line: string): string | null => propertiesOfServer(line.split(' '))
  const name = 'org.apache.zookeeper.server.quorum.QuorumPeerMain'
  assert.equal(
    of(`/usr/bin/java -Xmx512m -cp x.jar ${name} /tmp/z.properties`),
    '/tmp/z.properties',
  )
  assert.equal(of(`java -cp x.jar kafka.Kafka /tmp/z.properties`), null)
  assert.equal(of(`vim ${name} /tmp/z.properties`), null)
})
