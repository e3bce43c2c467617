/**
 * What this broker believes of the cluster: brokers, topics, leaders. Filled from the registry,
 * read by every request without waiting and without allocating.
 *
 * Main thread only. Holds nothing that cannot be read anew from the registry.
 */
import type { Clock } from '../util/clock.ts'
import type { BrokerEndpoint, BrokerImage, PartitionImage, TopicImage } from './topic-image.ts'

const NO_BROKERS: readonly number[] = []

/**
 * How long a broker that has gone is still told of with topics: a client that has lost its
 * connection asks again within a second, and must find the new leaders and the old broker in one
 * answer.
 */
const GONE_BROKER_LISTED_MS = 2000

/** A broker as an answer to Metadata lists it. */
export interface ListedBroker extends BrokerEndpoint {
  readonly nodeId: number
  readonly rack: string | null
}

interface GoneBroker {
  readonly image: BrokerImage
  readonly untilMs: number
}

export class MetadataCache {
  readonly clusterId: string
  #controllerId = -1
  #brokers = new Map<number, BrokerImage>()
  #sortedBrokers: readonly BrokerImage[] = []
  /** Those that were alive a short while ago, as they were last. */
  readonly #gone = new Map<number, GoneBroker>()
  readonly #clock: Clock
  readonly #topics = new Map<string, TopicImage>()
  readonly #topicsById = new Map<string, TopicImage>()
  /** null after a change of the set of topics. */
  #sortedTopicNames: readonly string[] | null = []
  #partitionCount = 0
  #generation = 0

  constructor(options: { readonly clusterId: string; readonly clock: Clock }) {
    this.clusterId = options.clusterId
    this.#clock = options.clock
  }

  /**
   * Grows with every change, so that answers made from the cache can be kept until then. Only what
   * `listedBrokers` says changes with time, too.
   */
  get generation(): number {
    return this.#generation
  }

  /** −1 if there is none. */
  get controllerId(): number {
    return this.#controllerId
  }

  /** Live brokers by id. */
  get brokers(): readonly BrokerImage[] {
    return this.#sortedBrokers
  }

  get topicCount(): number {
    return this.#topics.size
  }

  get partitionCount(): number {
    return this.#partitionCount
  }

  broker(brokerId: number): BrokerImage | undefined {
    return this.#brokers.get(brokerId)
  }

  isAlive(brokerId: number): boolean {
    return this.#brokers.has(brokerId)
  }

