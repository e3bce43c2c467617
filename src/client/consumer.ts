/**
 * The consumer of a program: reads topics, alone or sharing their partitions with the other members
 * of a group.
 */
import { NO_GENERATION } from '../protocol/consumer-protocol.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import { systemClock } from '../util/clock.ts'
import { type Timer, TimerQueue } from '../util/timer-queue.ts'
import type { Assignor, AssignorTopic } from './assignors/assignor.ts'
import { CooperativeStickyAssignor } from './assignors/cooperative-sticky.ts'
import { RangeAssignor } from './assignors/range.ts'
import { RoundRobinAssignor } from './assignors/round-robin.ts'
import type { ClientOptions } from './client-options.ts'
import { Cluster } from './cluster.ts'
import { type ClusterAccess, isTransient } from './cluster-access.ts'
import {
  ClientClosedError,
  errorFor,
  IllegalStateError,
  InvalidArgumentError,
  KafkaError,
} from './errors.ts'
import { Fetcher, type IsolationLevel, READ_COMMITTED, READ_UNCOMMITTED } from './fetcher.ts'
import {
  type CommittedPartition,
  GroupMembership,
  type JoinOutcome,
  type JoinSubscription,
  type OffsetToCommit,
} from './group-membership.ts'
import { assignorTopics, MetadataView } from './metadata-view.ts'
import {
  EARLIEST_TIMESTAMP,
  isSamePartition,
  LATEST_TIMESTAMP,
  lookUpOffsets,
  type PartitionOffset,
  type PartitionTimestamp,
} from './offset-lookup.ts'
import { PositionResolver } from './position-resolver.ts'
import type { ConsumerRecord } from './records.ts'
import {
  type AutoOffsetReset,
  groupByTopic,
  keyOf,
  type PartitionState,
  SubscriptionState,
  type TopicPartition,
} from './subscription-state.ts'

export type AssignorName = 'range' | 'roundrobin' | 'cooperative-sticky'

export interface ConsumerOptions extends ClientOptions {
  /** Without it there is no `subscribe`, `commit` and `committed`. */
  readonly groupId?: string
  /** Makes the member static: it may restart within `sessionTimeoutMs` without a rebalance. */
  readonly groupInstanceId?: string
  /** Where to begin when there is no committed offset, or the log no longer has it: 'latest'. */
  readonly autoOffsetReset?: AutoOffsetReset
  /** Commits every `autoCommitIntervalMs`, before partitions are given up, and on close: true. */
  readonly autoCommit?: boolean
  /** 5000 */
  readonly autoCommitIntervalMs?: number
  /** 45000 */
  readonly sessionTimeoutMs?: number
  /** 3000 */
  readonly heartbeatIntervalMs?: number
  /**
   * 300000: how long the group waits for a member that has to join again. A program that does not
   * ask for records for so long leaves the group.
   */
  readonly rebalanceTimeoutMs?: number
  /** 'read_uncommitted' */
  readonly isolationLevel?: 'read_uncommitted' | 'read_committed'
  /** 1: a broker answers a fetch when it has so much, or after `maxWaitMs`. */
  readonly minBytes?: number
  /** 52428800 in one answer, but at least one batch. */
  readonly maxBytes?: number
  /** 500 */
  readonly maxWaitMs?: number
  /** 1048576 of one partition in one answer, but at least one batch. */
  readonly partitionMaxBytes?: number
  /** 16777216: no more is fetched while so much waits for the program. */
  readonly prefetchBytes?: number
  /** 500: what `poll` returns at most. */
  readonly maxPollRecords?: number
  /** What this member can share out partitions by, best first: ['range', 'cooperative-sticky']. */
  readonly assignors?: readonly (AssignorName | Assignor)[]
  /** Rack of the program: replicas in it are read from where the broker allows that (KIP-392). */
  readonly clientRack?: string
  /** Checks the checksum of every batch: true. */
  readonly checkCrcs?: boolean
  /** Topics that do not exist may be created by asking for them, if the broker does so: true. */
  readonly allowAutoTopicCreation?: boolean
  /** A pattern does not match topics such as `__consumer_offsets`: true. */
  readonly excludeInternalTopics?: boolean
  /** 60000: commits and look-ups are tried again for so long. */
  readonly defaultApiTimeoutMs?: number
}

/**
 * Told of partitions that come and go. Called only while the program waits for records, so that it
 * works on none meanwhile; waited for if it returns a promise. What it throws is thrown to the program.
 */
