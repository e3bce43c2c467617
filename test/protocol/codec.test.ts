/**
 * Codecs case by case: bytes written out by hand, records left out of the buffer, cuts and holes,
 * tagged fields, limits, and what encoding refuses.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  codecSource,
  decodeMessage,
  decodeRequest,
  decodeResponse,
  encodeMessage,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { ErrorCode, KafkaError } from '../../src/protocol/error-codes.ts'
import { MalformedMessageError, MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  ApiVersions,
  DescribeTopicPartitions,
  Fetch,
  Heartbeat,
  ListOffsets,
  Metadata,
  Produce,
} from '../../src/protocol/messages/index.ts'
import { defineMessage, ZERO_UUID } from '../../src/protocol/schema.ts'
import { arbitraryStruct, type Struct, versionsOf } from './arbitrary-message.ts'

function readerOf(bytes: Buffer, skipsPayload = false): MessageReader {
  return new MessageReader().reset(bytes, 0, bytes.length, skipsPayload)
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

test('a classic version has fixed lengths and a flexible one compact lengths and tags', () => {
  const writer = new MessageWriter()
  const value = { groupId: 'g', generationId: 7, memberId: 'm', groupInstanceId: null }
  encodeRequest(Heartbeat, 3, writer, value)
  assert.deepEqual(writer.written, hex('0001 67 00000007 0001 6d ffff'))
  encodeRequest(Heartbeat, 4, writer.reset(), value)
  assert.deepEqual(writer.written, hex('02 67 00000007 02 6d 00 00'))
  assert.deepEqual(decodeRequest(Heartbeat, 4, readerOf(writer.written)), value)
})

test('what a version lacks decodes to its default and may be left out when encoding', () => {
  const writer = new MessageWriter()
  encodeRequest(Heartbeat, 0, writer, { groupId: 'g', generationId: 1, memberId: 'm' })
  const decoded = decodeRequest(Heartbeat, 0, readerOf(writer.written))
  assert.equal(decoded.groupInstanceId, null)

  encodeResponse(Metadata, 0, writer.reset(), { brokers: [], topics: [] })
  const metadata = decodeResponse(Metadata, 0, readerOf(writer.written))
  assert.equal(metadata.controllerId, -1)
  assert.equal(metadata.clusterId, null)
})

test('int64 saturates at the integers that a number holds exactly', () => {
  const cases = [
    ['7fffffffffffffff', Number.MAX_SAFE_INTEGER],
    ['0020000000000000', Number.MAX_SAFE_INTEGER],
    ['001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['001ffffffffffffe', Number.MAX_SAFE_INTEGER - 1],
    ['0000000000000000', 0],
    ['ffffffffffffffff', -1],
    ['ffe0000000000002', Number.MIN_SAFE_INTEGER + 1],
    ['ffe0000000000001', Number.MIN_SAFE_INTEGER],
    ['ffe0000000000000', Number.MIN_SAFE_INTEGER],
    ['8000000000000000', Number.MIN_SAFE_INTEGER],
  ] as const
  for (const [bytes, number] of cases) assert.equal(readerOf(hex(bytes)).int64(), number, bytes)
})

test('int64 writes what it reads', () => {
  const writer = new MessageWriter()
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      writer.reset().int64(value)
      assert.equal(writer.written.readBigInt64BE(0), BigInt(value))
      assert.equal(readerOf(writer.written).int64(), value)
    }),
  )
})

test('records of a request are found in the frame that had its payloads left out', () => {
  for (const version of versionsOf(Produce)) {
    fc.assert(
      fc.property(arbitraryStruct(Produce.request, version, version >= 9), (value: Struct) => {
        const whole = new MessageWriter()
        encodeRequest(Produce, version, whole, value as never)
        const places = decodeRequest(Produce, version, readerOf(whole.written))

        const withoutPayload = new MessageWriter()
        encodeRequest(Produce, version, withoutPayload, lengthsOnly(value) as never)
        const reader = readerOf(withoutPayload.written, true)
        assert.deepEqual(decodeRequest(Produce, version, reader), places)
        assert.equal(reader.at + reader.gap, whole.at)
        assert.equal(reader.gap, withoutPayload.payloadBytes)
      }),
      { numRuns: 50 },
    )
  }
})

interface ProduceValue {
  readonly topicData: readonly {
    readonly partitionData: readonly { readonly records: Buffer | null }[]
  }[]
}

/** A Produce request whose payloads are given by their lengths. */
function lengthsOnly(value: Struct): unknown {
  return {
    ...value,
    topicData: (value as unknown as ProduceValue).topicData.map((topic) => ({
      ...topic,
      partitionData: topic.partitionData.map((partition) => ({
        ...partition,
        records: partition.records === null ? null : { bytes: partition.records.length },
      })),
    })),
  }
}

