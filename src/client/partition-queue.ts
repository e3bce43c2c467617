/**
 * What a producer has yet to get stored in one partition: batches that wait, batches under way, and
 * their sequence numbers. It decides what may be sent next and what an error means; it sends
 * nothing and has no clock of its own.
 *
 * With idempotence a batch keeps its sequence over all attempts, so that the broker recognizes what
 * it has already; batches that failed go again one by one, in order. When a sequence is lost for
 * good (a batch given up, state that the broker has dropped) what is left is numbered anew from 0
 * under the next epoch of the producer.
 */
import { ErrorCode, isRetriable } from '../protocol/error-codes.ts'
import { addToSequence, type ProducerBatch } from './producer-batch.ts'

/** So many batches of a partition a broker remembers to tell repetitions from gaps. */
const REMEMBERED_BATCHES = 5

/** Errors that may come after the records were stored. */
const UNDECIDED: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NETWORK_EXCEPTION,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
])

export interface ProducerIdentity {
  readonly producerId: number
  readonly epoch: number
}

/**
 * `stored`: it is there; `retry`: put it back; `split`: it is too large as a whole; `failed`: tell
 * its records.
 */
export type Verdict = 'stored' | 'retry' | 'split' | 'failed'

export interface PartitionQueueOptions {
  readonly topic: string
  readonly partition: number
  readonly isIdempotent: boolean
  /** With 1 the order is kept without idempotence too. */
  readonly maxInFlight: number
}

export class PartitionQueue {
  readonly topic: string
  readonly partition: number
  readonly #isIdempotent: boolean
  readonly #maxInFlight: number
  /** To be sent, in order; only the last may still be open. */
  readonly queue: ProducerBatch[] = []
  /**
   * Batches that have a sequence and no end yet, in its order, whether under way or put back;
   * without idempotence those under way.
   */
  readonly unfinished: ProducerBatch[] = []
  /** The producer wants its epoch raised and this partition numbered anew. */
  needsNewEpoch = false
  #identity: ProducerIdentity = { producerId: -1, epoch: -1 }
  #nextSequence = 0
  #lastAckedSequence = -1
  /** A batch that may or may not be stored was given up. */
  #hasGap = false

  constructor(options: PartitionQueueOptions) {
    this.topic = options.topic
    this.partition = options.partition
    this.#isIdempotent = options.isIdempotent
    this.#maxInFlight = options.maxInFlight
  }

  get isIdle(): boolean {
    return this.queue.length === 0 && this.unfinished.length === 0 && !this.needsNewEpoch
  }

  /** The batch that records are appended to, if there is one. */
  get open(): ProducerBatch | undefined {
    const last = this.queue.at(-1)
    return last === undefined || last.isClosed ? undefined : last
  }

