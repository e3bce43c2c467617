/**
 * Takes the ISRs that leaders propose to the controller: many in one AlterPartition, one request at
 * a time, again and again until it is decided. While the controller is away proposals wait, and
 * every leader goes on with the larger of the two ISRs.
 */
import { ErrorCode, errorName } from '../protocol/error-codes.ts'
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../protocol/messages/alter-partition.ts'
import type { Logger } from '../util/logger.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { ControllerLink } from './controller-link.ts'
import type { Partition } from './partition.ts'
import type { IsrMember, PartitionLeader } from './partition-leader.ts'

const RETRY_MS = 50
const RETRY_MAX_MS = 1000
/** A controller that does not answer for so long may answer never; another one is there by then. */
const ANSWER_MS = 5000

export interface IsrManagerOptions {
  readonly brokerId: number
  readonly brokerEpoch: () => number
  readonly controller: ControllerLink
  readonly timers: TimerQueue
  readonly logger: Logger
}

interface Proposal {
  readonly partition: Partition
  readonly leader: PartitionLeader
  readonly isr: readonly IsrMember[]
}

type PartitionAnswer = AlterPartitionResponse['topics'][number]['partitions'][number]

export class IsrManager {
  readonly #options: IsrManagerOptions
  /** The latest of each partition. */
  readonly #proposals = new Map<Partition, Proposal>()
  #isAsking = false
  /** Number of the request whose answer is waited for. */
  #asked = 0
  #answerTimer: Timer | null = null
  #retries = 0
  #timer: Timer | null = null
  #isScheduled = false
  #isClosed = false

  constructor(options: IsrManagerOptions) {
    this.#options = options
  }

  /** Partitions whose ISR is not decided. */
  get size(): number {
    return this.#proposals.size
  }

  propose(partition: Partition, leader: PartitionLeader, isr: readonly IsrMember[]): void {
    this.#proposals.set(partition, { partition, leader, isr })
    this.#schedule()
  }

  /** Its leadership is over or has another state: what is answered now is of the past. */
  withdraw(partition: Partition): void {
    this.#proposals.delete(partition)
  }

  /** There is a controller again, or another one: it need not wait for the next try. */
  controllerChanged(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#retries = 0
    this.#giveUp()
    this.#schedule()
  }

