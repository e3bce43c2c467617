/** `kafka-verifiable-producer`: sends numbers, and prints what became of each as JSON. */
import { Producer } from '../client/producer.ts'
import { BOOTSTRAP_SERVER, readPropertiesFile } from './kit/connection.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { producerOptionsOf } from './kit/producer-options.ts'
import { defineTool, type ToolIo } from './kit/tool.ts'
import { Pace, pause } from './measuring/pace.ts'

const TURN = 64

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'broker-list': { argument: 'host:port,...', help: 'The older name of --bootstrap-server.' },
  topic: { argument: 'topic', help: 'The topic to send to.', required: true },
  'max-messages': { argument: 'count', help: 'How many; -1 for no end.', default: '-1' },
  throughput: { argument: 'records/s', help: 'The most a second; -1 for no limit.', default: '-1' },
  acks: { argument: '0|1|-1', help: 'Who must have a record.', default: '-1' },
  'producer.config': { argument: 'file', help: 'Properties of the producer.' },
  'message-create-time': { argument: 'ms', help: 'Timestamp of the first record; now.' },
  'value-prefix': { argument: 'number', help: 'Values are this, a dot, and their number.' },
  'repeating-keys': { argument: 'count', help: 'Keys are 0 to this, over and over.' },
} as const

async function run(given: ParsedOptions<keyof typeof options>, io: ToolIo): Promise<number> {
  const servers = given.value('bootstrap-server') ?? given.value('broker-list')
  if (servers === undefined) throw new UsageError('--bootstrap-server is required')
  const topic = given.required('topic')
  const most = given.integer('max-messages', { min: -1 }) ?? -1
  const throughput = Number(given.value('throughput') ?? '-1')
  if (!Number.isFinite(throughput)) throw new UsageError('--throughput wants a number')
  const file = given.value('producer.config')
  const properties = file === undefined ? new Map<string, string>() : await readPropertiesFile(file)
  properties.set('acks', given.value('acks') ?? '-1')
  const prefix = given.integer('value-prefix')
  const keys = given.integer('repeating-keys', { min: 1 })
  const createTime = given.integer('message-create-time', { min: -1 })
  const producer = new Producer(producerOptionsOf(properties, servers))
  const tell = (name: string, fields: Readonly<Record<string, unknown>> = {}): void =>
    io.print(JSON.stringify({ timestamp: Date.now(), name, ...fields }))
  const startMs = performance.now()
  const pace = new Pace(throughput)
  let sent = 0
  let acked = 0
  tell('startup_complete')
  try {
    while ((most < 0 || sent < most) && !io.signal.aborted) {
      const waitMs = pace.waitMs(sent)
      if (waitMs >= 1) await pause(waitMs, io.signal)
      else if (sent % TURN === TURN - 1) await new Promise(setImmediate)
      if (io.signal.aborted) break
      const value = prefix === undefined ? `${sent}` : `${prefix}.${sent}`
      const key = keys === undefined ? null : `${sent % keys}`
      const timestamp =
        createTime === undefined || createTime < 0
          ? undefined
          : Math.round(createTime + performance.now() - startMs)
      sent += 1
      producer.send({ topic, key, value, timestamp }).then(
        ({ partition, offset }) => {
          acked += 1
          tell('producer_send_success', { key, value, offset, topic, partition })
        },
        (error: Error) => {
          const { message } = error
          tell('producer_send_error', { key, value, topic, exception: error.name, message })
        },
      )
      if (!producer.isReady) await producer.ready()
    }
    await producer.flush()
  } finally {
    await producer.close()
  }
  tell('shutdown_complete')
  const seconds = Math.max(0.001, (performance.now() - startMs) / 1000)
  tell('tool_data', {
    sent,
    acked,
    target_throughput: throughput,
    avg_throughput: acked / seconds,
  })
  return acked === sent ? 0 : 1
}

export const kafkaVerifiableProducer = defineTool({
  name: 'kafka-verifiable-producer',
  summary: 'Sends numbers, and prints what became of each as a line of JSON.',
  options,
  wantsArguments: true,
  run,
})
