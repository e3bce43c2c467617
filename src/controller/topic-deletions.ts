/**
 * Deletes topics. The mark in the registry stands from the beginning to the end, so that any
 * controller can go on: brokers are told that the topic is gone, every replica is deleted, those of
 * dead brokers once they are back, and then the topic's nodes, its config and the mark go.
 */
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import { RegistryError } from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import type { PartitionEntry, TopicEntry } from './controller-context.ts'
import { succeeded, type TopicOutcome, timedOut } from './topic-change.ts'

/** How long an answer waits for the logs, once nobody finds the topic any more. */
const LOGS_MS = 1000

export class TopicDeletions {
  readonly #active: ActiveController
  /** Replicas that have not been deleted yet: `partition/broker`. */
  readonly #left = new Map<TopicEntry, Set<string>>()
  #complete: TopicEntry[] = []
  readonly #waiters = new Map<string, (() => void)[]>()

  constructor(active: ActiveController) {
    this.#active = active
    active.atEnd(() => {
      for (const name of [...this.#waiters.keys()]) this.#notify(name)
    })
  }

  /** Asks for topics to be deleted; answers when nobody finds them any more. */
  async delete(names: readonly string[], timeoutMs: number): Promise<TopicOutcome[]> {
    const outcomes = await this.#mark(names).catch((error: unknown) => {
      if (!(error instanceof RegistryError)) throw error
      return names.map((name) => failed(name, error))
    })
    const isWaiting = timeoutMs > 0 && outcomes.some(isSuccess)
    if (isWaiting && (await this.#active.atMost(timeoutMs, this.#outOfSight(outcomes)))) {
      return outcomes
    }
    return outcomes.map((outcome) => (isSuccess(outcome) ? timedOut(outcome.name) : outcome))
  }

  #mark(names: readonly string[]): Promise<TopicOutcome[]> {
    const { context, registry } = this.#active
    return this.#active.run(async () => {
      await this.#active.checkEpoch()
      return Promise.all(
        names.map(async (name) => {
          const topic = context.topics.get(name)
          if (topic === undefined || topic.isDeleting) return unknown(name)
          try {
            await registry.requestTopicDeletion(name)
            this.#active.check()
            this.begin(topic)
            return succeeded(name)
          } catch (error) {
            if (!(error instanceof RegistryError)) throw error
            this.#active.logger.error({ err: error, topic: name }, 'a topic could not be deleted')
            return failed(name, error)
          }
        }),
      )
    })
  }

  async #outOfSight(outcomes: readonly TopicOutcome[]): Promise<void> {
    await this.#active.allTold()
    const deleted = outcomes.filter(isSuccess)
    await this.#active.atMost(LOGS_MS, Promise.all(deleted.map(({ name }) => this.gone(name))))
  }

  /**
   * Resolves when no deletion of a topic of that name is under way. Brokers that could not delete a
   * replica are asked again.
   */
  gone(name: string): Promise<void> {
    const topic = this.#active.context.topics.get(name)
    if (this.#active.isOver || !topic?.isDeleting) return Promise.resolve()
    this.#ask(topic)
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(name)
      if (waiters) waiters.push(resolve)
      else this.#waiters.set(name, [resolve])
    })
  }

  /** The marks that there are, of ours and of tools. */
  async marked(names: readonly string[]): Promise<void> {
    const { context, registry, config, logger } = this.#active
    if (!config.deleteTopicEnable) {
      const marks = names.filter((name) => !context.topics.get(name)?.isDeleting)
      if (marks.length > 0) logger.warn({ topics: marks }, 'delete.topic.enable is false')
      await Promise.all(marks.map((name) => registry.completeTopicDeletion(name)))
      return
    }
    for (const name of names) {
      const topic = context.topics.get(name)
      if (topic !== undefined) this.begin(topic)
      else await this.#removeNodes(name)
    }
  }

  begin(topic: TopicEntry): void {
    if (topic.isDeleting) return
    topic.isDeleting = true
    const left = new Set<string>()
    this.#left.set(topic, left)
    for (const partition of topic.partitions) {
      this.#active.tellMetadata(partition)
      for (const id of partition.replicas) left.add(keyOf(partition, id))
    }
    this.#ask(topic)
    this.#active.logger.info({ topic: topic.name, topicId: topic.topicId }, 'deleting a topic')
    if (left.size === 0) this.#isDeleted(topic)
  }

  /** Forgets what was known before everything is read anew. */
  reset(): void {
    this.#left.clear()
    this.#complete = []
  }

  /** Brokers are back, and may still have replicas of topics that are being deleted. */
  returned(brokerIds: readonly number[]): void {
    for (const topic of this.#left.keys()) this.#ask(topic, brokerIds)
  }

  /** Has live brokers delete what they have not deleted yet. */
  #ask(topic: TopicEntry, only?: readonly number[]): void {
    const left = this.#left.get(topic)
    for (const partition of topic.partitions) {
      for (const id of only ?? partition.replicas) {
        if (!left?.has(keyOf(partition, id))) continue
        this.#active.channels.get(id)?.markStop(partition, true)
      }
    }
  }

  /** Takes back a topic that could not be created. */
  takeBack(topic: TopicEntry): void {
    this.#active.enqueue('a topic to be taken back', async () => {
      if (this.#active.context.topics.get(topic.name) !== topic || topic.isDeleting) return
      await this.#active.checkEpoch()
      await this.#active.registry.requestTopicDeletion(topic.name)
      this.#active.check()
      this.begin(topic)
    })
  }

  stopped(brokerId: number, partitions: readonly PartitionEntry[]): void {
    for (const partition of partitions) {
      const left = this.#left.get(partition.topic)
      if (left?.delete(keyOf(partition, brokerId)) && left.size === 0) {
        this.#isDeleted(partition.topic)
      }
    }
  }

  /** Topics whose replicas are gone at the same time share their writes. */
  #isDeleted(topic: TopicEntry): void {
    this.#complete.push(topic)
    if (this.#complete.length > 1) return
    this.#active.enqueue('deleted topics', async () => {
      const topics = this.#complete
      this.#complete = []
      await this.#active.checkEpoch()
      await Promise.all(topics.map((one) => this.#finish(one)))
    })
  }

  async #finish(topic: TopicEntry): Promise<void> {
    await this.#removeNodes(topic.name)
    this.#left.delete(topic)
    this.#active.context.removeTopic(topic)
    this.#active.logger.info({ topic: topic.name, topicId: topic.topicId }, 'deleted a topic')
    this.#notify(topic.name)
  }

  /** The mark goes last: whoever finds it does the rest again. */
  async #removeNodes(name: string): Promise<void> {
    const { registry } = this.#active
    this.#active.check()
    await registry.deleteTopic(name)
    this.#active.check()
    await registry.deleteConfig({ type: 'topics', name })
    this.#active.check()
    await registry.completeTopicDeletion(name)
    this.#active.check()
  }

  #notify(name: string): void {
    const waiters = this.#waiters.get(name) ?? []
    this.#waiters.delete(name)
    for (const waiter of waiters) waiter()
  }
}

function isSuccess(outcome: TopicOutcome): boolean {
  return outcome.errorCode === ErrorCode.NONE
}

function keyOf({ partition }: PartitionEntry, brokerId: number): string {
  return `${partition}/${brokerId}`
}

function failed(name: string, error: RegistryError): TopicOutcome {
  return { name, errorCode: ErrorCode.KAFKA_STORAGE_ERROR, errorMessage: error.message }
}

function unknown(name: string): TopicOutcome {
  const error = new KafkaError(
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    `Topic '${name}' does not exist`,
  )
  return { name, errorCode: error.errorCode, errorMessage: error.message }
}
