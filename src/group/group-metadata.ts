/**
 * One consumer group as its coordinator knows it: members, generation, committed offsets. Plain
 * state; what happens to it is decided by the GroupCoordinator.
 */
import {
  CONSUMER_PROTOCOL_TYPE,
  decodeConsumerSubscription,
} from '../protocol/consumer-protocol.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import type { Timer } from '../util/timer-queue.ts'

export type GroupState = 'Empty' | 'PreparingRebalance' | 'CompletingRebalance' | 'Stable' | 'Dead'

export interface MemberProtocol {
  readonly name: string
  readonly metadata: Buffer
}

export interface JoinResult {
  readonly errorCode: number
  readonly generationId: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly leader: string
  readonly skipAssignment: boolean
  readonly memberId: string
  readonly members: readonly {
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly metadata: Buffer
  }[]
}

export interface SyncResult {
  readonly errorCode: number
  readonly protocolType: string | null
  readonly protocolName: string | null
  readonly assignment: Buffer
}

export const NO_BYTES = Buffer.alloc(0)

export class GroupMember {
  memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  rebalanceTimeoutMs: number
  sessionTimeoutMs: number
  protocols: readonly MemberProtocol[]
  assignment: Buffer = NO_BYTES
  /** Answers a join that waits for the others. */
  joinWaiter: ((result: JoinResult) => void) | null = null
  /** Answers a sync that waits for the leader. */
  syncWaiter: ((result: SyncResult) => void) | null = null
  /** Has not been through a rebalance: it cannot send heartbeats yet. */
  isNew = false
  /** Monotonic clock: when its session ends if nothing is heard. */
  deadlineMs = 0
  /** Looks at the deadline; a heartbeat moves only that. */
  timer: Timer | null = null

  constructor(options: {
    memberId: string
    groupInstanceId: string | null
    clientId: string
    clientHost: string
    rebalanceTimeoutMs: number
    sessionTimeoutMs: number
    protocols: readonly MemberProtocol[]
  }) {
    this.memberId = options.memberId
    this.groupInstanceId = options.groupInstanceId
    this.clientId = options.clientId
    this.clientHost = options.clientHost
    this.rebalanceTimeoutMs = options.rebalanceTimeoutMs
    this.sessionTimeoutMs = options.sessionTimeoutMs
    this.protocols = options.protocols
  }

  /** Whether it joins with exactly what it joined with before. */
  matches(protocols: readonly MemberProtocol[]): boolean {
    return (
      protocols.length === this.protocols.length &&
      protocols.every((one, i) => {
        const known = this.protocols[i] as MemberProtocol
        return one.name === known.name && one.metadata.equals(known.metadata)
      })
    )
  }

  metadataFor(protocol: string | null): Buffer {
    return this.protocols.find(({ name }) => name === protocol)?.metadata ?? NO_BYTES
  }
}

export interface CommittedOffset {
  readonly offset: number
  /** -1 unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
  /** ms since 1970. */
  readonly commitTimestamp: number
  /** -1: by the broker's retention. */
  readonly expireTimestamp: number
  /** Where its record is in the offsets partition; later ones win. */
  readonly recordOffset: number
}

export class GroupMetadata {
  readonly groupId: string
  /** The offsets partition that its records are in. */
  readonly offsetsPartition: number
  state: GroupState = 'Empty'
  generationId = 0
  /** null for a group that only commits offsets. */
  protocolType: string | null = null
  protocolName: string | null = null
  leaderId: string | null = null
  /** ms since 1970: when the state became what it is. */
  stateTimestamp = -1
  readonly members = new Map<string, GroupMember>()
  /** Instance id → member id. */
  readonly staticMembers = new Map<string, string>()
  /** Ids that were given out with MEMBER_ID_REQUIRED, until their client joins with them. */
  readonly pendingMembers = new Map<string, Timer>()
  /** Joined this generation and not synced yet. */
  readonly pendingSync = new Set<string>()
  /** Somebody new came while the first rebalance waits for more. */
  newMemberAdded = false
  /** Ends the join phase, or the wait for syncs. */
  joinTimer: Timer | null = null
  syncTimer: Timer | null = null
  /** The first rebalance waits for its delay, however many have joined. */
  isInitialDelay = false
  /** Topic → partition → offset. */
  readonly offsets = new Map<string, Map<number, CommittedOffset>>()
  /** Appends of commits that are not done. */
  pendingCommits = 0
  #subscribedTopics: ReadonlySet<string> | null = null

  constructor(groupId: string, offsetsPartition: number) {
    this.groupId = groupId
    this.offsetsPartition = offsetsPartition
  }

  is(...states: readonly GroupState[]): boolean {
    return states.includes(this.state)
  }

  transitionTo(state: GroupState, nowMs: number): void {
    this.state = state
    this.stateTimestamp = nowMs
  }

  get awaitingJoin(): number {
    let count = 0
    for (const member of this.members.values()) if (member.joinWaiter !== null) count += 1
    return count
  }

  get hasAllMembersJoined(): boolean {
    if (this.pendingMembers.size > 0) return false
    for (const member of this.members.values()) if (member.joinWaiter === null) return false
    return true
  }

  /** Longest of its members, ms. */
  get rebalanceTimeoutMs(): number {
    let longest = 0
    for (const member of this.members.values()) {
      longest = Math.max(longest, member.rebalanceTimeoutMs)
    }
    return longest
  }

