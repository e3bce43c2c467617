/** `kafka-delete-records`: deletes the records before given offsets. */
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { integerField, partitionsOfFile } from './kit/json-file.ts'
import { defineTool } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

export const kafkaDeleteRecords = defineTool({
  name: 'kafka-delete-records',
  summary: 'Deletes the records of partitions up to given offsets.',
  options: {
    'bootstrap-server': { ...BOOTSTRAP_SERVER, required: true },
    'command-config': COMMAND_CONFIG,
    'offset-json-file': {
      argument: 'file',
      help: 'What to delete; offset -1 stands for the high watermark. For the form see below.',
      required: true,
    },
  },
  table: true,
  wantsArguments: true,
  notes: [
    'The file: {"partitions": [{"topic": "foo", "partition": 1, "offset": 10}], "version": 1}',
    "The exit status is 1 when a partition fails, where Apache Kafka's tool says 0.",
  ],
  async run(given, io) {
    const path = given.required('offset-json-file')
    const wanted = partitionsOfFile(path, (item) => ({
      offset: integerField(item, 'offset', path, -1),
    }))
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      if (!io.json) io.print('Executing records delete operation')
      const results = await admin.deleteRecords(wanted)
      const failed = results.some(({ error }) => error !== null)
      if (io.json) {
        io.print(
          JSON.stringify(
            results.map(({ topic, partition, lowWatermark, error }) => ({
              ...{ topic, partition, lowWatermark },
              error: error?.message ?? null,
            })),
          ),
        )
        return failed ? 1 : 0
      }
      io.print('Records delete operation completed:')
      for (const { topic, partition, lowWatermark, error } of results) {
        const what = error === null ? `low_watermark: ${lowWatermark}` : `error: ${error.message}`
        io.print(`partition: ${topic}-${partition}\t${what}`)
      }
      return failed ? 1 : 0
    })
  },
})
