// Hot path.
/**
 * Fetch: looks up file regions and answers with them; what is short of minBytes waits in the
 * purgatory. The records go from the page cache to the socket without passing through here, except
 * for clients that need an older record format.
 */
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { addon } from '../../native/addon.ts'
import type { Frame } from '../../network/request-handler.ts'
import { decodeRequest } from '../../protocol/codec.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import { readRequestHeader } from '../../protocol/headers.ts'
import { Fetch, type FetchRequest } from '../../protocol/messages/fetch.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import type { FetchPurgatory } from '../../replica/delayed-fetch.ts'
import type { Partition } from '../../replica/partition.ts'
import type { RecordConverter } from '../../replica/record-converter.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { Logger } from '../../util/logger.ts'
import { divergenceOf } from '../divergence.ts'
import {
  answerOf,
  checkLeaderEpoch,
  failedAnswer,
  type PartitionAnswer,
  sizeOf,
  type TopicAnswer,
} from '../fetch-answer.ts'
import {
  type FetchedPartition,
  type FetchSession,
  type FetchSessionCache,
  fetchKey,
} from '../fetch-session.ts'
import { errorOfMissing } from '../hosted-partition.ts'
import type { LeaderHints } from '../leader-hints.ts'
import type { ReplicaSelector } from '../replica-selector.ts'
import type { Responder } from '../responder.ts'
import type { ReplicaFetchHandler } from './replica-fetch.ts'

const FIRST_FLEXIBLE = 12
const FIRST_TOTAL_LIMIT = 3
const FIRST_SESSION = 7
const FIRST_CURRENT_FORMAT = 4
const FIRST_STORAGE_ERROR = 6
const FIRST_ZSTD = 10
const FINAL_EPOCH = -1
const READ_COMMITTED = 1
/** Consumers of this version on may read from followers (KIP-392). */
const FIRST_FOLLOWER_READ = 11
/** Replicas tell their broker epochs (KIP-903). */
const FIRST_REPLICA_STATE = 15
const FIRST_CURRENT_LEADER = 12
const FIRST_ENDPOINTS = 16
/** `locate` answers errors as -(1000 + code). */
const ERROR_BASE = 1000

export interface FetchServices {
  readonly responder: Responder
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  readonly purgatory: FetchPurgatory
  readonly sessions: FetchSessionCache
  /** Serves the fetches that do come from the replica that they name. */
  readonly replicaFetch: ReplicaFetchHandler
  readonly leaders: LeaderHints
  /** null: consumers read from leaders. */
  readonly replicaSelector: ReplicaSelector | null
  readonly brokerId: number
  /** Epoch that a broker is registered with; −1 if it is not. */
  readonly epochOf: (brokerId: number) => number
  /** Whether a connection to that listener came from where a registered broker is. */
  readonly isBrokerAddress: (brokerId: number, address: string, listenerName: string) => boolean
  readonly fetchMaxBytes: number
  readonly decompressionMaxBytes: number
  readonly conversions: RecordConverter
  readonly logger: Logger
}

export class FetchHandler {
  readonly #services: FetchServices

  constructor(services: FetchServices) {
    this.#services = services
  }

  handle(frame: Frame): void {
    const { responder } = this.#services
    const version = frame.apiVersion
    const reader = responder.read(frame)
    if (reader === null) return
    readRequestHeader(reader, version >= FIRST_FLEXIBLE)
    const request = decodeRequest(Fetch, version, reader)
    if (version >= FIRST_REPLICA_STATE && this.#isFromReplica(frame, request)) {
      this.#services.replicaFetch.handle(frame, request)
      return
    }
    const context = this.#sessionOf(request, version)
    if (typeof context === 'number') {
      responder.respond(Fetch, frame, { errorCode: context, sessionId: 0, responses: [] })
      return
    }
    const fetch = new PendingFetch(this.#services, frame, request, context)
    const drop = this.#services.purgatory.answerOrPark(fetch)
    if (drop === null) return
    const { onClose } = frame.connection
    onClose.add(drop)
    fetch.done = () => onClose.delete(drop)
  }

  /**
   * Whether a replica has sent it, and not somebody who says so: what a replica fetches is taken as
   * committed (CVE-2018-1288). Without an epoch nobody is a replica.
   */
  #isFromReplica(frame: Frame, request: FetchRequest): boolean {
    const { replicaId, replicaEpoch } = request.replicaState
    const { brokerId, epochOf, isBrokerAddress } = this.#services
    if (replicaId < 0 || replicaEpoch < 0 || replicaId === brokerId) return false
    const { address, listenerName } = frame.connection
    return epochOf(replicaId) >= 0 && isBrokerAddress(replicaId, address, listenerName)
  }

