// Hot path.
/**
 * Produce: finds each partition, posts its records to the owner shard, and lets the shard answer
 * from a template. The records stay in native memory; see `docs/internals/server.md`.
 */

import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import { addon } from '../../native/addon.ts'
import type { Connection } from '../../network/connection.ts'
import type { Frame } from '../../network/request-handler.ts'
import { decodeRequest, decodeResponse } from '../../protocol/codec.ts'
import { ErrorCode, errorMessage } from '../../protocol/error-codes.ts'
import { readRequestHeader, readResponseHeader } from '../../protocol/headers.ts'
import { MessageReader } from '../../protocol/message-reader.ts'
import { Produce, type ProduceRequest } from '../../protocol/messages/produce.ts'
import type { RecordsPlace } from '../../protocol/schema.ts'
import type { Partition } from '../../replica/partition.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { Clock } from '../../util/clock.ts'
import { errorOfMissing } from '../hosted-partition.ts'
import type { Leader, LeaderHints } from '../leader-hints.ts'
import { shapeError } from '../record-shape.ts'
import type { Responder } from '../responder.ts'

/** Numbers per slice; see `Produce` in native/addon.cc. */
const SLICE = 11
/** Numbers per result; see `RequestResults` there. */
const RESULT = 6
const FIRST_FLEXIBLE = 9
/** From here on records are one batch of format 2. */
const FIRST_CHECKED_SHAPE = 3
/** Below it a storage error is unknown to clients. */
const FIRST_STORAGE_ERROR = 4
/** Answers say who leads instead (KIP-951). */
const FIRST_CURRENT_LEADER = 10

export interface ProduceServices {
  readonly responder: Responder
  readonly replicas: ReplicaManager
  readonly metadata: MetadataCache
  readonly leaders: LeaderHints
  readonly clock: Clock
  readonly brokerId: number
}

interface PartitionAnswer {
  index: number
  errorCode: number
  baseOffset: number
  logAppendTimeMs: number
  logStartOffset: number
  recordErrors: { batchIndex: number; batchIndexErrorMessage: string | null }[]
  errorMessage: string | null
  currentLeader: Leader | undefined
}

function failed(index: number, errorCode: number, message?: string): PartitionAnswer {
  return {
    index,
    errorCode,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    recordErrors: [],
    errorMessage: message ?? errorMessage(errorCode),
    currentLeader: undefined,
  }
}

function appended(index: number): PartitionAnswer {
  return {
    index,
    errorCode: 0,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    recordErrors: [],
    errorMessage: null,
    currentLeader: undefined,
  }
}

export class ProduceHandler {
  readonly #services: ProduceServices
  readonly #answerReader = new MessageReader()
  #slices = new Float64Array(64 * SLICE)
  #results = new Float64Array(64 * RESULT)
  #answer = Buffer.allocUnsafeSlow(4096)
  /** The bytes of the request in work, once a partition of it is refused. */
  #refusedFrame: Buffer | null = null

  constructor(services: ProduceServices) {
    this.#services = services
  }

  handle(frame: Frame): void {
    const { responder, replicas, clock } = this.#services
    const version = frame.apiVersion
    const reader = responder.readProduce(frame)
    if (reader === null) return
    readRequestHeader(reader, version >= FIRST_FLEXIBLE)
    const request = decodeRequest(Produce, version, reader)
    const refusal = this.#refuseWhole(request)
    const now = clock.nowMs()
    const deadlineMs = request.acks === -1 ? clock.monotonicMs() + request.timeoutMs : 0
    let slices = 0
    let ordinal = 0
    let refused = 0
    const responses = []
    for (const { name, partitionData } of request.topicData) {
      const answers: PartitionAnswer[] = []
      for (const { index, records } of partitionData) {
        const partition = replicas.partition(name, index)
        let wrong = refusal ?? this.#refuse(name, index, partition, version)
        if (wrong !== null && refusal === null) wrong = this.#malformed(wrong, frame, records)
        else if (wrong === null && (records === null || records.bytes === 0)) {
          wrong = failed(index, ErrorCode.INVALID_RECORD, 'A partition without records.')
        }
        if (wrong === null && records !== null && partition !== undefined) {
          this.#setSlice(slices, partition, records.position, records.bytes, now, ordinal)
          this.#slices[slices * SLICE + 10] = deadlineMs
          if (request.acks === -1) replicas.deadlines.note(partition, deadlineMs)
          slices += 1
          answers.push(appended(index))
        } else {
          answers.push({ ...(wrong as PartitionAnswer), index })
          refused += 1
        }
        ordinal += 1
      }
      responses.push({ name, partitionResponses: answers })
    }
    this.#refusedFrame = null
    const nodeEndpoints =
      refused > 0 ? this.#endpointsFor(responses, version, frame.connection) : undefined
    responder.encode(Produce, version, frame.correlationId, { responses, nodeEndpoints })
    if (slices === 0) {
      this.#answerWithoutAppend(frame, request)
      return
    }
    this.#placeHoles(slices, version)
    const posted = addon.produce(
      responder.transport,
      frame.connection.id,
      frame.sequence,
      request.acks,
      responder.writer.buffer,
      0,
      responder.writer.at,
      this.#slices,
      slices,
    )
    // Without an answer, closing is how a client learns that a part failed; the rest is appended.
    const isSilentFailure = request.acks === 0 && refused > 0
    if (!posted || isSilentFailure) {
      addon.closeConnection(responder.transport, frame.connection.id)
    }
  }

