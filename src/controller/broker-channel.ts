/**
 * What one broker has yet to be told. It holds no requests, only which partitions changed: when the
 * connection is free the requests are written from what the context says by then. A broker that is
 * slow, or away for a while, thus costs no more than one mark per partition, and is told the latest
 * state and none in between.
 *
 * A round is up to four requests, in this order: the live brokers and what was deleted, so that
 * leaders can be found before they are followed; LeaderAndIsr; the changed metadata; StopReplica.
 * It is repeated, after a pause that grows, until the broker has answered or the channel is closed.
 *
 * Main thread only.
 */
import { ErrorCode, errorName } from '../protocol/error-codes.ts'
import type { LeaderAndIsrResponse } from '../protocol/messages/leader-and-isr.ts'
import type { StopReplicaResponse } from '../protocol/messages/stop-replica.ts'
import type { RegisteredBroker } from '../registry/cluster-registry.ts'
import type { Logger } from '../util/logger.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { BrokerLink, OpenBrokerLink } from './broker-link.ts'
import type { BrokerRequests } from './broker-requests.ts'
import type { ControllerContext, PartitionEntry, TopicEntry } from './controller-context.ts'

const BACKOFF_MS_MIN = 20
const BACKOFF_MS_MAX = 1000
/** A broker that takes longer to answer may not be there any more, though its connection is. */
const ANSWER_MS_MAX = 2000

/** What the answers of brokers say; called outside of the controller's events. */
export interface ChannelEvents {
  /** The broker cannot use the log of these partitions, or can again. */
  replicas(brokerId: number, partitions: readonly PartitionEntry[], areOnline: boolean): void
  /** The broker has stopped a replica, and deleted it if it was to. */
  stopped(brokerId: number, partitions: readonly PartitionEntry[]): void
  /** The broker knows of a later controller, or of a later registration of itself. */
  stale(brokerId: number, errorCode: number): void
  /** The connection broke or could not be made. */
  suspect(brokerId: number): void
}

export interface ChannelOptions {
  readonly broker: RegisteredBroker
  readonly context: ControllerContext
  readonly requests: BrokerRequests
  readonly events: ChannelEvents
  readonly openLink: OpenBrokerLink
  readonly timers: TimerQueue
  readonly logger: Logger
}

/** Marks that a round has taken up. */
interface Round {
  readonly generation: number
  readonly isFull: boolean
  readonly areBrokersNews: boolean
  readonly leadership: Map<PartitionEntry, boolean>
  readonly metadata: Set<PartitionEntry>
  readonly stops: Map<PartitionEntry, boolean>
}

interface Waiter {
  readonly mark: number
  readonly resolve: (isTold: boolean) => void
}

/** The broker refused a request as a whole. */
class RequestRefused extends Error {
  readonly errorCode: number

  constructor(errorCode: number) {
    super(`the broker answered ${errorName(errorCode)}`)
    this.name = 'RequestRefused'
    this.errorCode = errorCode
  }
}

export class BrokerChannel {
  readonly broker: RegisteredBroker
  readonly #options: ChannelOptions
  /** Everything is news: the broker has just registered, or the context was read anew. */
  #isFull = false
  /** Of the context that marks belong to. */
  #generation = 0
  #areBrokersNews = true
  /** Whether the replica is new there. */
  #leadership = new Map<PartitionEntry, boolean>()
  #metadata = new Set<PartitionEntry>()
  /** Whether it is to be deleted. */
  #stops = new Map<PartitionEntry, boolean>()
  /** How many partitions of a topic the broker has been told of. */
  readonly #toldCounts = new WeakMap<TopicEntry, number>()
  /** Grows with everything that is to be told. */
  #mark = 1
  #told = 0
  #waiters: Waiter[] = []
  #link: BrokerLink | null = null
  #isRunning = false
  #isClosed = false
  #failures = 0
  /** When the requests were sent whose answers are awaited; null: there are none. */
  #askedMs: number | null = null
  #pause: { timer: Timer; resume: () => void } | null = null

