/**
 * A member of a consumer group, as the coordinator sees it: joins, syncs, heartbeats, commits and
 * leaves. Knows nothing of records; what the program owns is decided by whoever holds the membership.
 *
 * A rebalance has three parts, of which only the second is here, because the other two must not
 * happen while the program works on records: giving up partitions, the exchange with the coordinator
 * (`join`), and taking over what was assigned.
 */
import {
  CONSUMER_PROTOCOL_TYPE,
  type ConsumerAssignment,
  decodeConsumerAssignment,
  decodeConsumerSubscription,
  encodeConsumerAssignment,
  encodeConsumerSubscription,
  NO_GENERATION,
  type TopicPartitions,
} from '../protocol/consumer-protocol.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import { Heartbeat } from '../protocol/messages/heartbeat.ts'
import { JoinGroup, type JoinGroupResponse } from '../protocol/messages/join-group.ts'
import { LeaveGroup } from '../protocol/messages/leave-group.ts'
import { OffsetCommit } from '../protocol/messages/offset-commit.ts'
import { OffsetFetch } from '../protocol/messages/offset-fetch.ts'
import { SyncGroup } from '../protocol/messages/sync-group.ts'
import type { ApiSchema, RequestInput, ResponseOf } from '../protocol/schema.ts'
import type { Clock } from '../util/clock.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { Assignor, AssignorMember, AssignorTopic } from './assignors/assignor.ts'
import { type ClusterAccess, isTransient } from './cluster-access.ts'
import { errorFor, KafkaError } from './errors.ts'
import { groupByTopic, type TopicPartition } from './subscription-state.ts'

/** An offset to be committed, with what is to be kept beside it. */
export interface OffsetToCommit extends TopicPartition {
  readonly offset: number
  /** Of the record before the offset; -1, not known, if left out. */
  readonly leaderEpoch?: number
  readonly metadata?: string | null
}

/** A committed offset; -1: there is none. */
export interface CommittedPartition extends TopicPartition {
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
}

/** What a member joins with. */
export interface JoinSubscription {
  readonly topics: readonly string[]
  readonly ownedPartitions: readonly TopicPartitions[]
}

/** The end of a rebalance. */
export type JoinOutcome =
  | {
      readonly kind: 'joined'
      readonly generationId: number
      readonly assignment: ConsumerAssignment
      /** What the member joined with. */
      readonly topics: readonly string[]
    }
  /** The group has forgotten this member, and what it owned may be another's: to be joined anew. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'failed'; readonly error: Error }

export interface GroupMembershipOptions {
  readonly cluster: ClusterAccess
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly groupId: string
  readonly groupInstanceId: string | null
  readonly clientRack: string
  readonly assignors: readonly Assignor[]
  readonly sessionTimeoutMs: number
  readonly heartbeatIntervalMs: number
  readonly rebalanceTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly retryBackoffMs: number
  /** True while the program waits for records, and once after it has asked for some. */
  readonly hasPolled: () => boolean
  /** Topics of the whole group, when this member is to share them out. */
  readonly topicsOf: (names: readonly string[]) => Promise<ReadonlyMap<string, AssignorTopic>>
  /** The group has to be joined, or there is an error that the program has to know. */
  readonly onChange: () => void
}

/** Between generation and outcome of a join. */
interface Attempt {
  readonly subscription: JoinSubscription
  readonly response: JoinGroupResponse
}

/** Beyond the rebalance timeout, as the answer may be late. */
const JOIN_MARGIN_MS = 5000
const LEAVE_TIMEOUT_MS = 5000

