/** `kafka-dump-log`: what is in the files of a partition. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { classDecoder, type RecordDecoder } from './dump-log/decoders.ts'
import { LineWriter } from './kit/line-writer.ts'
import type { ParsedOptions } from './kit/options.ts'
import { defineTool, ToolError } from './kit/tool.ts'

const STRING_DECODER = 'org.apache.kafka.tools.api.StringDecoder'
const MESSAGE_BYTES_MAX = 5 * 1024 * 1024

const options = {
  files: {
    argument: 'file1,file2,...',
    help:
      'Files to dump, each by its ending: .log .index .timeindex .txnindex .snapshot .checkpoint; ' +
      'text checkpoints by their name.',
    required: true,
  },
  'print-data-log': { help: 'Prints keys and values too. Any decoder option implies it.' },
  'deep-iteration': { help: 'Prints every record. Implied by --print-data-log.' },
  'skip-record-metadata': { help: 'Leaves out everything but key and value of each record.' },
  'verify-index-only': { help: 'Compares index files with the log and prints only what is wrong.' },
  'index-sanity-check': { help: 'Checks index files as a broker does when it starts.' },
  'max-message-size': {
    argument: 'bytes',
    help: 'Size of the largest batch that an index is compared with.',
    default: String(MESSAGE_BYTES_MAX),
  },
  'max-bytes': { argument: 'bytes', help: 'Reads only the start of a .log file.' },
  'key-decoder-class': {
    argument: 'class',
    argumentOptional: true,
    help: 'How keys are printed: StringDecoder, IntegerDecoder, LongDecoder or DefaultDecoder.',
    default: STRING_DECODER,
  },
  'value-decoder-class': {
    argument: 'class',
    argumentOptional: true,
    help: 'How values are printed.',
    default: STRING_DECODER,
  },
  'offsets-decoder': { help: 'Reads the records of __consumer_offsets.' },
  'transaction-log-decoder': { help: 'Reads the records of __transaction_state.' },
  'cluster-metadata-decoder': { help: 'Refused: there is no metadata log here.' },
  'remote-log-metadata-decoder': { help: 'Refused: there is no remote storage here.' },
} as const

type Options = ParsedOptions<keyof typeof options>

const DECODER_OPTIONS = [
  'offsets-decoder',
  'transaction-log-decoder',
  'cluster-metadata-decoder',
  'remote-log-metadata-decoder',
  'key-decoder-class',
  'value-decoder-class',
] as const

async function decoderOf(given: Options): Promise<RecordDecoder> {
  const one = given.atMostOne(
    'offsets-decoder',
    'transaction-log-decoder',
    'cluster-metadata-decoder',
    'remote-log-metadata-decoder',
  )
  if (one === 'offsets-decoder') {
    return (await import('./dump-log/offsets-decoder.ts')).decodeOffsetsRecord
  }
  if (one === 'transaction-log-decoder') {
    return (await import('./dump-log/transactions-decoder.ts')).decodeTransactionRecord
  }
  if (one !== undefined) {
    throw new ToolError(`--${one} is not supported`, 'no log of this kind exists here')
  }
  return classDecoder(
    given.value('key-decoder-class') ?? STRING_DECODER,
    given.value('value-decoder-class') ?? STRING_DECODER,
  )
}

/** Files of lines: replication-offset-checkpoint, leader-epoch-checkpoint and so on. */
function dumpText(path: string, writer: LineWriter): void {
  try {
    for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) writer.line(line)
  } catch (error) {
    throw new ToolError(`cannot read ${path}: ${(error as Error).message}`)
  }
}

export const kafkaDumpLog = defineTool({
  name: 'kafka-dump-log',
  summary: 'Prints what is in log segments, indexes and snapshots.',
  options,
  wantsArguments: true,
  notes: [
    'The exit status is 1 when a file cannot be read or an index does not fit its log, where',
    "Apache Kafka's tool says 0.",
  ],
  async run(given, io) {
    const paths = given.required('files').split(',')
    const printData = given.has('print-data-log') || given.which(...DECODER_OPTIONS).length > 0
    const indexOptions = {
      verifyOnly: given.has('verify-index-only'),
      sanityOnly: given.has('index-sanity-check'),
      messageBytesMax: given.integer('max-message-size', { min: 1 }) ?? MESSAGE_BYTES_MAX,
    }
    const decoder = await decoderOf(given)
    const writer = new LineWriter(io.stdout)
    const context = { options: indexOptions, io, writer }
    const gaps: [string, readonly (readonly [number, number])[]][] = []
    let problems = 0
    const dump = async (path: string): Promise<void> => {
      writer.line(`Dumping ${path}`)
      const name = basename(path)
      const ending = name.slice(name.lastIndexOf('.') + 1)
      if (ending === 'log' || ending === 'checkpoint') {
        const { dumpSegment } = await import('./dump-log/dump-segment.ts')
        const segment = {
          printData,
          deep: printData || given.has('deep-iteration'),
          skipRecordMetadata: given.has('skip-record-metadata'),
          bytesMax: given.integer('max-bytes', { min: 0 }) ?? Number.POSITIVE_INFINITY,
          decoder,
        }
        gaps.push([path, await dumpSegment(path, segment, io, writer)])
        return
      }
      if (name.endsWith('-checkpoint')) return dumpText(path, writer)
      const indexes = await import('./dump-log/dump-index.ts')
      if (ending === 'index') problems += await indexes.dumpOffsetIndex(path, context)
      else if (ending === 'timeindex') problems += await indexes.dumpTimeIndex(path, context)
      else if (ending === 'txnindex') indexes.dumpTransactionIndex(path, context)
      else if (ending === 'snapshot') indexes.dumpProducerSnapshot(path, context)
      else throw new ToolError(`Ignoring unknown file ${path}`)
    }
    for (const path of paths) {
      if (io.signal.aborted) break
      try {
        await dump(path)
        await writer.flush()
      } catch (error) {
        await writer.flush()
        io.warn((error as Error).message)
        problems += 1
      }
    }
    for (const [path, pairs] of gaps) {
      if (pairs.length > 0) io.warn(`Non-consecutive offsets in ${path}`)
      for (const [first, second] of pairs) io.warn(`  ${first} is followed by ${second}`)
    }
    return problems === 0 ? 0 : 1
  },
})