test('inserting payloads at the cuts gives the bytes of records written in line', () => {
  const payloads = [Buffer.from('first'), Buffer.alloc(0), Buffer.from('the third'), null]
  const response = (records: readonly (Buffer | { bytes: number } | null)[]) => ({
    responses: [
      {
        topic: 't',
        partitions: records.map((one, partitionIndex) => ({
          partitionIndex,
          errorCode: ErrorCode.NONE,
          highWatermark: 9,
          abortedTransactions: [],
          records: one,
        })),
      },
    ],
  })
  for (const version of versionsOf(Fetch)) {
    const whole = new MessageWriter()
    encodeResponse(Fetch, version, whole, response(payloads))
    assert.deepEqual(whole.cuts, [])

    const writer = new MessageWriter()
    const lengths = payloads.map((one) => (one === null ? null : { bytes: one.length }))
    encodeResponse(Fetch, version, writer, response(lengths))
    assert.equal(writer.payloadBytes, 14)
    assert.equal(writer.cuts.length, 2, 'an empty payload and a null one need no cut')
    const [first, second] = writer.cuts as [number, number]
    assert.deepEqual(
      Buffer.concat([
        writer.written.subarray(0, first),
        payloads[0] as Buffer,
        writer.written.subarray(first, second),
        payloads[2] as Buffer,
        writer.written.subarray(second),
      ]),
      whole.written,
    )
  }
})

test('a Produce response is patched at its holes', () => {
  const partition = (index: number, offset: number) => ({
    index,
    errorCode: offset < 0 ? ErrorCode.CORRUPT_MESSAGE : ErrorCode.NONE,
    baseOffset: offset,
    logAppendTimeMs: offset * 3,
    logStartOffset: offset * 5,
  })
  const response = (offsets: readonly [number, number]) => ({
    responses: [
      { name: 'a', partitionResponses: [partition(0, offsets[0])] },
      { name: 'bc', partitionResponses: [partition(7, offsets[1])] },
    ],
  })
  for (const version of versionsOf(Produce)) {
    const template = new MessageWriter()
    encodeResponse(Produce, version, template, response([0, 0]))
    const holesEach = version < 2 ? 2 : version < 5 ? 3 : 4
    assert.equal(template.holes.length, 2 * holesEach)

    for (const [index, offset] of [1234567890123, -1].entries()) {
      const { errorCode, ...offsets } = partition(0, offset)
      const holes = template.holes.slice(index * holesEach, (index + 1) * holesEach)
      template.buffer.writeInt16BE(errorCode, holes[0] as number)
      const values = [offsets.baseOffset, offsets.logAppendTimeMs, offsets.logStartOffset]
      for (const [hole, position] of holes.slice(1).entries()) {
        template.buffer.writeBigInt64BE(BigInt(values[hole] as number), position)
      }
    }
    const whole = new MessageWriter()
    encodeResponse(Produce, version, whole, response([1234567890123, -1]))
    assert.deepEqual(template.written, whole.written)
  }
})

test('a writer grows, is used again and forgets what it noted', () => {
  const writer = new MessageWriter(16)
  const value = { groupId: 'x'.repeat(1000), generationId: 1, memberId: '' }
  encodeRequest(Heartbeat, 0, writer, value)
  const decoded = decodeRequest(Heartbeat, 0, readerOf(writer.written))
  assert.equal(decoded.groupId, value.groupId)
  writer.records({ bytes: 10 }, false)
  writer.hole()
  writer.reset()
  assert.deepEqual([writer.at, writer.cuts, writer.holes, writer.payloadBytes], [0, [], [], 0])
})

