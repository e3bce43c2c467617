/**
 * Drives kafkajs: kafkajs.js PACKAGES BOOTSTRAP, where PACKAGES is the `node_modules` folder that
 * holds it. It only produces: its consumer always needs a group. Codecs other than gzip are
 * registered by its user, here on top of the packages that we depend on anyway.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { compressFrame } from 'lz4-napi'
import { compress as compressSnappy } from 'snappy'
import { compress as compressZstd } from 'zstd-napi'
import type { DriverRequest, WireRecord } from '../../../support/driver.ts'

interface Message {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer | Buffer[] | null>>
  readonly timestamp: string
}

interface Producer {
  connect(): Promise<void>
  disconnect(): Promise<void>
  send(request: {
    topic: string
    acks: number
    compression: number
    messages: readonly Message[]
  }): Promise<readonly { baseOffset?: string }[]>
}

interface CodecImplementation {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
  decompress(buffer: Buffer): Promise<Buffer>
}

interface KafkajsModule {
  readonly Kafka: new (options: {
    brokers: readonly string[]
    logLevel: number
    retry: { retries: number }
  }) => { producer(options: { idempotent?: boolean }): Producer }
  readonly CompressionCodecs: Record<number, () => CodecImplementation>
}

const codecs = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const
const [packages, bootstrap] = process.argv.slice(2)
if (packages === undefined || bootstrap === undefined) throw new Error('PACKAGES BOOTSTRAP')
const { Kafka, CompressionCodecs } = createRequire(join(packages, 'x.js'))(
  'kafkajs',
) as KafkajsModule

function codecOf(compress: (bytes: Buffer) => Promise<Buffer>): () => CodecImplementation {
  return () => ({
    compress: (encoder) => compress(encoder.buffer),
    decompress: () => Promise.reject(new Error('this driver reads nothing')),
  })
}

CompressionCodecs[codecs.snappy] = codecOf((bytes) => compressSnappy(bytes))
CompressionCodecs[codecs.lz4] = codecOf((bytes) => compressFrame(bytes))
CompressionCodecs[codecs.zstd] = codecOf(async (bytes) => compressZstd(bytes))

const ERRORS_ONLY = 1
const LARGEST_CALL = 1_000_000
const kafka = new Kafka({
  brokers: [bootstrap],
  logLevel: ERRORS_ONLY,
  retry: { retries: 2 },
})

const bytesOf = (text: string | null) => (text === null ? null : Buffer.from(text, 'base64'))

/** kafkajs keeps headers in an object; a repeated name is an array. */
function headersOf(pairs: readonly (readonly [string, string | null])[]): Message['headers'] {
  const headers: Record<string, Buffer | Buffer[] | null> = {}
  for (const [name, text] of pairs) {
    const value = bytesOf(text)
    const present = headers[name]
    if (present === undefined || present === null || value === null) headers[name] = value
    else headers[name] = [present, value].flat()
  }
  return headers
}

/** kafkajs makes one batch of each call, so a call holds at most what one batch may. */
function* calls(records: readonly WireRecord[]): Generator<readonly WireRecord[]> {
  let call: WireRecord[] = []
  let size = 0
  for (const record of records) {
    const more = record.value?.length ?? 0
    if (call.length > 0 && size + more > LARGEST_CALL) {
      yield call
      call = []
      size = 0
    }
    call.push(record)
    size += more
  }
  yield call
}

async function produce(request: Extract<DriverRequest, { op: 'produce' }>): Promise<object> {
  const { idempotent } = request
  const producer = kafka.producer(idempotent === undefined ? {} : { idempotent })
  await producer.connect()
  try {
    const offsets: number[] = []
    for (const records of calls(request.records)) {
      const base = await send(producer, request, records)
      for (const i of records.keys()) offsets.push(base + i)
    }
    return { offsets }
  } finally {
    await producer.disconnect()
  }
}

async function send(
  producer: Producer,
  request: Extract<DriverRequest, { op: 'produce' }>,
  records: readonly WireRecord[],
): Promise<number> {
  const [result] = await producer.send({
    topic: request.topic,
    acks: request.acks,
    compression: codecs[request.codec],
    messages: records.map((record) => ({
      partition: request.partition,
      key: bytesOf(record.key),
      value: bytesOf(record.value),
      headers: headersOf(record.headers),
      timestamp: String(record.timestamp),
    })),
  })
  return Number(result?.baseOffset)
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as DriverRequest
  const answer =
    request.op === 'produce'
      ? await produce(request).catch((error: Error) => ({ error: error.message }))
      : { error: `this driver has no ${request.op}` }
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
