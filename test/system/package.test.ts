/** `npm pack` gives a package that installs in an empty project, runs and imports, with types. */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..', '..')

const PROGRAM = `
import { createBroker, ManualClock, type EmbeddedBroker } from 'shardlog'
import { Cluster, KafkaError, Producer, type ProducerRecord, SimpleConsumer } from 'shardlog/client'

const clock = new ManualClock(Date.now())
const broker: EmbeddedBroker = await createBroker({ clock, topics: { greetings: { partitions: 2 } } })
const cluster = new Cluster({ bootstrapServers: broker.bootstrapServers })
const known = await cluster.metadata(['greetings'])
console.log(known.topics.get('greetings')?.partitions.length, KafkaError.name)
await cluster.close()
const record: ProducerRecord = { topic: 'greetings', partition: 1, value: 'hello' }
const producer = new Producer({ bootstrapServers: broker.bootstrapServers, compression: 'zstd' })
const { offset } = await producer.send(record)
await producer.close()
const consumer = new SimpleConsumer({ bootstrapServers: broker.bootstrapServers })
const { records } = await consumer.fetch({ topic: 'greetings', partition: 1, offset })
console.log(offset, String(records[0]?.value))
await consumer.close()
await broker.close()
`

async function install(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: root })
  const [tarball] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'))
  await writeFile(join(folder, 'package.json'), '{"name":"app","private":true,"type":"module"}')
  const flags = ['--no-audit', '--no-fund']
  await run('npm', ['install', ...flags, join(folder, tarball as string)], { cwd: folder })
  return folder
}

test('an empty project installs the package, runs it and imports it', async (t) => {
  await run(process.execPath, [join(root, 'scripts', 'prebuild.mjs')])
  const folder = await install(t)
  await writeFile(join(folder, 'program.ts'), PROGRAM)
  const compiler = join(root, 'node_modules', '.bin', 'tsc')
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')]
  const flags = ['--strict', '--module', 'nodenext', '--target', 'es2022']
  const lib = ['--lib', 'es2023,esnext.disposable']
  await run(compiler, [...flags, ...lib, ...types, 'program.ts'], { cwd: folder })
  const { stdout } = await run(process.execPath, ['program.js'], { cwd: folder })
  assert.equal(stdout, '2 KafkaError\n0 hello\n')

  const { stdout: version } = await run('npx', ['--no-install', 'shardlog', '--version'], {
    cwd: folder,
  })
  assert.match(version, /^\d+\.\d+\.\d+\n$/)
  const broker = spawn(
    join(folder, 'node_modules', '.bin', 'shardlog'),
    ['--override', `log.dirs=${join(folder, 'data')}`, '--override', 'port=0'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  t.after(() => broker.kill('SIGKILL'))
  const [line] = (await once(createInterface(broker.stdout), 'line')) as [string]
  assert.match(line, /^shardlog ready on 127\.0\.0\.1:\d+, data in /)
  broker.kill('SIGTERM')
  const [code] = (await once(broker, 'exit')) as [number]
  assert.equal(code, 0)
})
