/**
 * Creates and widens topics, and takes up those that tools write into the registry.
 *
 * Order of the writes: config, topic, states. Stopped after any of them, the topic is either not
 * there (its config waits for one), or is found by the next controller, which writes what is
 * missing of its states. All topics of a request go through each step together.
 */
import { describeTopicConfig } from '../config/topic-settings.ts'
import { ErrorCode, errorMessage, KafkaError } from '../protocol/error-codes.ts'
import { ZERO_UUID } from '../protocol/schema.ts'
import {
  ANY_VERSION,
  RegistryError,
  type TopicRegistration,
  type Unwatch,
  type Versioned,
} from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import type { BrokerChanges } from './broker-changes.ts'
import { type PartitionEntry, TopicEntry } from './controller-context.ts'
import { readRegistration, readTopics } from './read-topics.ts'
import { SharedEvent } from './shared-event.ts'
import {
  type ChangeOptions,
  type CreateOutcome,
  type MorePartitions,
  type NewTopic,
  NOT_CREATED,
  namedTwice,
  succeeded,
  type TopicOutcome,
  timedOut,
  uniqueByName,
} from './topic-change.ts'
import type { TopicDeletions } from './topic-deletions.ts'
import { PARTITIONS_PER_REQUEST_MAX, type TopicPlan, TopicPlanner } from './topic-planner.ts'

/** How long a creation waits for the end of a topic of the same name. */
const NAME_WAIT_MS = 5000
/** Topics of several requests that are created together. */
const CREATIONS_TOGETHER = 10_000

/** One topic of a request, and what became of it so far. */
interface Change<T, P, O extends TopicOutcome> {
  readonly name: string
  readonly request: T
  readonly isRepeated: boolean
  plan: P | null
  /** Partitions that brokers must have been told of before the request is answered. */
  created: readonly PartitionEntry[]
  outcome: O | null
}

type Creation = Change<NewTopic, TopicPlan, CreateOutcome>
type Widening = Change<MorePartitions, readonly (readonly number[])[], TopicOutcome>

/** What one kind of change does at each step. */
interface Steps<C, O> {
  plan(change: C): void
  readonly event: SharedEvent<C>
  succeeded(change: C): O
  failed(outcome: TopicOutcome): O
  /** Brokers could not do what was carried out. */
  undo?(change: C): void
}

export class TopicChanges {
  readonly #active: ActiveController
  readonly #brokers: BrokerChanges
  readonly #deletions: TopicDeletions
  readonly #planner: TopicPlanner
  readonly #watches = new Map<TopicEntry, Unwatch>()
  readonly #creations: SharedEvent<Creation>
  readonly #widenings: SharedEvent<Widening>