export interface RebalanceListener {
  /** These are about to be given up: the last moment to commit them. */
  onPartitionsRevoked?(partitions: readonly TopicPartition[]): void | Promise<void>
  /** These were added. */
  onPartitionsAssigned?(partitions: readonly TopicPartition[]): void | Promise<void>
  /** These may belong to another member by now; without it `onPartitionsRevoked` is called. */
  onPartitionsLost?(partitions: readonly TopicPartition[]): void | Promise<void>
}

/** A partition to read, and where to begin; without an offset at the committed one. */
export interface ManualAssignment extends TopicPartition {
  readonly offset?: number | 'earliest' | 'latest'
}

/** An offset that a timestamp was looked up for. */
export interface OffsetAndTimestamp extends TopicPartition {
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

const ASSIGNORS: { readonly [N in AssignorName]: () => Assignor } = {
  range: () => new RangeAssignor(),
  roundrobin: () => new RoundRobinAssignor(),
  'cooperative-sticky': () => new CooperativeStickyAssignor(),
}

/** An exchange with the coordinator; null as long as it goes on. */
interface Join {
  outcome: JoinOutcome | null
  onOutcome: () => void
}

/** How long closing waits for a join, so that what was consumed can be committed. */
const JOIN_WAIT_MS = 5000
const FOREVER_MS = Number.POSITIVE_INFINITY

function withDefaults(options: ConsumerOptions) {
  return {
    clock: systemClock,
    requestTimeoutMs: 30_000,
    retryBackoffMs: 100,
    metadataMaxAgeMs: 300_000,
    autoOffsetReset: 'latest' as const,
    autoCommit: true,
    autoCommitIntervalMs: 5000,
    sessionTimeoutMs: 45_000,
    heartbeatIntervalMs: 3000,
    rebalanceTimeoutMs: 300_000,
    minBytes: 1,
    maxBytes: 50 * 1024 * 1024,
    maxWaitMs: 500,
    partitionMaxBytes: 1024 * 1024,
    prefetchBytes: 16 * 1024 * 1024,
    maxPollRecords: 500,
    clientRack: '',
    checkCrcs: true,
    allowAutoTopicCreation: true,
    excludeInternalTopics: true,
    defaultApiTimeoutMs: 60_000,
    ...options,
  }
}

/**
 * A consumer. Either `subscribe` (the group decides on partitions) or `assign` (the program does),
 * then read with `for await` or with `poll`.
 *
 * What counts as consumed, and is committed by itself with `autoCommit` (at least once): with
 * `for await` a record is consumed when the next one is asked for, so that a loop that ends early,
 * by an error or by `break`, has not consumed the last record; with `poll` all records it returned
 * are consumed with the next `poll`, or with `close`. `commit()` commits what was consumed, and what
 * `poll` has returned.
 *
 * Keys and values are slices of what the broker sent: who keeps a few of many records for long
 * should copy them. One caller at a time may poll or iterate.
 */
export class Consumer implements AsyncDisposable {
  readonly #options: ReturnType<typeof withDefaults>
  readonly #cluster: ClusterAccess
  readonly #timers: TimerQueue
  readonly #subscription = new SubscriptionState()
  readonly #metadata: MetadataView
  readonly #fetcher: Fetcher
  readonly #resolver: PositionResolver
  readonly #membership: GroupMembership | null
  readonly #isCooperative: boolean
  #listener: RebalanceListener = {}
  /** A join under way, or done and not yet taken over. */
  #join: Join | null = null
  /** Partitions have to be given up before the group is joined. */
  #isPreparing = true
  /** Given to the program by the iteration, and not yet consumed. */
  #pending: { state: PartitionState; version: number; record: ConsumerRecord } | null = null
  /** Their position has moved, and counts as consumed with the next poll. */
  readonly #touched = new Set<PartitionState>()
  #commitTimer: Timer | null = null
  #error: Error | null = null
  /** Something has happened that must be seen to before the next record. */
  #needsAttention = true
  #isSignalled = false
  #wake: (() => void) | null = null
  #busy: Promise<void> | null = null
  #hasPolled = false
  #closing: Promise<void> | null = null

