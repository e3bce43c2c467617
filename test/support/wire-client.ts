/** The smallest client: one connection, requests by table, answers in order. For tests only. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { decodeResponse, encodeRequest } from '../../src/protocol/codec.ts'
import { readResponseHeader, writeRequestHeader } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import type { ApiSchema, RequestInput, ResponseOf } from '../../src/protocol/schema.ts'

interface Waiting {
  readonly resolve: (frame: Buffer) => void
  readonly reject: (error: Error) => void
}

export class WireClient {
  readonly #socket: Socket
  readonly #waiting: Waiting[] = []
  #received: Buffer = Buffer.alloc(0)
  #correlationId = 0

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      for (const one of this.#waiting.splice(0)) one.reject(new Error('connection closed'))
    })
  }

  static async connect(port: number, host = '127.0.0.1'): Promise<WireClient> {
    const socket = connect(port, host)
    await once(socket, 'connect')
    return new WireClient(socket)
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    while (this.#received.length >= 4) {
      const size = this.#received.readInt32BE(0)
      if (this.#received.length < 4 + size) return
      this.#waiting.shift()?.resolve(this.#received.subarray(4, 4 + size))
      this.#received = this.#received.subarray(4 + size)
    }
  }

  /** Sends a request and decodes its answer; rejects when the connection closes first. */
  async send<A extends ApiSchema>(
    api: A,
    version: number,
    request: RequestInput<A>,
  ): Promise<ResponseOf<A>> {
    return (await this.exchange(api, version, request)).response
  }

  /** As `send`, with the frame that the answer's records lie in. */
  async exchange<A extends ApiSchema>(
    api: A,
    version: number,
    request: RequestInput<A>,
  ): Promise<{ readonly response: ResponseOf<A>; readonly frame: Buffer }> {
    const writer = new MessageWriter()
    writer.int32(0)
    this.#correlationId += 1
    const correlationId = this.#correlationId
    writeRequestHeader(writer, api, { apiVersion: version, correlationId, clientId: 'test' })
    encodeRequest(api, version, writer, request)
    writer.buffer.writeInt32BE(writer.at - 4, 0)
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })
    this.#socket.write(Buffer.from(writer.written))
    const frame = await answer
    const reader = new MessageReader().reset(frame, 0, frame.length, false)
    const echoed = readResponseHeader(reader, api, version)
    if (echoed !== correlationId) throw new Error(`correlation id ${echoed}, not ${correlationId}`)
    return { response: decodeResponse(api, version, reader), frame }
  }

  close(): void {
    this.#socket.destroy()
  }
}