  constructor(options: {
    readonly active: ActiveController
    readonly brokers: BrokerChanges
    readonly deletions: TopicDeletions
  }) {
    const { active } = options
    this.#active = active
    this.#brokers = options.brokers
    this.#deletions = options.deletions
    this.#creations = new SharedEvent({
      active,
      changesMax: CREATIONS_TOGETHER,
      carryOut: (changes) => this.#create(changes),
    })
    // Two requests for the same topic must not be planned from the same number of partitions.
    this.#widenings = new SharedEvent({
      active,
      changesMax: 1,
      carryOut: (changes) => this.#widen(changes),
    })
    const { context } = active
    this.#planner = new TopicPlanner({
      config: active.config,
      random: active.random,
      view: {
        get brokers() {
          return [...context.liveBrokers.values()].sort((a, b) => a.brokerId - b.brokerId)
        },
        isAlive: (id) => context.liveBrokers.has(id),
        // Also one that an earlier request of the same event creates.
        hasTopic: (name) => context.names.alike(name).includes(name),
        alike: (name) => context.names.alike(name),
      },
    })
    active.atEnd(() => {
      for (const unwatch of this.#watches.values()) unwatch()
      this.#watches.clear()
    })
  }

  /** One outcome per name, in the order of the request. */
  create(topics: readonly NewTopic[], options: ChangeOptions): Promise<CreateOutcome[]> {
    const { context, texts } = this.#active
    const budget = { partitions: PARTITIONS_PER_REQUEST_MAX }
    return this.#answer<NewTopic, TopicPlan, CreateOutcome>(topics, options, {
      plan: (change) => {
        change.plan = this.#planner.plan(change.request, budget)
        // Others of this request must not collide with it.
        context.names.take(change.name)
      },
      event: this.#creations,
      succeeded: ({ name, plan }) => ({
        ...succeeded(name),
        topicId: options.validateOnly ? ZERO_UUID : (plan?.registration.topicId ?? ZERO_UUID),
        numPartitions: plan?.registration.partitions.length ?? -1,
        replicationFactor: plan?.registration.partitions[0]?.length ?? 0,
        configs: describeTopicConfig(plan?.configs ?? new Map(), texts, null),
      }),
      failed: (outcome) => ({ ...outcome, ...NOT_CREATED }),
      undo: ({ created, outcome }) => {
        const topic = created[0]?.topic
        const isBroken = outcome?.errorCode === ErrorCode.KAFKA_STORAGE_ERROR
        if (topic && isBroken) this.#deletions.takeBack(topic)
      },
    })
  }

  widen(topics: readonly MorePartitions[], options: ChangeOptions): Promise<TopicOutcome[]> {
    const budget = { partitions: PARTITIONS_PER_REQUEST_MAX }
    return this.#answer<MorePartitions, readonly (readonly number[])[], TopicOutcome>(
      topics,
      options,
      {
        plan: (change) => {
          const topic = this.#existing(change.name)
          change.plan = this.#planner.planMore(topic.name, topic.assignment, change.request, budget)
        },
        event: this.#widenings,
        succeeded: ({ name }) => succeeded(name),
        failed: (outcome) => outcome,
      },
    )
  }

  /**
   * Plans and carries out the changes of a request in one event, then answers each: with its
   * outcome, its error, or, where brokers take longer than the caller waits, as timed out.
   */
  async #answer<T extends { readonly name: string }, P, O extends TopicOutcome>(
    topics: readonly T[],
    options: ChangeOptions,
    steps: Steps<Change<T, P, O>, O>,
  ): Promise<O[]> {
    const changes = uniqueByName(topics).map(
      ({ topic, isRepeated }): Change<T, P, O> => ({
        ...{ name: topic.name, request: topic, isRepeated },
        ...{ plan: null, created: [], outcome: null },
      }),
    )
    let planned = (): void => undefined
    const isPlanned = new Promise<void>((resolve) => {
      planned = resolve
    })
    const done = this.#carryOut(changes, options, steps, planned)
    if (options.validateOnly) await done
    else if (options.timeoutMs > 0) await this.#active.atMost(options.timeoutMs, done)
    // The caller does not wait, but what is refused at once is told.
    else await Promise.race([isPlanned, done])
    return changes.map(({ name, outcome }) => outcome ?? steps.failed(timedOut(name)))
  }

  async #carryOut<T extends { readonly name: string }, P, O extends TopicOutcome>(
    changes: readonly Change<T, P, O>[],
    options: ChangeOptions,
    steps: Steps<Change<T, P, O>, O>,
    planned: () => void,
  ): Promise<void> {
    if (options.timeoutMs > 0) {
      // A name is free again when the topic that had it is gone, which a dead broker may hold up.
      const names = changes.map(({ name }) => this.#deletions.gone(name))
      const waitMs = Math.min(NAME_WAIT_MS, options.timeoutMs / 2)
      await this.#active.atMost(waitMs, Promise.all(names))
    }
    try {
      await steps.event.run(changes.length, () => {
        for (const change of changes) {
          this.#attempt(change, steps, () => {
            if (change.isRepeated) throw namedTwice(change.name)
            steps.plan(change)
          })
        }
        planned()
        if (options.validateOnly) this.#dropNames(changes)
        return options.validateOnly ? [] : changes.filter((change) => change.outcome === null)
      })
    } catch (error) {
      for (const change of changes) {
        change.outcome ??= steps.failed(this.#failure(change.name, error))
      }
    }
    await Promise.all(
      changes.map(async (change) => {
        if (change.outcome !== null) return
        try {
          if (!options.validateOnly) await this.#active.told(change.created)
          change.outcome = steps.succeeded(change)
        } catch (error) {
          change.outcome = steps.failed(this.#failure(change.name, error))
          steps.undo?.(change)
        }
      }),
    )
  }

  #attempt<T, P, O extends TopicOutcome>(
    change: Change<T, P, O>,
    steps: Steps<Change<T, P, O>, O>,
    step: () => void,
  ): void {
    try {
      step()
    } catch (error) {
      change.outcome = steps.failed(this.#failure(change.name, error))
    }
  }

  /** Names that were taken for topics that are not created after all. */
  #dropNames(changes: readonly { readonly name: string; readonly plan: unknown }[]): void {
    const { context } = this.#active
    for (const { name, plan } of changes) {
      if (plan !== null && !context.topics.has(name)) context.names.drop(name)
    }
  }

  #failure(name: string, error: unknown): TopicOutcome {
    if (error instanceof KafkaError) {
      return { name, errorCode: error.errorCode, errorMessage: error.message }
    }
    if (!(error instanceof RegistryError)) throw error
    this.#active.logger.error({ err: error, topic: name }, 'a change of a topic failed')
    const errorCode =
      error.kind === 'fenced' || error.kind === 'closed'
        ? ErrorCode.NOT_CONTROLLER
        : ErrorCode.KAFKA_STORAGE_ERROR
    const text = errorCode === ErrorCode.NOT_CONTROLLER ? errorMessage(errorCode) : error.message
    return { name, errorCode, errorMessage: text }
  }

  async #create(changes: readonly Creation[]): Promise<void> {
    const { context } = this.#active
    try {
      await Promise.all(changes.map((change) => this.#register(change)))
      const created = changes.flatMap((change) => change.created)
      await this.#brokers.electOffline(created)
      for (const { plan, created: partitions } of changes) {
        if (plan === null || partitions.length === 0) continue
        const { name: topic, topicId } = plan.registration
        const fields = { topic, topicId, partitions: partitions.length }
        this.#active.logger.info(fields, 'created a topic')
      }
    } finally {
      for (const { name } of changes) if (!context.topics.has(name)) context.names.drop(name)
    }
  }

  async #register(change: Creation): Promise<void> {
    const { registry, context } = this.#active
    const { registration, configs } = change.plan as TopicPlan
    const { name } = registration
    try {
      const config = registry.writeConfig({ type: 'topics', name }, configs, ANY_VERSION)
      // A config without values says no more than none: only others have to be there before.
      if (configs.size > 0) await config
      this.#active.check()
      const [written] = await Promise.all([registry.createTopic(registration), config])
      this.#active.check()
      if (!written.ok) {
        throw new KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists`)
      }
      const topic = new TopicEntry({ value: registration, version: written.version }, configs)
      context.names.drop(name)
      context.addTopic(topic)
      this.#watch(topic)
      change.created = topic.partitions
    } catch (error) {
      change.outcome = { ...this.#failure(name, error), ...NOT_CREATED }
      // Somebody has to look what was written and what was not.
      if (error instanceof RegistryError) this.#active.recover()
    }
  }

  #existing(name: string): TopicEntry {
    const topic = this.#active.context.topics.get(name)
    if (topic === undefined || topic.isDeleting) {
      throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic '${name}' does not exist`)
    }
    if (topic.partitions.some((partition) => partition.isReassigning)) {
      throw new KafkaError(
        ErrorCode.REASSIGNMENT_IN_PROGRESS,
        `Partitions of topic '${name}' are being reassigned`,
      )
    }
    return topic
  }

  async #widen(changes: readonly Widening[]): Promise<void> {
    await Promise.all(changes.map((change) => this.#addPartitions(change)))
    await this.#brokers.electOffline(changes.flatMap((change) => change.created))
  }

  async #addPartitions(change: Widening): Promise<void> {
    const { name } = change
    try {
      const topic = this.#existing(name)
      const before = topic.partitions.length
      const partitions = [...topic.assignment, ...(change.plan ?? [])]
      const registration = { ...topic.registration, partitions }
      const written = await this.#active.registry.updateTopic(registration, topic.version)
      this.#active.check()
      if (!written.ok) {
        this.#active.enqueue('a topic that changed', () => this.#reread(topic))
        throw new RegistryError('unavailable', `topic '${name}' was changed at the same time`)
      }
      topic.update(registration, written.version)
      change.created = topic.partitions.slice(before)
      const count = topic.partitions.length
      this.#active.logger.info({ topic: name, partitions: count }, 'widened a topic')
    } catch (error) {
      change.outcome = this.#failure(name, error)
      if (error instanceof RegistryError) this.#active.recover()
    }
  }

  /** The topics that there are. Those that this controller does not know were written by a tool. */
  async listed(names: readonly string[]): Promise<void> {
    const { context } = this.#active
    const unknown = names.filter((name) => !context.topics.has(name))
    if (names.length - unknown.length < context.topics.size) await this.#lookForVanished(names)
    if (unknown.length === 0) return
    const topics = await readTopics(this.#active, unknown)
    this.#active.check()
    for (const topic of topics) this.adopt(topic)
    const fields = { topics: topics.map((topic) => topic.name) }
    this.#active.logger.info(fields, 'topics were created in the registry')
    await this.#brokers.electOffline(topics.flatMap((topic) => topic.partitions))
  }

  async #lookForVanished(names: readonly string[]): Promise<void> {
    const there = new Set(names)
    for (const topic of [...this.#active.context.topics.values()]) {
      if (!there.has(topic.name) && !topic.isDeleting) await this.#vanished(topic)
    }
  }

  /** A topic whose node somebody has deleted. Its logs stay where they are. */
  async #vanished(topic: TopicEntry): Promise<void> {
    if ((await this.#active.registry.topic(topic.name)) !== null) return
    this.#active.check()
    this.#active.logger.warn({ topic: topic.name }, 'a topic has vanished from the registry')
    this.forget(topic)
  }

  /** Takes a topic out of what is known, and tells brokers that it is gone. */
  forget(topic: TopicEntry): void {
    topic.isDeleting = true
    this.#active.context.removeTopic(topic)
    this.#unwatch(topic)
    for (const partition of topic.partitions) this.#active.tellMetadata(partition)
  }

  adopt(topic: TopicEntry): void {
    this.#active.context.addTopic(topic)
    this.#watch(topic)
  }

  /** Drops the watches of topics whose entries are replaced. */
  reset(): void {
    for (const unwatch of this.#watches.values()) unwatch()
    this.#watches.clear()
  }

  #watch(topic: TopicEntry): void {
    const unwatch = this.#active.registry.watchTopic(topic.name, (found) => {
      if (found === null) this.#unwatch(topic)
      else if (found.version > topic.version || found.value.topicId === null) {
        this.#active.enqueue('a topic that changed', () => this.#reread(topic))
      }
    })
    this.#watches.set(topic, unwatch)
  }

  #unwatch(topic: TopicEntry): void {
    this.#watches.get(topic)?.()
    this.#watches.delete(topic)
  }

  /** Partitions that a tool has added get their first state. */
  async #reread(topic: TopicEntry): Promise<void> {
    if (topic.isDeleting || this.#active.context.topics.get(topic.name) !== topic) return
    const found = await readRegistration(this.#active, topic.name, topic.topicId)
    this.#active.check()
    if (found === null || found.version <= topic.version) return
    this.#merge(topic, found)
    const added = topic.partitions.filter((partition) => partition.state === null)
    await this.#active.reread(added)
    await this.#brokers.electOffline(added)
  }

  #merge(topic: TopicEntry, { value, version }: Versioned<TopicRegistration>): void {
    // Replicas that are assigned move by a reassignment only, whatever a tool has written.
    const kept = topic.assignment.map((replicas) => replicas)
    const partitions = [...kept, ...value.partitions.slice(kept.length)]
    const { addingReplicas, removingReplicas } = topic
    topic.update({ ...value, partitions, addingReplicas, removingReplicas }, version)
  }

  /** The config of a topic was announced to have changed. */
  async configChanged(name: string): Promise<void> {
    const topic = this.#active.context.topics.get(name)
    if (topic === undefined) return
    const config = await this.#active.registry.config({ type: 'topics', name })
    this.#active.check()
    topic.configs = config?.value ?? new Map()
  }
}
