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
import type { SessionState } from './node-store.ts'

export type { SessionState } from './node-store.ts'

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
 * `fenced`: another controller has been elected since, and nothing was written;
 * `unavailable`: the write or read could not be made, and the state is what it was before;
 * `uncertain`: the answer was lost, and nobody can tell whether the write was made;
 * `closed`: the registry was closed; `corrupt`: an entry holds something that is not readable;
 * `invalid`: the caller gave a name or a value that cannot be stored.
 */
export type RegistryErrorKind =
  | 'fenced'
  | 'unavailable'
  | 'uncertain'
  | 'closed'
  | 'corrupt'
  | 'invalid'

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
  /**
   * What was not synced may be gone from the ends of its logs, because its machine went down: a
   * number of that loss. Others tell by it whether the broker has caught up since.
   */
  readonly lostTail?: number
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
  /** The leader was elected from outside the ISR and has not settled what was lost. */
  readonly isRecovering?: boolean
  /**
   * Replicas that left the ISR while it was below min.insync.replicas: they have every record that
   * was committed (KIP-966). Apache Kafka ignores it.
   */
  readonly eligibleLeaders?: readonly number[]
  /**
   * Of replicas in the ISR whose broker registered with a lost tail: the number of the loss after which
   * they have joined the ISR again. Apache Kafka ignores it.
   */
  readonly rejoined?: ReadonlyMap<number, number>
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

/** The controller as it is registered. */
export interface RegisteredController extends ControllerRegistration {
  /** Grows with every election; not the controller epoch. */
  readonly registrationId: number
  /** Registered by this process, in its present session. */
  readonly isThisSession: boolean
}

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

export interface PartitionStateUpdate extends TopicPartition {
  readonly state: PartitionState
  /** null: there must be none yet. */
  readonly expectedVersion: number | null
}

/** What a leader, or a broker with a failed disk, leaves for the controller to see. */
export interface IsrChange {
  readonly id: string
  readonly partitions: readonly TopicPartition[]
}

export interface LogDirEvent {
  readonly id: string
  readonly brokerId: number
}

/** A partition that is asked to move; `replicas` is where to. */
export interface ReassignmentRequest extends TopicPartition {
  readonly replicas: readonly number[]
}

/** A consumer of the 0.8 era, which shares out partitions through the registry. */
export interface ConsumerRegistration {
  /** Streams by topic or, for a pattern, by the pattern. */
  readonly subscription: ReadonlyMap<string, number>
  readonly pattern: 'static' | 'white_list' | 'black_list'
  readonly timestampMs: number
}

export type Unwatch = () => void

/**
 * All methods may throw a RegistryError. A list is in ascending order of its key. Calls may be made
 * without waiting for earlier ones: they are carried out in order.
 *
 * A watch tells what is there now and what is there after each change; changes that follow each
 * other fast may be told as one. What cannot be read is logged and left out.
 */
export interface ClusterRegistry {
  readonly sessionState: SessionState
  /** How long the session outlives the last word from this broker, in ms; 0 if it never ends. */
  readonly sessionTimeoutMs: number

  /**
   * Calls `listener` at each change. After `expired` this broker is registered no more and is not
   * the controller, whatever it was; it can register again at once.
   */
  onSessionState(listener: (state: SessionState) => void): Unwatch

  /** The cluster's id; `proposed` becomes it if there was none. */
  ensureClusterId(proposed: string): Promise<string>

  /** Announces a broker until `unregisterBroker` or the end of this session; its new epoch. */
  registerBroker(broker: BrokerRegistration): Promise<WriteResult & { brokerEpoch?: number }>
  unregisterBroker(brokerId: number): Promise<void>
  /**
   * Takes the registration of another broker away, if it still is the one of that epoch. A broker
   * that registers at this very moment may be hit instead, and has to register again.
   */
  fenceBroker(brokerId: number, brokerEpoch: number): Promise<void>
  broker(brokerId: number): Promise<RegisteredBroker | null>
  brokers(): Promise<readonly RegisteredBroker[]>
  watchBroker(brokerId: number, listener: (broker: RegisteredBroker | null) => void): Unwatch
  watchBrokers(listener: (brokers: readonly RegisteredBroker[]) => void): Unwatch
  /** A broker id above `reservedMax` that no broker was given before. */
  createBrokerId(reservedMax: number): Promise<number>

  topicNames(): Promise<readonly string[]>
  watchTopicNames(listener: (names: readonly string[]) => void): Unwatch
  watchTopic(name: string, listener: (topic: Versioned<TopicRegistration> | null) => void): Unwatch
  topic(name: string): Promise<Versioned<TopicRegistration> | null>
  createTopic(topic: TopicRegistration): Promise<WriteResult>
  updateTopic(topic: TopicRegistration, expectedVersion: number): Promise<WriteResult>
  /** Removes the states of its partitions, then the topic. Repeating it completes it. */
  deleteTopic(name: string): Promise<void>