  /**
   * By id, where clients of a listener reach the live brokers. With `isWithGone`, and while others
   * live, also those that went a short while ago, unless their place is another's now.
   */
  listedBrokers(listenerName: string, isWithGone: boolean): ListedBroker[] {
    const live = listed(this.#sortedBrokers, listenerName)
    if (!isWithGone || this.#gone.size === 0 || live.length === 0) return live
    const nowMs = this.#clock.monotonicMs()
    const recent = [...this.#gone.values()].filter(({ untilMs }) => untilMs > nowMs)
    const gone = listed(
      recent.map(({ image }) => image),
      listenerName,
    ).filter(({ host, port }) => !live.some((one) => one.host === host && one.port === port))
    return [...live, ...gone].sort((a, b) => a.nodeId - b.nodeId)
  }

  /** Where clients of a listener reach a live broker. */
  endpoint(brokerId: number, listenerName: string): BrokerEndpoint | undefined {
    return this.#brokers.get(brokerId)?.endpoints.get(listenerName)
  }

  topic(name: string): TopicImage | undefined {
    return this.#topics.get(name)
  }

  topicById(topicId: string): TopicImage | undefined {
    return this.#topicsById.get(topicId)
  }

  partition(topic: string, partition: number): PartitionImage | undefined {
    return this.#topics.get(topic)?.partitions[partition]
  }

  topics(): IterableIterator<TopicImage> {
    return this.#topics.values()
  }

  /** In the order of UTF-16 code units, as Java sorts strings. */
  topicNames(): readonly string[] {
    this.#sortedTopicNames ??= [...this.#topics.keys()].sort()
    return this.#sortedTopicNames
  }

  setController(controllerId: number): void {
    this.#controllerId = controllerId
    this.#generation += 1
  }

  /** Replaces the list of live brokers. */
  setBrokers(brokers: Iterable<BrokerImage>): void {
    const before = this.#brokers
    this.#brokers = new Map([...brokers].map((broker) => [broker.brokerId, broker]))
    const isBack = (id: number): boolean => this.#brokers.has(id) && !before.has(id)
    this.#sortedBrokers = [...this.#brokers.values()].sort((a, b) => a.brokerId - b.brokerId)
    this.#rememberGone(before.values())
    for (const topic of [...this.#topics.values()]) {
      this.#store(this.#withOfflineReplicas(topic, isBack))
    }
    this.#generation += 1
  }

  /** Adds a topic, or replaces what was known of it; returns what is now believed. */
  putTopic(image: TopicImage): TopicImage {
    const old = this.#topics.get(image.name)
    if (old === undefined) this.#sortedTopicNames = null
    else if (old.topicId !== image.topicId) this.#topicsById.delete(old.topicId)
    this.#partitionCount += image.partitions.length - (old?.partitions.length ?? 0)
    const current = this.#withOfflineReplicas(image)
    this.#store(current)
    this.#generation += 1
    return current
  }

  /** Replaces one partition of a known topic. */
  putPartition(image: PartitionImage): void {
    const topic = this.#topics.get(image.topic)
    if (topic === undefined || image.partition >= topic.partitions.length) return
    this.putTopic({ ...topic, partitions: topic.partitions.with(image.partition, image) })
  }

  removeTopic(name: string): TopicImage | undefined {
    const old = this.#topics.get(name)
    if (old === undefined) return undefined
    this.#topics.delete(name)
    this.#topicsById.delete(old.topicId)
    this.#sortedTopicNames = null
    this.#partitionCount -= old.partitions.length
    this.#generation += 1
    return old
  }

  #rememberGone(before: Iterable<BrokerImage>): void {
    const nowMs = this.#clock.monotonicMs()
    for (const [brokerId, { untilMs }] of this.#gone) {
      if (untilMs <= nowMs || this.#brokers.has(brokerId)) this.#gone.delete(brokerId)
    }
    for (const image of before) {
      if (this.#brokers.has(image.brokerId)) continue
      this.#gone.set(image.brokerId, { image, untilMs: nowMs + GONE_BROKER_LISTED_MS })
    }
  }

  #store(image: TopicImage): void {
    this.#topics.set(image.name, image)
    this.#topicsById.set(image.topicId, image)
  }

  /**
   * Those on brokers that are not alive, and those that the controller named: their disks failed.
   * Of a broker that is back, it will name them anew.
   */
  #withOfflineReplicas(
    topic: TopicImage,
    isBack: (brokerId: number) => boolean = () => false,
  ): TopicImage {
    let isChanged = false
    const partitions = topic.partitions.map((partition) => {
      const offlineReplicas = this.#offlineAmong(partition, isBack)
      if (sameNumbers(offlineReplicas, partition.offlineReplicas)) return partition
      isChanged = true
      return { ...partition, offlineReplicas }
    })
    return isChanged ? { ...topic, partitions } : topic
  }

  #offlineAmong(
    { replicas, offlineReplicas }: PartitionImage,
    isBack: (brokerId: number) => boolean,
  ): readonly number[] {
    const isOffline = (id: number): boolean =>
      !this.#brokers.has(id) || (offlineReplicas.includes(id) && !isBack(id))
    return replicas.some(isOffline) ? replicas.filter(isOffline) : NO_BROKERS
  }
}

function listed(brokers: readonly BrokerImage[], listenerName: string): ListedBroker[] {
  const found: ListedBroker[] = []
  for (const { brokerId, rack, endpoints } of brokers) {
    const endpoint = endpoints.get(listenerName)
    if (endpoint) found.push({ nodeId: brokerId, ...endpoint, rack })
  }
  return found
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i])
}
