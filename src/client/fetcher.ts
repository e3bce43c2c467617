/**
 * Fetches ahead: at most one request in flight to each broker, over incremental fetch sessions, and
 * a new one as soon as the last is answered while less than `prefetchBytes` wait for the program.
 * In memory are at most that, and one answer of `maxBytes` of each broker.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import { Fetch, type FetchResponse } from '../protocol/messages/fetch.ts'
import type { Checksum } from '../protocol/record-batch.ts'
import { ZERO_UUID } from '../protocol/schema.ts'
import type { Clock } from '../util/clock.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import { type ClusterAccess, isTransient } from './cluster-access.ts'
import { type Decompress, legacyCrc32, loadCrc32c, loadDecompress } from './codecs.ts'
import { errorFor, ProtocolError } from './errors.ts'
import { type FetchPartition, FetchSession } from './fetch-session.ts'
import type { MetadataView } from './metadata-view.ts'
import { RecordReader, scanRecords } from './record-reader.ts'
import type { ConsumerRecord } from './records.ts'
import { keyOf, type PartitionState, type SubscriptionState } from './subscription-state.ts'

/** The first version that names topics by their ids. */
const TOPIC_IDS_VERSION = 13
/** Isolation levels as they are on the wire. */
export const READ_UNCOMMITTED = 0
export const READ_COMMITTED = 1
export type IsolationLevel = typeof READ_UNCOMMITTED | typeof READ_COMMITTED

const EMPTY = Buffer.alloc(0)

export interface FetcherOptions {
  readonly subscription: SubscriptionState
  readonly metadata: MetadataView
  readonly cluster: ClusterAccess
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly isolationLevel: IsolationLevel
  readonly minBytes: number
  readonly maxBytes: number
  readonly maxWaitMs: number
  readonly partitionMaxBytes: number
  readonly prefetchBytes: number
  readonly clientRack: string
  readonly checkCrcs: boolean
  readonly requestTimeoutMs: number
  readonly retryBackoffMs: number
  readonly preferredReplicaMaxAgeMs: number
  /** There is something for the program: a record, an error, or a position that has to be found. */
  readonly onChange: () => void
  /** The position of a partition has changed though the program got no record. */
  readonly onMove: (state: PartitionState) => void
  /** The log does not have the offset that was asked for. */
  readonly onOffsetOutOfRange: (state: PartitionState) => void
}

/** What was fetched of one partition, or why it could not be. */
interface Chunk {
  readonly state: PartitionState
  readonly version: number
  readonly bytes: number
  readonly reader: RecordReader | null
  readonly error: Error | null
}

type PartitionAnswer = FetchResponse['responses'][number]['partitions'][number]

/** What a request has asked for, by partition. */
interface Asked {
  readonly state: PartitionState
  readonly version: number
  readonly fetchOffset: number
}

export class Fetcher {
  readonly #options: FetcherOptions
  readonly #sessions = new Map<number, FetchSession>()
  readonly #inFlight = new Map<number, Promise<void>>()
  /** Not before this time again. */
  readonly #pausesMs = new Map<number | PartitionState, number>()
  #ready: Chunk[] = []
  #readyAt = 0
  /** Of paused partitions. */
  readonly #parked: Chunk[] = []
  #bufferedBytes = 0
  #parkedBytes = 0
  #crc32c: Checksum | null = null
  #turn = 0
  #current: PartitionState | null = null
  #timer: Timer | null = null
  #closed = false

  constructor(options: FetcherOptions) {
    this.#options = options
  }

  /** The partition of the record that `next` gave last. */
  get current(): PartitionState | null {
    return this.#current
  }

  /** True when `next` has something to give or to throw. */
  get hasReady(): boolean {
    return this.#readyAt < this.#ready.length
  }

  /** Sends what can be sent; to be called whenever something has changed. */
  pump(): void {
    const { prefetchBytes, clock } = this.#options
    if (this.#closed || this.#bufferedBytes >= prefetchBytes) return
    const nowMs = clock.monotonicMs()
    for (const node of this.#nodes(nowMs)) {
      if (this.#inFlight.has(node) || this.#isPausing(node, nowMs)) continue
      const done = this.#fetch(node).finally(() => {
        this.#inFlight.delete(node)
        this.pump()
      })
      this.#inFlight.set(node, done)
    }
  }

