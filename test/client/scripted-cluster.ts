/**
 * A cluster in memory that answers as a test says. Requests and answers go through the real codecs
 * in the version that the test gives, so that what a version cannot carry is found.
 */
import assert from 'node:assert/strict'
import type { FramedResponse, SendOptions } from '../../src/client/broker-connection.ts'
import type { ClusterMetadata, PartitionMetadata } from '../../src/client/cluster.ts'
import type { ClusterAccess, ConnectionAccess } from '../../src/client/cluster-access.ts'
import { ClientClosedError, ClientError } from '../../src/client/errors.ts'
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../../src/protocol/schema.ts'

export interface SentRequest {
  /** -1: the coordinator. */
  readonly node: number
  readonly api: string
  readonly version: number
  readonly request: unknown
}

type Answer = (request: never, node: number, version: number) => unknown

export interface ScriptedTopic {
  readonly topicId?: string
  readonly errorCode?: number
  /** Leader of each partition, and its epoch. */
  readonly leaders: readonly (readonly [leaderId: number, leaderEpoch: number])[]
}

export class ScriptedCluster implements ClusterAccess {
  readonly sent: SentRequest[] = []
  readonly forgotten: string[] = []
  /** Highest version of an API that the brokers serve, where it is not our own. */
  readonly versions = new Map<string, number>()
  topics: Record<string, ScriptedTopic> = {}
  brokers = [1, 2, 3]
  racks: readonly (string | null)[] = [null, null, null]
  metadataRequests = 0
  #closed = false
  readonly #answers = new Map<string, Answer>()

  /** What brokers answer to an API from now on. What it throws the client sees as it is. */
  on<A extends ApiSchema>(
    api: A,
    answer: (
      request: RequestOf<A>,
      node: number,
      version: number,
    ) => ResponseInput<A> | Promise<ResponseInput<A>>,
  ): void {
    this.#answers.set(api.name, answer as Answer)
  }

  /** The requests of an API so far. */
  requests<A extends ApiSchema>(api: A): RequestOf<A>[] {
    return this.sent.filter((one) => one.api === api.name).map((one) => one.request as RequestOf<A>)
  }

  async metadata(names: readonly string[] | null): Promise<ClusterMetadata> {
    this.metadataRequests += 1
    const wanted = names ?? Object.keys(this.topics)
    return {
      clusterId: 'scripted',
      controllerId: 1,
      brokers: this.brokers.map((brokerId, i) => {
        return { brokerId, host: 'h', port: 1, rack: this.racks[i] ?? null }
      }),
      topics: new Map(wanted.map((name) => [name, this.#topic(name)])),
    }
  }

  #topic(name: string) {
    const topic = this.topics[name]
    const partitions: PartitionMetadata[] = (topic?.leaders ?? []).map(
      ([leaderId, leaderEpoch], partition) => ({
        ...{ partition, errorCode: 0, leaderId, leaderEpoch },
        ...{ replicas: this.brokers, isr: this.brokers, offlineReplicas: [] },
      }),
    )
    const topicId = topic?.topicId ?? 'AAAAAAAAAAAAAAAAAAAAAA'
    return {
      name,
      errorCode: topic ? (topic.errorCode ?? 0) : 3,
      topicId,
      isInternal: false,
      partitions,
    }
  }

  async broker(brokerId: number): Promise<ConnectionAccess> {
    return this.#connection(brokerId)
  }

  async coordinator(): Promise<ConnectionAccess> {
    return this.#connection(-1)
  }

  forgetCoordinator(kind: string, key: string): void {
    this.forgotten.push(`${kind} ${key}`)
  }

  /** Without pauses, and without an end: a test that fails runs into its own time limit. */
  async retry<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      if (this.#closed) throw new ClientClosedError()
      try {
        return await attempt()
      } catch (error) {
        if (!(error instanceof ClientError) || !error.retriable) throw error
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #connection(node: number): ConnectionAccess {
    const sendFramed = <A extends ApiSchema>(
      api: A,
      request: RequestInput<A>,
      options: SendOptions = {},
    ) => this.#send(node, api, request, options.version ?? this.#versionOf(api))
    return {
      versionOf: (api) => this.#versionOf(api),
      sendFramed,
      send: async (api, request, options) => (await sendFramed(api, request, options)).response,
    }
  }

  #versionOf(api: ApiSchema): number {
    return this.versions.get(api.name) ?? parseVersions(api.versions).max
  }

  async #send<A extends ApiSchema>(
    node: number,
    api: A,
    input: RequestInput<A>,
    version: number,
  ): Promise<FramedResponse<A>> {
    if (this.#closed) throw new ClientClosedError()
    const writer = new MessageWriter()
    encodeRequest(api, version, writer, input)
    const sent = Buffer.from(writer.written)
    const request = decodeRequest(
      api,
      version,
      new MessageReader().reset(sent, 0, sent.length, false),
    )
    this.sent.push({ node, api: api.name, version, request })
    const answer = this.#answers.get(api.name) as
      | ((request: RequestOf<A>, node: number, version: number) => ResponseInput<A>)
      | undefined
    assert.ok(answer, `nobody answers ${api.name}`)
    const output = await answer(request, node, version)
    encodeResponse(api, version, writer.reset(), output)
    const frame = Buffer.from(writer.written)
    const reader = new MessageReader().reset(frame, 0, frame.length, false)
    const response: ResponseOf<A> = decodeResponse(api, version, reader)
    return { response, frame, version }
  }
}