test('tagged fields are written in the order of their tags, known and unknown', () => {
  const message = defineMessage({
    name: 'Tagged',
    versions: '0-1',
    flexible: '0+',
    fields: {
      late: { versions: '0+', type: 'int8', tag: 5, tagged: '0+' },
      early: {
        versions: '0+',
        type: 'string',
        nullable: '0+',
        default: null,
        tag: 2,
        tagged: '0+',
      },
    },
  })
  const writer = new MessageWriter()
  const unknownTaggedFields = [1, 3, 9].map((tag) => ({ tag, bytes: Buffer.of(tag, tag) }))
  const value = { late: 4, early: 'e', unknownTaggedFields }
  encodeMessage(message, 0, writer, value)
  assert.deepEqual(writer.written, hex('05 01020101 02020265 03020303 050104 09020909'))
  assert.deepEqual(decodeMessage(message, 0, writer.written), value)

  encodeMessage(message, 0, writer.reset(), {})
  assert.deepEqual(writer.written, hex('00'))
  assert.deepEqual(decodeMessage(message, 0, writer.written), { late: 0, early: null })

  const clash = [{ tag: 2, bytes: Buffer.of(0) }]
  assert.throws(
    () => encodeMessage(message, 0, writer.reset(), { early: 'e', unknownTaggedFields: clash }),
    RangeError,
  )
})

test('a tagged struct with only defaults is left out', () => {
  const writer = new MessageWriter()
  const partition = { index: 0, errorCode: 0, baseOffset: 0 }
  const of = (currentLeader?: { leaderId?: number; leaderEpoch?: number }) => {
    const response = currentLeader === undefined ? partition : { ...partition, currentLeader }
    encodeResponse(Produce, 10, writer.reset(), {
      responses: [{ name: 't', partitionResponses: [response] }],
    })
    return writer.at
  }
  const least = of()
  assert.equal(of({ leaderId: -1, leaderEpoch: -1 }), least)
  assert.equal(of({}), least)
  assert.equal(of({ leaderId: 0 }), least + 2 + 9)
})

test('a nullable struct is a byte and then the struct', () => {
  const writer = new MessageWriter()
  const request = { topics: [], responsePartitionLimit: 2000 }
  encodeRequest(DescribeTopicPartitions, 0, writer, { ...request, cursor: null })
  assert.deepEqual(writer.written, hex('01 000007d0 ff 00'))
  const cursor = { topicName: 't', partitionIndex: 3 }
  encodeRequest(DescribeTopicPartitions, 0, writer.reset(), { ...request, cursor })
  assert.deepEqual(writer.written, hex('01 000007d0 01 0274 00000003 00 00'))
  const decoded = decodeRequest(DescribeTopicPartitions, 0, readerOf(writer.written))
  assert.deepEqual(decoded.cursor, cursor)
})

test('null where a value must be is malformed', () => {
  assert.throws(() => decodeRequest(Heartbeat, 0, readerOf(hex('ffff'))), MalformedMessageError)
  // Metadata 0 takes no null list of topics; version 1 does.
  assert.throws(() => decodeRequest(Metadata, 0, readerOf(hex('ffffffff'))), MalformedMessageError)
  assert.equal(decodeRequest(Metadata, 1, readerOf(hex('ffffffff'))).topics, null)
})

test('impossible lengths and counts are malformed before anything is allocated', () => {
  const cases: readonly [number, string][] = [
    [0, 'fffffffe'],
    [0, '7fffffff'],
    [0, '00000003 0000 0000'],
    [9, 'ffffffff0f'],
    [9, 'ffffffff1f'],
    [9, 'ffffffffff'],
  ]
  for (const [version, bytes] of cases) {
    assert.throws(
      () => decodeRequest(Metadata, version, readerOf(hex(bytes))),
      MalformedMessageError,
      bytes,
    )
  }
  assert.throws(() => readerOf(hex('fffe')).nullableString(false), MalformedMessageError)
  assert.throws(() => readerOf(hex('fffffffe')).nullableBytes(false), MalformedMessageError)
  const long = Buffer.concat([hex('818002'), Buffer.alloc(0x8000)])
  assert.throws(() => readerOf(long).string(true), MalformedMessageError)
})

