/**
 * The walk-through that Kafka 0.8 began with: the page docs/tour.md as it stands, with our tools; and
 * the same with tools of three ages beside each other, ours, Apache Kafka 0.8.2.2's and 3.9.1's, which
 * see one broker killed and its return.
 */
import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { againstKafka } from '../../support/broker.ts'
import { type ClusterKind, skipWithoutCluster, startCluster } from '../../support/cluster.ts'
import { LineProcess } from '../../support/line-process.ts'
import { peer, requirePeer } from '../../support/peers.ts'
import { freePort } from '../../support/server-process.ts'
import { ApacheTools, apacheCommand, runTool, type ToolRun } from '../../support/tools.ts'
import { until } from '../../support/until.ts'
import { ZOOKEEPER } from '../../support/zookeeper-ensemble.ts'
import { stepsOf, Tour } from './tour.ts'

/** Against Apache's brokers it shows that the page says what is so. */
const KINDS: readonly ClusterKind[] = [againstKafka ? 'apache' : 'shardlog']
const root = join(import.meta.dirname, '..', '..', '..', '..')

for (const kind of KINDS) {
  const missing = (['kafka-0.8.2', 'kafka-tools', 'kafka-server'] as const).find((name) => {
    return requirePeer(name) === null
  })
  const skip = skipWithoutCluster(kind)
  const skipAges = skip || (missing === undefined ? false : `${missing} is not installed`)

  test(`the tour of docs/tour.md, with ${kind}`, { skip, timeout: 300_000 }, async () => {
    await takeTour(kind)
  })
  test(`tools of three ages, with ${kind}`, { skip: skipAges, timeout: 300_000 }, async () => {
    await compareAges(kind)
  })
}

/** As `kafka-server-start.sh -daemon FILE`, of Apache Kafka's broker. */
function apacheStart(): string {
  const java = '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xmx512m'
  return `#!/bin/bash
read_key() { sed -n "s/^$1=//p" "$2"; }
data=$(read_key log.dirs "$2"); listener=$(read_key listeners "$2"); address=\${listener#*://}
mkdir -p "$data"
java ${java} -cp '${peer('kafka-server')}/*' kafka.Kafka "$2" > "$data.out" 2>&1 < /dev/null &
echo $! > "$data.pid"
until (exec 3<>"/dev/tcp/\${address/://}") 2> /dev/null; do kill -0 $! || exit 1; sleep 0.1; done
echo "shardlog ready on $address, data in $data, 0 partitions recovered, 0 ms since process start," \\
  "process $!, output in $data/kafkaServer.out"
`
}

/** As `kafka-server-stop.sh --data-dir FOLDER --wait`, of a broker that the other script started. */
function apacheStop(): string {
  return `#!/bin/bash
pid=$(cat "$2.pid")
echo "stopping process $pid: kafka.Kafka $2"
kill "$pid"
while grep -q '^State:[[:space:]]*[^Z]' "/proc/$pid/status" 2> /dev/null; do sleep 0.1; done
`
}

/** When the controller looks after the balance is a matter of minutes, and of chance in a test. */
const UNBALANCED = '\nauto.leader.rebalance.enable=false\n'

/** A folder with \`bin\` and \`config\` as on the page, but with addresses and folders of its own. */
async function tourFolder(kind: ClusterKind) {
  const folder = mkdtempSync(join(tmpdir(), 'tour-test-'))
  const ports = new Map<string, string>()
  for (const port of ['2181', '9092', '9093', '9094']) ports.set(port, String(await freePort()))
  const adapt = (text: string): string => {
    return text
      .replaceAll('/tmp/', `${folder}/`)
      .replaceAll(/\b(?:2181|909[234])\b/g, (port) => ports.get(port) ?? port)
  }
  mkdirSync(join(folder, 'config'))
  for (const name of readdirSync(join(root, 'config'))) {
    if (!name.endsWith('.properties')) continue
    const config = readFileSync(join(root, 'config', name), 'utf8')
    const text = adapt(name.startsWith('server') ? config + UNBALANCED : config)
    writeFileSync(join(folder, 'config', name), text)
    if (name === 'server.properties') {
      writeFileSync(join(folder, 'config', 'server-0.properties'), text)
    }
  }
  const scripts = new Map([
    ['kafka-server-start.sh', apacheStart()],
    ['kafka-server-stop.sh', apacheStop()],
  ])
  mkdirSync(join(folder, 'bin'))
  for (const name of readdirSync(join(root, 'bin'))) {
    const path = join(folder, 'bin', name)
    const script = kind === 'apache' ? scripts.get(name) : undefined
    if (script !== undefined) writeFileSync(path, script, { mode: 0o755 })
    else symlinkSync(join(root, 'bin', name), path)
  }
  symlinkSync(peer(ZOOKEEPER), join(folder, 'lib'))
  return { folder, adapt }
}

