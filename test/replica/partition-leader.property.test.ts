/**
 * Random histories of a partition with three or four replicas: appends, fetches, ISR changes that the
 * controller stores, refuses or never answers, brokers that hear of a new leader late, and leaders
 * that do not know that they were deposed. Leaders are the product's; brokers, logs and the
 * controller are a model. Whatever happens, what was committed once is in the log of every later
 * leader, at the same offset.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type IsrDecision,
  type IsrMember,
  type LeaderLog,
  type LeadershipState,
  PartitionLeader,
} from '../../src/replica/partition-leader.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { testSeed } from '../support/seed.ts'

const HISTORIES = 1500
const STEPS = 120
const LAG_MS = 100

/** Epoch of each record, and which one it is. */
interface Entry {
  readonly epoch: number
  readonly id: number
}

/** A replica: its log, and what it believes. */
class Replica implements LeaderLog {
  readonly brokerId: number
  entries: Entry[] = []
  highWatermark = 0
  leader: PartitionLeader | null = null
  /** Whom it follows, and in which epoch. */
  leaderId = -1
  epoch = -1
  #followers = 0
  readonly #world: World

  constructor(brokerId: number, world: World) {
    this.brokerId = brokerId
    this.#world = world
  }

  get logEnd(): number {
    return this.entries.length
  }

  lead({ followers }: { readonly followers: number }): void {
    this.#followers = followers
    if (followers === 0) this.#commit(this.logEnd)
  }

  append(entry: Entry): void {
    this.entries.push(entry)
    if (this.#followers === 0) this.#commit(this.logEnd)
  }

  moveHighWatermark(offset: number, leaderEpoch: number): void {
    assert.equal(leaderEpoch, this.leader?.leaderEpoch ?? this.epoch)
    this.#commit(offset)
  }

  failParked(): void {
    this.#world.failures += 1
  }

  #commit(offset: number): void {
    assert.ok(offset >= this.highWatermark, 'the high watermark went back')
    assert.ok(offset <= this.logEnd, 'the high watermark is beyond the log')
    this.highWatermark = offset
    this.#world.committed(this)
  }
}

interface Proposal {
  readonly leader: PartitionLeader
  readonly isr: readonly IsrMember[]
  readonly leaderEpoch: number
  readonly partitionEpoch: number
}

class World {
  readonly replicas: Replica[]
  readonly minIsr: number
  state: LeadershipState & { readonly leaderId: number }
  /** Offset → what is committed there. */
  readonly log: Entry[] = []
  readonly proposals: Proposal[] = []
  /** What each leader waits to hear of; answers to anything else are dropped. */
  readonly asked = new Map<PartitionLeader, Proposal>()
  /** Decided by the controller, and not heard of by the leader. */
  readonly answers: (() => void)[] = []
  failures = 0
  elections = 0
  nowMs = 0
  #nextId = 0
  readonly #random: SeededRandom

  constructor(random: SeededRandom) {
    this.#random = random
    const count = 3 + random.integer(2)
    this.minIsr = 1 + random.integer(2)
    const ids = Array.from({ length: count }, (_, i) => i + 1)
    this.replicas = ids.map((id) => new Replica(id, this))
    this.state = { leaderId: 1, leaderEpoch: 0, partitionEpoch: 0, replicas: ids, isr: ids }
    for (const replica of this.replicas) this.tell(replica)
  }

  #any<T>(list: readonly T[]): T {
    return list[this.#random.integer(list.length)] as T
  }

  byId(id: number): Replica {
    return this.replicas[id - 1] as Replica
  }

  /** A leader says that its log is committed up to its high watermark. */
  committed(replica: Replica): void {
    const { leader } = replica
    if (leader !== null && replica.highWatermark > this.log.length) {
      // Whoever may be in the ISR, as it is stored or as it may yet be, has it.
      const { partitionEpoch } = this.state
      const asked = this.proposals.filter(
        (one) => one.leader === leader && one.partitionEpoch === partitionEpoch,
      )
      const members = new Set([...this.state.isr, ...asked.flatMap((one) => ids(one.isr))])
      const isCurrent = leader.leaderEpoch === this.state.leaderEpoch
      if (isCurrent) {
        const copies = this.replicas.filter((one) => one.logEnd >= replica.highWatermark)
        assert.ok(copies.length >= this.minIsr, 'committed with too few copies')
        for (const id of members) assert.ok(this.byId(id).logEnd >= replica.highWatermark)
      }
    }
    for (let i = 0; i < replica.highWatermark; i += 1) {
      const entry = replica.entries[i] as Entry
      const known = this.log[i]
      if (known === undefined) this.log.push(entry)
      else assert.deepEqual(entry, known, `offset ${i} is committed twice`)
    }
  }

