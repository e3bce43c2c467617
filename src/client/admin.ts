/**
 * Administration of a cluster: topics, configs, offsets, groups, log directories, elections and
 * reassignments. Works against this broker and Apache Kafka alike, at the highest version of each
 * API that both sides serve.
 *
 * A method that acts on several things answers for each of them: an `error` that is null, or a
 * KafkaError that says what is wrong with that one. A throw means that the whole call failed. Errors
 * that pass by themselves (a leader that moves, a coordinator that loads) are tried again until the
 * time of the call is over.
 *
 * Loading this module loads none of the protocol's tables: each method brings its own.
 */
import type {
  DescribeTopicPartitionsRequestInput,
  DescribeTopicPartitionsResponse,
} from '../protocol/messages/describe-topic-partitions.ts'
import type { ApiSchema } from '../protocol/schema.ts'
import type { BrokerConnection } from './broker-connection.ts'
import type { ClientOptions } from './client-options.ts'
import { type BrokerNode, Cluster, type ClusterMetadata, type RetryOptions } from './cluster.ts'
import { errorFor, type KafkaError, UnsupportedVersionError } from './errors.ts'

const DEFAULT_TIMEOUT_MS = 60_000

/** Error codes that this file acts on. */
const LEADER_NOT_AVAILABLE = 5
const COORDINATOR_LOAD_IN_PROGRESS = 14
const COORDINATOR_NOT_AVAILABLE = 15
const NOT_COORDINATOR = 16
const UNKNOWN_TOPIC_OR_PARTITION = 3
const NOT_CONTROLLER = 41
const UNKNOWN_SERVER_ERROR = -1

export interface AdminCallOptions {
  /** Milliseconds for the whole call, with its retries; 60,000 if left out. */
  readonly timeoutMs?: number
  /** Ends the call early. */
  readonly signal?: AbortSignal
}

export interface ValidateOptions extends AdminCallOptions {
  /** Checks everything and changes nothing. */
  readonly validateOnly?: boolean
}

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** What one item of a call came to. */
export interface ItemResult {
  /** Null: it is done. */
  readonly error: KafkaError | null
}

/** Throws the first error among results, and returns them if there is none. */
export function allOrThrow<T extends ItemResult>(results: readonly T[]): readonly T[] {
  for (const { error } of results) if (error !== null) throw error
  return results
}

export interface NewTopic {
  readonly name: string
  /** The broker's `num.partitions` if left out. */
  readonly partitions?: number
  /** The broker's `default.replication.factor` if left out. */
  readonly replicationFactor?: number
  /** Broker ids of each partition, the preferred leader first; instead of the two above. */
  readonly assignments?: readonly (readonly number[])[]
  readonly configs?: Readonly<Record<string, string>>
}

export interface CreatedTopic extends ItemResult {
  readonly name: string
  /** The zero uuid below version 7. */
  readonly topicId: string
  /** -1 below version 5. */
  readonly partitions: number
  /** -1 below version 5. */
  readonly replicationFactor: number
}

export interface TopicResult extends ItemResult {
  readonly name: string
}

export interface NewPartitions {
  readonly topic: string
  /** How many partitions the topic then has. */
  readonly count: number
  /** Broker ids of each new partition. */
  readonly assignments?: readonly (readonly number[])[]
}

export interface TopicListing {
  readonly name: string
  readonly topicId: string
  readonly isInternal: boolean
}

export interface PartitionDescription {
  readonly partition: number
  /** -1: none. */
  readonly leaderId: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  readonly offlineReplicas: readonly number[]
  /** Null where the broker does not tell (below Kafka 3.7). */
  readonly eligibleLeaderReplicas: readonly number[] | null
  readonly lastKnownEligibleLeaderReplicas: readonly number[] | null
}

export interface TopicDescription extends ItemResult {
  readonly name: string
  readonly topicId: string
  readonly isInternal: boolean
  /** By ascending number. */
  readonly partitions: readonly PartitionDescription[]
}

export interface ClusterDescription {
  readonly clusterId: string | null
  /** -1: none. */
  readonly controllerId: number
  readonly brokers: readonly BrokerNode[]
}

/** Kinds of config resources, and how they are numbered on the wire. */
export const ConfigResourceType = {
  TOPIC: 2,
  BROKER: 4,
  BROKER_LOGGER: 8,
  CLIENT_METRICS: 16,
} as const

export interface ConfigResource {
  readonly type: (typeof ConfigResourceType)[keyof typeof ConfigResourceType]
  /** Topic, or broker id; an empty broker id means the default of all brokers. */
  readonly name: string
}

/** Where a value comes from, by its number on the wire. */
export const CONFIG_SOURCES = [
  'UNKNOWN',
  'DYNAMIC_TOPIC_CONFIG',
  'DYNAMIC_BROKER_CONFIG',
  'DYNAMIC_DEFAULT_BROKER_CONFIG',
  'STATIC_BROKER_CONFIG',
  'DEFAULT_CONFIG',
  'DYNAMIC_BROKER_LOGGER_CONFIG',
  'DYNAMIC_CLIENT_METRICS_CONFIG',
  'DYNAMIC_GROUP_CONFIG',
] as const
export type ConfigSource = (typeof CONFIG_SOURCES)[number]

function configSource(code: number): ConfigSource {
  return CONFIG_SOURCES[code] ?? 'UNKNOWN'
}

export interface ConfigSynonym {
  readonly name: string
  readonly value: string | null
  readonly source: ConfigSource
}

export interface ConfigEntry extends ConfigSynonym {
  readonly isReadOnly: boolean
  readonly isSensitive: boolean
  readonly synonyms: readonly ConfigSynonym[]
}

export interface ConfigResult extends ItemResult {
  readonly resource: ConfigResource
}

export interface ConfigDescription extends ConfigResult {
  readonly entries: readonly ConfigEntry[]
}

/** What to do to one key. */
export interface ConfigChange {
  readonly name: string
  readonly operation: 'set' | 'delete' | 'append' | 'subtract'
  /** Null with `delete`. */
  readonly value: string | null
}

const CONFIG_OPERATIONS = { set: 0, delete: 1, append: 2, subtract: 3 } as const

export interface ReplicaDescription {
  readonly topic: string
  readonly partition: number
  readonly sizeBytes: number
  readonly offsetLag: number
  readonly isFuture: boolean
}

export interface LogDirDescription extends ItemResult {
  readonly brokerId: number
  readonly logDir: string
  readonly replicas: readonly ReplicaDescription[]
  /** -1 below version 4. */
  readonly totalBytes: number
  readonly usableBytes: number
}

/** What ListOffsets takes for a timestamp beside milliseconds. */
export const OffsetSpec = {
  LATEST: -1,
  EARLIEST: -2,
  MAX_TIMESTAMP: -3,
  EARLIEST_LOCAL: -4,
  LATEST_TIERED: -5,
} as const

