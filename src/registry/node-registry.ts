/**
 * ClusterRegistry on any NodeStore, in Apache Kafka's layout of nodes. Keeps no state of its own.
 */
import { type Clock, systemClock } from '../util/clock.ts'
import { type Logger, silentLogger } from '../util/logger.ts'
import { watchBrokersOf } from './broker-watch.ts'
import {
  ANY_VERSION,
  type BrokerRegistration,
  type ClusterRegistry,
  type ConfigEntity,
  type ConfigEntityType,
  type ConsumerRegistration,
  type ControllerRegistration,
  type IsrChange,
  type LogDirEvent,
  type PartitionState,
  type PartitionStateEntry,
  type PartitionStateUpdate,
  type ProducerIdBlock,
  type ReassignmentRequest,
  type RegisteredBroker,
  type RegisteredController,
  RegistryError,
  type TopicPartition,
  type TopicRegistration,
  type Unwatch,
  type Versioned,
  type WriteResult,
} from './cluster-registry.ts'
import { ConfigChangeReader } from './config-change-reader.ts'
import {
  decodeBroker,
  decodeClusterId,
  decodeConfig,
  decodeConsumer,
  decodeController,
  decodeInteger,
  decodeLogDirFailure,
  decodePartitionState,
  decodeProducerIdBlock,
  decodeReassignment,
  decodeTopic,
  decodeTopicPartitions,
  encodeBroker,
  encodeClusterId,
  encodeConfig,
  encodeConfigChange,
  encodeConsumer,
  encodeController,
  encodeLogDirFailure,
  encodePartitionState,
  encodeProducerIdBlock,
  encodeReassignment,
  encodeTopic,
  encodeTopicPartitions,
} from './node-data.ts'
import type { NodeStore, SessionState, StoredNode } from './node-store.ts'
import {
  BROKER_IDS_PATH,
  BROKER_SEQUENCE_PATH,
  brokerPath,
  CLUSTER_ID_PATH,
  CONFIG_CHANGE_PREFIX,
  CONSUMERS_PATH,
  CONTROLLER_EPOCH_PATH,
  CONTROLLER_PATH,
  configNameOf,
  configPath,
  configTypePath,
  consumerGroupPath,
  consumerIdPath,
  consumerIdsPath,
  consumerOffsetPath,
  consumerOffsetsPath,
  consumerOwnerPath,
  DELETE_TOPICS_PATH,
  deleteTopicPath,
  ISR_CHANGE_PREFIX,
  ISR_CHANGES_PATH,
  LOG_DIR_EVENT_PREFIX,
  LOG_DIR_EVENTS_PATH,
  PREFERRED_ELECTION_PATH,
  PRODUCER_ID_BLOCK_PATH,
  partitionStatePath,
  partitionsPath,
  REASSIGNMENT_PATH,
  TOPICS_PATH,
  topicPath,
} from './paths.ts'

/** `/partitions/0` stands between a topic and the state of its partition. */
const PARTITION_PARENTS = 2

export interface NodeRegistryOptions {
  readonly store: NodeStore
  readonly logger?: Logger
  readonly clock?: Clock
  /** Other brokers want to hear of new configs. */
  readonly isShared?: boolean
}

export class NodeRegistry implements ClusterRegistry {
  readonly #store: NodeStore
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #isShared: boolean

  constructor(options: NodeRegistryOptions) {
    this.#store = options.store
    this.#logger = options.logger ?? silentLogger
    this.#clock = options.clock ?? systemClock
    this.#isShared = options.isShared ?? false
  }

  get sessionState(): SessionState {
    return this.#store.sessionState
  }

  get sessionTimeoutMs(): number {
    return this.#store.sessionTimeoutMs
  }

  onSessionState(listener: (state: SessionState) => void): Unwatch {
    return this.#store.onSessionState(listener)
  }

  async ensureClusterId(proposed: string): Promise<string> {
    await this.#store.create(CLUSTER_ID_PATH, encodeClusterId(proposed))
    const node = await this.#store.get(CLUSTER_ID_PATH)
    if (node === null) throw new RegistryError('unavailable', 'the cluster id has vanished')
    return decodeClusterId(CLUSTER_ID_PATH, node.data)
  }

