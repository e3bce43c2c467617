/**
 * Reads partitions by offset, one request at a time, and keeps nothing in between: no group, no
 * position, no reading ahead. The consumer of Kafka's first years, for tools and for programs that
 * keep their offsets themselves.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import { Fetch } from '../protocol/messages/fetch.ts'
import { ListOffsets } from '../protocol/messages/list-offsets.ts'
import type { BrokerConnection } from './broker-connection.ts'
import type { ClientOptions } from './client-options.ts'
import { Cluster, type TopicMetadata } from './cluster.ts'
import { ConnectionError, errorFor, KafkaError, ProtocolError, throwIfError } from './errors.ts'
import { type ConsumerRecord, decodeRecords } from './records.ts'

export interface SimpleConsumerOptions extends ClientOptions {
  /** Checksums of records are compared unless this is false. */
  readonly checkCrcs?: boolean
  /** `read_uncommitted` */
  readonly isolationLevel?: 'read_uncommitted' | 'read_committed'
}

export interface SimpleFetch {
  readonly topic: string
  readonly partition: number
  /** Of the first record that is wanted. */
  readonly offset: number
  /** Of records; 1 MiB. A first batch that is larger comes whole, if the broker can do so. */
  readonly maxBytes?: number
  /** How long the broker waits for `minBytes`; 500 ms. */
  readonly maxWaitMs?: number
  /** 1 */
  readonly minBytes?: number
}

export interface SimpleFetchResult {
  readonly records: ConsumerRecord[]
  /** Where to go on: behind the last batch, which may end in what a program does not get. */
  readonly nextOffset: number
  /** Behind the last record that consumers may have. */
  readonly highWatermark: number
  /** As far as no transaction is open; -1 if the broker is too old to tell. */
  readonly lastStableOffset: number
  /** -1 if the broker is too old to tell. */
  readonly logStartOffset: number
}

/** From the next version on topics have ids in place of names. */
const LAST_VERSION_WITH_NAMES = 12
const CONSUMER = -1

export class SimpleConsumer {
  readonly #cluster: Cluster
  readonly #checkCrcs: boolean
  readonly #isCommittedOnly: boolean

  /** Connects when it is first asked. Throws InvalidArgumentError. */
  constructor(options: SimpleConsumerOptions) {
    this.#cluster = new Cluster(options)
    this.#checkCrcs = options.checkCrcs ?? true
    this.#isCommittedOnly = options.isolationLevel === 'read_committed'
  }

