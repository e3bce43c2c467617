/** Peers on a real socket that answer a client's requests as a test says. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { HostAndPort } from '../../src/client/client-options.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { readRequestHeader, writeResponseFrame } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { ApiVersions } from '../../src/protocol/messages/api-versions.ts'

export interface Request {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly frame: Buffer
}

export type Script = (request: Request, socket: Socket) => void

/** Calls the script with each request, and answers ApiVersions if that is not scripted. */
export async function startPeer(
  t: TestContext,
  script: Script,
  versions: Script = answerVersions,
): Promise<HostAndPort> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    let received = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0)
        const frame = received.subarray(4, end)
        received = received.subarray(end)
        const reader = new MessageReader().reset(frame, 0, frame.length, false)
        const header = readRequestHeader(reader, false)
        const handle = header.apiKey === ApiVersions.key ? versions : script
        handle({ ...header, frame }, socket)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return { host: '127.0.0.1', port: address.port }
}

/** What it says that it serves. */
export const SERVED = [
  { apiKey: 0, minVersion: 3, maxVersion: 9 },
  { apiKey: 3, minVersion: 0, maxVersion: 40 },
  { apiKey: 12, minVersion: 0, maxVersion: 2 },
  { apiKey: 18, minVersion: 0, maxVersion: 3 },
  { apiKey: 22, minVersion: 90, maxVersion: 91 },
]

function answerVersions({ apiVersion, correlationId }: Request, socket: Socket): void {
  const version = Math.min(apiVersion, 3)
  const errorCode = apiVersion > 3 ? ErrorCode.UNSUPPORTED_VERSION : 0
  const writer = new MessageWriter()
  // A version that is not served is answered in version 0.
  const header = { apiVersion: errorCode === 0 ? version : 0, correlationId }
  writeResponseFrame(writer, ApiVersions, header, { errorCode, apiKeys: SERVED })
  socket.write(Buffer.from(writer.written))
}
