/** The native transport over real sockets, with a handler that echoes frames. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { addon, type TransportOptions } from '../../src/native/addon.ts'
import type { Frame, RequestHandler } from '../../src/network/request-handler.ts'
import { ProtocolViolation } from '../../src/network/request-handler.ts'
import { Transport } from '../../src/network/transport.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { ANY_ADDRESS, TRANSPORT_LIMITS } from '../support/transports.ts'
import { duplexPair } from './duplex-pair.ts'

/** Answers with the frame itself, length first. */
function echo(transport: Transport): RequestHandler {
  return (frame) => {
    const bytes = Buffer.alloc(frame.bytes + 4)
    const n = addon.readFrame(transport.id, frame.connection.id, frame.sequence, bytes.subarray(4))
    assert.equal(n, frame.bytes)
    bytes.writeInt32BE(frame.bytes, 0)
    addon.releaseFrame(transport.id, frame.connection.id, frame.sequence)
    addon.respond(transport.id, frame.connection.id, frame.sequence, bytes, 0, bytes.length)
  }
}

async function start(
  t: TestContext,
  handler: (transport: Transport) => RequestHandler = echo,
  options: Partial<TransportOptions> = {},
): Promise<{ transport: Transport; port: number }> {
  const transport = new Transport({ ...TRANSPORT_LIMITS, ...options }, ANY_ADDRESS, silentLogger)
  transport.attachEvents({
    handle: handler(transport),
    result: () => undefined,
    advanced: () => undefined,
    storageError: () => undefined,
  })
  const port = await transport.listen('PLAINTEXT', '127.0.0.1', 0, 50)
  t.after(() => transport.destroy())
  return { transport, port }
}

async function open(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

function frameOf(payload: Buffer): Buffer {
  const frame = Buffer.alloc(payload.length + 4)
  frame.writeInt32BE(payload.length, 0)
  payload.copy(frame, 4)
  return frame
}

async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk)
    size += chunk.length
    if (size >= bytes) break
  }
  const all = Buffer.concat(chunks)
  assert.equal(all.length, bytes)
  return all
}

/** Frames of many sizes with recognisable content. */
function someFrames(count: number, sizeOf: (i: number) => number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => {
      const payload = Buffer.alloc(sizeOf(i), i % 251)
      payload.writeInt32BE(i, 4)
      return frameOf(payload)
    }),
  )
}

test('frames of every size come back in order, however the stream is cut', async (t) => {
  const { port } = await start(t)
  const sent = someFrames(200, (i) => 8 + ((i * 7919) % 3000))
  for (const step of [1, 3, 1000, 70_000]) {
    const socket = await open(t, port)
    const answer = read(socket, sent.length)
    const pace = step === 1 ? 2000 : sent.length
    for (let at = 0; at < sent.length; ) {
      const end = at < pace ? Math.min(at + step, sent.length) : sent.length
      socket.write(sent.subarray(at, end))
      if (step < 1000 && at < 200) await new Promise(setImmediate)
      at = end
    }
    assert.ok((await answer).equals(sent), `step ${step}`)
    socket.destroy()
  }
})

test('large frames come back whole', async (t) => {
  const { port } = await start(t)
  const socket = await open(t, port)
  const sent = someFrames(6, (i) => 300_000 * (i + 1) + i)
  const answer = read(socket, sent.length)
  socket.write(sent)
  assert.ok((await answer).equals(sent))
})

test('answers leave in the order of their requests, whatever the order they are made in', async (t) => {
  const waiting: (() => void)[] = []
  const { port } = await start(t, (transport) => {
    const answer = echo(transport)
    return (frame: Frame) => {
      waiting.push(() => void answer(frame))
      if (waiting.length === 20) for (const one of waiting.reverse()) one()
    }
  })
  const socket = await open(t, port)
  const sent = someFrames(20, (i) => 20 + i)
  const answer = read(socket, sent.length)
  socket.write(sent)
  assert.ok((await answer).equals(sent))
})

test('more requests than may be in flight are all answered', async (t) => {
  const { port } = await start(t, (transport) => {
    const answer = echo(transport)
    return (frame) => void setImmediate(() => void answer(frame))
  })
  const socket = await open(t, port)
  const sent = someFrames(5000, () => 30)
  const answer = read(socket, sent.length)
  socket.write(sent)
  assert.ok((await answer).equals(sent))
})

test('requests are all answered when another thread frees their slots while they are read', async (t) => {
  const { port } = await start(t, echo, { inflightMax: 2 })
  const socket = await open(t, port)
  const sent = someFrames(20_000, () => 30)
  const answer = read(socket, sent.length)
  socket.write(sent)
  assert.ok((await answer).equals(sent))
})

test('a promise holds back the later requests of its connection only', async (t) => {
  const order: string[] = []
  let release: () => void = () => undefined
  const { port } = await start(t, (transport) => {
    const answer = echo(transport)
    return (frame) => {
      order.push(`${frame.connection.id}:${frame.sequence}`)
      if (frame.connection.id === 1 && frame.sequence === 0) {
        return new Promise<void>((resolve) => {
          release = () => {
            void answer(frame)
            resolve()
          }
        })
      }
      return answer(frame)
    }
  })
  const first = await open(t, port)
  const sent = someFrames(3, () => 16)
  const answer = read(first, sent.length)
  first.write(sent)
  const second = await open(t, port)
  const other = read(second, sent.length)
  second.write(sent)
  await other
  assert.deepEqual(
    order.filter((one) => one.startsWith('1:')),
    ['1:0'],
  )
  release()
  assert.ok((await answer).equals(sent))
})