  /**
   * The next record, or null when there is none yet. The position of its partition stays before
   * it. Throws what keeps a partition from being read, once; it is tried again after that.
   */
  next(): ConsumerRecord | null {
    while (this.#readyAt < this.#ready.length) {
      const chunk = this.#ready[this.#readyAt] as Chunk
      const { state, reader } = chunk
      if (!this.#isWanted(chunk)) {
        this.#shift()
        continue
      }
      if (chunk.error !== null) {
        this.#shift()
        throw chunk.error
      }
      if (state.isPaused) {
        this.#park(chunk)
        continue
      }
      const record = this.#read(reader as RecordReader, state)
      if (record !== null) {
        this.#current = state
        return record
      }
      this.#moveTo(state, reader as RecordReader)
      this.#shift()
    }
    return null
  }

  /** Takes back what was put aside while the partition was paused. */
  resumed(state: PartitionState): void {
    const back: Chunk[] = []
    for (let at = 0; at < this.#parked.length; ) {
      const chunk = this.#parked[at] as Chunk
      if (chunk.state !== state) {
        at += 1
        continue
      }
      this.#parked.splice(at, 1)
      this.#parkedBytes -= chunk.bytes
      this.#count(chunk)
      back.push(chunk)
    }
    // What comes after it in the partition may still be in the queue.
    this.#ready.splice(this.#readyAt, 0, ...back)
    this.pump()
    if (back.length > 0) this.#options.onChange()
  }