  /** What to fetch, and in which session; or an error code. */
  #sessionOf(request: FetchRequest, version: number): FetchContext | number {
    const { sessions } = this.#services
    const named = partitionsOf(request)
    if (version < FIRST_SESSION) return { partitions: named, session: null, incremental: false }
    const { sessionId, sessionEpoch } = request
    if (sessionEpoch === FINAL_EPOCH || (sessionId === 0 && sessionEpoch !== 0)) {
      sessions.remove(sessionId)
      return { partitions: named, session: null, incremental: false }
    }
    if (sessionEpoch === 0) {
      sessions.remove(sessionId)
      const session = sessions.create()
      for (const one of session === null ? [] : named) {
        session?.partitions.set(fetchKey(one.topic, one.topicId, one.partition), one)
      }
      return { partitions: named, session, incremental: false }
    }
    const session = sessions.get(sessionId)
    if (session === undefined) return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    if (session.epoch !== sessionEpoch) return ErrorCode.INVALID_FETCH_SESSION_EPOCH
    sessions.used(session)
    for (const { topic, topicId, partitions } of request.forgottenTopicsData) {
      for (const partition of partitions)
        session.partitions.delete(fetchKey(topic, topicId, partition))
    }
    for (const one of named) {
      const key = fetchKey(one.topic, one.topicId, one.partition)
      const known = session.partitions.get(key)
      if (known !== undefined) {
        one.toldHighWatermark = known.toldHighWatermark
        one.toldLogStart = known.toldLogStart
      }
      session.partitions.set(key, one)
    }
    return { partitions: [...session.partitions.values()], session, incremental: true }
  }
}

interface FetchContext {
  readonly partitions: readonly FetchedPartition[]
  readonly session: FetchSession | null
  readonly incremental: boolean
}

function partitionsOf(request: FetchRequest): FetchedPartition[] {
  const list: FetchedPartition[] = []
  for (const { topic, topicId, partitions } of request.topics) {
    for (const one of partitions) {
      list.push({
        topic,
        topicId,
        partition: one.partition,
        currentLeaderEpoch: one.currentLeaderEpoch,
        fetchOffset: one.fetchOffset,
        lastFetchedEpoch: one.lastFetchedEpoch,
        partitionMaxBytes: one.partitionMaxBytes,
        toldHighWatermark: -1,
        toldLogStart: -1,
      })
    }
  }
  return list
}

class PendingFetch {
  readonly rows: number[] = []
  readonly maxWaitMs: number
  /** Runs once the fetch was answered after it had waited. */
  done: (() => void) | null = null
  readonly #services: FetchServices
  readonly #frame: Frame
  readonly #request: FetchRequest
  readonly #wanted: readonly FetchedPartition[]
  readonly #context: FetchContext
  readonly #replicaId: number
  readonly #found: (Partition | undefined)[] = []
  /** Of the attempt before. */
  readonly #answers: (PartitionAnswer | undefined)[] = []
  #conversions: { answer: PartitionAnswer; one: FetchedPartition; stored: Buffer }[] = []

  constructor(services: FetchServices, frame: Frame, request: FetchRequest, context: FetchContext) {
    this.#services = services
    this.#frame = frame
    this.#request = request
    this.#wanted = context.partitions
    this.#context = context
    this.#replicaId =
      frame.apiVersion < FIRST_REPLICA_STATE ? request.replicaId : request.replicaState.replicaId
    this.maxWaitMs = Math.max(0, request.maxWaitMs)
    for (const one of context.partitions) {
      const partition = this.#find(one)
      this.#found.push(partition)
      if (partition?.isOnline) this.rows.push(partition.row)
    }
  }

