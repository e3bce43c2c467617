/**
 * Fetches of followers at a simulated leader: what `server/handlers/replica-fetch.ts` does with rows
 * and native reads, on simulated logs. The checks, their order and their answers are the same.
 */
import type { MetadataCache } from '../../src/metadata/metadata-cache.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { FetchRequest, FetchResponseInput } from '../../src/protocol/messages/fetch.ts'
import type { Partition } from '../../src/replica/partition.ts'
import type { ReplicaManager } from '../../src/replica/replica-manager.ts'
import type { Timer } from '../../src/util/timer-queue.ts'
import type { Caller } from './requests.ts'
import type { StoredRecord } from './simulated-disk.ts'
import type { SimulatedLog } from './simulated-log.ts'
import type { SimulatedProcess } from './simulated-process.ts'

type PartitionAnswer = FetchResponseInput['responses'][number]['partitions'][number]

const HIGH_WATERMARK_DELAY_MS = 20
/** Of one partition in one answer: more than one fetch is needed now and then. */
const RECORDS_MAX = 8

interface Position {
  readonly topicId: string
  readonly partition: number
  currentLeaderEpoch: number
  fetchOffset: number
  lastFetchedEpoch: number
  logStart: number
  isAccepted: boolean
  errorCode: number
  diverging: { readonly epoch: number; readonly endOffset: number } | null
  toldHighWatermark: number
  toldLogStart: number
  /** Number of the answer that its records went out with. */
  sentIn: number
}

interface Parked {
  readonly deadlineMs: number
  readonly isFull: boolean
  readonly unawareOf: number
  readonly respond: (response: FetchResponseInput) => void
}

interface Session {
  readonly id: number
  readonly replicaId: number
  readonly replicaEpoch: number
  readonly positions: Map<string, Position>
  epoch: number
  answers: number
  parked: Parked | null
  newsSinceMs: number
  timer: Timer | null
}

export interface ReplicaFetchesOptions {
  readonly process: SimulatedProcess
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  readonly epochOf: (brokerId: number) => number
}

export class ReplicaFetches {
  readonly #options: ReplicaFetchesOptions
  readonly #sessions = new Map<Caller, Session>()

  constructor(options: ReplicaFetchesOptions) {
    this.#options = options
  }

  /** Answers are given in the order of the fetches. */
  fetch(request: FetchRequest, caller: Caller): Promise<FetchResponseInput> {
    const session = this.#sessionOf(request, caller)
    if (typeof session === 'number') {
      return Promise.resolve({ errorCode: session, sessionId: 0, responses: [] })
    }
    this.#options.replicas.leases.heard(session.replicaId)
    const unawareOf = session.parked === null ? -1 : session.answers + 1
    if (session.parked !== null) this.#attempt(session, true)
    for (const { topicId, partitions } of request.forgottenTopicsData) {
      for (const partition of partitions) session.positions.delete(`${topicId}-${partition}`)
    }
    this.#take(session, request)
    return new Promise((resolve) => {
      session.parked = {
        deadlineMs: this.#options.process.clock.monotonicMs() + request.maxWaitMs,
        isFull: session.answers === 0,
        unawareOf,
        respond: resolve,
      }
      if (!this.#attempt(session, false)) this.#schedule(session)
    })
  }

  /** A log has moved, or a role has changed. */
  advanced(): void {
    for (const session of this.#sessions.values()) {
      if (session.parked !== null && !this.#attempt(session, false)) this.#schedule(session)
    }
  }

  #sessionOf(request: FetchRequest, caller: Caller): Session | number {
    const { replicaId, replicaEpoch } = request.replicaState
    const known = this.#sessions.get(caller)
    if (request.sessionId !== 0) {
      const isIts =
        known !== undefined &&
        known.id === request.sessionId &&
        known.replicaId === replicaId &&
        known.replicaEpoch === replicaEpoch &&
        this.#options.epochOf(replicaId) === replicaEpoch
      if (!isIts) {
        if (known?.parked) this.#attempt(known, true)
        return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
      }
      if (known.epoch !== request.sessionEpoch) return ErrorCode.INVALID_FETCH_SESSION_EPOCH
      known.epoch += 1
      return known
    }
    if (known !== undefined) this.#end(known)
    const session: Session = {
      id: this.#options.process.random.integer(0x7ffffffe) + 1,
      replicaId,
      replicaEpoch,
      positions: new Map(),
      epoch: 1,
      answers: 0,
      parked: null,
      newsSinceMs: -1,
      timer: null,
    }
    this.#sessions.set(caller, session)
    caller.onLost = () => {
      if (this.#sessions.get(caller) !== undefined) this.#end(this.#sessions.get(caller) as Session)
      this.#sessions.delete(caller)
    }
    return session
  }

  #end(session: Session): void {
    session.timer?.cancel()
    session.timer = null
    session.parked = null
  }

  #take(session: Session, request: FetchRequest): void {
    for (const { topicId, partitions } of request.topics) {
      for (const one of partitions) {
        const position: Position = {
          topicId,
          partition: one.partition,
          currentLeaderEpoch: one.currentLeaderEpoch,
          fetchOffset: one.fetchOffset,
          lastFetchedEpoch: one.lastFetchedEpoch,
          logStart: one.logStartOffset,
          isAccepted: false,
          errorCode: 0,
          diverging: null,
          toldHighWatermark: -1,
          toldLogStart: -1,
          sentIn: -1,
        }
        session.positions.set(`${topicId}-${one.partition}`, position)
        this.#accept(session, position)
      }
    }
  }

