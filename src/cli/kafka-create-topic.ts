/** `kafka-create-topic` of Kafka 0.8.0. */
import { allOrThrow } from '../client/admin.ts'
import { parseReplicaAssignment } from './kafka-topics.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, refuseZookeeper, ZOOKEEPER } from './kit/connection.ts'
import { UsageError } from './kit/options.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

export const kafkaCreateTopic = defineTool({
  name: 'kafka-create-topic',
  summary: 'Creates a topic, as Kafka 0.8.0 did.',
  options: {
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
  },
  wantsArguments: true,
  notes: ['kafka-topics --create does the same and more.'],
  async run(given, io) {
    if (given.has('zookeeper')) refuseZookeeper('kafka-create-topic')
    const servers = given.value('bootstrap-server') ?? given.value('broker-list')
    if (servers === undefined) throw new UsageError('--broker-list is required')
    const text = given.value('replica-assignment-list')
    const counts = {
      partitions: given.integer('partition', { min: 1, max: 2 ** 31 - 1 }) ?? 1,
      replicationFactor: given.integer('replica', { min: 1, max: 32767 }) ?? 1,
    }
    const name = given.required('topic')
    const contact = { bootstrapServers: servers, configFile: given.value('command-config') }
    return await withAdmin(contact, io, async (admin) => {
      try {
        const how = text === undefined ? counts : { assignments: parseReplicaAssignment(text) }
        allOrThrow(await admin.createTopics([{ name, ...how }]))
      } catch (error) {
        throw new ToolError(`creation failed because of ${(error as Error).message}`)
      }
      io.print('creation succeeded!')
      return 0
    })
  },
})
