/**
 * What a client knows of a cluster: its brokers, a connection to each that is needed, who leads
 * what, and who coordinates which group.
 */
import type { ErrorCode } from '../protocol/error-codes.ts'
import { FindCoordinator } from '../protocol/messages/find-coordinator.ts'
import { Metadata } from '../protocol/messages/metadata.ts'
import { BrokerConnection } from './broker-connection.ts'
import {
  type ClientOptions,
  type HostAndPort,
  type ResolvedClientOptions,
  resolveClientOptions,
} from './client-options.ts'
import { ClientClosedError, ClientError, ConnectionError, errorFor } from './errors.ts'

export interface BrokerNode extends HostAndPort {
  readonly brokerId: number
  readonly rack: string | null
}

export interface PartitionMetadata {
  readonly partition: number
  /** 0, or an ErrorCode as LEADER_NOT_AVAILABLE. */
  readonly errorCode: (typeof ErrorCode)[keyof typeof ErrorCode] | number
  /** -1 if there is none. */
  readonly leaderId: number
  /** -1 if the broker is too old to tell. */
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  readonly offlineReplicas: readonly number[]
}

export interface TopicMetadata {
  readonly name: string
  readonly errorCode: number
  /** 22 characters; all `A` if the broker is too old to tell. */
  readonly topicId: string
  readonly isInternal: boolean
  /** By partition. */
  readonly partitions: readonly PartitionMetadata[]
}

export interface ClusterMetadata {
  readonly clusterId: string | null
  /** -1 if it is not known. */
  readonly controllerId: number
  readonly brokers: readonly BrokerNode[]
  readonly topics: ReadonlyMap<string, TopicMetadata>
}

export interface MetadataOptions extends RetryOptions {
  /** Asks even if a fresh answer is there. */
  readonly refresh?: boolean
  readonly allowAutoTopicCreation?: boolean
}

export interface RetryOptions {
  /** How long to go on; `requestTimeoutMs` if it is not given. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

interface Link {
  readonly opening: Promise<BrokerConnection>
  /** null until it is opened; it may be closed by now. */
  connection: BrokerConnection | null
}

interface KnownTopic {
  readonly topic: TopicMetadata
  readonly atMs: number
}

const KEY_TYPES = { group: 0, transaction: 1 } as const

export type CoordinatorKind = keyof typeof KEY_TYPES

/** First version of FindCoordinator that takes several keys. */
const FIRST_BATCHED = 4

export class Cluster {
  readonly options: ResolvedClientOptions
  readonly #links = new Map<string, Link>()
  readonly #brokers = new Map<number, BrokerNode>()
  readonly #topics = new Map<string, KnownTopic>()
  /** Those that have partitions, as they were answered last, whatever was wrong with them. */
  readonly #newest = new Map<string, TopicMetadata>()
  readonly #coordinators = new Map<string, BrokerNode>()
  #clusterId: string | null = null
  #controllerId = -1
  #nextAny = 0
  #closed = false
  readonly #closing = new AbortController()

  constructor(options: ClientOptions) {
    this.options = resolveClientOptions(options)
  }

