/** `kafka-preferred-replica-election` of Kafka 0.8: the first replica of each partition leads. */
import { ZOOKEEPER } from './kit/connection.ts'
import { partitionsOfFile } from './kit/json-file.ts'
import { defineTool } from './kit/tool.ts'

export const kafkaPreferredReplicaElection = defineTool({
  name: 'kafka-preferred-replica-election',
  summary: 'Has the preferred replicas lead again, as Kafka 0.8 did.',
  options: {
    zookeeper: { ...ZOOKEEPER, era: 'kafka-leader-election does the same with a broker.' },
    'path-to-json-file': {
      argument: 'file',
      help: '{"partitions": [{"topic": "foo", "partition": 1}]}; all partitions without it.',
    },
  },
  wantsArguments: true,
  notes: ['Returns when the controller is asked; kafka-topics --describe shows who leads.'],
  async run(given, io) {
    const connect = given.required('zookeeper')
    const file = given.value('path-to-json-file')
    const wanted = file === undefined ? null : partitionsOfFile(file, () => ({}))
    const { withRegistry } = await import('./kit/with-registry.ts')
    const { electPreferred } = await import('./zookeeper/reassign-command.ts')
    await withRegistry({ connect }, io, async (registry) => {
      await electPreferred(registry, wanted, io)
    })
    return 0
  },
})
