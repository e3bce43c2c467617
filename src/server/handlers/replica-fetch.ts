// Hot path.
/**
 * Fetch from followers of the partitions that this broker leads. Each tells how far its log is, and
 * that commits; it reads up to the log end.
 *
 * A follower keeps one fetch at its leader for all of its partitions, thousands of them, in one
 * session. What a session costs is what changes in it: an answer looks at the partitions that the
 * request names, those whose logs have moved since, and those that had an error or more to give.
 *
 * Sessions belong to their connection and end with it. Main thread.
 */
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { addon } from '../../native/addon.ts'
import type { Connection } from '../../network/connection.ts'
import type { Frame } from '../../network/request-handler.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import { Fetch, type FetchRequest } from '../../protocol/messages/fetch.ts'
import type { FetchPurgatory } from '../../replica/delayed-fetch.ts'
import type { Partition } from '../../replica/partition.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { Clock } from '../../util/clock.ts'
import type { Random } from '../../util/random.ts'
import type { TimerQueue } from '../../util/timer-queue.ts'
import { divergenceOf } from '../divergence.ts'
import {
  answerOf,
  checkLeaderEpoch,
  failedAnswer,
  type PartitionAnswer,
  sizeOf,
  type TopicAnswer,
} from '../fetch-answer.ts'
import { errorOfMissing } from '../hosted-partition.ts'
import type { LeaderHints } from '../leader-hints.ts'
import { NO_ROW, type ParkedFetch, ReplicaPosition, ReplicaSession } from '../replica-session.ts'
import type { Responder } from '../responder.ts'
import { RowWatches } from '../row-watches.ts'

const SESSION_ID_MAX = 0x7fffffff
const SESSION_EPOCH_MAX = 0x7fffffff
const NEW_SESSION = 0
/** `locate` answers errors as -(1000 + code). */
const ERROR_BASE = 1000

/** Limits what replicas that are not in sync fetch (`leader.replication.throttled.rate`). */
export interface LeaderQuota {
  isThrottled(partition: Partition, replicaId: number): boolean
  readonly isExceeded: boolean
  /** Bytes of throttled replicas have been sent. */
  record(bytes: number): void
}

export interface ReplicaFetchServices {
  readonly responder: Responder
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  readonly purgatory: FetchPurgatory
  readonly leaders: LeaderHints
  readonly timers: TimerQueue
  readonly clock: Clock
  readonly random: Random
  readonly fetchMaxBytes: number
  /** Epoch that a broker is registered with; −1 if it is not. */
  readonly epochOf: (brokerId: number) => number
  /**
   * How long a follower may wait to hear of a new high watermark when there is nothing else to tell
   * it. In a stream of appends the next one tells it, and an answer for it alone would double the
   * traffic.
   */
  readonly highWatermarkDelayMs: number
  readonly quota?: LeaderQuota
}

/** What an attempt to answer has found. */
interface Draft {
  readonly topics: TopicAnswer[]
  readonly positions: ReplicaPosition[]
  /** Those that the answers name. */
  leaders: Set<number> | undefined
}

export class ReplicaFetchHandler {
  readonly #services: ReplicaFetchServices
  readonly #sessions = new Map<Connection, ReplicaSession>()
  readonly #rows: RowWatches
  #evaluations = 0

