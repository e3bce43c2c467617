/** A link to a leader over the native transport: what is fetched does not enter JavaScript. */
import type { OutboundConnection, ReceivedFrame } from '../network/outbound-connection.ts'
import type { Transport } from '../network/transport.ts'
import { decodeResponse } from '../protocol/codec.ts'
import { readResponseHeader, writeRequestFrame } from '../protocol/headers.ts'
import { MessageReader } from '../protocol/message-reader.ts'
import { MessageWriter } from '../protocol/message-writer.ts'
import { Fetch, type FetchRequestInput } from '../protocol/messages/fetch.ts'
import { ListOffsets } from '../protocol/messages/list-offsets.ts'
import type { ApiSchema, RequestInput } from '../protocol/schema.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import type {
  FetchAnswer,
  LeaderAddress,
  LeaderLink,
  LeaderOffsets,
  OpenLeaderLink,
} from './leader-link.ts'

/** What Apache Kafka 3.9 speaks between brokers. */
const FETCH_VERSION = 17
const LIST_OFFSETS_VERSION = 8
const CONNECT_TIMEOUT_MS = 3000
const LATEST = -1
const EARLIEST = -2

export interface LeaderLinkOptions {
  readonly transport: Transport
  readonly timers: TimerQueue
  /** This broker, as replica. */
  readonly brokerId: number
  /** How long an answer may take. */
  readonly timeoutMs: number
}

/** Links of that broker. */
export function nativeLeaderLinks(options: LeaderLinkOptions): OpenLeaderLink {
  return async (leader) => {
    const connection = await connectInTime(options, leader)
    return new NativeLeaderLink(options, leader, connection)
  }
}

/** What does not answer at all would be waited for minutes. */
function connectInTime(
  { transport, timers, timeoutMs }: LeaderLinkOptions,
  { host, port }: LeaderAddress,
): Promise<OutboundConnection> {
  const patienceMs = Math.min(timeoutMs, CONNECT_TIMEOUT_MS)
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = timers.schedule(patienceMs, () => {
      isLate = true
      reject(new Error(`no connection to ${host}:${port} within ${patienceMs} ms`))
    })
    transport.connect(host, port).then(
      (connection) => {
        timer.cancel()
        if (isLate) connection.close()
        else resolve(connection)
      },
      (error: unknown) => {
        timer.cancel()
        reject(error)
      },
    )
  })
}

class NativeLeaderLink implements LeaderLink {
  readonly #options: LeaderLinkOptions
  readonly #leader: LeaderAddress
  readonly #connection: OutboundConnection
  readonly #writer = new MessageWriter()
  readonly #reader = new MessageReader()
  readonly #clientId: string
  #nextCorrelationId = 0

  constructor(options: LeaderLinkOptions, leader: LeaderAddress, connection: OutboundConnection) {
    this.#options = options
    this.#leader = leader
    this.#connection = connection
    this.#clientId = `broker-${options.brokerId}-fetcher-0`
  }

  async fetch(request: FetchRequestInput): Promise<FetchAnswer> {
    const frame = await this.#exchange(Fetch, FETCH_VERSION, request)
    const connection = this.#connection
    try {
      const bytes = connection.readFetchHead(frame, FETCH_VERSION)
      this.#reader.reset(connection.scratch, 0, bytes, true)
      readResponseHeader(this.#reader, Fetch, FETCH_VERSION)
      return {
        response: decodeResponse(Fetch, FETCH_VERSION, this.#reader),
        append: (records) => connection.append(frame, records),
        drop: () => connection.drop(frame),
      }
    } catch (error) {
      connection.drop(frame)
      connection.close()
      throw error
    }
  }

  async offsets(partition: {
    readonly topic: string
    readonly partition: number
    readonly leaderEpoch: number
  }): Promise<LeaderOffsets> {
    const [start, end] = await Promise.all([
      this.#offset(partition, EARLIEST),
      this.#offset(partition, LATEST),
    ])
    const errorCode = start.errorCode === 0 ? end.errorCode : start.errorCode
    return { errorCode, logStart: start.offset, logEnd: end.offset }
  }

  async #offset(
    { topic, partition, leaderEpoch }: { topic: string; partition: number; leaderEpoch: number },
    timestamp: number,
  ): Promise<{ errorCode: number; offset: number }> {
    const wanted = { partitionIndex: partition, currentLeaderEpoch: leaderEpoch, timestamp }
    const frame = await this.#exchange(ListOffsets, LIST_OFFSETS_VERSION, {
      replicaId: this.#options.brokerId,
      isolationLevel: 0,
      topics: [{ name: topic, partitions: [wanted] }],
    })
    try {
      const bytes = this.#connection.readFrame(frame)
      this.#reader.reset(this.#connection.scratch, 0, bytes, false)
      readResponseHeader(this.#reader, ListOffsets, LIST_OFFSETS_VERSION)
      const answer = decodeResponse(ListOffsets, LIST_OFFSETS_VERSION, this.#reader)
      const found = answer.topics[0]?.partitions[0]
      if (found === undefined) throw new Error('an answer to ListOffsets without the partition')
      return { errorCode: found.errorCode, offset: found.offset }
    } finally {
      this.#connection.drop(frame)
    }
  }

  #exchange<A extends ApiSchema>(
    api: A,
    apiVersion: number,
    request: RequestInput<A>,
  ): Promise<ReceivedFrame> {
    this.#nextCorrelationId = (this.#nextCorrelationId + 1) & 0x7fffffff
    const header = { apiVersion, correlationId: this.#nextCorrelationId, clientId: this.#clientId }
    writeRequestFrame(this.#writer.reset(), api, header, request)
    const timer = this.#options.timers.schedule(this.#options.timeoutMs, this.#expire)
    return this.#connection.exchange(this.#writer.buffer, this.#writer.at).then(
      (frame) => {
        timer.cancel()
        return frame
      },
      (error: unknown) => {
        timer.cancel()
        throw error
      },
    )
  }

  readonly #expire = (): void => this.close()

  close(): void {
    this.#connection.close()
  }

  toString(): string {
    return `broker ${this.#leader.brokerId} at ${this.#leader.host}:${this.#leader.port}`
  }
}
