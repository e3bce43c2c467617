/**
 * The coordinator of the groups whose offsets partitions this broker leads: membership, rebalances
 * and committed offsets (protocol of KIP-62, 345, 394, 429, 496, 559, 814).
 *
 * Opens no socket and reads no clock but the injected one; what must survive goes through the
 * OffsetStore before it is answered. Main thread only.
 */
import { CONSUMER_PROTOCOL_TYPE } from '../protocol/consumer-protocol.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import {
  type CommittedOffset,
  GroupMember,
  GroupMetadata,
  type GroupState,
  type JoinResult,
  type MemberProtocol,
  NO_BYTES,
  type SyncResult,
} from './group-metadata.ts'
import type { OffsetStore, OffsetWrite } from './offset-store.ts'

/** A member that has joined for the first time cannot send heartbeats before the answer. */
const NEW_MEMBER_JOIN_TIMEOUT_MS = 300_000

export interface GroupCoordinatorConfig {
  readonly groupMinSessionTimeoutMs: number
  readonly groupMaxSessionTimeoutMs: number
  readonly groupInitialRebalanceDelayMs: number
  readonly groupMaxSize: number
  readonly offsetMetadataMaxBytes: number
  readonly offsetsRetentionMs: number
}

export interface GroupCoordinatorOptions {
  readonly config: GroupCoordinatorConfig
  readonly store: OffsetStore
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly logger: Logger
  /** A fresh UUID in text. */
  readonly uuid: () => string
  readonly partitionExists: (topic: string, partition: number) => boolean
}

export interface ClientIdentity {
  readonly clientId: string
  /** As Kafka writes it: `/127.0.0.1`. */
  readonly clientHost: string
}

export interface JoinRequest {
  readonly groupId: string
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocolType: string
  readonly protocols: readonly MemberProtocol[]
}

export interface JoinSupport {
  /** A new member must first be told its id (KIP-394). */
  readonly requiresKnownMemberId: boolean
  /** A static leader may skip the assignment (KIP-814). */
  readonly skipsAssignment: boolean
}

export interface SyncRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Buffer }[]
}

export interface LeavingMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
}

export interface CommitRequest {
  readonly groupId: string
  readonly generationId: number
  readonly memberId: string
  readonly groupInstanceId: string | null
  /** -1: by the broker's retention. */
  readonly retentionMs: number
  readonly offsets: readonly {
    readonly topic: string
    readonly partition: number
    readonly offset: number
    readonly leaderEpoch: number
    readonly metadata: string
    /** -1: now. */
    readonly timestampMs: number
  }[]
}

export interface GroupOverview {
  readonly groupId: string
  readonly protocolType: string
  readonly state: GroupState
}

export interface GroupDescription extends GroupOverview {
  readonly errorCode: number
  readonly protocolName: string
  readonly members: readonly {
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly clientId: string
    readonly clientHost: string
    readonly metadata: Buffer
    readonly assignment: Buffer
  }[]
}

function joinError(memberId: string, errorCode: number): JoinResult {
  return {
    errorCode,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: '',
    skipAssignment: false,
    memberId,
    members: [],
  }
}

function syncError(errorCode: number): SyncResult {
  return { errorCode, protocolType: null, protocolName: null, assignment: NO_BYTES }
}

/** What a group answers when its state could not be stored. */
function groupStoreError(errorCode: number): number {
  switch (errorCode) {
    case ErrorCode.NONE:
      return ErrorCode.NONE
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode.NOT_ENOUGH_REPLICAS:
    case ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND:
      return ErrorCode.COORDINATOR_NOT_AVAILABLE
    case ErrorCode.NOT_LEADER_OR_FOLLOWER:
    case ErrorCode.FENCED_LEADER_EPOCH:
    case ErrorCode.KAFKA_STORAGE_ERROR:
      return ErrorCode.NOT_COORDINATOR
    case ErrorCode.REQUEST_TIMED_OUT:
      return ErrorCode.REBALANCE_IN_PROGRESS
    default:
      return ErrorCode.UNKNOWN_SERVER_ERROR
  }
}

/** What a commit answers when it could not be stored. */
function commitStoreError(errorCode: number): number {
  switch (errorCode) {
    case ErrorCode.REQUEST_TIMED_OUT:
      return ErrorCode.COORDINATOR_NOT_AVAILABLE
    case ErrorCode.MESSAGE_TOO_LARGE:
    case ErrorCode.RECORD_LIST_TOO_LARGE:
    case ErrorCode.INVALID_FETCH_SIZE:
      return ErrorCode.INVALID_COMMIT_OFFSET_SIZE
    default:
      return groupStoreError(errorCode)
  }
}

export class GroupCoordinator {
  readonly #options: GroupCoordinatorOptions
  readonly #config: GroupCoordinatorConfig
  readonly #clock: Clock
  readonly #timers: TimerQueue
  readonly #store: OffsetStore
  readonly #groups = new Map<string, GroupMetadata>()

  constructor(options: GroupCoordinatorOptions) {
    this.#options = options
    this.#config = options.config
    this.#clock = options.clock
    this.#timers = options.timers
    this.#store = options.store
  }

