/**
 * Logs without bytes, as the epochs of their records, and a leader that serves them as a broker
 * does: sessions, fencing, divergence.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { FetchRequestInput, FetchResponse } from '../../src/protocol/messages/fetch.ts'
import type { FetchAnswer, LeaderLink, LeaderOffsets } from '../../src/replica/leader-link.ts'
import type { FollowerLog } from '../../src/replica/replica-fetcher.ts'

let nextHandle = 1
const byHandle = new Map<number, SimulatedLog>()

/** One record per offset; `epochs[i]` is the leader epoch of the i-th one from `logStart` on. */
export class SimulatedLog implements FollowerLog {
  readonly topic: string
  readonly partition: number
  readonly topicId: string
  readonly log: number
  readonly isOnline = true
  logStart = 0
  highWatermark = 0
  epochs: number[]
  /** Which epoch it follows. */
  followedEpoch = -1
  readonly cuts: number[] = []
  /** Begun epochs that have no record: [epoch, start offset]. */
  begun: readonly [number, number][] = []
  refuseAppends = 0

  constructor(options: {
    readonly topic?: string
    readonly partition?: number
    readonly topicId?: string
    readonly epochs?: readonly number[]
    readonly highWatermark?: number
  }) {
    this.topic = options.topic ?? 't'
    this.partition = options.partition ?? 0
    this.topicId = options.topicId ?? `id-of-${this.topic}`
    this.epochs = [...(options.epochs ?? [])]
    this.highWatermark = options.highWatermark ?? 0
    this.log = nextHandle
    nextHandle += 1
    byHandle.set(this.log, this)
  }

  get logEnd(): number {
    return this.logStart + this.epochs.length
  }

  get lastEpoch(): number {
    return this.#history().at(-1)?.[0] ?? -1
  }

  /** [epoch, start offset], ascending, as leader-epoch-checkpoint has them. */
  #history(): [number, number][] {
    const found: [number, number][] = []
    for (const [i, epoch] of this.epochs.entries()) {
      if (found.at(-1)?.[0] !== epoch) found.push([epoch, this.logStart + i])
    }
    for (const [epoch, start] of this.begun) {
      if (epoch <= (found.at(-1)?.[0] ?? -1)) continue
      if (found.at(-1)?.[1] === start) found.pop()
      found.push([epoch, start])
    }
    return found
  }

  endOffset(epoch: number): readonly [number, number] {
    const history = this.#history()
    const last = history.at(-1)
    const first = history[0]
    if (epoch < 0 || last === undefined || first === undefined || epoch > last[0]) return [-1, -1]
    if (epoch === last[0]) return [epoch, this.logEnd]
    if (epoch < first[0]) return [epoch, first[1]]
    const i = history.findLastIndex(([one]) => one <= epoch)
    return [history[i]?.[0] as number, history[i + 1]?.[1] as number]
  }

  async epochEndOffset(epoch: number): Promise<readonly [number, number]> {
    await turn()
    return this.endOffset(epoch)
  }

  async truncate(
    offset: number,
    options: { readonly leaderEpoch: number; readonly fully?: boolean },
  ): Promise<void> {
    await turn()
    if (options.leaderEpoch !== this.followedEpoch) throw new Error('it follows another epoch')
    this.cuts.push(offset)
    if (options.fully) {
      this.logStart = offset
      this.epochs = []
      this.highWatermark = offset
      return
    }
    this.epochs.length = Math.min(this.epochs.length, offset - this.logStart)
    this.highWatermark = Math.min(this.highWatermark, offset)
  }

  moveHighWatermark(offset: number): void {
    this.highWatermark = Math.max(this.highWatermark, Math.min(offset, this.logEnd))
  }

  async moveLogStart(offset: number): Promise<void> {
    await turn()
    this.epochs.splice(0, offset - this.logStart)
    this.logStart = offset
  }

  appendFetched(epochs: readonly number[], leaderEpoch: number, highWatermark: number): number {
    if (leaderEpoch !== this.followedEpoch) return ErrorCode.FENCED_LEADER_EPOCH
    if (this.refuseAppends > 0) {
      this.refuseAppends -= 1
      return ErrorCode.KAFKA_STORAGE_ERROR
    }
    this.epochs.push(...epochs)
    this.moveHighWatermark(highWatermark)
    return 0
  }
}