  constructor(options: ChannelOptions) {
    this.broker = options.broker
    this.#options = options
  }

  /** The connection stands, nothing has failed on it, and no answer is overdue. */
  get isReachable(): boolean {
    if (this.#link === null || this.#failures > 0) return false
    const askedMs = this.#askedMs
    return askedMs === null || this.#options.timers.nowMs - askedMs <= ANSWER_MS_MAX
  }

  /** Everything is told: all partitions of the broker, and all metadata. */
  markAll(): void {
    this.#isFull = true
    this.#touch()
  }

  /** The context has been replaced: marks of its entries are dropped, but for deleted topics. */
  forget(): void {
    this.#generation += 1
    this.#leadership.clear()
    this.#stops.clear()
    for (const partition of this.#metadata) {
      if (!partition.topic.isDeleting) this.#metadata.delete(partition)
    }
  }

  markBrokers(): void {
    this.#areBrokersNews = true
    this.#touch()
  }

  markLeadership(partition: PartitionEntry, isNew: boolean): void {
    this.#leadership.set(partition, isNew || (this.#leadership.get(partition) ?? false))
    this.#touch()
  }

  markMetadata(partition: PartitionEntry): void {
    this.#metadata.add(partition)
    this.#touch()
  }

  /** The replica is to stop following; `isDeleted`: its log goes too. */
  markStop(partition: PartitionEntry, isDeleted: boolean): void {
    this.#stops.set(partition, isDeleted || (this.#stops.get(partition) ?? false))
    this.#touch()
  }

  /** Resolves when the broker has acknowledged all of it: true; or when it is gone: false. */
  caughtUp(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false)
    if (this.#told >= this.#mark) return Promise.resolve(true)
    return new Promise((resolve) => {
      this.#waiters.push({ mark: this.#mark, resolve })
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#dropLink()
    this.#pause?.timer.cancel()
    this.#pause?.resume()
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(false)
    this.#leadership.clear()
    this.#metadata.clear()
    this.#stops.clear()
  }

  #touch(): void {
    if (this.#isClosed) return
    this.#mark += 1
    this.#start()
  }

  #start(): void {
    if (this.#isRunning || this.#isClosed) return
    this.#isRunning = true
    // What this turn of the loop still marks goes with the same requests.
    queueMicrotask(() => {
      this.#run().catch((error: unknown) => {
        // A broken invariant: nobody awaits the loop, so that it must not be lost here.
        queueMicrotask(() => {
          throw error
        })
      })
    })
  }

  async #run(): Promise<void> {
    while (!this.#isClosed && (this.#link === null || this.#told < this.#mark)) {
      try {
        const link = this.#link ?? (await this.#connect())
        if (this.#isClosed) break
        await this.#tell(link)
        this.#failures = 0
      } catch (error) {
        if (this.#isClosed) break
        this.#failed(error)
        await this.#backOff()
      }
    }
    this.#isRunning = false
  }

  async #connect(): Promise<BrokerLink> {
    const link = await this.#options.openLink(this.broker)
    if (this.#isClosed) {
      link.close()
      return link
    }
    this.#link = link
    link.onLost = () => {
      if (this.#link !== link) return
      this.#link = null
      if (this.#isClosed) return
      this.#options.events.suspect(this.broker.brokerId)
      // Connects again, so that the next loss is noticed too, and shows who listens there by then.
      this.markBrokers()
    }
    return link
  }

  #failed(error: unknown): void {
    const { brokerId } = this.broker
    const { events, logger } = this.#options
    this.#failures += 1
    if (this.#failures === 1) {
      logger.warn({ err: error, to: brokerId }, 'a broker could not be told, trying again')
    }
    if (error instanceof RequestRefused) {
      events.stale(brokerId, error.errorCode)
      return
    }
    const isNews = this.#link !== null
    this.#dropLink()
    if (isNews || this.#failures > 0) events.suspect(brokerId)
  }

  #dropLink(): void {
    const link = this.#link
    this.#link = null
    if (link === null) return
    link.onLost = null
    link.close()
  }

  #backOff(): Promise<void> {
    const delayMs = Math.min(BACKOFF_MS_MIN * 2 ** (this.#failures - 1), BACKOFF_MS_MAX)
    return new Promise((resolve) => {
      const resume = (): void => {
        this.#pause = null
        resolve()
      }
      this.#pause = { timer: this.#options.timers.schedule(delayMs, resume), resume }
    })
  }

  async #tell(link: BrokerLink): Promise<void> {
    const mark = this.#mark
    const round = this.#take()
    this.#askedMs = this.#options.timers.nowMs
    try {
      await this.#send(link, round)
    } catch (error) {
      if (!this.#isClosed) this.#putBack(round)
      throw error
    } finally {
      this.#askedMs = null
    }
    if (this.#isClosed) return
    this.#told = mark
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (waiter.mark <= mark) waiter.resolve(true)
      else waiting.push(waiter)
    }
    this.#waiters = waiting
  }

  #take(): Round {
    const round = {
      generation: this.#generation,
      isFull: this.#isFull,
      areBrokersNews: this.#areBrokersNews,
      leadership: this.#leadership,
      metadata: this.#metadata,
      stops: this.#stops,
    }
    this.#isFull = false
    this.#areBrokersNews = false
    this.#leadership = new Map()
    this.#metadata = new Set()
    this.#stops = new Map()
    if (round.isFull) this.#complete(round)
    this.#tellWholeTopics(round)
    const { brokerId } = this.broker
    for (const partition of round.leadership.keys()) {
      const isWanted = !partition.topic.isDeleting && partition.state !== null
      if (!isWanted || !partition.replicas.includes(brokerId)) round.leadership.delete(partition)
    }
    for (const [partition, isDeleted] of round.stops) {
      // It was assigned, or made leader, again in the meantime.
      const isBack = isDeleted
        ? !partition.topic.isDeleting && partition.replicas.includes(brokerId)
        : partition.leader === brokerId
      if (isBack) round.stops.delete(partition)
    }
    return round
  }

  /** Adds all that the context knows, for a broker that knows nothing. */
  #complete(round: Round): void {
    const { brokerId } = this.broker
    for (const topic of this.#options.context.topics.values()) {
      for (const partition of topic.partitions) {
        round.metadata.add(partition)
        if (!partition.replicas.includes(brokerId)) continue
        round.leadership.set(partition, round.leadership.get(partition) ?? false)
      }
    }
  }

  /**
   * Clients place keys by how many partitions a topic has: a broker that does not know all of them
   * yet is told of all together, also of those that have no leader.
   */
  #tellWholeTopics({ metadata }: Round): void {
    for (const { topic } of metadata) {
      const told = this.#toldCounts.get(topic) ?? 0
      if (topic.isDeleting || told >= topic.partitions.length) continue
      this.#toldCounts.set(topic, topic.partitions.length)
      for (const partition of topic.partitions.slice(told)) metadata.add(partition)
    }
  }