test('a message has no more elements than the reader allows', () => {
  const count = 5_000_000
  const names = Buffer.alloc(4 + 2 * count)
  names.writeInt32BE(count, 0)
  const before = process.memoryUsage().rss
  assert.throws(() => decodeRequest(Metadata, 0, readerOf(names)), MalformedMessageError)
  assert.ok(process.memoryUsage().rss - before < 64 << 20)

  const few = Buffer.alloc(4 + 2 * 10)
  few.writeInt32BE(10, 0)
  const reader = new MessageReader().reset(few, 0, few.length, false, 10)
  assert.equal(decodeRequest(Metadata, 0, reader).topics?.length, 10)
  reader.reset(few, 0, few.length, false, 9)
  assert.throws(() => decodeRequest(Metadata, 0, reader), MalformedMessageError)

  // Unknown tagged fields count too: 0 names, flags, then tags of two bytes each.
  const tags = Buffer.concat([hex('01 00 00 04'), hex('0500 0600 0700 0800')])
  const flagged = new MessageReader().reset(tags, 0, tags.length, false, 3)
  assert.throws(() => decodeRequest(Metadata, 11, flagged), MalformedMessageError)
})

test('bytes behind a request are left for the caller, behind a message they are malformed', () => {
  const reader = readerOf(hex('ffffffff 01020304'))
  decodeRequest(Metadata, 1, reader)
  assert.equal(reader.at, 4)
  const message = defineMessage({
    name: 'Plain',
    versions: '0',
    flexible: 'none',
    fields: { one: { versions: '0+', type: 'int8' } },
  })
  assert.deepEqual(decodeMessage(message, 0, hex('05')), { one: 5 })
  assert.throws(() => decodeMessage(message, 0, hex('0500')), MalformedMessageError)
})

test('a request refuses what its version cannot carry, a response leaves it out', () => {
  const writer = new MessageWriter()
  const topics = [{ name: 't', partitions: [{ partitionIndex: 0, timestamp: -1 }] }]
  assert.throws(
    () => encodeRequest(ListOffsets, 1, writer, { replicaId: -1, isolationLevel: 1, topics }),
    (error: unknown) =>
      error instanceof KafkaError && error.errorCode === ErrorCode.UNSUPPORTED_VERSION,
  )
  encodeRequest(ListOffsets, 1, writer.reset(), { replicaId: -1, isolationLevel: 0, topics })
  const partition = { partitionIndex: 0, errorCode: 0, offset: 5, leaderEpoch: 3 }
  const response = { topics: [{ name: 't', partitions: [partition] }] }
  encodeResponse(ListOffsets, 1, writer.reset(), response)
  const decoded = decodeResponse(ListOffsets, 1, readerOf(writer.written))
  assert.equal(decoded.topics[0]?.partitions[0]?.leaderEpoch, -1)
})

test('a version outside the table is refused', () => {
  const unsupported = (error: unknown) =>
    error instanceof KafkaError && error.errorCode === ErrorCode.UNSUPPORTED_VERSION
  for (const version of [-1, Produce.versions.length + 100]) {
    assert.throws(() => decodeRequest(Produce, version, readerOf(hex('00'))), unsupported)
    assert.throws(
      () => encodeResponse(Produce, version, new MessageWriter(), { responses: [] }),
      unsupported,
    )
  }
})

test('values that a type cannot hold are refused', () => {
  const writer = new MessageWriter()
  assert.throws(() => writer.int16(32768), RangeError)
  assert.throws(() => writer.int64(2 ** 63), RangeError)
  assert.throws(() => writer.uuid('short'), RangeError)
  assert.throws(() => writer.string('x'.repeat(32768), true), RangeError)
  assert.throws(() => writer.string('x'.repeat(32768), false), RangeError)
  writer.reset().uuid(ZERO_UUID)
  assert.deepEqual(writer.written, Buffer.alloc(16))
})

test('generated source names its fields and can be printed', () => {
  const source = codecSource(ApiVersions, 'response', 4)
  assert.match(source, /finalizedFeaturesEpoch/)
  assert.match(source, /function decode/)
  assert.match(source, /function encode/)
})
