/** `kafka-list-topic` of Kafka 0.8.0. */
import { BOOTSTRAP_SERVER, COMMAND_CONFIG, refuseZookeeper, ZOOKEEPER } from './kit/connection.ts'
import { UsageError } from './kit/options.ts'
import { defineTool } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

export const kafkaListTopic = defineTool({
  name: 'kafka-list-topic',
  summary: 'Lists topics and their partitions, as Kafka 0.8.0 did.',
  options: {
    'bootstrap-server': BOOTSTRAP_SERVER,
    'broker-list': { argument: 'host:port,...', help: 'The same as --bootstrap-server.' },
    'command-config': COMMAND_CONFIG,
    zookeeper: ZOOKEEPER,
    topic: { argument: 'topic', help: 'Only this topic.' },
    'under-replicated-partitions': { help: 'Only partitions with replicas out of sync.' },
    'unavailable-partitions': { help: 'Only partitions without a leader.' },
  },
  table: true,
  wantsArguments: true,
  notes: ['kafka-topics --describe says the same and more.'],
  async run(given, io) {
    if (given.has('zookeeper')) refuseZookeeper('kafka-list-topic')
    const servers = given.value('bootstrap-server') ?? given.value('broker-list')
    if (servers === undefined) throw new UsageError('--broker-list is required')
    const contact = { bootstrapServers: servers, configFile: given.value('command-config') }
    return await withAdmin(contact, io, async (admin) => {
      const topic = given.value('topic')
      const topics = await admin.describeTopics(topic === undefined ? null : [topic])
      const found = topics.filter(({ error }) => error === null)
      if (found.length === 0 && !io.json) {
        io.print(topic === undefined ? 'no topics exist!' : `topic ${topic} doesn't exist!`)
        return topic === undefined ? 0 : 1
      }
      const brokers = new Set(
        (await admin.describeCluster()).brokers.map(({ brokerId }) => brokerId),
      )
      const rows = found.flatMap(({ name, partitions }) =>
        partitions
          .filter(({ replicas, isr, leaderId }) => {
            if (given.has('under-replicated-partitions')) return isr.length < replicas.length
            if (given.has('unavailable-partitions')) return !brokers.has(leaderId)
            return true
          })
          .map(({ partition, leaderId, replicas, isr }) => ({
            topic: name,
            partition,
            leader: leaderId < 0 ? null : leaderId,
            replicas,
            isr,
          })),
      )
      if (io.json) io.print(JSON.stringify(rows))
      for (const one of io.json ? [] : rows) {
        io.print(
          `topic: ${one.topic}\tpartition: ${one.partition}\tleader: ${one.leader ?? 'none'}` +
            `\treplicas: ${one.replicas.join(',')}\tisr: ${one.isr.join(',')}`,
        )
      }
      return topic !== undefined && found.length === 0 ? 1 : 0
    })
  },
})