async function takeTour(kind: ClusterKind): Promise<void> {
  const { folder, adapt } = await tourFolder(kind)
  const page = adapt(readFileSync(join(root, 'docs', 'tour.md'), 'utf8'))
  // Apache's brokers know no eligible leader replicas in ZooKeeper mode.
  const steps = stepsOf(kind === 'apache' ? page.replaceAll(/Elr: ?(?=\s)/g, 'Elr: N/A') : page)
  assert.ok(steps.length > 25)
  const tour = new Tour({ folder, env: { ...process.env, ZOOKEEPER_HOME: folder } })
  try {
    for (const step of steps) await tour.run(step)
  } finally {
    const pids = [...tour.values].filter(([name]) => /^pid of \d|^new pid$|^zookeeper$/.test(name))
    await Promise.all(pids.map(([, pid]) => end(Number(pid))))
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Waits for the end of a process that was asked to stop, and ends it if it was not. */
async function end(pid: number): Promise<void> {
  const isRunning = (): boolean => {
    try {
      // Nobody may have waited for one that has ended.
      return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false // There is no such process any more.
    }
  }
  await until(`process ${pid} has ended`, () => !isRunning(), 20_000).catch(() => undefined)
  if (isRunning()) process.kill(pid, 'SIGKILL')
}

interface Tools {
  /** Of the topic that they make, which is named for them. */
  readonly name: string
  /** How they are told where the cluster is. */
  readonly where: readonly string[]
  run(tool: string, args: readonly string[], input?: string): Promise<ToolRun>
  /** A tool that runs until it is stopped. */
  command(
    tool: string,
    args: readonly string[],
  ): { readonly command: string; readonly args: readonly string[] }
}

async function succeeded(run: Promise<ToolRun>): Promise<string> {
  const { code, stdout, stderr } = await run
  assert.equal(code, 0, `${stdout}${stderr}`)
  return stdout
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '')
}

async function compareAges(kind: ClusterKind): Promise<void> {
  await using cluster = await startCluster({ kind })
  await using early = new ApacheTools('0.8.2')
  await using late = new ApacheTools('3.9')
  const zookeeper = ['--zookeeper', cluster.zookeeper.connect]
  const brokers = ['--broker-list', cluster.bootstrap]
  const ourCommand: Tools['command'] = (tool, args) => {
    return { command: process.execPath, args: [join(root, 'bin', tool), ...args] }
  }
  const ages: readonly Tools[] = [
    {
      name: 'ours',
      where: zookeeper,
      run: (tool, args, input = '') => runTool(tool, args, { input }),
      command: ourCommand,
    },
    {
      name: 'early',
      where: zookeeper,
      // Its producer ends the Java that it runs in.
      run: (tool, args, input = '') =>
        tool === 'kafka-console-producer'
          ? runOnce(apacheCommand('0.8.2', tool, args), input)
          : early.run(tool, args, { input }),
      command: (tool, args) => apacheCommand('0.8.2', tool, args),
    },
    {
      name: 'late',
      where: ['--bootstrap-server', cluster.bootstrap],
      run: (tool, args, input = '') => late.run(tool, args, { input }),
      command: (tool, args) => apacheCommand('3.9', tool, args),
    },
  ]
  const leader = cluster.broker(1)

  // Each makes a topic of its own, all with the same leader.
  for (const { name, where, run } of ages) {
    const how = ['--create', '--topic', name, '--replica-assignment', '1:2:0']
    const quoted = name === 'late' ? name : `"${name}"`
    assert.match(
      await succeeded(run('kafka-topics', [...how, ...where])),
      new RegExp(`^Created topic ${quoted}\\.\n$`),
    )
    await cluster.waitForLeader(name, 0, ({ leaderId, isr }) => leaderId === 1 && isr.length === 3)
  }
  for (const { where, run } of ages) {
    const listed = linesOf(await succeeded(run('kafka-topics', ['--list', ...where])))
    assert.deepEqual(
      listed.filter((name) => !name.startsWith('__')),
      ['early', 'late', 'ours'],
    )
  }
  const describeAll = async (): Promise<Record<string, string>> => {
    const texts: Record<string, string> = {}
    for (const { name, where, run } of ages) {
      texts[name] = await succeeded(
        run('kafka-topics', ['--describe', '--topic', 'ours', ...where]),
      )
    }
    return texts
  }
  const before = await describeAll()
  assert.equal(before['ours'], before['early'])
  assert.equal(
    before['early'],
    'Topic:ours\tPartitionCount:1\tReplicationFactor:3\tConfigs:\n' +
      '\tTopic: ours\tPartition: 0\tLeader: 1\tReplicas: 1,2,0\tIsr: 1,2,0\n',
  )
  assert.match(before['late'] ?? '', /^Topic: ours\tTopicId: \S+\tPartitionCount: 1\t/)
  assert.equal(
    before['late'],
    await succeeded(
      runTool('kafka-topics', ['--describe', '--topic', 'ours', ...(ages[2]?.where ?? [])]),
    ),
  )

  // Each writes to its topic, and reads all three.
  const sent: Record<string, string[]> = { ours: [], early: [], late: [] }
  const produce = async ({ name, run }: Tools, values: readonly string[]): Promise<void> => {
    const keyed = ['--property', 'parse.key=true', '--property', 'key.separator=:']
    const early08 = name === 'early' ? ['--new-producer', '--request-required-acks', '-1'] : []
    const args = ['--topic', name, ...brokers, ...keyed, ...early08]
    await succeeded(run('kafka-console-producer', args, values.map((one) => `k:${one}\n`).join('')))
    sent[name]?.push(...values)
  }
  const readBack = async (): Promise<void> => {
    for (const { name, where, run } of ages) {
      for (const topic of Object.keys(sent)) {
        const values = sent[topic] ?? []
        const most = ['--from-beginning', '--max-messages', String(values.length)]
        const read = await run('kafka-console-consumer', ['--topic', topic, ...most, ...where])
        assert.deepEqual(linesOf(read.stdout), values, `${topic}, read by ${name}: ${read.stderr}`)
      }
    }
    // The SimpleConsumer of 0.8.2, which asks for leaders itself.
    const simple = ['--partition', '0', '--no-wait-at-logend', ...brokers]
    for (const topic of Object.keys(sent)) {
      const read = await early.run('kafka-simple-consumer-shell', ['--topic', topic, ...simple])
      const values = linesOf(read.stdout).filter((line) => !line.startsWith('Terminating.'))
      assert.deepEqual(values, sent[topic], `${topic}: ${read.stderr}`)
    }
  }
  await Promise.all(ages.map((age) => produce(age, ['one', 'two', 'three'])))
  await readBack()
  await keepsOrderAndBalance(cluster.bootstrap, ages)

  await leader.kill()
  for (const { name } of ages) await cluster.waitForLeader(name, 0, ({ isr }) => isr.length === 2)
  const during = await describeAll()
  assert.equal(during['ours'], during['early'])
  assert.match(during['early'] ?? '', /\tLeader: 2\tReplicas: 1,2,0\tIsr: 2,0\n$/)
  assert.match(during['late'] ?? '', /\tLeader: 2\tReplicas: 1,2,0\tIsr: 2,0\t/)
  assert.equal(
    await succeeded(runTool('kafka-list-topic.sh', ['--topic', 'ours', ...zookeeper])),
    'topic: ours\tpartition: 0\tleader: 2\treplicas: 1,2,0\tisr: 2,0\n',
  )
  const report = ['--describe', '--under-replicated-partitions', ...zookeeper]
  assert.equal(
    await succeeded(runTool('kafka-topics', report)),
    await succeeded(early.run('kafka-topics', report)),
  )
  await readBack()
  await Promise.all(ages.map((age) => produce(age, ['four', 'five'])))
  await readBack()

  await leader.restart()
  for (const { name } of ages) {
    await cluster.waitForLeader(name, 0, ({ leaderId, isr }) => leaderId === 2 && isr.length === 3)
  }
  const after = await describeAll()
  assert.equal(after['ours'], after['early'])
  await readBack()
  await sharesGroup(cluster.zookeeper.connect, ages)
}

/** Runs a program to its end. */
async function runOnce(
  { command, args }: { readonly command: string; readonly args: readonly string[] },
  input: string,
): Promise<ToolRun> {
  let stdout = ''
  await using child = new LineProcess(command, args, (line) => {
    stdout += `${line}\n`
  })
  for (const line of linesOf(input)) child.write(line)
  await child.finish()
  return { code: 0, stdout, stderr: child.errors }
}

/** Producers of both ages: round all partitions without a key, in order with one. */
async function keepsOrderAndBalance(bootstrap: string, ages: readonly Tools[]): Promise<void> {
  const [ours, early] = ages
  assert.ok(ours && early)
  for (const { name, run } of [ours, early]) {
    const topic = `balance-${name}`
    const create = ['--create', '--partitions', '4', '--replication-factor', '3', '--topic', topic]
    await succeeded(ours.run('kafka-topics', [...create, ...ours.where]))
    const offsets = ['--bootstrap-server', bootstrap, '--topic', topic]
    const counts = async (): Promise<string[]> => {
      const text = await succeeded(ours.run('kafka-get-offsets', offsets))
      return linesOf(text).map((line) => line.split(':')[2] as string)
    }
    await until(`${topic} has leaders`, async () => {
      const { code } = await ours.run('kafka-get-offsets', offsets)
      return code === 0
    })
    const producer = ['--topic', topic, '--broker-list', bootstrap]
    const newer = name === 'early' ? ['--new-producer'] : []
    const plain = Array.from({ length: 40 }, (_, at) => `plain-${at}`)
    await succeeded(run('kafka-console-producer', [...producer, ...newer], `${plain.join('\n')}\n`))
    assert.deepEqual(await counts(), ['10', '10', '10', '10'], `${name} without keys`)

    const keys = Array.from({ length: 8 }, (_, at) => `key-${at}`)
    const keyed = Array.from({ length: 80 }, (_, at) => `${keys[at % keys.length]}:${at}`)
    const parse = ['--property', 'parse.key=true', '--property', 'key.separator=:']
    await succeeded(
      run('kafka-console-producer', [...producer, ...newer, ...parse], `${keyed.join('\n')}\n`),
    )
    const read = await succeeded(
      ours.run('kafka-console-consumer', [
        ...['--topic', topic, '--from-beginning', '--max-messages', '120', ...ours.where],
        ...['--property', 'print.key=true', '--property', 'key.separator=:'],
        ...['--property', 'print.partition=true'],
      ]),
    )
    for (const key of keys) {
      const found = linesOf(read).filter((line) => line.includes(`:${key}:`))
      const values = found.map((line) => Number(line.split(':').at(-1)))
      assert.equal(values.length, 10, key)
      assert.deepEqual(
        values,
        values.toSorted((a, b) => a - b),
        `order of ${key}`,
      )
      assert.equal(new Set(found.map((line) => line.split(':')[1])).size, 1, `one place of ${key}`)
    }
  }
}

/** Two high-level consumers of 0.8.2 share a topic; as one leaves, the other gets all of it. */
async function sharesGroup(connect: string, ages: readonly Tools[]): Promise<void> {
  const [ours, early] = ages
  assert.ok(ours && early)
  const folder = mkdtempSync(join(tmpdir(), 'walkthrough-test-'))
  const config = join(folder, 'consumer.properties')
  writeFileSync(config, 'group.id=pair\nrebalance.backoff.ms=500\nauto.commit.interval.ms=500\n')
  const args = ['--zookeeper', connect, '--topic', 'balance-ours', '--consumer.config', config]
  const seen: Record<string, string[]> = { first: [], second: [] }
  const start = (name: string): LineProcess => {
    const { command, args: words } = early.command('kafka-console-consumer', args)
    return new LineProcess(command, words, (line) => void seen[name]?.push(line))
  }
  const { openRegistry } = await import('../../../src/cli/kit/with-registry.ts')
  await using open = await openRegistry({ connect })
  const settled = async (members: number): Promise<void> => {
    await until(`${members} members own all partitions`, async () => {
      const ids = [...(await open.registry.consumers('pair')).keys()]
      const owners = await Promise.all(
        [0, 1, 2, 3].map((partition) => {
          return open.registry.partitionOwner('pair', { topic: 'balance-ours', partition })
        }),
      )
      const names = new Set(owners.map((owner) => owner?.replace(/-0$/, '')))
      return ids.length === members && ids.every((id) => names.has(id)) && names.size === members
    })
  }
  let sent = 0
  const send = async (): Promise<void> => {
    const values = Array.from({ length: 40 }, (_, at) => `shared-${sent + at}`)
    const producer = ['--topic', 'balance-ours', '--broker-list', await brokersOf(open.registry)]
    await succeeded(ours.run('kafka-console-producer', producer, `${values.join('\n')}\n`))
    sent += values.length
    await until('all is read', () => Object.values(seen).flat().length >= sent)
  }
  try {
    await using first = start('first')
    await settled(1)
    await using second = start('second')
    await settled(2)
    await send()
    assert.deepEqual([seen['first']?.length, seen['second']?.length], [20, 20])
    await first.stop()
    await settled(1)
    await send()
    assert.deepEqual([seen['first']?.length, seen['second']?.length], [20, 60])
    assert.equal(new Set(Object.values(seen).flat()).size, sent)
    await second.stop()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function brokersOf(registry: {
  brokers(): Promise<readonly { endpoints: readonly { host: string; port: number }[] }[]>
}): Promise<string> {
  const brokers = await registry.brokers()
  return brokers.map(({ endpoints: [one] }) => `${one?.host}:${one?.port}`).join()
}