  /** `cluster` is for tests. */
  constructor(options: ConsumerOptions, cluster?: ClusterAccess) {
    const all = withDefaults(options)
    this.#options = all
    this.#cluster = cluster ?? new Cluster(options)
    this.#timers = new TimerQueue(all.clock)
    const assignors = (all.assignors ?? ['range', 'cooperative-sticky']).map((one) => {
      return typeof one === 'string' ? ASSIGNORS[one]() : one
    })
    this.#isCooperative = assignors.every(({ supportedProtocols }) => {
      return supportedProtocols.includes('cooperative')
    })
    const parts = {
      ...all,
      cluster: this.#cluster,
      timers: this.#timers,
      subscription: this.#subscription,
      isolationLevel: this.#isolationLevel,
      onError: (error: Error) => this.#raise(error),
    }
    this.#metadata = new MetadataView({
      ...parts,
      wanted: () => this.#wantedTopics(),
      onUpdate: () => this.#metadataUpdated(),
    })
    this.#fetcher = new Fetcher({
      ...parts,
      metadata: this.#metadata,
      preferredReplicaMaxAgeMs: all.metadataMaxAgeMs,
      onChange: () => this.#signal(),
      onMove: (state) => this.#touched.add(state),
      onOffsetOutOfRange: (state) => this.#resolver.outOfRange(state),
    })
    const { groupId } = all
    this.#membership =
      groupId === undefined
        ? null
        : new GroupMembership({
            ...parts,
            groupId,
            groupInstanceId: all.groupInstanceId ?? null,
            assignors,
            hasPolled: () => this.#takePolled(),
            topicsOf: (names) => this.#topicsOf(names),
            onChange: () => this.#attention(),
          })
    const membership = this.#membership
    this.#resolver = new PositionResolver({
      ...parts,
      metadata: this.#metadata,
      committed: membership && ((partitions) => membership.committed(partitions)),
      onProgress: () => {
        this.#fetcher.pump()
        this.#signal()
      },
    })
  }

  get #isolationLevel(): IsolationLevel {
    return this.#options.isolationLevel === 'read_committed' ? READ_COMMITTED : READ_UNCOMMITTED
  }

  /** The topics subscribed to; with a pattern those that it matches. */
  get subscription(): readonly string[] {
    return this.#subscription.topics
  }

  /** What a transaction needs to commit offsets of this member. Null without a group. */
  get groupMetadata(): {
    groupId: string
    generationId: number
    memberId: string
    groupInstanceId: string | null
  } | null {
    const { groupId, groupInstanceId = null } = this.#options
    if (this.#membership === null || groupId === undefined) return null
    const { generationId, memberId } = this.#membership
    return { groupId, generationId, memberId, groupInstanceId }
  }

  /**
   * Reads topics, or all topics that match a pattern, as a member of the group. Takes the place of an
   * earlier subscription; the group is joined by the next `poll` or the iteration.
   */
  subscribe(topics: string | readonly string[] | RegExp, listener: RebalanceListener = {}): void {
    this.#checkOpen()
    if (this.#membership === null) {
      throw errorFor(ErrorCode.INVALID_GROUP_ID, 'subscribe needs a groupId; or assign partitions')
    }
    if (this.#subscription.kind === 'manual') {
      throw new IllegalStateError(
        'partitions were assigned by hand: unsubscribe before you subscribe',
      )
    }
    this.#listener = listener
    if (topics instanceof RegExp) this.#subscription.subscribePattern(topics)
    else this.#subscription.subscribe(typeof topics === 'string' ? [topics] : topics)
    this.#membership.requestRejoin('the subscription has changed')
    this.#scheduleCommit()
    this.#metadata.requestUpdate()
    this.#attention()
  }

  /** Reads these partitions, whatever others of the group read. Those that stay keep their position. */
  assign(partitions: readonly ManualAssignment[]): void {
    this.#checkOpen()
    if (this.#subscription.isGroupManaged) {
      throw new IllegalStateError(
        'the group decides on partitions: unsubscribe before you assign some',
      )
    }
    this.#subscription.assignManually(partitions)
    for (const { offset, ...one } of partitions) {
      const state = this.#subscription.get(one) as PartitionState
      if (offset === 'earliest') state.requestReset(EARLIEST_TIMESTAMP)
      else if (offset === 'latest') state.requestReset(LATEST_TIMESTAMP)
      else if (offset !== undefined) state.seek(checkedOffset(offset))
    }
    this.#scheduleCommit()
    this.#metadata.requestUpdate()
    this.#attention()
  }

  /** Gives up all partitions and leaves the group. */
  async unsubscribe(): Promise<void> {
    this.#checkOpen()
    await this.#exclusively(async () => {
      await this.#giveUp('the program has unsubscribed')
      this.#subscription.unsubscribe()
    })
  }

  /** The partitions that are read now, in order. */
  assignment(): TopicPartition[] {
    return this.#subscription.assignment()
  }

  /**
   * Waits until there are records, `timeoutMs` at the most, and returns up to `maxPollRecords`. All
   * that the call before returned counts as consumed now. Rebalances happen here, so that a program
   * must call it (or iterate) within `rebalanceTimeoutMs` even if it has paused everything. Throws
   * KafkaError for what cannot be got over, NoOffsetForPartitionError and LogTruncationError.
   */
  async poll(timeoutMs: number): Promise<ConsumerRecord[]> {
    this.#checkOpen()
    return await this.#exclusively(async () => {
      this.#consumed()
      const { clock } = this.#options
      const deadlineMs = clock.monotonicMs() + timeoutMs
      for (;;) {
        await this.#attend()
        const records = this.#take()
        if (records.length > 0 || this.#closing !== null) return records
        const leftMs = deadlineMs - clock.monotonicMs()
        if (leftMs <= 0) return records
        await this.#wait(leftMs)
      }
    })
  }

  /** Records one by one, without an end until `close` is called. Throws as `poll`. */
  [Symbol.asyncIterator](): AsyncIterator<ConsumerRecord, undefined> {
    return {
      next: () => this.#next(),
      // The last record stays unconsumed: nobody knows whether the loop was left by an error.
      return: async () => ({ done: true, value: undefined }),
    }
  }

  /**
   * Commits offsets: of the next record to be read, not of the last one read. Without `offsets` what
   * was consumed, and what `poll` has returned. Calls are carried out one after the other. Throws
   * KafkaError: REBALANCE_IN_PROGRESS (poll, then commit again), and UNKNOWN_MEMBER_ID,
   * ILLEGAL_GENERATION or FENCED_INSTANCE_ID when partitions may already be another member's.
   */
  async commit(offsets?: readonly OffsetToCommit[]): Promise<void> {
    this.#checkOpen()
    await this.#commit(offsets ?? this.#positions('position'), this.#options.defaultApiTimeoutMs)
  }

  /** The committed offsets of the group, in the order of `partitions`; null where there is none. */
  async committed(partitions: readonly TopicPartition[]): Promise<(CommittedPartition | null)[]> {
    const membership = this.#member()
    const found = await this.#cluster.retry(() => membership.committed(partitions), {
      timeoutMs: this.#options.defaultApiTimeoutMs,
    })
    return partitions.map((one) => {
      const answer = found.find((other) => isSamePartition(one, other))
      return answer === undefined || answer.offset < 0 ? null : answer
    })
  }

  /**
   * Offset of the next record of an assigned partition, found first if it is not known. Throws
   * KafkaError (REQUEST_TIMED_OUT) when that takes longer than `defaultApiTimeoutMs`.
   */
  async position(partition: TopicPartition): Promise<number> {
    const { clock, defaultApiTimeoutMs } = this.#options
    const state = this.#assigned(partition)
    if (state.state === 'known') return state.position
    return await this.#exclusively(async () => {
      const deadlineMs = clock.monotonicMs() + defaultApiTimeoutMs
      for (;;) {
        this.#isSignalled = false
        this.#resolver.resolve()
        this.#throwError()
        if (state.state === 'known' || state.state === 'validating') return state.position
        const leftMs = deadlineMs - clock.monotonicMs()
        if (leftMs <= 0 || !this.#subscription.isCurrent(state)) {
          const what = `the position of ${partition.topic}-${partition.partition} is not known`
          throw errorFor(ErrorCode.REQUEST_TIMED_OUT, what)
        }
        await this.#wait(leftMs)
      }
    })
  }

  /** Goes on at an offset. What was fetched of the partition before is dropped. */
  seek(partition: TopicPartition, offset: number): void {
    const state = this.#assigned(partition)
    state.seek(checkedOffset(offset))
    this.#moved(state)
  }

  /** Goes on at the beginning of partitions, by default of all that are assigned. */
  seekToBeginning(partitions: readonly TopicPartition[] = this.assignment()): void {
    this.#reset(partitions, EARLIEST_TIMESTAMP)
  }

  /** Goes on at the end of partitions, by default of all that are assigned. */
  seekToEnd(partitions: readonly TopicPartition[] = this.assignment()): void {
    this.#reset(partitions, LATEST_TIMESTAMP)
  }

  /** Gives no records of these partitions until they are resumed, or assigned anew. */
  pause(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) this.#assigned(one).isPaused = true
  }

  resume(partitions: readonly TopicPartition[]): void {
    for (const one of partitions) {
      const state = this.#assigned(one)
      if (!state.isPaused) continue
      state.isPaused = false
      this.#fetcher.resumed(state)
    }
  }

  paused(): TopicPartition[] {
    return this.assignment().filter((one) => this.#subscription.get(one)?.isPaused)
  }

  /**
   * For each partition the first record at or after a timestamp (milliseconds), in the order asked;
   * null where there is none. A partition is named once.
   */
  async offsetsForTimes(
    partitions: readonly PartitionTimestamp[],
  ): Promise<(OffsetAndTimestamp | null)[]> {
    const found = await this.#lookUp(partitions)
    return found.map((one) => {
      if (one.offset < 0) return null
      const { topic, partition, offset, timestamp, leaderEpoch } = one
      return { topic, partition, offset, timestamp, leaderEpoch }
    })
  }

  /** The first offset of each partition, in the order asked. */
  async beginningOffsets(partitions: readonly TopicPartition[]): Promise<number[]> {
    return await this.#offsetsAt(partitions, EARLIEST_TIMESTAMP)
  }

  /** The offset behind the last record that can be read of each partition, in the order asked. */
  async endOffsets(partitions: readonly TopicPartition[]): Promise<number[]> {
    return await this.#offsetsAt(partitions, LATEST_TIMESTAMP)
  }

  /**
   * Ends the iteration, commits with `autoCommit` what was consumed and what `poll` has returned,
   * leaves the group and closes the connections. Waits for a call that is under way, so that a
   * listener must not wait for it. Throws what the commit or the listener throws, after everything is
   * closed.
   */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? this.#options.requestTimeoutMs)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // --- Reading

  #next(): Promise<IteratorResult<ConsumerRecord, undefined>> {
    if (this.#needsAttention || this.#busy !== null) return this.#nextAttended()
    try {
      this.#consumed()
      this.#hasPolled = true
      const record = this.#fetcher.next()
      if (record !== null) return Promise.resolve(this.#given(record))
    } catch (error) {
      return Promise.reject(error as Error)
    }
    return this.#nextAttended()
  }

  async #nextAttended(): Promise<IteratorResult<ConsumerRecord, undefined>> {
    if (this.#closing !== null) return { done: true, value: undefined }
    return await this.#exclusively(async () => {
      this.#consumed()
      for (;;) {
        await this.#attend()
        if (this.#closing !== null) return { done: true, value: undefined }
        const record = this.#fetcher.next()
        if (record !== null) return this.#given(record)
        await this.#wait(FOREVER_MS)
      }
    })
  }

  #given(record: ConsumerRecord): { done: false; value: ConsumerRecord } {
    const state = this.#fetcher.current as PartitionState
    this.#pending = { state, version: state.version, record }
    return { done: false, value: record }
  }

  #take(): ConsumerRecord[] {
    const records: ConsumerRecord[] = []
    const { maxPollRecords } = this.#options
    while (records.length < maxPollRecords) {
      let record: ConsumerRecord | null
      try {
        record = this.#fetcher.next()
      } catch (error) {
        // First what could be read; the error is for the next call.
        if (records.length === 0) throw error
        this.#raise(error as Error)
        break
      }
      if (record === null) break
      const state = this.#fetcher.current as PartitionState
      state.position = record.offset + 1
      state.positionEpoch = record.leaderEpoch
      this.#touched.add(state)
      records.push(record)
    }
    return records
  }

  /** What the program was given before, it is done with. */
  #consumed(): void {
    const pending = this.#pending
    if (pending !== null) {
      this.#pending = null
      const { state, version, record } = pending
      if (state.version === version) {
        state.position = record.offset + 1
        state.positionEpoch = record.leaderEpoch
        state.consumed = state.position
        state.consumedEpoch = state.positionEpoch
      }
    }
    if (this.#touched.size === 0) return
    for (const state of this.#touched) {
      state.consumed = state.position
      state.consumedEpoch = state.positionEpoch
    }
    this.#touched.clear()
  }

  /** Sees to everything that has to happen between two records. */
  async #attend(): Promise<void> {
    this.#needsAttention = false
    this.#isSignalled = false
    this.#hasPolled = true
    if (this.#closing !== null) return
    if (this.#subscription.kind === 'none') {
      throw new IllegalStateError(
        'the consumer reads nothing: subscribe to topics, or assign partitions',
      )
    }
    this.#throwError()
    await this.#attendGroup()
    this.#throwError()
    this.#resolver.resolve()
    this.#fetcher.pump()
  }

  /** Waits for a signal, or for `timeoutMs` to be over. */
  async #wait(timeoutMs: number): Promise<void> {
    if (this.#isSignalled) return
    await new Promise<void>((resolve) => {
      const timer =
        timeoutMs === FOREVER_MS ? null : this.#timers.schedule(timeoutMs, () => this.#signal())
      this.#wake = () => {
        timer?.cancel()
        resolve()
      }
    })
  }

  #signal(): void {
    this.#isSignalled = true
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  #attention(): void {
    this.#needsAttention = true
    this.#signal()
  }

  #raise(error: Error): void {
    this.#error ??= error
    this.#attention()
  }

  #throwError(): void {
    const error = this.#error ?? this.#membership?.takeFatal() ?? null
    this.#error = null
    if (error !== null) throw error
  }

  #takePolled(): boolean {
    const hasPolled = this.#hasPolled || this.#wake !== null
    this.#hasPolled = false
    return hasPolled
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy !== null) {
      throw new IllegalStateError('a consumer is read by one caller at a time')
    }
    const done = work()
    this.#busy = done.then(
      () => undefined,
      () => undefined,
    )
    try {
      return await done
    } finally {
      this.#busy = null
      this.#hasPolled = true
    }
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw new ClientClosedError('the consumer is closed')
  }

  // --- The group

  async #attendGroup(): Promise<void> {
    const membership = this.#membership
    if (membership === null || !this.#subscription.isGroupManaged) return
    for (;;) {
      if (this.#join === null) {
        if (!membership.isRejoinNeeded) return
        await this.#prepareJoin(membership)
        const join: Join = { outcome: null, onOutcome: () => undefined }
        this.#join = join
        const finish = async (): Promise<void> => {
          join.outcome = await membership.join(() => this.#joinSubscription())
          join.onOutcome()
          this.#attention()
        }
        finish().catch((error: Error) => this.#raise(error))
      }
      const { outcome } = this.#join
      if (outcome === null) return
      this.#join = null
      this.#isPreparing = true
      if (outcome.kind === 'failed') throw outcome.error
      if (outcome.kind === 'joined') await this.#takeOver(membership, outcome)
    }
  }

  #joinSubscription(): JoinSubscription {
    const owned = [...groupByTopic(this.#subscription.partitions)]
    const ownedPartitions = owned.map(([topic, list]) => {
      return { topic, partitions: list.map(({ partition }) => partition) }
    })
    return { topics: this.#subscription.topics, ownedPartitions }
  }

  /** Gives up what must not be owned while the group is joined. */
  async #prepareJoin(membership: GroupMembership): Promise<void> {
    if (this.#subscription.pattern !== null && this.#metadata.topics.size === 0) {
      await this.#cluster.retry(() => this.#metadata.update(), {
        timeoutMs: this.#options.defaultApiTimeoutMs,
      })
    }
    if (!this.#isPreparing) return
    this.#isPreparing = false
    if (membership.generationId === NO_GENERATION) {
      await this.#lose()
      return
    }
    await this.#commitConsumed(this.#options.requestTimeoutMs)
    const topics = new Set(this.#subscription.topics)
    const leaving = this.#isCooperative
      ? this.assignment().filter(({ topic }) => !topics.has(topic))
      : this.assignment()
    await this.#revoke(leaving)
  }

  async #takeOver(
    membership: GroupMembership,
    outcome: JoinOutcome & { kind: 'joined' },
  ): Promise<void> {
    // By the time that the program asks for records the group may have gone on without it.
    if (membership.generationId !== outcome.generationId) return
    const assigned = outcome.assignment.assignedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    )
    const topics = new Set(this.#subscription.topics)
    if (assigned.some(({ topic }) => !topics.has(topic))) {
      membership.requestRejoin('the assignment is for an earlier subscription')
      return
    }
    const owned = this.assignment()
    const keys = new Set(assigned.map(keyOf))
    const revoked = owned.filter((one) => !keys.has(keyOf(one)))
    if (revoked.length > 0) {
      // They were read on while the group was joined.
      await this.#commitConsumed(this.#options.requestTimeoutMs)
      await this.#revoke(revoked)
      membership.requestRejoin('partitions were given up for others to have')
    }
    const before = new Set(owned.map(keyOf))
    this.#subscription.setAssigned(assigned)
    if (assigned.some((one) => this.#metadata.partition(one) === undefined)) {
      this.#metadata.requestUpdate()
    }
    this.#resolver.resolve()
    await this.#listener.onPartitionsAssigned?.(assigned.filter((one) => !before.has(keyOf(one))))
  }

  async #revoke(partitions: readonly TopicPartition[]): Promise<void> {
    if (partitions.length === 0) return
    try {
      await this.#listener.onPartitionsRevoked?.(partitions)
    } finally {
      this.#remove(partitions)
    }
  }

  /** Partitions that may be another member's already. */
  async #lose(): Promise<void> {
    const partitions = this.assignment()
    if (partitions.length === 0) return
    this.#remove(partitions)
    if (this.#listener.onPartitionsLost) await this.#listener.onPartitionsLost(partitions)
    else await this.#listener.onPartitionsRevoked?.(partitions)
  }

  #remove(partitions: readonly TopicPartition[]): void {
    const gone = new Set(partitions.map(keyOf))
    this.#subscription.setAssigned(this.assignment().filter((one) => !gone.has(keyOf(one))))
  }

  async #giveUp(reason: string): Promise<void> {
    const membership = this.#membership
    try {
      await this.#joinIsOver()
      await this.#commitConsumed(this.#options.requestTimeoutMs)
      if (this.#subscription.isGroupManaged) {
        if (membership?.generationId === NO_GENERATION) await this.#lose()
        else await this.#revoke(this.assignment())
      }
    } finally {
      this.#join = null
      this.#isPreparing = true
      if (this.#subscription.isGroupManaged) await membership?.leave(reason)
    }
  }

  /**
   * Waits for the end of a join under way, before which nothing can be committed, if there is
   * something to commit: what stayed assigned meanwhile was read on.
   */
  async #joinIsOver(): Promise<void> {
    const join = this.#join
    if (join === null || join.outcome !== null || !this.#options.autoCommit) return
    if (this.#positions('consumed').length === 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#timers.schedule(JOIN_WAIT_MS, resolve)
      join.onOutcome = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  /** What an assignor needs of topics, asked for anew. */
  async #topicsOf(names: readonly string[]): Promise<Map<string, AssignorTopic>> {
    const { allowAutoTopicCreation } = this.#options
    const options = { refresh: true, allowAutoTopicCreation }
    return assignorTopics(await this.#cluster.metadata(names, options))
  }

  // --- Metadata

  #wantedTopics(): readonly string[] | null {
    if (this.#subscription.pattern !== null) return null
    const names = new Set(this.#subscription.topics)
    for (const { topic } of this.#subscription.partitions) names.add(topic)
    for (const topic of this.#membership?.topicsToWatch ?? []) names.add(topic)
    return [...names]
  }

  #metadataUpdated(): void {
    const { pattern, topics } = this.#subscription
    const known = this.#metadata.topics
    if (pattern !== null) {
      const matching = [...known].filter(([name, { isInternal }]) => {
        return !(isInternal && this.#options.excludeInternalTopics) && name.search(pattern) !== -1
      })
      if (this.#subscription.matched(matching.map(([name]) => name))) {
        this.#membership?.requestRejoin('the pattern matches other topics')
      }
    } else {
      for (const name of topics) {
        const errorCode = known.get(name)?.errorCode
        if (
          errorCode === ErrorCode.INVALID_TOPIC_EXCEPTION ||
          errorCode === ErrorCode.TOPIC_AUTHORIZATION_FAILED
        ) {
          this.#raise(errorFor(errorCode, `topic ${name} cannot be read`))
        }
      }
    }
    this.#membership?.checkTopics(this.#metadata.assignorTopics())
    this.#resolver.checkLeaders()
    this.#fetcher.pump()
  }

  // --- Offsets

  #member(): GroupMembership {
    if (this.#membership !== null) return this.#membership
    throw errorFor(ErrorCode.INVALID_GROUP_ID, 'committed offsets need a groupId')
  }

  /** The offsets that a commit takes, as far as they are others than those committed last. */
  #positions(which: 'position' | 'consumed'): OffsetToCommit[] {
    const offsets: OffsetToCommit[] = []
    for (const state of this.#subscription.partitions) {
      const { topic, partition } = state
      const offset = which === 'consumed' ? state.consumed : state.position
      const leaderEpoch = which === 'consumed' ? state.consumedEpoch : state.positionEpoch
      if (state.state === 'unknown' || offset < 0) continue
      if (which === 'consumed' && offset === state.committed) continue
      offsets.push({ topic, partition, offset, leaderEpoch })
    }
    return offsets
  }

  async #commit(offsets: readonly OffsetToCommit[], timeoutMs: number): Promise<void> {
    const isMember = this.#subscription.isGroupManaged
    await this.#member().commit(offsets, { timeoutMs, isMember })
    for (const one of offsets) {
      const state = this.#subscription.get(one)
      if (state !== undefined) state.committed = one.offset
    }
  }

  /** Of the auto-commit: what cannot be committed now is read again, here or by another member. */
  async #commitConsumed(timeoutMs: number): Promise<void> {
    if (!this.#options.autoCommit || this.#membership === null) return
    if (this.#subscription.isGroupManaged && this.#membership.generationId === NO_GENERATION) return
    const offsets = this.#positions('consumed')
    if (offsets.length === 0) return
    try {
      await this.#commit(offsets, timeoutMs)
    } catch (error) {
      const isLast = this.#closing !== null && !isOvertaken(error as Error)
      if (isLast || !(isOvertaken(error as Error) || isTransient(error as Error))) throw error
    }
  }

  #scheduleCommit(): void {
    const { autoCommit, autoCommitIntervalMs } = this.#options
    if (!autoCommit || this.#membership === null || this.#commitTimer !== null) return
    this.#commitTimer = this.#timers.schedule(autoCommitIntervalMs, () => {
      this.#commitTimer = null
      const isJoining = this.#join !== null && this.#join.outcome === null
      const done = isJoining ? Promise.resolve() : this.#commitConsumed(autoCommitIntervalMs)
      done
        .catch((error: Error) => this.#raise(error))
        .finally(() => {
          if (this.#closing === null) this.#scheduleCommit()
        })
    })
  }

  #assigned(partition: TopicPartition): PartitionState {
    this.#checkOpen()
    const state = this.#subscription.get(partition)
    if (state === undefined) {
      throw new IllegalStateError(
        `${partition.topic}-${partition.partition} is not assigned to this consumer`,
      )
    }
    return state
  }

  #reset(partitions: readonly TopicPartition[], timestamp: number): void {
    for (const one of partitions) {
      const state = this.#assigned(one)
      state.requestReset(timestamp)
      this.#moved(state)
    }
  }

  #moved(state: PartitionState): void {
    this.#touched.delete(state)
    if (this.#pending?.state === state) this.#pending = null
    this.#resolver.checkLeaders()
    this.#fetcher.pump()
    this.#signal()
  }

  async #lookUp(partitions: readonly PartitionTimestamp[]): Promise<PartitionOffset[]> {
    this.#checkOpen()
    const { clock, metadataMaxAgeMs, retryBackoffMs, defaultApiTimeoutMs } = this.#options
    if (new Set(partitions.map(keyOf)).size !== partitions.length) {
      throw new InvalidArgumentError('a partition is named twice')
    }
    const names = [...new Set(partitions.map(({ topic }) => topic))]
    const metadata = new MetadataView({
      cluster: this.#cluster,
      clock,
      timers: this.#timers,
      metadataMaxAgeMs,
      retryBackoffMs,
      allowAutoTopicCreation: false,
      wanted: () => names,
      onUpdate: () => undefined,
      onError: (error) => this.#raise(error),
    })
    try {
      const found = await lookUpOffsets(
        {
          cluster: this.#cluster,
          metadata,
          isolationLevel: this.#isolationLevel,
          timeoutMs: defaultApiTimeoutMs,
        },
        partitions,
      )
      return partitions.map((one) => {
        return found.find((other) => isSamePartition(one, other)) as PartitionOffset
      })
    } finally {
      metadata.close()
    }
  }

  async #offsetsAt(partitions: readonly TopicPartition[], timestamp: number): Promise<number[]> {
    const asked = partitions.map(({ topic, partition }) => ({ topic, partition, timestamp }))
    return (await this.#lookUp(asked)).map(({ offset }) => offset)
  }

  // --- Closing

  async #close(timeoutMs: number): Promise<void> {
    this.#commitTimer?.cancel()
    this.#attention()
    await this.#busy
    this.#consumedByClose()
    try {
      if (this.#membership !== null) {
        if (this.#subscription.isGroupManaged) await this.#giveUp('the consumer is closed')
        else await this.#commitConsumed(timeoutMs)
      }
    } finally {
      this.#membership?.close()
      this.#resolver.close()
      this.#metadata.close()
      await this.#fetcher.close()
      this.#timers.close()
      await this.#cluster.close()
    }
  }

  /** What `poll` has returned is done with; what the iteration has given last is not. */
  #consumedByClose(): void {
    this.#pending = null
    this.#consumed()
  }
}

function checkedOffset(offset: number): number {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new InvalidArgumentError(`${offset} is no offset`)
  }
  return offset
}

/** Whether a commit failed because the group has gone on: another member reads from the last commit. */
function isOvertaken(error: Error): boolean {
  if (!(error instanceof KafkaError)) return false
  switch (error.code) {
    case ErrorCode.REBALANCE_IN_PROGRESS:
    case ErrorCode.ILLEGAL_GENERATION:
    case ErrorCode.UNKNOWN_MEMBER_ID:
      return true
    default:
      return false
  }
}
