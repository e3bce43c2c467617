// Hot path.
/**
 * Sends records to the leaders of their partitions, in batches.
 *
 * Records are copied into the open batch of their partition as they come. A batch goes out when it
 * is full or `lingerMs` old, at most `maxInFlight` requests to a broker at a time; what fails for a
 * reason that may pass goes again, until `deliveryTimeoutMs`. With `idempotent` (PartitionQueue)
 * every record is stored once and in order. Memory is bounded by `bufferBytes`: above it `send`
 * waits for room.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import { InitProducerId } from '../protocol/messages/init-producer-id.ts'
import { type Checksum, RECORD_BATCH_OVERHEAD_BYTES } from '../protocol/record-batch.ts'
import { type Timer, TimerQueue } from '../util/timer-queue.ts'
import { BrokerSender, type ProduceOutcome, type Shipment } from './broker-sender.ts'
import type { ClientOptions } from './client-options.ts'
import { Cluster, type TopicMetadata } from './cluster.ts'
import { type Compress, type CompressionType, codecOf, loadCompress, loadCrc32c } from './codecs.ts'
import {
  BufferExhaustedError,
  ClientClosedError,
  ClientError,
  DeliveryTimeoutError,
  errorFor,
  InvalidArgumentError,
} from './errors.ts'
import { Fifo } from './fifo.ts'
import { partitionOfKey } from './murmur2.ts'
import { PartitionQueue, type ProducerIdentity } from './partition-queue.ts'
import { createPartitioner, type Partitioner, type PartitionerName } from './partitioner.ts'
import {
  type EncodableRecord,
  type HeaderInput,
  type Part,
  ProducerBatch,
  type RecordMetadata,
  type Reject,
  type Resolve,
  recordBytesMax,
} from './producer-batch.ts'

export type { HeaderInput, RecordMetadata } from './producer-batch.ts'

export interface ProducerOptions extends ClientOptions {
  /** Who must have a record before it counts: 0 nobody, 1 the leader, -1 or `all` all in sync. */
  readonly acks?: 0 | 1 | -1 | 'all'
  /** How long a batch waits for more records; 0 ms: those of the same turn still share one. */
  readonly lingerMs?: number
  /** A batch is full at so many bytes before compression; 16384. A larger record has its own. */
  readonly batchBytes?: number
  /** `none` */
  readonly compression?: CompressionType
  /** Of gzip or zstd. */
  readonly compressionLevel?: number
  /** Every record once and in order, whatever fails; true with acks -1, and only there. */
  readonly idempotent?: boolean
  /** Requests to a broker without an answer; 5, the most that `idempotent` allows. */
  readonly maxInFlight?: number
  /** From `send` until a record is stored or has failed; 120000 ms. */
  readonly deliveryTimeoutMs?: number
  /** How long `send` waits for room or for the topic to be known; 60000 ms. */
  readonly maxBlockMs?: number
  /** Memory for records that are not stored yet; 32 MiB. */
  readonly bufferBytes?: number
  /** A larger record is refused; 1 MiB. */
  readonly maxRequestBytes?: number
  /** For records without partition and key; `sticky`. */
  readonly partitioner?: PartitionerName
  /** Topics that do not exist are created if the broker does so; true. */
  readonly allowAutoTopicCreation?: boolean
}

/** A record to be sent. Text goes out as UTF-8. */
export interface ProducerRecord {
  readonly topic: string
  /** By the key if left out, as Java's clients do; by the partitioner without a key. */
  readonly partition?: number | undefined
  readonly key?: Part | undefined
  /** null deletes the key from a compacted topic. */
  readonly value: Part
  readonly headers?: readonly HeaderInput[] | undefined
  /** Milliseconds since 1970; now if left out. */
  readonly timestamp?: number | undefined
}

export interface CloseOptions {
  /** How long to wait for records to be stored; `deliveryTimeoutMs` if left out. */
  readonly timeoutMs?: number
}

/** A record that waits for room or for its topic to be known. */
interface WaitingRecord {
  readonly deadlineMs: number
  readonly topic: TopicState
  readonly partition: number | undefined
  readonly record: EncodableRecord
  readonly bytes: number
  readonly resolve: Resolve
  readonly reject: Reject
}

interface TopicState {
  readonly name: string
  readonly partitioner: Partitioner
  /** By partition; made when the first record comes. */
  readonly queues: (PartitionQueue | undefined)[]
  /** By partition; -1 if there is none. */
  leaders: readonly number[]
  /** Partitions that have a leader. */
  available: readonly number[]
  /** 0 while the topic is not known. */
  partitionCount: number
  knownAtMs: number
  /** What was answered last in place of partitions. */
  errorCode: number
  readonly waiting: Fifo<WaitingRecord>
}