export class GroupMembership {
  readonly #options: GroupMembershipOptions
  #memberId = ''
  #generationId = NO_GENERATION
  /** The generation in which the member was last assigned something. */
  #assignedGenerationId = NO_GENERATION
  #protocol: string | null = null
  #isRejoinNeeded = true
  #rejoinReason = 'the member joins for the first time'
  #isJoining = false
  /** Grows when the member leaves: a join from before it must not make it a member again. */
  #leaves = 0
  #isLeader = false
  /** The topics as they were shared out, to see whether they have changed. */
  #sharedOut = ''
  #groupTopics: readonly string[] = []
  #heartbeat: Timer | null = null
  /** From the answer to a JoinGroup until the next one is sent. */
  #isAlive = false
  #heartbeatRunning = false
  #lastHeardMs = 0
  #lastPolledMs = 0
  #fatal: Error | null = null
  #commits: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor(options: GroupMembershipOptions) {
    this.#options = options
  }

  get memberId(): string {
    return this.#memberId
  }

  /** -1 while the member is in no generation. */
  get generationId(): number {
    return this.#generationId
  }

  /** True when the group has to be joined, anew or again. */
  get isRejoinNeeded(): boolean {
    return this.#isRejoinNeeded
  }

  get isJoining(): boolean {
    return this.#isJoining
  }

  /** Topics of all members, when this one shares them out. */
  get topicsToWatch(): readonly string[] {
    return this.#isLeader ? this.#groupTopics : []
  }

  /** What ended the membership for good; null if nothing has. */
  takeFatal(): Error | null {
    const error = this.#fatal
    this.#fatal = null
    return error
  }

  requestRejoin(reason: string): void {
    if (this.#isRejoinNeeded) return
    this.#isRejoinNeeded = true
    this.#rejoinReason = reason
    this.#options.onChange()
  }

  /** Rebalances when the topics are no longer those that this member has shared out. */
  checkTopics(topics: ReadonlyMap<string, AssignorTopic>): void {
    if (!this.#isLeader || this.#isJoining || this.#isRejoinNeeded) return
    if (snapshotOf(this.#groupTopics, topics) !== this.#sharedOut) {
      this.requestRejoin('topics or partitions have changed')
    }
  }

  /**
   * Joins the group and waits for the assignment, trying again whatever may pass. Never throws.
   * Meanwhile the member sends no heartbeat: the coordinator waits for the whole group.
   */
  async join(subscription: () => JoinSubscription): Promise<JoinOutcome> {
    this.#isJoining = true
    this.#stopHeartbeat()
    const leaves = this.#leaves
    try {
      for (;;) {
        if (this.#closed || leaves !== this.#leaves) return { kind: 'failed', error: haveLeft() }
        this.#isRejoinNeeded = false
        const before = this.#generationId
        try {
          return await this.#joinOnce(subscription())
        } catch (error) {
          this.#isRejoinNeeded = true
          if (!this.#mayJoinAgain(error as Error)) {
            return { kind: 'failed', error: error as Error }
          }
          // Another one may own by now what this one has kept.
          if (before !== NO_GENERATION && this.#generationId === NO_GENERATION) {
            return { kind: 'lost' }
          }
          if (isTransient(error as Error)) await this.#backOff()
        }
      }
    } finally {
      this.#isJoining = false
    }
  }

  /** The protocol that the group has chosen, or null. */
  get protocol(): string | null {
    return this.#protocol
  }

  /**
   * Leaves the group, which then rebalances at once. A static member only stops: its place is kept
   * for its next incarnation until the session ends (KIP-345).
   */
  async leave(reason: string): Promise<void> {
    const memberId = this.#memberId
    const { groupInstanceId, groupId, requestTimeoutMs } = this.#options
    this.#leaves += 1
    this.#forget(true)
    if (groupInstanceId !== null || memberId === '') return
    try {
      const connection = await this.#coordinator()
      const timeoutMs = Math.min(LEAVE_TIMEOUT_MS, requestTimeoutMs)
      const members = [{ memberId, groupInstanceId, reason }]
      const isOld = connection.versionOf(LeaveGroup) < 3
      const request = isOld ? { groupId, memberId } : { groupId, members }
      await connection.send(LeaveGroup, request, { timeoutMs })
    } catch (error) {
      // Whoever cannot be told finds out when the session ends.
      if (!(error instanceof KafkaError) && !isTransient(error as Error)) throw error
      this.#coordinatorLost()
    }
  }

  /**
   * Commits offsets, in the order of the calls. Tries again until `timeoutMs`; throws KafkaError:
   * REBALANCE_IN_PROGRESS while the group rebalances (poll, then commit again), ILLEGAL_GENERATION,
   * UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID when the partitions are no longer this member's.
   */
  commit(
    offsets: readonly OffsetToCommit[],
    { timeoutMs, isMember }: { timeoutMs: number; isMember: boolean },
  ): Promise<void> {
    const before = this.#commits
    const done = (async () => {
      await before
      if (offsets.length > 0) await this.#commitNow(offsets, timeoutMs, isMember)
    })()
    this.#commits = done.catch(() => undefined)
    return done
  }

  /** Fetches committed offsets, once. Throws KafkaError, and what the connection throws. */
  async committed(partitions: readonly TopicPartition[]): Promise<CommittedPartition[]> {
    const { groupId } = this.#options
    const topics = [...groupByTopic(partitions)].map(([name, list]) => {
      return { name, partitionIndexes: list.map(({ partition }) => partition) }
    })
    const connection = await this.#coordinator()
    const version = connection.versionOf(OffsetFetch)
    const requireStable = version >= 7
    const request =
      version >= 8
        ? { groups: [{ groupId, topics }], requireStable }
        : { groupId, topics, requireStable }
    const response = await this.#send(OffsetFetch, request)
    const group = version >= 8 ? response.groups[0] : response
    this.#check(group?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR)
    const found: CommittedPartition[] = []
    for (const { name, partitions: list } of group?.topics ?? []) {
      for (const one of list) {
        this.#check(one.errorCode, `no committed offset of ${name}-${one.partitionIndex}`)
        found.push({
          topic: name,
          partition: one.partitionIndex,
          offset: one.committedOffset,
          leaderEpoch: one.committedLeaderEpoch,
          metadata: one.metadata ?? '',
        })
      }
    }
    return found
  }

  /** Stops heartbeats; nothing else is sent after it but what is under way. */
  close(): void {
    this.#closed = true
    this.#stopHeartbeat()
  }

  // --- Joining

  async #joinOnce(subscription: JoinSubscription): Promise<JoinOutcome> {
    const response = await this.#sendJoin(subscription)
    this.#memberId = response.memberId
    this.#generationId = response.generationId
    this.#protocol = response.protocolName
    this.#startHeartbeat()
    const attempt = { subscription, response }
    // A leader that came back under its instance id keeps the assignment (KIP-814).
    this.#isLeader = response.leader === response.memberId
    const assignments = this.#isLeader ? await this.#shareOut(attempt) : []
    const assignment = await this.#sync(attempt, response.skipAssignment ? [] : assignments)
    this.#assignedGenerationId = response.generationId
    const { generationId } = response
    return { kind: 'joined', generationId, assignment, topics: subscription.topics }
  }

  async #sendJoin(subscription: JoinSubscription): Promise<JoinGroupResponse> {
    const { groupId, groupInstanceId, sessionTimeoutMs, rebalanceTimeoutMs, assignors } =
      this.#options
    const timeoutMs = Math.max(this.#options.requestTimeoutMs, rebalanceTimeoutMs + JOIN_MARGIN_MS)
    const leaves = this.#leaves
    const response = await this.#send(
      JoinGroup,
      {
        groupId,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        memberId: this.#memberId,
        groupInstanceId,
        protocolType: CONSUMER_PROTOCOL_TYPE,
        protocols: assignors.map((assignor) => ({
          name: assignor.name,
          metadata: encodeConsumerSubscription({
            topics: subscription.topics,
            userData: assignor.userData(this.#assignedGenerationId),
            ownedPartitions: subscription.ownedPartitions,
            generationId: this.#assignedGenerationId,
            rackId: this.#options.clientRack || null,
          }),
        })),
        reason: this.#rejoinReason,
      },
      timeoutMs,
    )
    if (leaves !== this.#leaves) throw haveLeft()
    if (response.errorCode === ErrorCode.MEMBER_ID_REQUIRED) this.#memberId = response.memberId
    this.#check(response.errorCode)
    if (response.protocolType !== null && response.protocolType !== CONSUMER_PROTOCOL_TYPE) {
      const what = `group ${groupId} has the protocol type ${response.protocolType}`
      throw errorFor(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, what)
    }
    return response
  }

  /** As the leader of the group: what each member gets. */
  async #shareOut({ response }: Attempt): Promise<{ memberId: string; assignment: Buffer }[]> {
    const { assignors, topicsOf } = this.#options
    const assignor = assignors.find(({ name }) => name === response.protocolName)
    if (assignor === undefined) {
      const what = `the group has chosen ${response.protocolName}, which this member does not have`
      throw errorFor(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, what)
    }
    const members = response.members.map(({ memberId, groupInstanceId, metadata }) => {
      return { memberId, groupInstanceId, ...decodeConsumerSubscription(metadata) }
    }) satisfies AssignorMember[]
    this.#groupTopics = [...new Set(members.flatMap((member) => member.topics))]
    const topics = await topicsOf(this.#groupTopics)
    this.#sharedOut = snapshotOf(this.#groupTopics, topics)
    if (response.skipAssignment) return []
    const assignments = assignor.assign(topics, members)
    return [...assignments].map(([memberId, assignedPartitions]) => ({
      memberId,
      assignment: encodeConsumerAssignment({ assignedPartitions, userData: null }),
    }))
  }

  async #sync(
    { response }: Attempt,
    assignments: readonly { memberId: string; assignment: Buffer }[],
  ): Promise<ConsumerAssignment> {
    const { groupId, groupInstanceId, rebalanceTimeoutMs, requestTimeoutMs } = this.#options
    const timeoutMs = Math.max(requestTimeoutMs, rebalanceTimeoutMs + JOIN_MARGIN_MS)
    const leaves = this.#leaves
    const answer = await this.#send(
      SyncGroup,
      {
        groupId,
        generationId: response.generationId,
        memberId: response.memberId,
        groupInstanceId,
        protocolType: CONSUMER_PROTOCOL_TYPE,
        protocolName: response.protocolName,
        assignments,
      },
      timeoutMs,
    )
    if (leaves !== this.#leaves) throw haveLeft()
    this.#check(answer.errorCode)
    return decodeConsumerAssignment(answer.assignment)
  }

  /** True when joining once more can help. */
  #mayJoinAgain(error: Error): boolean {
    if (!(error instanceof KafkaError)) return isTransient(error)
    switch (error.code) {
      case ErrorCode.MEMBER_ID_REQUIRED:
      case ErrorCode.REBALANCE_IN_PROGRESS:
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.ILLEGAL_GENERATION:
        return true
      default:
        return isTransient(error)
    }
  }

  #backOff(): Promise<void> {
    return new Promise((resolve) => {
      this.#options.timers.schedule(this.#options.retryBackoffMs, resolve)
    })
  }

  /** Out of the generation; also as nobody when the coordinator does not know the member id. */
  #forget(alsoMemberId: boolean): void {
    this.#generationId = NO_GENERATION
    this.#assignedGenerationId = NO_GENERATION
    this.#protocol = null
    this.#isLeader = false
    this.#isRejoinNeeded = true
    if (alsoMemberId) this.#memberId = ''
    this.#stopHeartbeat()
  }

  // --- Heartbeats

  #startHeartbeat(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#lastHeardMs = nowMs
    this.#lastPolledMs = nowMs
    this.#isAlive = !this.#closed
    if (this.#isAlive) this.#scheduleHeartbeat(this.#options.heartbeatIntervalMs)
  }

  #stopHeartbeat(): void {
    this.#isAlive = false
    this.#heartbeat?.cancel()
    this.#heartbeat = null
  }

  #scheduleHeartbeat(delayMs: number): void {
    this.#heartbeat?.cancel()
    this.#heartbeat = this.#options.timers.schedule(delayMs, () => {
      this.#heartbeat = null
      if (this.#heartbeatRunning) this.#scheduleHeartbeat(this.#options.retryBackoffMs)
      else this.#beat()
    })
  }

  #beat(): void {
    const { clock, rebalanceTimeoutMs, sessionTimeoutMs, hasPolled, onChange } = this.#options
    const nowMs = clock.monotonicMs()
    if (hasPolled()) this.#lastPolledMs = nowMs
    if (nowMs - this.#lastPolledMs > rebalanceTimeoutMs) {
      const what = `the program has not asked for records for ${rebalanceTimeoutMs} ms`
      this.#rejoinReason = what
      this.leave(what).catch((error: Error) => this.#fail(error))
      onChange()
      return
    }
    if (nowMs - this.#lastHeardMs > sessionTimeoutMs) {
      this.#coordinatorLost()
      this.#lastHeardMs = nowMs
    }
    this.#heartbeatRunning = true
    this.#beatOnce().catch((error: Error) => this.#fail(error))
  }

  async #beatOnce(): Promise<void> {
    let delayMs = this.#options.retryBackoffMs
    try {
      delayMs = await this.#sendHeartbeat()
    } catch (error) {
      if (!isTransient(error as Error)) this.#fail(error as Error)
    }
    this.#heartbeatRunning = false
    if (this.#isAlive && this.#heartbeat === null) this.#scheduleHeartbeat(delayMs)
  }

  /** Milliseconds until the next one. */
  async #sendHeartbeat(): Promise<number> {
    const { groupId, groupInstanceId, heartbeatIntervalMs } = this.#options
    const generationId = this.#generationId
    const memberId = this.#memberId
    const { errorCode } = await this.#send(Heartbeat, {
      groupId,
      generationId,
      memberId,
      groupInstanceId,
    })
    // What is said of another generation than the present one does not count.
    if (generationId !== this.#generationId || memberId !== this.#memberId) {
      return heartbeatIntervalMs
    }
    switch (errorCode) {
      case ErrorCode.NONE:
        this.#lastHeardMs = this.#options.clock.monotonicMs()
        return heartbeatIntervalMs
      case ErrorCode.REBALANCE_IN_PROGRESS:
        this.#lastHeardMs = this.#options.clock.monotonicMs()
        if (!this.#isJoining) this.requestRejoin('the group rebalances')
        return heartbeatIntervalMs
      default:
        this.#check(errorCode)
        return heartbeatIntervalMs
    }
  }

  #fail(error: Error): void {
    if (error instanceof KafkaError) {
      switch (error.code) {
        case ErrorCode.UNKNOWN_MEMBER_ID:
        case ErrorCode.ILLEGAL_GENERATION:
          // Already forgotten; the group is joined anew.
          this.#options.onChange()
          return
        case ErrorCode.FENCED_INSTANCE_ID:
          this.#forget(true)
      }
    }
    this.#fatal = error
    this.#options.onChange()
  }

  // --- Offsets

  async #commitNow(
    offsets: readonly OffsetToCommit[],
    timeoutMs: number,
    isMember: boolean,
  ): Promise<void> {
    const { groupId, groupInstanceId, cluster } = this.#options
    const generationId = isMember ? this.#generationId : NO_GENERATION
    if (isMember && generationId === NO_GENERATION) {
      const what = 'this member is no longer in the group, its partitions may be another one’s'
      throw errorFor(ErrorCode.UNKNOWN_MEMBER_ID, what)
    }
    const topics = [...groupByTopic(offsets)].map(([name, list]) => ({
      name,
      partitions: list.map(({ partition, offset, leaderEpoch, metadata }) => ({
        partitionIndex: partition,
        committedOffset: offset,
        committedLeaderEpoch: leaderEpoch ?? -1,
        committedMetadata: metadata ?? '',
      })),
    }))
    await cluster.retry(
      async () => {
        if (isMember && this.#isJoining) {
          const what = 'the group rebalances: poll, then commit again'
          throw errorFor(ErrorCode.REBALANCE_IN_PROGRESS, what)
        }
        const response = await this.#send(OffsetCommit, {
          groupId,
          generationIdOrMemberEpoch: generationId,
          memberId: isMember ? this.#memberId : '',
          groupInstanceId: isMember ? groupInstanceId : null,
          topics,
        })
        for (const { name, partitions } of response.topics) {
          for (const { partitionIndex, errorCode } of partitions) {
            if (errorCode === ErrorCode.REBALANCE_IN_PROGRESS && !this.#isJoining) {
              this.requestRejoin('the group rebalances')
            }
            this.#check(errorCode, `offset of ${name}-${partitionIndex} not committed`)
          }
        }
      },
      { timeoutMs },
    )
  }

  // --- Requests

  async #coordinator() {
    const { cluster, groupId } = this.#options
    return await cluster.coordinator('group', groupId)
  }

  async #send<A extends ApiSchema>(
    api: A,
    request: RequestInput<A>,
    timeoutMs = this.#options.requestTimeoutMs,
  ): Promise<ResponseOf<A>> {
    const connection = await this.#coordinator()
    try {
      return await connection.send(api, request, { timeoutMs })
    } catch (error) {
      if (isTransient(error as Error)) this.#coordinatorLost()
      throw error
    }
  }

  #coordinatorLost(): void {
    const { cluster, groupId } = this.#options
    cluster.forgetCoordinator('group', groupId)
  }

  /** Throws for an error code, after having drawn the consequences. */
  #check(errorCode: number, what?: string): void {
    switch (errorCode) {
      case ErrorCode.NONE:
        return
      case ErrorCode.NOT_COORDINATOR:
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.REQUEST_TIMED_OUT:
        this.#coordinatorLost()
        break
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.FENCED_INSTANCE_ID:
        this.#rejoinReason = 'the coordinator does not know this member'
        this.#forget(true)
        break
      case ErrorCode.ILLEGAL_GENERATION:
        this.#rejoinReason = 'the generation of this member is over'
        this.#forget(false)
    }
    throw errorFor(errorCode, what)
  }
}

function haveLeft(): Error {
  return errorFor(ErrorCode.UNKNOWN_MEMBER_ID, 'the member has left the group')
}

/** Topics that a group shares, in a form that can be compared. */
function snapshotOf(names: readonly string[], topics: ReadonlyMap<string, AssignorTopic>): string {
  return JSON.stringify([...names].sort().map((name) => [name, topics.get(name)]))
}
