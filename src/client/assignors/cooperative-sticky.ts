import type { TopicPartitions } from '../../protocol/consumer-protocol.ts'
import {
  AssignmentBuilder,
  type Assignor,
  type AssignorMember,
  type AssignorTopic,
  compareMembers,
  subscribersByTopic,
} from './assignor.ts'

const NOBODY = -1

/** Generation of what a member says it owns; members below version 2 have it in their user data. */
function generationOf(member: AssignorMember): number {
  if (member.generationId >= 0) return member.generationId
  const { userData } = member
  return userData !== null && userData.length >= 4 ? userData.readInt32BE(0) : -1
}

/** One topic while it is being shared out. Members are indexes into the sorted list of members. */
interface TopicState {
  readonly topic: string
  readonly subscribers: readonly number[]
  /** Who owned a partition before, by partition; NOBODY also where two say so. */
  readonly before: Int32Array
  /** Who gets it. */
  readonly owner: Int32Array
  /** Who says to own a partition; of claims from several generations only the latest. */
  readonly claims: Map<number, Set<number>>
}

/** A heap of members by load, then index; loads only grow, so that a stale top sinks when it is seen. */
class LeastLoaded {
  readonly #loads: Int32Array
  readonly #heap: { member: number; load: number }[]

  constructor(members: readonly number[], loads: Int32Array) {
    this.#loads = loads
    this.#heap = members.map((member) => ({ member, load: loads[member] as number }))
    for (let at = (this.#heap.length >> 1) - 1; at >= 0; at -= 1) this.#sink(at)
  }

  peek(): number {
    for (;;) {
      const top = this.#heap[0] as { member: number; load: number }
      const load = this.#loads[top.member] as number
      if (load === top.load) return top.member
      top.load = load
      this.#sink(0)
    }
  }

  #isBefore(a: number, b: number): boolean {
    const left = this.#heap[a] as { member: number; load: number }
    const right = this.#heap[b] as { member: number; load: number }
    return left.load === right.load ? left.member < right.member : left.load < right.load
  }

  #sink(from: number): void {
    const heap = this.#heap
    let at = from
    for (;;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && this.#isBefore(child, least)) least = child
      }
      if (least === at) return
      const moved = heap[at] as { member: number; load: number }
      heap[at] = heap[least] as { member: number; load: number }
      heap[least] = moved
      at = least
    }
  }
}

/**
 * Shares out partitions so that no member could take one from another that has two more than it,
 * moving as few as that needs. A partition that another member still owns is given to nobody: its
 * owner gives it up after this rebalance and joins again, and the next one hands it over (KIP-429).
 * Works in one group with Apache Kafka's CooperativeStickyAssignor, though not always with the
 * same choice among equally good ones.
 */
export class CooperativeStickyAssignor implements Assignor {
  readonly name: string = 'cooperative-sticky'
  readonly supportedProtocols = ['cooperative', 'eager'] as const

  userData(generationId: number): Buffer {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32BE(generationId)
    return bytes
  }

  assign(
    topics: ReadonlyMap<string, AssignorTopic>,
    members: readonly AssignorMember[],
  ): Map<string, TopicPartitions[]> {
    const sorted = [...members].sort(compareMembers)
    const states = statesOf(topics, sorted)
    const loads = new Int32Array(sorted.length)
    keepOwned(states, loads)
    dealUnowned(states, loads)
    improveDeal(states, loads)
    balance(states, loads)
    const builder = new AssignmentBuilder(members)
    for (const { topic, owner, claims } of states) {
      for (const [partition, member] of owner.entries()) {
        const claimants = claims.get(partition)
        // What two owned at once is given up by both before it is given to one.
        if (claimants !== undefined && (claimants.size > 1 || !claimants.has(member))) continue
        builder.add((sorted[member] as AssignorMember).memberId, topic, partition)
      }
    }
    return builder.build()
  }
}