const NO_HEADERS: readonly HeaderInput[] = []
/** Records that may wait for room: whoever sends without ever awaiting is told so in the end. */
const WAITING_RECORDS_MAX = 1_000_000
const EPOCH_MAX = 32767
const IDEMPOTENT_IN_FLIGHT_MAX = 5

/** Errors that say that the leader is another than the one that was asked. */
const METADATA_ERRORS: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REPLICA_NOT_AVAILABLE,
  ErrorCode.NETWORK_EXCEPTION,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_ID,
])

/** The ends of the promise that was made last: without a closure for each. */
let lastResolve: Resolve
let lastReject: Reject
const takeEnds = (resolve: Resolve, reject: Reject): void => {
  lastResolve = resolve
  lastReject = reject
}

interface Settings {
  readonly acks: 0 | 1 | -1
  readonly lingerMs: number
  readonly batchBytes: number
  readonly codec: number
  readonly compressionLevel: number | undefined
  readonly isIdempotent: boolean
  readonly maxInFlight: number
  readonly deliveryTimeoutMs: number
  readonly maxBlockMs: number
  readonly bufferBytes: number
  readonly maxRequestBytes: number
  readonly partitioner: PartitionerName
  readonly allowAutoTopicCreation: boolean
}

function atLeast(
  name: string,
  value: number | undefined,
  least: number,
  otherwise: number,
): number {
  const taken = value ?? otherwise
  if (!(taken >= least)) throw new InvalidArgumentError(`${name} is ${taken}, below ${least}`)
  return taken
}

function settingsOf(options: ProducerOptions): Settings {
  const acks = options.acks === undefined || options.acks === 'all' ? -1 : options.acks
  if (acks !== 0 && acks !== 1 && acks !== -1) {
    throw new InvalidArgumentError(`acks is ${String(acks)}, and not 0, 1, -1 or all`)
  }
  const isIdempotent = options.idempotent ?? acks === -1
  if (isIdempotent && acks !== -1) throw new InvalidArgumentError('idempotent wants acks -1')
  const maxInFlight = atLeast('maxInFlight', options.maxInFlight, 1, 5)
  if (isIdempotent && maxInFlight > IDEMPOTENT_IN_FLIGHT_MAX) {
    throw new InvalidArgumentError(
      `maxInFlight is ${maxInFlight}: idempotent wants ${IDEMPOTENT_IN_FLIGHT_MAX} at the most`,
    )
  }
  return {
    acks,
    isIdempotent,
    maxInFlight,
    lingerMs: atLeast('lingerMs', options.lingerMs, 0, 0),
    batchBytes: atLeast('batchBytes', options.batchBytes, RECORD_BATCH_OVERHEAD_BYTES, 16_384),
    codec: codecOf(options.compression ?? 'none'),
    compressionLevel: options.compressionLevel,
    deliveryTimeoutMs: atLeast('deliveryTimeoutMs', options.deliveryTimeoutMs, 1, 120_000),
    maxBlockMs: atLeast('maxBlockMs', options.maxBlockMs, 0, 60_000),
    bufferBytes: atLeast('bufferBytes', options.bufferBytes, 1, 32 * 1024 * 1024),
    maxRequestBytes: atLeast('maxRequestBytes', options.maxRequestBytes, 1, 1024 * 1024),
    partitioner: options.partitioner ?? 'sticky',
    allowAutoTopicCreation: options.allowAutoTopicCreation ?? true,
  }
}

function checkedPart(part: unknown, what: string): Part {
  if (part === undefined || part === null) return null
  if (typeof part === 'string' || part instanceof Uint8Array) return part
  throw new InvalidArgumentError(`${what} is neither text nor bytes nor null`)
}

export class Producer {
  readonly #cluster: Cluster
  readonly #settings: Settings
  readonly #timers: TimerQueue
  readonly #topics = new Map<string, TopicState>()
  readonly #senders = new Map<number, BrokerSender>()
  /** Queues that hold anything, those that sent last at the end. */
  readonly #active = new Set<PartitionQueue>()
  readonly #roomless = new Fifo<WaitingRecord>()
  readonly #waitingTopics = new Set<TopicState>()
  readonly #staleTopics = new Set<TopicState>()
  readonly #pool: Buffer[] = []
  #usedBytes = 0
  #waitingCount = 0
  #onAdmission: (() => void)[] = []
  #onRoom: (() => void)[] = []
  /** What batches are sealed with; null until it is loaded. */
  #tools: { readonly crc32c: Checksum; readonly compress: Compress | null } | null = null
  #isPreparing = false
  #identity: ProducerIdentity | null = null
  #isIdentifying = false
  #isRefreshing = false
  #nextRefreshMs = 0
  #isScheduled = false
  #timer: Timer | null = null
  #wakeMs = Number.POSITIVE_INFINITY
  #flushing = 0
  #fatal: Error | null = null
  #closing: Promise<void> | null = null
  #isClosed = false

