/**
 * Checks what clients ask of topics, and decides where replicas go. Writes nothing.
 */
import type { BrokerConfig } from '../config/broker-config.ts'
import { wrongTopicConfig } from '../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import type { TopicRegistration } from '../registry/cluster-registry.ts'
import type { Random } from '../util/random.ts'
import { assignReplicas, checkAssignment, type PlacementBroker } from './replica-assignment.ts'
import type { MorePartitions, NewTopic } from './topic-change.ts'
import { wrongTopicName } from './topic-name.ts'

/** Partitions that one request may create. */
export const PARTITIONS_PER_REQUEST_MAX = 10_000

/** What of the cluster a plan depends on. */
export interface PlanningView {
  /** Live brokers by id. */
  readonly brokers: readonly PlacementBroker[]
  isAlive(brokerId: number): boolean
  hasTopic(name: string): boolean
  /** Topics, or topics being created, whose names collide with this one. */
  alike(name: string): readonly string[]
}

export interface PlanningOptions {
  readonly config: BrokerConfig
  readonly random: Random
  readonly view: PlanningView
}

export interface TopicPlan {
  readonly registration: TopicRegistration
  readonly configs: ReadonlyMap<string, string>
}

/** How many partitions the request may still create. */
export interface PartitionBudget {
  partitions: number
}

export class TopicPlanner {
  readonly #config: BrokerConfig
  readonly #random: Random
  readonly #view: PlanningView

  constructor(options: PlanningOptions) {
    this.#config = options.config
    this.#random = options.random
    this.#view = options.view
  }

  /** A topic that can be created. Throws KafkaError. */
  plan(request: NewTopic, budget: PartitionBudget): TopicPlan {
    const { name } = request
    this.#checkNewName(name)
    const isAssigned = request.assignments.length > 0
    if (isAssigned && (request.numPartitions !== -1 || request.replicationFactor !== -1)) {
      throw new KafkaError(
        ErrorCode.INVALID_REQUEST,
        'An assignment cannot be given together with a number of partitions or a replication factor',
      )
    }
    const partitions = isAssigned
      ? this.#givenAssignment(request)
      : this.#ownAssignment(request, budget)
    if (isAssigned) spend(budget, partitions.length)
    const given = new Map(request.configs.map((config) => [config.name, config.value]))
    const configs = checkConfigs(given)
    const registration = {
      name,
      topicId: createTopicId(this.#random),
      partitions,
      addingReplicas: new Map(),
      removingReplicas: new Map(),
    }
    return { registration, configs }
  }

  /** Replicas of the partitions that are added to a topic. Throws KafkaError. */
  planMore(
    name: string,
    current: readonly (readonly number[])[],
    request: MorePartitions,
    budget: PartitionBudget,
  ): readonly (readonly number[])[] {
    const before = current.length
    if (request.count <= before) {
      throw new KafkaError(
        ErrorCode.INVALID_PARTITIONS,
        request.count === before
          ? `Topic '${name}' already has ${before} partitions`
          : `Topic '${name}' has ${before} partitions, more than the requested ${request.count}`,
      )
    }
    spend(budget, request.count - before)
    const factor = current[0]?.length ?? 1
    const given = request.assignments
    if (given === null) {
      return assignReplicas({
        brokers: this.#view.brokers,
        partitionCount: request.count - before,
        replicationFactor: factor,
        firstPartition: before,
        firstReplica: current[0]?.[0] ?? null,
        random: this.#random,
      })
    }
    if (given.length !== request.count - before) {
      throw new KafkaError(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        `${request.count - before} partitions are added, but ${given.length} assigned`,
      )
    }
    const added = given.map((assignment) => assignment.brokerIds)
    checkAssignment(added, (id) => this.#view.isAlive(id), factor)
    return added
  }

  #checkNewName(name: string): void {
    const wrong = wrongTopicName(name)
    if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)
    if (this.#view.hasTopic(name)) {
      throw new KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists`)
    }
    const alike = this.#view.alike(name)
    if (alike.length > 0) {
      throw new KafkaError(
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        `Topic '${name}' collides with existing topics: ${alike.join(', ')}`,
      )
    }
  }

  #givenAssignment(request: NewTopic): (readonly number[])[] {
    const partitions: (readonly number[] | undefined)[] = Array.from(
      request.assignments,
      () => undefined,
    )
    for (const { partitionIndex, brokerIds } of request.assignments) {
      if (partitionIndex < 0 || partitionIndex >= partitions.length || partitions[partitionIndex]) {
        throw new KafkaError(
          ErrorCode.INVALID_REPLICA_ASSIGNMENT,
          'The partitions of an assignment must be numbered from 0 on, without gaps or repetitions',
        )
      }
      partitions[partitionIndex] = brokerIds
    }
    const assignment = partitions as (readonly number[])[]
    checkAssignment(assignment, (id) => this.#view.isAlive(id))
    return assignment
  }

  #ownAssignment(request: NewTopic, budget: PartitionBudget): (readonly number[])[] {
    const count = request.numPartitions === -1 ? this.#config.numPartitions : request.numPartitions
    const factor =
      request.replicationFactor === -1
        ? this.#config.defaultReplicationFactor
        : request.replicationFactor
    if (count <= 0) {
      throw new KafkaError(
        ErrorCode.INVALID_PARTITIONS,
        `Number of partitions must be at least 1, or -1 for the broker's default, not ${count}`,
      )
    }
    if (factor <= 0) {
      throw new KafkaError(
        ErrorCode.INVALID_REPLICATION_FACTOR,
        `Replication factor must be at least 1, or -1 for the broker's default, not ${factor}`,
      )
    }
    spend(budget, count)
    return assignReplicas({
      brokers: this.#view.brokers,
      partitionCount: count,
      replicationFactor: factor,
      firstPartition: 0,
      firstReplica: null,
      random: this.#random,
    })
  }
}

/** Throws KafkaError. */
export function checkConfigs(
  given: ReadonlyMap<string, string | null>,
): ReadonlyMap<string, string> {
  const wrong = wrongTopicConfig(given)
  if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_CONFIG, wrong)
  return given as ReadonlyMap<string, string>
}

export function createTopicId(random: Random): string {
  for (;;) {
    const bytes = random.bytes(16)
    const topicId = bytes.toString('base64url')
    // Tools take a leading dash for an option; ids whose first half is zero are reserved.
    if (topicId.startsWith('-') || bytes.readBigUInt64BE(0) === 0n) continue
    return topicId
  }
}

function spend(budget: PartitionBudget, count: number): void {
  if (count > budget.partitions) {
    throw new KafkaError(
      ErrorCode.POLICY_VIOLATION,
      `A request may create at most ${PARTITIONS_PER_REQUEST_MAX} partitions`,
    )
  }
  budget.partitions -= count
}
