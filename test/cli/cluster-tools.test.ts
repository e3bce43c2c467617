/**
 * The tools that move partitions and elect leaders, on a cluster of three brokers: what ours print at
 * each step is held against what Apache Kafka 3.9.1's print at the same step with another topic.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Producer } from '../../src/client/producer.ts'
import {
  type ClusterKind,
  type PartitionState,
  skipWithoutCluster,
  startCluster,
  type TestCluster,
} from '../support/cluster.ts'
import { requirePeer } from '../support/peers.ts'
import { ApacheTools, runTool, type ToolRun } from '../support/tools.ts'
import { until } from '../support/until.ts'

const KINDS: readonly ClusterKind[] = ['shardlog', 'apache']
const REASSIGN = 'kafka-reassign-partitions'
const ELECT = 'kafka-leader-election'

for (const kind of KINDS) {
  const skip =
    skipWithoutCluster(kind) ||
    (requirePeer('kafka-tools') === null ? 'kafka-tools is not installed' : false)
  describe(`tools on a cluster, with ${kind}`, { skip, timeout: 300_000 }, () => {
    declare(kind)
  })
}

function declare(kind: ClusterKind): void {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-tools-test-'))
  let cluster: TestCluster
  let apache: ApacheTools

  before(async () => {
    cluster = await startCluster({ kind, config: { 'auto.leader.rebalance.enable': 'false' } })
    apache = new ApacheTools()
  })
  after(async () => {
    await apache?.[Symbol.asyncDispose]()
    await cluster?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const words = (line: string): string[] => [
    '--bootstrap-server',
    cluster.bootstrap,
    ...line.split(' ').filter((word) => word !== ''),
  ]
  const ours = (name: string, line: string): Promise<ToolRun> => runTool(name, words(line))
  const theirs = (name: string, line: string): Promise<ToolRun> => apache.run(name, words(line))
  /** The same command line to both, which must print the same. */
  const same = async (name: string, line: string): Promise<string> => {
    const mine = await ours(name, line)
    assert.equal(mine.code, 0, mine.stderr)
    const other = await theirs(name, line)
    // Topics come in the order of a hash table from Apache's.
    assert.deepEqual(mine.stdout.split('\n').sort(), other.stdout.split('\n').sort(), line)
    return mine.stdout
  }
  const create = async (topic: string, assignment: string): Promise<void> => {
    const line = `--create --topic ${topic} --replica-assignment ${assignment}`
    const { code, stderr } = await ours('kafka-topics', line)
    assert.equal(code, 0, stderr)
    const isWhole = ({ leaderId, isr, replicas }: PartitionState) => {
      return leaderId === replicas[0] && isr.length === replicas.length
    }
    await cluster.waitForTopic(topic, ({ partitions }) => partitions.every(isWhole))
  }

  /** Waits until every broker sees the replicas of all partitions so. */
  const placed = async (topic: string, wanted: RegExp): Promise<void> => {
    await cluster.waitForTopic(topic, ({ partitions }) => {
      return wanted.test(partitions.map(({ replicas }) => replicas).join(' '))
    })
  }

  /** Waits until all brokers have heard of new configs, and answer alike. */
  const agreed = async (line: string): Promise<void> => {
    await until('brokers agree on configs', async () => {
      const asked = cluster.brokers.map(async ({ address }) => {
        const where = ['--bootstrap-server', address]
        return (await runTool('kafka-configs', [...where, ...line.split(' ')])).stdout
      })
      return new Set(await Promise.all(asked)).size === 1
    })
  }

  /**
   * Has broker 2 follow the topic at a byte a second. A throttle that is set with a move reaches
   * brokers when they hear of it, and a small move may be over by then.
   */
  const slowDown = async (topic: string): Promise<void> => {
    const entities = [
      ['brokers', '2', 'follower.replication.throttled.rate=1'],
      ['topics', topic, 'follower.replication.throttled.replicas=*'],
    ] as const
    for (const [type, name, config] of entities) {
      const entity = `--entity-type ${type} --entity-name ${name}`
      const { code, stderr } = await ours(
        'kafka-configs',
        `--alter ${entity} --add-config ${config}`,
      )
      assert.equal(code, 0, stderr)
      const { address } = cluster.broker(2)
      await until(`broker 2 knows of ${config}`, async () => {
        const line = ['--bootstrap-server', address, '--describe', ...entity.split(' ')]
        return (await runTool('kafka-configs', line)).stdout.includes(config)
      })
    }
  }

  test('partitions are moved, watched, throttled and left where they are', async () => {
    const topics = ['mine-moves', 'apache-moves'] as const
    for (const topic of topics) await create(topic, '0:1,1:2')
    await using producer = new Producer({ bootstrapServers: cluster.bootstrap })
    const value = Buffer.alloc(32_768)
    for (const topic of topics) {
      const sends = Array.from({ length: 192 }, () => producer.send({ topic, partition: 0, value }))
      await Promise.all(sends)
    }
    const told: string[][] = []
    for (const [at, topic] of topics.entries()) {
      const run = at === 0 ? ours : theirs
      const plan = join(folder, `${topic}.json`)
      const list = join(folder, `${topic}-topics.json`)
      const write = (replicas: readonly number[]): void => {
        const partitions = [{ topic, partition: 0, replicas, log_dirs: replicas.map(() => 'any') }]
        writeFileSync(plan, JSON.stringify({ version: 1, partitions }))
      }
      writeFileSync(list, JSON.stringify({ version: 1, topics: [{ topic }] }))
      const printed: string[] = []
      const step = async (line: string, name = REASSIGN): Promise<void> => {
        if (name === 'kafka-configs') await agreed(line)
        const { code, stdout } = await run(name, line)
        // Apache's tool leaves out two line feeds, and has configs in the order of a hash table.
        const text = stdout
          .replaceAll(topic, 'TOPIC')
          .replaceAll(/TopicId: \S+/g, '')
          .replaceAll(/(?<=Configs: )\S+/g, (list) =>
            list
              .split(/,(?=[a-z])/)
              .sort()
              .join(),
          )
          .replace(/\n?(?=Clearing broker-level)/, '\n')
          .replace(/\n$/, '')
        // What Apache's tool says of an error goes to other places, and has a stack trace.
        printed.push(`${line.split(' ')[0]} ${code}\n${code === 0 ? text : ''}`)
      }
      const file = `--reassignment-json-file ${plan}`

      const generate = `--generate --topics-to-move-json-file ${list} --broker-list`
      const proposed = (await run(REASSIGN, `${generate} 0,1,2`)).stdout
      const [current, proposal = ''] = proposed.split(
        'Proposed partition reassignment configuration\n',
      )
      printed.push((current ?? '').replaceAll(topic, 'TOPIC'))
      assert.match(proposal, /^\{"version":1,"partitions":\[.*"log_dirs":\["any","any"\]\}\]\}\n?$/)
      await step(`${generate} 0`)
      await step('--list')

      write([2, 1])
      await step(`--verify ${file}`)
      await slowDown(topic)
      await step(`--execute ${file} --throttle 1`)
      await step('--list')
      await step(`--verify ${file}`)
      await step(`--describe --topic ${topic}`, 'kafka-configs')
      await step(`--describe --topic ${topic}`, 'kafka-topics')
      await step(`--execute ${file}`)
      await step(`--cancel ${file}`)
      await step(`--cancel ${file}`)
      await step(`--verify ${file}`)
      // Cancelled: the same brokers as before, in whatever order.
      await placed(topic, /^(?:0,1|1,0) 1,2$/)

      await step(`--execute ${file}`)
      await placed(topic, /^2,1 1,2$/)
      await until('that is done', async () => {
        return !(await ours(REASSIGN, '--list')).stdout.includes(topic)
      })
      await step(`--verify ${file}`)
      await step('--list')

      // More replicas, then fewer.
      write([2, 1, 0])
      await step(`--execute ${file} --throttle 100000000`)
      await placed(topic, /^2,1,0 1,2$/)
      await until('that is done', async () => {
        return !(await ours(REASSIGN, '--list')).stdout.includes(topic)
      })
      await step(`--execute ${file} --additional --throttle 90000000`)
      await step(`--verify ${file} --preserve-throttles`)
      await step(`--describe --topic ${topic}`, 'kafka-configs')
      await step(`--verify ${file}`)
      await step(`--describe --topic ${topic}`, 'kafka-configs')
      write([2])
      await step(`--execute ${file}`)
      await placed(topic, /^2 1,2$/)
      await step(`--verify ${file}`)

      write([0, 7])
      await step(`--execute ${file}`)
      writeFileSync(plan, readPlanOf('nowhere'))
      await step(`--execute ${file}`)
      await step(`--verify ${file}`)
      told.push(printed)
    }
    const [mine = [], other = []] = told
    assert.deepEqual(mine, other)
  })

  test('leaders are elected, and what is out of order is reported', async () => {
    const topics = ['mine-leads', 'apache-leads'] as const
    for (const topic of topics) await create(topic, '0:1:2,1:0:2')
    await create('alone', '0')
    const config = '--alter --topic mine-leads --add-config min.insync.replicas=3'
    assert.equal((await ours('kafka-configs', config)).code, 0)
    assert.equal(
      (await ours('kafka-configs', config.replace('mine', 'apache').replace('3', '2'))).code,
      0,
    )
    for (const topic of topics) await agreed(`--describe --topic ${topic}`)
    await same('kafka-topics', '--describe --at-min-isr-partitions --topic .*-leads')

    await cluster.broker(0).kill()
    await cluster.waitForBrokers([1, 2])
    const isOut = ({ isr }: PartitionState): boolean => !isr.includes(0)
    for (const topic of topics) await cluster.waitForTopic(topic, (t) => t.partitions.every(isOut))
    const living = ['--describe --topic .*-leads', '--describe --topic alone']
    for (const line of living) await same('kafka-topics', line)
    for (const report of [
      ...['under-replicated-partitions', 'unavailable-partitions'],
      ...['under-min-isr-partitions', 'at-min-isr-partitions'],
    ]) {
      const all = '--exclude-internal'
      assert.notEqual(await same('kafka-topics', `--describe --${report} ${all}`), '', report)
    }
    const failure = async (line: string): Promise<void> => {
      const [mine, other] = [await ours(ELECT, line), await theirs(ELECT, line)]
      assert.equal(mine.code, 1)
      assert.notEqual(other.code, 0)
      assert.match(mine.stderr, /^[^\n]+\n$/)
    }
    await failure('--election-type preferred --topic mine-leads --partition 0')
    await failure('--election-type unclean --topic alone --partition 0')
    await failure('--election-type preferred --topic nowhere --partition 0')

    await cluster.broker(0).restart()
    await cluster.waitForBrokers([0, 1, 2])
    const isIn = ({ isr }: PartitionState): boolean => isr.length === 3
    for (const topic of topics) await cluster.waitForTopic(topic, (t) => t.partitions.every(isIn))
    const elect = async (run: typeof ours, topic: string, line: string): Promise<string> => {
      const { code, stdout, stderr } = await run(ELECT, line.replaceAll('TOPIC', topic))
      assert.equal(code, 0, stderr)
      return stdout.replaceAll(topic, 'TOPIC').replace(/([^\n])$/, '$1\n')
    }
    for (const line of [
      '--election-type preferred --topic TOPIC --partition 0',
      '--election-type preferred --topic TOPIC --partition 0',
      '--election-type unclean --topic TOPIC --partition 1',
    ]) {
      const mine = await elect(ours, topics[0], line)
      assert.equal(mine, await elect(theirs, topics[1], line), line)
    }
    for (const topic of topics) {
      await cluster.waitForTopic(topic, ({ partitions }) => {
        return partitions.every(({ leaderId, replicas }) => leaderId === replicas[0])
      })
    }
    await same(ELECT, '--election-type preferred --all-topic-partitions')
  })
}

function readPlanOf(topic: string): string {
  return JSON.stringify({ version: 1, partitions: [{ topic, partition: 0, replicas: [0] }] })
}
