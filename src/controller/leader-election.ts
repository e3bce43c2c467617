/**
 * Who leads a partition: the rules, without any I/O. Each function gives the state that is to be
 * written, or null where nothing has to change or nobody can be elected.
 *
 * The ISR never gets empty: whoever was in it last is the only one who surely has every committed
 * record, dead or not. Replicas that left it while it was below min.insync.replicas have them too,
 * because nothing was committed since (KIP-966): `eligibleLeaders`.
 */
import type { PartitionState } from '../registry/cluster-registry.ts'

/** What an election has to know of the replicas of one partition. */
export interface Electorate {
  /** In the order of preference. */
  readonly replicas: readonly number[]
  /** Its broker is alive and its log directory works. */
  isOnline(brokerId: number): boolean
  isShuttingDown(brokerId: number): boolean
  /** The controller has a connection to its broker, and answers to all that it asked lately. */
  isReachable(brokerId: number): boolean
  /** The loss that a live broker has registered with; null: none, undefined: it is not alive. */
  lostTail(brokerId: number): number | null | undefined
  readonly controllerEpoch: number
  /** Members that the ISR must have before anything is committed. */
  readonly isrMin: number
}

interface Change {
  readonly leader: number
  readonly leaderEpoch: number
  readonly isr: readonly number[]
  readonly isRecovering?: boolean
}

/** The first state of a partition; null while none of its replicas is online. */
export function initialState(electorate: Electorate): PartitionState | null {
  const isr = electorate.replicas.filter((id) => electorate.isOnline(id))
  const leader = isr.find((id) => !electorate.isShuttingDown(id)) ?? isr[0]
  if (leader === undefined) return null
  return nextState(EMPTY, { leader, leaderEpoch: 0, isr }, electorate)
}

const EMPTY: PartitionState = { leader: -1, leaderEpoch: 0, isr: [], controllerEpoch: 0 }

/**
 * A leader for a partition whose leader is gone: the first replica in the ISR, else one that is
 * eligible because nothing was committed since it left, else, if `mayBeUnclean`, any. Without one
 * the partition has no leader; null if the state says so already.
 */
export function electOffline(
  state: PartitionState,
  electorate: Electorate,
  mayBeUnclean: boolean,
): PartitionState | null {
  const base = withoutLostTails(state, electorate)
  const leaderEpoch = state.leaderEpoch + 1
  const canLead = (id: number): boolean => electorate.isOnline(id) && !electorate.isShuttingDown(id)
  const online = base.isr.filter((id) => electorate.isOnline(id))
  const isr = online.length > 0 ? online : base.isr
  const { replicas } = electorate
  const insync = replicas.find((id) => isr.includes(id) && canLead(id))
  if (insync !== undefined) {
    return nextState(base, { leader: insync, leaderEpoch, isr }, electorate)
  }
  const eligible = replicas.find((id) => base.eligibleLeaders?.includes(id) && canLead(id))
  if (eligible !== undefined) {
    return nextState(base, { leader: eligible, leaderEpoch, isr: [eligible] }, electorate)
  }
  const any = mayBeUnclean ? replicas.find(canLead) : undefined
  if (any !== undefined) {
    const change = { leader: any, leaderEpoch, isr: [any], isRecovering: true }
    return { ...change, controllerEpoch: electorate.controllerEpoch }
  }
  if (state.leader === -1 && sameMembers(state.isr, isr)) return null
  return nextState(base, { leader: -1, leaderEpoch, isr }, electorate)
}

/**
 * Takes replicas that are not online, or have lost records, out of the ISR; the leader stays. As in
 * Apache Kafka this begins a leader epoch: its brokers heed no other news of a partition.
 */
export function shrinkToOnline(
  state: PartitionState,
  electorate: Electorate,
): PartitionState | null {
  const base = withoutLostTails(state, electorate)
  const online = base.isr.filter((id) => electorate.isOnline(id) || id === state.leader)
  const isr = online.length > 0 ? online : base.isr
  if (sameMembers(isr, state.isr) && base === state) return null
  return nextState(
    base,
    { leader: state.leader, leaderEpoch: state.leaderEpoch + 1, isr },
    electorate,
  )
}

/** Whether the leader may go on: it is online and has not come back without its records. */
export function isLeaderFit(state: PartitionState, electorate: Electorate): boolean {
  const { leader } = state
  return leader !== -1 && electorate.isOnline(leader) && !hasLost(state, electorate, leader)
}

/**
 * Gives leadership to the preferred replica, if it is in the ISR and can take it. The leader that
 * there is works: it is not exchanged for one that may have died a moment ago.
 */
export function electPreferred(
  state: PartitionState,
  electorate: Electorate,
): PartitionState | null {
  const preferred = electorate.replicas[0]
  if (preferred === undefined || !canTakeOver(state, electorate, preferred)) return null
  if (!electorate.isReachable(preferred)) return null
  const change = { leader: preferred, leaderEpoch: state.leaderEpoch + 1, isr: state.isr }
  return nextState(state, change, electorate)
}

/**
 * Takes a broker that is about to stop out of the ISR, and leadership from it. null if it is the
 * last in the ISR, or no other member can lead.
 */
