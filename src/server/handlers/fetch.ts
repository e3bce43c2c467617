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
import { type RecordsInput, ZERO_UUID } from '../../protocol/schema.ts'
import type { FetchPurgatory } from '../../replica/delayed-fetch.ts'
import type { Partition } from '../../replica/partition.ts'
import type { RecordConverter } from '../../replica/record-converter.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { Logger } from '../../util/logger.ts'
import {
  type FetchedPartition,
  type FetchSession,
  type FetchSessionCache,
  fetchKey,
} from '../fetch-session.ts'
import type { Responder } from '../responder.ts'

const FIRST_FLEXIBLE = 12
const FIRST_TOPIC_ID = 13
const FIRST_TOTAL_LIMIT = 3
const FIRST_SESSION = 7
const FIRST_CURRENT_FORMAT = 4
const FIRST_STORAGE_ERROR = 6
const FIRST_ZSTD = 10
const FINAL_EPOCH = -1
const READ_COMMITTED = 1
const NO_RECORDS: RecordsInput = { bytes: 0 }
/** `locate` answers errors as -(1000 + code). */
const ERROR_BASE = 1000

export interface FetchServices {
  readonly responder: Responder
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  readonly purgatory: FetchPurgatory
  readonly sessions: FetchSessionCache
  readonly fetchMaxBytes: number
  readonly decompressionMaxBytes: number
  readonly conversions: RecordConverter
  readonly logger: Logger
}

interface PartitionAnswer {
  partitionIndex: number
  errorCode: number
  highWatermark: number
  lastStableOffset: number
  logStartOffset: number
  abortedTransactions: { producerId: number; firstOffset: number }[] | null
  records: RecordsInput | null
  currentLeader?: { leaderId: number; leaderEpoch: number }
}

interface TopicAnswer {
  topic: string
  topicId: string
  partitions: PartitionAnswer[]
}