  /** LeaderAndIsr reaches a broker. */
  tell(replica: Replica): void {
    const { state } = this
    if (state.leaderEpoch < replica.epoch) return
    if (state.leaderEpoch === replica.epoch) {
      const { leader } = replica
      if (leader === null) return
      if (state.partitionEpoch > leader.partitionEpoch) this.asked.delete(leader)
      leader.update(state)
      return
    }
    replica.leader?.close()
    replica.leader = null
    replica.epoch = state.leaderEpoch
    replica.leaderId = state.leaderId
    if (state.leaderId !== replica.brokerId) return
    for (const [i, entry] of this.log.entries()) {
      assert.deepEqual(replica.entries[i], entry, `a leader lacks what was committed at ${i}`)
    }
    replica.leader = new PartitionLeader({
      brokerId: replica.brokerId,
      state,
      log: replica,
      minInSyncReplicas: () => this.minIsr,
      lagTimeMaxMs: LAG_MS,
      brokerEpoch: () => 1,
      propose: (leader, isr) => {
        const { leaderEpoch, partitionEpoch } = leader
        const proposal = { leader, isr, leaderEpoch, partitionEpoch }
        this.proposals.push(proposal)
        this.asked.set(leader, proposal)
      },
      nowMs: () => this.nowMs,
    })
  }

  append(): void {
    const leading = this.replicas.filter((replica) => replica.leader !== null)
    if (leading.length === 0) return
    const replica = this.#any(leading)
    this.#nextId += 1
    replica.append({ epoch: replica.epoch, id: this.#nextId })
  }

  /** A follower cuts what its leader does not have, or fetches what comes next. */
  fetch(): void {
    const follower = this.#any(this.replicas)
    if (follower.leader !== null || follower.leaderId < 0) return
    const leaderReplica = this.byId(follower.leaderId)
    const { leader } = leaderReplica
    // The leader fences those that know of another epoch.
    if (leader === null || leader.leaderEpoch !== follower.epoch) return
    const theirs = leaderReplica.entries
    const common = follower.entries.findIndex(({ id }, i) => theirs[i]?.id !== id)
    if (common >= 0) {
      follower.entries.length = common
      follower.highWatermark = Math.min(follower.highWatermark, common)
      return
    }
    leader.followerFetched(follower.brokerId, {
      fetchOffset: follower.logEnd,
      logStart: 0,
      brokerEpoch: 1,
    })
    const count = this.#random.integer(4)
    follower.entries.push(...theirs.slice(follower.logEnd, follower.logEnd + count))
    follower.highWatermark = Math.min(leaderReplica.highWatermark, follower.logEnd)
  }

  /** The controller decides one ISR change; its answer may be late, or lost. */
  decide(): void {
    const proposal = this.proposals.shift()
    if (proposal === undefined) return
    const { isr } = proposal
    const { state } = this
    const answer = (decision: IsrDecision): void => {
      this.answers.push(() => this.answered(proposal, decision))
    }
    const isCurrent =
      proposal.leaderEpoch === state.leaderEpoch && proposal.partitionEpoch === state.partitionEpoch
    const isTurnedDown = isCurrent && this.#random.integer(5) === 0
    if (isTurnedDown) {
      answer({ kind: 'retry' })
      return
    }
    if (!isCurrent) {
      answer({ kind: 'refused' })
      return
    }
    const partitionEpoch = state.partitionEpoch + 1
    this.state = { ...state, isr: ids(isr), partitionEpoch }
    if (this.#random.integer(4) > 0) answer({ kind: 'stored', isr: ids(isr), partitionEpoch })
    else {
      // Asked again after the answer was lost, the controller refuses and tells the state.
      answer({ kind: 'refused' })
      this.answers.push(() => this.tell(this.byId(this.state.leaderId)))
    }
  }

  answered(proposal: Proposal, decision: IsrDecision): void {
    const { leader } = proposal
    if (this.asked.get(leader) !== proposal) return
    this.asked.delete(leader)
    leader.decided(decision)
  }

  hear(): void {
    this.answers.shift()?.()
  }

  /** The controller takes another leader out of the ISR, or the same in another epoch. */
  elect(): void {
    const { state } = this
    const leaderId = this.#any(state.isr)
    // Sometimes it takes those that it believes dead out of the ISR.
    const isr = state.isr.filter((id) => id === leaderId || this.#random.integer(3) > 0)
    this.elections += 1
    this.state = {
      ...state,
      leaderId,
      isr,
      leaderEpoch: state.leaderEpoch + 1,
      partitionEpoch: state.partitionEpoch + 1,
    }
    if (this.#random.integer(2) === 0) this.tell(this.byId(leaderId))
  }

  step(): void {
    const what = this.#random.integer(100)
    if (what < 25) this.append()
    else if (what < 65) this.fetch()
    else if (what < 75) this.tell(this.#any(this.replicas))
    else if (what < 84) this.decide()
    else if (what < 93) this.hear()
    else if (what < 97) {
      this.nowMs += this.#random.integer(LAG_MS)
      for (const { leader } of this.replicas) leader?.checkLag()
    } else this.elect()
  }
}

function ids(isr: readonly IsrMember[]): number[] {
  return isr.map(({ brokerId }) => brokerId)
}

test('what is committed once is in the log of every later leader', () => {
  const first = testSeed()
  let committed = 0
  let elections = 0
  let failures = 0
  for (let i = 0; i < HISTORIES; i += 1) {
    const seed = first + i
    const world = new World(new SeededRandom(seed))
    try {
      for (let step = 0; step < STEPS; step += 1) world.step()
    } catch (error) {
      throw new Error(`SHARDLOG_TEST_SEED=${seed}`, { cause: error })
    }
    committed += world.log.length
    elections += world.elections
    failures += world.failures
  }
  // The histories are worth something.
  assert.ok(committed > HISTORIES * 5, `${committed}`)
  assert.ok(elections > HISTORIES * 2, `${elections}`)
  assert.ok(failures > 0)
})
