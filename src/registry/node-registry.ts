/**
 * ClusterRegistry on any NodeStore, in Apache Kafka's layout of nodes. Keeps no state of its own.
 */
import {
  ANY_VERSION,
  type BrokerRegistration,
  type ClusterRegistry,
  type ConfigEntity,
  type ControllerRegistration,
  type PartitionState,
  type PartitionStateEntry,
  type ProducerIdBlock,
  type RegisteredBroker,
  type RegistryChange,
  RegistryError,
  type TopicRegistration,
  type Versioned,
  type WriteResult,
} from './cluster-registry.ts'
import {
  decodeBroker,
  decodeClusterId,
  decodeConfig,
  decodeController,
  decodeInteger,
  decodePartitionState,
  decodeProducerIdBlock,
  decodeTopic,
  encodeBroker,
  encodeClusterId,
  encodeConfig,
  encodeController,
  encodePartitionState,
  encodeProducerIdBlock,
  encodeTopic,
} from './node-data.ts'
import type { NodeStore } from './node-store.ts'
import {
  BROKER_IDS_PATH,
  brokerIdOf,
  brokerPath,
  CLUSTER_ID_PATH,
  CONTROLLER_EPOCH_PATH,
  CONTROLLER_PATH,
  configEntityOf,
  configPath,
  consumerOffsetPath,
  DELETE_TOPICS_PATH,
  deleteTopicPath,
  PRODUCER_ID_BLOCK_PATH,
  partitionStatePath,
  partitionsPath,
  TOPICS_PATH,
  topicDeletionOf,
  topicOf,
  topicPartitionOf,
  topicPath,
} from './paths.ts'

export class NodeRegistry implements ClusterRegistry {
  readonly #store: NodeStore

  constructor(store: NodeStore) {
    this.#store = store
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
    const result = await this.#store.create(path, encodeBroker(broker), { ephemeral: true })
    if (!result.ok) return result
    const node = await this.#store.get(path)
    return node === null
      ? { ok: false, reason: 'missing' }
      : { ...result, brokerEpoch: node.creationId }
  }

  async unregisterBroker(brokerId: number): Promise<void> {
    await this.#store.delete(brokerPath(brokerId), ANY_VERSION)
  }

  async brokers(): Promise<readonly RegisteredBroker[]> {
    const ids = (await this.#store.children(BROKER_IDS_PATH)).map(Number)
    const brokers: RegisteredBroker[] = []
    for (const id of ids.filter(Number.isSafeInteger).sort((a, b) => a - b)) {
      const path = brokerPath(id)
      const node = await this.#store.get(path)
      if (node === null) continue // Gone since the list was read.
      brokers.push({ ...decodeBroker(path, id, node.data), brokerEpoch: node.creationId })
    }
    return brokers
  }

  async topicNames(): Promise<readonly string[]> {
    return [...(await this.#store.children(TOPICS_PATH))].sort()
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
    await this.#deleteTree(topicPath(name))
  }

  async topicDeletions(): Promise<readonly string[]> {
    return [...(await this.#store.children(DELETE_TOPICS_PATH))].sort()
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
    const partitions = (await this.#store.children(partitionsPath(topic))).map(Number)
    const states: PartitionStateEntry[] = []
    for (const partition of partitions.filter(Number.isSafeInteger).sort((a, b) => a - b)) {
      const state = await this.partitionState(topic, partition)
      if (state !== null) states.push({ topic, partition, ...state })
    }
    return states
  }

  createPartitionState(
    topic: string,
    partition: number,
    state: PartitionState,
  ): Promise<WriteResult> {
    return this.#store.create(partitionStatePath(topic, partition), encodePartitionState(state))
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

  producerIdBlock(): Promise<Versioned<ProducerIdBlock> | null> {
    return this.#read(PRODUCER_ID_BLOCK_PATH, (data) =>
      decodeProducerIdBlock(PRODUCER_ID_BLOCK_PATH, data),
    )
  }

  writeProducerIdBlock(
    block: ProducerIdBlock,
    expectedVersion: number | null,
  ): Promise<WriteResult> {
    const data = encodeProducerIdBlock(block)
    return expectedVersion === null
      ? this.#store.create(PRODUCER_ID_BLOCK_PATH, data)
      : this.#store.set(PRODUCER_ID_BLOCK_PATH, data, expectedVersion)
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
    const created = await this.#store.create(path, data)
    if (!created.ok) await this.#store.set(path, data, ANY_VERSION)
  }

  controller(): Promise<ControllerRegistration | null> {
    return this.#read(CONTROLLER_PATH, (data) => decodeController(CONTROLLER_PATH, data)).then(
      (node) => node?.value ?? null,
    )
  }

  async electController(candidate: ControllerRegistration): Promise<number | null> {
    const data = encodeController(candidate)
    const elected = await this.#store.create(CONTROLLER_PATH, data, { ephemeral: true })
    if (!elected.ok) return null
    const epoch = await this.#raiseControllerEpoch()
    if (epoch === null) await this.resignController(candidate.brokerId)
    return epoch
  }

  /** The first epoch is 1; null if somebody else raised it at the same time. */
  async #raiseControllerEpoch(): Promise<number | null> {
    const current = await this.#read(CONTROLLER_EPOCH_PATH, (data) =>
      decodeInteger(CONTROLLER_EPOCH_PATH, data),
    )
    const epoch = (current?.value ?? 0) + 1
    const written =
      current === null
        ? await this.#store.create(CONTROLLER_EPOCH_PATH, String(epoch))
        : await this.#store.set(CONTROLLER_EPOCH_PATH, String(epoch), current.version)
    return written.ok ? epoch : null
  }

  async resignController(brokerId: number): Promise<void> {
    const node = await this.#read(CONTROLLER_PATH, (data) =>
      decodeController(CONTROLLER_PATH, data),
    )
    if (node === null || node.value.brokerId !== brokerId) return
    await this.#store.delete(CONTROLLER_PATH, node.version)
  }

  async controllerEpoch(): Promise<number> {
    const node = await this.#read(CONTROLLER_EPOCH_PATH, (data) =>
      decodeInteger(CONTROLLER_EPOCH_PATH, data),
    )
    return node?.value ?? 0
  }

  watch(listener: (change: RegistryChange) => void): () => void {
    return this.#store.watch((path) => {
      const change = changeOf(path)
      if (change !== null) listener(change)
    })
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async #read<T>(path: string, decode: (data: string) => T): Promise<Versioned<T> | null> {
    const node = await this.#store.get(path)
    return node === null ? null : { value: decode(node.data), version: node.version }
  }

  async #deleteTree(path: string): Promise<void> {
    for (const child of await this.#store.children(path)) {
      await this.#deleteTree(`${path}/${child}`)
    }
    await this.#store.delete(path, ANY_VERSION)
  }
}

function changeOf(path: string): RegistryChange | null {
  const state = topicPartitionOf(path)
  if (state !== null) return { type: 'partition', ...state }
  const topic = topicOf(path)
  if (topic !== null) return { type: 'topic', topic }
  const entity = configEntityOf(path)
  if (entity !== null) return { type: 'config', entity }
  const deletion = topicDeletionOf(path)
  if (deletion !== null) return { type: 'topic-deletion', topic: deletion }
  const brokerId = brokerIdOf(path)
  if (brokerId !== null) return { type: 'broker', brokerId }
  return path === CONTROLLER_PATH ? { type: 'controller' } : null
}
