/** Headers and whole frames: which header version goes with which API and version, byte by byte. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APIS } from '../../src/protocol/apis.ts'
import { decodeResponse, isFlexible } from '../../src/protocol/codec.ts'
import {
  readRequestHeader,
  readResponseHeader,
  writeRequestFrame,
  writeRequestHeader,
  writeResponseFrame,
  writeResponseHeader,
} from '../../src/protocol/headers.ts'
import { MalformedMessageError, MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  ApiVersions,
  ControlledShutdown,
  Fetch,
  Heartbeat,
  Metadata,
} from '../../src/protocol/messages/index.ts'
import { versionsOf } from './arbitrary-message.ts'

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
}

function readerOf(bytes: Buffer): MessageReader {
  return new MessageReader().reset(bytes, 0, bytes.length, false)
}

test('a request header is read as it was written, at every version', () => {
  for (const api of APIS) {
    for (const apiVersion of versionsOf(api)) {
      for (const clientId of ['client', '', null]) {
        const writer = new MessageWriter()
        writeRequestHeader(writer, api, { apiVersion, correlationId: -5, clientId })
        const reader = readerOf(writer.written)
        const header = readRequestHeader(reader, isFlexible(api, apiVersion))
        reader.expectEnd()
        const hasNoClientId = api.key === 7 && apiVersion === 0
        assert.deepEqual(header, {
          apiKey: api.key,
          apiVersion,
          correlationId: -5,
          clientId: hasNoClientId ? null : clientId,
        })
      }
    }
  }
})

test('the client id is never compact, and unknown tagged fields are skipped', () => {
  const writer = new MessageWriter()
  writeRequestHeader(writer, Metadata, { apiVersion: 9, correlationId: 1, clientId: 'ab' })
  assert.deepEqual(writer.written, hex('0003 0009 00000001 0002 6162 00'))
  const tagged = readerOf(hex('0003 0009 00000001 ffff 02 0503abcdef 0600'))
  assert.equal(readRequestHeader(tagged, true).clientId, null)
  tagged.expectEnd()
})

test('a header that is cut off is malformed', () => {
  const whole = hex('0003 0009 00000001 0002 6162 01 0501ab')
  for (let length = 0; length < whole.length; length += 1) {
    const reader = readerOf(whole.subarray(0, length))
    assert.throws(() => readRequestHeader(reader, true), MalformedMessageError)
  }
})

test('a response header has tagged fields in flexible versions, but never for ApiVersions', () => {
  for (const api of APIS) {
    for (const version of versionsOf(api)) {
      const writer = new MessageWriter()
      writeResponseHeader(writer, api, version, 0x01020304)
      const tagged = api.key !== 18 && isFlexible(api, version)
      assert.deepEqual(writer.written, hex(tagged ? '01020304 00' : '01020304'))
      const reader = readerOf(writer.written)
      assert.equal(readResponseHeader(reader, api, version), 0x01020304)
      reader.expectEnd()
    }
  }
})

test('the answer to an unknown version of ApiVersions is 20 bytes', () => {
  const writer = new MessageWriter()
  writeResponseFrame(
    writer,
    ApiVersions,
    { apiVersion: 0, correlationId: 7 },
    { errorCode: 35, apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] },
  )
  assert.deepEqual(writer.written, hex('00000010 00000007 0023 00000001 0012 0000 0004'))
})

test('the size of a frame counts payloads that are inserted later, one frame behind the other', () => {
  const writer = new MessageWriter()
  const partition = { partitionIndex: 0, errorCode: 0, highWatermark: 1, abortedTransactions: null }
  const header = { apiVersion: 4, correlationId: 1 }
  for (const bytes of [1000, 24]) {
    const start = writer.at
    writeResponseFrame(writer, Fetch, header, {
      responses: [{ topic: 't', partitions: [{ ...partition, records: { bytes } }] }],
    })
    assert.equal(writer.buffer.readInt32BE(start), writer.at - start - 4 + bytes)
  }
  assert.equal(writer.cuts.length, 2)
  assert.equal(writer.payloadBytes, 1024)
})

test('a request frame is size, header and body', () => {
  const writer = new MessageWriter()
  writeRequestFrame(
    writer,
    Heartbeat,
    { apiVersion: 0, correlationId: 2, clientId: null },
    { groupId: 'g', generationId: 1, memberId: 'm' },
  )
  const body = '000c 0000 00000002 ffff 0001 67 00000001 0001 6d'
  assert.deepEqual(writer.written, hex(`00000014 ${body}`))
})

test('version 0 of ControlledShutdown has no client id', () => {
  const writer = new MessageWriter()
  const header = { apiVersion: 0, correlationId: 2, clientId: 'broker' }
  writeRequestFrame(writer, ControlledShutdown, header, { brokerId: 3 })
  assert.deepEqual(writer.written, hex('0000000c 0007 0000 00000002 00000003'))
  writer.reset()
  writeRequestFrame(writer, ControlledShutdown, { ...header, apiVersion: 1 }, { brokerId: 3 })
  const body = '0007 0001 00000002 0006 62726f6b6572 00000003'
  assert.deepEqual(writer.written, hex(`00000014 ${body}`))
})

test('a response is decoded behind its header', () => {
  const writer = new MessageWriter()
  const response = { throttleTimeMs: 3, errorCode: 27 }
  writeResponseFrame(writer, Heartbeat, { apiVersion: 4, correlationId: 9 }, response)
  const reader = new MessageReader().reset(writer.buffer, 4, writer.at, false)
  assert.equal(readResponseHeader(reader, Heartbeat, 4), 9)
  assert.deepEqual(decodeResponse(Heartbeat, 4, reader), response)
  reader.expectEnd()
})