for (const [what, bytes] of [
  ['zero', Buffer.from([0, 0, 0, 0])],
  ['negative', Buffer.from([0xff, 0xff, 0xff, 0xff])],
  ['too large', Buffer.from([0x7f, 0xff, 0xff, 0xff])],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
] as const) {
  test(`a length that is ${what} closes the connection without an answer`, async (t) => {
    const { port } = await start(t)
    const socket = await open(t, port)
    let received = 0
    socket.on('data', (chunk) => {
      received += chunk.length
    })
    socket.write(bytes)
    await once(socket, 'close')
    assert.equal(received, 0)
  })
}

test('a violation and a failing promise close the connection; others go on', async (t) => {
  const { port } = await start(t, (transport) => {
    const answer = echo(transport)
    return (frame) => {
      if (frame.bytes === 9) throw new ProtocolViolation('nine')
      if (frame.bytes === 10) return Promise.reject(new Error('ten'))
      return answer(frame)
    }
  })
  const good = await open(t, port)
  for (const size of [9, 10]) {
    const bad = await open(t, port)
    bad.resume()
    bad.write(frameOf(Buffer.alloc(size)))
    await once(bad, 'close')
  }
  const sent = frameOf(Buffer.alloc(8))
  const answer = read(good, sent.length)
  good.write(sent)
  await answer
})

test('announced lengths cost no memory', async (t) => {
  const { port, transport } = await start(t)
  const before = process.memoryUsage().rss
  const prefix = Buffer.alloc(4 + 100)
  prefix.writeInt32BE(100_000_000, 0)
  const sockets = await Promise.all(Array.from({ length: 300 }, () => open(t, port)))
  for (const socket of sockets) socket.write(prefix)
  while (addon.heldFrameBytes() < 300 * 100 || transport.connectionCount < 300) {
    await new Promise(setImmediate)
  }
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < 40 << 20, `${grown} bytes more`)
  assert.equal(addon.heldFrameBytes(), 300 * 100)
  for (const socket of sockets) socket.destroy()
  while (addon.heldFrameBytes() > 0) await new Promise(setImmediate)
})

test('above the limit of the process reading stops, and goes on when memory is free', async (t) => {
  const held: Frame[] = []
  const { port, transport } = await start(
    t,
    () => (frame) => {
      held.push(frame)
    },
    { receivedBytesMax: 4 << 20, inflightBytesMax: 1 << 20 },
  )
  const answer = echo(transport)
  const sent = frameOf(Buffer.alloc(1 << 20, 7))
  const sockets = await Promise.all(Array.from({ length: 12 }, () => open(t, port)))
  const answers = sockets.map((socket) => read(socket, sent.length))
  for (const socket of sockets) socket.write(sent)
  while (held.length < 3) await new Promise(setImmediate)
  assert.ok(addon.heldFrameBytes() < 24 << 20)
  let answered = 0
  while (answered < 12) {
    const frame = held.shift()
    if (frame === undefined) {
      await new Promise(setImmediate)
      continue
    }
    void answer(frame)
    answered += 1
  }
  for (const one of await Promise.all(answers)) assert.ok(one.equals(sent))
})

test('a duplex stream is served like a socket', async (t) => {
  const { transport } = await start(t)
  const [ours, theirs] = duplexPair()
  transport.attach(theirs, 'SSL', '10.0.0.1')
  const sent = someFrames(50, (i) => 8 + i * 3000)
  const chunks: Buffer[] = []
  let size = 0
  const whole = new Promise<void>((resolve) => {
    ours.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      size += chunk.length
      if (size >= sent.length) resolve()
    })
  })
  for (let at = 0; at < sent.length; at += 10_007) ours.write(sent.subarray(at, at + 10_007))
  await whole
  assert.ok(Buffer.concat(chunks).equals(sent))
  assert.equal(transport.connectionCount, 1)
  ours.destroy()
  while (transport.connectionCount > 0) await new Promise(setImmediate)
})

test('stop answers what is in flight, takes no more, and closes', async (t) => {
  let late: Frame | null = null
  const { port, transport } = await start(t, () => (frame) => {
    late = frame
  })
  const socket = await open(t, port)
  const sent = frameOf(Buffer.alloc(64, 1))
  const answer = read(socket, sent.length)
  socket.write(sent)
  while (late === null) await new Promise(setImmediate)
  const stopped = transport.stop()
  void echo(transport)(late)
  assert.ok((await answer).equals(sent))
  await stopped
  const refused = connect(port, '127.0.0.1')
  await once(refused, 'error')
})

test('a connection to another broker that fails says why', async (t) => {
  const { transport } = await start(t)
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepted = once(server, 'connection')
  const connection = await transport.connect('127.0.0.1', port)
  const [peer] = (await accepted) as [Socket]
  const lost = assert.rejects(connection.exchange(Buffer.alloc(4), 4), /ECONNRESET/)
  await once(peer, 'data')
  peer.resetAndDestroy()
  await lost
  server.close()
  await once(server, 'close')
  await assert.rejects(transport.connect('127.0.0.1', port), /ECONNREFUSED/)
})