type Request = FetchRequestInput
type Topics = FetchResponse['responses']

interface Position {
  readonly log: SimulatedLog
  fetchOffset: number
  lastFetchedEpoch: number
  currentLeaderEpoch: number
  toldHighWatermark: number
  toldLogStart: number
}

/** A broker that leads. Nothing is answered until `release`, unless there is something to tell. */
export class SimulatedLeader {
  readonly logs = new Map<string, SimulatedLog>()
  leaderEpoch = 1
  /** Every request, as it came. */
  readonly requests: Request[] = []
  /** Error code for a partition, instead of what it has. */
  readonly errors = new Map<number, number>()
  batch = 3
  hasSessions = true
  connections = 0
  /** Ends the sessions of all links, as a full cache does. */
  sessionsLost = false
  readonly links = new Set<SimulatedLink>()

  add(log: SimulatedLog): SimulatedLog {
    this.logs.set(`${log.topicId}-${log.partition}`, log)
    return log
  }

  open(): SimulatedLink {
    this.connections += 1
    const link = new SimulatedLink(this)
    this.links.add(link)
    return link
  }

  /** Answers what waits. */
  release(): void {
    for (const link of this.links) link.release()
  }

  fail(): void {
    for (const link of [...this.links]) link.fail()
  }
}

interface Waiting {
  readonly request: Request
  readonly resolve: (answer: FetchAnswer) => void
  readonly reject: (error: Error) => void
}

export class SimulatedLink implements LeaderLink {
  readonly #leader: SimulatedLeader
  readonly #positions = new Map<string, Position>()
  readonly #waiting: Waiting[] = []
  #sessionId = 0
  isClosed = false

  constructor(leader: SimulatedLeader) {
    this.#leader = leader
  }

