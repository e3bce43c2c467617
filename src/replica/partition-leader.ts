/**
 * What the leader of a partition knows of its followers: how far they are, who is in sync, and so
 * how far the partition is committed. No input or output of its own: the log, the clock and the way
 * to the controller are given.
 *
 * The high watermark moves over the larger of the ISR that is stored and the one that was proposed,
 * because nobody knows until the answer which of the two the next leader will be elected from
 * (KIP-497), and it does not move while the ISR is below what `min.insync.replicas` asks for
 * (KIP-966): what is committed is on that many logs.
 */
import { ErrorCode } from '../protocol/error-codes.ts'

/** The log that is led. Positions are −1 while it is not open. */
export interface LeaderLog {
  readonly logEnd: number
  readonly highWatermark: number
  /**
   * Appends of the epoch are taken; with no followers what is appended is committed at once.
   * `inSync` replicas are there, and `required` are needed for acks=-1.
   */
  lead(state: {
    readonly leaderEpoch: number
    readonly followers: number
    readonly inSync: number
    readonly required: number
  }): void
  moveHighWatermark(offset: number, leaderEpoch: number): void
  /** Answers what waits for replicas with an error. */
  failParked(errorCode: number): void
}

/** A follower whose change was turned down asks with every fetch. */
const RETRY_PAUSE_MS = 200

export interface IsrMember {
  readonly brokerId: number
  readonly brokerEpoch: number
}

/** `refused`: the leader is not what it was, and will be told so; `retry`: propose anew later. */
export type IsrDecision =
  | { readonly kind: 'stored'; readonly isr: readonly number[]; readonly partitionEpoch: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'retry' }

export interface LeadershipState {
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

export interface PartitionLeaderOptions {
  readonly brokerId: number
  readonly state: LeadershipState
  readonly log: LeaderLog
  /** `min.insync.replicas` of the topic. */
  readonly minInSyncReplicas: () => number
  readonly lagTimeMaxMs: number
  /** Epoch of a broker that is alive and may join an ISR; −1 for any other. */
  readonly brokerEpoch: (brokerId: number) => number
  /** Asks the controller for a new ISR; `decided` is called with what came of it. */
  readonly propose: (leader: PartitionLeader, isr: readonly IsrMember[]) => void
  readonly nowMs: () => number
}

/** What a follower has told, and how long ago it had everything. */
export interface FollowerPosition {
  readonly logEnd: number
  readonly logStart: number
  readonly caughtUpMs: number
}

interface Follower extends FollowerPosition {
  /** −1 until its first fetch. */
  logEnd: number
  logStart: number
  brokerEpoch: number
  /** When it last had all that the leader had at that time. */
  caughtUpMs: number
  lastFetchMs: number
  /** Log end of the leader at its last fetch. */
  leaderEndAtFetch: number
}

export class PartitionLeader {
  readonly leaderEpoch: number
  partitionEpoch: number
  replicas: readonly number[]
  /** As it is stored. */
  isr: readonly number[]
  readonly #options: PartitionLeaderOptions
  readonly #followers = new Map<number, Follower>()
  /** Log end when this leadership began. */
  readonly epochStart: number
  /** Proposed, and not decided. */
  #pending: readonly number[] | null = null
  #quietUntilMs = Number.NEGATIVE_INFINITY
  #isClosed = false
  #posted = { followers: -1, inSync: -1, required: -1 }
  /** Called when a follower's log start moved. */
  onLogStart: (() => void) | null = null

  constructor(options: PartitionLeaderOptions) {
    const { state, log } = options
    this.#options = options
    this.leaderEpoch = state.leaderEpoch
    this.partitionEpoch = state.partitionEpoch
    this.replicas = state.replicas
    this.isr = state.isr
    this.epochStart = log.logEnd
    this.#addFollowers()
    this.#post()
  }

  get hasFollowers(): boolean {
    return this.replicas.length > 1
  }