  // --- Leadership of offsets partitions

  /** Reads what is stored in an offsets partition, then serves its groups. */
  async becomeLeader(partition: number): Promise<void> {
    const loaded = await this.#store.load(partition)
    if (loaded === null) return
    let offsets = 0
    for (const group of loaded) {
      for (const partitions of group.offsets.values()) offsets += partitions.size
      this.#groups.set(group.groupId, group)
      group.computeSubscribedTopics()
      for (const member of group.members.values()) {
        this.#renewSession(group, member, member.sessionTimeoutMs)
      }
    }
    if (loaded.length > 0) {
      this.#options.logger.info(
        { partition, groups: loaded.length, offsets },
        'the groups of an offsets partition are loaded',
      )
    }
  }

  /** Another broker leads the partition now: whoever waits is sent there. */
  resign(partition: number): void {
    this.#store.resign(partition)
    for (const group of [...this.#groups.values()]) {
      if (group.offsetsPartition !== partition) continue
      this.#groups.delete(group.groupId)
      this.#bury(group, ErrorCode.NOT_COORDINATOR)
    }
  }

  /** Answers everybody who waits; for the end of the broker. */
  close(): void {
    this.#store.close()
    for (const group of this.#groups.values()) this.#bury(group, ErrorCode.NOT_COORDINATOR)
    this.#groups.clear()
  }

  #bury(group: GroupMetadata, errorCode: number): void {
    group.transitionTo('Dead', this.#clock.nowMs())
    group.joinTimer?.cancel()
    group.syncTimer?.cancel()
    for (const timer of group.pendingMembers.values()) timer.cancel()
    group.pendingMembers.clear()
    for (const member of group.members.values()) {
      member.timer?.cancel()
      this.#answerJoin(member, joinError(member.memberId, errorCode))
      this.#answerSync(member, syncError(errorCode))
    }
  }

  /** 0, or why requests for this group cannot be served here now. */
  #unavailable(groupId: string, mayBeEmpty: boolean): number {
    if (groupId === '' && !mayBeEmpty) return ErrorCode.INVALID_GROUP_ID
    return this.#store.availability(groupId)
  }

  #answerJoin(member: GroupMember, result: JoinResult): void {
    const waiter = member.joinWaiter
    member.joinWaiter = null
    waiter?.(result)
  }

  #answerSync(member: GroupMember, result: SyncResult): void {
    const waiter = member.syncWaiter
    member.syncWaiter = null
    waiter?.(result)
  }

  // --- Joining

  joinGroup(
    request: JoinRequest,
    client: ClientIdentity,
    support: JoinSupport,
  ): Promise<JoinResult> {
    return new Promise((resolve) => this.#join(request, client, support, resolve))
  }

  #join(
    request: JoinRequest,
    client: ClientIdentity,
    support: JoinSupport,
    answer: (result: JoinResult) => void,
  ): void {
    const { groupId, memberId, sessionTimeoutMs } = request
    const refuse = (errorCode: number): void => answer(joinError(memberId, errorCode))
    const unavailable = this.#unavailable(groupId, false)
    if (unavailable !== 0) {
      refuse(unavailable)
      return
    }
    const { groupMinSessionTimeoutMs: least, groupMaxSessionTimeoutMs: most } = this.#config
    if (sessionTimeoutMs < least || sessionTimeoutMs > most) {
      refuse(ErrorCode.INVALID_SESSION_TIMEOUT)
      return
    }
    let group = this.#groups.get(groupId)
    if (group === undefined) {
      if (memberId !== '') {
        refuse(ErrorCode.UNKNOWN_MEMBER_ID)
        return
      }
      if (request.protocolType === '' || request.protocols.length === 0) {
        refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        return
      }
      group = new GroupMetadata(groupId, this.#store.partitionOf(groupId))
      group.transitionTo('Empty', this.#clock.nowMs())
      this.#groups.set(groupId, group)
    }
    if (!this.#hasRoomFor(group, memberId)) {
      const member = group.members.get(memberId)
      if (member !== undefined) group.remove(member)
      refuse(ErrorCode.GROUP_MAX_SIZE_REACHED)
      return
    }
    if (memberId === '') this.#joinNew(group, request, client, support, answer)
    else this.#joinKnown(group, request, client, answer)
    this.#tryCompleteJoin(group)
  }

  #hasRoomFor(group: GroupMetadata, memberId: string): boolean {
    const { groupMaxSize } = this.#config
    const known = group.members.get(memberId)
    switch (group.state) {
      case 'Empty':
      case 'Dead':
        return true
      case 'PreparingRebalance':
        return (
          (known !== undefined && known.joinWaiter !== null) || group.awaitingJoin < groupMaxSize
        )
      default:
        return known !== undefined || group.members.size < groupMaxSize
    }
  }

  #joinNew(
    group: GroupMetadata,
    request: JoinRequest,
    client: ClientIdentity,
    support: JoinSupport,
    answer: (result: JoinResult) => void,
  ): void {
    if (group.is('Dead')) {
      answer(joinError('', ErrorCode.COORDINATOR_NOT_AVAILABLE))
      return
    }
    if (!group.supportsProtocols(request.protocolType, request.protocols)) {
      answer(joinError('', ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
      return
    }
    const { groupInstanceId } = request
    const memberId = `${groupInstanceId ?? client.clientId}-${this.#options.uuid()}`
    if (groupInstanceId !== null) {
      const known = group.staticMembers.get(groupInstanceId)
      const member = known === undefined ? undefined : group.members.get(known)
      if (member !== undefined) {
        this.#replaceStaticMember(group, member, memberId, request, support, answer)
        return
      }
    } else if (support.requiresKnownMemberId) {
      this.#addPendingMember(group, memberId, request.sessionTimeoutMs)
      answer(joinError(memberId, ErrorCode.MEMBER_ID_REQUIRED))
      return
    }
    this.#addMember(group, memberId, request, client, answer)
  }

  #joinKnown(
    group: GroupMetadata,
    request: JoinRequest,
    client: ClientIdentity,
    answer: (result: JoinResult) => void,
  ): void {
    const { memberId, groupInstanceId } = request
    const refuse = (errorCode: number): void => answer(joinError(memberId, errorCode))
    if (group.is('Dead')) {
      refuse(ErrorCode.COORDINATOR_NOT_AVAILABLE)
      return
    }
    if (!group.supportsProtocols(request.protocolType, request.protocols)) {
      refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
      return
    }
    if (group.pendingMembers.has(memberId)) {
      // An id that was given out to a dynamic member is not one of a static member.
      if (groupInstanceId !== null) {
        refuse(ErrorCode.UNKNOWN_MEMBER_ID)
        return
      }
      this.#addMember(group, memberId, request, client, answer)
      return
    }
    const stranger = this.#whyNotMember(group, memberId, groupInstanceId)
    if (stranger !== 0) {
      refuse(stranger)
      return
    }
    const member = group.members.get(memberId) as GroupMember
    switch (group.state) {
      case 'PreparingRebalance':
        this.#rejoin(group, member, request, answer)
        break
      case 'CompletingRebalance':
        if (member.matches(request.protocols)) {
          // Its answer was lost: the same again.
          answer(this.#joined(group, member))
        } else {
          this.#rejoin(group, member, request, answer)
        }
        break
      case 'Stable':
        if (group.leaderId === memberId || !member.matches(request.protocols)) {
          this.#rejoin(group, member, request, answer)
        } else {
          answer({ ...this.#joined(group, member), members: [] })
        }
        break
      default:
        refuse(ErrorCode.UNKNOWN_MEMBER_ID)
    }
  }

  /** 0 for a member; else how its id is wrong. */
  #whyNotMember(group: GroupMetadata, memberId: string, instanceId: string | null): number {
    if (instanceId !== null) {
      const known = group.staticMembers.get(instanceId)
      if (known === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
      if (known !== memberId) return ErrorCode.FENCED_INSTANCE_ID
    }
    return group.members.has(memberId) ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
  }

  #addPendingMember(group: GroupMetadata, memberId: string, sessionTimeoutMs: number): void {
    const timer = this.#timers.schedule(sessionTimeoutMs, () => {
      group.pendingMembers.delete(memberId)
      this.#tryCompleteJoin(group)
      this.#forgetIfUnused(group)
    })
    group.pendingMembers.set(memberId, timer)
  }

  #addMember(
    group: GroupMetadata,
    memberId: string,
    request: JoinRequest,
    client: ClientIdentity,
    answer: (result: JoinResult) => void,
  ): void {
    group.pendingMembers.get(memberId)?.cancel()
    group.pendingMembers.delete(memberId)
    const member = new GroupMember({
      memberId,
      groupInstanceId: request.groupInstanceId,
      clientId: client.clientId,
      clientHost: client.clientHost,
      rebalanceTimeoutMs: request.rebalanceTimeoutMs,
      sessionTimeoutMs: request.sessionTimeoutMs,
      protocols: request.protocols,
    })
    member.isNew = true
    member.joinWaiter = answer
    if (group.is('PreparingRebalance') && group.generationId === 0) group.newMemberAdded = true
    if (group.members.size === 0) group.protocolType = request.protocolType
    group.add(member)
    this.#renewSession(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
    this.#maybePrepareRebalance(group)
  }

  #rejoin(
    group: GroupMetadata,
    member: GroupMember,
    request: JoinRequest,
    answer: (result: JoinResult) => void,
  ): void {
    // A join that waits already was given up by its client.
    this.#answerJoin(member, joinError(member.memberId, ErrorCode.REBALANCE_IN_PROGRESS))
    member.protocols = request.protocols
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs
    member.sessionTimeoutMs = request.sessionTimeoutMs
    member.joinWaiter = answer
    this.#maybePrepareRebalance(group)
  }

  /** A static member came back under its instance id: its old self is fenced (KIP-345). */
  #replaceStaticMember(
    group: GroupMetadata,
    member: GroupMember,
    memberId: string,
    request: JoinRequest,
    support: JoinSupport,
    answer: (result: JoinResult) => void,
  ): void {
    const oldLeader = group.leaderId ?? ''
    const fenced = ErrorCode.FENCED_INSTANCE_ID
    this.#answerJoin(member, joinError(member.memberId, fenced))
    this.#answerSync(member, syncError(fenced))
    group.replaceStatic(member, memberId)
    const previous = member.protocols
    member.protocols = request.protocols
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs
    member.sessionTimeoutMs = request.sessionTimeoutMs
    this.#renewSession(group, member, member.sessionTimeoutMs)
    if (group.is('Stable') && group.selectProtocol() === group.protocolName) {
      const { generationId } = group
      const isLeader = group.leaderId === memberId
      void this.#store.writeGroup(group, null).then((errorCode) => {
        if (errorCode !== 0 && group.members.get(memberId) === member) {
          this.#options.logger.warn(
            { group: group.groupId, errorCode },
            'a group could not be stored after a static member came back',
          )
          member.protocols = previous
          answer(joinError(memberId, groupStoreError(errorCode)))
          return
        }
        if (support.skipsAssignment) {
          answer({
            ...this.#joined(group, member),
            generationId,
            skipAssignment: isLeader,
          })
        } else {
          // Without the flag a client that is told that it leads would assign anew.
          answer({ ...this.#joined(group, member), generationId, leader: oldLeader, members: [] })
        }
      })
      return
    }
    member.joinWaiter = answer
    if (group.is('Stable', 'CompletingRebalance')) this.#prepareRebalance(group)
  }

  #joined(group: GroupMetadata, member: GroupMember): JoinResult {
    const isLeader = group.leaderId === member.memberId
    return {
      errorCode: 0,
      generationId: group.generationId,
      protocolType: group.protocolType,
      protocolName: group.protocolName,
      leader: group.leaderId ?? '',
      skipAssignment: false,
      memberId: member.memberId,
      members: isLeader
        ? [...group.members.values()].map((one) => ({
            memberId: one.memberId,
            groupInstanceId: one.groupInstanceId,
            metadata: one.metadataFor(group.protocolName),
          }))
        : [],
    }
  }

  // --- Rebalances

  #maybePrepareRebalance(group: GroupMetadata): void {
    if (group.is('Stable', 'CompletingRebalance', 'Empty')) this.#prepareRebalance(group)
  }

  #prepareRebalance(group: GroupMetadata): void {
    if (group.is('CompletingRebalance')) {
      for (const member of group.members.values()) member.assignment = NO_BYTES
      this.#answerAllSyncs(group, ErrorCode.REBALANCE_IN_PROGRESS)
    }
    group.syncTimer?.cancel()
    group.syncTimer = null
    group.joinTimer?.cancel()
    const { groupInitialRebalanceDelayMs: delay } = this.#config
    const { rebalanceTimeoutMs } = group
    if (group.is('Empty')) {
      group.isInitialDelay = true
      this.#waitForMore(group, delay, Math.max(0, rebalanceTimeoutMs - delay))
    } else {
      group.isInitialDelay = false
      this.#waitForAll(group)
    }
    group.transitionTo('PreparingRebalance', this.#clock.nowMs())
    this.#tryCompleteJoin(group)
  }

  /** The first rebalance of a group waits for members that start together. */
  #waitForMore(group: GroupMetadata, delayMs: number, remainingMs: number): void {
    group.joinTimer = this.#timers.schedule(delayMs, () => {
      group.joinTimer = null
      if (group.newMemberAdded && remainingMs > 0) {
        group.newMemberAdded = false
        const delay = Math.min(this.#config.groupInitialRebalanceDelayMs, remainingMs)
        this.#waitForMore(group, delay, Math.max(0, remainingMs - delay))
        return
      }
      this.#completeJoin(group)
    })
  }

  #waitForAll(group: GroupMetadata): void {
    group.joinTimer = this.#timers.schedule(group.rebalanceTimeoutMs, () => {
      group.joinTimer = null
      this.#completeJoin(group)
    })
  }

  #tryCompleteJoin(group: GroupMetadata): void {
    if (!group.is('PreparingRebalance') || group.isInitialDelay) return
    if (group.hasAllMembersJoined) this.#completeJoin(group)
  }

  #completeJoin(group: GroupMetadata): void {
    if (!group.is('PreparingRebalance')) return
    group.joinTimer?.cancel()
    group.joinTimer = null
    group.isInitialDelay = false
    group.newMemberAdded = false
    for (const member of [...group.members.values()]) {
      // A static member may still come back within its session.
      if (member.joinWaiter === null && member.groupInstanceId === null) group.remove(member)
    }
    if (group.members.size > 0 && !group.electJoinedLeader()) {
      this.#waitForAll(group)
      return
    }
    group.nextGeneration(this.#clock.nowMs())
    if (group.is('Empty')) {
      void this.#storeEmpty(group)
      return
    }
    for (const member of group.members.values()) {
      const wasWaiting = member.joinWaiter !== null
      if (wasWaiting || member.isNew) this.#renewSession(group, member, member.sessionTimeoutMs)
      member.isNew = false
      group.pendingSync.add(member.memberId)
      this.#answerJoin(member, this.#joined(group, member))
    }
    this.#waitForSyncs(group)
  }

  async #storeEmpty(group: GroupMetadata): Promise<void> {
    const { generationId } = group
    const errorCode = await this.#store.writeGroup(group, new Map())
    if (errorCode !== 0 && group.generationId === generationId) {
      this.#options.logger.warn(
        { group: group.groupId, errorCode },
        'that a group became empty could not be stored',
      )
    }
  }

  #waitForSyncs(group: GroupMetadata): void {
    group.syncTimer?.cancel()
    const { generationId } = group
    group.syncTimer = this.#timers.schedule(group.rebalanceTimeoutMs, () => {
      group.syncTimer = null
      if (group.generationId !== generationId || !group.is('CompletingRebalance', 'Stable')) return
      if (group.pendingSync.size === 0) return
      for (const memberId of [...group.pendingSync]) {
        const member = group.members.get(memberId)
        if (member !== undefined) group.remove(member)
      }
      group.pendingSync.clear()
      this.#maybePrepareRebalance(group)
    })
  }

  // --- Syncing

  syncGroup(request: SyncRequest): Promise<SyncResult> {
    return new Promise((resolve) => this.#sync(request, resolve))
  }

  #sync(request: SyncRequest, answer: (result: SyncResult) => void): void {
    const { groupId, memberId, generationId } = request
    const unavailable = this.#unavailable(groupId, false)
    // While the group loads nobody can know its generation: the member joins again.
    if (unavailable === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) {
      answer(syncError(ErrorCode.REBALANCE_IN_PROGRESS))
      return
    }
    if (unavailable !== 0) {
      answer(syncError(unavailable))
      return
    }
    const group = this.#groups.get(groupId)
    if (group === undefined) {
      answer(syncError(ErrorCode.UNKNOWN_MEMBER_ID))
      return
    }
    if (group.is('Dead')) {
      answer(syncError(ErrorCode.COORDINATOR_NOT_AVAILABLE))
      return
    }
    const stranger = this.#whyNotMember(group, memberId, request.groupInstanceId)
    if (stranger !== 0) {
      answer(syncError(stranger))
      return
    }
    if (generationId !== group.generationId) {
      answer(syncError(ErrorCode.ILLEGAL_GENERATION))
      return
    }
    const { protocolType, protocolName } = request
    if (
      (protocolType !== null && protocolType !== group.protocolType) ||
      (protocolName !== null && protocolName !== group.protocolName)
    ) {
      answer(syncError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
      return
    }
    const member = group.members.get(memberId) as GroupMember
    switch (group.state) {
      case 'PreparingRebalance':
        answer(syncError(ErrorCode.REBALANCE_IN_PROGRESS))
        break
      case 'CompletingRebalance':
        this.#answerSync(member, syncError(ErrorCode.REBALANCE_IN_PROGRESS))
        member.syncWaiter = answer
        group.pendingSync.delete(memberId)
        this.#touch(member)
        if (group.leaderId === memberId) this.#takeAssignment(group, request.assignments)
        break
      case 'Stable':
        group.pendingSync.delete(memberId)
        this.#touch(member)
        answer(this.#synced(group, member))
        break
      default:
        answer(syncError(ErrorCode.UNKNOWN_MEMBER_ID))
    }
  }

  #synced(group: GroupMetadata, member: GroupMember): SyncResult {
    return {
      errorCode: 0,
      protocolType: group.protocolType,
      protocolName: group.protocolName,
      assignment: member.assignment,
    }
  }

  #takeAssignment(group: GroupMetadata, assignments: SyncRequest['assignments']): void {
    const { generationId } = group
    const byMember = new Map(assignments.map((one) => [one.memberId, one.assignment]))
    void this.#store.writeGroup(group, byMember).then((errorCode) => {
      // Meanwhile somebody may have joined or left, and the group has moved on.
      if (!group.is('CompletingRebalance') || group.generationId !== generationId) return
      if (errorCode !== 0) {
        this.#options.logger.warn(
          { group: group.groupId, errorCode },
          'an assignment could not be stored; the group joins again',
        )
        this.#answerAllSyncs(group, groupStoreError(errorCode))
        this.#maybePrepareRebalance(group)
        return
      }
      for (const member of group.members.values()) {
        member.assignment = byMember.get(member.memberId) ?? NO_BYTES
      }
      group.transitionTo('Stable', this.#clock.nowMs())
      for (const member of group.members.values()) {
        if (member.syncWaiter === null) continue
        this.#touch(member)
        this.#answerSync(member, this.#synced(group, member))
      }
    })
  }

  #answerAllSyncs(group: GroupMetadata, errorCode: number): void {
    for (const member of group.members.values()) {
      if (member.syncWaiter === null) continue
      this.#touch(member)
      this.#answerSync(member, syncError(errorCode))
    }
  }

  // --- Sessions

  /** Its session goes on from now. */
  #touch(member: GroupMember): void {
    member.deadlineMs = this.#clock.monotonicMs() + member.sessionTimeoutMs
  }

  #renewSession(group: GroupMetadata, member: GroupMember, timeoutMs: number): void {
    member.deadlineMs = this.#clock.monotonicMs() + timeoutMs
    member.timer?.cancel()
    this.#watch(group, member)
  }

  /** Looks at a member again when its session would end; heartbeats only move the deadline. */
  #watch(group: GroupMetadata, member: GroupMember): void {
    const delay = Math.max(1, member.deadlineMs - this.#clock.monotonicMs())
    member.timer = this.#timers.schedule(delay, () => {
      member.timer = null
      if (group.members.get(member.memberId) !== member) return
      const left = member.deadlineMs - this.#clock.monotonicMs()
      // Who waits for an answer of ours is not to blame for its silence.
      const isWaiting = !member.isNew && (member.joinWaiter !== null || member.syncWaiter !== null)
      if (left > 0) {
        this.#watch(group, member)
      } else if (isWaiting) {
        this.#touch(member)
        this.#watch(group, member)
      } else {
        this.#options.logger.info(
          { group: group.groupId, member: member.memberId },
          'a member of a group was not heard of in its session time-out',
        )
        this.#removeMember(group, member)
      }
    })
  }

  /** A protocol error code. */
  heartbeat(request: {
    readonly groupId: string
    readonly generationId: number
    readonly memberId: string
    readonly groupInstanceId: string | null
  }): number {
    const unavailable = this.#unavailable(request.groupId, false)
    // The session is renewed by loading; the member need not know.
    if (unavailable === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS) return ErrorCode.NONE
    if (unavailable !== 0) return unavailable
    const group = this.#groups.get(request.groupId)
    if (group === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
    if (group.state === 'Dead') return ErrorCode.COORDINATOR_NOT_AVAILABLE
    const stranger = this.#whyNotMember(group, request.memberId, request.groupInstanceId)
    if (stranger !== 0) return stranger
    if (request.generationId !== group.generationId) return ErrorCode.ILLEGAL_GENERATION
    if (group.state === 'Empty') return ErrorCode.UNKNOWN_MEMBER_ID
    this.#touch(group.members.get(request.memberId) as GroupMember)
    return group.state === 'PreparingRebalance' ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE
  }

  // --- Leaving

  /** [error of the whole request, error of each member]. */
  leaveGroup(groupId: string, leaving: readonly LeavingMember[]): [number, number[]] {
    const unavailable = this.#unavailable(groupId, false)
    if (unavailable !== 0) return [unavailable, []]
    const group = this.#groups.get(groupId)
    if (group === undefined) return [0, leaving.map(() => ErrorCode.UNKNOWN_MEMBER_ID)]
    if (group.is('Dead')) return [ErrorCode.COORDINATOR_NOT_AVAILABLE, []]
    return [0, leaving.map((one) => this.#leave(group, one))]
  }

  #leave(group: GroupMetadata, { memberId, groupInstanceId }: LeavingMember): number {
    if (memberId === '') {
      const known = groupInstanceId === null ? undefined : group.staticMembers.get(groupInstanceId)
      const member = known === undefined ? undefined : group.members.get(known)
      if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID
      this.#removeMember(group, member)
      return ErrorCode.NONE
    }
    const pending = group.pendingMembers.get(memberId)
    if (pending !== undefined) {
      if (groupInstanceId !== null) return ErrorCode.UNKNOWN_MEMBER_ID
      pending.cancel()
      group.pendingMembers.delete(memberId)
      this.#tryCompleteJoin(group)
      this.#forgetIfUnused(group)
      return ErrorCode.NONE
    }
    const stranger = this.#whyNotMember(group, memberId, groupInstanceId)
    if (stranger !== 0) return stranger
    this.#removeMember(group, group.members.get(memberId) as GroupMember)
    return ErrorCode.NONE
  }

  #removeMember(group: GroupMetadata, member: GroupMember): void {
    this.#answerJoin(member, joinError(member.memberId, ErrorCode.UNKNOWN_MEMBER_ID))
    this.#answerSync(member, syncError(ErrorCode.UNKNOWN_MEMBER_ID))
    group.remove(member)
    this.#maybePrepareRebalance(group)
    this.#tryCompleteJoin(group)
  }

  /** A group that never had a member nor an offset leaves nothing behind. */
  #forgetIfUnused(group: GroupMetadata): void {
    const isUnused =
      group.is('Empty') &&
      group.generationId === 0 &&
      group.members.size === 0 &&
      group.pendingMembers.size === 0 &&
      group.offsets.size === 0 &&
      group.pendingCommits === 0
    if (!isUnused || this.#groups.get(group.groupId) !== group) return
    group.transitionTo('Dead', this.#clock.nowMs())
    this.#groups.delete(group.groupId)
  }

  // --- Offsets

  /** Error codes, in the order of the request's offsets. */
  async commitOffsets(request: CommitRequest): Promise<number[]> {
    const all = (errorCode: number): number[] => request.offsets.map(() => errorCode)
    const unavailable = this.#unavailable(request.groupId, true)
    if (unavailable !== 0) return all(unavailable)
    let group = this.#groups.get(request.groupId)
    if (group === undefined) {
      if (request.generationId >= 0) return all(ErrorCode.ILLEGAL_GENERATION)
      group = new GroupMetadata(request.groupId, this.#store.partitionOf(request.groupId))
      group.transitionTo('Empty', this.#clock.nowMs())
      this.#groups.set(request.groupId, group)
    }
    const refusal = this.#whyNotCommit(group, request)
    if (refusal !== 0) {
      this.#forgetIfUnused(group)
      return all(refusal)
    }
    const member = group.members.get(request.memberId)
    if (member !== undefined) this.#touch(member)
    if (group.is('CompletingRebalance')) return all(ErrorCode.REBALANCE_IN_PROGRESS)
    const nowMs = this.#clock.nowMs()
    const errors: number[] = []
    const writes: OffsetWrite[] = []
    for (const one of request.offsets) {
      if (!this.#options.partitionExists(one.topic, one.partition)) {
        errors.push(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
      } else if (Buffer.byteLength(one.metadata) > this.#config.offsetMetadataMaxBytes) {
        errors.push(ErrorCode.OFFSET_METADATA_TOO_LARGE)
      } else {
        errors.push(0)
        const commitTimestamp = one.timestampMs === -1 ? nowMs : one.timestampMs
        writes.push({
          topic: one.topic,
          partition: one.partition,
          offset: one.offset,
          leaderEpoch: one.leaderEpoch,
          metadata: one.metadata,
          commitTimestamp,
          expireTimestamp: request.retentionMs === -1 ? -1 : commitTimestamp + request.retentionMs,
        })
      }
    }
    if (writes.length > 0) {
      group.pendingCommits += 1
      const stored = await this.#store.writeOffsets(group, writes)
      group.pendingCommits -= 1
      if (stored !== 0) {
        const errorCode = commitStoreError(stored)
        for (const [i, known] of errors.entries()) if (known === 0) errors[i] = errorCode
      }
    }
    this.#forgetIfUnused(group)
    return errors
  }

  #whyNotCommit(group: GroupMetadata, request: CommitRequest): number {
    const { generationId, memberId, groupInstanceId } = request
    if (group.is('Dead')) return ErrorCode.COORDINATOR_NOT_AVAILABLE
    // An administrator, or a consumer that assigns its partitions itself.
    if (generationId < 0 && group.is('Empty')) return ErrorCode.NONE
    if (generationId >= 0 || memberId !== '' || groupInstanceId !== null) {
      const stranger = this.#whyNotMember(group, memberId, groupInstanceId)
      if (stranger !== 0) return stranger
      return generationId === group.generationId ? ErrorCode.NONE : ErrorCode.ILLEGAL_GENERATION
    }
    return group.is('Empty') ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID
  }

  /** [error of the group, its offsets]: null for what is not committed. */
  fetchOffsets(
    groupId: string,
  ): [number, ReadonlyMap<string, ReadonlyMap<number, CommittedOffset>>] {
    const unavailable = this.#unavailable(groupId, true)
    if (unavailable !== 0) return [unavailable, new Map()]
    const group = this.#groups.get(groupId)
    if (group === undefined || group.is('Dead')) return [0, new Map()]
    return [0, group.offsets]
  }

  // --- Administration

  /** [error code, groups in these states]; no states: all. */
  listGroups(states: readonly string[]): [number, GroupOverview[]] {
    const wanted = new Set(states.map((state) => state.toLowerCase()))
    const groups: GroupOverview[] = []
    for (const group of this.#groups.values()) {
      if (group.is('Dead')) continue
      if (wanted.size > 0 && !wanted.has(group.state.toLowerCase())) continue
      groups.push({
        groupId: group.groupId,
        protocolType: group.protocolType ?? '',
        state: group.state,
      })
    }
    return [this.#store.isLoading ? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS : 0, groups]
  }

  describeGroup(groupId: string): GroupDescription {
    const nothing = { groupId, protocolType: '', protocolName: '', members: [] }
    const unavailable = this.#unavailable(groupId, true)
    if (unavailable !== 0) return { ...nothing, errorCode: unavailable, state: 'Dead' }
    const group = this.#groups.get(groupId)
    if (group === undefined) return { ...nothing, errorCode: 0, state: 'Dead' }
    const isStable = group.is('Stable')
    return {
      errorCode: 0,
      groupId,
      state: group.state,
      protocolType: group.protocolType ?? '',
      protocolName: isStable ? (group.protocolName ?? '') : '',
      members: [...group.members.values()].map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.groupInstanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        metadata: isStable ? member.metadataFor(group.protocolName) : NO_BYTES,
        assignment: isStable ? member.assignment : NO_BYTES,
      })),
    }
  }

  /** A protocol error code. */
  async deleteGroup(groupId: string): Promise<number> {
    const unavailable = this.#unavailable(groupId, true)
    if (unavailable !== 0) return unavailable
    const group = this.#groups.get(groupId)
    if (group === undefined || group.is('Dead')) return ErrorCode.GROUP_ID_NOT_FOUND
    if (!group.is('Empty') || group.pendingMembers.size > 0) return ErrorCode.NON_EMPTY_GROUP
    group.transitionTo('Dead', this.#clock.nowMs())
    this.#groups.delete(groupId)
    const stored = await this.#store.forget(group, allOffsets(group), true)
    if (stored === 0) return ErrorCode.NONE
    // What is stored comes back with the next load; here it must not be lost before.
    if (!this.#groups.has(groupId)) {
      group.transitionTo('Empty', this.#clock.nowMs())
      this.#groups.set(groupId, group)
    }
    return groupStoreError(stored)
  }

  /** [error of the whole request, error per partition]. */
  async deleteOffsets(
    groupId: string,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<[number, number[]]> {
    const unavailable = this.#unavailable(groupId, true)
    if (unavailable !== 0) return [unavailable, []]
    const group = this.#groups.get(groupId)
    if (group === undefined || group.is('Dead')) return [ErrorCode.GROUP_ID_NOT_FOUND, []]
    if (!group.is('Empty') && !group.isConsumerGroup) return [ErrorCode.NON_EMPTY_GROUP, []]
    const subscribed = group.is('Empty') ? new Set<string>() : group.subscribedTopics
    const gone: { topic: string; partition: number }[] = []
    const errors = partitions.map((one) => {
      if (!this.#options.partitionExists(one.topic, one.partition)) {
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      }
      if (subscribed === null || subscribed.has(one.topic)) {
        return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC
      }
      gone.push(one)
      return ErrorCode.NONE
    })
    const known = gone.filter((one) => group.offset(one.topic, one.partition) !== undefined)
    const stored = known.length === 0 ? 0 : await this.#store.forget(group, known, false)
    if (stored !== 0) return [groupStoreError(stored), []]
    await this.#cleanUpIfDone(group)
    return [0, errors]
  }

  /** The topic is deleted: nobody can go on at an offset in it. */
  async topicDeleted(topic: string): Promise<void> {
    for (const group of [...this.#groups.values()]) {
      const partitions = group.offsets.get(topic)
      if (partitions === undefined) continue
      const gone = [...partitions.keys()].map((partition) => ({ topic, partition }))
      const stored = await this.#store.forget(group, gone, false)
      if (stored !== 0) {
        this.#options.logger.warn(
          { group: group.groupId, topic, errorCode: stored },
          'the offsets of a deleted topic could not be removed',
        )
      }
      await this.#cleanUpIfDone(group)
    }
  }

  /** Forgets offsets that are older than the retention allows; empty groups go with their last. */
  async expireOffsets(): Promise<void> {
    for (const group of [...this.#groups.values()]) {
      const gone = this.#expired(group)
      if (gone.length > 0) {
        const stored = await this.#store.forget(group, gone, false)
        if (stored !== 0) {
          this.#options.logger.warn(
            { group: group.groupId, errorCode: stored },
            'expired offsets could not be removed; it will be tried again',
          )
          continue
        }
      }
      await this.#cleanUpIfDone(group)
    }
  }

  #expired(group: GroupMetadata): { topic: string; partition: number }[] {
    const nowMs = this.#clock.nowMs()
    const { offsetsRetentionMs } = this.#config
    const gone: { topic: string; partition: number }[] = []
    const subscribed = group.subscribedTopics
    for (const [topic, partitions] of group.offsets) {
      for (const [partition, committed] of partitions) {
        let sinceMs: number
        if (committed.expireTimestamp >= 0) {
          if (!group.is('Empty') && group.protocolType !== null) continue
          if (nowMs >= committed.expireTimestamp) gone.push({ topic, partition })
          continue
        }
        if (group.protocolType === null) {
          sinceMs = committed.commitTimestamp
        } else if (group.is('Empty')) {
          sinceMs = group.stateTimestamp < 0 ? committed.commitTimestamp : group.stateTimestamp
        } else if (
          group.is('Stable') &&
          group.protocolType === CONSUMER_PROTOCOL_TYPE &&
          subscribed !== null &&
          !subscribed.has(topic)
        ) {
          sinceMs = committed.commitTimestamp
        } else {
          continue
        }
        if (nowMs - sinceMs >= offsetsRetentionMs) gone.push({ topic, partition })
      }
    }
    return gone
  }

  /** A group without members and offsets needs no record either. */
  async #cleanUpIfDone(group: GroupMetadata): Promise<void> {
    const isDone =
      group.is('Empty') &&
      group.offsets.size === 0 &&
      group.pendingCommits === 0 &&
      group.pendingMembers.size === 0 &&
      this.#groups.get(group.groupId) === group
    if (!isDone) return
    group.transitionTo('Dead', this.#clock.nowMs())
    this.#groups.delete(group.groupId)
    const stored = await this.#store.forget(group, [], true)
    if (stored !== 0) {
      this.#options.logger.warn(
        { group: group.groupId, errorCode: stored },
        'the record of a group that is gone could not be removed',
      )
    }
  }
}

function allOffsets(group: GroupMetadata): { topic: string; partition: number }[] {
  const all: { topic: string; partition: number }[] = []
  for (const [topic, partitions] of group.offsets) {
    for (const partition of partitions.keys()) all.push({ topic, partition })
  }
  return all
}
