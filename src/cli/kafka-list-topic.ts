/** `kafka-list-topic` of Kafka 0.8.0. */
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, ZOOKEEPER } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, type ToolIo } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': { argument: 'host:port,...', help: 'The same as --bootstrap-server.' },
  'command-config': COMMAND_CONFIG,
  zookeeper: ZOOKEEPER,
  topic: { argument: 'topic', help: 'Only this topic.' },
  'under-replicated-partitions': { help: 'Only partitions with replicas out of sync.' },
  'unavailable-partitions': { help: 'Only partitions without a leader.' },
} as const

type Options = ParsedOptions<keyof typeof options>

interface Row {
  readonly topic: string
  readonly partition: number
  readonly leader: number | null
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

/** Partitions of the topics there are; null if there is none. */
async function rowsFromBrokers(given: Options, io: ToolIo): Promise<Row[] | null> {
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  if (servers === undefined) throw new UsageError('--zookeeper or --broker-list is required')
  const contact = { bootstrapServers: servers, configFile: given.value('command-config') }
  return await withAdmin(contact, io, async (admin) => {
    const topic = given.value('topic')
    const topics = await admin.describeTopics(topic === undefined ? null : [topic])
    const found = topics.filter(({ error }) => error === null)
    if (found.length === 0) return null
    const { brokers } = await admin.describeCluster()
    const alive = new Set(brokers.map(({ brokerId }) => brokerId))
    return found.flatMap(({ name, partitions }) =>
      partitions
        .filter(({ replicas, isr, leaderId }) => {
          if (given.has('under-replicated-partitions')) return isr.length < replicas.length
          if (given.has('unavailable-partitions')) return !alive.has(leaderId)
          return true
        })
        .map(({ partition, leaderId, replicas, isr }) => {
          const leader = leaderId < 0 ? null : leaderId
          return { topic: name, partition, leader, replicas, isr }
        }),
    )
  })
}

async function rowsFromZooKeeper(given: Options, io: ToolIo): Promise<Row[] | null> {
  const { withRegistry } = await import('./kit/with-registry.ts')
  const { describedTopics } = await import('./zookeeper/topic-command.ts')
  given.excludes('zookeeper', 'bootstrap-server', 'broker-list', 'command-config')
  const report = given.atMostOne('under-replicated-partitions', 'unavailable-partitions')
  return await withRegistry({ connect: given.required('zookeeper') }, io, async (registry) => {
    const topic = given.value('topic')
    const all = await registry.topicNames()
    const names = topic === undefined ? all : all.filter((name) => name === topic)
    if (names.length === 0) return null
    const found = await describedTopics(registry, names, report)
    return found.flatMap(({ topic: { name }, rows }) =>
      rows.map((row) => ({ topic: name, ...row })),
    )
  })
}

export const kafkaListTopic = defineTool({
  name: 'kafka-list-topic',
  summary: 'Lists topics and their partitions, as Kafka 0.8.0 did.',
  options,
  table: true,
  wantsArguments: true,
  notes: ['kafka-topics --describe says the same and more.'],
  async run(given, io) {
    const topic = given.value('topic')
    const rows = await (given.has('zookeeper') ? rowsFromZooKeeper : rowsFromBrokers)(given, io)
    const isMissing = rows === null && topic !== undefined
    if (io.json) {
      io.print(JSON.stringify(rows ?? []))
      return isMissing ? 1 : 0
    }
    if (rows === null) {
      io.print(isMissing ? `topic ${topic} doesn't exist!` : 'no topics exist!')
      return isMissing ? 1 : 0
    }
    for (const one of rows) {
      io.print(
        `topic: ${one.topic}\tpartition: ${one.partition}\tleader: ${one.leader ?? 'none'}` +
          `\treplicas: ${one.replicas.join(',')}\tisr: ${one.isr.join(',')}`,
      )
    }
    return 0
  },
})