  constructor(services: ReplicaFetchServices) {
    this.#services = services
    this.#rows = new RowWatches(services.purgatory)
    services.purgatory.follow({
      advanced: (row) => this.#advanced(row),
      expired: (row) => this.#expired(row),
      stopped: () => this.#stopped(),
    })
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** 0 if it has none. */
  sessionIdOf(connection: Connection): number {
    return this.#sessions.get(connection)?.id ?? 0
  }

  /** Fetches that wait. */
  get parkedCount(): number {
    let count = 0
    for (const { parked } of this.#sessions.values()) if (parked !== null) count += 1
    return count
  }

  /** How often a partition was looked at. */
  get evaluations(): number {
    return this.#evaluations
  }

  /** Answers or parks a fetch that is known to come from the replica that it names. */
  handle(frame: Frame, request: FetchRequest): void {
    const session = this.#sessionOf(frame, request)
    if (typeof session === 'number') {
      this.#services.responder.respond(Fetch, frame, {
        errorCode: session,
        sessionId: 0,
        responses: [],
      })
      return
    }
    this.#services.replicas.leases.heard(session.replicaId)
    const isFull = request.sessionEpoch <= 0
    // Whoever sends a second fetch wants the answer to the first.
    const isBehindAnother = session.parked !== null
    if (isBehindAnother) this.#attempt(session, true)
    if (!isFull) this.#forget(session, request)
    // Positions first: what they commit is waited for.
    this.#take(session, request)
    const { minBytes, maxBytes, maxWaitMs } = request
    session.parked = {
      frame,
      minBytes,
      maxBytes: Math.min(maxBytes, this.#services.fetchMaxBytes),
      deadlineMs: this.#services.clock.monotonicMs() + Math.max(0, maxWaitMs),
      isFull,
      unawareOf: isBehindAnother ? session.answers : -1,
    }
    if (!this.#attempt(session, maxWaitMs <= 0)) this.#schedule(session)
  }

  /** The session of a fetch, or an error code. */
  #sessionOf(frame: Frame, request: FetchRequest): ReplicaSession | number {
    const { connection } = frame
    const { sessionId, sessionEpoch } = request
    const { replicaId, replicaEpoch } = request.replicaState
    const known = this.#sessions.get(connection)
    if (sessionId !== 0 && sessionEpoch > 0) {
      const isIts =
        known !== undefined &&
        known.id === sessionId &&
        known.replicaId === replicaId &&
        known.replicaEpoch === replicaEpoch &&
        this.#services.epochOf(replicaId) === replicaEpoch
      if (!isIts) {
        if (known?.parked) this.#attempt(known, true)
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
      }
      if (known.epoch !== sessionEpoch) {
        if (known.parked !== null) this.#attempt(known, true)
        return ErrorCode.INVALID_FETCH_SESSION_EPOCH
      }
      known.epoch = known.epoch === SESSION_EPOCH_MAX ? 1 : known.epoch + 1
      return known
    }
    if (known !== undefined) this.#end(known)
    const id =
      sessionEpoch === NEW_SESSION ? this.#services.random.integer(SESSION_ID_MAX - 1) + 1 : 0
    const session = new ReplicaSession({ id, connection, replicaId, replicaEpoch })
    if (known === undefined) connection.onClose.add(() => this.#closed(connection))
    this.#sessions.set(connection, session)
    return session
  }

  #closed(connection: Connection): void {
    const session = this.#sessions.get(connection)
    this.#sessions.delete(connection)
    if (session === undefined) return
    this.#services.replicas.leases.left(session.replicaId)
    session.parked = null
    this.#end(session)
  }

  #end(session: ReplicaSession): void {
    if (session.parked !== null) this.#attempt(session, true)
    session.timer?.cancel()
    session.timer = null
    session.dirty.clear()
    for (const positions of session.topics.values()) {
      for (const position of positions.values()) this.#rows.watch(position, NO_ROW)
    }
    session.topics.clear()
  }

