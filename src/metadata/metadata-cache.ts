/** What this broker believes of the cluster: topics, partitions, brokers. Main thread. */

export interface PartitionImage {
  readonly partition: number
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

export interface TopicImage {
  readonly name: string
  /** 22 characters of URL-safe base64. */
  readonly topicId: string
  /** Ordered by number, without gaps. */
  readonly partitions: readonly PartitionImage[]
}

export interface BrokerImage {
  readonly id: number
  readonly rack: string | null
  /** By listener name. */
  readonly endpoints: ReadonlyMap<string, { readonly host: string; readonly port: number }>
}

export class MetadataCache {
  readonly #topics = new Map<string, TopicImage>()
  readonly #names = new Map<string, string>()
  readonly #brokers = new Map<number, BrokerImage>()
  clusterId = ''
  /** -1 while there is none. */
  controllerId = -1

  topic(name: string): TopicImage | undefined {
    return this.#topics.get(name)
  }

  topicById(topicId: string): TopicImage | undefined {
    const name = this.#names.get(topicId)
    return name === undefined ? undefined : this.#topics.get(name)
  }

  get topics(): IterableIterator<TopicImage> {
    return this.#topics.values()
  }

  get topicCount(): number {
    return this.#topics.size
  }

  get brokers(): IterableIterator<BrokerImage> {
    return this.#brokers.values()
  }

  broker(id: number): BrokerImage | undefined {
    return this.#brokers.get(id)
  }

  get brokerCount(): number {
    return this.#brokers.size
  }

  putTopic(topic: TopicImage): void {
    const before = this.#topics.get(topic.name)
    if (before !== undefined) this.#names.delete(before.topicId)
    this.#topics.set(topic.name, topic)
    this.#names.set(topic.topicId, topic.name)
  }

  removeTopic(name: string): void {
    const topic = this.#topics.get(name)
    if (topic === undefined) return
    this.#topics.delete(name)
    this.#names.delete(topic.topicId)
  }

  putBroker(broker: BrokerImage): void {
    this.#brokers.set(broker.id, broker)
  }

  removeBroker(id: number): void {
    this.#brokers.delete(id)
  }
}