  /** Checks a position and has it counted for the replica. */
  #accept(session: Session, position: Position): void {
    position.isAccepted = false
    position.diverging = null
    const partition = this.#find(position)
    if (partition === null) return
    position.errorCode = this.#refusal(session, position, partition)
    const { leader } = partition
    if (position.errorCode !== 0 || leader === null) return
    const { fetchOffset } = position
    const diverging = divergenceOf(partition, position)
    if (diverging === 'unknown' || (diverging === null && !isWithin(partition, fetchOffset))) {
      position.errorCode = ErrorCode.OFFSET_OUT_OF_RANGE
      return
    }
    if (diverging !== null) {
      position.diverging = diverging
      return
    }
    position.isAccepted = true
    this.#options.replicas.followerFetched(partition, session.replicaId, {
      fetchOffset,
      logStart: position.logStart,
      brokerEpoch: session.replicaEpoch,
    })
  }

  #find(position: Position): Partition | null {
    const { metadata, replicas } = this.#options
    const name = metadata.topicById(position.topicId)?.name
    const partition = name === undefined ? undefined : replicas.partition(name, position.partition)
    if (name === undefined) position.errorCode = ErrorCode.UNKNOWN_TOPIC_ID
    else if (partition === undefined) position.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER
    else if (!partition.isOnline) position.errorCode = ErrorCode.KAFKA_STORAGE_ERROR
    else if (partition.topicId !== position.topicId) {
      position.errorCode = ErrorCode.INCONSISTENT_TOPIC_ID
    } else return partition
    return null
  }

  #refusal(
    session: Session,
    { currentLeaderEpoch: asked }: Position,
    partition: Partition,
  ): number {
    const { leader, leaderEpoch } = partition
    if (asked >= 0 && asked !== leaderEpoch) {
      return asked < leaderEpoch ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH
    }
    if (leader === null) return ErrorCode.NOT_LEADER_OR_FOLLOWER
    if (this.#options.epochOf(session.replicaId) !== session.replicaEpoch) {
      return ErrorCode.NOT_LEADER_OR_FOLLOWER
    }
    return leader.replicas.includes(session.replicaId) ? 0 : ErrorCode.UNKNOWN_LEADER_EPOCH
  }

  #schedule(session: Session): void {
    const { parked } = session
    if (parked === null) return
    const { process } = this.#options
    const newsMs =
      session.newsSinceMs < 0
        ? Number.POSITIVE_INFINITY
        : session.newsSinceMs + HIGH_WATERMARK_DELAY_MS
    session.timer?.cancel()
    const delayMs = Math.min(parked.deadlineMs, newsMs) - process.clock.monotonicMs()
    session.timer = process.at(delayMs, () => {
      session.timer = null
      if (session.parked !== null && !this.#attempt(session, false)) this.#schedule(session)
    })
  }

  #attempt(session: Session, mustAnswer: boolean): boolean {
    const parked = session.parked as Parked
    const nowMs = this.#options.process.clock.monotonicMs()
    const answers: [Position, PartitionAnswer, number][] = []
    let isUrgent = mustAnswer || parked.isFull || nowMs >= parked.deadlineMs
    for (const position of session.positions.values()) {
      if (position.sentIn >= 0 && position.sentIn === parked.unawareOf) continue
      const answer = this.#evaluate(session, position)
      if (answer === null) continue
      const bytes = answer.records instanceof Uint8Array ? answer.records.length : 0
      if (answer.errorCode !== 0 || bytes > 0 || position.diverging !== null) isUrgent = true
      answers.push([position, answer, bytes])
    }
    if (answers.length > 0 && session.newsSinceMs < 0) session.newsSinceMs = nowMs
    if (session.newsSinceMs >= 0 && nowMs >= session.newsSinceMs + HIGH_WATERMARK_DELAY_MS) {
      isUrgent = true
    }
    if (!isUrgent) return false
    session.parked = null
    session.timer?.cancel()
    session.timer = null
    session.newsSinceMs = -1
    session.answers += 1
    for (const [position, answer, bytes] of answers) {
      const isGood = answer.errorCode === 0
      position.toldHighWatermark = isGood ? (answer.highWatermark as number) : -1
      position.toldLogStart = isGood ? (answer.logStartOffset as number) : -1
      if (bytes > 0) position.sentIn = session.answers
    }
    const { process } = this.#options
    process.world.show(process.name, () => {
      const told = answers.map(([{ partition, fetchOffset, diverging }, { errorCode }, bytes]) =>
        [`${partition}@${fetchOffset}`, errorCode, bytes, JSON.stringify(diverging)].join(' '),
      )
      return `  fetch of ${session.replicaId} answered: ${told.join(', ')}`
    })
    parked.respond({
      errorCode: 0,
      sessionId: session.id,
      responses: answers.map(([{ topicId }, answer]) => ({ topicId, partitions: [answer] })),
    })
    return true
  }

  #evaluate(session: Session, position: Position): PartitionAnswer | null {
    let partition = this.#find(position)
    if (partition !== null && !position.isAccepted) {
      this.#accept(session, position)
      partition = this.#find(position)
    } else if (partition !== null) {
      position.errorCode = this.#refusal(session, position, partition)
    }
    if (partition === null || position.errorCode !== 0) {
      position.isAccepted = false
      return failed(position)
    }
    const { highWatermark, logStart, storedLog } = partition
    const answer = {
      partitionIndex: position.partition,
      errorCode: 0,
      highWatermark,
      lastStableOffset: highWatermark,
      logStartOffset: logStart,
      abortedTransactions: null,
      records: NO_RECORDS,
    }
    if (position.diverging !== null) return { ...answer, divergingEpoch: position.diverging }
    const records = read(storedLog as SimulatedLog, position.fetchOffset)
    if (records.length > 0) {
      return { ...answer, records: encodeRecords(position.fetchOffset, records) }
    }
    const isNews =
      highWatermark !== position.toldHighWatermark || logStart !== position.toldLogStart
    return isNews || session.parked?.isFull ? answer : null
  }
}