  async registerBroker(
    broker: BrokerRegistration,
  ): Promise<WriteResult & { brokerEpoch?: number }> {
    const path = brokerPath(broker.brokerId)
    const data = encodeBroker(broker)
    let result = await this.#store.create(path, data, { ephemeral: true })
    if (!result.ok) {
      const holder = await this.#store.get(path)
      if (holder?.endsWith !== 'this-session') return result
      // Made by an earlier attempt whose answer was lost. It would stay as long as this session.
      await this.#store.delete(path, holder.version)
      result = await this.#store.create(path, data, { ephemeral: true })
      if (!result.ok) return result
    }
    const node = await this.#store.get(path)
    return node === null
      ? { ok: false, reason: 'missing' }
      : { ...result, brokerEpoch: node.creationId }
  }

  async unregisterBroker(brokerId: number): Promise<void> {
    await this.#store.delete(brokerPath(brokerId), ANY_VERSION)
  }

  async fenceBroker(brokerId: number, brokerEpoch: number): Promise<void> {
    await this.#deleteCreation(brokerPath(brokerId), brokerEpoch)
  }

  async broker(brokerId: number): Promise<RegisteredBroker | null> {
    const node = await this.#store.get(brokerPath(brokerId))
    return node === null ? null : brokerOf(brokerId, node)
  }

  async brokers(): Promise<readonly RegisteredBroker[]> {
    const nodes = await this.#store.childNodes(BROKER_IDS_PATH)
    const brokers: RegisteredBroker[] = []
    for (const id of integersOf(nodes.keys())) {
      brokers.push(brokerOf(id, nodes.get(String(id)) as StoredNode))
    }
    return brokers
  }

