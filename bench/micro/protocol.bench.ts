/** Codecs of the messages that the hot path reads and writes; record payloads stay outside. */
import { decodeRequest, encodeResponse } from '../../src/protocol/codec.ts'
import { readRequestHeader, writeRequestFrame } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import type { ApiSchema, RequestInput } from '../../src/protocol/schema.ts'
import { TOPIC } from './samples.ts'
import type { Suite, Work } from './suite.ts'

const records = Buffer.alloc(1000)

function partitions<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index))
}

function decoding<A extends ApiSchema>(
  name: string,
  api: A,
  version: number,
  value: RequestInput<A>,
): Work {
  const writer = new MessageWriter()
  const header = { apiVersion: version, correlationId: 7, clientId: 'bench' }
  writeRequestFrame(writer, api, header, value)
  const frame = Buffer.from(writer.written)
  const reader = new MessageReader()
  const flexible = version >= Number.parseInt(api.flexible, 10)
  return {
    name: `decode ${name}`,
    sync: () => {
      reader.reset(frame, 4, frame.length, false)
      readRequestHeader(reader, flexible)
      return decodeRequest(api, version, reader)
    },
  }
}

const writer = new MessageWriter()

const produceOf = (count: number): RequestInput<typeof Produce> => ({
  acks: -1,
  timeoutMs: 30_000,
  topicData: [{ name: TOPIC, partitionData: partitions(count, (index) => ({ index, records })) }],
})

const fetchOf = (count: number): RequestInput<typeof Fetch> => ({
  maxWaitMs: 500,
  minBytes: 1,
  maxBytes: 1 << 20,
  topics: [
    {
      topic: TOPIC,
      partitions: partitions(count, (partition) => ({
        partition,
        fetchOffset: 1_000_000,
        partitionMaxBytes: 1 << 20,
      })),
    },
  ],
})

const produceAnswer = {
  responses: [
    {
      name: TOPIC,
      partitionResponses: [{ index: 0, errorCode: 0, baseOffset: 123_456_789, logStartOffset: 0 }],
    },
  ],
}

const fetchAnswer = {
  responses: [
    {
      topic: TOPIC,
      partitions: partitions(8, (partitionIndex) => ({
        partitionIndex,
        errorCode: 0,
        highWatermark: 1_000_000,
        lastStableOffset: 1_000_000,
        logStartOffset: 0,
        records: { bytes: 1000 },
      })),
    },
  ],
}

const metadataAnswer = {
  brokers: [{ nodeId: 0, host: '127.0.0.1', port: 9092 }],
  clusterId: 'bench',
  controllerId: 0,
  topics: partitions(10, (t) => ({
    errorCode: 0,
    name: `topic-${t}`,
    partitions: partitions(8, (partitionIndex) => ({
      errorCode: 0,
      partitionIndex,
      leaderId: 0,
      replicaNodes: [0],
      isrNodes: [0],
    })),
  })),
}

export const protocolSuite: Suite = {
  name: 'protocol codecs',
  async prepare() {
    const work: Work[] = [
      decoding('Produce 9 request, 1 partition', Produce, 9, produceOf(1)),
      decoding('Produce 9 request, 8 partitions', Produce, 9, produceOf(8)),
      decoding('Fetch 11 request, 1 partition', Fetch, 11, fetchOf(1)),
      decoding('Fetch 11 request, 8 partitions', Fetch, 11, fetchOf(8)),
      decoding('Metadata 9 request', Metadata, 9, { topics: [{ name: TOPIC }] }),
      {
        name: 'encode Produce 9 response',
        sync: () => encodeResponse(Produce, 9, writer.reset(), produceAnswer),
      },
      {
        name: 'encode Fetch 11 response, 8 partitions',
        sync: () => encodeResponse(Fetch, 11, writer.reset(), fetchAnswer),
      },
      {
        name: 'encode Metadata 9 response, 80 partitions',
        sync: () => encodeResponse(Metadata, 9, writer.reset(), metadataAnswer),
      },
    ]
    return { work, end: async () => undefined }
  },
}
