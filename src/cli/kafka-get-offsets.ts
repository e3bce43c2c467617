/** `kafka-get-offsets`: offsets of partitions by time. */
import { OffsetSpec, type TopicPartition } from '../client/admin.ts'
import { BOOTSTRAP_SERVER, COMMAND_CONFIG } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError } from './kit/tool.ts'
import { topicFilter } from './kit/topic-filter.ts'
import { withAdmin } from './kit/with-admin.ts'

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': {
    argument: 'host:port,...',
    help: 'Brokers to begin with.',
    era: 'The older name of --bootstrap-server.',
  },
  'command-config': COMMAND_CONFIG,
  topic: { argument: 'topic', help: 'Topics, as a regular expression for whole names.' },
  partitions: { argument: 'p1,p2,...', help: 'Only these partitions.' },
  'topic-partitions': {
    argument: 'topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3',
    help: 'Topics as regular expressions, each with a partition or a range without its end.',
  },
  time: {
    argument: 'time',
    help:
      'Milliseconds: the first record from then on; or -1/latest, -2/earliest, ' +
      '-3/max-timestamp, -4/earliest-local, -5/latest-tiered.',
    default: 'latest',
  },
  'exclude-internal-topics': { help: 'Leaves out internal topics.' },
  offsets: { argument: 'count', help: 'Taken; one offset is printed.', era: '0.8' },
  'max-wait-ms': { argument: 'ms', help: 'Taken.', era: '0.8' },
} as const

type Options = ParsedOptions<keyof typeof options>

const TIMES: Readonly<Record<string, number>> = {
  latest: OffsetSpec.LATEST,
  earliest: OffsetSpec.EARLIEST,
  'max-timestamp': OffsetSpec.MAX_TIMESTAMP,
  'earliest-local': OffsetSpec.EARLIEST_LOCAL,
  'latest-tiered': OffsetSpec.LATEST_TIERED,
}

function timeOf(text: string): number {
  const named = TIMES[text]
  if (named !== undefined) return named
  const value = Number(text)
  if (/^-?\d+$/.test(text) && value >= -5 && Number.isSafeInteger(value)) return value
  throw new UsageError(
    `Malformed time argument ${text}`,
    `it is one of ${Object.keys(TIMES).join(', ')}, -1 to -5 or milliseconds`,
  )
}

interface Rule {
  readonly topic: (name: string) => boolean
  readonly partition: (partition: number) => boolean
}

function ruleOf(text: string): Rule {
  const match = /^([^:,]*)(?::(?:(\d+)|(\d*)-(\d*))?)?$/.exec(text)
  if (match === null) throw new UsageError(`Invalid rule specification: ${text}`)
  const [, name, one, low, high] = match
  const from = Number(low || 0)
  const to = high ? Number(high) : Number.POSITIVE_INFINITY
  return {
    topic: topicFilter(name || '.*'),
    partition: (partition) =>
      one === undefined ? partition >= from && partition < to : partition === Number(one),
  }
}

function filterOf(given: Options): (one: TopicPartition) => boolean {
  given.excludes('topic-partitions', 'topic', 'partitions')
  const rules = given.value('topic-partitions')?.split(',').map(ruleOf)
  if (rules !== undefined) {
    return ({ topic, partition }) =>
      rules.some((rule) => rule.topic(topic) && rule.partition(partition))
  }
  const fits = topicFilter(given.value('topic') ?? '.*')
  const text = given.value('partitions')
  if (text !== undefined && text !== '' && !/^\d+(,\d+)*$/.test(text)) {
    throw new UsageError(`--partitions wants numbers with commas, not ${JSON.stringify(text)}`)
  }
  const numbers = text ? new Set(text.split(',').map(Number)) : null
  return ({ topic, partition }) => fits(topic) && (numbers?.has(partition) ?? true)
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

export const kafkaGetOffsets = defineTool({
  name: 'kafka-get-offsets',
  summary: 'Prints offsets of partitions: topic:partition:offset.',
  options,
  table: true,
  wantsArguments: true,
  notes: ['The exit status is 1 when a partition cannot be asked for its offset.'],
  async run(given, io) {
    const servers = given.value('bootstrap-server') ?? given.value('broker-list')
    if (servers === undefined) throw new UsageError('--bootstrap-server is required')
    const timestamp = timeOf(given.value('time') ?? 'latest')
    const fits = filterOf(given)
    const contact = { bootstrapServers: servers, configFile: given.value('command-config') }
    return await withAdmin(contact, io, async (admin) => {
      const internal = !given.has('exclude-internal-topics')
      const topics = await admin.describeTopics(null)
      const partitions = topics
        .filter(({ isInternal }) => internal || !isInternal)
        .flatMap(({ name, partitions: all }) =>
          all.map(({ partition }) => ({ topic: name, partition })),
        )
        .filter(fits)
        // As text: that is the order in which Apache's tool prints them.
        .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
      if (partitions.length === 0) {
        throw new ToolError('Could not match any topic-partitions with the specified filters')
      }
      const found = await admin.listOffsets(partitions.map((one) => ({ ...one, timestamp })))
      const failed = found.filter(({ error }) => error !== null)
      const known = found.filter(({ error, offset }) => error === null && offset >= 0)
      if (io.json) {
        const list = known.map(({ topic, partition, offset }) => ({ topic, partition, offset }))
        io.print(JSON.stringify(list))
      } else {
        for (const one of known) io.print(`${one.topic}:${one.partition}:${one.offset}`)
      }
      for (const one of failed) {
        const text = one.error?.message
        io.warn(`Skip getting offsets for topic-partition ${nameOf(one)} due to error: ${text}`)
      }
      return failed.length === 0 ? 0 : 1
    })
  },
})
