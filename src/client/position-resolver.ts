/**
 * Finds the positions of assigned partitions: the committed offset, or else what
 * `autoOffsetReset` says; and after a change of leader checks that the new leader's log still has
 * what the program has read (KIP-320). Works in the background, one round at a time.
 */
import { ErrorCode, isRetriable } from '../protocol/error-codes.ts'
import type { Clock } from '../util/clock.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import { type ClusterAccess, isTransient } from './cluster-access.ts'
import { ClientError, errorFor } from './errors.ts'
import type { MetadataView } from './metadata-view.ts'
import {
  byLeader,
  EARLIEST_TIMESTAMP,
  epochEnds,
  isSamePartition,
  LATEST_TIMESTAMP,
  listOffsets,
} from './offset-lookup.ts'
import type {
  AutoOffsetReset,
  PartitionState,
  SubscriptionState,
  TopicPartition,
} from './subscription-state.ts'

/** There is no committed offset for these partitions, and no rule where else to begin. */
export class NoOffsetForPartitionError extends ClientError {
  readonly partitions: readonly TopicPartition[]

  constructor(partitions: readonly TopicPartition[]) {
    const names = partitions.map(({ topic, partition }) => `${topic}-${partition}`).join(', ')
    const message = `no committed offset for ${names}, and autoOffsetReset is 'none'`
    super('NoOffsetForPartitionError', message, { retriable: false })
    this.partitions = partitions
  }
}

/** The log ends before what was read from it: records that were seen are gone (KIP-320). */
export class LogTruncationError extends ClientError {
  readonly topic: string
  readonly partition: number
  /** Where the program was. */
  readonly position: number
  /** The first offset that differs; -1: not known. */
  readonly divergentOffset: number

  constructor({ topic, partition, position }: PartitionState, divergentOffset: number) {
    const where = divergentOffset === -1 ? '' : ` from offset ${divergentOffset} on`
    const message = `the log of ${topic}-${partition} was truncated below offset ${position}${where}`
    super('LogTruncationError', message, { retriable: false })
    this.topic = topic
    this.partition = partition
    this.position = position
    this.divergentOffset = divergentOffset
  }
}

/** A committed offset; -1: there is none. */
export interface CommittedOffset extends TopicPartition {
  readonly offset: number
  readonly leaderEpoch: number
}

export interface PositionResolverOptions {
  readonly subscription: SubscriptionState
  readonly metadata: MetadataView
  readonly cluster: ClusterAccess
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly isolationLevel: number
  readonly autoOffsetReset: AutoOffsetReset
  readonly retryBackoffMs: number
  /** Fetches committed offsets; null without a group. Throws what is retriable too. */
  readonly committed: ((partitions: readonly TopicPartition[]) => Promise<CommittedOffset[]>) | null
  /** Positions have been found. */
  readonly onProgress: () => void
  /** What the program has to know. After it nothing goes on until `resolve` is called. */
  readonly onError: (error: Error) => void
}

export class PositionResolver {
  readonly #options: PositionResolverOptions
  #running = false
  #again = false
  #timer: Timer | null = null
  #closed = false

  constructor(options: PositionResolverOptions) {
    this.#options = options
  }

