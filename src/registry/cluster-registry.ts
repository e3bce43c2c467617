/**
 * What the cluster agrees on: brokers, topics, partition states, configs, the controller, blocks
 * of producer ids and the offsets of 0.8-era consumers.
 *
 * Shaped so that the same interface stands on an ensemble or on one broker's own disk: every write
 * stands alone (there are no transactions over several entries), every write may be conditional
 * on the version that was read, and changes are announced to watchers. Whoever changes two entries
 * orders the writes so that stopping between them leaves something that can be completed later.
 *
 * Main thread only.
 */

/** A value with the version that a conditional write must name. */
export interface Versioned<T> {
  readonly value: T
  readonly version: number
}

/** As an expected version: write whatever the current version is. */
export const ANY_VERSION = -1

/**
 * Outcome of a write that may be refused: it exists already, it does not exist, or somebody else
 * changed it since it was read. Anything else that goes wrong is thrown as a RegistryError.
 */
export type WriteResult =
  | { readonly ok: true; readonly version: number }
  | { readonly ok: false; readonly reason: 'exists' | 'missing' | 'version' }

/**
 * `unavailable`: the write or read could not be made, and the state is what it was before;
 * `closed`: the registry was closed; `corrupt`: an entry holds something that is not readable;
 * `invalid`: the caller gave a name or a value that cannot be stored.
 */
export type RegistryErrorKind = 'unavailable' | 'closed' | 'corrupt' | 'invalid'

export class RegistryError extends Error {
  readonly kind: RegistryErrorKind

  constructor(kind: RegistryErrorKind, message: string, options?: { cause: unknown }) {
    super(message, options)
    this.name = 'RegistryError'
    this.kind = kind
  }
}

export interface RegisteredEndpoint {
  readonly listenerName: string
  readonly securityProtocol: string
  readonly host: string
  readonly port: number
}

export interface BrokerRegistration {
  readonly brokerId: number
  readonly endpoints: readonly RegisteredEndpoint[]
  readonly rack: string | null
  readonly timestampMs: number
}

/** A live broker. Its epoch grows with every registration of any broker. */
export interface RegisteredBroker extends BrokerRegistration {
  readonly brokerEpoch: number
}

/** A topic and where its replicas are: `partitions[p]` lists the brokers of partition p. */
export interface TopicRegistration {
  readonly name: string
  /** 22 characters of URL-safe base64; null if a tool of the 0.8 era made the topic. */
  readonly topicId: string | null
  readonly partitions: readonly (readonly number[])[]
  readonly addingReplicas: ReadonlyMap<number, readonly number[]>
  readonly removingReplicas: ReadonlyMap<number, readonly number[]>
}

/** Its version in the registry is the partition epoch. */
export interface PartitionState {
  /** −1 if there is none. */
  readonly leader: number
  readonly leaderEpoch: number
  readonly isr: readonly number[]
  readonly controllerEpoch: number
}

export interface PartitionStateEntry extends Versioned<PartitionState> {
  readonly topic: string
  readonly partition: number
}

export type ConfigEntityType = 'topics' | 'brokers' | 'clients' | 'users' | 'ips'

export interface ConfigEntity {
  readonly type: ConfigEntityType
  /** null is the default of all entities of the type. */
  readonly name: string | null
}

/** Producer ids `start` to `end`, both included, belong to the broker for good. */
export interface ProducerIdBlock {
  readonly brokerId: number
  readonly start: number
  readonly end: number
}

export interface ControllerRegistration {
  readonly brokerId: number
  readonly timestampMs: number
}

export type RegistryChange =
  | { readonly type: 'broker'; readonly brokerId: number }
  | { readonly type: 'topic'; readonly topic: string }
  | { readonly type: 'partition'; readonly topic: string; readonly partition: number }
  | { readonly type: 'topic-deletion'; readonly topic: string }
  | { readonly type: 'config'; readonly entity: ConfigEntity }
  | { readonly type: 'controller' }

/**
 * All methods may throw a RegistryError. A list is in ascending order of its key.
 */
export interface ClusterRegistry {
  /** The cluster's id; `proposed` becomes it if there was none. */
  ensureClusterId(proposed: string): Promise<string>

  /** Announces a broker until `unregisterBroker` or the end of this session; its new epoch. */
  registerBroker(broker: BrokerRegistration): Promise<WriteResult & { brokerEpoch?: number }>
  unregisterBroker(brokerId: number): Promise<void>
  brokers(): Promise<readonly RegisteredBroker[]>

  topicNames(): Promise<readonly string[]>
  topic(name: string): Promise<Versioned<TopicRegistration> | null>
  createTopic(topic: TopicRegistration): Promise<WriteResult>
  updateTopic(topic: TopicRegistration, expectedVersion: number): Promise<WriteResult>
  /** Removes the states of its partitions, then the topic. Repeating it completes it. */
  deleteTopic(name: string): Promise<void>

  /** Topics whose deletion was asked for and is not complete. */
  topicDeletions(): Promise<readonly string[]>
  requestTopicDeletion(name: string): Promise<WriteResult>
  completeTopicDeletion(name: string): Promise<void>

  partitionState(topic: string, partition: number): Promise<Versioned<PartitionState> | null>
  /** Those of one topic, by partition; a partition without a state yet is left out. */
  partitionStates(topic: string): Promise<readonly PartitionStateEntry[]>
  createPartitionState(
    topic: string,
    partition: number,
    state: PartitionState,
  ): Promise<WriteResult>
  updatePartitionState(
    topic: string,
    partition: number,
    state: PartitionState,
    expectedVersion: number,
  ): Promise<WriteResult>

  config(entity: ConfigEntity): Promise<Versioned<ReadonlyMap<string, string>> | null>
  /** Creates or replaces it; conditional unless the version is ANY_VERSION. */
  writeConfig(
    entity: ConfigEntity,
    values: ReadonlyMap<string, string>,
    expectedVersion: number,
  ): Promise<WriteResult>
  deleteConfig(entity: ConfigEntity): Promise<void>

  /** The block that was taken last, by any broker. */
  producerIdBlock(): Promise<Versioned<ProducerIdBlock> | null>
  /** `expectedVersion` null: there must be none yet. */
  writeProducerIdBlock(block: ProducerIdBlock, expectedVersion: number | null): Promise<WriteResult>

  /** What OffsetFetch v0 reads; metadata of a commit is not kept there. */
  consumerOffset(group: string, topic: string, partition: number): Promise<number | null>
  writeConsumerOffset(
    group: string,
    topic: string,
    partition: number,
    offset: number,
  ): Promise<void>

  controller(): Promise<ControllerRegistration | null>
  /**
   * Makes the broker the controller if there is none; the new controller epoch, or null if
   * another broker is or has just become the controller.
   */
  electController(candidate: ControllerRegistration): Promise<number | null>
  resignController(brokerId: number): Promise<void>
  /** 0 before the first election. */
  controllerEpoch(): Promise<number>

  /** Calls `listener` after each change, in the order of the changes; returns how to stop it. */
  watch(listener: (change: RegistryChange) => void): () => void
  close(): Promise<void>
}