  /** Connects when the first record comes. Throws InvalidArgumentError. */
  constructor(options: ProducerOptions) {
    this.#settings = settingsOf(options)
    this.#cluster = new Cluster(options)
    // To refuse a wrong name now.
    this.#createPartitioner()
    this.#timers = new TimerQueue(this.#cluster.options.clock)
  }

  /**
   * Sends a record, or several, and tells where they are stored. What is not awaited is sent all the
   * same, but its promise wants a handler for failure, as any. Await `ready()` now and then to go no
   * faster than the brokers. Key and value are copied before this returns, unless there is no room
   * or the topic is not known yet.
   *
   * Rejects with the broker's KafkaError, DeliveryTimeoutError, BufferExhaustedError,
   * InvalidArgumentError or ClientClosedError.
   */
  send(record: ProducerRecord): Promise<RecordMetadata>
  send(records: readonly ProducerRecord[]): Promise<RecordMetadata[]>
  send(
    one: ProducerRecord | readonly ProducerRecord[],
  ): Promise<RecordMetadata | RecordMetadata[]> {
    if (Array.isArray(one)) {
      return Promise.all(one.map((record: ProducerRecord) => this.#promise(record)))
    }
    return this.#promise(one as ProducerRecord)
  }

  /** Memory taken by records that are not stored yet. */
  get bufferedBytes(): number {
    return this.#usedBytes
  }

  /** Whether `send` would take a record at once; if not, `ready` waits until it does. */
  get isReady(): boolean {
    return this.#waitingCount === 0 && this.#usedBytes < this.#settings.bufferBytes
  }

  /** Resolves when there is room for more records. */
  async ready(): Promise<void> {
    while (!this.isReady && this.#fatal === null && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#onRoom.push(resolve))
    }
  }

  #promise(record: ProducerRecord): Promise<RecordMetadata> {
    const promise = new Promise<RecordMetadata>(takeEnds)
    const resolve = lastResolve
    const reject = lastReject
    try {
      this.#accept(record, resolve, reject)
    } catch (error) {
      reject(error as Error)
    }
    return promise
  }

  /** Throws what is wrong with the record. */
  #accept(record: ProducerRecord, resolve: Resolve, reject: Reject): void {
    if (this.#closing !== null) throw new ClientClosedError('The producer is closed.')
    if (this.#fatal !== null) throw this.#fatal
    const { clock } = this.#cluster.options
    if (typeof record.topic !== 'string' || record.topic === '') {
      throw new InvalidArgumentError('a record without a topic')
    }
    const key = checkedPart(record.key, 'the key')
    const encodable: EncodableRecord = {
      // The partition is found from the bytes.
      key: typeof key === 'string' ? Buffer.from(key) : key,
      value: checkedPart(record.value, 'the value'),
      headers: record.headers ?? NO_HEADERS,
      timestamp: record.timestamp ?? clock.nowMs(),
    }
    this.#check(encodable, record.partition)
    const bytes = recordBytesMax(encodable)
    const { maxRequestBytes, bufferBytes } = this.#settings
    if (RECORD_BATCH_OVERHEAD_BYTES + bytes > Math.min(maxRequestBytes, bufferBytes)) {
      throw errorFor(
        ErrorCode.MESSAGE_TOO_LARGE,
        `a record of ${bytes} bytes is larger than maxRequestBytes or bufferBytes`,
      )
    }
    const topic = this.#topic(record.topic)
    const isKnown = topic.partitionCount > 0 && topic.waiting.length === 0
    if (isKnown && this.#roomless.length === 0) {
      if (this.#place(topic, record.partition, encodable, bytes, resolve, reject)) return
    }
    this.#wait(isKnown ? this.#roomless : topic.waiting, {
      deadlineMs: clock.monotonicMs() + this.#settings.maxBlockMs,
      topic,
      partition: record.partition,
      record: encodable,
      bytes,
      resolve,
      reject,
    })
  }

  #check({ headers, timestamp }: EncodableRecord, partition: number | undefined): void {
    if (!Number.isSafeInteger(timestamp)) {
      throw new InvalidArgumentError(`the timestamp ${timestamp} is no integer`)
    }
    if (partition !== undefined && !(Number.isInteger(partition) && partition >= 0)) {
      throw new InvalidArgumentError(`${partition} is no partition`)
    }
    for (const header of headers) {
      if (typeof header.key !== 'string') throw new InvalidArgumentError('a header without a key')
      checkedPart(header.value, `the header ${header.key}`)
    }
  }