  /** Begins to look for positions that are missing; nothing happens when none is. */
  resolve(): void {
    if (this.#closed) return
    if (this.#running) {
      this.#again = true
      return
    }
    if (this.#timer !== null || !this.#isNeeded()) return
    this.#running = true
    this.#run().catch((error: Error) => this.#options.onError(error))
  }

  async #run(): Promise<void> {
    const isDone = await this.#round().catch((error: Error) => this.#failed(error))
    this.#running = false
    const again = this.#again
    this.#again = false
    if (this.#closed) return
    this.#options.onProgress()
    if (!isDone) this.#later()
    else if (again) this.resolve()
  }

  /** What to do with a partition whose offset the log does not have. */
  outOfRange(state: PartitionState): void {
    const timestamp = this.#resetTimestamp()
    if (timestamp === null) {
      const { topic, partition, fetchOffset } = state
      const what = `offset ${fetchOffset} of ${topic}-${partition} is not in the log`
      const error = errorFor(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        `${what}, and autoOffsetReset is 'none'`,
      )
      this.#options.onError(error)
      return
    }
    state.requestReset(timestamp)
    this.resolve()
  }

  /** To be called when metadata has changed: positions under a new leader have to be checked. */
  checkLeaders(): void {
    const { subscription, metadata } = this.#options
    for (const state of subscription.partitions) {
      if (state.state !== 'known') continue
      const leaderEpoch = metadata.partition(state)?.leaderEpoch ?? -1
      if (leaderEpoch === -1 || leaderEpoch === state.validatedEpoch) continue
      if (state.positionEpoch === -1 || state.validatedEpoch > leaderEpoch) {
        state.validatedEpoch = leaderEpoch
        continue
      }
      state.rewind()
      state.state = 'validating'
    }
    this.#timer?.cancel()
    this.#timer = null
    this.resolve()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#timer = null
  }

  #isNeeded(): boolean {
    for (const { state } of this.#options.subscription.partitions)
      if (state !== 'known') return true
    return false
  }

  #resetTimestamp(): number | null {
    const { autoOffsetReset } = this.#options
    if (autoOffsetReset === 'none') return null
    return autoOffsetReset === 'earliest' ? EARLIEST_TIMESTAMP : LATEST_TIMESTAMP
  }

  #in(state: PartitionState['state']): PartitionState[] {
    return [...this.#options.subscription.partitions].filter((one) => one.state === state)
  }

  #later(): void {
    const { timers, retryBackoffMs } = this.#options
    this.#timer = timers.schedule(retryBackoffMs, () => {
      this.#timer = null
      this.resolve()
    })
  }

  /** True when waiting does not help; otherwise it is tried again. */
  #failed(error: Error): boolean {
    if (isTransient(error)) {
      this.#options.metadata.requestUpdate()
      return false
    }
    this.#options.onError(error)
    return true
  }

  /** False when something is left that a later round may find. */
  async #round(): Promise<boolean> {
    let isDone = await this.#fromCommitted()
    if (!(await this.#byTimestamp())) isDone = false
    if (!(await this.#validate())) isDone = false
    return isDone
  }

  async #fromCommitted(): Promise<boolean> {
    const { committed, subscription, onError } = this.#options
    const states = this.#in('unknown')
    if (states.length === 0) return true
    const versions = new Map(states.map((state) => [state, state.version]))
    const answers = committed === null ? [] : await committed(states)
    const missing: PartitionState[] = []
    for (const state of states) {
      if (!subscription.isCurrent(state) || state.version !== versions.get(state)) continue
      const answer = answers.find((one) => isSamePartition(one, state))
      if (answer !== undefined && answer.offset >= 0) {
        state.seek(answer.offset, answer.leaderEpoch)
        state.committed = answer.offset
        this.#checkNow(state)
        continue
      }
      const timestamp = this.#resetTimestamp()
      if (timestamp === null) missing.push(state)
      else state.requestReset(timestamp)
    }
    if (missing.length === 0) return true
    onError(
      new NoOffsetForPartitionError(missing.map(({ topic, partition }) => ({ topic, partition }))),
    )
    return true
  }

  #checkNow(state: PartitionState): void {
    const leaderEpoch = this.#options.metadata.partition(state)?.leaderEpoch ?? -1
    if (leaderEpoch === -1) return
    if (state.positionEpoch === -1) state.validatedEpoch = leaderEpoch
    else state.state = 'validating'
  }

  async #byTimestamp(): Promise<boolean> {
    const { metadata, isolationLevel, subscription } = this.#options
    let isDone = true
    const states = this.#in('resetting')
    const versions = new Map(states.map((state) => [state, state.version]))
    for (const [node, list] of byLeader(metadata, states)) {
      if (node === -1) {
        metadata.requestUpdate()
        isDone = false
        continue
      }
      const asked = list.map(({ topic, partition, resetTimestamp }) => {
        return { topic, partition, timestamp: resetTimestamp }
      })
      const answers = await listOffsets(this.#options, node, isolationLevel, asked)
      for (const state of list) {
        if (!subscription.isCurrent(state) || state.version !== versions.get(state)) continue
        const answer = answers.find((one) => isSamePartition(one, state))
        if (answer?.errorCode === ErrorCode.NONE) {
          if (answer.offset >= 0) state.seek(answer.offset, answer.leaderEpoch)
          // No record is as late: go on behind the last one.
          else if (state.resetTimestamp >= 0) state.requestReset(LATEST_TIMESTAMP)
          if (answer.offset < 0) isDone = false
          else state.validatedEpoch = metadata.partition(state)?.leaderEpoch ?? -1
          continue
        }
        isDone = this.#refused(answer?.errorCode, state) && isDone
      }
    }
    return isDone
  }

  async #validate(): Promise<boolean> {
    const { metadata, subscription } = this.#options
    let isDone = true
    const states = this.#in('validating')
    const versions = new Map(states.map((state) => [state, state.version]))
    for (const [node, list] of byLeader(metadata, states)) {
      if (node === -1) {
        metadata.requestUpdate()
        isDone = false
        continue
      }
      const epochs = new Map(list.map((one) => [one, metadata.partition(one)?.leaderEpoch ?? -1]))
      const asked = list.map(({ topic, partition, positionEpoch }) => {
        return { topic, partition, leaderEpoch: positionEpoch }
      })
      const answers = await epochEnds(this.#options, node, asked)
      for (const state of list) {
        if (!subscription.isCurrent(state) || state.version !== versions.get(state)) continue
        const answer = answers?.find((one) => isSamePartition(one, state))
        if (answers === null || answer?.errorCode === ErrorCode.NONE) {
          state.state = 'known'
          state.validatedEpoch = epochs.get(state) as number
          if (answer !== undefined) this.#compare(state, answer.leaderEpoch, answer.endOffset)
          continue
        }
        isDone = this.#refused(answer?.errorCode, state) && isDone
      }
    }
    return isDone
  }

  /** Whether the log of the leader still has what was read. */
  #compare(state: PartitionState, leaderEpoch: number, endOffset: number): void {
    const isUnknown = leaderEpoch === -1 || endOffset === -1
    if (!isUnknown && endOffset >= state.position) return
    const timestamp = this.#resetTimestamp()
    if (timestamp === null) {
      // Only the program can say where to go on: until it seeks it is told again.
      state.state = 'validating'
      this.#options.onError(new LogTruncationError(state, isUnknown ? -1 : endOffset))
    } else if (isUnknown) {
      state.requestReset(timestamp)
      this.#again = true
    } else {
      const { validatedEpoch } = state
      state.seek(endOffset, leaderEpoch)
      state.validatedEpoch = validatedEpoch
    }
  }

  /** True when waiting does not help. */
  #refused(errorCode: number | undefined, { topic, partition }: PartitionState): boolean {
    this.#options.metadata.requestUpdate()
    if (
      errorCode === undefined ||
      isRetriable(errorCode) ||
      errorCode === ErrorCode.UNKNOWN_SERVER_ERROR
    ) {
      return false
    }
    this.#options.onError(errorFor(errorCode, `no offset of ${topic}-${partition}`))
    return true
  }
}