  /** Waits for the present answer no more. What was asked for is conditional: twice is no harm. */
  #giveUp(): void {
    this.#answerTimer?.cancel()
    this.#answerTimer = null
    this.#asked += 1
    this.#isAsking = false
  }

  close(): void {
    this.#isClosed = true
    this.#giveUp()
    this.#timer?.cancel()
    this.#timer = null
    this.#proposals.clear()
  }

  /** Those of one turn go together. */
  #schedule(): void {
    if (this.#isScheduled || this.#isAsking || this.#timer !== null) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      void this.#ask()
    })
  }

  #retryLater(): void {
    if (this.#isClosed || this.#timer !== null) return
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** this.#retries)
    this.#retries += 1
    this.#timer = this.#options.timers.schedule(delayMs, () => {
      this.#timer = null
      void this.#ask()
    })
  }

  async #ask(): Promise<void> {
    if (this.#isAsking || this.#isClosed || this.#timer !== null) return
    if (this.#proposals.size === 0) return
    const asked = [...this.#proposals.values()]
    this.#isAsking = true
    this.#asked += 1
    const number = this.#asked
    this.#answerTimer = this.#options.timers.schedule(ANSWER_MS, () => {
      this.#giveUp()
      this.#retryLater()
    })
    let isRetried = false
    try {
      const response = await this.#options.controller.alterPartition(this.#request(asked))
      if (number !== this.#asked) return
      isRetried = this.#take(asked, response)
    } catch (error) {
      if (number !== this.#asked) return
      // Whether it was stored is not known; asked again, the controller tells.
      this.#options.logger.debug({ error: String(error) }, 'an ISR change is asked for again')
      isRetried = true
    }
    this.#giveUp()
    if (isRetried) this.#retryLater()
    else {
      this.#retries = 0
      if (this.#proposals.size > 0) this.#schedule()
    }
  }

  #request(asked: readonly Proposal[]): AlterPartitionRequest {
    const topics = new Map<string, AlterPartitionRequest['topics'][number]>()
    for (const { partition, leader, isr } of asked) {
      const { topic, topicId } = partition
      let entry = topics.get(topic)
      if (entry === undefined) {
        entry = { topicName: topic, topicId, partitions: [] }
        topics.set(topic, entry)
      }
      entry.partitions.push({
        partitionIndex: partition.partition,
        leaderEpoch: leader.leaderEpoch,
        // Of versions below 3: the link to an older controller fills it.
        newIsr: [],
        newIsrWithEpochs: isr.map((member) => ({ ...member })),
        leaderRecoveryState: 0,
        partitionEpoch: leader.partitionEpoch,
      })
    }
    const { brokerId, brokerEpoch } = this.#options
    return { brokerId, brokerEpoch: brokerEpoch(), topics: [...topics.values()] }
  }

  /** Whether something is to be asked for again. */
  #take(asked: readonly Proposal[], response: AlterPartitionResponse): boolean {
    if (response.errorCode !== 0) {
      const { errorCode } = response
      const level = errorCode === ErrorCode.NOT_CONTROLLER ? 'debug' : 'info'
      this.#options.logger[level](
        { errorCode: errorName(errorCode) },
        'the controller takes no ISR changes for now',
      )
      return true
    }
    const answers = new Map<string, PartitionAnswer>()
    for (const { topicName, topicId, partitions } of response.topics) {
      for (const one of partitions) {
        answers.set(`${topicName}-${one.partitionIndex}`, one)
        answers.set(`${topicId}-${one.partitionIndex}`, one)
      }
    }
    let isRetried = false
    for (const proposal of asked) {
      const { partition } = proposal
      // Another one took its place, or the leadership is over.
      if (this.#proposals.get(partition) !== proposal) continue
      const answer =
        answers.get(`${partition.topicId}-${partition.partition}`) ??
        answers.get(`${partition.topic}-${partition.partition}`)
      if (!this.#decide(proposal, answer)) isRetried = true
    }
    return isRetried
  }

  /** False: it stays as it is, and is asked for again. */
  #decide({ partition, leader, isr }: Proposal, answer: PartitionAnswer | undefined): boolean {
    const errorCode = answer?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR
    const what = {
      topic: partition.topic,
      partition: partition.partition,
      isr: isr.map(({ brokerId }) => brokerId),
      errorCode: errorName(errorCode),
    }
    switch (errorCode) {
      case ErrorCode.NONE: {
        this.#proposals.delete(partition)
        const stored = answer as PartitionAnswer
        if (stored.leaderEpoch === leader.leaderEpoch) {
          leader.decided({
            kind: 'stored',
            isr: stored.isr,
            partitionEpoch: stored.partitionEpoch,
          })
        } else leader.decided({ kind: 'refused' })
        return true
      }
      // Nothing was stored: the leader is back where it was.
      case ErrorCode.INELIGIBLE_REPLICA:
      case ErrorCode.OPERATION_NOT_ATTEMPTED:
        this.#options.logger.info(what, 'an ISR change was turned down')
        this.#proposals.delete(partition)
        leader.decided({ kind: 'retry' })
        return true
      case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
      case ErrorCode.UNKNOWN_TOPIC_ID:
      case ErrorCode.FENCED_LEADER_EPOCH:
      case ErrorCode.NEW_LEADER_ELECTED:
      case ErrorCode.INVALID_UPDATE_VERSION:
      case ErrorCode.INVALID_REQUEST:
        this.#options.logger.info(what, 'an ISR change was refused; the controller will tell why')
        this.#proposals.delete(partition)
        leader.decided({ kind: 'refused' })
        return true
      default:
        return false
    }
  }
}
