/** A broker on a real socket that answers what a test tells it to. */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { decodeRequest } from '../../src/protocol/codec.ts'
import { readRequestHeader, writeResponseFrame } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { ApiVersions } from '../../src/protocol/messages/api-versions.ts'
import {
  type ApiSchema,
  inVersions,
  parseVersions,
  type RequestOf,
  type ResponseInput,
} from '../../src/protocol/schema.ts'

/** What to do with a request: an answer now or later, silence, or an end of the connection. */
export type Reaction<A extends ApiSchema> = ResponseInput<A> | 'silence' | 'close'

export type Handler<A extends ApiSchema> = (
  request: RequestOf<A>,
  frame: Buffer,
) => Reaction<A> | Promise<Reaction<A>>

interface Scripted {
  readonly api: ApiSchema
  readonly handler: Handler<ApiSchema>
}

export class ScriptedBroker {
  readonly host = '127.0.0.1'
  #port = 0
  readonly #scripts = new Map<number, Scripted>()
  readonly #sockets = new Set<Socket>()

  private constructor() {
    this.on(ApiVersions, () => this.#versions())
  }

  /** Listens until the test is over. */
  static async start(t: TestContext): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker()
    const server = createServer((socket) => broker.#serve(socket))
    server.listen(0, broker.host)
    await once(server, 'listening')
    broker.#port = (server.address() as { port: number }).port
    t.after(() => {
      broker.breakConnections()
      server.close()
    })
    return broker
  }

  get port(): number {
    return this.#port
  }

  get bootstrapServers(): string {
    return `${this.host}:${this.#port}`
  }

  get connectionCount(): number {
    return this.#sockets.size
  }

  /** Serves an API from now on, in every version of its table. */
  on<A extends ApiSchema>(api: A, handler: Handler<A>): this {
    this.#scripts.set(api.key, { api, handler: handler as Handler<ApiSchema> })
    return this
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    let received = Buffer.alloc(0)
    let last = Promise.resolve()
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
        const end = 4 + received.readInt32BE(0)
        const frame = received.subarray(4, end)
        received = received.subarray(end)
        // Answers leave in the order of the requests, however long one takes.
        const answer = this.#answer(frame)
        last = last.then(async () => {
          const bytes = await answer
          if (bytes === 'close') socket.destroy()
          else if (bytes !== 'silence') socket.write(bytes)
        })
      }
    })
  }

  async #answer(frame: Buffer): Promise<Buffer | 'close' | 'silence'> {
    const apiKey = frame.readInt16BE(0)
    const apiVersion = frame.readInt16BE(2)
    const script = this.#scripts.get(apiKey)
    if (script === undefined) return 'close'
    const { api, handler } = script
    const reader = new MessageReader().reset(frame, 0, frame.length, false)
    const { correlationId } = readRequestHeader(reader, inVersions(apiVersion, api.flexible))
    const answer = await handler(decodeRequest(api, apiVersion, reader), frame)
    if (answer === 'close' || answer === 'silence') return answer
    const writer = new MessageWriter()
    writeResponseFrame(writer, api, { apiVersion, correlationId }, answer)
    return Buffer.from(writer.written)
  }

  #versions(): ResponseInput<typeof ApiVersions> {
    return {
      errorCode: 0,
      apiKeys: [...this.#scripts.values()].map(({ api }) => {
        const { min, max } = parseVersions(api.versions)
        return { apiKey: api.key, minVersion: min, maxVersion: max }
      }),
    }
  }
}
