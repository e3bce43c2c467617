/** `kafka-log-dirs`: what lies in the log directories of brokers, as JSON. */
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { UsageError } from './kit/options.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

function listOf(text: string | undefined): string[] {
  return (text ?? '').split(',').filter((part) => part !== '')
}

export const kafkaLogDirs = defineTool({
  name: 'kafka-log-dirs',
  summary: 'Prints the log directories of brokers and the replicas in them, as JSON.',
  options: {
    'bootstrap-server': { ...BOOTSTRAP_SERVER, required: true },
    'command-config': COMMAND_CONFIG,
    describe: { help: 'Describes the log directories.', required: true },
    'topic-list': { argument: 'topic1,topic2', help: 'Only these topics.' },
    'broker-list': { argument: '0,1,2', help: 'Only these brokers.' },
  },
  table: true,
  wantsArguments: true,
  notes: ['With --output json the two lines before the JSON are left out.'],
  async run(given, io) {
    const topics = new Set(listOf(given.value('topic-list')))
    const wanted = listOf(given.value('broker-list')).map((text) => {
      if (/^\d{1,10}$/.test(text)) return Number(text)
      throw new UsageError(`--broker-list: ${JSON.stringify(text)} is not a broker id`)
    })
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      const { brokers } = await admin.describeCluster()
      const there = brokers.map(({ brokerId }) => brokerId)
      const missing = wanted.filter((id) => !there.includes(id))
      if (missing.length > 0) {
        throw new ToolError(
          `The given brokers do not exist from --broker-list: ${missing.join(',')}. ` +
            `Current existent brokers: ${there.join(',')}`,
        )
      }
      const ids = wanted.length === 0 ? there : [...new Set(wanted)].sort((a, b) => a - b)
      if (!io.json) io.print('Querying brokers for log directories information')
      const dirs = await admin.describeLogDirs(ids)
      if (!io.json) {
        io.print(`Received log directory information from brokers ${ids.join(',')}`)
      }
      const json = ids.map((broker) => ({
        broker,
        logDirs: dirs
          .filter(({ brokerId }) => brokerId === broker)
          .map(({ logDir, error, replicas }) => ({
            partitions: replicas
              .filter(({ topic }) => topics.size === 0 || topics.has(topic))
              .map(({ topic, partition, sizeBytes, offsetLag, isFuture }) => ({
                partition: `${topic}-${partition}`,
                size: sizeBytes,
                offsetLag,
                isFuture,
              })),
            error: error?.name ?? null,
            logDir,
          })),
      }))
      io.print(JSON.stringify({ brokers: json, version: 1 }))
      return dirs.some(({ error }) => error !== null) ? 1 : 0
    })
  },
})