  #nameOf(one: FetchedPartition): string | undefined {
    return one.topicId === ZERO_UUID
      ? one.topic
      : this.#services.metadata.topicById(one.topicId)?.name
  }

  #find(one: FetchedPartition): Partition | undefined {
    const { replicas } = this.#services
    if (one.topicId === ZERO_UUID) return replicas.partition(one.topic, one.partition)
    const partition = replicas.partitionById(one.topicId, one.partition)
    if (partition !== undefined) return partition
    const name = this.#nameOf(one)
    return name === undefined ? undefined : replicas.partition(name, one.partition)
  }

  attempt(expired: boolean, row?: number): boolean {
    const { responder } = this.#services
    if (this.#frame.connection.closed) return true
    addon.clearStaged(responder.transport)
    this.#conversions = []
    const version = this.#frame.apiVersion
    const wantedBytes = expired || this.maxWaitMs === 0 ? 0 : this.#request.minBytes
    let left = Math.min(
      version >= FIRST_TOTAL_LIMIT ? this.#request.maxBytes : Number.MAX_SAFE_INTEGER,
      this.#services.fetchMaxBytes,
    )
    let bytes = 0
    let urgent = this.#wanted.length === 0
    for (let i = 0; i < this.#wanted.length; i += 1) {
      const answer = this.#evaluate(i, { expired, row, left, isFirst: bytes === 0 })
      const size = sizeOf(answer)
      bytes += size
      left = Math.max(0, left - size)
      if (isUrgent(answer)) urgent = true
    }
    if (bytes < wantedBytes && !urgent) {
      addon.clearStaged(responder.transport)
      return false
    }
    this.done?.()
    const topics = this.#topicAnswers()
    if (this.#conversions.length === 0) {
      this.#respond(topics)
    } else {
      this.#convertAndRespond(topics).catch((error: unknown) => {
        this.#services.logger.error({ error: String(error) }, 'a conversion failed')
        addon.closeConnection(responder.transport, this.#frame.connection.id)
      })
    }
    return true
  }

  /** Partition `i`, read anew if there may be more to say of it than at the attempt before. */
  #evaluate(
    i: number,
    attempt: {
      readonly expired: boolean
      readonly row: number | undefined
      readonly left: number
      readonly isFirst: boolean
    },
  ): PartitionAnswer {
    let partition = this.#found[i]
    const last = this.#answers[i]
    if (last !== undefined && !attempt.expired && isUnmoved(last, partition, attempt.row))
      return last
    const one = this.#wanted[i] as FetchedPartition
    // It may be back, or gone for good.
    if (!partition?.isOnline) partition = this.#found[i] = this.#find(one)
    const answer = this.#read(one, partition, attempt.left, attempt.isFirst)
    this.#answers[i] = answer
    return answer
  }

  #topicAnswers(): TopicAnswer[] {
    const topics: TopicAnswer[] = []
    let topic: TopicAnswer | null = null
    for (let i = 0; i < this.#wanted.length; i += 1) {
      const one = this.#wanted[i] as FetchedPartition
      const answer = this.#answers[i] as PartitionAnswer
      if (this.#context.incremental && !isNews(one, answer)) continue
      if (topic === null || topic.topic !== one.topic || topic.topicId !== one.topicId) {
        topic = { topic: one.topic, topicId: one.topicId, partitions: [] }
        topics.push(topic)
      }
      topic.partitions.push(answer)
    }
    return topics
  }

  #respond(topics: readonly TopicAnswer[]): void {
    this.#remember(topics)
    this.#services.responder.respond(Fetch, this.#frame, {
      errorCode: 0,
      sessionId: this.#context.session?.id ?? 0,
      responses: topics,
      nodeEndpoints: this.#endpointsFor(topics),
    })
  }

  /** Where the leaders are that the answer names. */
  #endpointsFor(topics: readonly TopicAnswer[]) {
    if (this.#frame.apiVersion < FIRST_ENDPOINTS) return undefined
    let leaders: Set<number> | undefined
    for (const { partitions } of topics) {
      for (const { currentLeader } of partitions) {
        if (currentLeader === undefined) continue
        leaders ??= new Set()
        leaders.add(currentLeader.leaderId)
      }
    }
    if (leaders === undefined) return undefined
    return this.#services.leaders.endpoints(leaders, this.#frame.connection.listenerName)
  }

  #remember(topics: readonly TopicAnswer[]): void {
    const session = this.#context.session
    if (session === null) return
    for (const { topic, topicId, partitions } of topics) {
      for (const answer of partitions) {
        const one = session.partitions.get(fetchKey(topic, topicId, answer.partitionIndex))
        if (one === undefined) continue
        // An error is told again until it is gone.
        one.toldHighWatermark = answer.errorCode === 0 ? answer.highWatermark : -1
        one.toldLogStart = answer.errorCode === 0 ? answer.logStartOffset : -1
      }
    }
  }

  #read(
    one: FetchedPartition,
    partition: Partition | undefined,
    left: number,
    first: boolean,
  ): PartitionAnswer {
    const version = this.#frame.apiVersion
    if (partition === undefined) return this.#fail(one, this.#whyMissing(one))
    const refusal = this.#refusal(one, partition)
    if (refusal !== 0) return this.#fail(one, refusal, partition)
    const committed = this.#request.isolationLevel === READ_COMMITTED
    const answer = answerOf(one.partition, partition)
    if (committed) answer.abortedTransactions = []
    answer.preferredReadReplica = this.#preferredReplica(one, partition)
    if (answer.preferredReadReplica >= 0) return answer
    const divergence = divergenceOf(partition, one)
    if (divergence === null) return this.#fail(one, ErrorCode.OFFSET_OUT_OF_RANGE, partition)
    if (divergence !== undefined) {
      answer.divergingEpoch = divergence
      return answer
    }
    const limit = committed ? answer.lastStableOffset : answer.highWatermark
    const current = version >= FIRST_CURRENT_FORMAT
    // A whole first batch however small the limits are, so that a consumer can go on.
    // A conversion needs a whole batch to begin with; older versions cut its result instead.
    const minOne = version < FIRST_TOTAL_LIMIT || first
    const maxBytes = Math.min(one.partitionMaxBytes, left)
    const isInRange =
      one.fetchOffset >= answer.logStartOffset && one.fetchOffset <= partition.logEnd
    const hasRoom = maxBytes > 0 || minOne
    if (isInRange && (one.fetchOffset >= limit || !hasRoom)) return answer
    const { responder } = this.#services
    const located = addon.locate(
      responder.transport,
      partition.log,
      one.fetchOffset,
      Math.max(0, maxBytes),
      limit,
      minOne,
    )
    if (located < 0) return this.#fail(one, -located - ERROR_BASE, partition)
    if (located === 0) return answer
    if (current && !this.#hidesZstd(partition)) {
      answer.records = { bytes: located }
      return answer
    }
    if (!current && !partition.config.messageDownconversionEnable) {
      this.#unstage(located)
      return this.#fail(one, ErrorCode.UNSUPPORTED_VERSION)
    }
    return this.#convert(answer, one, partition, located)
  }

  #fail(one: FetchedPartition, errorCode: number, partition?: Partition): PartitionAnswer {
    const answer = failedAnswer(one.partition, errorCode)
    if (this.#frame.apiVersion >= FIRST_CURRENT_LEADER) {
      const name = this.#nameOf(one)
      if (name !== undefined) {
        answer.currentLeader = this.#services.leaders.of(errorCode, name, one.partition, partition)
      }
    }
    return answer
  }

  #whyMissing(one: FetchedPartition): number {
    const name = this.#nameOf(one)
    if (name === undefined) return ErrorCode.UNKNOWN_TOPIC_ID
    return errorOfMissing(this.#services.metadata, name, one.partition)
  }

  /** Why the partition cannot be read here; 0 if it can. */
  #refusal(one: FetchedPartition, partition: Partition): number {
    const version = this.#frame.apiVersion
    if (!partition.isOnline) {
      return version >= FIRST_STORAGE_ERROR
        ? ErrorCode.KAFKA_STORAGE_ERROR
        : ErrorCode.NOT_LEADER_OR_FOLLOWER
    }
    if (one.topicId !== ZERO_UUID && one.topicId !== partition.topicId) {
      return ErrorCode.INCONSISTENT_TOPIC_ID
    }
    const wrongEpoch = checkLeaderEpoch(one.currentLeaderEpoch, partition.leaderEpoch)
    if (wrongEpoch !== 0) return wrongEpoch
    if (partition.isLeader) return ErrorCode.NONE
    // Who neither leads nor follows may have been told nothing for long.
    return version >= FIRST_FOLLOWER_READ && partition.isFollower
      ? ErrorCode.NONE
      : ErrorCode.NOT_LEADER_OR_FOLLOWER
  }

  /** From where the consumer had better read; −1: from here. */
  #preferredReplica(one: FetchedPartition, partition: Partition): number {
    const { replicaSelector } = this.#services
    const { leader } = partition
    const { rackId } = this.#request
    if (replicaSelector === null || leader === null || rackId === '') return -1
    if (this.#replicaId >= 0) return -1
    const { listenerName } = this.#frame.connection
    return replicaSelector.select(leader, { rackId, fetchOffset: one.fetchOffset, listenerName })
  }

  /** A topic stored in zstd cannot be sent to a client that says it does not know it. */
  #hidesZstd(partition: Partition): boolean {
    return this.#frame.apiVersion < FIRST_ZSTD && partition.settings.compression === 4
  }

  #convert(
    answer: PartitionAnswer,
    one: FetchedPartition,
    partition: Partition,
    located: number,
  ): PartitionAnswer {
    const stored = this.#unstage(located)
    if (stored === null) return this.#fail(one, ErrorCode.KAFKA_STORAGE_ERROR)
    if (this.#hidesZstd(partition)) {
      return this.#fail(one, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
    }
    // Counted as it is stored until it is known what becomes of it.
    answer.records = stored
    this.#conversions.push({ answer, one, stored })
    return answer
  }

  /** Converts what was collected, on other threads, and answers then. */
  async #convertAndRespond(topics: readonly TopicAnswer[]): Promise<void> {
    const version = this.#frame.apiVersion
    await Promise.all(
      this.#conversions.map(async ({ answer, one, stored }) => {
        const outcome = await this.#services.conversions.convert(stored, {
          magic: version >= 2 ? 1 : 0,
          fetchOffset: one.fetchOffset,
          decompressionMaxBytes: this.#services.decompressionMaxBytes,
        })
        if (outcome.kind !== 'converted') {
          const errorCode =
            outcome.kind === 'corrupt'
              ? ErrorCode.CORRUPT_MESSAGE
              : ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
          Object.assign(answer, failedAnswer(one.partition, errorCode))
          return
        }
        // Never more than was asked for: a client that sees half a message asks for more.
        const limit = version < FIRST_TOTAL_LIMIT ? one.partitionMaxBytes : outcome.bytes.length
        answer.records = outcome.bytes.subarray(0, limit)
      }),
    )
    this.#respond(topics)
  }

  /** Takes the bytes of the region that was staged last; null when they cannot be read. */
  #unstage(located: number): Buffer | null {
    const stored = Buffer.allocUnsafe(located)
    const n = addon.readStaged(this.#services.responder.transport, stored)
    return n < 0 ? null : stored.subarray(0, n)
  }
}

/** Whether an answer must not wait for bytes. */
function isUrgent(answer: PartitionAnswer): boolean {
  return (
    answer.errorCode !== 0 ||
    answer.divergingEpoch !== undefined ||
    answer.preferredReadReplica >= 0
  )
}

/**
 * Whether an answer without records still stands, because only the log end has moved, or another
 * row. One with records was staged, and has to be again.
 */
function isUnmoved(
  last: PartitionAnswer,
  partition: Partition | undefined,
  row: number | undefined,
): boolean {
  if (partition === undefined || sizeOf(last) > 0) return false
  if (row !== undefined && partition.row !== row) return true
  return (
    !isUrgent(last) &&
    partition.isOnline &&
    partition.highWatermark === last.highWatermark &&
    partition.lastStable === last.lastStableOffset &&
    partition.logStart === last.logStartOffset
  )
}

/** Whether an incremental answer must mention the partition. */
function isNews(one: FetchedPartition, answer: PartitionAnswer): boolean {
  return (
    sizeOf(answer) > 0 ||
    isUrgent(answer) ||
    answer.highWatermark !== one.toldHighWatermark ||
    answer.logStartOffset !== one.toldLogStart
  )
}
