/**
 * Follows one broker: fetches the partitions that it leads, in one incremental session (KIP-227),
 * appends what comes, and cuts what the leader does not have (KIP-101, 279, 595).
 *
 * A fetch may wait at the leader for half a second. What is added meanwhile is asked for with a
 * second fetch behind it, which our leaders take for a reason to answer the first.
 */
import type { FetchedRecords } from '../network/outbound-connection.ts'
import { ErrorCode, errorName } from '../protocol/error-codes.ts'
import type { FetchRequestInput, FetchResponse } from '../protocol/messages/fetch.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { FetchAnswer, LeaderAddress, LeaderLink, OpenLeaderLink } from './leader-link.ts'

/** A log that follows. Positions are −1 while it is not open. */
export interface FollowerLog {
  readonly topic: string
  readonly partition: number
  readonly topicId: string
  /** Handle of the log; see `FetchedRecords`. */
  readonly log: number
  readonly isOnline: boolean
  readonly logStart: number
  readonly logEnd: number
  readonly highWatermark: number
  /** The latest leader epoch that it knows of; −1 if none. */
  readonly lastEpoch: number
  /** Where an epoch ended: the largest one not above it, and its end; [−1, −1] if none is known. */
  epochEndOffset(epoch: number): Promise<readonly [number, number]>
  /**
   * Cuts it at the offset, or empties it to begin there, if it still follows that epoch. Throws an
   * Error.
   */
  truncate(
    offset: number,
    options: { readonly leaderEpoch: number; readonly fully?: boolean },
  ): Promise<void>
  /** What the leader says is committed. */
  moveHighWatermark(offset: number, leaderEpoch: number): void
  /** Forgets what is before the offset. */
  moveLogStart(offset: number): Promise<void>
}

export interface ReplicaFetcherOptions {
  /** The broker that leads. */
  readonly leaderId: number
  /** Where it is now; undefined while it is not known. */
  readonly address: () => LeaderAddress | undefined
  readonly open: OpenLeaderLink
  readonly brokerId: number
  /** Epoch that this broker is registered with. */
  readonly brokerEpoch: () => number
  readonly clusterId: string
  readonly maxWaitMs: number
  readonly minBytes: number
  readonly partitionMaxBytes: number
  readonly maxBytes: number
  readonly backoffMs: number
  readonly timers: TimerQueue
  readonly clock: Clock
  readonly logger: Logger
  /** Limits what is fetched of partitions that lag (KIP-73). */
  readonly quota: FollowerQuota
  /** The link was lost or could not be made. */
  readonly lost: (leaderId: number) => void
}

export interface FollowerQuota {
  isThrottled(log: FollowerLog): boolean
  readonly isExceeded: boolean
  record(bytes: number): void
}

/** A partition as it is followed. */
interface Followed {
  readonly key: string
  readonly log: FollowerLog
  readonly leaderEpoch: number
  /** As the session has it; −1: the session does not have the partition. */
  sentOffset: number
  /** Number of the request that told it: answers to those before are of another position. */
  sentIn: number
  /** Waits for a cut or a back-off. */
  isHeld: boolean
  /** Whether the leader has committed more than this log has, as far as is known. */
  isLagging: boolean
  retries: number
  timer: Timer | null
}

/** A leader that does not yet know that it leads is asked again after this, then twice as long. */
const FIRST_RETRY_MS = 10
const FIRST_CONNECT_RETRY_MS = 20
/** After it the rate of throttled partitions is looked at again. */
const THROTTLE_MS = 200
const SESSION_EPOCH_MAX = 0x7fffffff
const IN_FLIGHT_MAX = 2

type FetchPartitionInput = FetchRequestInput['topics'][number]['partitions'][number]
type PartitionAnswer = FetchResponse['responses'][number]['partitions'][number]