  watchBroker(brokerId: number, listener: (broker: RegisteredBroker | null) => void): Unwatch {
    const path = brokerPath(brokerId)
    return this.#store.watchNode(path, (node) => {
      let broker: RegisteredBroker | null = null
      try {
        if (node !== null) broker = brokerOf(brokerId, node)
      } catch (error) {
        this.#skip(path, error)
      }
      listener(broker)
    })
  }

  watchBrokers(listener: (brokers: readonly RegisteredBroker[]) => void): Unwatch {
    return watchBrokersOf(this, this.#store, listener)
  }

  async createBrokerId(reservedMax: number): Promise<number> {
    await this.#store.create(BROKER_SEQUENCE_PATH, '')
    const result = await this.#store.setOnce(BROKER_SEQUENCE_PATH, '', ANY_VERSION)
    if (!result.ok) throw new RegistryError('unavailable', `${BROKER_SEQUENCE_PATH} has vanished`)
    return reservedMax + result.version
  }

  async topicNames(): Promise<readonly string[]> {
    return [...(await this.#store.children(TOPICS_PATH))].sort()
  }

  watchTopicNames(listener: (names: readonly string[]) => void): Unwatch {
    return this.#store.watchChildren(TOPICS_PATH, (names) => listener(names.toSorted()))
  }

  watchTopic(
    name: string,
    listener: (topic: Versioned<TopicRegistration> | null) => void,
  ): Unwatch {
    const path = topicPath(name)
    return this.#watch(
      path,
      versionedOf((data) => decodeTopic(path, name, data)),
      listener,
    )
  }

  async topic(name: string): Promise<Versioned<TopicRegistration> | null> {
    const path = topicPath(name)
    return this.#read(path, (data) => decodeTopic(path, name, data))
  }

  createTopic(topic: TopicRegistration): Promise<WriteResult> {
    return this.#store.create(topicPath(topic.name), encodeTopic(topic))
  }

  updateTopic(topic: TopicRegistration, expectedVersion: number): Promise<WriteResult> {
    return this.#store.set(topicPath(topic.name), encodeTopic(topic), expectedVersion)
  }

  async deleteTopic(name: string): Promise<void> {
    await this.#store.deleteTree(topicPath(name))
  }

  async topicDeletions(): Promise<readonly string[]> {
    return [...(await this.#store.children(DELETE_TOPICS_PATH))].sort()
  }

  watchTopicDeletions(listener: (names: readonly string[]) => void): Unwatch {
    return this.#store.watchChildren(DELETE_TOPICS_PATH, (names) => listener(names.toSorted()))
  }

  requestTopicDeletion(name: string): Promise<WriteResult> {
    return this.#store.create(deleteTopicPath(name), '')
  }

  async completeTopicDeletion(name: string): Promise<void> {
    await this.#store.delete(deleteTopicPath(name), ANY_VERSION)
  }

  async partitionState(
    topic: string,
    partition: number,
  ): Promise<Versioned<PartitionState> | null> {
    const path = partitionStatePath(topic, partition)
    return this.#read(path, (data) => decodePartitionState(path, data))
  }

  async partitionStates(topic: string): Promise<readonly PartitionStateEntry[]> {
    const partitions = integersOf(await this.#store.children(partitionsPath(topic)))
    const states = await Promise.all(partitions.map((one) => this.partitionState(topic, one)))
    const entries: PartitionStateEntry[] = []
    for (const [i, partition] of partitions.entries()) {
      const state = states[i]
      if (state) entries.push({ topic, partition, ...state })
    }
    return entries
  }

  createPartitionState(
    topic: string,
    partition: number,
    state: PartitionState,
  ): Promise<WriteResult> {
    return this.#store.create(partitionStatePath(topic, partition), encodePartitionState(state), {
      parentLevels: PARTITION_PARENTS,
    })
  }

  updatePartitionState(
    topic: string,
    partition: number,
    state: PartitionState,
    expectedVersion: number,
  ): Promise<WriteResult> {
    const path = partitionStatePath(topic, partition)
    return this.#store.set(path, encodePartitionState(state), expectedVersion)
  }

  async writePartitionStates(
    updates: readonly PartitionStateUpdate[],
    controllerEpoch: number,
  ): Promise<readonly WriteResult[]> {
    const current = await this.controllerEpoch()
    if (current !== controllerEpoch) {
      throw new RegistryError(
        'fenced',
        `the controller epoch is ${current}, not ${controllerEpoch} any more`,
      )
    }
    return Promise.all(
      updates.map(({ topic, partition, state, expectedVersion }) =>
        expectedVersion === null
          ? this.createPartitionState(topic, partition, state)
          : this.updatePartitionState(topic, partition, state, expectedVersion),
      ),
    )
  }

  async announceIsrChange(partitions: readonly TopicPartition[]): Promise<void> {
    await this.#store.createSequential(ISR_CHANGE_PREFIX, encodeTopicPartitions(partitions))
  }

  watchIsrChanges(listener: (changes: readonly IsrChange[]) => void): Unwatch {
    return this.#watchNotes(
      ISR_CHANGES_PATH,
      (path, id, data) => ({ id, partitions: decodeTopicPartitions(path, data) }),
      listener,
    )
  }

  completeIsrChanges(ids: readonly string[]): Promise<void> {
    return this.#deleteNotes(ISR_CHANGES_PATH, ids)
  }

  async announceLogDirFailure(brokerId: number): Promise<void> {
    await this.#store.createSequential(LOG_DIR_EVENT_PREFIX, encodeLogDirFailure(brokerId))
  }

  watchLogDirEvents(listener: (events: readonly LogDirEvent[]) => void): Unwatch {
    return this.#watchNotes(
      LOG_DIR_EVENTS_PATH,
      (path, id, data) => ({ id, brokerId: decodeLogDirFailure(path, data) }),
      listener,
    )
  }

  completeLogDirEvents(ids: readonly string[]): Promise<void> {
    return this.#deleteNotes(LOG_DIR_EVENTS_PATH, ids)
  }

  reassignmentRequest(): Promise<Versioned<readonly ReassignmentRequest[]> | null> {
    return this.#read(REASSIGNMENT_PATH, (data) => decodeReassignment(REASSIGNMENT_PATH, data))
  }

  requestReassignment(partitions: readonly ReassignmentRequest[]): Promise<WriteResult> {
    return this.#store.create(REASSIGNMENT_PATH, encodeReassignment(partitions))
  }

  async completeReassignmentRequest(expectedVersion: number): Promise<void> {
    await this.#store.delete(REASSIGNMENT_PATH, expectedVersion)
  }

  watchReassignmentRequest(
    listener: (request: Versioned<readonly ReassignmentRequest[]> | null) => void,
  ): Unwatch {
    const path = REASSIGNMENT_PATH
    return this.#watch(
      path,
      versionedOf((data) => decodeReassignment(path, data)),
      listener,
    )
  }

  preferredElectionRequest(): Promise<Versioned<readonly TopicPartition[]> | null> {
    const path = PREFERRED_ELECTION_PATH
    return this.#read(path, (data) => decodeTopicPartitions(path, data))
  }

  requestPreferredElection(partitions: readonly TopicPartition[]): Promise<WriteResult> {
    return this.#store.create(PREFERRED_ELECTION_PATH, encodeTopicPartitions(partitions))
  }

  async completePreferredElectionRequest(expectedVersion: number): Promise<void> {
    await this.#store.delete(PREFERRED_ELECTION_PATH, expectedVersion)
  }

  watchPreferredElectionRequest(
    listener: (request: Versioned<readonly TopicPartition[]> | null) => void,
  ): Unwatch {
    const path = PREFERRED_ELECTION_PATH
    return this.#watch(
      path,
      versionedOf((data) => decodeTopicPartitions(path, data)),
      listener,
    )
  }

  async config(entity: ConfigEntity): Promise<Versioned<ReadonlyMap<string, string>> | null> {
    const path = configPath(entity)
    return this.#read(path, (data) => decodeConfig(path, data))
  }

  async writeConfig(
    entity: ConfigEntity,
    values: ReadonlyMap<string, string>,
    expectedVersion: number,
  ): Promise<WriteResult> {
    const path = configPath(entity)
    const data = encodeConfig(values)
    const result = await this.#store.set(path, data, expectedVersion)
    if (result.ok || result.reason !== 'missing' || expectedVersion !== ANY_VERSION) return result
    const created = await this.#store.create(path, data)
    if (created.ok || created.reason !== 'exists') return created
    return this.#store.set(path, data, expectedVersion) // Created by somebody else in between.
  }

  async deleteConfig(entity: ConfigEntity): Promise<void> {
    await this.#store.delete(configPath(entity), ANY_VERSION)
  }

  async configNames(type: ConfigEntityType): Promise<readonly (string | null)[]> {
    const names = (await this.#store.children(configTypePath(type))).map(configNameOf)
    return names.sort((a, b) => (a ?? '').localeCompare(b ?? ''))
  }

  async announceConfigChange(entity: ConfigEntity): Promise<void> {
    if (!this.#isShared) return
    await this.#store.createSequential(CONFIG_CHANGE_PREFIX, encodeConfigChange(entity))
  }

  watchConfigChanges(listener: (entity: ConfigEntity) => void): Unwatch {
    const reader = new ConfigChangeReader({
      store: this.#store,
      clock: this.#clock,
      logger: this.#logger,
      listener,
    })
    return reader.start()
  }

  /** Empty as it is made with the tree, before the first block. */
  async producerIdBlock(): Promise<Versioned<ProducerIdBlock> | null> {
    const node = await this.#store.get(PRODUCER_ID_BLOCK_PATH)
    if (node === null || node.data === '') return null
    const value = decodeProducerIdBlock(PRODUCER_ID_BLOCK_PATH, node.data)
    return { value, version: node.version }
  }

  async writeProducerIdBlock(
    block: ProducerIdBlock,
    expectedVersion: number | null,
  ): Promise<WriteResult> {
    const path = PRODUCER_ID_BLOCK_PATH
    const data = encodeProducerIdBlock(block)
    if (expectedVersion !== null) return this.#store.set(path, data, expectedVersion)
    const created = await this.#store.create(path, data)
    if (created.ok) return created
    const node = await this.#store.get(path)
    return node?.data === '' ? this.#store.set(path, data, node.version) : created
  }

  async consumerOffset(group: string, topic: string, partition: number): Promise<number | null> {
    const path = consumerOffsetPath(group, topic, partition)
    const node = await this.#read(path, (data) => decodeInteger(path, data))
    return node === null ? null : node.value
  }

  async writeConsumerOffset(
    group: string,
    topic: string,
    partition: number,
    offset: number,
  ): Promise<void> {
    const path = consumerOffsetPath(group, topic, partition)
    const data = String(offset)
    const result = await this.#store.set(path, data, ANY_VERSION)
    if (result.ok) return
    const created = await this.#store.create(path, data, { parentLevels: PARTITION_PARENTS })
    if (!created.ok) await this.#store.set(path, data, ANY_VERSION)
  }

  async consumerGroups(): Promise<readonly string[]> {
    return (await this.#store.children(CONSUMERS_PATH)).toSorted()
  }

  async consumerTopics(group: string): Promise<readonly string[]> {
    return (await this.#store.children(consumerOffsetsPath(group))).toSorted()
  }

  async consumerOffsets(group: string, topic: string): Promise<ReadonlyMap<number, number>> {
    const partitions = integersOf(
      await this.#store.children(`${consumerOffsetsPath(group)}/${topic}`),
    )
    const offsets = new Map<number, number>()
    await Promise.all(
      partitions.map(async (partition) => {
        const offset = await this.consumerOffset(group, topic, partition)
        if (offset !== null) offsets.set(partition, offset)
      }),
    )
    return new Map([...offsets].sort(([a], [b]) => a - b))
  }

  registerConsumer(
    group: string,
    consumerId: string,
    registration: ConsumerRegistration,
  ): Promise<WriteResult> {
    return this.#store.create(consumerIdPath(group, consumerId), encodeConsumer(registration), {
      ephemeral: true,
    })
  }

  async unregisterConsumer(group: string, consumerId: string): Promise<void> {
    await this.#store.delete(consumerIdPath(group, consumerId), ANY_VERSION)
  }

  async consumers(group: string): Promise<ReadonlyMap<string, ConsumerRegistration>> {
    const nodes = await this.#store.childNodes(consumerIdsPath(group))
    const consumers = new Map<string, ConsumerRegistration>()
    for (const id of [...nodes.keys()].sort()) {
      const { data } = nodes.get(id) as StoredNode
      consumers.set(id, decodeConsumer(consumerIdPath(group, id), data))
    }
    return consumers
  }

  watchConsumers(group: string, listener: (consumerIds: readonly string[]) => void): Unwatch {
    return this.#store.watchChildren(consumerIdsPath(group), (ids) => listener(ids.toSorted()))
  }

  claimPartition(
    group: string,
    { topic, partition }: TopicPartition,
    streamId: string,
  ): Promise<WriteResult> {
    const path = consumerOwnerPath(group, topic, partition)
    return this.#store.create(path, streamId, { ephemeral: true })
  }

  async releasePartition(group: string, { topic, partition }: TopicPartition): Promise<void> {
    await this.#store.delete(consumerOwnerPath(group, topic, partition), ANY_VERSION)
  }

  async partitionOwner(
    group: string,
    { topic, partition }: TopicPartition,
  ): Promise<string | null> {
    const node = await this.#store.get(consumerOwnerPath(group, topic, partition))
    return node === null ? null : node.data
  }

  async deleteConsumerGroup(group: string): Promise<void> {
    await this.#store.deleteTree(consumerGroupPath(group))
  }

  async controller(): Promise<RegisteredController | null> {
    const node = await this.#store.get(CONTROLLER_PATH)
    return node === null ? null : controllerOf(node)
  }

  watchController(listener: (controller: RegisteredController | null) => void): Unwatch {
    return this.#watch(CONTROLLER_PATH, controllerOf, listener)
  }

  /**
   * The epoch is read before the candidate registers and raised after it, from what was read: who
   * was elected in between has raised it already, and this candidate steps back.
   */
  async electController(candidate: ControllerRegistration): Promise<number | null> {
    await this.#store.create(CONTROLLER_EPOCH_PATH, '0')
    const before = await this.#store.get(CONTROLLER_EPOCH_PATH)
    if (before === null) throw new RegistryError('unavailable', 'the controller epoch has vanished')
    const data = encodeController(candidate)
    const elected = await this.#store.create(CONTROLLER_PATH, data, { ephemeral: true })
    if (!elected.ok) return null
    const registered = await this.controller()
    if (registered === null || !registered.isThisSession) return null
    const epoch = decodeInteger(CONTROLLER_EPOCH_PATH, before.data) + 1
    try {
      const raised = await this.#store.setOnce(CONTROLLER_EPOCH_PATH, String(epoch), before.version)
      const current = await this.controller()
      if (raised.ok && current?.registrationId === registered.registrationId) return epoch
    } catch (error) {
      await this.fenceController(registered.registrationId)
      throw error
    }
    await this.fenceController(registered.registrationId)
    return null
  }

  async resignController(brokerId: number): Promise<void> {
    const registered = await this.controller()
    if (registered?.brokerId === brokerId) await this.fenceController(registered.registrationId)
  }

  async fenceController(registrationId: number): Promise<void> {
    await this.#deleteCreation(CONTROLLER_PATH, registrationId)
  }

  async controllerEpoch(): Promise<number> {
    const node = await this.#read(CONTROLLER_EPOCH_PATH, (data) =>
      decodeInteger(CONTROLLER_EPOCH_PATH, data),
    )
    return node?.value ?? 0
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async #read<T>(path: string, decode: (data: string) => T): Promise<Versioned<T> | null> {
    const node = await this.#store.get(path)
    return node === null ? null : { value: decode(node.data), version: node.version }
  }

  /** Deletes the node if it still is the one that was created then. */
  async #deleteCreation(path: string, creationId: number): Promise<void> {
    const node = await this.#store.get(path)
    if (node?.creationId === creationId) await this.#store.delete(path, node.version)
  }

  #watch<T>(
    path: string,
    decode: (node: StoredNode) => T,
    listener: (value: T | null) => void,
  ): Unwatch {
    return this.#store.watchNode(path, (node) => {
      let value: T | null
      try {
        value = node === null ? null : decode(node)
      } catch (error) {
        this.#skip(path, error)
        return
      }
      listener(value)
    })
  }

  #skip(path: string, error: unknown): void {
    if (!(error instanceof RegistryError) || error.kind !== 'corrupt') throw error
    this.#logger.error({ err: error, path }, 'a node of the registry cannot be read')
  }

  /** All notes that are there, each time that one comes or goes. */
  #watchNotes<T>(
    parent: string,
    decode: (path: string, id: string, data: string) => T,
    listener: (notes: readonly T[]) => void,
  ): Unwatch {
    let isWatched = true
    const unwatch = this.#store.watchChildren(parent, async () => {
      const nodes = await this.#store.childNodes(parent)
      const notes: T[] = []
      for (const id of [...nodes.keys()].sort()) {
        const path = `${parent}/${id}`
        try {
          notes.push(decode(path, id, (nodes.get(id) as StoredNode).data))
        } catch (error) {
          this.#skip(path, error)
        }
      }
      if (isWatched) listener(notes)
    })
    return () => {
      isWatched = false
      unwatch()
    }
  }

  async #deleteNotes(parent: string, ids: readonly string[]): Promise<void> {
    await Promise.all(ids.map((id) => this.#store.delete(`${parent}/${id}`, ANY_VERSION)))
  }
}

function brokerOf(brokerId: number, node: StoredNode): RegisteredBroker {
  const registration = decodeBroker(brokerPath(brokerId), brokerId, node.data)
  return { ...registration, brokerEpoch: node.creationId }
}

function controllerOf(node: StoredNode): RegisteredController {
  return {
    ...decodeController(CONTROLLER_PATH, node.data),
    registrationId: node.creationId,
    isThisSession: node.endsWith === 'this-session',
  }
}

function versionedOf<T>(decode: (data: string) => T): (node: StoredNode) => Versioned<T> {
  return (node) => ({ value: decode(node.data), version: node.version })
}

/** Those names that are whole numbers, in order. */
function integersOf(names: Iterable<string>): number[] {
  return [...names]
    .filter((name) => /^\d{1,10}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b)
}