  /** The brokers that were seen last. */
  get brokers(): readonly BrokerNode[] {
    return [...this.#brokers.values()]
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /**
   * Metadata of the named topics, or with null of all. Cached answers are used up to
   * `metadataMaxAgeMs`; a topic that is not known carries its error code. Throws ClientError.
   */
  async metadata(
    topics: readonly string[] | null,
    options: MetadataOptions = {},
  ): Promise<ClusterMetadata> {
    const { clock, metadataMaxAgeMs } = this.options
    const oldest = clock.monotonicMs() - metadataMaxAgeMs
    if (topics !== null && options.refresh !== true) {
      const known = topics.map((name) => this.#topics.get(name))
      const fresh = known.every((one) => one !== undefined && one.atMs >= oldest)
      if (fresh && topics.length > 0) {
        return this.#image((known as KnownTopic[]).map(({ topic }) => topic))
      }
    }
    return await this.retry(() => this.#fetchMetadata(topics, options), options)
  }

  async #fetchMetadata(
    topics: readonly string[] | null,
    options: MetadataOptions,
  ): Promise<ClusterMetadata> {
    const connection = await this.any()
    const version = connection.versionOf(Metadata)
    // Version 0 has no null: there, no name at all means every topic.
    const names = topics?.map((name) => ({ name })) ?? (version === 0 ? [] : null)
    const answer = await connection.send(
      Metadata,
      {
        topics: names,
        allowAutoTopicCreation: options.allowAutoTopicCreation ?? false,
      },
      { version },
    )
    this.#clusterId = answer.clusterId
    this.#controllerId = answer.controllerId
    this.#brokers.clear()
    for (const { nodeId, host, port, rack } of answer.brokers) {
      this.#brokers.set(nodeId, { brokerId: nodeId, host, port, rack })
    }
    const atMs = this.options.clock.monotonicMs()
    const found: TopicMetadata[] = []
    for (const topic of answer.topics) {
      const image = this.#newer({
        name: topic.name ?? '',
        errorCode: topic.errorCode,
        topicId: topic.topicId,
        isInternal: topic.isInternal,
        partitions: topic.partitions
          .map((one) => ({
            partition: one.partitionIndex,
            errorCode: one.errorCode,
            leaderId: one.leaderId,
            leaderEpoch: one.leaderEpoch,
            replicas: one.replicaNodes,
            isr: one.isrNodes,
            offlineReplicas: one.offlineReplicas,
          }))
          .sort((a, b) => a.partition - b.partition),
      })
      if (image.partitions.length > 0) this.#newest.set(image.name, image)
      else this.#newest.delete(image.name)
      found.push(image)
      const isUsable =
        image.errorCode === 0 && image.partitions.every(({ errorCode }) => errorCode === 0)
      if (isUsable) this.#topics.set(image.name, { topic: image, atMs })
      else this.#topics.delete(image.name)
    }
    return this.#image(found)
  }

  /** A broker that lags behind must not take back a leader that is known already (KIP-320). */
  #newer(topic: TopicMetadata): TopicMetadata {
    const known = this.#newest.get(topic.name)
    if (known === undefined || known.topicId !== topic.topicId) return topic
    const epochs = new Map(known.partitions.map((one) => [one.partition, one]))
    const partitions = topic.partitions.map((one) => {
      const before = epochs.get(one.partition)
      return before !== undefined && before.leaderEpoch > one.leaderEpoch ? before : one
    })
    return { ...topic, partitions }
  }