function fail(partition: number, errorCode: number): PartitionAnswer {
  return {
    partitionIndex: partition,
    errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: null,
    records: NO_RECORDS,
  }
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
    const context = this.#sessionOf(request, version)
    if (typeof context === 'number') {
      responder.respond(Fetch, frame, { errorCode: context, sessionId: 0, responses: [] })
      return
    }
    const fetch = new PendingFetch(this.#services, frame, request, context.partitions, context)
    const drop = this.#services.purgatory.answerOrPark(fetch)
    if (drop === null) return
    const { onClose } = frame.connection
    onClose.add(drop)
    fetch.done = () => onClose.delete(drop)
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
  readonly #found: (Partition | undefined)[] = []
  #conversions: { answer: PartitionAnswer; one: FetchedPartition; stored: Buffer }[] = []

  constructor(
    services: FetchServices,
    frame: Frame,
    request: FetchRequest,
    wanted: readonly FetchedPartition[],
    context: FetchContext,
  ) {
    this.#services = services
    this.#frame = frame
    this.#request = request
    this.#wanted = wanted
    this.#context = context
    this.maxWaitMs = Math.max(0, request.maxWaitMs)
    for (const one of wanted) {
      const name =
        one.topicId === ZERO_UUID ? one.topic : services.metadata.topicById(one.topicId)?.name
      const partition =
        name === undefined ? undefined : services.replicas.partition(name, one.partition)
      this.#found.push(partition)
      if (partition?.isOnline) this.rows.push(partition.row)
    }
  }

  attempt(expired: boolean): boolean {
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
    const topics: TopicAnswer[] = []
    let topic: TopicAnswer | null = null
    for (let i = 0; i < this.#wanted.length; i += 1) {
      const one = this.#wanted[i] as FetchedPartition
      const answer = this.#read(one, this.#found[i], left, bytes === 0)
      const size = answer.records === null ? 0 : sizeOf(answer.records)
      bytes += size
      left = Math.max(0, left - size)
      if (answer.errorCode !== 0) urgent = true
      if (this.#context.incremental && !isNews(one, answer, size)) continue
      if (topic === null || topic.topic !== one.topic || topic.topicId !== one.topicId) {
        topic = { topic: one.topic, topicId: one.topicId, partitions: [] }
        topics.push(topic)
      }
      topic.partitions.push(answer)
    }
    if (bytes < wantedBytes && !urgent) {
      addon.clearStaged(responder.transport)
      return false
    }
    this.done?.()
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

  #respond(topics: readonly TopicAnswer[]): void {
    this.#remember(topics)
    this.#services.responder.respond(Fetch, this.#frame, {
      errorCode: 0,
      sessionId: this.#context.session?.id ?? 0,
      responses: topics,
    })
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
    if (partition === undefined) {
      const byId = version >= FIRST_TOPIC_ID
      const known = byId && this.#services.metadata.topicById(one.topicId) !== undefined
      return fail(
        one.partition,
        byId && !known ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      )
    }
    if (!partition.isOnline) {
      return fail(
        one.partition,
        version >= FIRST_STORAGE_ERROR
          ? ErrorCode.KAFKA_STORAGE_ERROR
          : ErrorCode.NOT_LEADER_OR_FOLLOWER,
      )
    }
    if (one.currentLeaderEpoch >= 0 && one.currentLeaderEpoch !== partition.leaderEpoch) {
      return fail(
        one.partition,
        one.currentLeaderEpoch < partition.leaderEpoch
          ? ErrorCode.FENCED_LEADER_EPOCH
          : ErrorCode.UNKNOWN_LEADER_EPOCH,
      )
    }
    const committed = this.#request.isolationLevel === READ_COMMITTED
    const answer: PartitionAnswer = {
      partitionIndex: one.partition,
      errorCode: 0,
      highWatermark: partition.highWatermark,
      lastStableOffset: partition.lastStable,
      logStartOffset: partition.logStart,
      abortedTransactions: committed ? [] : null,
      records: NO_RECORDS,
    }
    const limit = committed ? answer.lastStableOffset : answer.highWatermark
    const current = version >= FIRST_CURRENT_FORMAT
    // A whole first batch however small the limits are, so that a consumer can go on.
    // A conversion needs a whole batch to begin with; older versions cut its result instead.
    const minOne = version < FIRST_TOTAL_LIMIT || first
    const maxBytes = Math.min(one.partitionMaxBytes, left)
    if (maxBytes <= 0 && !minOne && one.fetchOffset >= answer.logStartOffset) return answer
    const { responder } = this.#services
    const located = addon.locate(
      responder.transport,
      partition.log,
      one.fetchOffset,
      Math.max(0, maxBytes),
      limit,
      minOne,
    )
    if (located < 0) return fail(one.partition, -located - ERROR_BASE)
    if (located === 0) return answer
    if (current && !this.#hidesZstd(partition)) {
      answer.records = { bytes: located }
      return answer
    }
    if (!current && !partition.config.messageDownconversionEnable) {
      this.#unstage(located)
      return fail(one.partition, ErrorCode.UNSUPPORTED_VERSION)
    }
    return this.#convert(answer, one, partition, located)
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
    if (stored === null) return fail(one.partition, ErrorCode.KAFKA_STORAGE_ERROR)
    if (this.#hidesZstd(partition)) {
      return fail(one.partition, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
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
          Object.assign(answer, fail(one.partition, errorCode))
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

function sizeOf(records: RecordsInput): number {
  return records instanceof Uint8Array ? records.length : records.bytes
}

/** Whether an incremental answer must mention the partition. */
function isNews(one: FetchedPartition, answer: PartitionAnswer, bytes: number): boolean {
  return (
    bytes > 0 ||
    answer.errorCode !== 0 ||
    answer.highWatermark !== one.toldHighWatermark ||
    answer.logStartOffset !== one.toldLogStart
  )
}