  /** Topics whose deletion was asked for and is not complete. */
  topicDeletions(): Promise<readonly string[]>
  watchTopicDeletions(listener: (names: readonly string[]) => void): Unwatch
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
  /**
   * Many at once, for the controller of that epoch: throws a RegistryError of kind `fenced` if
   * there is a later one. One that comes while they are being written is held off by the versions.
   */
  writePartitionStates(
    updates: readonly PartitionStateUpdate[],
    controllerEpoch: number,
  ): Promise<readonly WriteResult[]>

  /** Tells the controller of new ISRs, after they were written. */
  announceIsrChange(partitions: readonly TopicPartition[]): Promise<void>
  watchIsrChanges(listener: (changes: readonly IsrChange[]) => void): Unwatch
  completeIsrChanges(ids: readonly string[]): Promise<void>
  announceLogDirFailure(brokerId: number): Promise<void>
  watchLogDirEvents(listener: (events: readonly LogDirEvent[]) => void): Unwatch
  completeLogDirEvents(ids: readonly string[]): Promise<void>

  /** Partitions that a tool has asked to move; null if there is no request. */
  reassignmentRequest(): Promise<Versioned<readonly ReassignmentRequest[]> | null>
  requestReassignment(partitions: readonly ReassignmentRequest[]): Promise<WriteResult>
  completeReassignmentRequest(expectedVersion: number): Promise<void>
  watchReassignmentRequest(
    listener: (request: Versioned<readonly ReassignmentRequest[]> | null) => void,
  ): Unwatch

  /** Partitions whose first replica a tool has asked to lead. */
  preferredElectionRequest(): Promise<Versioned<readonly TopicPartition[]> | null>
  requestPreferredElection(partitions: readonly TopicPartition[]): Promise<WriteResult>
  completePreferredElectionRequest(expectedVersion: number): Promise<void>
  watchPreferredElectionRequest(
    listener: (request: Versioned<readonly TopicPartition[]> | null) => void,
  ): Unwatch

  config(entity: ConfigEntity): Promise<Versioned<ReadonlyMap<string, string>> | null>
  /** Creates or replaces it; conditional unless the version is ANY_VERSION. */
  writeConfig(
    entity: ConfigEntity,
    values: ReadonlyMap<string, string>,
    expectedVersion: number,
  ): Promise<WriteResult>
  deleteConfig(entity: ConfigEntity): Promise<void>
  /** Names of the entities of a type that have a config; null stands for the default. */
  configNames(type: ConfigEntityType): Promise<readonly (string | null)[]>
  /**
   * Has all brokers read the config anew, after it was written. If the writer stops in between,
   * they see it with the next change of the entity, or when they start.
   */
  announceConfigChange(entity: ConfigEntity): Promise<void>
  /** Calls `listener` with each announced change, and with those of the last minutes at first. */
  watchConfigChanges(listener: (entity: ConfigEntity) => void): Unwatch

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
  consumerGroups(): Promise<readonly string[]>
  /** Topics that a group has offsets of. */
  consumerTopics(group: string): Promise<readonly string[]>
  consumerOffsets(group: string, topic: string): Promise<ReadonlyMap<number, number>>
  /** Ends with the session. */
  registerConsumer(
    group: string,
    consumerId: string,
    registration: ConsumerRegistration,
  ): Promise<WriteResult>
  unregisterConsumer(group: string, consumerId: string): Promise<void>
  consumers(group: string): Promise<ReadonlyMap<string, ConsumerRegistration>>
  watchConsumers(group: string, listener: (consumerIds: readonly string[]) => void): Unwatch
  /** Claims a partition for a stream of a consumer (`consumerId-0`) until the session ends. */
  claimPartition(group: string, partition: TopicPartition, streamId: string): Promise<WriteResult>
  releasePartition(group: string, partition: TopicPartition): Promise<void>
  partitionOwner(group: string, partition: TopicPartition): Promise<string | null>
  deleteConsumerGroup(group: string): Promise<void>

  controller(): Promise<RegisteredController | null>
  watchController(listener: (controller: RegisteredController | null) => void): Unwatch
  /**
   * Makes the broker the controller if there is none; the new controller epoch, or null if
   * another broker is or has just become the controller.
   */
  electController(candidate: ControllerRegistration): Promise<number | null>
  resignController(brokerId: number): Promise<void>
  /** Takes the controller's registration away, if it still is that one; as `fenceBroker`. */
  fenceController(registrationId: number): Promise<void>
  /** 0 before the first election. */
  controllerEpoch(): Promise<number>

  close(): Promise<void>
}