  #answerWithoutAppend(frame: Frame, request: ProduceRequest): void {
    const { responder } = this.#services
    addon.releaseFrame(responder.transport, frame.connection.id, frame.sequence)
    if (request.acks !== 0) {
      responder.sendEncoded(frame.connection.id, frame.sequence)
    } else if (request.topicData.length > 0) {
      // Without an answer, closing is how a client learns of the failure.
      addon.closeConnection(responder.transport, frame.connection.id)
    } else {
      responder.complete(frame)
    }
  }

  #refuseWhole(request: ProduceRequest): PartitionAnswer | null {
    if (request.acks < -1 || request.acks > 1) return failed(0, ErrorCode.INVALID_REQUIRED_ACKS)
    if (request.transactionalId !== null) {
      return failed(
        0,
        ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        'This broker does not support transactions.',
      )
    }
    return null
  }

  #refuse(
    topic: string,
    index: number,
    partition: Partition | undefined,
    version: number,
  ): PartitionAnswer | null {
    if (partition === undefined) {
      return this.#misdirected(
        topic,
        index,
        undefined,
        errorOfMissing(this.#services.metadata, topic, index),
      )
    }
    if (!partition.isOnline) {
      return failed(
        0,
        version >= FIRST_STORAGE_ERROR
          ? ErrorCode.KAFKA_STORAGE_ERROR
          : ErrorCode.NOT_LEADER_OR_FOLLOWER,
      )
    }
    if (partition.isLeader) return null
    return this.#misdirected(topic, index, partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  }

  /** Records of the wrong shape are refused as that, whoever leads the partition. */
  #malformed(
    refused: PartitionAnswer,
    frame: Frame,
    records: RecordsPlace | null,
  ): PartitionAnswer {
    const version = frame.apiVersion
    const isKnown = refused.errorCode !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if (version < FIRST_CHECKED_SHAPE || records === null || !isKnown) return refused
    const { transport } = this.#services.responder
    if (this.#refusedFrame === null) {
      const bytes = Buffer.allocUnsafeSlow(frame.bytes)
      const n = addon.readFrame(transport, frame.connection.id, frame.sequence, bytes)
      if (n < 0) return refused
      this.#refusedFrame = bytes
    }
    const { position, bytes } = records
    const errorCode = shapeError(this.#refusedFrame.subarray(position, position + bytes), version)
    return errorCode === ErrorCode.NONE ? refused : failed(0, errorCode)
  }

  #misdirected(
    topic: string,
    index: number,
    partition: Partition | undefined,
    errorCode: number,
  ): PartitionAnswer {
    const answer = failed(0, errorCode)
    answer.currentLeader = this.#services.leaders.of(errorCode, topic, index, partition)
    return answer
  }

  /** Where the leaders are that the answers name. */
  #endpointsFor(
    responses: readonly {
      readonly partitionResponses: readonly { currentLeader?: Leader | undefined }[]
    }[],
    version: number,
    connection: Connection,
  ) {
    if (version < FIRST_CURRENT_LEADER) return undefined
    const leaders = new Set<number>()
    for (const { partitionResponses } of responses) {
      for (const { currentLeader } of partitionResponses) {
        if (currentLeader !== undefined && currentLeader.leaderId >= 0) {
          leaders.add(currentLeader.leaderId)
        }
      }
    }
    if (leaders.size === 0) return undefined
    return this.#services.leaders.endpoints(leaders, connection.listenerName)
  }

  #setSlice(
    slice: number,
    partition: Partition,
    position: number,
    bytes: number,
    now: number,
    ordinal: number,
  ): void {
    if ((slice + 1) * SLICE > this.#slices.length) {
      const larger = new Float64Array(this.#slices.length * 2)
      larger.set(this.#slices)
      this.#slices = larger
    }
    const at = slice * SLICE
    const slices = this.#slices
    slices[at] = partition.log
    slices[at + 1] = position
    slices[at + 2] = bytes
    slices[at + 3] = partition.leaderEpoch
    slices[at + 4] = now
    slices[at + 5] = ordinal
  }

  /** The writer noted the holes of every partition of the answer; the slices want their own. */
  #placeHoles(count: number, version: number): void {
    const { holes } = this.#services.responder.writer
    const width = version >= 5 ? 4 : version >= 2 ? 3 : 2
    for (let i = 0; i < count; i += 1) {
      const at = i * SLICE
      const from = (this.#slices[at + 5] as number) * width
      for (let k = 0; k < 4; k += 1) {
        this.#slices[at + 6 + k] = k < width ? (holes[from + k] as number) : -1
      }
    }
  }

  /** A shard could not append everything: encodes the answer from the results. */
  handleResult(connection: Connection, sequence: number, version: number): void {
    const { responder } = this.#services
    let bytes = addon.requestHead(responder.transport, connection.id, sequence, this.#answer)
    while (bytes === -3) {
      this.#answer = Buffer.allocUnsafeSlow(this.#answer.length * 2)
      bytes = addon.requestHead(responder.transport, connection.id, sequence, this.#answer)
    }
    if (bytes < 0) return
    let count = addon.requestResults(responder.transport, connection.id, sequence, this.#results)
    while (count === -3) {
      this.#results = new Float64Array(this.#results.length * 2)
      count = addon.requestResults(responder.transport, connection.id, sequence, this.#results)
    }
    const reader = this.#answerReader.reset(this.#answer, 4, bytes, false)
    const correlationId = readResponseHeader(reader, Produce, version)
    const answer = decodeResponse(Produce, version, reader)
    const partitions = answer.responses.flatMap((topic) => topic.partitionResponses)
    const topics = answer.responses.flatMap(({ name, partitionResponses }) =>
      partitionResponses.map(() => name),
    )
    for (let i = 0; i < count; i += 1) {
      const at = i * RESULT
      const partition = partitions[this.#results[at] as number]
      if (partition === undefined) continue
      const error = this.#results[at + 1] as number
      partition.baseOffset = this.#results[at + 2] as number
      partition.logAppendTimeMs = this.#results[at + 3] as number
      partition.logStartOffset = this.#results[at + 4] as number
      partition.errorCode =
        error === ErrorCode.KAFKA_STORAGE_ERROR && version < FIRST_STORAGE_ERROR
          ? ErrorCode.NOT_LEADER_OR_FOLLOWER
          : error
      if (error === 0) continue
      const hint = this.#leaderInstead(error, topics[this.#results[at] as number], partition.index)
      if (hint !== undefined) partition.currentLeader = { ...hint }
      const message = errorMessage(error)
      partition.errorMessage = message
      const record = this.#results[at + 5] as number
      if (record >= 0) {
        partition.recordErrors = [{ batchIndex: record, batchIndexErrorMessage: message }]
      }
    }
    const nodeEndpoints = this.#endpointsFor(answer.responses, version, connection) ?? []
    responder.encode(Produce, version, correlationId, { ...answer, nodeEndpoints })
    responder.sendEncoded(connection.id, sequence)
  }

  #leaderInstead(errorCode: number, topic: string | undefined, index: number): Leader | undefined {
    if (topic === undefined || errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER) return undefined
    const { leaders, replicas } = this.#services
    return leaders.of(errorCode, topic, index, replicas.partition(topic, index))
  }
}