  /** Replicas that acks=-1 needs: no more than there are. */
  get required(): number {
    return Math.min(this.#options.minInSyncReplicas(), this.replicas.length)
  }

  get isUnderMinIsr(): boolean {
    return this.isr.length < this.required
  }

  /** The ISR that has to have a record before it is committed. */
  get maximalIsr(): readonly number[] {
    if (this.#pending === null) return this.isr
    return [...new Set([...this.isr, ...this.#pending])]
  }

  /** First offset that all live replicas still have (KIP-107); −1 if one has not told its own. */
  lowestLogStart(isAlive: (brokerId: number) => boolean, own: number): number {
    let lowest = own
    for (const [brokerId, follower] of this.#followers) {
      if (isAlive(brokerId)) lowest = Math.min(lowest, follower.logStart)
    }
    return lowest
  }

  followerLogEnd(brokerId: number): number {
    return this.#followers.get(brokerId)?.logEnd ?? -1
  }

  /** Undefined for a broker that is no follower. */
  follower(brokerId: number): FollowerPosition | undefined {
    return this.#followers.get(brokerId)
  }

  /** Another state of the same leadership: replicas or the ISR were changed by the controller. */
  update(state: LeadershipState): void {
    if (state.partitionEpoch < this.partitionEpoch) return
    // What was proposed for the state before can be stored no more; for this one it still can.
    if (state.partitionEpoch > this.partitionEpoch) this.#pending = null
    this.partitionEpoch = state.partitionEpoch
    this.replicas = state.replicas
    this.isr = state.isr
    this.#addFollowers()
    this.#post()
    this.#advance()
    this.#expandToCaughtUp()
  }

  /** The log was closed for a while: it is to be told again. */
  reopened(): void {
    this.#posted = { followers: -1, inSync: -1, required: -1 }
    this.#post()
    this.#advance()
  }

  /** What the topic asks for may have changed. */
  reconfigured(): void {
    this.#post()
    this.#advance()
  }

  /** A replica has fetched from `fetchOffset` on, and so has everything before it. */
  followerFetched(
    brokerId: number,
    fetch: {
      readonly fetchOffset: number
      readonly logStart: number
      readonly brokerEpoch: number
    },
  ): void {
    const follower = this.#followers.get(brokerId)
    if (follower === undefined || this.#isClosed) return
    const now = this.#options.nowMs()
    const { logEnd } = this.#options.log
    if (fetch.fetchOffset >= logEnd) follower.caughtUpMs = now
    else if (fetch.fetchOffset >= follower.leaderEndAtFetch) {
      follower.caughtUpMs = Math.max(follower.caughtUpMs, follower.lastFetchMs)
    }
    follower.lastFetchMs = now
    follower.leaderEndAtFetch = logEnd
    follower.brokerEpoch = fetch.brokerEpoch
    follower.logEnd = fetch.fetchOffset
    if (follower.logStart !== fetch.logStart) {
      follower.logStart = fetch.logStart
      this.onLogStart?.()
    }
    this.#maybeExpand(brokerId, follower)
    this.#advance()
  }

  /** Proposes an ISR without those that have been behind for too long. Called now and then. */
  checkLag(): void {
    if (this.#pending !== null || this.#isClosed) return
    const now = this.#options.nowMs()
    const { logEnd } = this.#options.log
    const inSync = this.isr.filter((brokerId) => {
      const follower = this.#followers.get(brokerId)
      if (follower === undefined) return true
      if (follower.logEnd >= logEnd) {
        // It was in sync just now, however long ago it asked.
        follower.caughtUpMs = Math.max(follower.caughtUpMs, now)
        return true
      }
      return now - follower.caughtUpMs <= this.#options.lagTimeMaxMs
    })
    if (inSync.length < this.isr.length) this.#propose(inSync)
    else this.#expandToCaughtUp()
  }

  /** What came of the proposal. */
  decided(decision: IsrDecision): void {
    if (this.#isClosed) return
    if (decision.kind === 'stored') {
      if (decision.partitionEpoch < this.partitionEpoch) return
      this.isr = decision.isr
      this.partitionEpoch = decision.partitionEpoch
    }
    // After `refused` the stored ISR is unknown: the larger one stays until the controller tells.
    if (decision.kind !== 'refused') this.#pending = null
    if (decision.kind === 'retry') this.#quietUntilMs = this.#options.nowMs() + RETRY_PAUSE_MS
    this.#post()
    this.#advance()
    this.#expandToCaughtUp()
  }

  /** This broker leads no more. */
  close(): void {
    this.#isClosed = true
  }

  #addFollowers(): void {
    const now = this.#options.nowMs()
    for (const brokerId of [...this.#followers.keys()]) {
      if (!this.replicas.includes(brokerId)) this.#followers.delete(brokerId)
    }
    for (const brokerId of this.replicas) {
      if (brokerId === this.#options.brokerId || this.#followers.has(brokerId)) continue
      this.#followers.set(brokerId, {
        logEnd: -1,
        logStart: -1,
        brokerEpoch: -1,
        // Those in the ISR were in sync with the leader before this one.
        caughtUpMs: this.isr.includes(brokerId) ? now : Number.NEGATIVE_INFINITY,
        lastFetchMs: Number.NEGATIVE_INFINITY,
        leaderEndAtFetch: Number.POSITIVE_INFINITY,
      })
    }
  }

  #maybeExpand(brokerId: number, follower: Follower): void {
    if (this.#pending !== null || this.isr.includes(brokerId)) return
    const { log, brokerEpoch } = this.#options
    // Up to the epoch start: the high watermark of a new leader may be behind what was committed.
    if (follower.logEnd < Math.max(log.highWatermark, this.epochStart)) return
    const epoch = brokerEpoch(brokerId)
    if (epoch < 0 || epoch !== follower.brokerEpoch) return
    if (this.#options.nowMs() < this.#quietUntilMs) return
    this.#propose([...this.isr, brokerId])
  }

  /**
   * A follower that caught up while another change was undecided has nothing more to fetch: it does
   * not ask again before there is something.
   */
  #expandToCaughtUp(): void {
    const { logEnd } = this.#options.log
    for (const [brokerId, follower] of this.#followers) {
      if (follower.logEnd >= logEnd) this.#maybeExpand(brokerId, follower)
    }
  }

  #propose(isr: readonly number[]): void {
    this.#pending = isr
    this.#post()
    const members = isr.map((brokerId) => ({
      brokerId,
      brokerEpoch:
        this.#followers.get(brokerId)?.brokerEpoch ?? this.#options.brokerEpoch(brokerId),
    }))
    this.#options.propose(this, members)
  }

  /** Tells the log whom its appends wait for. */
  #post(): void {
    const { required } = this
    const others = this.maximalIsr.length - 1
    // Below the minimum nothing is committed, not even where the leader is alone.
    const followers = this.isUnderMinIsr ? Math.max(1, others) : others
    const inSync = this.isr.length
    const last = this.#posted
    if (last.followers === followers && last.inSync === inSync && last.required === required) return
    this.#posted = { followers, inSync, required }
    this.#options.log.lead({ leaderEpoch: this.leaderEpoch, followers, inSync, required })
    const fellBelow = last.inSync >= last.required && inSync < required
    if (last.inSync >= 0 && fellBelow) {
      this.#options.log.failParked(ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
    }
  }

  #advance(): void {
    if (this.isUnderMinIsr) return
    const { log, brokerId: own } = this.#options
    let committed = log.logEnd
    for (const brokerId of this.maximalIsr) {
      if (brokerId === own) continue
      committed = Math.min(committed, this.#followers.get(brokerId)?.logEnd ?? -1)
    }
    if (committed > log.highWatermark) log.moveHighWatermark(committed, this.leaderEpoch)
  }
}
