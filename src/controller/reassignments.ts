/**
 * Moves replicas (KIP-455). The topic's node says what is under way: its replicas are those before
 * and those after together, with the ones that are added and the ones that are removed. Whatever
 * step a controller stopped at, the next one sees from it whether to wait or to finish.
 *
 *  start:  topic (adding, removing) → states (new leader epoch, so that all replicas hear of it)
 *  finish, once all targets are in the ISR: states (leader among the targets, others out of the ISR)
 *          → topic (targets only) → brokers are told, and the replicas that are left over deleted
 *
 * A cancellation is a reassignment to where it began.
 */
import { ErrorCode, errorMessage } from '../protocol/error-codes.ts'
import type {
  AlterPartitionReassignmentsRequest,
  AlterPartitionReassignmentsResponse,
} from '../protocol/messages/alter-partition-reassignments.ts'
import type {
  ListPartitionReassignmentsRequest,
  ListPartitionReassignmentsResponse,
} from '../protocol/messages/list-partition-reassignments.ts'
import type {
  PartitionState,
  ReassignmentRequest,
  TopicRegistration,
  Versioned,
} from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import { type PartitionEntry, type TopicEntry, without } from './controller-context.ts'
import { electTarget, leaveAssignment, newEpoch } from './leader-election.ts'
import { readRegistration } from './read-topics.ts'

/** A topic that others write at the same time is read anew that often. */
const ATTEMPTS_MAX = 5

interface Move {
  readonly partition: PartitionEntry
  readonly target: readonly number[]
}

interface Assignment {
  readonly replicas: readonly number[]
  readonly adding: readonly number[]
  readonly removing: readonly number[]
}

interface Failure {
  readonly errorCode: number
  readonly errorMessage: string | null
}

type AnsweredTopic = AlterPartitionReassignmentsResponse['responses'][number]
type ListedTopic = ListPartitionReassignmentsResponse['topics'][number]

export class Reassignments {
  readonly #active: ActiveController
  /** What a tool has asked for in the registry and is not complete; null if there is nothing. */
  #requested: { readonly version: number; readonly left: Set<PartitionEntry> } | null = null

  constructor(active: ActiveController) {
    this.#active = active
  }