export class ReplicaFetcher {
  readonly #options: ReplicaFetcherOptions
  readonly #followed = new Map<string, Followed>()
  /** What the next fetch tells of. */
  readonly #changed = new Set<Followed>()
  readonly #forgotten = new Map<string, { topicId: string; partition: number }>()
  #heldCount = 0
  #link: LeaderLink | null = null
  /** Counts the attempts to connect, so that the outcome of an old one is known as such. */
  #attempt = 0
  #isConnecting = false
  #connectRetries = 0
  #connectTimer: Timer | null = null
  #sessionId = 0
  #sessionEpoch = 0
  #inFlight = 0
  #requestCount = 0
  /** Answers are worked on one after the other. */
  #work: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(options: ReplicaFetcherOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#followed.size
  }

  /** Follows a partition in that epoch, instead of in the one before. */
  add(log: FollowerLog, leaderEpoch: number): void {
    this.#drop(log)
    const key = keyOf(log.topicId, log.partition)
    const followed: Followed = {
      key,
      log,
      leaderEpoch,
      sentOffset: -1,
      sentIn: Number.POSITIVE_INFINITY,
      isHeld: false,
      isLagging: true,
      retries: 0,
      timer: null,
    }
    this.#followed.set(key, followed)
    this.#changed.add(followed)
    this.#pump()
  }

  remove(log: FollowerLog): void {
    this.#drop(log)
  }

  /** The leader is in another place, or another process: what was sent to the old one is over. */
  reconnect(): void {
    if (this.#isClosed) return
    this.#connectTimer?.cancel()
    this.#connectTimer = null
    this.#connectRetries = 0
    this.#attempt += 1
    this.#isConnecting = false
    this.#link?.close()
    this.#link = null
    this.#pump()
  }

  /** What was fetched and is being appended is refused by the log, if it follows no more. */
  close(): void {
    this.#isClosed = true
    for (const followed of this.#followed.values()) followed.timer?.cancel()
    this.#followed.clear()
    this.#changed.clear()
    this.#connectTimer?.cancel()
    this.#link?.close()
    this.#link = null
  }

  #drop(log: FollowerLog): void {
    const key = keyOf(log.topicId, log.partition)
    const followed = this.#followed.get(key)
    if (followed === undefined) return
    this.#followed.delete(key)
    if (followed.isHeld) this.#heldCount -= 1
    this.#changed.delete(followed)
    followed.timer?.cancel()
    this.#forget(followed)
  }

  #forget(followed: Followed): void {
    if (followed.sentOffset < 0) return
    followed.sentOffset = -1
    const { topicId, partition } = followed.log
    this.#forgotten.set(followed.key, { topicId, partition })
  }

  /** Sends the next fetch, if it is time for it. */
  #pump(): void {
    if (this.#isClosed) return
    if (this.#link === null) {
      if (this.#followed.size > 0) this.#connect()
      return
    }
    if (this.#inFlight >= IN_FLIGHT_MAX) return
    // The first fetch of a session tells the id that all others need.
    if (this.#inFlight > 0 && (this.#changed.size === 0 || this.#sessionId === 0)) return
    if (this.#heldCount === this.#followed.size && this.#forgotten.size === 0) return
    this.#requestCount += 1
    const number = this.#requestCount
    const request = this.#request(number)
    const { sessionEpoch } = request
    this.#sessionEpoch = sessionEpoch === SESSION_EPOCH_MAX ? 1 : sessionEpoch + 1
    const link = this.#link
    this.#inFlight += 1
    const answered = link.fetch(request)
    // Whoever takes it may still be at work on the answer before when it is lost.
    answered.catch(() => undefined)
    this.#work = this.#work
      .then(async () => {
        const answer = await answered
        if (link === this.#link) await this.#take(answer, number)
        else answer.drop()
      })
      .then(
        () => this.#done(link),
        (error: unknown) => this.#lose(link, error),
      )
  }

  #done(link: LeaderLink): void {
    if (link !== this.#link) return
    this.#inFlight -= 1
    this.#pump()
  }

  #connect(): void {
    if (this.#isConnecting || this.#connectTimer !== null) return
    const { leaderId, address, open, logger } = this.#options
    const where = address()
    if (where === undefined) {
      this.#connectLater()
      return
    }
    this.#isConnecting = true
    this.#attempt += 1
    const attempt = this.#attempt
    open(where).then(
      (link) => {
        if (this.#isClosed || attempt !== this.#attempt) {
          link.close()
          return
        }
        this.#isConnecting = false
        this.#link = link
        this.#connectRetries = 0
        this.#inFlight = 0
        this.#begin()
        this.#pump()
      },
      (error: unknown) => {
        if (this.#isClosed || attempt !== this.#attempt) return
        this.#isConnecting = false
        // One line for the first attempt; the others are of the same kind.
        const level = this.#connectRetries === 0 ? 'warn' : 'debug'
        logger[level]({ leader: leaderId, error: String(error) }, 'a leader cannot be reached')
        this.#options.lost(leaderId)
        this.#connectLater()
      },
    )
  }

  #connectLater(): void {
    const { timers, backoffMs } = this.#options
    const delayMs = Math.min(backoffMs, FIRST_CONNECT_RETRY_MS * 2 ** this.#connectRetries)
    this.#connectRetries += 1
    this.#connectTimer = timers.schedule(delayMs, () => {
      this.#connectTimer = null
      this.#pump()
    })
  }

  /** A new session has nothing yet. */
  #begin(): void {
    this.#sessionId = 0
    this.#sessionEpoch = 0
    this.#forgotten.clear()
    for (const followed of this.#followed.values()) {
      followed.sentOffset = -1
      if (!followed.isHeld) this.#changed.add(followed)
    }
  }

  #lose(link: LeaderLink, error: unknown): void {
    if (link !== this.#link || this.#isClosed) return
    const { leaderId, logger } = this.#options
    logger.info({ leader: leaderId, error: String(error) }, 'the connection to a leader is lost')
    link.close()
    this.#link = null
    this.#options.lost(leaderId)
    this.#connectLater()
  }

  #request(number: number): FetchRequestInput & { readonly sessionEpoch: number } {
    const { brokerId, brokerEpoch, clusterId, maxWaitMs, minBytes, maxBytes } = this.#options
    const topics = new Map<string, FetchPartitionInput[]>()
    this.#throttle()
    for (const followed of this.#changed) {
      const { log, leaderEpoch } = followed
      const fetchOffset = log.logEnd
      if (fetchOffset < 0) continue
      followed.sentOffset = fetchOffset
      followed.sentIn = number
      this.#forgotten.delete(followed.key)
      const list = topics.get(log.topicId)
      const entry = {
        partition: log.partition,
        currentLeaderEpoch: leaderEpoch,
        fetchOffset,
        lastFetchedEpoch: log.lastEpoch,
        logStartOffset: log.logStart,
        partitionMaxBytes: this.#options.partitionMaxBytes,
      }
      if (list === undefined) topics.set(log.topicId, [entry])
      else list.push(entry)
    }
    this.#changed.clear()
    const forgotten = new Map<string, number[]>()
    for (const { topicId, partition } of this.#forgotten.values()) {
      const list = forgotten.get(topicId)
      if (list === undefined) forgotten.set(topicId, [partition])
      else list.push(partition)
    }
    this.#forgotten.clear()
    return {
      clusterId,
      replicaState: { replicaId: brokerId, replicaEpoch: brokerEpoch() },
      maxWaitMs,
      minBytes,
      maxBytes,
      isolationLevel: 0,
      sessionId: this.#sessionId,
      sessionEpoch: this.#sessionId === 0 ? 0 : this.#sessionEpoch,
      topics: [...topics].map(([topicId, partitions]) => ({ topicId, partitions })),
      forgottenTopicsData: [...forgotten].map(([topicId, partitions]) => ({ topicId, partitions })),
    }
  }

  /** Leaves out for a while what lags and had its share. */
  #throttle(): void {
    const { quota, timers } = this.#options
    if (!quota.isExceeded) return
    for (const followed of this.#changed) {
      if (!followed.isLagging || !quota.isThrottled(followed.log)) continue
      this.#leaveOut(followed)
      followed.timer = timers.schedule(THROTTLE_MS, () => {
        followed.timer = null
        this.#resume(followed)
      })
    }
  }

  async #take(answer: FetchAnswer, number: number): Promise<void> {
    const { response } = answer
    if (response.errorCode !== 0) {
      answer.drop()
      const isSession =
        response.errorCode === ErrorCode.FETCH_SESSION_ID_NOT_FOUND ||
        response.errorCode === ErrorCode.INVALID_FETCH_SESSION_EPOCH
      if (!isSession) throw new Error(`the leader answers ${errorName(response.errorCode)}`)
      this.#begin()
      return
    }
    if (response.sessionId === 0) {
      // No room for sessions at the leader: every fetch tells everything.
      for (const followed of this.#followed.values()) {
        if (!followed.isHeld) this.#changed.add(followed)
      }
    }
    this.#sessionId = response.sessionId
    const appends: FetchedRecords[] = []
    const into: Followed[] = []
    const taken: [Followed, PartitionAnswer][] = []
    const { quota, clock } = this.#options
    const nowMs = clock.nowMs()
    for (const { topicId, partitions } of response.responses) {
      for (const one of partitions) {
        const followed = this.#followed.get(keyOf(topicId, one.partitionIndex))
        if (followed === undefined || followed.isHeld || followed.sentOffset < 0) continue
        const { log, leaderEpoch } = followed
        const isOld = followed.sentIn > number
        if (followed.sentOffset !== log.logEnd) {
          // By what was under way when it led, or followed in the epoch before: nobody has compared
          // that with this leader's log, and the leader has to be told.
          if (!isOld) this.#changed.add(followed)
          continue
        }
        // The fetch that moves the session on was not there yet: this is of the position before.
        if (isOld ? !isPlain(one) : !this.#takeHead(followed, one)) continue
        taken.push([followed, one])
        const { records } = one
        if (!isOld && quota.isThrottled(log)) quota.record(records?.bytes ?? 0)
        if (isOld || records === null || records.bytes === 0) {
          if (one.highWatermark > log.highWatermark) {
            log.moveHighWatermark(one.highWatermark, leaderEpoch)
          }
          continue
        }
        into.push(followed)
        appends.push({
          log: log.log,
          position: records.position,
          bytes: records.bytes,
          leaderEpoch,
          nowMs,
          highWatermark: one.highWatermark,
        })
      }
    }
    if (appends.length === 0) answer.drop()
    else {
      const errors = await answer.append(appends)
      for (const [i, followed] of into.entries()) this.#appended(followed, errors[i] as number)
    }
    for (const [followed, one] of taken) {
      followed.isLagging = one.highWatermark > followed.log.logEnd
      this.#followStart(followed, one)
    }
  }

  #isCurrent(followed: Followed): boolean {
    return this.#followed.get(followed.key) === followed
  }

  #appended(followed: Followed, errorCode: number): void {
    if (!this.#isCurrent(followed)) return
    if (errorCode === 0) {
      this.#changed.add(followed)
      return
    }
    // Another leader is followed by now; this broker is about to be told.
    if (errorCode !== ErrorCode.FENCED_LEADER_EPOCH) {
      const { topic, partition } = followed.log
      this.#options.logger.error(
        { topic, partition, errorCode: errorName(errorCode), offset: followed.log.logEnd },
        'what a leader sent could not be appended; it is fetched again',
      )
    }
    this.#hold(followed, this.#options.backoffMs)
  }

  /** Whether the answer is one that goes on; anything else is taken care of. */
  #takeHead(followed: Followed, one: PartitionAnswer): boolean {
    switch (one.errorCode) {
      case ErrorCode.NONE:
        followed.retries = 0
        if (isPlain(one)) return true
        this.#cut(followed, () => this.#truncate(followed, one.divergingEpoch))
        return false
      case ErrorCode.OFFSET_OUT_OF_RANGE:
        this.#cut(followed, () => this.#comeIntoRange(followed))
        return false
      case ErrorCode.UNKNOWN_LEADER_EPOCH:
      case ErrorCode.NOT_LEADER_OR_FOLLOWER:
      case ErrorCode.UNKNOWN_TOPIC_ID:
      case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
      case ErrorCode.FENCED_LEADER_EPOCH:
        this.#hold(followed, FIRST_RETRY_MS * 2 ** followed.retries)
        return false
      default:
        this.#options.logger.warn(
          {
            topic: followed.log.topic,
            partition: followed.log.partition,
            errorCode: errorName(one.errorCode),
          },
          'a leader cannot be followed for now',
        )
        this.#hold(followed, this.#options.backoffMs)
        return false
    }
  }

  #followStart(followed: Followed, { logStartOffset, highWatermark }: PartitionAnswer): void {
    const { log } = followed
    if (logStartOffset <= log.logStart || !this.#isCurrent(followed)) return
    // The move of the high watermark is on its way, and comes first.
    if (logStartOffset > Math.max(log.highWatermark, Math.min(highWatermark, log.logEnd))) return
    log.moveLogStart(logStartOffset).then(
      () => {
        // The leader waits to hear of it.
        if (!this.#isCurrent(followed) || followed.isHeld) return
        this.#changed.add(followed)
        this.#pump()
      },
      (error: unknown) => {
        this.#options.logger.error(
          { topic: log.topic, partition: log.partition, error: String(error) },
          'the start of a log could not be moved',
        )
      },
    )
  }

  /** Leaves a partition out of the session for a while. */
  #hold(followed: Followed, delayMs: number): void {
    this.#leaveOut(followed)
    followed.retries += 1
    followed.timer = this.#options.timers.schedule(
      Math.min(delayMs, this.#options.backoffMs),
      () => {
        followed.timer = null
        this.#resume(followed)
      },
    )
  }

  #leaveOut(followed: Followed): void {
    if (!followed.isHeld) this.#heldCount += 1
    followed.isHeld = true
    this.#changed.delete(followed)
    this.#forget(followed)
  }

  #resume(followed: Followed): void {
    if (!this.#isCurrent(followed)) return
    this.#heldCount -= 1
    followed.isHeld = false
    this.#changed.add(followed)
    this.#pump()
  }

  /** Changes the log while the partition is out of the session. */
  #cut(followed: Followed, change: () => Promise<void>): void {
    this.#leaveOut(followed)
    change().then(
      () => this.#resume(followed),
      (error: unknown) => {
        if (!this.#isCurrent(followed)) return
        const { topic, partition } = followed.log
        this.#options.logger.error(
          { topic, partition, error: String(error) },
          'a log could not be made like its leader; it is tried again',
        )
        this.#hold(followed, this.#options.backoffMs)
      },
    )
  }

  /**
   * The leader's epoch `epoch` ended at `endOffset`, and ours goes further, or the leader does not
   * know our last one. If we do not know its epoch either, the next fetch tells more.
   */
  async #truncate(
    followed: Followed,
    diverging: { readonly epoch: number; readonly endOffset: number },
  ): Promise<void> {
    const { log, leaderEpoch } = followed
    if (diverging.endOffset < 0) {
      // Nothing in common is known: what is committed is.
      await log.truncate(log.highWatermark, { leaderEpoch })
      return
    }
    const [epoch, endOffset] = await log.epochEndOffset(diverging.epoch)
    if (!this.#isCurrent(followed)) return
    const end = log.logEnd
    const offset =
      epoch < 0
        ? Math.min(diverging.endOffset, end)
        : epoch === diverging.epoch
          ? Math.min(endOffset, diverging.endOffset, end)
          : Math.min(endOffset, end)
    this.#options.logger.info(
      { topic: log.topic, partition: log.partition, offset, logEnd: end, epoch: diverging.epoch },
      'a log is cut where its leader went another way',
    )
    await log.truncate(offset, { leaderEpoch })
  }

  /** The leader does not have what comes next: it begins later or ends earlier than this log. */
  async #comeIntoRange(followed: Followed): Promise<void> {
    const { log, leaderEpoch } = followed
    const link = this.#link
    if (link === null) return
    const { topic, partition } = log
    const leader = await link.offsets({ topic, partition, leaderEpoch })
    if (leader.errorCode !== 0) {
      throw new Error(`the leader answers ${errorName(leader.errorCode)} to ListOffsets`)
    }
    if (!this.#isCurrent(followed)) return
    const what = { topic, partition, logEnd: log.logEnd, leader }
    if (leader.logEnd < log.logEnd) {
      this.#options.logger.warn(what, 'a log is longer than that of its leader; it is cut')
      await log.truncate(leader.logEnd, { leaderEpoch })
    } else if (leader.logStart > log.logEnd) {
      this.#options.logger.warn(what, 'a log ends before its leader begins; it starts anew there')
      await log.truncate(leader.logStart, { leaderEpoch, fully: true })
    } else {
      throw new Error('the leader has what it says it has not')
    }
  }
}

/** No error, and no divergence. */
function isPlain({ errorCode, divergingEpoch: { epoch, endOffset } }: PartitionAnswer): boolean {
  return errorCode === 0 && epoch < 0 && endOffset < 0
}

function keyOf(topicId: string, partition: number): string {
  return `${topicId}-${partition}`
}