  /**
   * Reads from the leader of a partition. Throws OffsetOutOfRangeError where there is nothing (any
   * more, or yet), MessageTooLargeError when an old broker has a larger batch than `maxBytes`, and
   * every other ClientError once trying again has not helped for `requestTimeoutMs`.
   */
  async fetch(request: SimpleFetch): Promise<SimpleFetchResult> {
    const { topic, partition, offset, maxBytes = 1 << 20 } = request
    const { answer, frame } = await this.#atLeader(topic, partition, (connection, leaderEpoch) =>
      this.#fetchFrom(connection, { ...request, maxBytes, leaderEpoch }),
    )
    const { position = 0, bytes = 0 } = answer.records ?? {}
    const { records, nextOffset } = await decodeRecords(
      frame.subarray(position, position + bytes),
      {
        topic,
        partition,
        fetchOffset: offset,
        checkCrcs: this.#checkCrcs,
        abortedTransactions: this.#isCommittedOnly ? (answer.abortedTransactions ?? []) : null,
      },
    )
    if (bytes > 0 && nextOffset === offset) {
      throw errorFor(
        ErrorCode.MESSAGE_TOO_LARGE,
        `the batch at offset ${offset} of ${topic}-${partition} is larger than ${maxBytes} bytes`,
      )
    }
    const { highWatermark, lastStableOffset, logStartOffset } = answer
    return { records, nextOffset, highWatermark, lastStableOffset, logStartOffset }
  }

  async #fetchFrom(
    connection: BrokerConnection,
    request: SimpleFetch & { readonly maxBytes: number; readonly leaderEpoch: number },
  ) {
    const { topic, partition, offset, maxBytes, maxWaitMs = 500, minBytes = 1 } = request
    const version = Math.min(connection.versionOf(Fetch), LAST_VERSION_WITH_NAMES)
    const { response, frame } = await connection.sendFramed(
      Fetch,
      {
        maxWaitMs,
        minBytes,
        maxBytes,
        isolationLevel: this.#isCommittedOnly ? 1 : 0,
        topics: [
          {
            topic,
            partitions: [
              {
                partition,
                currentLeaderEpoch: request.leaderEpoch,
                fetchOffset: offset,
                partitionMaxBytes: maxBytes,
              },
            ],
          },
        ],
        forgottenTopicsData: [],
      },
      // The broker may take its time, and then needs some for the answer.
      { version, timeoutMs: maxWaitMs + this.#cluster.options.requestTimeoutMs },
    )
    throwIfError(response.errorCode)
    const answer = response.responses[0]?.partitions[0]
    if (answer === undefined) throw unanswered(topic, partition)
    throwIfError(answer.errorCode)
    return { answer, frame }
  }

  /** Topics with their partitions and leaders; null: all. One that is not there has its errorCode. */
  async topicMetadata(topics: readonly string[] | null): Promise<TopicMetadata[]> {
    const metadata = await this.#cluster.metadata(topics, { refresh: true })
    return [...metadata.topics.values()]
  }

  /**
   * Offsets where segments begin that were written before `timeMs`, and the end of the log if that
   * is before it too: the highest first, at most `maxNumOffsets`. -1 stands for the latest, -2 for
   * the earliest offset alone. Brokers that no longer answer this question (Apache Kafka 4) are
   * asked for one offset: that of the first record which is not before `timeMs`, or the end.
   */
  async getOffsetsBefore(
    topic: string,
    partition: number,
    timeMs: number,
    maxNumOffsets: number,
  ): Promise<number[]> {
    return await this.#atLeader(topic, partition, async (connection) => {
      const [oldest = 0] = connection.apiVersions.get(ListOffsets.key) ?? []
      if (oldest > 0) return await this.#offsetOf(connection, topic, partition, timeMs)
      const answer = await this.#listOffsets(connection, 0, {
        ...{ topic, partition, timestamp: timeMs, maxNumOffsets },
      })
      return answer.oldStyleOffsets
    })
  }

  async #offsetOf(
    connection: BrokerConnection,
    topic: string,
    partition: number,
    timestamp: number,
  ): Promise<number[]> {
    const version = connection.versionOf(ListOffsets)
    const { offset } = await this.#listOffsets(connection, version, {
      ...{ topic, partition, timestamp },
    })
    if (offset >= 0) return [offset]
    const end = await this.#listOffsets(connection, version, { topic, partition, timestamp: -1 })
    return [end.offset]
  }

  async #listOffsets(
    connection: BrokerConnection,
    version: number,
    wanted: {
      readonly topic: string
      readonly partition: number
      readonly timestamp: number
      readonly maxNumOffsets?: number
    },
  ) {
    const { topic, partition, timestamp, maxNumOffsets } = wanted
    const asked = { partitionIndex: partition, timestamp, ...(maxNumOffsets && { maxNumOffsets }) }
    const response = await connection.send(
      ListOffsets,
      {
        replicaId: CONSUMER,
        isolationLevel: version >= 2 && this.#isCommittedOnly ? 1 : 0,
        topics: [{ name: topic, partitions: [asked] }],
      },
      { version },
    )
    const answer = response.topics[0]?.partitions[0]
    if (answer === undefined) throw unanswered(topic, partition)
    throwIfError(answer.errorCode)
    return answer
  }

  /** Asks the leader, and asks anew who that is when the broker says that it is not. */
  async #atLeader<T>(
    topic: string,
    partition: number,
    ask: (connection: BrokerConnection, leaderEpoch: number) => Promise<T>,
  ): Promise<T> {
    return await this.#cluster.retry(async () => {
      const { connection, leaderEpoch } = await this.#cluster.leader(topic, partition)
      try {
        return await ask(connection, leaderEpoch)
      } catch (error) {
        const mayHaveMoved = error instanceof KafkaError || error instanceof ConnectionError
        if (mayHaveMoved && error.retriable) this.#cluster.invalidate(topic)
        throw error
      }
    })
  }

  /** Closes the connections; what is not answered fails with ClientClosedError. */
  async close(): Promise<void> {
    await this.#cluster.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function unanswered(topic: string, partition: number): ProtocolError {
  return new ProtocolError(`the broker left ${topic}-${partition} out of its answer`)
}
