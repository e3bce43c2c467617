/**
 * The consumer of the 0.8 era: its group meets in ZooKeeper, not at a broker. Every member registers
 * there, reckons for itself which partitions are its own, claims them, and keeps offsets there. It
 * shares a group with Apache Kafka's own consumers of that time.
 *
 * Reading goes on beside the program; records wait in a bounded queue. What was handed out counts
 * as consumed when the program asks for more. A partition is given up only after its consumed
 * offset was committed, so that whoever claims it next goes on there. After a crash its session ends
 * and others read on from the last commit: at least once.
 */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { Consumer, type ConsumerOptions } from '../../client/consumer.ts'
import { KafkaError } from '../../client/errors.ts'
import type { ConsumerRecord } from '../../client/records.ts'
import {
  type ClusterRegistry,
  type ConsumerRegistration,
  RegistryError,
  type TopicPartition,
  type Unwatch,
} from '../../registry/cluster-registry.ts'
import { ToolError } from '../kit/tool.ts'
import { rangeAssignment, type SharedTopic, streamsFor } from './range-assignment.ts'

const POLL_MS = 200
const QUEUE_MAX = 2000
/** How long a partition that is to be given up waits for the program to be done with its records. */
const HANDED_OUT_PATIENCE_MS = 2000
const POSITION_PATIENCE_MS = 1000
const FIRST_BACKOFF_MS = 50

export type Subscription =
  | { readonly kind: 'static'; readonly topics: readonly string[] }
  | { readonly kind: 'white_list' | 'black_list'; readonly pattern: string }

export interface ZooKeeperConsumerOptions {
  readonly registry: ClusterRegistry
  readonly group: string
  readonly subscription: Subscription
  /** Unique in the group; made of host, time and chance if it is left out. */
  readonly consumerId?: string | undefined
  /** Where to begin when the group has no offset of a partition. */
  readonly offsetReset: 'earliest' | 'latest'
  /** 60000; null: offsets are not committed. */
  readonly autoCommitIntervalMs: number | null
  /** 2000: the longest wait before a claim is tried again that another one holds. */
  readonly rebalanceBackoffMs?: number
  /** True. */
  readonly excludeInternalTopics?: boolean
  /** How records are fetched. */
  readonly fetching: Omit<ConsumerOptions, 'bootstrapServers' | 'groupId' | 'autoOffsetReset'>
}

