/**
 * One connection, against scripted peers on a real socket: negotiation of versions, pipelining,
 * time-outs, and whatever bytes a peer that is no broker may send.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BrokerConnection,
  type BrokerConnectionOptions,
} from '../../src/client/broker-connection.ts'
import {
  ClientClosedError,
  ClientError,
  ConnectionError,
  ProtocolError,
  RequestTimeoutError,
  UnsupportedVersionError,
} from '../../src/client/errors.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { writeResponseFrame } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { ApiVersions } from '../../src/protocol/messages/api-versions.ts'
import { Heartbeat } from '../../src/protocol/messages/heartbeat.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { type Request, SERVED, startPeer } from './scripted-peer.ts'

const HEARTBEAT = { groupId: 'g', generationId: 1, memberId: 'm' }

function answerHeartbeat({ apiVersion, correlationId }: Request, errorCode: number): Buffer {
  const writer = new MessageWriter()
  writeResponseFrame(writer, Heartbeat, { apiVersion, correlationId }, { errorCode })
  return Buffer.from(writer.written)
}

function open(
  at: Pick<BrokerConnectionOptions, 'host' | 'port'>,
  options: Partial<BrokerConnectionOptions> = {},
): Promise<BrokerConnection> {
  return BrokerConnection.open({
    ...{ clientId: 'test', connectTimeoutMs: 2000, requestTimeoutMs: 2000 },
    ...at,
    ...options,
  })
}

test('the highest version of both sides is taken', async (t) => {
  const seen: number[] = []
  const peer = await startPeer(t, (request, socket) => {
    seen.push(request.apiVersion)
    socket.write(answerHeartbeat(request, 27))
  })
  const connection = await open(peer)
  assert.equal(connection.versionOf(Heartbeat), 2)
  assert.ok(connection.versionOf(Metadata) < 40)
  assert.throws(() => connection.versionOf({ ...Heartbeat, key: 22 }), UnsupportedVersionError)
  assert.throws(() => connection.versionOf({ ...Heartbeat, key: 1000 }), UnsupportedVersionError)
  assert.equal((await connection.send(Heartbeat, HEARTBEAT)).errorCode, 27)
  assert.equal((await connection.send(Heartbeat, HEARTBEAT, { version: 1 })).errorCode, 27)
  assert.deepEqual(seen, [2, 1])
  await connection.close()
})

test('a broker that knows ApiVersions 0 alone is asked so', async (t) => {
  const seen: number[] = []
  const peer = await startPeer(
    t,
    (request, socket) => socket.write(answerHeartbeat(request, 0)),
    (request, socket) => {
      seen.push(request.apiVersion)
      const writer = new MessageWriter()
      const errorCode = request.apiVersion > 0 ? ErrorCode.UNSUPPORTED_VERSION : 0
      const header = { apiVersion: 0, correlationId: request.correlationId }
      // Brokers before 2.4 list nothing with the error.
      const apiKeys = errorCode === 0 ? SERVED : []
      writeResponseFrame(writer, ApiVersions, header, { errorCode, apiKeys })
      socket.write(Buffer.from(writer.written))
    },
  )
  const connection = await open(peer)
  assert.equal((await connection.send(Heartbeat, HEARTBEAT)).errorCode, 0)
  assert.equal(seen.at(-1), 0)
  assert.equal(seen.length, 2)
  await connection.close()
})

test('a broker that knows no ApiVersions is taken for an old one, if that is wanted', async (t) => {
  const peer = await startPeer(
    t,
    (request, socket) => socket.write(answerHeartbeat(request, 9)),
    (_, socket) => socket.destroy(),
  )
  await assert.rejects(open(peer), ConnectionError)
  const connection = await open(peer, { legacyBrokers: true })
  assert.equal(connection.versionOf(Heartbeat), 0)
  assert.equal((await connection.send(Heartbeat, HEARTBEAT)).errorCode, 9)
  await connection.close()
})

test('requests are pipelined; answers are cut anywhere', async (t) => {
  const requests: Request[] = []
  const peer = await startPeer(t, (request, socket) => {
    requests.push(request)
    if (requests.length < 50) return
    const all = Buffer.concat(requests.map((one, i) => answerHeartbeat(one, i)))
    let at = 0
    const next = (): void => {
      if (at >= all.length) return
      const end = Math.min(all.length, at + 1 + (at % 13))
      socket.write(all.subarray(at, end), next)
      at = end
    }
    next()
  })
  const connection = await open(peer)
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => connection.send(Heartbeat, HEARTBEAT)),
  )
  assert.deepEqual(
    answers.map(({ errorCode }) => errorCode),
    Array.from({ length: 50 }, (_, i) => i),
  )
  assert.equal(connection.pending, 0)
  await connection.close()
})

test('payloads arrive where they belong, copied or not', async (t) => {
  for (const bytes of [10, 100_000]) {
    let received: Buffer | null = null
    const peer = await startPeer(t, ({ frame }, socket) => {
      received = frame
      socket.destroy()
    })
    const connection = await open(peer)
    const payloads = [Buffer.alloc(bytes, 1), Buffer.alloc(bytes + 1, 2)]
    const request = (inPlace: boolean) => ({
      transactionalId: null,
      acks: -1,
      timeoutMs: 1,
      topicData: payloads.map((payload, index) => ({
        name: `topic-${index}`,
        partitionData: [{ index, records: inPlace ? payload : { bytes: payload.length } }],
      })),
    })
    await assert.rejects(connection.send(Produce, request(false), { payloads }), ConnectionError)
    const apart = received
    const second = await open(peer)
    await assert.rejects(second.send(Produce, request(true)), ConnectionError)
    assert.ok(apart !== null && (received as Buffer | null)?.equals(apart))
  }
})

test('an answer that is late closes the connection, also behind one that may take longer', async (t) => {
  const peer = await startPeer(t, () => undefined)
  const connection = await open(peer, { requestTimeoutMs: 60_000 })
  const patient = connection.send(Heartbeat, HEARTBEAT)
  const hasty = connection.send(Heartbeat, HEARTBEAT, { timeoutMs: 50 })
  await assert.rejects(hasty, RequestTimeoutError)
  await assert.rejects(patient, RequestTimeoutError)
  await connection.closed
  assert.equal(connection.isOpen, false)
  await assert.rejects(connection.send(Heartbeat, HEARTBEAT), RequestTimeoutError)
})

test('close fails what is not answered; a broker that goes is an error', async (t) => {
  const peer = await startPeer(t, ({ apiVersion }, socket) => {
    if (apiVersion === 1) socket.destroy()
  })
  const first = await open(peer)
  const waiting = first.send(Heartbeat, HEARTBEAT)
  const refused = assert.rejects(waiting, ClientClosedError)
  await first.close()
  await refused
  const second = await open(peer)
  await assert.rejects(second.send(Heartbeat, HEARTBEAT, { version: 1 }), ConnectionError)
  await second.closed
  await second.close()
})

test('a signal ends the waiting, and the connection goes on', async (t) => {
  const held: Request[] = []
  const peer = await startPeer(t, (request, socket) => {
    held.push(request)
    if (held.length === 2) for (const one of held) socket.write(answerHeartbeat(one, 5))
  })
  const connection = await open(peer)
  const controller = new AbortController()
  const first = connection.send(Heartbeat, HEARTBEAT, { signal: controller.signal })
  controller.abort(new Error('enough'))
  await assert.rejects(first, /enough/)
  assert.equal((await connection.send(Heartbeat, HEARTBEAT)).errorCode, 5)
  await connection.close()
})

test('nobody listens; nobody answers', async (t) => {
  const peer = await startPeer(
    t,
    () => undefined,
    () => undefined,
  )
  await assert.rejects(open(peer, { connectTimeoutMs: 50 }), RequestTimeoutError)
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  await assert.rejects(open({ host: '127.0.0.1', port: address.port }), {
    name: 'ConnectionError',
    message: new RegExp(`^cannot connect to 127.0.0.1:${address.port}: connection refused`),
  })
})

test('a length that no answer has, an answer to nothing, and other protocols are refused', async (t) => {
  const wrong: Buffer[] = [
    Buffer.from([0, 0, 0, 3, 1, 2, 3]),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0]),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 77]),
    Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
  ]
  for (const bytes of wrong) {
    const peer = await startPeer(t, (_, socket) => socket.write(bytes))
    const connection = await open(peer)
    await assert.rejects(connection.send(Heartbeat, HEARTBEAT), ProtocolError)
    await connection.closed
  }
})

test('an announced length allocates nothing', async (t) => {
  const peer = await startPeer(t, (_, socket) => socket.write(Buffer.from([0x3f, 0, 0, 0, 0])))
  const connection = await open(peer)
  const before = process.memoryUsage()
  await assert.rejects(
    connection.send(Heartbeat, HEARTBEAT, { timeoutMs: 100 }),
    RequestTimeoutError,
  )
  const { arrayBuffers, external } = process.memoryUsage()
  assert.ok(arrayBuffers + external - before.arrayBuffers - before.external < 1 << 27)
})

test('no bytes make a client crash or hang', async (t) => {
  let answer = Buffer.alloc(0)
  const peer = await startPeer(t, ({ correlationId }, socket) => {
    const frame = Buffer.alloc(8 + answer.length)
    frame.writeInt32BE(4 + answer.length, 0)
    frame.writeInt32BE(correlationId, 4)
    answer.copy(frame, 8)
    socket.write(frame)
  })
  let connection = await open(peer)
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), fc.boolean(), async (noise, isLong) => {
      answer = Buffer.from(noise)
      if (!connection.isOpen) connection = await open(peer)
      const api = isLong ? Metadata : Heartbeat
      const request = isLong ? { topics: null } : HEARTBEAT
      try {
        await connection.send(api, request as never)
      } catch (error) {
        assert.ok(error instanceof ClientError, String(error))
        assert.ok(!(error instanceof RequestTimeoutError))
      }
    }),
    { numRuns: 300 },
  )
  await connection.close()
})

test('any stream serves in place of a socket', async (t) => {
  const peer = await startPeer(t, (request, socket) => socket.write(answerHeartbeat(request, 1)))
  const connection = await open(peer, {
    connect: (host, port) => {
      const socket = connect(port, host)
      return new Duplex({
        read: () => socket.resume(),
        write: (chunk, _, done) => void socket.write(chunk, () => done()),
        destroy: (error, done) => {
          socket.destroy()
          done(error)
        },
        construct(done) {
          socket.on('data', (chunk) => this.push(chunk))
          socket.once('connect', () => done())
        },
      })
    },
  })
  assert.equal((await connection.send(Heartbeat, HEARTBEAT)).errorCode, 1)
  await connection.close()
})