  /**
   * The batch that may be sent now, or undefined. `identity` is the producer's, null while it has
   * none. Whether the batch is ripe is for the caller to say.
   */
  sendable(identity: ProducerIdentity | null): ProducerBatch | undefined {
    const first = this.queue[0]
    if (first === undefined) return undefined
    if (!this.#isIdempotent) {
      return this.#maxInFlight === 1 && this.unfinished.length > 0 ? undefined : first
    }
    if (this.needsNewEpoch || identity === null) return undefined
    // What failed goes again one by one: the one behind must not overtake it.
    if (first.hasSequence) return first === this.unfinished[0] ? first : undefined
    if (this.#hasGap || this.unfinished.length >= REMEMBERED_BATCHES) return undefined
    const isStale =
      identity.epoch !== this.#identity.epoch || identity.producerId !== this.#identity.producerId
    // Sequence 0 of a new epoch must not be stored before the rest of the old one.
    return isStale && this.unfinished.length > 0 ? undefined : first
  }

  /** Takes what `sendable` gave, numbers it and counts it as under way. */
  take(identity: ProducerIdentity | null): ProducerBatch {
    const batch = this.queue.shift() as ProducerBatch
    batch.isClosed = true
    batch.isSending = true
    batch.attempts += 1
    if (this.#isIdempotent && identity !== null && !batch.hasSequence) {
      const { producerId, epoch } = identity
      if (epoch !== this.#identity.epoch || producerId !== this.#identity.producerId) {
        this.#begin(identity)
      }
      batch.setProducer(producerId, epoch, this.#nextSequence)
      this.#nextSequence = addToSequence(this.#nextSequence, batch.recordCount)
      this.unfinished.push(batch)
    } else if (!this.unfinished.includes(batch)) {
      this.unfinished.push(batch)
    }
    batch.sentEpoch = batch.producerEpoch
    return batch
  }

  #begin(identity: ProducerIdentity): void {
    this.#identity = identity
    this.#nextSequence = 0
    this.#lastAckedSequence = -1
  }

  /** Says what the error code that a batch under way came back with means, and keeps count of it. */
  judge(batch: ProducerBatch, errorCode: number): Verdict {
    batch.isSending = false
    const isStored =
      errorCode === 0 || (this.#isIdempotent && errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER)
    if (isStored) {
      this.#stored(batch)
      return 'stored'
    }
    // Its records were told already that time is up; now its fate is known as well as it will be.
    if (batch.isDone) {
      this.#leaveGap(batch)
      return 'failed'
    }
    // Halves of what is stored as a whole would be stored again.
    const isDivisible = batch.recordCount > 1 && !(this.#isIdempotent && batch.mayBeStored)
    if (errorCode === ErrorCode.MESSAGE_TOO_LARGE && isDivisible) return 'split'
    if (this.#mayRetry(batch, errorCode)) {
      if (UNDECIDED.has(errorCode)) batch.mayBeStored = true
      return 'retry'
    }
    this.#leaveGap(batch)
    return 'failed'
  }

  #stored(batch: ProducerBatch): void {
    this.#drop(batch)
    if (!this.#isIdempotent) return
    if (batch.sentEpoch !== batch.producerEpoch) {
      // Stored under its old number: the new one stays free.
      this.#hasGap = true
    } else if (batch.producerEpoch === this.#identity.epoch) {
      this.#lastAckedSequence = addToSequence(batch.baseSequence, batch.recordCount - 1)
    }
    this.#afterGap()
  }

  #mayRetry(batch: ProducerBatch, errorCode: number): boolean {
    if (!this.#isIdempotent) return isRetriable(errorCode)
    const wasRenumbered = batch.sentEpoch !== batch.producerEpoch
    switch (errorCode) {
      case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
        // Behind one that failed it had to be refused; if it is the first, a number is lost.
        if (!wasRenumbered && this.unfinished[0] === batch) this.needsNewEpoch = true
        return true
      case ErrorCode.UNKNOWN_PRODUCER_ID:
        // The broker has dropped what it knew, with old segments or for its age.
        if (!wasRenumbered) this.needsNewEpoch = true
        return true
      case ErrorCode.INVALID_PRODUCER_EPOCH:
        return wasRenumbered
      default:
        return isRetriable(errorCode)
    }
  }

  #drop(batch: ProducerBatch): void {
    const at = this.unfinished.indexOf(batch)
    if (at >= 0) this.unfinished.splice(at, 1)
  }

  /** Puts back what is to be sent again, in its place. */
  putBack(batch: ProducerBatch): void {
    if (!this.#isIdempotent) {
      this.#drop(batch)
      this.queue.unshift(batch)
      return
    }
    const order = this.unfinished.indexOf(batch)
    let at = 0
    while (at < this.queue.length) {
      const other = this.unfinished.indexOf(this.queue[at] as ProducerBatch)
      if (other < 0 || other > order) break
      at += 1
    }
    this.queue.splice(at, 0, batch)
  }

  /** Puts back two halves in place of one. */
  replace(batch: ProducerBatch, halves: readonly ProducerBatch[]): void {
    const at = this.unfinished.indexOf(batch)
    if (at < 0 || !this.#isIdempotent) {
      this.#drop(batch)
      this.queue.unshift(...halves)
      return
    }
    this.unfinished.splice(at, 1, ...halves)
    for (const half of halves) this.putBack(half)
  }

  /** Gives up a batch whose records have been told that time is up. */
  giveUp(batch: ProducerBatch): void {
    const at = this.queue.indexOf(batch)
    if (at >= 0) this.queue.splice(at, 1)
    if (batch.isSending) {
      // It stays until its answer comes.
      this.#hasGap = this.#isIdempotent
      return
    }
    if (batch.hasSequence) this.#leaveGap(batch)
    else this.#drop(batch)
  }

  /** A batch has failed that has a number, and may or may not be stored. */
  #leaveGap(batch: ProducerBatch): void {
    this.#drop(batch)
    if (!this.#isIdempotent) return
    this.#hasGap = true
    this.#afterGap()
  }

  /**
   * Those behind a gap go on under their numbers: the broker refuses the first of them if the batch
   * before it is missing, and only then is it sure that none of them is stored. New batches wait
   * until all have come back.
   */
  #afterGap(): void {
    if (!this.#hasGap || this.unfinished.length > 0) return
    this.#hasGap = false
    const next = this.#lastAckedSequence < 0 ? 0 : addToSequence(this.#lastAckedSequence, 1)
    if (next !== this.#nextSequence) this.needsNewEpoch = true
  }

  /** Numbers what has no end yet from 0 under a new epoch. */
  renumber(identity: ProducerIdentity): void {
    this.needsNewEpoch = false
    this.#hasGap = false
    this.#begin(identity)
    for (const batch of this.unfinished) {
      if (batch.isDone) continue
      batch.mayBeStored = false
      batch.setProducer(identity.producerId, identity.epoch, this.#nextSequence)
      this.#nextSequence = addToSequence(this.#nextSequence, batch.recordCount)
    }
  }
}