  #forget(session: ReplicaSession, request: FetchRequest): void {
    for (const { topicId, partitions } of request.forgottenTopicsData) {
      const positions = session.topics.get(topicId)
      if (positions === undefined) continue
      for (const partition of partitions) {
        const position = positions.get(partition)
        if (position === undefined) continue
        positions.delete(partition)
        session.dirty.delete(position)
        this.#rows.watch(position, NO_ROW)
      }
      if (positions.size === 0) session.topics.delete(topicId)
    }
  }

  #take(session: ReplicaSession, request: FetchRequest): void {
    for (const { topicId, partitions } of request.topics) {
      let positions = session.topics.get(topicId)
      if (positions === undefined) {
        positions = new Map()
        session.topics.set(topicId, positions)
      }
      for (const one of partitions) {
        let position = positions.get(one.partition)
        if (position === undefined) {
          position = new ReplicaPosition(session, topicId, one.partition)
          positions.set(one.partition, position)
        }
        position.currentLeaderEpoch = one.currentLeaderEpoch
        position.fetchOffset = one.fetchOffset
        position.lastFetchedEpoch = one.lastFetchedEpoch
        position.logStart = one.logStartOffset
        position.maxBytes = one.partitionMaxBytes
        position.sentIn = -1
        this.#accept(position)
        session.dirty.add(position)
      }
    }
  }

  /** Checks a position and has it counted; what is wrong with it is kept. */
  #accept(position: ReplicaPosition): void {
    const { session } = position
    const { replicaId, replicaEpoch } = session
    position.isAccepted = false
    position.diverging = undefined
    const partition = this.#find(position)
    if (partition === undefined) return
    const { leader } = partition
    position.errorCode = this.#refusal(position, partition)
    if (position.errorCode !== 0 || leader === null) return
    const divergence = divergenceOf(partition, position)
    if (divergence) {
      position.diverging = divergence
      return
    }
    const { fetchOffset } = position
    if (divergence === null || fetchOffset < partition.logStart || fetchOffset > partition.logEnd) {
      position.errorCode = ErrorCode.OFFSET_OUT_OF_RANGE
      return
    }
    position.isAccepted = true
    this.#rows.watch(position, partition.row)
    this.#services.replicas.followerFetched(partition, replicaId, {
      fetchOffset,
      logStart: position.logStart,
      brokerEpoch: replicaEpoch,
    })
  }

  /** The partition, if it is here; the error code says why not. */
  #find(position: ReplicaPosition): Partition | undefined {
    const { replicas } = this.#services
    // The controller tells of a leadership before it tells of the topic.
    const partition = replicas.partitionById(position.topicId, position.partition)
    if (partition === undefined) {
      position.errorCode = this.#whyMissing(position)
      return undefined
    }
    if (partition.isOnline) return partition
    position.errorCode = ErrorCode.KAFKA_STORAGE_ERROR
    return undefined
  }

  #whyMissing({ topicId, partition }: ReplicaPosition): number {
    const { metadata, replicas } = this.#services
    const name = metadata.topicById(topicId)?.name
    if (name === undefined) return ErrorCode.UNKNOWN_TOPIC_ID
    return replicas.partition(name, partition) === undefined
      ? errorOfMissing(metadata, name, partition)
      : ErrorCode.INCONSISTENT_TOPIC_ID
  }

  #refusal(position: ReplicaPosition, partition: Partition): number {
    const { leader } = partition
    const { replicaId, replicaEpoch } = position.session
    const wrongEpoch = checkLeaderEpoch(position.currentLeaderEpoch, partition.leaderEpoch)
    if (wrongEpoch !== 0) return wrongEpoch
    if (leader === null) return ErrorCode.NOT_LEADER_OR_FOLLOWER
    // What a broker sent before it was registered anew says nothing of its log (KIP-903).
    if (this.#services.epochOf(replicaId) !== replicaEpoch) return ErrorCode.NOT_LEADER_OR_FOLLOWER
    // Its controller may know of a reassignment that has not arrived here.
    if (!leader.replicas.includes(replicaId)) return ErrorCode.UNKNOWN_LEADER_EPOCH
    return ErrorCode.NONE
  }

  #advanced(row: number): void {
    for (const position of this.#rows.moved(row)) this.#wake(position)
  }

  /** The row's partition has another role, or is gone. */
  #expired(row: number): void {
    for (const position of this.#rows.moved(row)) {
      position.isAccepted = false
      this.#wake(position)
    }
  }

  /** The event may be one of many of this turn of the loop: they are answered together. */
  #wake(position: ReplicaPosition): void {
    const { session } = position
    session.dirty.add(position)
    if (session.parked === null || session.isWoken) return
    session.isWoken = true
    queueMicrotask(() => {
      session.isWoken = false
      if (session.parked !== null && !this.#attempt(session, false)) this.#schedule(session)
    })
  }

  #stopped(): void {
    for (const session of this.#sessions.values()) {
      if (session.parked !== null) this.#attempt(session, true)
    }
  }

  /** One timer per session, which is left alone as long as it comes early enough. */
  #schedule(session: ReplicaSession): void {
    const { parked } = session
    if (parked === null) return
    let dueMs = parked.deadlineMs
    if (session.newsSinceMs >= 0) {
      dueMs = Math.min(dueMs, session.newsSinceMs + this.#services.highWatermarkDelayMs)
    }
    if (session.timer !== null && session.timerMs <= dueMs) return
    session.timer?.cancel()
    session.timerMs = dueMs
    const delayMs = Math.max(0, dueMs - this.#services.clock.monotonicMs())
    session.timer = this.#services.timers.schedule(delayMs, () => {
      session.timer = null
      if (session.parked !== null && !this.#attempt(session, false)) this.#schedule(session)
    })
  }

  /** Answers the parked fetch with what there is, if that is enough or it has to be. */
  #attempt(session: ReplicaSession, mustAnswer: boolean): boolean {
    const parked = session.parked as ParkedFetch
    const { responder, clock } = this.#services
    if (session.connection.closed) {
      session.parked = null
      return true
    }
    if (!mustAnswer && !this.#isWorthAnAttempt(session, parked)) return false
    addon.clearStaged(responder.transport)
    const draft: Draft = { topics: [], positions: [], leaders: undefined }
    let bytes = 0
    // A new session's id is waited for.
    let isUrgent = mustAnswer || parked.minBytes <= 0 || (parked.isFull && session.id !== 0)
    for (const position of session.dirty) {
      if (position.sentIn >= 0 && position.sentIn === parked.unawareOf) continue
      const answer = this.#evaluate(position, Math.max(0, parked.maxBytes - bytes), bytes === 0)
      if (answer === null) continue
      if (answer.errorCode !== 0 || answer.divergingEpoch !== undefined) isUrgent = true
      bytes += sizeOf(answer)
      place(draft, position, answer)
    }
    const now = clock.monotonicMs()
    const isNews = draft.positions.length > 0 && session.id !== 0
    if (isNews && session.newsSinceMs < 0) session.newsSinceMs = now
    isUrgent ||=
      (bytes > 0 && bytes >= parked.minBytes) ||
      now >= parked.deadlineMs ||
      (session.newsSinceMs >= 0 && now >= session.newsSinceMs + this.#services.highWatermarkDelayMs)
    if (!isUrgent) {
      addon.clearStaged(responder.transport)
      return false
    }
    this.#respond(session, parked, draft)
    return true
  }

  /**
   * A glance at the published rows, which says most times that there are no records: every append
   * moves the high watermark as well, and every fetch comes with nothing behind it.
   */
  #isWorthAnAttempt(session: ReplicaSession, parked: ParkedFetch): boolean {
    if (parked.isFull || parked.minBytes <= 0) return true
    const { clock, replicas, highWatermarkDelayMs } = this.#services
    const now = clock.monotonicMs()
    const { newsSinceMs } = session
    if (now >= parked.deadlineMs) return true
    if (newsSinceMs >= 0 && now >= newsSinceMs + highWatermarkDelayMs) return true
    let isNews = false
    for (const position of session.dirty) {
      if (position.sentIn >= 0 && position.sentIn === parked.unawareOf) continue
      if (!position.isAccepted || position.diverging !== undefined) return true
      this.#rows.arm(position.row)
      const partition = replicas.byRow(position.row)
      if (!partition?.isOnline || partition.logEnd > position.fetchOffset) return true
      const hasNews =
        partition.highWatermark !== position.toldHighWatermark ||
        partition.logStart !== position.toldLogStart
      if (hasNews) isNews = true
      else session.dirty.delete(position)
    }
    if (isNews && session.id !== 0 && newsSinceMs < 0) session.newsSinceMs = now
    return false
  }

  #respond(session: ReplicaSession, parked: ParkedFetch, draft: Draft): void {
    session.parked = null
    session.newsSinceMs = -1
    session.answers += 1
    let at = 0
    for (const { partitions } of draft.topics) {
      for (const answer of partitions) {
        this.#told(draft.positions[at] as ReplicaPosition, answer)
        at += 1
      }
    }
    const { responder, leaders } = this.#services
    responder.respond(Fetch, parked.frame, {
      errorCode: 0,
      sessionId: session.id,
      responses: draft.topics,
      nodeEndpoints:
        draft.leaders === undefined
          ? undefined
          : leaders.endpoints(draft.leaders, session.connection.listenerName),
    })
  }

  #told(position: ReplicaPosition, answer: PartitionAnswer): void {
    const { session } = position
    const isGood = answer.errorCode === 0
    position.toldHighWatermark = isGood ? answer.highWatermark : -1
    position.toldLogStart = isGood ? answer.logStartOffset : -1
    if (sizeOf(answer) > 0) {
      position.sentIn = session.answers
      if (position.isThrottled) this.#services.quota?.record(sizeOf(answer))
      // Others come before it next time.
      session.dirty.delete(position)
      session.dirty.add(position)
    } else if (isGood && answer.divergingEpoch === undefined && !position.hasMore) {
      session.dirty.delete(position)
    }
  }

  /** What there is to tell of a partition; null if that is nothing. */
  #evaluate(position: ReplicaPosition, left: number, isFirst: boolean): PartitionAnswer | null {
    this.#evaluations += 1
    let partition = this.#find(position)
    if (partition === undefined) {
      position.isAccepted = false
      return this.#fail(position, partition)
    }
    if (!position.isAccepted || position.row !== partition.row) {
      this.#accept(position)
      partition = this.#find(position)
    } else {
      position.errorCode = this.#refusal(position, partition)
    }
    if (partition === undefined || position.errorCode !== 0) return this.#fail(position, partition)
    return this.#read(position, partition, left, isFirst)
  }

  #read(
    position: ReplicaPosition,
    partition: Partition,
    left: number,
    isFirst: boolean,
  ): PartitionAnswer | null {
    this.#rows.arm(position.row)
    const answer = answerOf(position.partition, partition)
    if (position.diverging !== undefined) {
      answer.divergingEpoch = position.diverging
      return answer
    }
    const end = partition.logEnd
    position.hasMore = position.fetchOffset < end
    const maxBytes = Math.min(position.maxBytes, left)
    if (position.hasMore && (maxBytes > 0 || isFirst) && !this.#mustWait(position, partition)) {
      const located = addon.locate(
        this.#services.responder.transport,
        partition.log,
        position.fetchOffset,
        maxBytes,
        end,
        isFirst,
      )
      if (located < 0) {
        position.errorCode = -located - ERROR_BASE
        position.isAccepted = false
        return this.#fail(position, partition)
      }
      if (located > 0) {
        answer.records = { bytes: located }
        return answer
      }
    }
    const isNews =
      answer.highWatermark !== position.toldHighWatermark ||
      answer.logStartOffset !== position.toldLogStart
    if (isNews || position.session.parked?.isFull) return answer
    if (!position.hasMore) position.session.dirty.delete(position)
    return null
  }

  /** Whether the replica has had enough; one in sync must not fall out of it for that. */
  #mustWait(position: ReplicaPosition, partition: Partition): boolean {
    const { quota } = this.#services
    if (quota === undefined) return false
    const { replicaId } = position.session
    const isInSync = partition.leader?.isr.includes(replicaId) === true
    position.isThrottled = !isInSync && quota.isThrottled(partition, replicaId)
    return position.isThrottled && quota.isExceeded
  }

  #fail(position: ReplicaPosition, partition: Partition | undefined): PartitionAnswer {
    const answer = failedAnswer(position.partition, position.errorCode)
    const topic = partition?.topic ?? this.#services.metadata.topicById(position.topicId)?.name
    if (topic !== undefined) {
      answer.currentLeader = this.#services.leaders.of(
        position.errorCode,
        topic,
        position.partition,
        partition,
      )
    }
    return answer
  }
}

/** Topics in the order in which they come, so that regions and answers stay in step. */
function place(draft: Draft, position: ReplicaPosition, answer: PartitionAnswer): void {
  const last = draft.topics[draft.topics.length - 1]
  if (last !== undefined && last.topicId === position.topicId) {
    last.partitions.push(answer)
  } else {
    draft.topics.push({ topic: '', topicId: position.topicId, partitions: [answer] })
  }
  draft.positions.push(position)
  if (answer.currentLeader === undefined) return
  draft.leaders ??= new Set()
  draft.leaders.add(answer.currentLeader.leaderId)
}
