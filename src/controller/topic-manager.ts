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
import { describeTopicConfig, effectiveTopicConfig } from '../config/topic-settings.ts'
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
import { Serial } from './serial.ts'
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
import { TopicNames } from './topic-names.ts'
import {
  checkConfigs,
  createTopicId,
  PARTITIONS_PER_REQUEST_MAX,
  type PartitionBudget,
  type TopicPlan,
  TopicPlanner,
} from './topic-planner.ts'

export type {
  ChangeOptions,
  CreateOutcome,
  MorePartitions,
  NewTopic,
  TopicOutcome,
} from './topic-change.ts'

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

/** Registry writes that are asked for together. */
const WRITES_TOGETHER = 1000
/** Topics of one request that are worked on at the same time; they share syncs of the registry. */
const CHANGES_TOGETHER = 32

export class TopicManager {
  readonly #registry: ClusterRegistry
  readonly #metadata: MetadataCache
  readonly #host: TopicHost
  readonly #texts: LiveBrokerTexts
  readonly #random: Random
  readonly #timers: TimerQueue
  readonly #logger: Logger
  readonly #serial = new Serial()
  /** Topics whose deletion was begun and failed, here or before a restart. */
  readonly #undeleted = new Set<string>()
  readonly #names = new TopicNames()
  readonly #planner: TopicPlanner
  #controllerEpoch = 0

  constructor(options: TopicManagerOptions) {
    this.#registry = options.registry
    this.#metadata = options.metadata
    this.#host = options.host
    this.#texts = options.texts
    this.#random = options.random
    this.#timers = options.timers
    this.#logger = options.logger
    const { metadata } = options
    this.#planner = new TopicPlanner({
      config: options.config,
      random: options.random,
      view: {
        get brokers() {
          return metadata.brokers
        },
        isAlive: (id) => metadata.isAlive(id),
        hasTopic: (name) => metadata.topic(name) !== undefined,
        alike: (name) => this.#names.alike(name),
      },
    })
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
        if (isRepeated) throw namedTwice(topic.name)
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
        if (isRepeated) throw namedTwice(topic.name)
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
      checkConfigs(configs)
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
    this.#names.take(name)
    this.#metadata.putTopic(imageOf(topic, config?.value ?? new Map(), found))
  }

  /** Gives a topic that was made by an old tool its id. */
  async #withTopicId(name: string): Promise<TopicRegistration | null> {
    const entry = await this.#registry.topic(name)
    if (entry === null || entry.value.topicId !== null) return entry?.value ?? null
    const topic = { ...entry.value, topicId: createTopicId(this.#random) }
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
    budget: PartitionBudget,
    validateOnly: boolean,
  ): Promise<CreateOutcome> {
    const plan = this.#planner.plan(request, budget)
    const { registration, configs } = plan
    if (!validateOnly) {
      this.#names.take(request.name)
      try {
        await this.#asStorage(() => this.#carryOut(plan))
      } catch (error) {
        this.#names.drop(request.name)
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
    budget: PartitionBudget,
    validateOnly: boolean,
  ): Promise<void> {
    const topic = this.#existing(request.name)
    const current = topic.partitions.map((partition) => partition.replicas)
    const added = this.#planner.planMore(topic.name, current, request, budget)
    if (!validateOnly) await this.#asStorage(() => this.#widen(topic, added))
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
      this.#names.drop(name)
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