function statesOf(
  topics: ReadonlyMap<string, AssignorTopic>,
  sorted: readonly AssignorMember[],
): TopicState[] {
  const indexOf = new Map(sorted.map((member, index) => [member.memberId, index]))
  const states = subscribersByTopic(topics, sorted).map(
    ({ topic, partitionCount, subscribers }): TopicState => ({
      topic,
      subscribers: subscribers.map(({ memberId }) => indexOf.get(memberId) as number),
      before: new Int32Array(partitionCount).fill(NOBODY),
      owner: new Int32Array(partitionCount).fill(NOBODY),
      claims: new Map(),
    }),
  )
  const byTopic = new Map(states.map((state) => [state.topic, state]))
  const generations = sorted.map(generationOf)
  for (const [member, { ownedPartitions }] of sorted.entries()) {
    for (const { topic, partitions } of ownedPartitions) {
      const state = byTopic.get(topic)
      if (state === undefined) continue
      for (const partition of new Set(partitions)) {
        if (partition >= 0 && partition < state.owner.length) {
          claim(state, partition, member, generations)
        }
      }
    }
  }
  return states
}

/** Of several who say that they own a partition the one of the latest generation is right. */
function claim(
  state: TopicState,
  partition: number,
  member: number,
  generations: readonly number[],
): void {
  const claimants = state.claims.get(partition)
  const generation = generations[member] as number
  const known = claimants && (generations[claimants.values().next().value as number] as number)
  if (known === undefined || generation > known) state.claims.set(partition, new Set([member]))
  else if (generation === known) claimants?.add(member)
}

function keepOwned(states: readonly TopicState[], loads: Int32Array): void {
  for (const { subscribers, before, owner, claims } of states) {
    const eligible = new Set(subscribers)
    for (const [partition, claimants] of claims) {
      const [member] = claimants
      if (claimants.size !== 1 || member === undefined) continue
      before[partition] = member
      if (!eligible.has(member)) continue
      owner[partition] = member
      loads[member] = (loads[member] as number) + 1
    }
  }
}

/** Topics with the fewest subscribers first, as they leave the least choice. */
function dealUnowned(states: readonly TopicState[], loads: Int32Array): void {
  const heaps = new Map<string, LeastLoaded>()
  const order = [...states].sort((a, b) => a.subscribers.length - b.subscribers.length)
  for (const { subscribers, owner } of order) {
    const key = subscribers.join()
    let heap = heaps.get(key)
    if (heap === undefined) {
      heap = new LeastLoaded(subscribers, loads)
      heaps.set(key, heap)
    }
    for (const [partition, current] of owner.entries()) {
      if (current !== NOBODY) continue
      const member = heap.peek()
      owner[partition] = member
      loads[member] = (loads[member] as number) + 1
    }
  }
}

/**
 * Finds the best way to deal what nobody owned: as long as there is a chain of members, each
 * handing such a partition to the next, whose last has two fewer than its first. Only that makes
 * rebalances end: what one took away to hand over, the next can hand over at least as evenly as the
 * first had planned, so that each further one that takes something away leaves a more even group.
 */
function improveDeal(states: readonly TopicState[], loads: Int32Array): void {
  const uniform = states.every(({ subscribers }) => subscribers.length === loads.length)
  // Where all subscribe to all, dealing to the least loaded is the best already.
  if (uniform) return
  const dealt = new Map<number, Map<TopicState, number[]>>()
  for (const state of states) {
    for (const [partition, member] of state.owner.entries()) {
      if (state.before[partition] !== member) dealtTo(dealt, member, state).push(partition)
    }
  }
  // What a search without success has reached has no way out either.
  const done = new Set<number>()
  for (;;) {
    let most = NOBODY
    for (const [member, byTopic] of dealt) {
      if (done.has(member) || byTopic.size === 0) continue
      if (most === NOBODY || (loads[member] as number) > (loads[most] as number)) most = member
    }
    if (most === NOBODY) return
    const { chain, reached } = chainFrom(most, dealt, loads)
    if (chain === null) {
      for (const member of reached) done.add(member)
      continue
    }
    for (const { from, to, state } of chain) {
      const partitions = dealtTo(dealt, from, state)
      const partition = partitions.pop() as number
      if (partitions.length === 0) dealt.get(from)?.delete(state)
      state.owner[partition] = to
      dealtTo(dealt, to, state).push(partition)
      loads[from] = (loads[from] as number) - 1
      loads[to] = (loads[to] as number) + 1
    }
  }
}

