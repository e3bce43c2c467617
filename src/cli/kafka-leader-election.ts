/** `kafka-leader-election`: lets the preferred, or any, replicas lead. */
import { RequestTimedOutError } from '../client/errors.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { partitionsOfFile } from './kit/json-file.ts'
import { UsageError } from './kit/options.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

const TIMEOUT_MS = 30_000
const ELECTION_NOT_NEEDED = 84

export const kafkaLeaderElection = defineTool({
  name: 'kafka-leader-election',
  summary: 'Elects leaders of partitions.',
  options: {
    'bootstrap-server': { ...BOOTSTRAP_SERVER, required: true },
    'admin.config': COMMAND_CONFIG,
    'election-type': {
      argument: 'preferred|unclean',
      help: 'preferred: the first replica leads again; unclean: any replica, if nobody leads.',
      required: true,
    },
    topic: { argument: 'topic', help: 'A topic, with --partition.' },
    partition: { argument: 'partition', help: 'The partition, with --topic.' },
    'all-topic-partitions': { help: 'All partitions that want an election.' },
    'path-to-json-file': {
      argument: 'file',
      help: '{"partitions": [{"topic": "foo", "partition": 1}]}',
    },
  },
  table: true,
  wantsArguments: true,
  async run(given, io) {
    const type = given.required('election-type').toLowerCase()
    if (type !== 'preferred' && type !== 'unclean') {
      throw new UsageError(`--election-type is preferred or unclean, not ${JSON.stringify(type)}`)
    }
    const from = given.exactlyOne('topic', 'all-topic-partitions', 'path-to-json-file')
    if (given.has('partition') && from !== 'topic')
      throw new UsageError('--partition wants --topic')
    const partitions = (() => {
      if (from === 'all-topic-partitions') return null
      if (from === 'path-to-json-file') {
        return partitionsOfFile(given.required('path-to-json-file'), () => ({}))
      }
      given.required('partition')
      const partition = given.integer('partition', { min: 0 }) as number
      return [{ topic: given.required('topic'), partition }]
    })()
    const contact = {
      bootstrapServers: given.required('bootstrap-server'),
      configFile: given.value('admin.config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      const results = await admin
        .electLeaders(type, partitions, { timeoutMs: TIMEOUT_MS })
        .catch((error: unknown) => {
          if (!(error instanceof RequestTimedOutError)) throw error
          throw new ToolError('Timeout waiting for election results')
        })
      const nameOf = ({ topic, partition }: (typeof results)[number]) => `${topic}-${partition}`
      const done = results.filter(({ error }) => error === null)
      const idle = results.filter(({ error }) => error?.code === ELECTION_NOT_NEEDED)
      const failed = results.filter((one) => !done.includes(one) && !idle.includes(one))
      if (io.json) {
        io.print(
          JSON.stringify(
            results.map(({ topic, partition, error }) => ({
              topic,
              partition,
              elected: error === null,
              error: error?.code === ELECTION_NOT_NEEDED ? null : (error?.message ?? null),
            })),
          ),
        )
        return failed.length === 0 ? 0 : 1
      }
      const kind = type.toUpperCase()
      if (done.length > 0) {
        const names = done.map(nameOf).join(', ')
        io.print(`Successfully completed leader election (${kind}) for partitions ${names}`)
      }
      if (idle.length > 0) {
        const names = idle.map(nameOf).join(', ')
        io.print(`Valid replica already elected for partitions ${names}`)
      }
      for (const one of failed) {
        const what = `${nameOf(one)}: ${one.error?.message}`
        io.warn(`Error completing leader election (${kind}) for partition: ${what}`)
      }
      return failed.length === 0 ? 0 : 1
    })
  },
})