const NO_RECORDS = new Uint8Array(0)

function failed(position: Position): PartitionAnswer {
  return {
    partitionIndex: position.partition,
    errorCode: position.errorCode,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: null,
    records: NO_RECORDS,
  }
}

function isWithin({ logStart, logEnd }: Partition, offset: number): boolean {
  return offset >= logStart && offset <= logEnd
}

/** As `server/divergence.ts`. */
function divergenceOf(
  { storedLog, logStart, logEnd }: Partition,
  { lastFetchedEpoch, fetchOffset }: Position,
): { readonly epoch: number; readonly endOffset: number } | 'unknown' | null {
  if (lastFetchedEpoch < 0) return null
  if (fetchOffset < logStart) return 'unknown'
  const { epochs } = (storedLog as SimulatedLog).stored
  const [epoch, endOffset] = epochs.endOffset(lastFetchedEpoch, logEnd)
  if (epoch < 0 || endOffset < 0) return 'unknown'
  return epoch < lastFetchedEpoch || endOffset < fetchOffset ? { epoch, endOffset } : null
}

function read({ stored }: SimulatedLog, from: number): readonly StoredRecord[] {
  const at = from - stored.logStart
  return at < 0 ? [] : stored.records.slice(at, at + RECORDS_MAX)
}

const NUMBERS_PER_RECORD = 4

export function encodeRecords(base: number, records: readonly StoredRecord[]): Uint8Array {
  const numbers = new Float64Array(1 + records.length * NUMBERS_PER_RECORD)
  numbers[0] = base
  for (const [i, { value, epoch, producerId, sequence }] of records.entries()) {
    numbers.set([value, epoch, producerId, sequence], 1 + i * NUMBERS_PER_RECORD)
  }
  return new Uint8Array(numbers.buffer)
}

export function decodeRecords(bytes: Uint8Array): {
  readonly baseOffset: number
  readonly records: readonly StoredRecord[]
} {
  const numbers = new Float64Array(Uint8Array.from(bytes).buffer)
  const records: StoredRecord[] = []
  for (let at = 1; at < numbers.length; at += NUMBERS_PER_RECORD) {
    const [value, epoch, producerId, sequence] = numbers.subarray(at, at + NUMBERS_PER_RECORD)
    records.push({ value, epoch, producerId, sequence } as StoredRecord)
  }
  return { baseOffset: numbers[0] as number, records }
}