  async alter(
    request: AlterPartitionReassignmentsRequest,
  ): Promise<AlterPartitionReassignmentsResponse> {
    const responses = await this.#active.run(async () => {
      await this.#active.checkEpoch()
      const moves: Move[] = []
      const answers = request.topics.map(
        (topic): AnsweredTopic => ({
          name: topic.name,
          partitions: topic.partitions.map(({ partitionIndex, replicas }) => {
            const planned = this.#plan(topic.name, partitionIndex, replicas)
            const isMove = 'partition' in planned
            if (isMove) moves.push(planned)
            return isMove
              ? { partitionIndex, errorCode: ErrorCode.NONE, errorMessage: null }
              : { partitionIndex, ...planned }
          }),
        }),
      )
      for (const { partition } of moves) this.#requested?.left.delete(partition)
      await this.#start(moves)
      await this.#completeRequest()
      return answers
    })
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, errorMessage: null, responses }
  }

  list(request: ListPartitionReassignmentsRequest): Promise<ListPartitionReassignmentsResponse> {
    return this.#active.run(async () => {
      const topics = new Map<string, ListedTopic>()
      for (const partition of this.#asked(request)) {
        if (!partition.isReassigning) continue
        const { name } = partition.topic
        const listed = topics.get(name) ?? { name, partitions: [] }
        topics.set(name, listed)
        listed.partitions.push({
          partitionIndex: partition.partition,
          replicas: [...partition.replicas],
          addingReplicas: [...partition.addingReplicas],
          removingReplicas: [...partition.removingReplicas],
        })
      }
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        topics: [...topics.values()],
      }
    })
  }

  #asked(request: ListPartitionReassignmentsRequest): Iterable<PartitionEntry> {
    const { context } = this.#active
    if (request.topics === null) return context.partitions()
    const asked: PartitionEntry[] = []
    for (const { name, partitionIndexes } of request.topics) {
      for (const index of partitionIndexes) {
        const partition = context.partition(name, index)
        if (partition !== undefined && !partition.topic.isDeleting) asked.push(partition)
      }
    }
    return asked
  }

  /** `replicas` null cancels. */
  #plan(topic: string, index: number, replicas: readonly number[] | null): Move | Failure {
    const partition = this.#active.context.partition(topic, index)
    if (partition === undefined || partition.topic.isDeleting) {
      return failure(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'The partition does not exist.')
    }
    if (replicas === null) {
      if (!partition.isReassigning) return failure(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    }
    const target = replicas ?? partition.originReplicas
    const wrong = this.#wrong(partition, target)
    return wrong === null
      ? { partition, target }
      : failure(ErrorCode.INVALID_REPLICA_ASSIGNMENT, wrong)
  }

  #wrong(partition: PartitionEntry, replicas: readonly number[]): string | null {
    const listed = replicas.join(', ')
    if (replicas.length === 0) {
      return 'Empty replica list specified in partition reassignment.'
    }
    if (new Set(replicas).size !== replicas.length) {
      return `Duplicate replica ids in partition reassignment replica list: ${listed}`
    }
    if (replicas.some((id) => id < 0)) {
      return `Invalid broker id in replica list: ${listed}`
    }
    const { liveBrokers } = this.#active.context
    const dead = without(replicas, partition.originReplicas).filter((id) => !liveBrokers.has(id))
    if (dead.length > 0) {
      return `Replica assignment has brokers that are not alive: ${dead.join(', ')}`
    }
    const kept = reassigned(partition, replicas).replicas
    const isr = partition.state?.isr ?? []
    return isr.length === 0 || isr.some((id) => kept.includes(id))
      ? null
      : `Replica assignment has none of the in-sync replicas: ${isr.join(', ')}`
  }

  async #start(moves: readonly Move[]): Promise<void> {
    if (moves.length === 0) return
    const assignments = new Map<PartitionEntry, Assignment>()
    for (const { partition, target } of moves) {
      assignments.set(partition, reassigned(partition, target))
    }
    const replicasBefore = new Map(moves.map(({ partition }) => [partition, partition.replicas]))
    const written = await this.#writeAssignments(assignments)
    for (const partition of written) {
      const before = replicasBefore.get(partition) ?? []
      await this.#drop(partition, without(before, partition.replicas))
    }
    const waiting = written.filter((partition) => !isComplete(partition))
    await this.#active.change(
      waiting,
      (partition, state) =>
        state === null ? null : newEpoch(state, this.#active.electorate(partition)),
      (partition) => this.#active.tell(partition, partition.addingReplicas),
    )
    await this.#finish(written.filter(isComplete))
  }

  /** Replicas that are assigned no more leave the ISR and are deleted. */
  async #drop(partition: PartitionEntry, removed: readonly number[]): Promise<void> {
    if (removed.length === 0) return
    await this.#active.change([partition], (one, state) => {
      if (state === null) return null
      const electorate = this.#active.electorate(one)
      const moved = removed.includes(state.leader)
        ? electTarget(state, electorate, one.replicas)
        : null
      return leaveAssignment(moved ?? state, electorate, removed)
    })
    for (const id of removed) this.#active.channels.get(id)?.markStop(partition, true)
  }

  /** Finishes those that have waited for this. */
  altered(partitions: readonly PartitionEntry[]): void {
    const complete = partitions.filter((one) => one.isReassigning && isComplete(one))
    if (complete.length === 0) return
    this.#active.enqueue('reassignments', () => this.#finishAll(complete))
  }

  async #finishAll(partitions: readonly PartitionEntry[]): Promise<void> {
    const { context } = this.#active
    await this.#finish(
      partitions.filter(
        (one) =>
          context.topics.get(one.topic.name) === one.topic &&
          !one.topic.isDeleting &&
          one.isReassigning &&
          isComplete(one),
      ),
    )
    await this.#completeRequest()
  }

  /** Brokers are back, or everything was read anew: what can be finished is. */
  async resume(): Promise<void> {
    const moving: PartitionEntry[] = []
    for (const partition of this.#active.context.partitions()) {
      if (partition.isReassigning) moving.push(partition)
    }
    await this.#finishAll(moving)
  }

  async #finish(partitions: readonly PartitionEntry[]): Promise<void> {
    if (partitions.length === 0) return
    // The states are told together with the assignment: until then a leader would take back
    // replicas that are to go.
    await this.#active.change(
      partitions,
      (partition, state) => (state === null ? null : this.#finalState(partition, state)),
      () => undefined,
    )
    const ready = partitions.filter((one) => one.targetReplicas.includes(one.leader))
    const assignments = new Map<PartitionEntry, Assignment>()
    const removed = new Map<PartitionEntry, readonly number[]>()
    for (const partition of ready) {
      removed.set(partition, partition.removingReplicas)
      const replicas = partition.targetReplicas
      assignments.set(partition, { replicas, adding: [], removing: [] })
    }
    for (const partition of await this.#writeAssignments(assignments)) {
      for (const id of removed.get(partition) ?? []) {
        this.#active.channels.get(id)?.markStop(partition, true)
      }
      this.#active.tell(partition)
      this.#active.logger.info(
        { partition: partition.name, replicas: partition.replicas },
        'a partition has moved',
      )
    }
  }

  #finalState(partition: PartitionEntry, state: PartitionState): PartitionState | null {
    const electorate = this.#active.electorate(partition)
    const { targetReplicas, removingReplicas } = partition
    const isStaying = targetReplicas.includes(state.leader) && electorate.isOnline(state.leader)
    const led = isStaying
      ? newEpoch(state, electorate)
      : electTarget(state, electorate, targetReplicas)
    if (led === null) return null
    const left = leaveAssignment(led, electorate, removingReplicas)
    return left === null ? led : { ...left, leaderEpoch: led.leaderEpoch }
  }

  /** One write per topic; those that were written. */
  async #writeAssignments(
    assignments: ReadonlyMap<PartitionEntry, Assignment>,
  ): Promise<PartitionEntry[]> {
    const byTopic = new Map<TopicEntry, PartitionEntry[]>()
    for (const partition of assignments.keys()) {
      const partitions = byTopic.get(partition.topic)
      if (partitions) partitions.push(partition)
      else byTopic.set(partition.topic, [partition])
    }
    const written = await Promise.all(
      [...byTopic].map(async ([topic, partitions]) =>
        (await this.#writeTopic(topic, assignments)) ? partitions : [],
      ),
    )
    return written.flat()
  }

  async #writeTopic(
    topic: TopicEntry,
    assignments: ReadonlyMap<PartitionEntry, Assignment>,
  ): Promise<boolean> {
    const { registry, logger } = this.#active
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      this.#active.check()
      const registration = withAssignments(topic, assignments)
      const result = await registry.updateTopic(registration, topic.version)
      this.#active.check()
      if (result.ok) {
        topic.update(registration, result.version)
        return true
      }
      const found = await readRegistration(this.#active, topic.name, topic.topicId)
      this.#active.check()
      if (found === null) return false
      topic.version = found.version
      if (found.value.partitions.length > topic.assignment.length) {
        const added = found.value.partitions.slice(topic.assignment.length)
        const partitions = [...topic.assignment, ...added]
        topic.update({ ...topic.registration, partitions }, found.version)
      }
    }
    logger.warn({ topic: topic.name }, 'a topic is being written by somebody else')
    this.#active.recover()
    return false
  }

  /** What a tool of the days before KIP-455 has written into the registry. */
  async requested(request: Versioned<readonly ReassignmentRequest[]> | null): Promise<void> {
    if (request === null) {
      this.#requested = null
      return
    }
    const moves: Move[] = []
    for (const { topic, partition, replicas } of request.value) {
      const planned = this.#plan(topic, partition, replicas)
      if ('partition' in planned) {
        if (!isThere(planned)) moves.push(planned)
        continue
      }
      const fields = { topic, partition, error: planned.errorMessage }
      this.#active.logger.warn(fields, 'a requested reassignment is left out')
    }
    const left = new Set(moves.map((move) => move.partition))
    this.#requested = { version: request.version, left }
    await this.#active.checkEpoch()
    await this.#start(moves.filter((move) => !isUnderWay(move)))
    await this.#completeRequest()
  }

  /** Takes the request away once none of its partitions is moving any more. */
  async #completeRequest(): Promise<void> {
    if (this.#requested === null) return
    const { version, left } = this.#requested
    const { context } = this.#active
    for (const partition of left) {
      const isThere = context.partition(partition.topic.name, partition.partition) === partition
      if (!partition.isReassigning || partition.topic.isDeleting || !isThere) left.delete(partition)
    }
    if (left.size > 0) return
    this.#requested = null
    await this.#active.registry.completeReassignmentRequest(version)
  }
}