  add(member: GroupMember): void {
    if (this.members.size === 0) this.protocolType ??= null
    this.members.set(member.memberId, member)
    if (member.groupInstanceId !== null) {
      this.staticMembers.set(member.groupInstanceId, member.memberId)
    }
    this.leaderId ??= member.memberId
  }

  remove(member: GroupMember): void {
    this.members.delete(member.memberId)
    this.pendingSync.delete(member.memberId)
    if (
      member.groupInstanceId !== null &&
      this.staticMembers.get(member.groupInstanceId) === member.memberId
    ) {
      this.staticMembers.delete(member.groupInstanceId)
    }
    member.timer?.cancel()
    member.timer = null
    if (this.leaderId === member.memberId) {
      this.leaderId = this.members.keys().next().value ?? null
    }
  }

  /** Gives a static member another member id; its place and assignment stay. */
  replaceStatic(member: GroupMember, memberId: string): void {
    const wasLeader = this.leaderId === member.memberId
    this.members.delete(member.memberId)
    this.pendingSync.delete(member.memberId)
    member.memberId = memberId
    this.members.set(memberId, member)
    this.staticMembers.set(member.groupInstanceId as string, memberId)
    if (wasLeader) this.leaderId = memberId
  }

  /** The leader stays if it joined again; else another that did. False when nobody did. */
  electJoinedLeader(): boolean {
    const leader = this.leaderId === null ? undefined : this.members.get(this.leaderId)
    if (leader !== undefined && leader.joinWaiter !== null) return true
    for (const member of this.members.values()) {
      if (member.joinWaiter === null) continue
      this.leaderId = member.memberId
      return true
    }
    return false
  }

  /** Whether a member with these protocols can be in the group together with those that are. */
  supportsProtocols(protocolType: string, protocols: readonly MemberProtocol[]): boolean {
    if (protocolType === '' || protocols.length === 0) return false
    if (this.members.size === 0) return true
    if (this.protocolType !== protocolType) return false
    const common = this.#commonProtocols()
    return protocols.some(({ name }) => common.has(name))
  }

  #commonProtocols(): Set<string> {
    let common: string[] | null = null
    for (const { protocols } of this.members.values()) {
      const mine = protocols.map(({ name }) => name)
      common = common === null ? mine : common.filter((name: string) => mine.includes(name))
    }
    return new Set(common ?? [])
  }

  /** Of the protocols that all know, the one that is the first choice of most. */
  selectProtocol(): string {
    const common = this.#commonProtocols()
    const votes = new Map<string, number>()
    for (const { protocols } of this.members.values()) {
      const choice = protocols.find(({ name }) => common.has(name))?.name
      if (choice !== undefined) votes.set(choice, (votes.get(choice) ?? 0) + 1)
    }
    let best = ''
    let most = 0
    for (const [name, count] of votes) {
      if (count > most) {
        best = name
        most = count
      }
    }
    return best
  }

  /** Begins a generation with the members that are there; without any the group is Empty. */
  nextGeneration(nowMs: number): void {
    this.generationId += 1
    if (this.members.size > 0) {
      this.protocolName = this.selectProtocol()
      this.#computeSubscribedTopics()
      this.transitionTo('CompletingRebalance', nowMs)
    } else {
      this.protocolName = null
      this.#computeSubscribedTopics()
      this.transitionTo('Empty', nowMs)
    }
    this.pendingSync.clear()
  }

  /** What the members subscribe to; null when that cannot be known. */
  get subscribedTopics(): ReadonlySet<string> | null {
    return this.#subscribedTopics
  }

  computeSubscribedTopics(): void {
    this.#computeSubscribedTopics()
  }

  #computeSubscribedTopics(): void {
    this.#subscribedTopics = null
    if (this.protocolType !== CONSUMER_PROTOCOL_TYPE) return
    if (this.members.size === 0) {
      this.#subscribedTopics = new Set()
      return
    }
    const topics = new Set<string>()
    for (const member of this.members.values()) {
      try {
        const subscription = decodeConsumerSubscription(member.metadataFor(this.protocolName))
        for (const topic of subscription.topics) topics.add(topic)
      } catch (error) {
        // A member may carry what it likes: then nothing is known of what the group reads.
        if (error instanceof MalformedMessageError) return
        throw error
      }
    }
    this.#subscribedTopics = topics
  }

  get isConsumerGroup(): boolean {
    return this.protocolType === CONSUMER_PROTOCOL_TYPE
  }

  offset(topic: string, partition: number): CommittedOffset | undefined {
    return this.offsets.get(topic)?.get(partition)
  }

  /** Takes an offset unless a later record is known. */
  setOffset(topic: string, partition: number, committed: CommittedOffset): void {
    let partitions = this.offsets.get(topic)
    if (partitions === undefined) {
      partitions = new Map()
      this.offsets.set(topic, partitions)
    }
    const known = partitions.get(partition)
    if (known === undefined || known.recordOffset <= committed.recordOffset) {
      partitions.set(partition, committed)
    }
  }

  /** Forgets an offset unless it was committed again since it was `seen`. */
  removeOffset(topic: string, partition: number, seen?: CommittedOffset): void {
    const partitions = this.offsets.get(topic)
    if (partitions === undefined) return
    if (seen !== undefined && partitions.get(partition) !== seen) return
    partitions.delete(partition)
    if (partitions.size === 0) this.offsets.delete(topic)
  }
}
