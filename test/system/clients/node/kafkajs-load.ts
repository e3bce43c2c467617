/**
 * Writes through kafkajs without end: BOOTSTRAP TOPIC PARTITIONS RATE (see ../load-client.ts). It
 * reads nothing, as its consumer always needs a group.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Kafka, logLevel, type Producer } from 'kafkajs'

const MOST_WAITING = 2000
const MOST_PER_CALL = 200
const REQUEST_TIMEOUT_MS = 5000
const DELIVERY_TIMEOUT_MS = 120_000
const RETRY_MS = 200

const [bootstrap, topic, partitionsText, rateText] = process.argv.slice(2)
if (bootstrap === undefined || topic === undefined)
  throw new Error('BOOTSTRAP TOPIC PARTITIONS RATE')
const partitions = Number(partitionsText)
const rate = Number(rateText)

const kafka = new Kafka({
  brokers: bootstrap.split(','),
  logLevel: logLevel.NOTHING,
  requestTimeout: REQUEST_TIMEOUT_MS,
  connectionTimeout: 2000,
  retry: { initialRetryTime: 50, maxRetryTime: RETRY_MS, retries: DELIVERY_TIMEOUT_MS / RETRY_MS },
})

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

interface Waiting {
  readonly sequence: number
  readonly sentMs: number
}

/**
 * When a broker goes kafkajs may mix up those that are left (2.2.4): from then on it sends Produce
 * requests that name no topic, and takes the empty answers for success. Only another producer ends
 * that; nothing of such a call was sent.
 */
class RenewedProducer {
  readonly #isIdempotent: boolean
  current: Promise<Producer>

  constructor(isIdempotent: boolean) {
    this.#isIdempotent = isIdempotent
    this.current = this.#open()
  }

  /** Unless another lane has done it. */
  renew(mixedUp: Promise<Producer>): void {
    if (this.current === mixedUp) this.current = this.#open()
  }

  async #open(): Promise<Producer> {
    const idempotent = this.#isIdempotent
    const producer = kafka.producer({
      idempotent,
      ...(idempotent ? { maxInFlightRequests: 1 } : {}),
    })
    await producer.connect()
    return producer
  }
}

/** One partition of one producer: a call at a time, with all that has come since the last. */
class Lane {
  readonly #name: string
  readonly #partition: number
  readonly #producer: RenewedProducer
  #waiting: Waiting[] = []
  #sent = 0
  #sending: Promise<void> | null = null

  constructor(options: { name: string; partition: number; producer: RenewedProducer }) {
    this.#name = options.name
    this.#partition = options.partition
    this.#producer = options.producer
  }

  add(): void {
    if (this.#waiting.length >= MOST_WAITING) return
    this.#waiting.push({ sequence: this.#sent, sentMs: Date.now() })
    this.#sent += 1
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = null
    })
  }

  async #sendAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const records = this.#waiting.slice(0, MOST_PER_CALL)
      this.#waiting = this.#waiting.slice(MOST_PER_CALL)
      await this.#send(records)
    }
  }

  async #send(records: readonly Waiting[]): Promise<void> {
    const place = ({ sequence }: Waiting) => `${this.#name} ${this.#partition} ${sequence}`
    try {
      const base = await this.#store(records)
      for (const [i, record] of records.entries()) {
        const offset = base < 0 ? -1 : base + i
        say(`ok ${place(record)} ${offset} ${record.sentMs} ${Date.now()}`)
      }
    } catch (error) {
      const why = String(error).replaceAll('\n', ' ')
      for (const record of records) {
        say(`indeterminate ${place(record)} ${record.sentMs} ${Date.now()} ${why}`)
      }
    }
  }

  /** Their base offset, or −1 where it is not known. */
  async #store(records: readonly Waiting[]): Promise<number> {
    const deadline = Date.now() + DELIVERY_TIMEOUT_MS
    while (Date.now() < deadline) {
      const used = this.#producer.current
      const [stored] = await (await used).send({
        topic: topic as string,
        acks: -1,
        timeout: REQUEST_TIMEOUT_MS,
        messages: records.map(({ sequence }) => ({
          partition: this.#partition,
          value: `${this.#name}:${this.#partition}:${sequence}`,
        })),
      })
      if (stored !== undefined) return Number(stored.baseOffset ?? -1)
      this.#producer.renew(used)
    }
    throw new Error('answers name no partition')
  }

  async finish(): Promise<void> {
    await this.#sending
    say(`sent ${this.#name} ${this.#partition} ${this.#sent}`)
  }
}

const lanes: Lane[] = []
for (const idempotent of [true, false]) {
  const producer = new RenewedProducer(idempotent)
  await producer.current
  const name = idempotent ? 'kafkajs-idempotent' : 'kafkajs-plain'
  for (let partition = 0; partition < partitions; partition += 1) {
    lanes.push(new Lane({ name, partition, producer }))
  }
}
const pulse = setInterval(() => {
  for (const lane of lanes) lane.add()
}, 1000 / rate)
const input = createInterface({ input: process.stdin })
const ended = once(input, 'close')
await Promise.race([once(input, 'line'), ended])
clearInterval(pulse)
await Promise.all(lanes.map((lane) => lane.finish()))
say('stopped')
await ended
process.exit(0)