function reassigned(partition: PartitionEntry, target: readonly number[]): Assignment {
  const origin = partition.originReplicas
  const replicas = [...target, ...without(origin, target)]
  return {
    replicas,
    adding: without(replicas, origin),
    removing: without(replicas, target),
  }
}

/** All replicas of the target are in the ISR. */
function isComplete({ isReassigning, targetReplicas, state }: PartitionEntry): boolean {
  return !isReassigning || targetReplicas.every((id) => state?.isr.includes(id) ?? false)
}

function isThere({ partition, target }: Move): boolean {
  return !partition.isReassigning && isSame(partition.replicas, target)
}

function isUnderWay({ partition, target }: Move): boolean {
  return partition.isReassigning && isSame(partition.targetReplicas, target)
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i])
}

function withAssignments(
  topic: TopicEntry,
  assignments: ReadonlyMap<PartitionEntry, Assignment>,
): TopicRegistration {
  const partitions = topic.assignment.map((replicas) => replicas)
  const addingReplicas = new Map(topic.addingReplicas)
  const removingReplicas = new Map(topic.removingReplicas)
  for (const entry of topic.partitions) {
    const assignment = assignments.get(entry)
    if (assignment === undefined) continue
    const { partition } = entry
    partitions[partition] = assignment.replicas
    setOrDelete(addingReplicas, partition, assignment.adding)
    setOrDelete(removingReplicas, partition, assignment.removing)
  }
  return { ...topic.registration, partitions, addingReplicas, removingReplicas }
}

function setOrDelete(
  map: Map<number, readonly number[]>,
  partition: number,
  replicas: readonly number[],
): void {
  if (replicas.length > 0) map.set(partition, replicas)
  else map.delete(partition)
}

function failure(errorCode: number, text = errorMessage(errorCode)): Failure {
  return { errorCode, errorMessage: text }
}
