// Hot path.
/** Reads frames from the transport and sends answers back, through memory that is used again. */
import { addon } from '../native/addon.ts'
import type { Frame } from '../network/request-handler.ts'
import { ProtocolViolation } from '../network/request-handler.ts'
import { encodeResponse } from '../protocol/codec.ts'
import { writeResponseHeader } from '../protocol/headers.ts'
import { MessageReader } from '../protocol/message-reader.ts'
import { MessageWriter } from '../protocol/message-writer.ts'
import type { ApiSchema, ResponseInput } from '../protocol/schema.ts'

const FIRST_SCRATCH_BYTES = 64 * 1024
const KEPT_SCRATCH_BYTES = 1024 * 1024
const TOO_SMALL = -3
const MALFORMED = -2

export class Responder {
  readonly transport: number
  /** Valid until the next frame is read. */
  readonly reader = new MessageReader()
  readonly writer = new MessageWriter(64 * 1024)
  #scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_BYTES)
  #cuts = new Int32Array(256)

  constructor(transport: number) {
    this.transport = transport
  }

  /** Puts the frame under the reader; null when its connection is gone. */
  read(frame: Frame): MessageReader | null {
    this.#fit(frame.bytes)
    const n = addon.readFrame(this.transport, frame.connection.id, frame.sequence, this.#scratch)
    if (n < 0) return null
    addon.releaseFrame(this.transport, frame.connection.id, frame.sequence)
    return this.reader.reset(this.#scratch, 0, n, false)
  }

  /** A copy of a frame, from its header on; null when its connection is gone. */
  readBytes(frame: Frame): Buffer | null {
    const bytes = Buffer.allocUnsafe(frame.bytes)
    const n = addon.readFrame(this.transport, frame.connection.id, frame.sequence, bytes)
    if (n < 0) return null
    addon.releaseFrame(this.transport, frame.connection.id, frame.sequence)
    return bytes.subarray(0, n)
  }

  /** As `read`, for a Produce request, without its record payloads; the frame stays held. */
  readProduce(frame: Frame): MessageReader | null {
    if (this.#scratch.length > KEPT_SCRATCH_BYTES) this.#fit(0)
    for (;;) {
      const n = addon.readProduceHead(
        this.transport,
        frame.connection.id,
        frame.sequence,
        this.#scratch,
      )
      if (n >= 0) return this.reader.reset(this.#scratch, 0, n, true)
      if (n === MALFORMED) throw new ProtocolViolation('a Produce request with impossible lengths')
      if (n !== TOO_SMALL) return null
      // The heads alone are this large, and they have arrived.
      this.#fit(Math.min(frame.bytes, this.#scratch.length * 2))
    }
  }

  #fit(bytes: number): void {
    if (bytes > this.#scratch.length) {
      this.#scratch = Buffer.allocUnsafeSlow(bytes)
    } else if (this.#scratch.length > KEPT_SCRATCH_BYTES && bytes <= FIRST_SCRATCH_BYTES) {
      this.#scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_BYTES)
    }
  }

  /** Encodes an answer with its length and header into `writer`. */
  encode<A extends ApiSchema>(
    api: A,
    apiVersion: number,
    correlationId: number,
    response: ResponseInput<A>,
  ): void {
    const writer = this.writer.reset()
    writer.int32(0)
    writeResponseHeader(writer, api, apiVersion, correlationId)
    encodeResponse(api, apiVersion, writer, response)
    writer.buffer.writeInt32BE(writer.at - 4 + writer.payloadBytes, 0)
  }

  respond<A extends ApiSchema>(api: A, frame: Frame, response: ResponseInput<A>): void {
    this.encode(api, frame.apiVersion, frame.correlationId, response)
    this.sendEncoded(frame.connection.id, frame.sequence)
  }

  /** Sends what `encode` wrote, with the staged file regions at its cuts. */
  sendEncoded(connection: number, sequence: number): void {
    const { writer } = this
    const { cuts } = writer
    if (cuts.length === 0) {
      addon.respond(this.transport, connection, sequence, writer.buffer, 0, writer.at)
      return
    }
    if (cuts.length > this.#cuts.length) this.#cuts = new Int32Array(cuts.length * 2)
    for (let i = 0; i < cuts.length; i += 1) this.#cuts[i] = cuts[i] as number
    addon.respondRegions(
      this.transport,
      connection,
      sequence,
      writer.buffer,
      0,
      writer.at,
      this.#cuts,
      cuts.length,
    )
  }

  /** Sends an answer that is encoded already, from its header on. */
  sendBytes(frame: Frame, response: Uint8Array): void {
    const bytes = Buffer.allocUnsafe(4 + response.length)
    bytes.writeInt32BE(response.length, 0)
    bytes.set(response, 4)
    addon.respond(this.transport, frame.connection.id, frame.sequence, bytes, 0, bytes.length)
  }

  /** The request is done and has no answer (acks=0). */
  complete(frame: Frame): void {
    addon.respond(this.transport, frame.connection.id, frame.sequence, this.writer.buffer, 0, 0)
  }
}