function dealtTo(
  dealt: Map<number, Map<TopicState, number[]>>,
  member: number,
  state: TopicState,
): number[] {
  const byTopic = dealt.get(member) ?? new Map<TopicState, number[]>()
  dealt.set(member, byTopic)
  const partitions = byTopic.get(state) ?? []
  byTopic.set(state, partitions)
  return partitions
}

interface Handover {
  readonly from: number
  readonly to: number
  readonly state: TopicState
}

/** Breadth first: the shortest chain from a member to one that has two fewer, or null. */
function chainFrom(
  start: number,
  dealt: ReadonlyMap<number, ReadonlyMap<TopicState, readonly number[]>>,
  loads: Int32Array,
): { chain: Handover[] | null; reached: Iterable<number> } {
  const arrivals = new Map<number, Handover | null>([[start, null]])
  const topicsSeen = new Set<TopicState>()
  const queue = [start]
  for (let at = 0; at < queue.length; at += 1) {
    const from = queue[at] as number
    for (const state of dealt.get(from)?.keys() ?? []) {
      if (topicsSeen.has(state)) continue
      topicsSeen.add(state)
      for (const to of state.subscribers) {
        if (arrivals.has(to)) continue
        arrivals.set(to, { from, to, state })
        if ((loads[to] as number) + 2 > (loads[start] as number)) {
          queue.push(to)
          continue
        }
        const chain: Handover[] = []
        for (let step = arrivals.get(to); step; step = arrivals.get(step.from)) chain.push(step)
        return { chain, reached: [] }
      }
    }
  }
  return { chain: null, reached: arrivals.keys() }
}

/** Moves partitions until none can be moved to a member that has two fewer. */
function balance(states: readonly TopicState[], loads: Int32Array): void {
  // Every move makes the sum of the squared loads smaller, so that this ends.
  for (let moved = true; moved; ) {
    moved = false
    for (const state of states) {
      if (state.subscribers.length > 1 && balanceTopic(state, loads)) moved = true
    }
  }
}

function balanceTopic(state: TopicState, loads: Int32Array): boolean {
  const { subscribers, before, owner } = state
  const held = new Map<number, number[]>()
  for (const [partition, member] of owner.entries()) {
    const list = held.get(member)
    if (list) list.push(partition)
    else held.set(member, [partition])
  }
  // What a member did not have before goes first: it costs nothing to move.
  for (const [member, list] of held) {
    list.sort((a, b) => Number(before[a] !== member) - Number(before[b] !== member) || b - a)
  }
  let moved = false
  for (;;) {
    let least = subscribers[0] as number
    let most = NOBODY
    for (const member of subscribers) {
      const load = loads[member] as number
      if (load < (loads[least] as number)) least = member
      if ((held.get(member)?.length ?? 0) === 0) continue
      if (most === NOBODY || load > (loads[most] as number)) most = member
    }
    if (most === NOBODY || (loads[most] as number) < (loads[least] as number) + 2) return moved
    const from = held.get(most) as number[]
    // Better a partition that the receiver had before.
    const own = from.findIndex((partition) => before[partition] === least)
    const [partition] = from.splice(own === -1 ? from.length - 1 : own, 1) as [number]
    owner[partition] = least
    const to = held.get(least)
    if (to) to.push(partition)
    else held.set(least, [partition])
    loads[most] = (loads[most] as number) - 1
    loads[least] = (loads[least] as number) + 1
    moved = true
  }
}
