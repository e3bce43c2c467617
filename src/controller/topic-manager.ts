/**
 * Creates, widens, deletes and reconfigures topics: validation, the registry, the logs (through a
 * TopicHost) and the metadata, in this order, so that whoever is told of success finds leaders.
 *
 * One change at a time. Every registry write stands alone; their order is such that a crash
 * between two of them leaves a change that `load` or `resumeDeletions` completes.
 *
 * Main thread only.
 */
import type { BrokerConfig } from '../config/broker-config.ts'
import type { TopicConfig } from '../config/topic-config.ts'
import {
  type DescribedConfig,
  describeTopicConfig,
  effectiveTopicConfig,
  wrongTopicConfig,
} from '../config/topic-settings.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import { isInternalTopic, type PartitionImage, type TopicImage } from '../metadata/topic-image.ts'
import { ErrorCode, errorMessage, KafkaError } from '../protocol/error-codes.ts'
import { ZERO_UUID } from '../protocol/schema.ts'
import {
  ANY_VERSION,
  type ClusterRegistry,
  type PartitionState,
  RegistryError,
  type TopicRegistration,
  type Versioned,
} from '../registry/cluster-registry.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import type { LiveBrokerTexts } from './broker-texts.ts'
import { assignReplicas, checkAssignment } from './replica-assignment.ts'
import { Serial } from './serial.ts'
import { collisionKey, wrongTopicName } from './topic-name.ts'

/** What has the logs of this broker's partitions. An error it throws fails the change. */
export interface TopicHost {
  /** Opens the partitions from number `first` (0 if not given) on. */
  openTopic(image: TopicImage, config: TopicConfig, first?: number): Promise<void>
  /** Deletes the logs of a topic that was opened, even if opening it failed. */
  deleteTopic(name: string): Promise<void>
  reconfigureTopic(name: string, config: TopicConfig): Promise<void>
}

export interface TopicManagerOptions {
  readonly registry: ClusterRegistry
  readonly metadata: MetadataCache
  readonly host: TopicHost
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly random: Random
  readonly timers: TimerQueue
  readonly logger: Logger
}

export interface NewTopic {
  readonly name: string
  /** −1: the broker's default. */
  readonly numPartitions: number
  /** −1: the broker's default. */
  readonly replicationFactor: number
  readonly assignments: readonly {
    readonly partitionIndex: number
    readonly brokerIds: readonly number[]
  }[]
  readonly configs: readonly { readonly name: string; readonly value: string | null }[]
}

export interface ChangeOptions {
  /** How long the caller waits; what is not done by then goes on, but is answered as timed out. */
  readonly timeoutMs: number
  readonly validateOnly: boolean
}

export interface TopicOutcome {
  readonly name: string
  readonly errorCode: number
  readonly errorMessage: string | null
}

export interface CreateOutcome extends TopicOutcome {
  readonly topicId: string
  /** −1 where it failed. */
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly configs: readonly DescribedConfig[]
}

export interface MorePartitions {
  readonly name: string
  /** How many there shall be in all. */
  readonly count: number
  /** Replicas of the new ones; null: the broker chooses. */
  readonly assignments: readonly { readonly brokerIds: readonly number[] }[] | null
}

interface TopicPlan {
  readonly registration: TopicRegistration
  readonly configs: ReadonlyMap<string, string>
}

/** Partitions that one request may create. */
const PARTITIONS_PER_REQUEST_MAX = 10_000
/** Registry writes that are asked for together. */
const WRITES_TOGETHER = 1000
/** Topics of one request that are worked on at the same time; they share syncs of the registry. */
const CHANGES_TOGETHER = 32

export class TopicManager {
  readonly #registry: ClusterRegistry
  readonly #metadata: MetadataCache
  readonly #host: TopicHost
  readonly #config: BrokerConfig
  readonly #texts: LiveBrokerTexts
  readonly #random: Random
  readonly #timers: TimerQueue
  readonly #logger: Logger
  readonly #serial = new Serial()
  /** Topics whose deletion was begun and failed, here or before a restart. */
  readonly #undeleted = new Set<string>()
  /** Names in use, and those being created, by collision key. */
  readonly #namesByKey = new Map<string, Set<string>>()
  #controllerEpoch = 0

