// Hot path.
/**
 * The way from a producer to one broker: a connection, the requests on it that have no answer yet,
 * and how long the broker asked to be left alone.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import {
  Produce,
  type ProduceRequestInput,
  type ProduceResponse,
} from '../protocol/messages/produce.ts'
import type { BrokerConnection } from './broker-connection.ts'
import { ClientError, UnsupportedVersionError } from './errors.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerBatch } from './producer-batch.ts'

/** A batch on its way, and whose it is. */
export interface Shipment {
  readonly queue: PartitionQueue
  readonly batch: ProducerBatch
  readonly bytes: Buffer
}

/** What came of a batch. */
export interface ProduceOutcome {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly baseOffset: number
  readonly logAppendTimeMs: number
  /** Indices in the batch of records that the broker finds wrong, with the reason. */
  readonly recordErrors: ReadonlyMap<number, string | null>
  /** What went wrong on this side, if nothing was answered. */
  readonly cause: Error | null
}

export interface BrokerSenderOptions {
  readonly brokerId: number
  readonly acks: number
  readonly codec: number
  readonly timeoutMs: number
  readonly maxInFlight: number
  readonly connect: () => Promise<BrokerConnection>
  /** Called for each batch, and then `onProgress` once. */
  readonly onOutcome: (shipment: Shipment, outcome: ProduceOutcome) => void
  readonly onProgress: (throttleTimeMs: number) => void
  readonly onUnreachable: (error: Error) => void
}

/** The first version with batches of format 2, and the first that may carry zstd. */
const FIRST_VERSION = 3
const FIRST_ZSTD_VERSION = 7
const ZSTD = 4
const NO_RECORD_ERRORS: ReadonlyMap<number, string | null> = new Map()

export class BrokerSender {
  readonly brokerId: number
  readonly #options: BrokerSenderOptions
  #connection: BrokerConnection | null = null
  #isConnecting = false
  #inFlight = 0
  /** By the monotonic clock: no request and no attempt to connect before. */
  notBeforeMs = 0

  constructor(options: BrokerSenderOptions) {
    this.brokerId = options.brokerId
    this.#options = options
  }

  /** Requests that may be sent now. */
  get room(): number {
    if (this.#connection?.isOpen !== true) return 0
    return this.#options.maxInFlight - this.#inFlight
  }

  /** Connects if that is needed and not under way; `onProgress` or `onUnreachable` follows. */
  connect(): void {
    if (this.#isConnecting || this.#connection?.isOpen === true) return
    this.#isConnecting = true
    this.#options.connect().then(
      (connection) => {
        this.#isConnecting = false
        this.#connection = connection
        this.#options.onProgress(0)
      },
      (error: Error) => {
        this.#isConnecting = false
        this.#options.onUnreachable(error)
      },
    )
  }

  /** Sends one request; at most one batch of each partition. There must be room. */
  send(shipments: readonly Shipment[]): void {
    this.#inFlight += 1
    void this.#exchange(shipments).then((throttleTimeMs) => {
      this.#inFlight -= 1
      this.#options.onProgress(throttleTimeMs)
    })
  }

  /** Tells the outcome of each and returns the throttle time. Never throws. */
  async #exchange(shipments: readonly Shipment[]): Promise<number> {
    const { acks, timeoutMs } = this.#options
    const connection = this.#connection as BrokerConnection
    try {
      const version = this.#versionOf(connection)
      const { topicData, payloads } = contentOf(shipments)
      const request = { transactionalId: null, acks, timeoutMs, topicData }
      if (acks === 0) {
        await connection.sendWithoutResponse(Produce, request, { version, payloads })
        for (const shipment of shipments) this.#options.onOutcome(shipment, STORED_UNSEEN)
        return 0
      }
      const answer = await connection.send(Produce, request, { version, payloads, timeoutMs })
      this.#tell(shipments, answer)
      return answer.throttleTimeMs
    } catch (error) {
      const outcome = outcomeOfFailure(error as Error)
      for (const shipment of shipments) this.#options.onOutcome(shipment, outcome)
      return 0
    }
  }

  #versionOf(connection: BrokerConnection): number {
    const version = connection.versionOf(Produce)
    const first = this.#options.codec === ZSTD ? FIRST_ZSTD_VERSION : FIRST_VERSION
    if (version >= first) return version
    const what = first === FIRST_VERSION ? 'record batches (since 0.11)' : 'zstd (since 2.1)'
    throw new UnsupportedVersionError(
      `the broker at ${connection.host}:${connection.port} is too old for ${what}`,
    )
  }

  #tell(shipments: readonly Shipment[], answer: ProduceResponse): void {
    const outcomes = new Map<string, Map<number, ProduceOutcome>>()
    for (const { name, partitionResponses } of answer.responses) {
      const ofTopic = new Map<number, ProduceOutcome>()
      outcomes.set(name, ofTopic)
      for (const one of partitionResponses) {
        const { index, errorCode, errorMessage, baseOffset, logAppendTimeMs } = one
        const recordErrors =
          one.recordErrors.length === 0
            ? NO_RECORD_ERRORS
            : new Map(
                one.recordErrors.map(
                  (each) => [each.batchIndex, each.batchIndexErrorMessage] as const,
                ),
              )
        ofTopic.set(index, {
          errorCode,
          errorMessage,
          baseOffset,
          logAppendTimeMs,
          recordErrors,
          cause: null,
        })
      }
    }
    for (const shipment of shipments) {
      const { topic, partition } = shipment.queue
      this.#options.onOutcome(shipment, outcomes.get(topic)?.get(partition) ?? UNANSWERED)
    }
  }
}

/** Topics and partitions of a request, and the payloads in the same order. */
function contentOf(shipments: readonly Shipment[]): {
  topicData: ProduceRequestInput['topicData']
  payloads: Buffer[]
} {
  const byTopic = new Map<string, Shipment[]>()
  for (const shipment of shipments) {
    const { topic } = shipment.queue
    const known = byTopic.get(topic)
    if (known === undefined) byTopic.set(topic, [shipment])
    else known.push(shipment)
  }
  const payloads: Buffer[] = []
  const topicData: ProduceRequestInput['topicData'][number][] = []
  for (const [name, ofTopic] of byTopic) {
    const partitionData = []
    for (const { queue, bytes } of ofTopic) {
      partitionData.push({ index: queue.partition, records: { bytes: bytes.length } })
      payloads.push(bytes)
    }
    topicData.push({ name, partitionData })
  }
  return { topicData, payloads }
}

const STORED_UNSEEN: ProduceOutcome = {
  errorCode: 0,
  errorMessage: null,
  baseOffset: -1,
  logAppendTimeMs: -1,
  recordErrors: NO_RECORD_ERRORS,
  cause: null,
}

const UNANSWERED: ProduceOutcome = {
  ...STORED_UNSEEN,
  errorCode: ErrorCode.UNKNOWN_SERVER_ERROR,
  errorMessage: 'the broker left a partition out of its answer',
}

function outcomeOfFailure(error: Error): ProduceOutcome {
  const isRetriable = error instanceof ClientError && error.retriable
  return {
    ...STORED_UNSEEN,
    errorCode: isRetriable ? ErrorCode.NETWORK_EXCEPTION : ErrorCode.UNKNOWN_SERVER_ERROR,
    errorMessage: error.message,
    cause: error,
  }
}