export interface OffsetQuery extends TopicPartition {
  /** Milliseconds, or one of OffsetSpec. */
  readonly timestamp: number
}

export interface ListedOffset extends TopicPartition, ItemResult {
  /** -1: no record at or after the timestamp. */
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

export interface RecordsToDelete extends TopicPartition {
  /** Records before it go; -1: all up to the high watermark. */
  readonly offset: number
}

export interface DeletedRecords extends TopicPartition, ItemResult {
  /** The first offset that is left. */
  readonly lowWatermark: number
}

export interface GroupListing {
  readonly groupId: string
  readonly protocolType: string
  /** Empty below version 4. */
  readonly state: string
  /** `classic` or `consumer`; empty below version 5. */
  readonly type: string
}

export interface ListedGroups {
  readonly groups: readonly GroupListing[]
  /** Of brokers that could not be asked. */
  readonly errors: readonly { readonly brokerId: number; readonly error: Error }[]
}

export interface MemberDescription {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  /** As the leader of the group wrote it; `assignment` reads it. */
  readonly assignmentBytes: Buffer
  /** Empty unless the protocol type is `consumer`. */
  readonly assignment: readonly TopicPartition[]
}

export interface GroupDescription extends ItemResult {
  readonly groupId: string
  /** `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Dead`: no such group. */
  readonly state: string
  readonly protocolType: string
  /** The assignor. */
  readonly protocol: string
  readonly coordinator: BrokerNode | null
  readonly members: readonly MemberDescription[]
}

export interface OffsetAndMetadata {
  readonly offset: number
  readonly leaderEpoch?: number
  readonly metadata?: string
}

export interface CommittedOffset extends TopicPartition, ItemResult {
  /** -1: none committed. */
  readonly offset: number
  readonly leaderEpoch: number
  readonly metadata: string
}

export interface GroupOffsets extends ItemResult {
  readonly groupId: string
  readonly offsets: readonly CommittedOffset[]
}

export interface PartitionResult extends TopicPartition, ItemResult {}

export interface GroupResult extends ItemResult {
  readonly groupId: string
}

export interface PartitionReassignment extends TopicPartition {
  /** Where the replicas shall be, the preferred leader first; null: cancel. */
  readonly replicas: readonly number[] | null
}

export interface OngoingReassignment extends TopicPartition {
  readonly replicas: readonly number[]
  readonly addingReplicas: readonly number[]
  readonly removingReplicas: readonly number[]
}

export interface ReplicaLogDir extends TopicPartition {
  readonly brokerId: number
  readonly logDir: string
}

export interface BrokerApiVersions extends BrokerNode {
  /** API key to lowest and highest version; null when the broker could not be reached. */
  readonly apiVersions: ReadonlyMap<number, readonly [number, number]> | null
  readonly error: Error | null
}

/** One part of what a quota applies to; a null name is the default of its type. */
export interface QuotaEntityPart {
  readonly type: 'user' | 'client-id' | 'ip'
  readonly name: string | null
}

/** Which quotas to describe; without a name: any. */
export interface QuotaFilterPart {
  readonly type: QuotaEntityPart['type']
  readonly match: 'exact' | 'default' | 'any'
  readonly name?: string
}

export interface ClientQuota {
  readonly entity: readonly QuotaEntityPart[]
  readonly values: Readonly<Record<string, number>>
}

export interface QuotaChange {
  readonly entity: readonly QuotaEntityPart[]
  /** Null removes the key. */
  readonly values: Readonly<Record<string, number | null>>
}

/** SCRAM mechanisms, and how they are numbered on the wire. */
export const ScramMechanism = { 'SCRAM-SHA-256': 1, 'SCRAM-SHA-512': 2 } as const
export type ScramMechanismName = keyof typeof ScramMechanism

export interface ScramCredentials extends ItemResult {
  readonly user: string
  readonly mechanisms: readonly { readonly mechanism: string; readonly iterations: number }[]
}

/** A credential to be set, or with null to be removed. */
export interface ScramChange {
  readonly user: string
  readonly mechanism: ScramMechanismName
  readonly credential: { readonly iterations: number; readonly password: string } | null
}

function errorOrNull(code: number, message?: string | null): KafkaError | null {
  // Apache Kafka sends an empty text where it has none.
  return code === 0 ? null : errorFor(code, message || undefined)
}

/** Lists of items by topic, as most requests want them. */
export function byTopic<T extends { readonly topic: string }>(
  items: Iterable<T>,
): Map<string, T[]> {
  const topics = new Map<string, T[]>()
  for (const item of items) {
    const list = topics.get(item.topic)
    if (list === undefined) topics.set(item.topic, [item])
    else list.push(item)
  }
  return topics
}

function retryOptions({ timeoutMs = DEFAULT_TIMEOUT_MS, signal }: AdminCallOptions): RetryOptions {
  return signal === undefined ? { timeoutMs } : { timeoutMs, signal }
}

function sortedBrokers(brokers: readonly BrokerNode[]): BrokerNode[] {
  return [...brokers].sort((a, b) => a.brokerId - b.brokerId)
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${partition}/${topic}`
}

function versionWanted(
  connection: BrokerConnection,
  api: ApiSchema,
  least: number,
  what: string,
): number {
  const version = connection.versionOf(api)
  if (version < least) throw new UnsupportedVersionError(`the broker is too old for ${what}`)
  return version
}

export class Admin {
  readonly #cluster: Cluster
  readonly #ownsCluster: boolean

  /** With a Cluster instead of options it is shared, and left open by `close`. */
  constructor(options: ClientOptions | Cluster) {
    this.#ownsCluster = !(options instanceof Cluster)
    this.#cluster = options instanceof Cluster ? options : new Cluster(options)
  }

  /** Ends the connections. */
  async close(): Promise<void> {
    if (this.#ownsCluster) await this.#cluster.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #retry<T>(options: AdminCallOptions, attempt: () => Promise<T>): Promise<T> {
    return this.#cluster.retry(attempt, retryOptions(options))
  }

  /** Runs `call` at the controller; `codesOf` are looked at for one that moved meanwhile. */
  #atController<T>(
    options: AdminCallOptions,
    call: (connection: BrokerConnection) => Promise<T>,
    codesOf: (result: T) => Iterable<number>,
  ): Promise<T> {
    return this.#retry(options, async () => {
      const result = await call(await this.#cluster.controller())
      for (const code of codesOf(result)) {
        if (code !== NOT_CONTROLLER) continue
        await this.#cluster.metadata([])
        throw errorFor(NOT_CONTROLLER)
      }
      return result
    })
  }

  // --- Topics

  /** Creates topics. */
  async createTopics(
    topics: readonly NewTopic[],
    options: ValidateOptions = {},
  ): Promise<CreatedTopic[]> {
    const { CreateTopics } = await import('../protocol/messages/create-topics.ts')
    const request = {
      topics: topics.map((topic) => ({
        name: topic.name,
        numPartitions: topic.assignments ? -1 : (topic.partitions ?? -1),
        replicationFactor: topic.assignments ? -1 : (topic.replicationFactor ?? -1),
        assignments: (topic.assignments ?? []).map((brokerIds, partitionIndex) => ({
          partitionIndex,
          brokerIds: [...brokerIds],
        })),
        configs: Object.entries(topic.configs ?? {}).map(([name, value]) => ({ name, value })),
      })),
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      validateOnly: options.validateOnly ?? false,
    }
    const response = await this.#atController(
      options,
      (connection) => connection.send(CreateTopics, request),
      (found) => found.topics.map(({ errorCode }) => errorCode),
    )
    this.#cluster.invalidate()
    return response.topics.map((topic) => ({
      name: topic.name,
      topicId: topic.topicId,
      partitions: topic.numPartitions,
      replicationFactor: topic.replicationFactor,
      error: errorOrNull(topic.errorCode, topic.errorMessage),
    }))
  }

  /** Deletes topics by name. */
  async deleteTopics(
    names: readonly string[],
    options: AdminCallOptions = {},
  ): Promise<TopicResult[]> {
    const { DeleteTopics } = await import('../protocol/messages/delete-topics.ts')
    const request = {
      topics: names.map((name) => ({ name })),
      topicNames: [...names],
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    }
    const response = await this.#atController(
      options,
      (connection) => {
        const version = connection.versionOf(DeleteTopics)
        const { topics, topicNames, timeoutMs } = request
        const body = version >= 6 ? { topics, timeoutMs } : { topics: [], topicNames, timeoutMs }
        return connection.send(DeleteTopics, body, { version })
      },
      (found) => found.responses.map(({ errorCode }) => errorCode),
    )
    this.#cluster.invalidate()
    return response.responses.map(({ name, errorCode, errorMessage }) => ({
      name: name ?? '',
      error: errorOrNull(errorCode, errorMessage),
    }))
  }

  /** Gives topics more partitions. */
  async createPartitions(
    changes: readonly NewPartitions[],
    options: ValidateOptions = {},
  ): Promise<TopicResult[]> {
    const { CreatePartitions } = await import('../protocol/messages/create-partitions.ts')
    const request = {
      topics: changes.map(({ topic, count, assignments }) => ({
        name: topic,
        count,
        assignments: assignments?.map((brokerIds) => ({ brokerIds: [...brokerIds] })) ?? null,
      })),
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      validateOnly: options.validateOnly ?? false,
    }
    const response = await this.#atController(
      options,
      (connection) => connection.send(CreatePartitions, request),
      (found) => found.results.map(({ errorCode }) => errorCode),
    )
    this.#cluster.invalidate()
    return response.results.map(({ name, errorCode, errorMessage }) => ({
      name,
      error: errorOrNull(errorCode, errorMessage),
    }))
  }

  /** All topics that the broker tells of, by name; internal ones with `internal`. */
  async listTopics(
    options: AdminCallOptions & { readonly internal?: boolean } = {},
  ): Promise<TopicListing[]> {
    const { topics } = await this.#metadata(null, options)
    return [...topics]
      .filter(([, topic]) => options.internal === true || !topic.isInternal)
      .map(([name, { topicId, isInternal }]) => ({ name, topicId, isInternal }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  #metadata(topics: readonly string[] | null, options: AdminCallOptions): Promise<ClusterMetadata> {
    return this.#cluster.metadata(topics, {
      refresh: true,
      allowAutoTopicCreation: false,
      ...retryOptions(options),
    })
  }

  /** Describes topics by name; null: all. In the order of their names. */
  async describeTopics(
    names: readonly string[] | null,
    options: AdminCallOptions & { readonly partitionsPerResponse?: number } = {},
  ): Promise<TopicDescription[]> {
    if (names !== null && names.length === 0) return []
    const { DescribeTopicPartitions } = await import(
      '../protocol/messages/describe-topic-partitions.ts'
    )
    const connection = await this.#retry(options, () => this.#cluster.any())
    const described = connection.apiVersions.has(DescribeTopicPartitions.key)
      ? await this.#describeByPartitions(names, options)
      : await this.#describeByMetadata(names, options)
    return described.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  async #describeByMetadata(
    names: readonly string[] | null,
    options: AdminCallOptions,
  ): Promise<TopicDescription[]> {
    const { topics } = await this.#metadata(names, options)
    return [...topics].map(([name, topic]) => ({
      name,
      topicId: topic.topicId,
      isInternal: topic.isInternal,
      error: errorOrNull(topic.errorCode),
      partitions: topic.partitions
        .map(({ partition, leaderId, leaderEpoch, replicas, isr, offlineReplicas }) => ({
          ...{ partition, leaderId, leaderEpoch, replicas, isr, offlineReplicas },
          eligibleLeaderReplicas: null,
          lastKnownEligibleLeaderReplicas: null,
        }))
        .sort((a, b) => a.partition - b.partition),
    }))
  }

  /** A page at a time: the broker says where the next one begins. */
  async #describeByPartitions(
    names: readonly string[] | null,
    options: AdminCallOptions & { readonly partitionsPerResponse?: number },
  ): Promise<TopicDescription[]> {
    const { DescribeTopicPartitions } = await import(
      '../protocol/messages/describe-topic-partitions.ts'
    )
    const wanted = names ?? [...(await this.#metadata(null, options)).topics.keys()]
    const topics = [...wanted].sort().map((name) => ({ name }))
    if (topics.length === 0) return []
    const found = new Map<
      string,
      TopicDescription & { readonly partitions: PartitionDescription[] }
    >()
    let cursor: { topicName: string; partitionIndex: number } | null = null
    do {
      const request: DescribeTopicPartitionsRequestInput = {
        // What is before the cursor has been told.
        topics: topics.filter(({ name }) => name >= (cursor?.topicName ?? '')),
        responsePartitionLimit: options.partitionsPerResponse ?? 2000,
        cursor,
      }
      const response: DescribeTopicPartitionsResponse = await this.#retry(options, async () =>
        (await this.#cluster.any()).send(DescribeTopicPartitions, request),
      )
      for (const topic of response.topics) {
        const name = topic.name ?? ''
        let entry = found.get(name)
        if (entry === undefined) {
          const { topicId, isInternal } = topic
          const error = errorOrNull(topic.errorCode)
          entry = { name, topicId, isInternal, error, partitions: [] }
          found.set(name, entry)
        }
        for (const one of topic.partitions) {
          entry.partitions.push({
            partition: one.partitionIndex,
            leaderId: one.leaderId,
            leaderEpoch: one.leaderEpoch,
            replicas: one.replicaNodes,
            isr: one.isrNodes,
            offlineReplicas: one.offlineReplicas,
            eligibleLeaderReplicas: one.eligibleLeaderReplicas ?? [],
            lastKnownEligibleLeaderReplicas: one.lastKnownElr ?? [],
          })
        }
      }
      const next: { topicName: string; partitionIndex: number } | null = response.nextCursor
      // A cursor that stays where it is would be asked for without end.
      const stuck =
        next !== null &&
        next.topicName === cursor?.topicName &&
        next.partitionIndex === cursor.partitionIndex
      if (stuck) throw errorFor(UNKNOWN_SERVER_ERROR, 'the broker describes the same page again')
      cursor = next
    } while (cursor !== null)
    for (const { partitions } of found.values()) {
      partitions.sort((a, b) => a.partition - b.partition)
    }
    return [...found.values()]
  }

  // --- The cluster

  /** The cluster: its id, controller and brokers. */
  async describeCluster(options: AdminCallOptions = {}): Promise<ClusterDescription> {
    const { clusterId, controllerId, brokers } = await this.#metadata([], options)
    return { clusterId, controllerId, brokers: sortedBrokers(brokers) }
  }

  /** What each broker serves; brokers that cannot be reached say why. */
  async apiVersions(options: AdminCallOptions = {}): Promise<BrokerApiVersions[]> {
    const { brokers } = await this.describeCluster(options)
    return await Promise.all(
      brokers.map(async (broker) => {
        try {
          const { apiVersions } = await this.#cluster.broker(broker.brokerId)
          return { ...broker, apiVersions, error: null }
        } catch (error) {
          return { ...broker, apiVersions: null, error: error as Error }
        }
      }),
    )
  }

  // --- Configs

  #brokerOf({ type, name }: ConfigResource): number | null {
    const isBroker = type === ConfigResourceType.BROKER || type === ConfigResourceType.BROKER_LOGGER
    if (!isBroker || name === '') return null
    if (!/^\d{1,10}$/.test(name)) throw new TypeError(`not a broker id: ${JSON.stringify(name)}`)
    return Number(name)
  }

  /** Calls each broker with the resources that only it can answer for. */
  async #perConfigBroker<I, R>(
    items: readonly I[],
    resourceOf: (item: I) => ConfigResource,
    options: AdminCallOptions,
    call: (connection: BrokerConnection, items: readonly I[]) => Promise<R[]>,
  ): Promise<R[]> {
    const groups = new Map<number | null, I[]>()
    for (const item of items) {
      const broker = this.#brokerOf(resourceOf(item))
      groups.set(broker, [...(groups.get(broker) ?? []), item])
    }
    const answers = await Promise.all(
      [...groups].map(([broker, group]) =>
        this.#retry(options, async () => {
          const connection = await (broker === null
            ? this.#cluster.any()
            : this.#cluster.broker(broker))
          return await call(connection, group)
        }),
      ),
    )
    return answers.flat()
  }

  /** Describes the configs of resources; `keys` narrows it down to those. */
  async describeConfigs(
    resources: readonly ConfigResource[],
    options: AdminCallOptions & {
      readonly keys?: readonly string[]
      readonly synonyms?: boolean
    } = {},
  ): Promise<ConfigDescription[]> {
    const { DescribeConfigs } = await import('../protocol/messages/describe-configs.ts')
    const asked = async (
      connection: BrokerConnection,
      group: readonly ConfigResource[],
    ): Promise<ConfigDescription[]> => {
      const version = connection.versionOf(DescribeConfigs)
      const request = {
        resources: group.map(({ type, name }) => ({
          resourceType: type,
          resourceName: name,
          configurationKeys: options.keys === undefined ? null : [...options.keys],
        })),
        ...(version >= 1 ? { includeSynonyms: options.synonyms ?? false } : {}),
      }
      const { results } = await connection.send(DescribeConfigs, request, { version })
      return results.map((result) => ({
        resource: {
          type: result.resourceType as ConfigResource['type'],
          name: result.resourceName,
        },
        error: errorOrNull(result.errorCode, result.errorMessage),
        entries: result.configs.map((entry) => ({
          name: entry.name,
          value: entry.value,
          source: entry.isDefault ? ('DEFAULT_CONFIG' as const) : configSource(entry.configSource),
          isReadOnly: entry.readOnly,
          isSensitive: entry.isSensitive,
          synonyms: entry.synonyms.map(({ name, value, source }) => ({
            ...{ name, value },
            source: configSource(source),
          })),
        })),
      }))
    }
    return await this.#perConfigBroker(resources, (one) => one, options, asked)
  }

  /** Changes single keys of configs (Kafka 2.3 on). */
  async incrementalAlterConfigs(
    changes: readonly {
      readonly resource: ConfigResource
      readonly changes: readonly ConfigChange[]
    }[],
    options: ValidateOptions = {},
  ): Promise<ConfigResult[]> {
    const { IncrementalAlterConfigs } = await import(
      '../protocol/messages/incremental-alter-configs.ts'
    )
    return await this.#perConfigBroker(
      changes,
      ({ resource }) => resource,
      options,
      async (connection, group) => {
        const request = {
          resources: group.map(({ resource, changes: keys }) => ({
            resourceType: resource.type,
            resourceName: resource.name,
            configs: keys.map(({ name, operation, value }) => ({
              name,
              configOperation: CONFIG_OPERATIONS[operation],
              value,
            })),
          })),
          validateOnly: options.validateOnly ?? false,
        }
        const { responses } = await connection.send(IncrementalAlterConfigs, request)
        return responses.map(configResultOf)
      },
    )
  }

  /** Replaces the configs of resources: a key that is not given goes back to its default. */
  async alterConfigs(
    configs: readonly {
      readonly resource: ConfigResource
      readonly configs: Readonly<Record<string, string>>
    }[],
    options: ValidateOptions = {},
  ): Promise<ConfigResult[]> {
    const { AlterConfigs } = await import('../protocol/messages/alter-configs.ts')
    return await this.#perConfigBroker(
      configs,
      ({ resource }) => resource,
      options,
      async (connection, group) => {
        const request = {
          resources: group.map(({ resource, configs: keys }) => ({
            resourceType: resource.type,
            resourceName: resource.name,
            configs: Object.entries(keys).map(([name, value]) => ({ name, value })),
          })),
          validateOnly: options.validateOnly ?? false,
        }
        const { responses } = await connection.send(AlterConfigs, request)
        return responses.map(configResultOf)
      },
    )
  }

  // --- Partitions at their leaders

  /**
   * Calls the leader of each partition, and again where the answer passes by itself. `failed` says
   * what a partition without an answer gets.
   */
  async #perLeader<Q extends TopicPartition, R extends ItemResult & TopicPartition>(
    queries: readonly Q[],
    options: AdminCallOptions,
    call: (connection: BrokerConnection, queries: readonly Q[]) => Promise<readonly R[]>,
    failed: (query: Q, error: KafkaError) => R,
  ): Promise<R[]> {
    const done = new Map<string, R>()
    let refresh = false
    await this.#retry(options, async () => {
      const open = queries.filter((query) => !done.has(keyOf(query)))
      const names = [...new Set(open.map(({ topic }) => topic))]
      const metadata = await this.#cluster.metadata(names, {
        refresh,
        allowAutoTopicCreation: false,
        ...retryOptions(options),
      })
      refresh = true
      let passing: KafkaError | null = null
      const byLeader = new Map<number, Q[]>()
      for (const query of open) {
        const topic = metadata.topics.get(query.topic)
        const partition = topic?.partitions.find((one) => one.partition === query.partition)
        const code = topic === undefined ? UNKNOWN_TOPIC_OR_PARTITION : topic.errorCode
        if (code !== 0 && code !== LEADER_NOT_AVAILABLE) {
          done.set(keyOf(query), failed(query, errorFor(code)))
        } else if (topic !== undefined && partition === undefined && code === 0) {
          done.set(keyOf(query), failed(query, errorFor(UNKNOWN_TOPIC_OR_PARTITION)))
        } else if (partition === undefined || partition.leaderId < 0) {
          passing = errorFor(LEADER_NOT_AVAILABLE)
        } else {
          const list = byLeader.get(partition.leaderId)
          if (list === undefined) byLeader.set(partition.leaderId, [query])
          else list.push(query)
        }
      }
      const answers = await Promise.all(
        [...byLeader].map(async ([leader, group]) =>
          call(await this.#cluster.broker(leader), group),
        ),
      )
      for (const answer of answers.flat()) {
        if (answer.error?.retriable) {
          passing = answer.error
          this.#cluster.invalidate(answer.topic)
        } else {
          done.set(keyOf(answer), answer)
        }
      }
      if (passing !== null) throw passing
      const silent = open.find((query) => !done.has(keyOf(query)))
      if (silent !== undefined) {
        const what = `${silent.topic}-${silent.partition}`
        throw errorFor(UNKNOWN_SERVER_ERROR, `the broker did not answer for ${what}`)
      }
    })
    return queries.map((query) => done.get(keyOf(query)) as R)
  }

  /** Finds offsets by time, or the first and last ones. In the order of the queries. */
  async listOffsets(
    queries: readonly OffsetQuery[],
    options: AdminCallOptions & {
      readonly isolationLevel?: 'read_uncommitted' | 'read_committed'
    } = {},
  ): Promise<ListedOffset[]> {
    const { ListOffsets } = await import('../protocol/messages/list-offsets.ts')
    return await this.#perLeader(
      queries,
      options,
      async (connection, group) => {
        const lowest = Math.min(...group.map(({ timestamp }) => timestamp))
        const least = lowest <= -5 ? 9 : lowest === -4 ? 8 : lowest === -3 ? 7 : 0
        const version = versionWanted(connection, ListOffsets, least, 'this kind of offset')
        const request = {
          replicaId: -1,
          ...(version >= 2
            ? { isolationLevel: options.isolationLevel === 'read_committed' ? 1 : 0 }
            : {}),
          topics: [...byTopic(group)].map(([name, partitions]) => ({
            name,
            partitions: partitions.map(({ partition, timestamp }) => ({
              partitionIndex: partition,
              timestamp,
            })),
          })),
        }
        const { topics } = await connection.send(ListOffsets, request, { version })
        return topics.flatMap(({ name, partitions }) =>
          partitions.map((one) => ({
            topic: name,
            partition: one.partitionIndex,
            offset: version === 0 ? (one.oldStyleOffsets[0] ?? -1) : one.offset,
            timestamp: one.timestamp,
            leaderEpoch: one.leaderEpoch,
            error: errorOrNull(one.errorCode),
          })),
        )
      },
      ({ topic, partition }, error) => ({
        ...{ topic, partition, error },
        ...{ offset: -1, timestamp: -1, leaderEpoch: -1 },
      }),
    )
  }

  /** Deletes the records before offsets. In the order of the questions. */
  async deleteRecords(
    partitions: readonly RecordsToDelete[],
    options: AdminCallOptions = {},
  ): Promise<DeletedRecords[]> {
    const { DeleteRecords } = await import('../protocol/messages/delete-records.ts')
    return await this.#perLeader(
      partitions,
      options,
      async (connection, group) => {
        const { topics } = await connection.send(DeleteRecords, {
          topics: [...byTopic(group)].map(([name, list]) => ({
            name,
            partitions: list.map(({ partition, offset }) => ({
              partitionIndex: partition,
              offset,
            })),
          })),
          timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        })
        return topics.flatMap(({ name, partitions: answers }) =>
          answers.map(({ partitionIndex, lowWatermark, errorCode }) => ({
            topic: name,
            partition: partitionIndex,
            lowWatermark,
            error: errorOrNull(errorCode),
          })),
        )
      },
      ({ topic, partition }, error) => ({ topic, partition, lowWatermark: -1, error }),
    )
  }

  // --- Log directories

  /** The log directories of brokers, with the replicas of `topics`; null: of all. */
  async describeLogDirs(
    brokerIds: readonly number[],
    topics: readonly TopicPartition[] | null = null,
    options: AdminCallOptions = {},
  ): Promise<LogDirDescription[]> {
    const { DescribeLogDirs } = await import('../protocol/messages/describe-log-dirs.ts')
    const request = {
      topics:
        topics === null
          ? null
          : [...byTopic(topics)].map(([topic, list]) => ({
              topic,
              partitions: list.map(({ partition }) => partition),
            })),
    }
    const answers = await Promise.all(
      brokerIds.map((brokerId) =>
        this.#retry(options, async () => {
          const connection = await this.#cluster.broker(brokerId)
          const response = await connection.send(DescribeLogDirs, request)
          if (response.errorCode !== 0) throw errorFor(response.errorCode)
          return response.results.map((dir) => ({
            brokerId,
            logDir: dir.logDir,
            error: errorOrNull(dir.errorCode),
            totalBytes: dir.totalBytes,
            usableBytes: dir.usableBytes,
            replicas: dir.topics.flatMap(({ name, partitions }) =>
              partitions.map((one) => ({
                topic: name,
                partition: one.partitionIndex,
                sizeBytes: one.partitionSize,
                offsetLag: one.offsetLag,
                isFuture: one.isFutureKey,
              })),
            ),
          }))
        }),
      ),
    )
    return answers.flat()
  }

  /** Moves replicas between the log directories of their broker. */
  async alterReplicaLogDirs(
    moves: readonly ReplicaLogDir[],
    options: AdminCallOptions = {},
  ): Promise<(PartitionResult & { readonly brokerId: number })[]> {
    const { AlterReplicaLogDirs } = await import('../protocol/messages/alter-replica-log-dirs.ts')
    const brokers = [...new Set(moves.map(({ brokerId }) => brokerId))]
    const answers = await Promise.all(
      brokers.map((brokerId) =>
        this.#retry(options, async () => {
          const own = moves.filter((move) => move.brokerId === brokerId)
          const dirs = [...new Set(own.map(({ logDir }) => logDir))].map((path) => ({
            path,
            topics: [...byTopic(own.filter(({ logDir }) => logDir === path))].map(
              ([name, list]) => ({ name, partitions: list.map(({ partition }) => partition) }),
            ),
          }))
          const connection = await this.#cluster.broker(brokerId)
          const { results } = await connection.send(AlterReplicaLogDirs, { dirs })
          return results.flatMap(({ topicName, partitions }) =>
            partitions.map(({ partitionIndex, errorCode }) => ({
              brokerId,
              topic: topicName,
              partition: partitionIndex,
              error: errorOrNull(errorCode),
            })),
          )
        }),
      ),
    )
    return answers.flat()
  }

  // --- Groups

  /** The groups of all brokers, by id. */
  async listGroups(
    options: AdminCallOptions & {
      readonly states?: readonly string[]
      readonly types?: readonly string[]
    } = {},
  ): Promise<ListedGroups> {
    const { ListGroups } = await import('../protocol/messages/list-groups.ts')
    const { brokers } = await this.describeCluster(options)
    const groups = new Map<string, GroupListing>()
    const errors: { brokerId: number; error: Error }[] = []
    await Promise.all(
      brokers.map(async ({ brokerId }) => {
        try {
          const found = await this.#retry(options, async () => {
            const connection = await this.#cluster.broker(brokerId)
            const least = options.types?.length ? 5 : options.states?.length ? 4 : 0
            const version = versionWanted(connection, ListGroups, least, 'filters of groups')
            const request = {
              ...(version >= 4 ? { statesFilter: [...(options.states ?? [])] } : {}),
              ...(version >= 5 ? { typesFilter: [...(options.types ?? [])] } : {}),
            }
            const response = await connection.send(ListGroups, request, { version })
            if (response.errorCode !== 0) throw errorFor(response.errorCode)
            return response.groups
          })
          for (const { groupId, protocolType, groupState, groupType } of found) {
            groups.set(groupId, { groupId, protocolType, state: groupState, type: groupType })
          }
        } catch (error) {
          errors.push({ brokerId, error: error as Error })
        }
      }),
    )
    const first = errors[0]
    if (first !== undefined && errors.length === brokers.length) throw first.error
    return {
      groups: [...groups.values()].sort((a, b) => (a.groupId < b.groupId ? -1 : 1)),
      errors,
    }
  }

  /** Calls the coordinators of groups, each with all of its groups at once. */
  async #perCoordinator<R extends GroupResult>(
    groupIds: readonly string[],
    options: AdminCallOptions,
    call: (connection: BrokerConnection, groupIds: readonly string[]) => Promise<readonly R[]>,
  ): Promise<R[]> {
    const done = new Map<string, R>()
    const wanted = [...new Set(groupIds)]
    await this.#retry(options, async () => {
      const open = wanted.filter((groupId) => !done.has(groupId))
      const byCoordinator = new Map<BrokerConnection, string[]>()
      for (const groupId of open) {
        const connection = await this.#cluster.coordinator('group', groupId)
        const list = byCoordinator.get(connection)
        if (list === undefined) byCoordinator.set(connection, [groupId])
        else list.push(groupId)
      }
      let passing: KafkaError | null = null
      const answers = await Promise.all(
        [...byCoordinator].map(async ([connection, ids]) => call(connection, ids)),
      )
      for (const answer of answers.flat()) {
        const code = answer.error?.code
        const moved = code === NOT_COORDINATOR || code === COORDINATOR_NOT_AVAILABLE
        if (moved) this.#cluster.forgetCoordinator('group', answer.groupId)
        if (moved || code === COORDINATOR_LOAD_IN_PROGRESS) passing = answer.error
        else done.set(answer.groupId, answer)
      }
      if (passing !== null) throw passing
      const silent = open.find((groupId) => !done.has(groupId))
      if (silent !== undefined) {
        const what = `the coordinator did not answer for the group '${silent}'`
        throw errorFor(UNKNOWN_SERVER_ERROR, what)
      }
    })
    return wanted.map((groupId) => done.get(groupId) as R)
  }

  async #nodeOf({ host, port }: BrokerConnection): Promise<BrokerNode | null> {
    const isIt = (broker: BrokerNode): boolean => broker.host === host && broker.port === port
    const known = this.#cluster.brokers.find(isIt)
    if (known !== undefined) return known
    const { brokers } = await this.#cluster.metadata([])
    return brokers.find(isIt) ?? null
  }

  /** Describes groups; one that does not exist has the state `Dead`. */
  async describeGroups(
    groupIds: readonly string[],
    options: AdminCallOptions = {},
  ): Promise<GroupDescription[]> {
    const { DescribeGroups } = await import('../protocol/messages/describe-groups.ts')
    const { CONSUMER_PROTOCOL_TYPE, decodeConsumerAssignment } = await import(
      '../protocol/consumer-protocol.ts'
    )
    return await this.#perCoordinator(groupIds, options, async (connection, ids) => {
      const { groups } = await connection.send(DescribeGroups, { groups: [...ids] })
      const coordinator = await this.#nodeOf(connection)
      return groups.map((group) => ({
        groupId: group.groupId,
        state: group.groupState,
        protocolType: group.protocolType,
        protocol: group.protocolData,
        error: errorOrNull(group.errorCode),
        coordinator,
        members: group.members.map((member) => ({
          memberId: member.memberId,
          groupInstanceId: member.groupInstanceId,
          clientId: member.clientId,
          clientHost: member.clientHost,
          assignmentBytes: member.memberAssignment,
          assignment:
            group.protocolType === CONSUMER_PROTOCOL_TYPE && member.memberAssignment.length > 0
              ? partitionsOf(decodeConsumerAssignment(member.memberAssignment))
              : [],
        })),
      }))
    })
  }

  /** What groups have committed; `partitions` narrows it down, null is everything. */
  async listGroupOffsets(
    groupIds: readonly string[],
    partitions: readonly TopicPartition[] | null = null,
    options: AdminCallOptions & { readonly requireStable?: boolean } = {},
  ): Promise<GroupOffsets[]> {
    const { OffsetFetch } = await import('../protocol/messages/offset-fetch.ts')
    const topics =
      partitions === null
        ? null
        : [...byTopic(partitions)].map(([name, list]) => ({
            name,
            partitionIndexes: list.map(({ partition }) => partition),
          }))
    return await this.#perCoordinator(groupIds, options, async (connection, ids) => {
      const version = versionWanted(connection, OffsetFetch, topics === null ? 2 : 1, 'all offsets')
      const requireStable = version >= 7 ? { requireStable: options.requireStable ?? false } : {}
      if (version >= 8) {
        const groups = ids.map((groupId) => ({ groupId, topics }))
        const request = { groups, ...requireStable }
        const response = await connection.send(OffsetFetch, request, { version })
        return response.groups.map(groupOffsetsOf)
      }
      return await Promise.all(
        ids.map(async (groupId) => {
          const request = { groupId, topics, ...requireStable }
          const response = await connection.send(OffsetFetch, request, { version })
          return groupOffsetsOf({ ...response, groupId })
        }),
      )
    })
  }

  /** Sets what a group has committed; the group must have no members. */
  async alterGroupOffsets(
    groupId: string,
    offsets: readonly (TopicPartition & OffsetAndMetadata)[],
    options: AdminCallOptions = {},
  ): Promise<PartitionResult[]> {
    const { OffsetCommit } = await import('../protocol/messages/offset-commit.ts')
    const [result] = await this.#perCoordinator([groupId], options, async (connection) => {
      const version = versionWanted(connection, OffsetCommit, 2, 'offsets of groups')
      const request = {
        groupId,
        topics: [...byTopic(offsets)].map(([name, list]) => ({
          name,
          partitions: list.map(({ partition, offset, leaderEpoch, metadata }) => ({
            partitionIndex: partition,
            committedOffset: offset,
            ...(version >= 6 ? { committedLeaderEpoch: leaderEpoch ?? -1 } : {}),
            committedMetadata: metadata ?? '',
          })),
        })),
      }
      const { topics } = await connection.send(OffsetCommit, request, { version })
      return [partitionsResult(groupId, topics)]
    })
    return [...(result?.partitions ?? [])]
  }

  /** Forgets what a group has committed for partitions. Throws when the group cannot be. */
  async deleteGroupOffsets(
    groupId: string,
    partitions: readonly TopicPartition[],
    options: AdminCallOptions = {},
  ): Promise<PartitionResult[]> {
    const { OffsetDelete } = await import('../protocol/messages/offset-delete.ts')
    const [result] = await this.#perCoordinator([groupId], options, async (connection) => {
      const { errorCode, topics } = await connection.send(OffsetDelete, {
        groupId,
        topics: [...byTopic(partitions)].map(([name, list]) => ({
          name,
          partitions: list.map(({ partition }) => ({ partitionIndex: partition })),
        })),
      })
      if (errorCode !== 0) return [{ groupId, error: errorFor(errorCode), partitions: [] }]
      return [partitionsResult(groupId, topics)]
    })
    if (result === undefined) return []
    if (result.error !== null && result.partitions.length === 0) throw result.error
    return [...result.partitions]
  }

  /** Deletes groups, which must have no members. */
  async deleteGroups(
    groupIds: readonly string[],
    options: AdminCallOptions = {},
  ): Promise<GroupResult[]> {
    const { DeleteGroups } = await import('../protocol/messages/delete-groups.ts')
    return await this.#perCoordinator(groupIds, options, async (connection, ids) => {
      const { results } = await connection.send(DeleteGroups, { groupsNames: [...ids] })
      return results.map(({ groupId, errorCode }) => ({ groupId, error: errorOrNull(errorCode) }))
    })
  }

  // --- Elections and reassignments

  /** Elects leaders; null: of all partitions, and then only those that changed are told. */
  async electLeaders(
    type: 'preferred' | 'unclean',
    partitions: readonly TopicPartition[] | null,
    options: AdminCallOptions = {},
  ): Promise<PartitionResult[]> {
    const { ElectLeaders } = await import('../protocol/messages/elect-leaders.ts')
    const response = await this.#atController(
      options,
      (connection) => {
        const least = type === 'unclean' ? 1 : 0
        const version = versionWanted(connection, ElectLeaders, least, 'unclean elections')
        const request = {
          ...(version >= 1 ? { electionType: type === 'unclean' ? 1 : 0 } : {}),
          topicPartitions:
            partitions === null
              ? null
              : [...byTopic(partitions)].map(([topic, list]) => ({
                  topic,
                  partitions: list.map(({ partition }) => partition),
                })),
          timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        }
        return connection.send(ElectLeaders, request, { version })
      },
      ({ errorCode }) => [errorCode],
    )
    if (response.errorCode !== 0) throw errorFor(response.errorCode)
    this.#cluster.invalidate()
    return response.replicaElectionResults.flatMap(({ topic, partitionResult }) =>
      partitionResult.map(({ partitionId, errorCode, errorMessage }) => ({
        topic,
        partition: partitionId,
        error: errorOrNull(errorCode, errorMessage),
      })),
    )
  }

  /** Moves partitions to other brokers, or cancels moves. */
  async alterPartitionReassignments(
    reassignments: readonly PartitionReassignment[],
    options: AdminCallOptions = {},
  ): Promise<PartitionResult[]> {
    const { AlterPartitionReassignments } = await import(
      '../protocol/messages/alter-partition-reassignments.ts'
    )
    const request = {
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      topics: [...byTopic(reassignments)].map(([name, list]) => ({
        name,
        partitions: list.map(({ partition, replicas }) => ({
          partitionIndex: partition,
          replicas: replicas === null ? null : [...replicas],
        })),
      })),
    }
    const response = await this.#atController(
      options,
      (connection) => connection.send(AlterPartitionReassignments, request),
      ({ errorCode }) => [errorCode],
    )
    if (response.errorCode !== 0) {
      throw errorFor(response.errorCode, response.errorMessage || undefined)
    }
    return response.responses.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, errorCode, errorMessage }) => ({
        topic: name,
        partition: partitionIndex,
        error: errorOrNull(errorCode, errorMessage),
      })),
    )
  }

  /** The reassignments under way, of `partitions` or of all (null). */
  async listPartitionReassignments(
    partitions: readonly TopicPartition[] | null = null,
    options: AdminCallOptions = {},
  ): Promise<OngoingReassignment[]> {
    const { ListPartitionReassignments } = await import(
      '../protocol/messages/list-partition-reassignments.ts'
    )
    const request = {
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      topics:
        partitions === null
          ? null
          : [...byTopic(partitions)].map(([name, list]) => ({
              name,
              partitionIndexes: list.map(({ partition }) => partition),
            })),
    }
    const response = await this.#atController(
      options,
      (connection) => connection.send(ListPartitionReassignments, request),
      ({ errorCode }) => [errorCode],
    )
    if (response.errorCode !== 0) {
      throw errorFor(response.errorCode, response.errorMessage || undefined)
    }
    return response.topics.flatMap(({ name, partitions: moves }) =>
      moves.map(({ partitionIndex, replicas, addingReplicas, removingReplicas }) => ({
        topic: name,
        partition: partitionIndex,
        ...{ replicas, addingReplicas, removingReplicas },
      })),
    )
  }

  // --- Quotas and users

  /** The quotas of users, clients and addresses that fit the filter. */
  async describeClientQuotas(
    filter: readonly QuotaFilterPart[],
    options: AdminCallOptions & { readonly strict?: boolean } = {},
  ): Promise<ClientQuota[]> {
    const { DescribeClientQuotas } = await import('../protocol/messages/describe-client-quotas.ts')
    const matchTypes = { exact: 0, default: 1, any: 2 } as const
    const response = await this.#retry(options, async () =>
      (await this.#cluster.any()).send(DescribeClientQuotas, {
        components: filter.map(({ type, match, name }) => ({
          entityType: type,
          matchType: matchTypes[match],
          match: match === 'exact' ? (name ?? '') : null,
        })),
        strict: options.strict ?? false,
      }),
    )
    if (response.errorCode !== 0) {
      throw errorFor(response.errorCode, response.errorMessage || undefined)
    }
    return (response.entries ?? []).map(({ entity, values }) => ({
      entity: entity.map(({ entityType, entityName }) => ({
        type: entityType as QuotaEntityPart['type'],
        name: entityName,
      })),
      values: Object.fromEntries(values.map(({ key, value }) => [key, value])),
    }))
  }

  /** Changes quotas. */
  async alterClientQuotas(
    changes: readonly QuotaChange[],
    options: ValidateOptions = {},
  ): Promise<(ItemResult & { readonly entity: readonly QuotaEntityPart[] })[]> {
    const { AlterClientQuotas } = await import('../protocol/messages/alter-client-quotas.ts')
    const request = {
      entries: changes.map(({ entity, values }) => ({
        entity: entity.map(({ type, name }) => ({ entityType: type, entityName: name })),
        ops: Object.entries(values).map(([key, value]) => ({
          key,
          value: value ?? 0,
          remove: value === null,
        })),
      })),
      validateOnly: options.validateOnly ?? false,
    }
    const response = await this.#atController(
      options,
      (connection) => connection.send(AlterClientQuotas, request),
      (found) => found.entries.map(({ errorCode }) => errorCode),
    )
    return response.entries.map(({ errorCode, errorMessage, entity }) => ({
      entity: entity.map(({ entityType, entityName }) => ({
        type: entityType as QuotaEntityPart['type'],
        name: entityName,
      })),
      error: errorOrNull(errorCode, errorMessage),
    }))
  }

  /** The SCRAM mechanisms of users; null: of all that have one. */
  async describeUserScramCredentials(
    users: readonly string[] | null,
    options: AdminCallOptions = {},
  ): Promise<ScramCredentials[]> {
    const { DescribeUserScramCredentials } = await import(
      '../protocol/messages/describe-user-scram-credentials.ts'
    )
    const response = await this.#atController(
      options,
      (connection) =>
        connection.send(DescribeUserScramCredentials, {
          users: users?.map((name) => ({ name })) ?? null,
        }),
      ({ errorCode }) => [errorCode],
    )
    if (response.errorCode !== 0) {
      throw errorFor(response.errorCode, response.errorMessage || undefined)
    }
    const names = Object.entries(ScramMechanism)
    return response.results.map(({ user, errorCode, errorMessage, credentialInfos }) => ({
      user,
      error: errorOrNull(errorCode, errorMessage),
      mechanisms: credentialInfos.map(({ mechanism, iterations }) => ({
        mechanism: names.find(([, code]) => code === mechanism)?.[0] ?? `UNKNOWN(${mechanism})`,
        iterations,
      })),
    }))
  }

  /** Sets and removes SCRAM credentials; passwords are salted and hashed here, never sent. */
  async alterUserScramCredentials(
    changes: readonly ScramChange[],
    options: AdminCallOptions = {},
  ): Promise<(ItemResult & { readonly user: string })[]> {
    const { AlterUserScramCredentials } = await import(
      '../protocol/messages/alter-user-scram-credentials.ts'
    )
    const { pbkdf2, randomBytes } = await import('node:crypto')
    const { promisify } = await import('node:util')
    const derive = promisify(pbkdf2)
    const upsertions = await Promise.all(
      changes.flatMap(({ user, mechanism, credential }) => {
        if (credential === null) return []
        const { iterations, password } = credential
        const [hash, bytes] =
          mechanism === 'SCRAM-SHA-256' ? (['sha256', 32] as const) : (['sha512', 64] as const)
        const salt = randomBytes(32)
        return [
          derive(password, salt, iterations, bytes, hash).then((saltedPassword) => ({
            ...{ name: user, mechanism: ScramMechanism[mechanism], iterations },
            ...{ salt, saltedPassword },
          })),
        ]
      }),
    )
    const deletions = changes
      .filter(({ credential }) => credential === null)
      .map(({ user, mechanism }) => ({ name: user, mechanism: ScramMechanism[mechanism] }))
    const response = await this.#atController(
      options,
      (connection) => connection.send(AlterUserScramCredentials, { deletions, upsertions }),
      ({ results }) => results.map(({ errorCode }) => errorCode),
    )
    return response.results.map(({ user, errorCode, errorMessage }) => ({
      user,
      error: errorOrNull(errorCode, errorMessage),
    }))
  }
}

function configResultOf(response: {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly resourceType: number
  readonly resourceName: string
}): ConfigResult {
  return {
    resource: {
      type: response.resourceType as ConfigResource['type'],
      name: response.resourceName,
    },
    error: errorOrNull(response.errorCode, response.errorMessage),
  }
}

function partitionsOf(assignment: {
  readonly assignedPartitions: readonly {
    readonly topic: string
    readonly partitions: readonly number[]
  }[]
}): TopicPartition[] {
  return assignment.assignedPartitions.flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition })),
  )
}

function groupOffsetsOf(group: {
  readonly groupId: string
  readonly errorCode: number
  readonly topics: readonly {
    readonly name: string
    readonly partitions: readonly {
      readonly partitionIndex: number
      readonly committedOffset: number
      readonly committedLeaderEpoch: number
      readonly metadata: string | null
      readonly errorCode: number
    }[]
  }[]
}): GroupOffsets {
  return {
    groupId: group.groupId,
    error: errorOrNull(group.errorCode),
    offsets: group.topics.flatMap(({ name, partitions }) =>
      partitions.map((one) => ({
        topic: name,
        partition: one.partitionIndex,
        offset: one.committedOffset,
        leaderEpoch: one.committedLeaderEpoch,
        metadata: one.metadata ?? '',
        error: errorOrNull(one.errorCode),
      })),
    ),
  }
}

/** Results by partition, with the first coordinator's error as that of the group. */
function partitionsResult(
  groupId: string,
  topics: readonly {
    readonly name: string
    readonly partitions: readonly {
      readonly partitionIndex: number
      readonly errorCode: number
    }[]
  }[],
): GroupResult & { readonly partitions: readonly PartitionResult[] } {
  const partitions = topics.flatMap(({ name, partitions: list }) =>
    list.map(({ partitionIndex, errorCode }) => ({
      topic: name,
      partition: partitionIndex,
      error: errorOrNull(errorCode),
    })),
  )
  const moved = partitions.find(
    ({ error }) =>
      error?.code === NOT_COORDINATOR ||
      error?.code === COORDINATOR_NOT_AVAILABLE ||
      error?.code === COORDINATOR_LOAD_IN_PROGRESS,
  )
  return { groupId, error: moved?.error ?? null, partitions }
}
