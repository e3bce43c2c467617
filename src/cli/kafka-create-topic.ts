/** `kafka-create-topic` of Kafka 0.8.0. */
import { allOrThrow } from '../client/admin.ts'
import { parseReplicaAssignment } from './kafka-topics.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, ZOOKEEPER } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': { argument: 'host:port,...', help: 'The same as --bootstrap-server.' },
  'command-config': COMMAND_CONFIG,
  zookeeper: ZOOKEEPER,
  topic: { argument: 'topic', help: 'The topic.', required: true },
  partition: { argument: 'count', help: 'Partitions of the topic.', default: '1' },
  replica: { argument: 'count', help: 'Replicas of each partition.', default: '1' },
  'replica-assignment-list': {
    argument: 'b1:b2,b1:b2',
    help: 'Broker ids for each partition, instead of the two counts.',
  },
} as const

type Options = ParsedOptions<keyof typeof options>

function layoutOf(given: Options) {
  const text = given.value('replica-assignment-list')
  const counts = {
    partitions: given.integer('partition', { min: 1, max: 2 ** 31 - 1 }) ?? 1,
    replicationFactor: given.integer('replica', { min: 1, max: 32767 }) ?? 1,
  }
  return text === undefined ? counts : parseReplicaAssignment(text)
}

function failed(error: unknown): ToolError {
  return new ToolError(`creation failed because of ${(error as Error).message}`)
}

async function throughBrokers(given: Options, io: ToolIo): Promise<void> {
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  if (servers === undefined) throw new UsageError('--zookeeper or --broker-list is required')
  const layout = layoutOf(given)
  const how = 'partitions' in layout ? layout : { assignments: layout }
  const contact = { bootstrapServers: servers, configFile: given.value('command-config') }
  await withAdmin(contact, io, async (admin) => {
    try {
      allOrThrow(await admin.createTopics([{ name: given.required('topic'), ...how }]))
    } catch (error) {
      throw failed(error)
    }
  })
}

async function throughZooKeeper(given: Options, io: ToolIo): Promise<void> {
  const { withRegistry } = await import('./kit/with-registry.ts')
  const { createTopic } = await import('./zookeeper/topic-command.ts')
  given.excludes('zookeeper', 'bootstrap-server', 'broker-list', 'command-config')
  const layout = layoutOf(given)
  const name = given.required('topic')
  await withRegistry({ connect: given.required('zookeeper') }, io, async (registry) => {
    try {
      await createTopic(registry, { name, layout, configs: new Map(), ifNotExists: false })
    } catch (error) {
      throw failed(error)
    }
  })
}

export const kafkaCreateTopic = defineTool({
  name: 'kafka-create-topic',
  summary: 'Creates a topic, as Kafka 0.8.0 did.',
  options,
  wantsArguments: true,
  notes: ['kafka-topics --create does the same and more.'],
  async run(given, io) {
    await (given.has('zookeeper') ? throughZooKeeper : throughBrokers)(given, io)
    io.print('creation succeeded!')
    return 0
  },
})