/** A partition that this consumer has claimed. */
interface Claim extends TopicPartition {
  readonly stream: string
  /** Of the next record for the program; null: it has not had any. */
  consumed: number | null
  /** What the program was given since; null: nothing. */
  handedOut: number | null
  committed: number | null
  /** Records of it have been fetched. */
  isRead: boolean
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`
}

/** Waits until `timeoutMs` are over or the function given to `wake` is called. */
async function waitFor(timeoutMs: number, wake: (end: () => void) => void): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, timeoutMs)
    wake(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}

export class ZooKeeperConsumer implements AsyncDisposable {
  readonly consumerId: string
  readonly #options: ZooKeeperConsumerOptions
  readonly #registry: ClusterRegistry
  readonly #registration: ConsumerRegistration
  readonly #claims = new Map<string, Claim>()
  readonly #unwatch: Unwatch[] = []
  readonly #topicWatches = new Map<string, Unwatch>()
  #consumer: Consumer | null = null
  #queue: ConsumerRecord[] = []
  #isRegistered = false
  #isRebalanceWanted = true
  #isClosed = false
  #error: unknown = null
  #wakeReader: (() => void) | null = null
  #wakeProgram: (() => void) | null = null
  #wakeRelease: (() => void) | null = null
  #commitTimer: NodeJS.Timeout | null = null
  #reading: Promise<void> = Promise.resolve()
  #closing: Promise<void> | null = null

  private constructor(options: ZooKeeperConsumerOptions) {
    this.#options = options
    this.#registry = options.registry
    const { group, subscription } = options
    const unique = `${hostname()}-${Date.now()}-${randomBytes(4).toString('hex')}`
    this.consumerId = `${group}_${options.consumerId ?? unique}`
    const names = subscription.kind === 'static' ? subscription.topics : [subscription.pattern]
    this.#registration = {
      subscription: new Map(names.map((name) => [name, 1])),
      pattern: subscription.kind,
      timestampMs: Date.now(),
    }
  }

  /** Joins the group. Throws RegistryError, and ToolError when the id is taken. */
  static async open(options: ZooKeeperConsumerOptions): Promise<ZooKeeperConsumer> {
    const consumer = new ZooKeeperConsumer(options)
    await consumer.#register()
    consumer.#watch()
    const { autoCommitIntervalMs } = options
    if (autoCommitIntervalMs !== null) {
      consumer.#commitTimer = setInterval(() => {
        consumer.commit().catch((error: unknown) => consumer.#fail(error))
      }, autoCommitIntervalMs)
    }
    consumer.#reading = consumer.#read()
    return consumer
  }

  /** The partitions that it has claimed, in order. */
  get assignment(): TopicPartition[] {
    return [...this.#claims.values()].map(({ topic, partition }) => ({ topic, partition }))
  }

  /**
   * Waits until there are records, `timeoutMs` at the most, and returns up to `most`. All that the
   * call before returned counts as consumed now. Throws what keeps it from reading on.
   */
  async poll(timeoutMs: number, most: number): Promise<ConsumerRecord[]> {
    this.#consumed()
    const deadlineMs = performance.now() + timeoutMs
    while (this.#queue.length === 0 && !this.#isClosed && this.#error === null) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) break
      await waitFor(leftMs, (wake) => {
        this.#wakeProgram = wake
      })
    }
    if (this.#error !== null) throw this.#error
    const records = this.#queue.splice(0, most)
    for (const record of records) {
      const claim = this.#claims.get(keyOf(record))
      if (claim !== undefined) claim.handedOut = record.offset + 1
    }
    this.#wakeReader?.()
    return records
  }

  /** Commits what was consumed; what ZooKeeper does not take now is left to the next time. */
  async commit(): Promise<void> {
    await this.#commit([...this.#claims.values()])
  }

  /** Commits, gives up its partitions, leaves the group and closes the connections to brokers. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#isClosed = true
    if (this.#commitTimer !== null) clearInterval(this.#commitTimer)
    for (const unwatch of [...this.#unwatch, ...this.#topicWatches.values()]) unwatch()
    this.#consumed()
    this.#wakeReader?.()
    this.#wakeProgram?.()
    await this.#reading
    try {
      await this.#release([...this.#claims.values()])
      if (this.#isRegistered) {
        await this.#registry.unregisterConsumer(this.#options.group, this.consumerId)
      }
    } finally {
      await this.#consumer?.close()
    }
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#wakeProgram?.()
  }

  #consumed(): void {
    for (const claim of this.#claims.values()) {
      claim.consumed = claim.handedOut ?? claim.consumed
      claim.handedOut = null
    }
    this.#wakeRelease?.()
  }

  // --- The group

  async #register(): Promise<void> {
    const { group } = this.#options
    const result = await this.#registry.registerConsumer(group, this.consumerId, this.#registration)
    if (!result.ok) {
      throw new ToolError(`a consumer ${this.consumerId} is registered in group ${group} already`)
    }
    this.#isRegistered = true
  }

  #watch(): void {
    const registry = this.#registry
    const want = (): void => this.#wantRebalance()
    this.#unwatch.push(
      registry.watchConsumers(this.#options.group, want),
      registry.watchBrokers(want),
      registry.onSessionState((state) => {
        if (state === 'expired') this.#loseClaims()
        if (state === 'connected') want()
      }),
    )
    const { subscription } = this.#options
    if (subscription.kind !== 'static') this.#unwatch.push(registry.watchTopicNames(want))
    else for (const topic of subscription.topics) this.#watchTopic(topic)
  }

  #watchTopic(topic: string): void {
    if (this.#topicWatches.has(topic)) return
    this.#topicWatches.set(
      topic,
      this.#registry.watchTopic(topic, () => this.#wantRebalance()),
    )
  }

  #wantRebalance(): void {
    this.#isRebalanceWanted = true
    this.#wakeReader?.()
  }

  /** The session has ended: whatever it had claimed may be another one's by now. */
  #loseClaims(): void {
    this.#isRegistered = false
    this.#claims.clear()
    this.#queue = []
    this.#wantRebalance()
  }

  async #topics(): Promise<SharedTopic[]> {
    const streamsOf = streamsFor(this.#registration, this.#options.excludeInternalTopics ?? true)
    const { subscription } = this.#options
    const names =
      subscription.kind === 'static'
        ? [...subscription.topics]
        : (await this.#registry.topicNames()).filter((name) => streamsOf(name) > 0)
    for (const name of names) this.#watchTopic(name)
    for (const [name, unwatch] of this.#topicWatches) {
      if (names.includes(name)) continue
      unwatch()
      this.#topicWatches.delete(name)
    }
    const topics = await Promise.all(names.map((name) => this.#registry.topic(name)))
    return topics
      .filter((topic) => topic !== null)
      .map(({ value }) => ({ name: value.name, partitions: value.partitions.length }))
  }

  /** True when every partition that is to be this consumer's is. */
  async #rebalance(): Promise<boolean> {
    const { group, excludeInternalTopics } = this.#options
    if (!this.#isRegistered) await this.#register()
    const brokers = await this.#registry.brokers()
    if (brokers.length === 0) return true // The watch tells when there is one.
    const consumers = await this.#registry.consumers(group)
    const topics = await this.#topics()
    const wanted = rangeAssignment(consumers, this.consumerId, topics, excludeInternalTopics)
    const keys = new Set(wanted.map(keyOf))
    await this.#release([...this.#claims.values()].filter((claim) => !keys.has(keyOf(claim))))
    const missing = wanted.filter((one) => !this.#claims.has(keyOf(one)))
    const claimed = await Promise.all(missing.map((one) => this.#claim(one)))
    this.#readClaimed(
      missing,
      brokers.map(({ endpoints }) => {
        const plain = endpoints.find(({ securityProtocol }) => securityProtocol === 'PLAINTEXT')
        return plain === undefined ? null : `${plain.host}:${plain.port}`
      }),
    )
    return claimed.every((isClaimed) => isClaimed)
  }

  /** False while another consumer has not given it up. */
  async #claim({ topic, partition, stream }: TopicPartition & { stream: string }) {
    const { group } = this.#options
    const result = await this.#registry.claimPartition(group, { topic, partition }, stream)
    if (!result.ok) return false
    const committed = await this.#registry.consumerOffset(group, topic, partition)
    if (!this.#isRegistered) return false // The session has ended meanwhile.
    const claim = { topic, partition, stream, consumed: committed, committed }
    this.#claims.set(keyOf(claim), { ...claim, handedOut: null, isRead: false })
    return true
  }

  #readClaimed(claimed: readonly TopicPartition[], addresses: readonly (string | null)[]): void {
    if (this.#claims.size === 0) return
    const bootstrapServers = addresses.filter((address) => address !== null)
    if (bootstrapServers.length === 0) {
      throw new ToolError(
        'no broker has a listener without security',
        'only PLAINTEXT is supported',
      )
    }
    this.#consumer ??= new Consumer({
      ...this.#options.fetching,
      bootstrapServers,
      autoOffsetReset: this.#options.offsetReset,
      defaultApiTimeoutMs: POSITION_PATIENCE_MS,
      allowAutoTopicCreation: false,
    })
    const isNew = new Set(claimed.map(keyOf))
    this.#consumer.assign(
      [...this.#claims.values()].map((claim) => ({
        ...{ topic: claim.topic, partition: claim.partition },
        // Those that stay keep their position.
        ...(isNew.has(keyOf(claim)) && { offset: claim.consumed ?? this.#options.offsetReset }),
      })),
    )
  }

  /** Commits what was consumed of partitions, then lets others claim them. */
  async #release(claims: readonly Claim[]): Promise<void> {
    if (claims.length === 0) return
    const keys = new Set(claims.map(keyOf))
    this.#queue = this.#queue.filter((record) => !keys.has(keyOf(record)))
    const deadlineMs = performance.now() + HANDED_OUT_PATIENCE_MS
    while (claims.some(({ handedOut }) => handedOut !== null)) {
      const leftMs = deadlineMs - performance.now()
      if (leftMs <= 0) break
      await waitFor(leftMs, (wake) => {
        this.#wakeRelease = wake
      })
    }
    if (this.#options.autoCommitIntervalMs !== null) await this.#commit(claims)
    for (const claim of claims) this.#claims.delete(keyOf(claim))
    const left = [...this.#claims.values()]
    this.#consumer?.assign(left.map(({ topic, partition }) => ({ topic, partition })))
    const { group } = this.#options
    await Promise.all(claims.map((claim) => this.#registry.releasePartition(group, claim)))
  }

  async #commit(claims: readonly Claim[]): Promise<void> {
    const { group } = this.#options
    const written = claims.map(async (claim) => {
      const { topic, partition, consumed } = claim
      if (consumed === null || consumed === claim.committed) return
      try {
        await this.#registry.writeConsumerOffset(group, topic, partition, consumed)
        claim.committed = consumed
      } catch (error) {
        if (!isPassing(error) || this.#isClosed) throw error
      }
    })
    await Promise.all(written)
  }

  // --- Reading

  /** Rebalances and fetches, one after the other, until it is closed. */
  async #read(): Promise<void> {
    let backoffMs = FIRST_BACKOFF_MS
    try {
      while (!this.#isClosed) {
        if (this.#isRebalanceWanted) {
          this.#isRebalanceWanted = false
          if (await this.#tryRebalance()) {
            backoffMs = FIRST_BACKOFF_MS
            continue
          }
          this.#isRebalanceWanted = true
          await this.#fetchFor(backoffMs)
          backoffMs = Math.min(backoffMs * 2, this.#options.rebalanceBackoffMs ?? 2000)
          continue
        }
        await this.#fetchFor(POLL_MS)
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  async #tryRebalance(): Promise<boolean> {
    try {
      return await this.#rebalance()
    } catch (error) {
      if (!isPassing(error)) throw error
      return false
    }
  }

  /** Fills the queue; ends after that time, or when there is something else to do. */
  async #fetchFor(timeoutMs: number): Promise<void> {
    const consumer = this.#consumer
    const isFull = this.#queue.length >= QUEUE_MAX
    if (consumer === null || this.#claims.size === 0 || isFull) {
      if (this.#isClosed) return
      await waitFor(timeoutMs, (wake) => {
        this.#wakeReader = wake
      })
      return
    }
    const records = await consumer.poll(timeoutMs)
    for (const record of records) {
      const claim = this.#claims.get(keyOf(record))
      if (claim === undefined) continue
      claim.isRead = true
      this.#queue.push(record)
    }
    if (records.length > 0) this.#wakeProgram?.()
    else await this.#notePositions(consumer)
  }

  /** Where reading began counts as consumed, so that the group goes on there. */
  async #notePositions(consumer: Consumer): Promise<void> {
    for (const claim of this.#claims.values()) {
      if (claim.consumed !== null || claim.isRead) continue
      try {
        claim.consumed = await consumer.position(claim)
      } catch (error) {
        if (!(error instanceof KafkaError) || !error.retriable) throw error
        return
      }
    }
  }
}

/** Whether trying again may help. */
function isPassing(error: unknown): boolean {
  return error instanceof RegistryError && ['unavailable', 'uncertain'].includes(error.kind)
}