export function leaveForShutdown(
  state: PartitionState,
  electorate: Electorate,
  brokerId: number,
): PartitionState | null {
  if (!state.isr.includes(brokerId)) return null
  const isLeading = state.leader === brokerId
  const leader = isLeading
    ? electorate.replicas.find((id) => id !== brokerId && canTakeOver(state, electorate, id))
    : state.leader
  const isr = state.isr.filter(
    (id) => id !== brokerId && !(isLeading && electorate.isShuttingDown(id)),
  )
  if (leader === undefined || isr.length === 0) return null
  return nextState(state, { leader, leaderEpoch: state.leaderEpoch + 1, isr }, electorate)
}

/** A leader among the target replicas of a reassignment that are in the ISR. */
export function electTarget(
  state: PartitionState,
  electorate: Electorate,
  targets: readonly number[],
): PartitionState | null {
  const leader = targets.find((id) => canTakeOver(state, electorate, id))
  if (leader === undefined) return null
  const change = { leader, leaderEpoch: state.leaderEpoch + 1, isr: state.isr }
  return nextState(state, change, electorate)
}

/** Takes replicas that are no longer assigned out of the ISR, unless it would be left empty. */
export function leaveAssignment(
  state: PartitionState,
  electorate: Electorate,
  removed: readonly number[],
): PartitionState | null {
  const isr = state.isr.filter((id) => !removed.includes(id))
  const eligibleLeaders = state.eligibleLeaders?.filter((id) => !removed.includes(id))
  if (isr.length === 0 || isr.length === state.isr.length) return null
  const leader = removed.includes(state.leader) ? -1 : state.leader
  const next = nextState(state, { leader, leaderEpoch: state.leaderEpoch + 1, isr }, electorate)
  const { eligibleLeaders: _, ...rest } = next
  return eligibleLeaders?.length && isr.length < electorate.isrMin
    ? { ...rest, eligibleLeaders }
    : rest
}

/** What a leader asked for: the same leader and epoch, with another ISR. */
export function alterIsr(
  state: PartitionState,
  electorate: Electorate,
  wanted: { readonly isr: readonly number[]; readonly isRecovering: boolean },
): PartitionState {
  const { leader, leaderEpoch } = state
  return nextState(state, { leader, leaderEpoch, ...wanted }, electorate)
}

/** A new leader epoch and nothing else, so that every replica hears of a new assignment. */
export function newEpoch(state: PartitionState, electorate: Electorate): PartitionState {
  const { leader, isr } = state
  return nextState(state, { leader, leaderEpoch: state.leaderEpoch + 1, isr }, electorate)
}

function canTakeOver(state: PartitionState, electorate: Electorate, brokerId: number): boolean {
  return (
    state.isr.includes(brokerId) &&
    electorate.isOnline(brokerId) &&
    !electorate.isShuttingDown(brokerId) &&
    !hasLost(state, electorate, brokerId)
  )
}

/** Whether its broker came back without the ends of its logs and has not caught up since. */
function hasLost(state: PartitionState, electorate: Electorate, brokerId: number): boolean {
  const loss = electorate.lostTail(brokerId)
  return typeof loss === 'number' && state.rejoined?.get(brokerId) !== loss
}

/**
 * The state without members that came back with less than they had: others, in the ISR or
 * eligible, know better. If there are none, who is left is the best there is.
 */
function withoutLostTails(state: PartitionState, electorate: Electorate): PartitionState {
  const isWhole = (id: number): boolean => !hasLost(state, electorate, id)
  const isr = state.isr.filter(isWhole)
  const eligible = (state.eligibleLeaders ?? []).filter(isWhole)
  const count = state.isr.length + (state.eligibleLeaders?.length ?? 0)
  if (isr.length + eligible.length === count) return state
  const { eligibleLeaders: _, ...rest } = state
  if (isr.length > 0) {
    return eligible.length > 0 ? { ...rest, isr, eligibleLeaders: eligible } : { ...rest, isr }
  }
  return eligible.length > 0 ? { ...rest, isr: eligible } : rest
}

function nextState(base: PartitionState, change: Change, electorate: Electorate): PartitionState {
  const { isr } = change
  const { replicas, controllerEpoch } = electorate
  const isrMin = Math.min(electorate.isrMin, replicas.length)
  const before = [...base.isr, ...(base.eligibleLeaders ?? [])]
  const eligibleLeaders =
    isr.length < isrMin
      ? [...new Set(before)].filter((id) => !isr.includes(id) && replicas.includes(id))
      : []
  const rejoined = new Map<number, number>()
  for (const id of [...isr, ...eligibleLeaders]) {
    const loss = electorate.lostTail(id)
    const settled = base.rejoined?.get(id)
    if (loss === undefined) {
      // When it is back it says which loss it means.
      if (settled !== undefined) rejoined.set(id, settled)
      continue
    }
    if (loss === null) continue
    const isElected = id === change.leader && change.leaderEpoch > base.leaderEpoch
    const joins = isr.includes(id) && !base.isr.includes(id)
    if (isElected || joins || settled === loss) rejoined.set(id, loss)
  }
  const isRecovering = change.isRecovering ?? base.isRecovering ?? false
  return {
    leader: change.leader,
    leaderEpoch: change.leaderEpoch,
    isr,
    controllerEpoch,
    ...(isRecovering ? { isRecovering } : {}),
    ...(eligibleLeaders.length > 0 ? { eligibleLeaders } : {}),
    ...(rejoined.size > 0 ? { rejoined } : {}),
  }
}

export function sameMembers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id) => b.includes(id))
}