  #putBack(round: Round): void {
    this.#isFull ||= round.isFull
    this.#areBrokersNews ||= round.areBrokersNews
    const isCurrent = round.generation === this.#generation
    for (const partition of round.metadata) {
      if (isCurrent || partition.topic.isDeleting) this.#metadata.add(partition)
    }
    if (!isCurrent) return
    for (const [partition, isNew] of round.leadership) {
      this.#leadership.set(partition, isNew || (this.#leadership.get(partition) ?? false))
    }
    for (const [partition, isDeleted] of round.stops) {
      this.#stops.set(partition, isDeleted || (this.#stops.get(partition) ?? false))
    }
  }

  /** The link carries them out in order: none has to wait for the answer to another. */
  async #send(link: BrokerLink, round: Round): Promise<void> {
    const { requests } = this.#options
    const { broker } = this
    const { isFull, leadership, metadata, stops } = round
    const deleted = [...metadata].filter((partition) => partition.topic.isDeleting)
    const changed = [...metadata].filter((partition) => !partition.topic.isDeleting)
    const answers: Promise<void>[] = []
    const hasLeadership = isFull || leadership.size > 0
    const hasChanged = isFull || changed.length > 0
    const areBrokersNews = round.areBrokersNews || isFull
    if (deleted.length > 0 || (areBrokersNews && (hasLeadership || !hasChanged))) {
      const request = requests.updateMetadata(broker, deleted, false)
      answers.push(link.updateMetadata(request).then(checkAnswer))
    }
    if (hasLeadership) {
      const request = requests.leaderAndIsr(broker, leadership, isFull)
      answers.push(link.leaderAndIsr(request).then((answer) => this.#led(answer, leadership)))
    }
    if (hasChanged) {
      const request = requests.updateMetadata(broker, changed, isFull)
      answers.push(link.updateMetadata(request).then(checkAnswer))
    }
    if (stops.size > 0) {
      const request = requests.stopReplica(broker, stops)
      answers.push(link.stopReplica(request).then((answer) => this.#stopped(answer, stops)))
    }
    await settled(answers)
  }

  #led(answer: LeaderAndIsrResponse, asked: ReadonlyMap<PartitionEntry, boolean>): void {
    checkAnswer(answer)
    if (this.#isClosed) return
    const { brokerId } = this.broker
    const { events, logger } = this.#options
    const codes = codesOf(answer)
    const failed: PartitionEntry[] = []
    const recovered: PartitionEntry[] = []
    for (const partition of asked.keys()) {
      const { topic } = partition
      const code =
        codes.get(`${topic.topicId}/${partition.partition}`) ??
        codes.get(`${topic.name}/${partition.partition}`) ??
        ErrorCode.NONE
      const hadFailed = partition.failedReplicas.has(brokerId)
      if (code === ErrorCode.KAFKA_STORAGE_ERROR && !hadFailed) failed.push(partition)
      else if (code === ErrorCode.NONE && hadFailed) recovered.push(partition)
      else if (code !== ErrorCode.NONE && code !== ErrorCode.KAFKA_STORAGE_ERROR) {
        const error = errorName(code)
        logger.warn({ partition: partition.name, to: brokerId, error }, 'a replica was refused')
      }
    }
    if (failed.length > 0) events.replicas(brokerId, failed, false)
    if (recovered.length > 0) events.replicas(brokerId, recovered, true)
  }

  #stopped(answer: StopReplicaResponse, asked: ReadonlyMap<PartitionEntry, boolean>): void {
    checkAnswer(answer)
    if (this.#isClosed) return
    const { brokerId } = this.broker
    const codes = new Map<string, number>()
    for (const { topicName, partitionIndex, errorCode } of answer.partitionErrors) {
      codes.set(`${topicName}/${partitionIndex}`, errorCode)
    }
    const done: PartitionEntry[] = []
    for (const partition of asked.keys()) {
      const code = codes.get(`${partition.topic.name}/${partition.partition}`) ?? ErrorCode.NONE
      if (code === ErrorCode.NONE || code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) {
        done.push(partition)
        continue
      }
      const fields = { partition: partition.name, to: brokerId, error: errorName(code) }
      this.#options.logger.warn(fields, 'a replica could not be stopped')
    }
    this.#options.events.stopped(brokerId, done)
  }
}

function checkAnswer(answer: { readonly errorCode: number }): void {
  if (answer.errorCode !== ErrorCode.NONE) throw new RequestRefused(answer.errorCode)
}

function codesOf(answer: LeaderAndIsrResponse): Map<string, number> {
  const codes = new Map<string, number>()
  for (const { topicName, partitionIndex, errorCode } of answer.partitionErrors) {
    codes.set(`${topicName}/${partitionIndex}`, errorCode)
  }
  for (const { topicId, partitionErrors } of answer.topics) {
    for (const { partitionIndex, errorCode } of partitionErrors) {
      codes.set(`${topicId}/${partitionIndex}`, errorCode)
    }
  }
  return codes
}

/** Waits for all of them, then throws what the first that failed threw. */
async function settled(answers: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(answers)) {
    if (result.status === 'rejected') throw result.reason
  }
}
