/**
 * Random histories of the producer's queue of one partition against a model of a broker: answers
 * that get lost with the connection, before or after the records were stored; refusals; batches
 * given up while they wait or are under way; batches that are split. Whatever happens, no record is
 * stored twice or out of order, and what was acknowledged is stored.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PartitionQueue, type ProducerIdentity } from '../../src/client/partition-queue.ts'
import { addToSequence, ProducerBatch } from '../../src/client/producer-batch.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'

const REMEMBERED = 5

/** A request on its way: the bytes of a batch are fixed when it is sent. */
interface Request {
  readonly batch: ProducerBatch
  readonly epoch: number
  readonly sequence: number
  readonly records: readonly number[]
}

/** What a broker keeps of one producer in one partition, and how it judges a batch. */
class ModelBroker {
  readonly log: number[] = []
  #epoch = -1
  #last: { sequence: number; count: number }[] = []

  append({ epoch, sequence, records }: Request): number {
    if (epoch < this.#epoch) return ErrorCode.INVALID_PRODUCER_EPOCH
    const isKnown = this.#last.some(
      (one) => epoch === this.#epoch && one.sequence === sequence && one.count === records.length,
    )
    if (isKnown) return ErrorCode.DUPLICATE_SEQUENCE_NUMBER
    const last = epoch === this.#epoch ? this.#last.at(-1) : undefined
    const next = last === undefined ? 0 : addToSequence(last.sequence, last.count)
    if (sequence !== next) return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    if (epoch !== this.#epoch) this.#last = []
    this.#epoch = epoch
    this.#last.push({ sequence, count: records.length })
    if (this.#last.length > REMEMBERED) this.#last.shift()
    this.log.push(...records)
    return ErrorCode.NONE
  }
}

class History {
  readonly broker = new ModelBroker()
  readonly stored = new Set<number>()
  readonly failed = new Set<number>()
  readonly #queue = new PartitionQueue({
    topic: 't',
    partition: 0,
    isIdempotent: true,
    maxInFlight: 5,
  })
  readonly #recordsOf = new Map<ProducerBatch, readonly number[]>()
  #identity: ProducerIdentity = { producerId: 7, epoch: 0 }
  #pipeline: Request[] = []
  recordCount = 0

  /** A batch of `count` records. */
  add(count: number): void {
    const batch = new ProducerBatch({
      topic: 't',
      partition: 0,
      createdMs: 0,
      buffer: Buffer.alloc(1000),
    })
    const records: number[] = []
    for (let i = 0; i < count; i += 1) {
      const number = this.recordCount
      this.recordCount += 1
      records.push(number)
      const record = { key: null, value: `${number}`, headers: [], timestamp: 1 }
      batch.append(
        record,
        () => this.stored.add(number),
        () => this.failed.add(number),
      )
    }
    this.#recordsOf.set(batch, records)
    this.#queue.queue.push(batch)
  }

  send(): void {
    if (this.#queue.needsNewEpoch) {
      this.#identity = { producerId: 7, epoch: this.#identity.epoch + 1 }
      this.#queue.renumber(this.#identity)
    }
    if (this.#queue.sendable(this.#identity) === undefined || this.#pipeline.length >= 5) return
    const batch = this.#queue.take(this.#identity)
    this.#pipeline.push({
      batch,
      epoch: batch.producerEpoch,
      sequence: batch.baseSequence,
      records: this.#recordsOf.get(batch) ?? [],
    })
  }

  /** Another partition of the producer has lost a number. */
  raiseEpoch(): void {
    this.#identity = { producerId: 7, epoch: this.#identity.epoch + 1 }
  }

  /** The broker takes the oldest request and its answer arrives. */
  answer(): void {
    const request = this.#pipeline.shift()
    if (request !== undefined) this.#finish(request, this.broker.append(request))
  }

  /** The broker refuses the oldest request without a look at its records. */
  refuse(errorCode: number): void {
    const request = this.#pipeline.shift()
    if (request !== undefined) this.#finish(request, errorCode)
  }

  /** The connection breaks after the broker has taken some of the requests. */
  breakOff(taken: number): void {
    const requests = this.#pipeline
    this.#pipeline = []
    for (const request of requests.slice(0, taken)) this.broker.append(request)
    for (const request of requests) this.#finish(request, ErrorCode.NETWORK_EXCEPTION)
  }

  /** Time is up for a batch that waits or is under way. */
  expire(which: number): void {
    const all = [...new Set([...this.#queue.unfinished, ...this.#queue.queue])]
    const batch = all.filter(({ isDone }) => !isDone)[which]
    if (batch === undefined) return
    batch.fail(() => new Error('time is up'))
    this.#queue.giveUp(batch)
  }

  #finish({ batch }: Request, errorCode: number): void {
    switch (this.#queue.judge(batch, errorCode)) {
      case 'stored':
        batch.complete(0, -1)
        break
      case 'retry':
        this.#queue.putBack(batch)
        break
      case 'split': {
        const halves = batch.split((bytes) => Buffer.alloc(bytes))
        const records = this.#recordsOf.get(batch) ?? []
        this.#recordsOf.set(halves[0], records.slice(0, halves[0].recordCount))
        this.#recordsOf.set(halves[1], records.slice(halves[0].recordCount))
        this.#queue.replace(batch, halves)
        break
      }
      case 'failed':
        batch.fail(() => new Error('refused'))
        break
    }
  }

  /** From now on all goes well: everything comes to an end. */
  settle(): void {
    for (let step = 0; !this.#queue.isIdle; step += 1) {
      assert.ok(step < 1000, 'the queue does not come to an end')
      this.send()
      this.answer()
    }
  }
}

const action = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('add'), n: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('send'), n: fc.constant(0) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('answer'), n: fc.constant(0) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('break'), n: fc.nat(5) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('refuse'),
      n: fc.constantFrom(
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.TOPIC_AUTHORIZATION_FAILED,
        ErrorCode.MESSAGE_TOO_LARGE,
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('expire'), n: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('raise'), n: fc.constant(0) }) },
)

test('no record is stored twice or out of order, whatever fails', () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 1, maxLength: 80 }), (actions) => {
      const history = new History()
      for (const { do: what, n } of actions) {
        if (what === 'add') history.add(n)
        else if (what === 'send') history.send()
        else if (what === 'answer') history.answer()
        else if (what === 'raise') history.raiseEpoch()
        else if (what === 'break') history.breakOff(n)
        else if (what === 'refuse') history.refuse(n)
        else history.expire(n)
      }
      history.settle()
      const { log } = history.broker
      for (let i = 1; i < log.length; i += 1) {
        assert.ok((log[i] as number) > (log[i - 1] as number), `the log is ${log}`)
      }
      const inLog = new Set(log)
      for (const number of history.stored) assert.ok(inLog.has(number), `${number} is missing`)
      assert.equal(history.stored.size + history.failed.size, history.recordCount)
    }),
    { numRuns: 20_000 },
  )
})