  #image(topics: readonly TopicMetadata[]): ClusterMetadata {
    return {
      clusterId: this.#clusterId,
      controllerId: this.#controllerId,
      brokers: this.brokers,
      topics: new Map(topics.map((topic) => [topic.name, topic])),
    }
  }

  /** Forgets what is known of a topic, or of all. */
  invalidate(topic?: string): void {
    if (topic === undefined) this.#topics.clear()
    else this.#topics.delete(topic)
  }

  /** A connection to some broker that can be reached. Throws the last ConnectionError. */
  async any(): Promise<BrokerConnection> {
    const all: HostAndPort[] = [...this.#brokers.values(), ...this.options.bootstrap]
    // Another one each time: one that is cut off from the others knows less and less.
    const begin = this.#nextAny % Math.max(1, all.length)
    this.#nextAny += 1
    const known = [...all.slice(begin), ...all.slice(0, begin)]
    // An open connection first: the others may be to brokers that are gone, and what does not answer
    // now would not answer this either.
    for (const at of known) {
      const connection = this.#links.get(addressOf(at))?.connection
      if (connection?.isOpen && !connection.isOverdue) return connection
    }
    let last: unknown = new ConnectionError('no broker is known')
    for (const at of known) {
      try {
        return await this.connectTo(at)
      } catch (error) {
        if (error instanceof ClientClosedError) throw error
        last = error
      }
    }
    throw last
  }

  /**
   * The connection to an address; opened if there is none. A `use` has a connection of its own, as a
   * broker answers the requests of one connection one after the other, and some take long.
   */
  async connectTo(at: HostAndPort, use = ''): Promise<BrokerConnection> {
    if (this.#closed) throw new ClientClosedError()
    const key = addressOf(at) + use
    const known = this.#links.get(key)
    if (known !== undefined) {
      const connection = await known.opening
      if (connection.isOpen) return connection
    }
    const again = this.#links.get(key)
    if (again !== undefined && again !== known) return await this.connectTo(at, use)
    const opening = BrokerConnection.open({ ...this.options, host: at.host, port: at.port })
    const link: Link = { opening, connection: null }
    this.#links.set(key, link)
    try {
      const connection = await opening
      if (this.#closed) {
        await connection.close()
        throw new ClientClosedError()
      }
      link.connection = connection
      return connection
    } catch (error) {
      if (this.#links.get(key) === link) this.#links.delete(key)
      throw error
    }
  }

  /** Throws ConnectionError when no such broker is known. */
  async broker(brokerId: number): Promise<BrokerConnection> {
    let node = this.#brokers.get(brokerId)
    if (node === undefined) {
      await this.#fetchMetadata([], {})
      node = this.#brokers.get(brokerId)
    }
    if (node === undefined) throw new ConnectionError(`broker ${brokerId} is not known`)
    return await this.connectTo(node)
  }

  async controller(): Promise<BrokerConnection> {
    if (this.#controllerId < 0) await this.#fetchMetadata([], {})
    if (this.#controllerId < 0) return await this.any()
    return await this.broker(this.#controllerId)
  }

  /** The leader of a partition. Throws a retriable KafkaError while there is none. */
  async leader(
    topic: string,
    partition: number,
  ): Promise<{ connection: BrokerConnection; leaderId: number; leaderEpoch: number }> {
    const { topics } = await this.metadata([topic])
    const known = topics.get(topic)
    if (known === undefined || known.errorCode !== 0) {
      throw errorFor(known?.errorCode ?? 3, `topic ${topic} is not known`)
    }
    const one = known.partitions.find((each) => each.partition === partition)
    if (one === undefined) throw errorFor(3, `${topic}-${partition} does not exist`)
    if (one.leaderId < 0) {
      this.invalidate(topic)
      throw errorFor(5, `${topic}-${partition} has no leader now`)
    }
    const connection = await this.broker(one.leaderId)
    return { connection, leaderId: one.leaderId, leaderEpoch: one.leaderEpoch }
  }

  /**
   * The coordinator of a group or a transactional id, asked for once, on a connection of its own: a
   * fetch or a join in front of them would hold up heartbeats and commits. Throws ClientError.
   */
  async coordinator(kind: CoordinatorKind, key: string): Promise<BrokerConnection> {
    const known = this.#coordinators.get(`${kind} ${key}`)
    if (known !== undefined) return await this.connectTo(known, ` ${kind}`)
    const connection = await this.any()
    const version = connection.versionOf(FindCoordinator)
    const isBatched = version >= FIRST_BATCHED
    const answer = await connection.send(
      FindCoordinator,
      {
        key: isBatched ? '' : key,
        keyType: KEY_TYPES[kind],
        coordinatorKeys: isBatched ? [key] : [],
      },
      { version },
    )
    const found = isBatched ? answer.coordinators[0] : answer
    if (found === undefined) throw errorFor(15)
    if (found.errorCode !== 0) throw errorFor(found.errorCode, found.errorMessage)
    const node = { brokerId: found.nodeId, host: found.host, port: found.port, rack: null }
    this.#coordinators.set(`${kind} ${key}`, node)
    return await this.connectTo(node, ` ${kind}`)
  }

  /** Asks for the coordinator anew next time. */
  forgetCoordinator(kind: CoordinatorKind, key: string): void {
    this.#coordinators.delete(`${kind} ${key}`)
  }

  /**
   * Runs `attempt` until it succeeds or fails with what is not retriable, backing off in between,
   * at most `timeoutMs`; then the last error is thrown.
   */
  async retry<T>(attempt: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
    const { clock, requestTimeoutMs } = this.options
    const deadlineMs = clock.monotonicMs() + (options.timeoutMs ?? requestTimeoutMs)
    for (let tries = 0; ; tries += 1) {
      if (this.#closed) throw new ClientClosedError()
      options.signal?.throwIfAborted()
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof ClientError) || !error.retriable) throw error
        const delay = this.backoffMs(tries)
        if (clock.monotonicMs() + delay > deadlineMs) throw error
        await this.pause(delay, options.signal)
      }
    }
  }

  /** Wait before another attempt after `failures` more than one: doubling, with some jitter. */
  backoffMs(failures: number): number {
    const { retryBackoffMs, retryBackoffMaxMs, random } = this.options
    const backoff = Math.min(retryBackoffMaxMs, retryBackoffMs * 2 ** Math.min(failures, 20))
    return (backoff * (80 + random.integer(41))) / 100
  }

  /** Waits `ms`, or until `close` or the signal. */
  async pause(ms: number, signal?: AbortSignal): Promise<void> {
    const closing = this.#closing.signal
    if (closing.aborted || signal?.aborted) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        closing.removeEventListener('abort', done)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      closing.addEventListener('abort', done)
      signal?.addEventListener('abort', done)
    })
  }

  /** Closes every connection. What is not answered fails with ClientClosedError. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#closing.abort()
    const all = [...this.#links.values()]
    this.#links.clear()
    await Promise.all(
      all.map(async ({ opening }) => {
        const connection = await opening.catch(() => null)
        await connection?.close()
      }),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function addressOf({ host, port }: HostAndPort): string {
  return `${host}:${port}`
}