  /** Ends the sessions, as far as brokers can be reached, and forgets everything. */
  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#ready = []
    this.#parked.length = 0
    const { cluster, maxWaitMs, requestTimeoutMs } = this.#options
    const ends = [...this.#sessions].map(async ([node, session]) => {
      const request = session.last()
      // With a request under way the connection is busy; its broker forgets the session by itself.
      if (request === null || this.#inFlight.has(node)) return
      const connection = await cluster.broker(node)
      const timeoutMs = Math.min(requestTimeoutMs, maxWaitMs + 1000)
      await connection.send(Fetch, { ...request, maxWaitMs: 0, minBytes: 0 }, { timeoutMs })
    })
    // A broker that is gone has no session left to end.
    await Promise.allSettled(ends)
  }

  #isWanted({ state, version }: Asked | Chunk): boolean {
    return this.#options.subscription.isCurrent(state) && state.version === version
  }

  #isPausing(what: number | PartitionState, nowMs: number): boolean {
    const until = this.#pausesMs.get(what)
    if (until === undefined) return false
    if (until > nowMs) return true
    this.#pausesMs.delete(what)
    return false
  }

  /** Leaves a broker or a partition alone for the backoff time. */
  #pause(what: number | PartitionState): void {
    const { clock, retryBackoffMs, timers } = this.#options
    this.#pausesMs.set(what, clock.monotonicMs() + retryBackoffMs)
    if (this.#timer !== null || this.#closed) return
    this.#timer = timers.schedule(retryBackoffMs, () => {
      this.#timer = null
      const nowMs = clock.monotonicMs()
      for (const [key, until] of this.#pausesMs) if (until <= nowMs) this.#pausesMs.delete(key)
      const [again] = this.#pausesMs.keys()
      if (again !== undefined) this.#pause(again)
      this.pump()
    })
  }

  /** The broker to read a partition from; -1: none is known. */
  #nodeOf(state: PartitionState, nowMs: number): number {
    const { metadata } = this.#options
    if (state.preferredReplica !== -1) {
      if (nowMs < state.preferredUntilMs && metadata.hasBroker(state.preferredReplica)) {
        return state.preferredReplica
      }
      state.preferredReplica = -1
    }
    return metadata.partition(state)?.leaderId ?? -1
  }

  #nodes(nowMs: number): Set<number> {
    const nodes = new Set<number>()
    for (const state of this.#options.subscription.partitions) {
      if (!this.#isFetchable(state, nowMs)) continue
      const node = this.#nodeOf(state, nowMs)
      if (node === -1) this.#options.metadata.requestUpdate()
      else nodes.add(node)
    }
    return nodes
  }

  #isFetchable(state: PartitionState, nowMs: number): boolean {
    return state.state === 'known' && !state.isPaused && !this.#isPausing(state, nowMs)
  }

  async #fetch(node: number): Promise<void> {
    const { cluster, metadata, maxWaitMs, requestTimeoutMs } = this.#options
    let session = this.#sessions.get(node)
    if (session === undefined) {
      session = new FetchSession()
      this.#sessions.set(node, session)
    }
    try {
      if (this.#options.checkCrcs) this.#crc32c ??= await loadCrc32c()
      const connection = await cluster.broker(node)
      const { asked, partitions } = this.#ask(node)
      if (partitions.length === 0 || this.#closed) return
      const versionMax = connection.versionOf(Fetch)
      const withoutIds = partitions.some(({ topicId }) => topicId === ZERO_UUID)
      const version = withoutIds ? Math.min(versionMax, TOPIC_IDS_VERSION - 1) : versionMax
      const { response, frame } = await connection.sendFramed(
        Fetch,
        this.#requestOf(session, partitions),
        {
          version,
          timeoutMs: maxWaitMs + requestTimeoutMs,
        },
      )
      if (this.#closed) return
      session.answered(response)
      if (response.errorCode === ErrorCode.NONE) {
        await this.#take(node, session, asked, { response, frame })
      } else if (response.errorCode !== ErrorCode.FETCH_SESSION_ID_NOT_FOUND) {
        this.#pause(node)
        metadata.requestUpdate()
      }
    } catch (error) {
      if (this.#closed) return
      this.#failed(node, session, error as Error)
    }
  }

  /** A broker that cannot be reached is tried again, and others may lead its partitions now. */
  #failed(node: number, session: FetchSession, error: Error): void {
    const { metadata, subscription, clock } = this.#options
    session.failed()
    this.#pause(node)
    metadata.requestUpdate()
    const nowMs = clock.monotonicMs()
    for (const state of subscription.partitions) {
      if (this.#nodeOf(state, nowMs) !== node) continue
      if (state.preferredReplica === node) state.preferredReplica = -1
      else if (!isTransient(error)) this.#reject(state, error)
    }
  }

  /** All that is to be read from a broker; what is not in a request leaves the session. */
  #ask(node: number): { asked: Map<string, Asked>; partitions: FetchPartition[] } {
    const { subscription, metadata, clock, partitionMaxBytes } = this.#options
    const nowMs = clock.monotonicMs()
    const asked = new Map<string, Asked>()
    const partitions: FetchPartition[] = []
    for (const state of subscription.partitions) {
      if (!this.#isFetchable(state, nowMs) || this.#nodeOf(state, nowMs) !== node) continue
      const { topic, partition, fetchOffset, version } = state
      asked.set(keyOf(state), { state, version, fetchOffset })
      partitions.push({
        topic,
        topicId: metadata.topics.get(topic)?.topicId ?? ZERO_UUID,
        partition,
        fetchOffset,
        currentLeaderEpoch: metadata.partition(state)?.leaderEpoch ?? -1,
        partitionMaxBytes,
      })
    }
    // Without a session the order of the request decides who comes first.
    this.#turn += 1
    const first = partitions.length === 0 ? 0 : this.#turn % partitions.length
    return { asked, partitions: [...partitions.slice(first), ...partitions.slice(0, first)] }
  }

  #requestOf(session: FetchSession, partitions: readonly FetchPartition[]) {
    const { maxWaitMs, minBytes, maxBytes, isolationLevel, clientRack } = this.#options
    const { sessionId, sessionEpoch, topics, forgottenTopicsData } = session.next(partitions)
    return {
      maxWaitMs,
      minBytes,
      maxBytes,
      isolationLevel,
      sessionId,
      sessionEpoch,
      topics,
      forgottenTopicsData,
      rackId: clientRack,
    }
  }

  async #take(
    node: number,
    session: FetchSession,
    asked: ReadonlyMap<string, Asked>,
    { response, frame }: { response: FetchResponse; frame: Buffer },
  ): Promise<void> {
    const codecs = codecsOf(response, frame)
    const decompress = await loadDecompress(codecs)
    for (const { topic: name, topicId, partitions } of response.responses) {
      const topic = topicId === ZERO_UUID ? name : session.topicName(topicId)
      if (topic === undefined) continue
      for (const answer of partitions) {
        const one = asked.get(keyOf({ topic, partition: answer.partitionIndex }))
        if (one === undefined || !this.#isWanted(one)) continue
        const bytes = recordsOf(answer, frame)
        if (answer.errorCode === ErrorCode.NONE) this.#takeRecords(one, answer, bytes, decompress)
        else this.#takeError(node, one, answer.errorCode)
      }
    }
    if (this.hasReady) this.#options.onChange()
  }

  #takeRecords(
    { state, version, fetchOffset }: Asked,
    answer: PartitionAnswer,
    bytes: Buffer,
    decompress: Decompress,
  ): void {
    const { isolationLevel, partitionMaxBytes } = this.#options
    if (answer.preferredReadReplica !== -1) this.#prefer(state, answer.preferredReadReplica)
    if (answer.highWatermark >= 0) state.highWatermark = answer.highWatermark
    if (answer.logStartOffset >= 0) state.logStartOffset = answer.logStartOffset
    if (bytes.length === 0) return
    try {
      const { endOffset, batchCount } = scanRecords(bytes, fetchOffset)
      if (batchCount === 0) {
        const what = `the record at offset ${fetchOffset} of ${nameOf(state)} is larger than`
        throw errorFor(ErrorCode.MESSAGE_TOO_LARGE, `${what} ${partitionMaxBytes} bytes`)
      }
      const reader = new RecordReader({
        topic: state.topic,
        partition: state.partition,
        bytes,
        fetchOffset,
        abortedTransactions:
          isolationLevel === READ_COMMITTED ? (answer.abortedTransactions ?? []) : null,
        crc32c: this.#crc32c,
        crc32: this.#crc32c === null ? null : legacyCrc32,
        decompress,
      })
      state.fetchOffset = endOffset
      this.#append({ state, version, bytes: bytes.length, reader, error: null })
    } catch (error) {
      this.#reject(state, this.#unreadable(state, fetchOffset, error as Error))
    }
  }

  /** Has the next fetches go to a replica near by (KIP-392). */
  #prefer(state: PartitionState, brokerId: number): void {
    const { clock, metadata, preferredReplicaMaxAgeMs } = this.#options
    if (metadata.hasBroker(brokerId)) {
      state.preferredReplica = brokerId
      state.preferredUntilMs = clock.monotonicMs() + preferredReplicaMaxAgeMs
    } else {
      // It was away when the brokers were last asked for; the leader gives no records meanwhile.
      this.#pause(state)
      metadata.requestUpdate()
    }
  }

  #takeError(node: number, { state, fetchOffset }: Asked, errorCode: number): void {
    const { metadata, onOffsetOutOfRange } = this.#options
    this.#pause(state)
    const followed = state.preferredReplica
    if (followed === node) state.preferredReplica = -1
    switch (errorCode) {
      case ErrorCode.NOT_LEADER_OR_FOLLOWER:
      case ErrorCode.REPLICA_NOT_AVAILABLE:
      case ErrorCode.LEADER_NOT_AVAILABLE:
      case ErrorCode.KAFKA_STORAGE_ERROR:
      case ErrorCode.FENCED_LEADER_EPOCH:
      case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
      case ErrorCode.UNKNOWN_TOPIC_ID:
      case ErrorCode.INCONSISTENT_TOPIC_ID:
        metadata.requestUpdate()
        return
      case ErrorCode.UNKNOWN_LEADER_EPOCH:
      case ErrorCode.OFFSET_NOT_AVAILABLE:
      case ErrorCode.REQUEST_TIMED_OUT:
      case ErrorCode.UNKNOWN_SERVER_ERROR:
        return
      case ErrorCode.OFFSET_OUT_OF_RANGE:
        // A follower may not have it yet; and what is in the buffer comes first.
        if (followed !== node && state.bufferedBytes === 0 && fetchOffset === state.fetchOffset) {
          onOffsetOutOfRange(state)
        }
        return
      default:
        this.#reject(state, errorFor(errorCode, `${nameOf(state)} cannot be read`))
    }
  }

  /** Gives the program an error in place of records. */
  #reject(state: PartitionState, error: Error): void {
    this.#pause(state)
    const isThere = this.#ready.some((chunk, at) => {
      return at >= this.#readyAt && chunk.state === state && chunk.error !== null
    })
    if (isThere) return
    this.#append({ state, version: state.version, bytes: 0, reader: null, error })
    this.#options.onChange()
  }

  /** Past what the program does not get: control batches, aborted records, gaps. */
  #moveTo(state: PartitionState, reader: RecordReader): void {
    if (reader.nextOffset === state.position) return
    state.position = reader.nextOffset
    state.positionEpoch = reader.leaderEpoch
    this.#options.onMove(state)
  }

  #read(reader: RecordReader, state: PartitionState): ConsumerRecord | null {
    try {
      return reader.next()
    } catch (error) {
      this.#moveTo(state, reader)
      const wrapped = this.#unreadable(state, reader.nextOffset, error as Error)
      this.#shift()
      state.rewind()
      this.#pause(state)
      throw wrapped
    }
  }

  #unreadable(state: PartitionState, offset: number, cause: Error): Error {
    if (!(cause instanceof MalformedMessageError || cause instanceof ProtocolError)) return cause
    const what = `${nameOf(state)} cannot be read at offset ${offset}: ${cause.message}`
    const error = errorFor(ErrorCode.CORRUPT_MESSAGE, `${what}; seek past it to go on`)
    error.cause = cause
    return error
  }

  #append(chunk: Chunk): void {
    this.#count(chunk)
    this.#ready.push(chunk)
  }

  #count(chunk: Chunk): void {
    chunk.state.bufferedBytes += chunk.bytes
    this.#bufferedBytes += chunk.bytes
  }

  /** The first of what is ready is done with. */
  #shift(): void {
    const chunk = this.#ready[this.#readyAt] as Chunk
    this.#readyAt += 1
    if (this.#readyAt > 64 && this.#readyAt * 2 > this.#ready.length) {
      this.#ready = this.#ready.slice(this.#readyAt)
      this.#readyAt = 0
    }
    chunk.state.bufferedBytes -= chunk.bytes
    this.#bufferedBytes -= chunk.bytes
    if (chunk.bytes > 0) this.pump()
  }

  /** Keeps what a paused partition has, as long as all of them together are no more than a buffer. */
  #park(chunk: Chunk): void {
    this.#shift()
    for (let at = 0; at < this.#parked.length; ) {
      const one = this.#parked[at] as Chunk
      if (this.#isWanted(one)) {
        at += 1
        continue
      }
      this.#parked.splice(at, 1)
      this.#parkedBytes -= one.bytes
    }
    if (this.#parkedBytes + chunk.bytes > this.#options.prefetchBytes) {
      chunk.state.rewind()
      return
    }
    this.#parkedBytes += chunk.bytes
    this.#parked.push(chunk)
  }
}

/** The records of one partition's answer; none where there is an error. */
function recordsOf({ records }: PartitionAnswer, frame: Buffer): Buffer {
  return records === null
    ? EMPTY
    : frame.subarray(records.position, records.position + records.bytes)
}

/** The codecs of an answer; bytes that are no records are dealt with when they are read. */
function codecsOf({ responses }: FetchResponse, frame: Buffer): Set<number> {
  const found = new Set<number>()
  for (const { partitions } of responses) {
    for (const answer of partitions) {
      try {
        for (const codec of scanRecords(recordsOf(answer, frame), 0).codecs) found.add(codec)
      } catch (error) {
        if (!(error instanceof MalformedMessageError)) throw error
      }
    }
  }
  return found
}

function nameOf({ topic, partition }: PartitionState): string {
  return `${topic}-${partition}`
}