  #wait(queue: Fifo<WaitingRecord>, waiting: WaitingRecord): void {
    if (this.#waitingCount >= WAITING_RECORDS_MAX) {
      throw new BufferExhaustedError(
        `${WAITING_RECORDS_MAX} records wait already: await send() or ready()`,
      )
    }
    this.#waitingCount += 1
    queue.push(waiting)
    if (queue === waiting.topic.waiting) {
      this.#waitingTopics.add(waiting.topic)
      this.#staleTopics.add(waiting.topic)
    }
    this.#schedule()
  }

  #createPartitioner(): Partitioner {
    return createPartitioner(this.#settings.partitioner, {
      random: this.#cluster.options.random,
      stickyBytes: this.#settings.batchBytes,
    })
  }

  #topic(name: string): TopicState {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = {
        name,
        partitioner: this.#createPartitioner(),
        queues: [],
        leaders: [],
        available: [],
        partitionCount: 0,
        knownAtMs: 0,
        errorCode: 0,
        waiting: new Fifo(),
      }
      this.#topics.set(name, topic)
    }
    return topic
  }

  /** Copies a record into a batch; false if there is no room. Throws what is wrong with it. */
  #place(
    topic: TopicState,
    wanted: number | undefined,
    record: EncodableRecord,
    bytes: number,
    resolve: Resolve,
    reject: Reject,
  ): boolean {
    const { partitionCount, partitioner } = topic
    let partition = wanted
    let isFree = false
    if (partition === undefined && record.key !== null) {
      partition = partitionOfKey(record.key as Uint8Array, partitionCount)
    } else if (partition === undefined) {
      partition = partitioner.choose(topic.available, partitionCount)
      isFree = true
    } else if (partition >= partitionCount) {
      this.#refreshSoon(topic)
      throw errorFor(
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        `topic ${topic.name} has ${partitionCount} partitions: there is no partition ${partition}`,
      )
    }
    const queue = this.#queue(topic, partition)
    let batch = queue.open
    if (batch === undefined || !batch.append(record, resolve, reject)) {
      if (batch !== undefined) {
        batch.isClosed = true
        this.#schedule()
      }
      const buffer = this.#allocate(RECORD_BATCH_OVERHEAD_BYTES + bytes)
      if (buffer === null) return false
      const createdMs = this.#cluster.options.clock.monotonicMs()
      batch = new ProducerBatch({ topic: topic.name, partition, createdMs, buffer })
      batch.append(record, resolve, reject)
      queue.queue.push(batch)
      this.#active.add(queue)
      if (createdMs - topic.knownAtMs > this.#cluster.options.metadataMaxAgeMs) {
        this.#refreshSoon(topic)
      }
      if (this.#settings.lingerMs === 0) this.#schedule()
      else this.#wakeAt(createdMs + this.#settings.lingerMs)
    }
    if (isFree) partitioner.took(bytes, batch.buffer.length - batch.plainBytes < bytes)
    return true
  }

  #queue(topic: TopicState, partition: number): PartitionQueue {
    let queue = topic.queues[partition]
    if (queue === undefined) {
      const { isIdempotent, maxInFlight } = this.#settings
      queue = new PartitionQueue({ topic: topic.name, partition, isIdempotent, maxInFlight })
      topic.queues[partition] = queue
    }
    return queue
  }

  // --- Memory

  /** Null if there is no room; a batch is always possible while there is none. */
  #allocate(least: number): Buffer | null {
    const { batchBytes, bufferBytes } = this.#settings
    const bytes = Math.max(least, batchBytes)
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > bufferBytes) return null
    this.#usedBytes += bytes
    const pooled = bytes === batchBytes ? this.#pool.pop() : undefined
    return pooled ?? Buffer.allocUnsafeSlow(bytes)
  }

  #release({ buffer }: ProducerBatch): void {
    this.#usedBytes -= buffer.length
    if (buffer.length === this.#settings.batchBytes) this.#pool.push(buffer)
  }

  /** Lets in what waited for room, in its order. */
  #admitRoomless(): void {
    for (;;) {
      const first = this.#roomless.first
      if (first === undefined) break
      if (!this.#admit(first)) break
      this.#roomless.shift()
      this.#waitingCount -= 1
    }
    this.#admitted()
    if (!this.isReady) return
    const waiting = this.#onRoom
    this.#onRoom = []
    for (const resolve of waiting) resolve()
  }

  /** Whether the record needs to wait no longer: it has a place, or was told what is wrong. */
  #admit({ topic, partition, record, bytes, resolve, reject }: WaitingRecord): boolean {
    try {
      return this.#place(topic, partition, record, bytes, resolve, reject)
    } catch (error) {
      reject(error as Error)
      return true
    }
  }

  /** Records have left a queue of those that wait. */
  #admitted(): void {
    const waiting = this.#onAdmission
    this.#onAdmission = []
    for (const resolve of waiting) resolve()
  }

  /** Those that waited for a topic which is known now wait for room, if anything. */
  #admitTopic(topic: TopicState): void {
    if (topic.partitionCount === 0) return
    for (;;) {
      const first = topic.waiting.shift()
      if (first === undefined) break
      if (this.#roomless.length > 0 || !this.#admit(first)) this.#roomless.push(first)
      else this.#waitingCount -= 1
    }
    this.#waitingTopics.delete(topic)
    this.#admitted()
  }

  #rejectWaiting(topic: TopicState, error: Error): void {
    for (;;) {
      const first = topic.waiting.shift()
      if (first === undefined) break
      first.reject(error)
      this.#waitingCount -= 1
    }
    this.#waitingTopics.delete(topic)
    this.#admitted()
  }

  // --- When to look

  /** Looks at everything once this turn of the event loop is over. */
  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      if (!this.#isClosed) this.#drain()
    })
  }

  #wakeAt(ms: number): void {
    if (ms >= this.#wakeMs || this.#isClosed) return
    this.#timer?.cancel()
    this.#wakeMs = ms
    const delay = Math.max(0, ms - this.#cluster.options.clock.monotonicMs())
    this.#timer = this.#timers.schedule(delay, () => {
      this.#timer = null
      this.#wakeMs = Number.POSITIVE_INFINITY
      this.#drain()
    })
  }

  #drain(): void {
    const now = this.#cluster.options.clock.monotonicMs()
    this.#expireWaiting(now)
    if (this.#fatal !== null) return
    const isReady = this.#tools !== null && this.#renumber()
    const offers = new Map<BrokerSender, PartitionQueue[]>()
    for (const queue of this.#active) {
      this.#expire(queue, now)
      if (queue.isIdle) {
        this.#active.delete(queue)
        continue
      }
      if (!isReady || this.#ripe(queue, now) === undefined) continue
      const sender = this.#senderOf(queue, now)
      if (sender === null) continue
      const offered = offers.get(sender)
      if (offered === undefined) offers.set(sender, [queue])
      else offered.push(queue)
    }
    for (const [sender, queues] of offers) this.#ship(sender, queues, now)
    if (this.#tools === null && this.#active.size > 0) this.#prepare()
    if (this.#staleTopics.size > 0) this.#refresh(now)
  }

  /** The batch of a queue that is to go now. */
  #ripe(queue: PartitionQueue, now: number): ProducerBatch | undefined {
    const batch = queue.sendable(this.#identity)
    if (batch === undefined) return undefined
    if (batch.retryAtMs > now) {
      this.#wakeAt(batch.retryAtMs)
      return undefined
    }
    if (batch.isClosed || this.#flushing > 0 || this.#roomless.length > 0) return batch
    const ripeMs = batch.createdMs + this.#settings.lingerMs
    if (ripeMs <= now) return batch
    this.#wakeAt(ripeMs)
    return undefined
  }

  /** The way to the leader if it can be used now. */
  #senderOf(queue: PartitionQueue, now: number): BrokerSender | null {
    const topic = this.#topics.get(queue.topic) as TopicState
    const leader = topic.leaders[queue.partition] ?? -1
    if (leader < 0) {
      this.#staleTopics.add(topic)
      return null
    }
    let sender = this.#senders.get(leader)
    if (sender === undefined) {
      sender = this.#createSender(leader)
      this.#senders.set(leader, sender)
    }
    if (sender.notBeforeMs > now) {
      this.#wakeAt(sender.notBeforeMs)
      return null
    }
    if (sender.room > 0) return sender
    sender.connect()
    return null
  }

  #createSender(brokerId: number): BrokerSender {
    const { acks, codec, maxInFlight } = this.#settings
    const { requestTimeoutMs, retryBackoffMs, clock } = this.#cluster.options
    const sender = new BrokerSender({
      ...{ brokerId, acks, codec, maxInFlight },
      timeoutMs: requestTimeoutMs,
      connect: () => this.#cluster.broker(brokerId),
      onOutcome: (shipment, outcome) => this.#onOutcome(shipment, outcome),
      onProgress: (throttleTimeMs) => {
        if (throttleTimeMs > 0) sender.notBeforeMs = clock.monotonicMs() + throttleTimeMs
        this.#admitRoomless()
        this.#schedule()
      },
      onUnreachable: (error) => {
        sender.notBeforeMs = clock.monotonicMs() + retryBackoffMs
        this.#onUnreachable(brokerId, error)
      },
    })
    return sender
  }

  #onUnreachable(brokerId: number, error: Error): void {
    // The leaders may be elsewhere by now.
    for (const queue of this.#active) {
      const topic = this.#topics.get(queue.topic) as TopicState
      if (topic.leaders[queue.partition] !== brokerId) continue
      this.#staleTopics.add(topic)
      const first = queue.queue[0]
      if (first !== undefined) first.lastError = error
    }
    this.#schedule()
  }

  /** Sends as many requests as there is room for, each with a batch of each queue that has one. */
  #ship(sender: BrokerSender, queues: readonly PartitionQueue[], now: number): void {
    const { maxRequestBytes, codec } = this.#settings
    const seal = { codec, crc32c: this.#tools?.crc32c as Checksum, compress: this.#compress }
    let offered = queues
    while (offered.length > 0 && sender.room > 0) {
      const shipments: Shipment[] = []
      const later: PartitionQueue[] = []
      let bytes = 0
      for (const queue of offered) {
        const batch = this.#ripe(queue, now)
        if (batch === undefined) continue
        if (shipments.length > 0 && bytes + batch.plainBytes > maxRequestBytes) {
          later.push(queue)
          continue
        }
        queue.take(this.#identity)
        const sealed = batch.seal(seal)
        bytes += sealed.length
        shipments.push({ queue, batch, bytes: sealed })
        later.push(queue)
        // Whoever sent goes to the end.
        this.#active.delete(queue)
        this.#active.add(queue)
      }
      if (shipments.length === 0) return
      sender.send(shipments)
      offered = later
    }
  }

  get #compress(): Compress | null {
    return this.#tools?.compress ?? null
  }

  // --- What comes of it

  #onOutcome({ queue, batch }: Shipment, outcome: ProduceOutcome): void {
    const { errorCode } = outcome
    if (METADATA_ERRORS.has(errorCode)) {
      this.#staleTopics.add(this.#topics.get(queue.topic) as TopicState)
    }
    switch (queue.judge(batch, errorCode)) {
      case 'stored':
        batch.complete(outcome.baseOffset, outcome.logAppendTimeMs)
        this.#release(batch)
        break
      case 'retry':
        batch.lastError = outcome.cause ?? errorFor(errorCode, outcome.errorMessage)
        batch.retryAtMs =
          this.#cluster.options.clock.monotonicMs() + this.#cluster.backoffMs(batch.attempts - 1)
        queue.putBack(batch)
        break
      case 'split':
        queue.replace(
          batch,
          batch.split((bytes) => {
            this.#usedBytes += bytes
            return Buffer.allocUnsafeSlow(bytes)
          }),
        )
        this.#release(batch)
        break
      case 'failed':
        batch.fail((index) => errorOf(outcome, index))
        this.#release(batch)
        break
    }
  }

  /** Gives up what is too old. */
  #expire(queue: PartitionQueue, now: number): void {
    const { deliveryTimeoutMs } = this.#settings
    for (;;) {
      const oldest = oldestOf(queue)
      if (oldest === undefined) return
      if (oldest.createdMs + deliveryTimeoutMs > now) {
        this.#wakeAt(oldest.createdMs + deliveryTimeoutMs)
        return
      }
      const why = oldest.lastError === null ? '' : `: ${oldest.lastError.message}`
      const error = new DeliveryTimeoutError(
        `${oldest.recordCount} records for ${queue.topic}-${queue.partition} were not stored in ` +
          `${deliveryTimeoutMs} ms${why}`,
        oldest.lastError,
      )
      oldest.fail(() => error)
      queue.giveUp(oldest)
      if (!oldest.isSending) this.#release(oldest)
      this.#admitRoomless()
    }
  }

  #expireWaiting(now: number): void {
    const { maxBlockMs } = this.#settings
    for (;;) {
      const first = this.#roomless.first
      if (first === undefined) break
      if (first.deadlineMs > now) {
        this.#wakeAt(first.deadlineMs)
        break
      }
      this.#roomless.shift()
      first.reject(new BufferExhaustedError(`there was no room for ${maxBlockMs} ms`))
      this.#waitingCount -= 1
      this.#admitted()
    }
    for (const topic of this.#waitingTopics) {
      const first = topic.waiting.first
      if (first === undefined) continue
      if (first.deadlineMs > now) {
        this.#wakeAt(first.deadlineMs)
        continue
      }
      const code = topic.errorCode === 0 ? ErrorCode.LEADER_NOT_AVAILABLE : topic.errorCode
      const message = `topic ${topic.name} was not known within ${maxBlockMs} ms`
      this.#rejectWaiting(topic, errorFor(code, message))
    }
  }

  /** Nothing can be sent any more: everything fails. */
  #fail(error: Error): void {
    this.#fatal = error
    for (const queue of this.#active) {
      for (const batch of new Set([...queue.unfinished, ...queue.queue])) {
        batch.fail(() => error)
        queue.giveUp(batch)
        if (!batch.isSending) this.#release(batch)
      }
    }
    this.#active.clear()
    for (const topic of this.#waitingTopics) this.#rejectWaiting(topic, error)
    for (;;) {
      const first = this.#roomless.shift()
      if (first === undefined) break
      first.reject(error)
      this.#waitingCount -= 1
    }
    this.#admitted()
    const waiting = this.#onRoom
    this.#onRoom = []
    for (const resolve of waiting) resolve()
  }

  // --- What must be there before the first batch

  #prepare(): void {
    if (this.#isPreparing) return
    this.#isPreparing = true
    const { codec, compressionLevel } = this.#settings
    Promise.all([loadCrc32c(), loadCompress(codec, compressionLevel)]).then(
      ([crc32c, compress]) => {
        this.#tools = { crc32c, compress }
        this.#schedule()
      },
      (error: Error) => this.#fail(error),
    )
  }

  /** Gives queues that lost a number a new epoch; false while there is no producer id. */
  #renumber(): boolean {
    if (!this.#settings.isIdempotent) return true
    if (this.#identity === null) {
      if (this.#active.size > 0) this.#identify()
      return false
    }
    const lost = [...this.#active].filter(({ needsNewEpoch }) => needsNewEpoch)
    if (lost.length === 0) return true
    const { producerId, epoch } = this.#identity
    if (epoch >= EPOCH_MAX) {
      this.#identity = null
      this.#identify()
      return false
    }
    this.#identity = { producerId, epoch: epoch + 1 }
    for (const queue of lost) queue.renumber(this.#identity)
    return true
  }

  #identify(): void {
    if (this.#isIdentifying) return
    this.#isIdentifying = true
    this.#initProducerId().then(
      (identity) => {
        this.#isIdentifying = false
        this.#identity = identity
        for (const queue of this.#active) {
          if (queue.needsNewEpoch) queue.renumber(identity)
        }
        this.#schedule()
      },
      (error: Error) => {
        this.#isIdentifying = false
        if (!(error instanceof ClientError && error.retriable)) {
          this.#fail(error)
          return
        }
        for (const queue of this.#active) {
          const first = queue.queue[0]
          if (first !== undefined) first.lastError = error
        }
        const { clock, retryBackoffMs } = this.#cluster.options
        this.#wakeAt(clock.monotonicMs() + retryBackoffMs)
      },
    )
  }

  #initProducerId(): Promise<ProducerIdentity> {
    return this.#cluster.retry(async () => {
      const connection = await this.#cluster.any()
      const answer = await connection.send(InitProducerId, {
        transactionalId: null,
        transactionTimeoutMs: 0x7fffffff,
      })
      if (answer.errorCode !== 0) throw errorFor(answer.errorCode)
      return { producerId: answer.producerId, epoch: answer.producerEpoch }
    })
  }

  // --- Metadata

  #refreshSoon(topic: TopicState): void {
    this.#staleTopics.add(topic)
    this.#schedule()
  }

  #refresh(now: number): void {
    if (this.#isRefreshing) return
    if (now < this.#nextRefreshMs) {
      this.#wakeAt(this.#nextRefreshMs)
      return
    }
    this.#isRefreshing = true
    const topics = [...this.#staleTopics]
    this.#staleTopics.clear()
    const names = topics.map(({ name }) => name)
    const { allowAutoTopicCreation } = this.#settings
    const { clock, retryBackoffMs } = this.#cluster.options
    this.#cluster
      .metadata(names, { refresh: true, allowAutoTopicCreation })
      .then(
        (metadata) => {
          for (const topic of topics) this.#learn(topic, metadata.topics.get(topic.name))
        },
        (error: Error) => this.#onNoMetadata(topics, error),
      )
      .finally(() => {
        this.#isRefreshing = false
        this.#nextRefreshMs = clock.monotonicMs() + retryBackoffMs
        this.#schedule()
      })
  }

  #onNoMetadata(topics: readonly TopicState[], error: Error): void {
    const isTemporary = error instanceof ClientError && error.retriable
    for (const topic of topics) {
      if (isTemporary) this.#staleTopics.add(topic)
      else this.#rejectWaiting(topic, error)
    }
  }

  #learn(topic: TopicState, metadata: TopicMetadata | undefined): void {
    const errorCode = metadata?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    topic.errorCode = errorCode
    if (metadata === undefined || metadata.partitions.length === 0) {
      const error = errorFor(errorCode, `topic ${topic.name}: ${errorFor(errorCode).message}`)
      if (!error.retriable) this.#rejectWaiting(topic, error)
      else if (topic.waiting.length > 0) this.#staleTopics.add(topic)
      return
    }
    const leaders: number[] = []
    for (const { partition, leaderId } of metadata.partitions) leaders[partition] = leaderId
    topic.leaders = leaders
    topic.available = metadata.partitions
      .filter(({ leaderId }) => leaderId >= 0)
      .map(({ partition }) => partition)
    topic.partitionCount = leaders.length
    topic.knownAtMs = this.#cluster.options.clock.monotonicMs()
    this.#admitTopic(topic)
  }

  // --- Flush and close

  /** Resolves when every record that was sent before is stored or has failed. */
  async flush(): Promise<void> {
    this.#flushing += 1
    this.#schedule()
    try {
      await Promise.all([...this.#waitingTopics].map(({ waiting }) => this.#emptied(waiting)))
      await this.#emptied(this.#roomless)
      const batches = [...this.#active].flatMap(({ queue, unfinished }) => [
        ...queue,
        ...unfinished,
      ])
      await Promise.all(
        batches.map((batch) => new Promise<void>((resolve) => batch.whenDone(resolve))),
      )
    } finally {
      this.#flushing -= 1
    }
  }

  /** Resolves when what waits now waits no longer. */
  async #emptied(waiting: Fifo<WaitingRecord>): Promise<void> {
    const last = waiting.taken + waiting.length
    while (waiting.taken < last) {
      await new Promise<void>((resolve) => this.#onAdmission.push(resolve))
    }
  }

  /**
   * Waits until what was sent is stored or has failed, then closes the connections. What is left
   * after `timeoutMs` fails with ClientClosedError.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? this.#settings.deliveryTimeoutMs)
    return this.#closing
  }

  async #close(timeoutMs: number): Promise<void> {
    let timer: Timer | null = null
    const late = new Promise<void>((resolve) => {
      timer = this.#timers.schedule(timeoutMs, resolve)
    })
    await Promise.race([this.flush(), late])
    ;(timer as Timer | null)?.cancel()
    this.#isClosed = true
    this.#fail(new ClientClosedError('The producer was closed before the record was stored.'))
    this.#timers.close()
    await this.#cluster.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The batch that waits longest, and whose records have not been told that time is up. */
function oldestOf({ queue, unfinished }: PartitionQueue): ProducerBatch | undefined {
  let oldest: ProducerBatch | undefined
  for (const batch of unfinished) {
    if (!batch.isDone && (oldest === undefined || batch.createdMs < oldest.createdMs))
      oldest = batch
  }
  const first = queue[0]
  if (first !== undefined && (oldest === undefined || first.createdMs < oldest.createdMs)) {
    oldest = first
  }
  return oldest
}

/** A record that the broker found wrong is told so; the others, that they went down with it. */
function errorOf({ errorCode, errorMessage, recordErrors, cause }: ProduceOutcome, index: number) {
  if (cause !== null) return cause
  if (recordErrors.has(index)) return errorFor(errorCode, recordErrors.get(index) ?? errorMessage)
  if (recordErrors.size === 0) return errorFor(errorCode, errorMessage)
  return errorFor(errorCode, 'another record of the same batch was refused')
}