  constructor(options: TopicManagerOptions) {
    this.#registry = options.registry
    this.#metadata = options.metadata
    this.#host = options.host
    this.#config = options.config
    this.#texts = options.texts
    this.#random = options.random
    this.#timers = options.timers
    this.#logger = options.logger
  }

  /**
   * Reads all topics into the metadata, after the live brokers are known there and this broker
   * has become the controller. Partitions without a state or with a dead leader get a leader.
   * Opens no logs. Throws RegistryError.
   */
  load(): Promise<void> {
    return this.#serial.run(async () => {
      this.#controllerEpoch = await this.#registry.controllerEpoch()
      for (const name of await this.#registry.topicDeletions()) this.#undeleted.add(name)
      for (const name of await this.#registry.topicNames()) {
        if (!this.#undeleted.has(name)) await this.#loadTopic(name)
      }
    })
  }

  /** Completes deletions that were begun and failed, here or in an earlier run. */
  resumeDeletions(): Promise<void> {
    return this.#serial.run(async () => {
      for (const name of [...this.#undeleted]) await this.#resumeDeletion(name)
    })
  }

  async #resumeDeletion(name: string): Promise<void> {
    const topic = await this.#registry.topic(name)
    if (topic !== null) {
      // Opening them is how the logs that are left are found.
      const image = imageOf(topic.value, new Map(), [])
      try {
        await this.#host.openTopic(image, this.effectiveConfig(image))
      } catch (error) {
        this.#logger.warn({ err: error, topic: name }, 'a topic to be deleted has broken logs')
      }
      await this.#host.deleteTopic(name)
    }
    await this.#forget(name)
    this.#logger.info({ topic: name }, 'completed the deletion of a topic')
  }

  /** One outcome per name, in the order of the request. */
  async createTopics(
    topics: readonly NewTopic[],
    options: ChangeOptions,
  ): Promise<CreateOutcome[]> {
    const budget = { partitions: PARTITIONS_PER_REQUEST_MAX }
    const changes = uniqueByName(topics).map(({ topic, isRepeated }) => ({
      name: topic.name,
      run: async (): Promise<CreateOutcome> => {
        if (isRepeated) {
          throw new KafkaError(
            ErrorCode.INVALID_REQUEST,
            `The request names topic '${topic.name}' more than once`,
          )
        }
        return this.#createTopic(topic, budget, options.validateOnly)
      },
    }))
    return this.#answer<CreateOutcome>(changes, options, (outcome) => ({
      ...outcome,
      ...NOT_CREATED,
    }))
  }

  async createPartitions(
    topics: readonly MorePartitions[],
    options: ChangeOptions,
  ): Promise<TopicOutcome[]> {
    const budget = { partitions: PARTITIONS_PER_REQUEST_MAX }
    const changes = uniqueByName(topics).map(({ topic, isRepeated }) => ({
      name: topic.name,
      run: async (): Promise<TopicOutcome> => {
        if (isRepeated) {
          throw new KafkaError(
            ErrorCode.INVALID_REQUEST,
            `The request names topic '${topic.name}' more than once`,
          )
        }
        await this.#createPartitions(topic, budget, options.validateOnly)
        return succeeded(topic.name)
      },
    }))
    return this.#answer(changes, options, (outcome) => outcome)
  }

  /** Deletes topics that the caller has found in the metadata. */
  deleteTopics(topics: readonly TopicImage[], timeoutMs: number): Promise<TopicOutcome[]> {
    const changes = topics.map((topic) => ({
      name: topic.name,
      run: async (): Promise<TopicOutcome> => {
        await this.#deleteTopic(topic)
        return succeeded(topic.name)
      },
    }))
    return this.#answer(changes, { timeoutMs, validateOnly: false }, (outcome) => outcome)
  }

  /**
   * Replaces the topic's own configs by what `change` makes of them. Throws KafkaError.
   */
  alterConfigs(
    name: string,
    change: (current: ReadonlyMap<string, string>) => ReadonlyMap<string, string>,
    validateOnly: boolean,
  ): Promise<void> {
    return this.#serial.run(async () => {
      const topic = this.#existing(name)
      const configs = change(topic.configs)
      this.#checkConfigs(configs)
      if (validateOnly) return
      await this.#asStorage(async () => {
        const entity = { type: 'topics', name } as const
        await this.#registry.writeConfig(entity, configs, ANY_VERSION)
        const image = { ...topic, configs }
        this.#metadata.putTopic(image)
        await this.#host.reconfigureTopic(name, this.effectiveConfig(image))
      })
    })
  }

  /** Hands every topic its effective config, after the broker's own has changed. */
  reconfigureAll(): Promise<void> {
    return this.#serial.run(async () => {
      for (const name of this.#metadata.topicNames()) {
        const image = this.#metadata.topic(name)
        if (image === undefined) continue
        await this.#host.reconfigureTopic(name, this.effectiveConfig(image))
      }
    })
  }

  /** The configuration that the topic's logs work with. */
  effectiveConfig(topic: TopicImage): TopicConfig {
    return effectiveTopicConfig(topic.configs, this.#texts)
  }

  async #loadTopic(name: string): Promise<void> {
    const topic = await this.#withTopicId(name)
    if (topic === null) return
    const config = await this.#registry.config({ type: 'topics', name })
    const states = new Map<number, Versioned<PartitionState>>()
    for (const entry of await this.#registry.partitionStates(name)) {
      states.set(entry.partition, entry)
    }
    await this.#elect(topic, states)
    const found = topic.partitions.map((_, partition) => states.get(partition))
    this.#takeName(name)
    this.#metadata.putTopic(imageOf(topic, config?.value ?? new Map(), found))
  }

  /** Gives a topic that was made by an old tool its id. */
  async #withTopicId(name: string): Promise<TopicRegistration | null> {
    const entry = await this.#registry.topic(name)
    if (entry === null || entry.value.topicId !== null) return entry?.value ?? null
    const topic = { ...entry.value, topicId: this.#createTopicId() }
    const written = await this.#registry.updateTopic(topic, entry.version)
    return written.ok ? topic : this.#withTopicId(name)
  }

  /** Leaders for partitions that have none: new ones, and those whose leader is not alive. */
  async #elect(
    topic: TopicRegistration,
    states: Map<number, Versioned<PartitionState>>,
  ): Promise<void> {
    const isAlive = (id: number): boolean => this.#metadata.isAlive(id)
    const wanted: number[] = []
    for (const partition of topic.partitions.keys()) {
      const state = states.get(partition)
      if (state === undefined || !isAlive(state.value.leader)) wanted.push(partition)
    }
    await inChunks(wanted, WRITES_TOGETHER, async (partition) => {
      const replicas = topic.partitions[partition] as readonly number[]
      const current = states.get(partition)
      const state = nextState(replicas, current?.value, isAlive, this.#controllerEpoch)
      if (state === null) return
      const written =
        current === undefined
          ? await this.#registry.createPartitionState(topic.name, partition, state)
          : await this.#registry.updatePartitionState(topic.name, partition, state, current.version)
      if (written.ok) states.set(partition, { value: state, version: written.version })
    })
  }

  async #createTopic(
    request: NewTopic,
    budget: { partitions: number },
    validateOnly: boolean,
  ): Promise<CreateOutcome> {
    const plan = this.#plan(request, budget)
    const { registration, configs } = plan
    if (!validateOnly) {
      this.#takeName(request.name)
      try {
        await this.#asStorage(() => this.#carryOut(plan))
      } catch (error) {
        this.#dropName(request.name)
        throw error
      }
    }
    return {
      ...succeeded(request.name),
      topicId: validateOnly ? ZERO_UUID : (registration.topicId ?? ZERO_UUID),
      numPartitions: registration.partitions.length,
      replicationFactor: registration.partitions[0]?.length ?? 0,
      configs: describeTopicConfig(configs, this.#texts, null),
    }
  }

  #plan(request: NewTopic, budget: { partitions: number }): TopicPlan {
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
    const configs = this.#checkConfigs(given)
    const registration = {
      name,
      topicId: this.#createTopicId(),
      partitions,
      addingReplicas: new Map(),
      removingReplicas: new Map(),
    }
    return { registration, configs }
  }

  #checkNewName(name: string): void {
    const wrong = wrongTopicName(name)
    if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)
    if (this.#metadata.topic(name) !== undefined) {
      throw new KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists`)
    }
    const alike = this.#namesByKey.get(collisionKey(name))
    if (alike !== undefined && alike.size > 0) {
      throw new KafkaError(
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        `Topic '${name}' collides with existing topics: ${[...alike].join(', ')}`,
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
    checkAssignment(assignment, (id) => this.#metadata.isAlive(id))
    return assignment
  }

  #ownAssignment(request: NewTopic, budget: { partitions: number }): (readonly number[])[] {
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
      brokerIds: this.#metadata.brokers.map((broker) => broker.brokerId),
      partitionCount: count,
      replicationFactor: factor,
      firstPartition: 0,
      random: this.#random,
    })
  }

  #checkConfigs(given: ReadonlyMap<string, string | null>): ReadonlyMap<string, string> {
    const wrong = wrongTopicConfig(given)
    if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_CONFIG, wrong)
    return given as ReadonlyMap<string, string>
  }

  async #carryOut(plan: TopicPlan): Promise<void> {
    const { registration, configs } = plan
    const { name } = registration
    if (this.#undeleted.has(name)) await this.#resumeDeletion(name)
    // The configs come first: once the topic is there, a restart takes it as it is.
    await this.#registry.writeConfig({ type: 'topics', name }, configs, ANY_VERSION)
    const created = await this.#registry.createTopic(registration)
    if (!created.ok) {
      throw new KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists`)
    }
    try {
      const states = new Map<number, Versioned<PartitionState>>()
      await this.#elect(registration, states)
      const found = registration.partitions.map((_, partition) => states.get(partition))
      const image = imageOf(registration, configs, found)
      await this.#host.openTopic(image, this.effectiveConfig(image))
      this.#metadata.putTopic(image)
    } catch (error) {
      await this.#undo(name)
      throw error
    }
    const partitions = registration.partitions.length
    this.#logger.info({ topic: name, topicId: registration.topicId, partitions }, 'created a topic')
  }

  /** Takes a topic back; if that fails too, the next attempt or a restart does it. */
  async #undo(name: string): Promise<void> {
    this.#undeleted.add(name)
    try {
      await this.#registry.requestTopicDeletion(name)
      await this.#host.deleteTopic(name)
      await this.#forget(name)
    } catch (error) {
      this.#logger.error({ err: error, topic: name }, 'a topic could not be taken back')
    }
  }

  async #createPartitions(
    request: MorePartitions,
    budget: { partitions: number },
    validateOnly: boolean,
  ): Promise<void> {
    const topic = this.#existing(request.name)
    const before = topic.partitions.length
    if (request.count <= before) {
      throw new KafkaError(
        ErrorCode.INVALID_PARTITIONS,
        request.count === before
          ? `Topic '${topic.name}' already has ${before} partitions`
          : `Topic '${topic.name}' has ${before} partitions, more than the requested ${request.count}`,
      )
    }
    spend(budget, request.count - before)
    const added = this.#addedReplicas(topic, request)
    if (!validateOnly) await this.#asStorage(() => this.#widen(topic, added))
  }

  #addedReplicas(topic: TopicImage, request: MorePartitions): readonly (readonly number[])[] {
    const before = topic.partitions.length
    const factor = topic.partitions[0]?.replicas.length ?? 1
    const given = request.assignments
    if (given === null) {
      return assignReplicas({
        brokerIds: this.#metadata.brokers.map((broker) => broker.brokerId),
        partitionCount: request.count - before,
        replicationFactor: factor,
        firstPartition: before,
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
    checkAssignment(added, (id) => this.#metadata.isAlive(id), factor)
    return added
  }

  async #widen(topic: TopicImage, added: readonly (readonly number[])[]): Promise<void> {
    const { name } = topic
    const entry = await this.#registry.topic(name)
    if (entry === null || entry.value.partitions.length !== topic.partitions.length) {
      throw new RegistryError('unavailable', `topic '${name}' is being changed by somebody else`)
    }
    const registration = { ...entry.value, partitions: [...entry.value.partitions, ...added] }
    const written = await this.#registry.updateTopic(registration, entry.version)
    if (!written.ok) {
      throw new RegistryError('unavailable', `topic '${name}' was changed at the same time`)
    }
    const states = new Map<number, Versioned<PartitionState>>()
    for (const state of await this.#registry.partitionStates(name)) {
      states.set(state.partition, state)
    }
    await this.#elect(registration, states)
    const found = registration.partitions.map((_, partition) => states.get(partition))
    const image = imageOf(registration, topic.configs, found)
    try {
      await this.#host.openTopic(image, this.effectiveConfig(image), topic.partitions.length)
    } finally {
      // They are in the registry: those whose logs do not open are partitions that are offline.
      this.#metadata.putTopic(image)
    }
    this.#logger.info({ topic: name, partitions: image.partitions.length }, 'widened a topic')
  }

  async #deleteTopic(topic: TopicImage): Promise<void> {
    const { name } = topic
    const current = this.#metadata.topic(name)
    if (current?.topicId !== topic.topicId) {
      throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    }
    await this.#asStorage(async () => {
      await this.#registry.requestTopicDeletion(name)
      this.#undeleted.add(name)
      this.#metadata.removeTopic(name)
      this.#dropName(name)
      await this.#host.deleteTopic(name)
      await this.#forget(name)
      this.#logger.info({ topic: name, topicId: topic.topicId }, 'deleted a topic')
    })
  }

  /** The registry's part of a deletion; the mark goes last. */
  async #forget(name: string): Promise<void> {
    await this.#registry.deleteTopic(name)
    await this.#registry.deleteConfig({ type: 'topics', name })
    await this.#registry.completeTopicDeletion(name)
    this.#undeleted.delete(name)
  }

  #existing(name: string): TopicImage {
    const topic = this.#metadata.topic(name)
    if (topic !== undefined) return topic
    throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic '${name}' does not exist`)
  }

  /** From here on no topic whose name collides with this one can be created. */
  #takeName(name: string): void {
    const key = collisionKey(name)
    const names = this.#namesByKey.get(key)
    if (names) names.add(name)
    else this.#namesByKey.set(key, new Set([name]))
  }

  #dropName(name: string): void {
    const key = collisionKey(name)
    const names = this.#namesByKey.get(key)
    names?.delete(name)
    if (names?.size === 0) this.#namesByKey.delete(key)
  }

  #createTopicId(): string {
    for (;;) {
      const bytes = this.#random.bytes(16)
      const topicId = bytes.toString('base64url')
      // Tools take a leading dash for an option; ids whose first half is zero are reserved.
      if (topicId.startsWith('-') || bytes.readBigUInt64BE(0) === 0n) continue
      return topicId
    }
  }

  /** A registry or a disk that fails is the fault of no request: the client is told, we log. */
  async #asStorage<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      if (error instanceof KafkaError) throw error
      this.#logger.error({ err: error }, 'a change of a topic failed')
      const what = error instanceof Error ? error.message : String(error)
      throw new KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, what)
    }
  }

  /**
   * Runs the changes of a request, after those of earlier requests, and answers each: with its outcome, its error, or, where it
   * takes longer than the caller waits, as timed out.
   */
  async #answer<O extends TopicOutcome>(
    changes: readonly { readonly name: string; readonly run: () => Promise<O> }[],
    options: ChangeOptions,
    failed: (outcome: TopicOutcome) => O,
  ): Promise<O[]> {
    const outcomes: (O | undefined)[] = changes.map(() => undefined)
    let begin = (): void => undefined
    const begun = new Promise<void>((resolve) => {
      begin = resolve
    })
    const all = this.#serial.run(() => {
      begin()
      return inChunks([...changes.entries()], CHANGES_TOGETHER, async ([i, { name, run }]) => {
        outcomes[i] = await run().catch((error: unknown) => failed(this.#failure(name, error)))
      })
    })
    if (options.validateOnly) {
      await all
    } else if (options.timeoutMs > 0) {
      await this.#waitAtMost(all, options.timeoutMs)
    } else {
      // The caller does not wait, but what is refused at once is told.
      await begun
      await new Promise((resolve) => setImmediate(resolve))
    }
    return outcomes.map((outcome, i) => outcome ?? failed(timedOut(changes[i]?.name ?? '')))
  }

  #failure(name: string, error: unknown): TopicOutcome {
    if (error instanceof KafkaError) {
      return { name, errorCode: error.errorCode, errorMessage: error.message }
    }
    this.#logger.error({ err: error, topic: name }, 'unexpected failure of a topic change')
    const errorCode = ErrorCode.UNKNOWN_SERVER_ERROR
    return { name, errorCode, errorMessage: errorMessage(errorCode) }
  }

  async #waitAtMost(all: Promise<unknown>, timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const timer = this.#timers.schedule(timeoutMs, resolve)
      all.then(() => {
        timer.cancel()
        resolve()
      }, reject)
    })
  }
}

const NOT_CREATED = {
  topicId: ZERO_UUID,
  numPartitions: -1,
  replicationFactor: -1,
  configs: [],
} as const

function succeeded(name: string): TopicOutcome {
  return { name, errorCode: ErrorCode.NONE, errorMessage: null }
}

function timedOut(name: string): TopicOutcome {
  return {
    name,
    errorCode: ErrorCode.REQUEST_TIMED_OUT,
    errorMessage: 'The change was begun, but is not complete yet',
  }
}

function spend(budget: { partitions: number }, count: number): void {
  if (count > budget.partitions) {
    throw new KafkaError(
      ErrorCode.POLICY_VIOLATION,
      `A request may create at most ${PARTITIONS_PER_REQUEST_MAX} partitions`,
    )
  }
  budget.partitions -= count
}

/** The first entry of each name, and whether there are more. */
function uniqueByName<T extends { readonly name: string }>(
  topics: readonly T[],
): { topic: T; isRepeated: boolean }[] {
  const found = new Map<string, { topic: T; isRepeated: boolean }>()
  for (const topic of topics) {
    const first = found.get(topic.name)
    if (first) first.isRepeated = true
    else found.set(topic.name, { topic, isRepeated: false })
  }
  return [...found.values()]
}

/** The state after an election, or null if no replica can lead. */
function nextState(
  replicas: readonly number[],
  current: PartitionState | undefined,
  isAlive: (brokerId: number) => boolean,
  controllerEpoch: number,
): PartitionState | null {
  if (current === undefined) {
    const isr = replicas.filter(isAlive)
    const leader = isr[0]
    return leader === undefined ? null : { leader, leaderEpoch: 0, isr, controllerEpoch }
  }
  const isr = current.isr.filter(isAlive)
  const leader = replicas.find((id) => isr.includes(id))
  if (leader === undefined) return null
  return { leader, leaderEpoch: current.leaderEpoch + 1, isr, controllerEpoch }
}

const NO_LEADER: Versioned<PartitionState> = {
  value: { leader: -1, leaderEpoch: 0, isr: [], controllerEpoch: 0 },
  version: 0,
}

function imageOf(
  topic: TopicRegistration,
  configs: ReadonlyMap<string, string>,
  states: readonly (Versioned<PartitionState> | undefined)[],
): TopicImage {
  const partitions = topic.partitions.map((replicas, partition): PartitionImage => {
    const { value, version } = states[partition] ?? NO_LEADER
    return {
      topic: topic.name,
      partition,
      leader: value.leader,
      leaderEpoch: value.leaderEpoch,
      partitionEpoch: version,
      controllerEpoch: value.controllerEpoch,
      replicas,
      isr: value.isr,
      offlineReplicas: [],
    }
  })
  const topicId = topic.topicId ?? ZERO_UUID
  return { name: topic.name, topicId, isInternal: isInternalTopic(topic.name), partitions, configs }
}

async function inChunks<T>(
  items: readonly T[],
  count: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  for (let start = 0; start < items.length; start += count) {
    await Promise.all(items.slice(start, start + count).map(task))
  }
}
