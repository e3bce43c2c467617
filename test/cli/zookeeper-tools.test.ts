/**
 * The tools that work through ZooKeeper, beside those of Apache Kafka 0.8.2.2, on a cluster of three
 * brokers: each side prints the same of what either has made, and the controller does what they ask.
 * The console consumers of both share a group.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type OpenRegistry, openRegistry } from '../../src/cli/kit/with-registry.ts'
import { Producer } from '../../src/client/producer.ts'
import type { TopicPartition } from '../../src/registry/cluster-registry.ts'
import {
  type ClusterKind,
  skipWithoutCluster,
  startCluster,
  type TestCluster,
} from '../support/cluster.ts'
import { LineProcess } from '../support/line-process.ts'
import { requirePeer } from '../support/peers.ts'
import { ApacheTools, apacheCommand, runTool, type ToolRun } from '../support/tools.ts'
import { until } from '../support/until.ts'

const KINDS: readonly ClusterKind[] = ['shardlog', 'apache']
const PARTITIONS = 5

for (const kind of KINDS) {
  const skip =
    skipWithoutCluster(kind) ||
    (requirePeer('kafka-0.8.2') === null ? 'kafka-0.8.2 is not installed' : false)
  describe(`through ZooKeeper, with ${kind}`, { skip, timeout: 300_000 }, () => {
    declare(kind)
  })
}

function declare(kind: ClusterKind): void {
  const folder = mkdtempSync(join(tmpdir(), 'zookeeper-tools-test-'))
  let cluster: TestCluster
  let apache: ApacheTools
  let open: OpenRegistry

  before(async () => {
    cluster = await startCluster({ kind })
    apache = new ApacheTools('0.8.2')
    open = await openRegistry({ connect: cluster.zookeeper.connect })
  })
  after(async () => {
    await open?.[Symbol.asyncDispose]()
    await apache?.[Symbol.asyncDispose]()
    await cluster?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const args = (line: string): string[] => [
    '--zookeeper',
    cluster.zookeeper.connect,
    ...words(line),
  ]
  const words = (line: string): string[] => line.split(' ').filter((word) => word !== '')
  const ours = (name: string, line: string): Promise<ToolRun> => runTool(name, args(line))
  const theirs = (name: string, line: string): Promise<ToolRun> => apache.run(name, args(line))
  const output = async (run: Promise<ToolRun>): Promise<string> => {
    const { code, stdout, stderr } = await run
    assert.equal(code, 0, stderr)
    return stdout
  }
  const failure = async (name: string, line: string): Promise<string> => {
    const { code, stderr } = await ours(name, line)
    assert.equal(code, 1, line)
    assert.match(stderr, /^[^\n]+\n$/, line)
    return stderr
  }
  const same = async (name: string, line: string): Promise<string> => {
    const mine = await output(ours(name, line))
    // Apache's has the order of a hash table.
    const other = (await output(theirs(name, line))).replaceAll(/(?<=Configs:)\S+/g, (list) =>
      list.split(',').sort().join(),
    )
    assert.equal(mine, other, line)
    return mine
  }
  /** Waits until all partitions of a topic have a leader and all replicas in sync. */
  const whole = async (topic: string, count: number): Promise<void> => {
    await cluster.waitForTopic(topic, ({ partitions }) => {
      return (
        partitions.length === count &&
        partitions.every(({ leaderId, isr, replicas }) => {
          return leaderId >= 0 && isr.length === replicas.length
        })
      )
    })
  }

  test('topics are created, described, changed and deleted as 0.8.2 does', async () => {
    const create = '--create --partitions 2 --replication-factor 3 --topic'
    assert.equal(await output(ours('kafka-topics', `${create} mine`)), 'Created topic "mine".\n')
    const config = '--config max.message.bytes=64000 --config retention.ms=3600000'
    assert.equal(
      await output(theirs('kafka-topics', `${create} their.topic_1 ${config}`)),
      'Created topic "their.topic_1".\n',
    )
    await whole('mine', 2)
    await whole('their.topic_1', 2)
    assert.equal(await same('kafka-topics', '--list'), 'mine\ntheir.topic_1\n')
    assert.match(
      await same('kafka-topics', '--describe'),
      /^Topic:mine\tPartitionCount:2\tReplicationFactor:3\tConfigs:\n\tTopic: mine\tPartition: 0\t/,
    )
    await same('kafka-topics', '--describe --topic mine')
    await same('kafka-topics', '--describe --topics-with-overrides')
    assert.equal(await same('kafka-topics', '--describe --under-replicated-partitions'), '')
    assert.equal(await same('kafka-topics', '--describe --unavailable-partitions'), '')

    const { value } = (await open.registry.topic('mine')) ?? { value: null }
    assert.match(value?.topicId ?? '', /^[\w-]{22}$/, 'the controller has given it an id')

    const warning =
      'WARNING: If partitions are increased for a topic that has a key, the partition logic or ' +
      'ordering of the messages will be affected\n'
    assert.equal(
      await output(ours('kafka-topics', '--alter --topic mine --partitions 4')),
      `${warning}Adding partitions succeeded!\n`,
    )
    await whole('mine', 4)
    await same('kafka-topics', '--describe --topic mine')
    const set = '--alter --topic mine --config flush.messages=5 --config retention.ms=1000000'
    assert.equal(await output(ours('kafka-topics', set)), 'Updated config for topic "mine".\n')
    assert.match(await same('kafka-topics', '--describe --topic mine'), /Configs:[a-z].*=/)
    assert.equal(
      await output(runTool('kafka-configs', args('--describe --topic mine'))),
      "Configs for topic 'mine' are flush.messages=5,retention.ms=1000000\n",
    )
    assert.equal(
      await output(
        runTool('kafka-configs', args('--alter --topic mine --delete-config flush.messages')),
      ),
      "Completed Updating config for entity: topic 'mine'.\n",
    )
    const remove = '--alter --topic mine --delete-config retention.ms'
    assert.equal(await output(ours('kafka-topics', remove)), 'Updated config for topic "mine".\n')
    assert.match(await same('kafka-topics', '--describe --topic mine'), /Configs:\n/)

    const chosen = '--create --topic chosen --replica-assignment 2:0,1:2'
    assert.equal(await output(ours('kafka-topics', chosen)), 'Created topic "chosen".\n')
    await whole('chosen', 2)
    assert.match(
      await same('kafka-topics', '--describe --topic chosen'),
      /Replicas: 2,0\t.*\n.*1,2/,
    )
    assert.equal(
      await output(ours('kafka-topics', '--delete --topic chosen')),
      'Topic chosen is marked for deletion.\n' +
        'Note: This will have no impact if delete.topic.enable is not set to true.\n',
    )
    await until('the topic is gone', async () => (await open.registry.topic('chosen')) === null)
    await until(
      'so is the request',
      async () => (await open.registry.topicDeletions()).length === 0,
    )
  })

  test('the tools of 0.8.0 create and list', async () => {
    assert.equal(
      await output(ours('kafka-create-topic.sh', '--replica 3 --partition 2 --topic early')),
      'creation succeeded!\n',
    )
    await whole('early', 2)
    const id = String.raw`\d`
    const row = (partition: number): string =>
      `topic: early\tpartition: ${partition}\tleader: ${id}\treplicas: (${id},?){3}\tisr: (${id},?){3}\n`
    assert.match(
      await output(ours('kafka-list-topic.sh', '--topic early')),
      new RegExp(`^${row(0)}${row(1)}$`),
    )
    const all = await output(ours('kafka-list-topic', ''))
    assert.match(all, /^topic: early\t/)
    const brokers = ['--broker-list', cluster.bootstrap]
    const isSorted = (text: string) => text.split('\n').sort().join('\n')
    assert.equal(isSorted(await output(runTool('kafka-list-topic', brokers))), isSorted(all))
    const nope = await ours('kafka-list-topic', '--topic nope')
    assert.deepEqual(nope, { code: 1, stdout: "topic nope doesn't exist!\n", stderr: '' })
    assert.match(
      await failure('kafka-create-topic', '--topic early'),
      /creation failed because of Topic "early" already exists\.\n$/,
    )
  })

  test('what cannot be is told in one line', async () => {
    const create = '--create --topic x --partitions 1 --replication-factor'
    assert.match(
      await failure('kafka-topics', `${create} 9`),
      /Replication factor: 9 larger than available brokers: 3\.\n$/,
    )
    assert.match(
      await failure('kafka-topics', `${create} 1 --config retentio.ms=1`),
      /unknown topic config retentio\.ms, did you mean retention\.ms\?\n$/,
    )
    assert.match(
      await failure('kafka-topics', `${create} 1 --config retention.ms=x`),
      /retention\.ms/,
    )
    assert.match(
      await failure('kafka-topics', '--create --topic mine --partitions 1 --replication-factor 1'),
      /Topic "mine" already exists\.\n$/,
    )
    const again = '--create --topic mine --partitions 1 --replication-factor 1 --if-not-exists'
    assert.equal(await output(ours('kafka-topics', again)), '')
    assert.match(
      await failure('kafka-topics', '--create --topic their_topic_1 --replica-assignment 0'),
      /collides with existing topics: their\.topic_1\n$/,
    )
    assert.match(
      await failure('kafka-topics', '--alter --topic mine --partitions 1'),
      /The number of partitions for a topic can only be increased; mine has 4\n$/,
    )
    assert.match(
      await failure('kafka-topics', '--describe --topic mime'),
      /Topic mime does not exist; did you mean 'mine'\?\n$/,
    )
    assert.equal(await output(ours('kafka-topics', '--delete --topic nope --if-exists')), '')
    assert.match(
      await failure('kafka-topics', '--list --exclude-internal'),
      /--exclude-internal cannot be used with --zookeeper/,
    )
    const connect = async (text: string): Promise<string> => {
      const { code, stderr } = await runTool('kafka-topics', ['--zookeeper', text, '--list'])
      assert.equal(code, 1)
      return stderr
    }
    assert.match(
      await connect(`${cluster.zookeeper.connect}/nowhere`),
      /^kafka-topics: [^\n]* there is no \/nowhere in ZooKeeper\n$/,
    )
    assert.match(
      await connect('127.0.0.1:1'),
      /cannot be reached within 5000 ms [^\n]*ECONNREFUSED/,
    )
    assert.match(await connect('a:b:c'), /--zookeeper: "a:b:c" is not host:port\n$/)
  })

  test('the controller moves partitions and elects preferred leaders when asked there', async () => {
    const plan = join(folder, 'plan.json')
    const topics = join(folder, 'topics.json')
    const chosen = join(folder, 'chosen.json')
    const partitions = [{ topic: 'moving', partition: 0, replicas: [2, 1] }]
    writeFileSync(plan, JSON.stringify({ version: 1, partitions }))
    writeFileSync(topics, JSON.stringify({ version: 1, topics: [{ topic: 'moving' }] }))
    writeFileSync(chosen, JSON.stringify({ partitions: [{ topic: 'moving', partition: 0 }] }))
    await output(ours('kafka-topics', '--create --topic moving --replica-assignment 0:1'))
    await whole('moving', 1)
    const reassign = 'kafka-reassign-partitions'
    const file = `--reassignment-json-file ${plan}`
    const places = (replicas: readonly number[]): string =>
      JSON.stringify({ version: 1, partitions: [{ topic: 'moving', partition: 0, replicas }] })

    const generated = await output(
      ours(reassign, `--generate --topics-to-move-json-file ${topics} --broker-list 1,2`),
    )
    assert.ok(
      generated.startsWith(
        `Current partition replica assignment\n\n${places([0, 1])}\n` +
          'Proposed partition reassignment configuration\n\n{"version":1,"partitions":[',
      ),
      generated,
    )
    const wrong = await ours(reassign, `--verify ${file}`)
    assert.equal(wrong.code, 1)
    assert.equal(wrong.stdout, await output(theirs(reassign, `--verify ${file}`)))
    assert.equal(
      await output(ours(reassign, `--execute ${file}`)),
      `Current partition replica assignment\n\n${places([0, 1])}\n\n` +
        'Save this to use as the --reassignment-json-file option during rollback\n' +
        `Successfully started reassignment of partitions ${places([2, 1])}\n`,
    )
    await until('it has moved', async () => {
      return (await ours(reassign, `--verify ${file}`)).stdout.includes('completed successfully')
    })
    await same(reassign, `--verify ${file}`)
    writeFileSync(plan, places([2, 7]))
    assert.match(await failure(reassign, `--execute ${file}`), /Broker 7 is not alive\n$/)

    assert.equal(
      await output(ours('kafka-preferred-replica-election', `--path-to-json-file ${chosen}`)),
      'Successfully started preferred replica election for partitions Set([moving,0])\n',
    )
    await cluster.waitForLeader('moving', 0, ({ leaderId }) => leaderId === 2)
    await until('the request is done', async () => {
      return (await open.registry.preferredElectionRequest()) === null
    })
    assert.match(
      await output(ours('kafka-preferred-replica-election', '')),
      /^Successfully started preferred replica election for partitions Set\(.*\[mine,3\].*\)\n$/,
    )
  })

  test('a group is shared with the console consumer of 0.8.2', async () => {
    const topic = 'shared'
    const group = 'readers'
    const create = `--create --topic ${topic} --partitions ${PARTITIONS} --replication-factor 3`
    await output(ours('kafka-topics', create))
    await whole(topic, PARTITIONS)
    const config = join(folder, 'consumer.properties')
    writeFileSync(
      config,
      `group.id=${group}\nauto.commit.interval.ms=500\nrebalance.backoff.ms=500\n`,
    )
    const seen: string[] = []
    const note = (line: string): void => void seen.push(line)
    const consumer = args(`--topic ${topic} --from-beginning --consumer.config ${config}`)
    const startOurs = (): LineProcess =>
      new LineProcess(process.execPath, [tool('kafka-console-consumer'), ...consumer], note)
    const startTheirs = (): LineProcess => {
      // 0.8.2 refuses to begin where the group has been before.
      const later = consumer.filter((word) => word !== '--from-beginning')
      const java = apacheCommand('0.8.2', 'kafka-console-consumer', later)
      return new LineProcess(java.command, java.args, note)
    }
    await using producer = new Producer({
      bootstrapServers: cluster.bootstrap,
      partitioner: 'round-robin',
    })
    let sent = 0
    const send = async (count: number): Promise<void> => {
      const values = Array.from({ length: count }, (_, at) => `m${sent + at}`)
      await Promise.all(values.map((value) => producer.send({ topic, value })))
      sent += count
      await until('all is read', async () => new Set(seen).size === sent)
    }
    const owners = async (): Promise<(string | null)[]> => {
      const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }))
      return await Promise.all(
        all.map(async (one: TopicPartition) => {
          const owner = await open.registry.partitionOwner(group, one)
          return owner?.replace(/-\d+$/, '') ?? null
        }),
      )
    }
    /** Waits until each of the group's members owns its range, in order of their names. */
    const settled = async (members: number): Promise<string[]> => {
      let ids: string[] = []
      await until(`${members} members have their ranges`, async () => {
        ids = [...(await open.registry.consumers(group)).keys()].sort()
        if (ids.length !== members) return false
        const each = Math.ceil(PARTITIONS / members)
        const wanted = Array.from({ length: PARTITIONS }, (_, at) => ids[Math.floor(at / each)])
        return (await owners()).join() === wanted.join()
      })
      return ids
    }

    await using first = startOurs()
    await settled(1)
    await send(50)
    await using other = startTheirs()
    await settled(2)
    await send(100)
    await other.stop()
    await settled(1)
    await send(50)
    await using second = startOurs()
    await settled(2)
    await send(100)
    await using third = startTheirs()
    await until('there are three', async () => (await open.registry.consumers(group)).size === 3)
    await first.stop()
    await settled(2)
    await send(100)
    await second.stop()
    await settled(1)
    await send(50)
    await third.stop()
    assert.equal(seen.length, sent, 'what is given up in order is read once')

    const offsets = await open.registry.consumerOffsets(group, topic)
    assert.equal(offsets.size, PARTITIONS)
    assert.equal(
      [...offsets.values()].reduce((sum, offset) => sum + offset, 0),
      sent,
    )
    assert.deepEqual(
      await owners(),
      Array.from({ length: PARTITIONS }, () => null),
    )
    assert.equal((await open.registry.consumers(group)).size, 0)
  })

  test('the console consumer reads by pattern and leaves nothing of a group of its own', async () => {
    const read = await ours(
      'kafka-console-consumer',
      '--whitelist sha.* --from-beginning --max-messages 450 --property print.key=true',
    )
    assert.equal(read.code, 0)
    assert.equal(read.stderr, 'Consumed 450 messages\n')
    assert.equal(new Set(read.stdout.trim().split('\n')).size, 450)
    assert.match(read.stdout, /^null\tm\d+\n/)
    const other = '--blacklist shared|moving --timeout-ms 1500'
    const none = await ours('kafka-console-consumer', `${other} --from-beginning`)
    assert.equal(none.code, 1)
    assert.match(none.stderr, /^Consumed 0 messages\n.*no record came in 1500 ms\n$/)
    assert.deepEqual(await open.registry.consumerGroups(), ['readers'])

    const again = '--topic shared --group readers --timeout-ms 1500 --from-beginning'
    assert.equal(
      (await ours('kafka-console-consumer', again)).stderr.split('\n')[0],
      'Consumed 0 messages',
    )
    const anew = '--topic shared --group readers --from-beginning --delete-consumer-offsets'
    const all = await output(ours('kafka-console-consumer', `${anew} --max-messages 450`))
    assert.equal(all.trim().split('\n').length, 450)
    const config = join(folder, 'wrong.properties')
    writeFileSync(config, 'partition.assignment.strategy=roundrobin\n')
    assert.match(
      await failure('kafka-console-consumer', `--topic shared --consumer.config ${config}`),
      /partition\.assignment\.strategy is range with --zookeeper, not roundrobin\n$/,
    )
  })
}

function tool(name: string): string {
  return join(import.meta.dirname, '..', '..', '..', 'bin', name)
}