  fetch(request: Request): Promise<FetchAnswer> {
    if (this.isClosed) return Promise.reject(new Error('the link is lost'))
    this.#leader.requests.push(request)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      if (this.#waiting.length > 1) this.#answer()
      if (this.#take(request)) this.#answer()
    })
  }

  async offsets(partition: { topic: string; partition: number }): Promise<LeaderOffsets> {
    await turn()
    const log = this.#leader.logs.get(`id-of-${partition.topic}-${partition.partition}`)
    if (log === undefined) return { errorCode: 3, logStart: -1, logEnd: -1 }
    return { errorCode: 0, logStart: log.logStart, logEnd: log.logEnd }
  }

  release(): void {
    while (this.#waiting.length > 0) this.#answer()
  }

  /** Answers if there is something new. */
  look(): void {
    if (this.#waiting.length > 0 && this.#hasNews()) this.#answer()
  }

  close(): void {
    this.fail()
  }

  fail(): void {
    this.isClosed = true
    this.#leader.links.delete(this)
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the link is lost'))
  }

  /** Takes what a request tells; whether it is to be answered at once. */
  #take(request: Request): boolean {
    if (request.sessionEpoch === 0) {
      this.#positions.clear()
      this.#sessionId = this.#leader.hasSessions ? this.#leader.connections : 0
    } else if (this.#leader.sessionsLost || request.sessionId !== this.#sessionId) return true
    for (const { topicId, partitions } of request.forgottenTopicsData ?? []) {
      for (const one of partitions ?? []) this.#positions.delete(`${topicId}-${one}`)
    }
    for (const { topicId, partitions } of request.topics) {
      for (const one of partitions) {
        const key = `${topicId}-${one.partition}`
        const log = this.#leader.logs.get(key)
        if (log === undefined) throw new Error(`no ${key}`)
        const { toldHighWatermark = -1, toldLogStart = -1 } = this.#positions.get(key) ?? {}
        this.#positions.set(key, {
          log,
          fetchOffset: one.fetchOffset,
          lastFetchedEpoch: one.lastFetchedEpoch ?? -1,
          currentLeaderEpoch: one.currentLeaderEpoch ?? -1,
          ...{ toldHighWatermark, toldLogStart },
        })
      }
    }
    return this.#hasNews()
  }

  #hasNews(): boolean {
    return [...this.#positions.values()].some((position) => this.#isNews(position))
  }

  #isNews(position: Position): boolean {
    const { log, fetchOffset, toldHighWatermark, toldLogStart } = position
    const isMoved = toldHighWatermark !== log.highWatermark || toldLogStart !== log.logStart
    return (
      fetchOffset !== log.logEnd ||
      this.#errorOf(position) !== 0 ||
      this.#divergence(position) !== null ||
      (toldHighWatermark >= 0 && isMoved)
    )
  }

  #answer(): void {
    const waiting = this.#waiting.shift()
    if (waiting === undefined) return
    const { request } = waiting
    const isLost =
      request.sessionEpoch !== 0 &&
      (this.#leader.sessionsLost || request.sessionId !== this.#sessionId)
    if (isLost) {
      this.#leader.sessionsLost = false
      this.#sessionId = -1
      waiting.resolve(answerOf(ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0, [], []))
      return
    }
    const responses: Topics = []
    const records: (readonly number[])[] = []
    for (const position of this.#positions.values()) {
      const isTold = position.toldHighWatermark >= 0 && request.sessionEpoch !== 0
      if (isTold && !this.#isNews(position)) continue
      const { log } = position
      const partition = this.#answerFor(position, records)
      responses.push({ topic: '', topicId: log.topicId, partitions: [partition] })
    }
    waiting.resolve(answerOf(0, this.#sessionId, responses, records))
  }

  #answerFor(position: Position, records: (readonly number[])[]) {
    const { log, fetchOffset } = position
    const answer = {
      partitionIndex: log.partition,
      errorCode: 0,
      highWatermark: log.highWatermark,
      lastStableOffset: log.highWatermark,
      logStartOffset: log.logStart,
      divergingEpoch: { epoch: -1, endOffset: -1 },
      currentLeader: { leaderId: -1, leaderEpoch: -1 },
      snapshotId: { endOffset: -1, epoch: -1 },
      abortedTransactions: null,
      preferredReadReplica: -1,
      records: null as { position: number; bytes: number } | null,
    }
    const errorCode = this.#errorOf(position)
    if (errorCode !== 0) return { ...answer, errorCode, highWatermark: -1 }
    position.toldHighWatermark = log.highWatermark
    position.toldLogStart = log.logStart
    const diverging = this.#divergence(position)
    if (diverging !== null) {
      const [epoch, endOffset] = diverging
      if (epoch < 0) return { ...answer, errorCode: ErrorCode.OFFSET_OUT_OF_RANGE }
      return { ...answer, divergingEpoch: { epoch, endOffset } }
    }
    if (fetchOffset < log.logStart || fetchOffset > log.logEnd) {
      return { ...answer, errorCode: ErrorCode.OFFSET_OUT_OF_RANGE }
    }
    const from = fetchOffset - log.logStart
    const sent = log.epochs.slice(from, from + this.#leader.batch)
    if (sent.length === 0) return answer
    records.push(sent)
    return { ...answer, records: { position: records.length - 1, bytes: sent.length } }
  }

  #divergence({ log, fetchOffset, lastFetchedEpoch }: Position): readonly [number, number] | null {
    if (lastFetchedEpoch < 0) return null
    const [epoch, endOffset] = log.endOffset(lastFetchedEpoch)
    return epoch < lastFetchedEpoch || endOffset < fetchOffset ? [epoch, endOffset] : null
  }

  #errorOf({ log, currentLeaderEpoch }: Position): number {
    const { leaderEpoch, errors } = this.#leader
    const error = errors.get(log.partition)
    if (error !== undefined) return error
    if (currentLeaderEpoch < leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH
    return currentLeaderEpoch > leaderEpoch ? ErrorCode.UNKNOWN_LEADER_EPOCH : 0
  }
}

function answerOf(
  errorCode: number,
  sessionId: number,
  responses: Topics,
  records: readonly (readonly number[])[],
): FetchAnswer {
  return {
    response: { throttleTimeMs: 0, errorCode, sessionId, responses, nodeEndpoints: [] },
    append: async (fetched) => {
      await turn()
      return Int16Array.from(fetched, ({ log, position, leaderEpoch, highWatermark }) =>
        (byHandle.get(log) as SimulatedLog).appendFetched(
          records[position] ?? [],
          leaderEpoch,
          highWatermark,
        ),
      )
    },
    drop: () => undefined,
  }
}
