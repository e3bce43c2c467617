/**
 * Writes and reads through this package's own client without end: BOOTSTRAP TOPIC PARTITIONS RATE
 * [RACK] (see ../load-client.ts).
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Consumer } from '../../../../src/client/consumer.ts'
import { OffsetOutOfRangeError } from '../../../../src/client/errors.ts'
import { Producer } from '../../../../src/client/producer.ts'

const MOST_OUTSTANDING = 2000
const LOOK_EVERY_MS = 500
const STUCK_MS = 40_000
const READER = 'shardlog-reader'

const [bootstrapServers, topic, partitionsText, rateText, rack] = process.argv.slice(2)
if (bootstrapServers === undefined || topic === undefined) {
  throw new Error('BOOTSTRAP TOPIC PARTITIONS RATE [RACK]')
}
const partitions = Array.from({ length: Number(partitionsText) }, (_, i) => ({
  topic,
  partition: i,
}))
const common = {
  ...{ bootstrapServers, requestTimeoutMs: 5000, connectTimeoutMs: 2000 },
  ...{ retryBackoffMs: 50, retryBackoffMaxMs: 200 },
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

class Writer {
  readonly #name: string
  readonly #producer: Producer
  readonly #sent = partitions.map(() => 0)
  readonly #underway = partitions.map(() => 0)

  constructor(idempotent: boolean) {
    this.#name = idempotent ? 'shardlog-idempotent' : 'shardlog-plain'
    this.#producer = new Producer({
      ...{ ...common, acks: 'all', idempotent, deliveryTimeoutMs: 120_000 },
      ...(idempotent ? {} : { maxInFlight: 1 }),
    })
  }

  async send(partition: number): Promise<void> {
    if ((this.#underway[partition] ?? 0) >= MOST_OUTSTANDING) return
    const sequence = this.#sent[partition] ?? 0
    this.#count(this.#sent, partition, 1)
    this.#count(this.#underway, partition, 1)
    const place = `${this.#name} ${partition} ${sequence}`
    const sentMs = Date.now()
    try {
      const value = `${this.#name}:${partition}:${sequence}`
      const { offset } = await this.#producer.send({ topic: topic as string, partition, value })
      say(`ok ${place} ${offset} ${sentMs} ${Date.now()}`)
    } catch (error) {
      const why = String(error).replaceAll('\n', ' ')
      say(`indeterminate ${place} ${sentMs} ${Date.now()} ${why}`)
    }
    this.#count(this.#underway, partition, -1)
  }

  #count(counts: number[], partition: number, by: number): void {
    counts[partition] = (counts[partition] ?? 0) + by
  }

  async finish(): Promise<void> {
    await this.#producer.flush()
    for (const [partition, count] of this.#sent.entries()) {
      say(`sent ${this.#name} ${partition} ${count}`)
    }
  }
}

/** Says so when the reader waits for longer than any request may take, and in what. */
const turn = { what: 'poll', sinceMs: performance.now() }
function enter(what: string): void {
  turn.what = what
  turn.sinceMs = performance.now()
}
setInterval(() => {
  const forMs = performance.now() - turn.sinceMs
  if (forMs > STUCK_MS) process.stderr.write(`${READER} waits in ${turn.what} for ${forMs} ms\n`)
}, STUCK_MS).unref()

async function read(consumer: Consumer): Promise<never> {
  consumer.assign(partitions.map((one) => ({ ...one, offset: 0 })))
  let nextLookMs = 0
  for (;;) {
    try {
      enter('poll')
      const lines = new Map<number, string[]>()
      for (const { partition, offset, value } of await consumer.poll(200)) {
        const texts = lines.get(partition) ?? []
        lines.set(partition, texts)
        texts.push(`${offset} ${value}`)
      }
      for (const [partition, texts] of lines) {
        say(`read ${READER} ${partition} ${Date.now()} ${texts.join(' ')}`)
      }
      if (Date.now() < nextLookMs) continue
      nextLookMs = Date.now() + LOOK_EVERY_MS
      enter('endOffsets')
      const ends = await consumer.endOffsets(partitions)
      for (const [partition, end] of ends.entries()) {
        say(`watermark ${READER} latest ${partition} ${Date.now()} ${end}`)
      }
    } catch (error) {
      if (error instanceof OffsetOutOfRangeError)
        say(`refused ${READER} -1 ${Date.now()} -1 ${error}`)
      else process.stderr.write(`${error}\n`)
    }
  }
}

const consumer = new Consumer({
  ...{ ...common, autoOffsetReset: 'none', defaultApiTimeoutMs: 1000 },
  ...(rack === undefined ? {} : { clientRack: rack }),
})
const reading = read(consumer)
const writers = [new Writer(true), new Writer(false)]
const pulse = setInterval(() => {
  for (const writer of writers) {
    for (const { partition } of partitions) void writer.send(partition)
  }
}, 1000 / Number(rateText))
const input = createInterface({ input: process.stdin })
const ended = once(input, 'close')
await Promise.race([once(input, 'line'), ended, reading])
clearInterval(pulse)
await Promise.all(writers.map((writer) => writer.finish()))
say('stopped')
await ended
process.exit(0)
