/**
 * APIs that are the controller's to carry out: by this broker if it is the controller, otherwise
 * handed to it as they came, in an Envelope (KIP-590). A client may ask any broker.
 *
 * A controller that takes no Envelopes (Apache Kafka's with ZooKeeper) cannot be asked for others:
 * clients are told NOT_CONTROLLER then, and ask it themselves.
 */
import type { Controller } from '../controller/controller.ts'
import type { Frame } from '../network/request-handler.ts'
import { decodeRequest, decodeResponse, encodeResponse, isFlexible } from '../protocol/codec.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import {
  readRequestHeader,
  readResponseHeader,
  writeRequestFrame,
  writeResponseHeader,
} from '../protocol/headers.ts'
import { MalformedMessageError, MessageReader } from '../protocol/message-reader.ts'
import { MessageWriter } from '../protocol/message-writer.ts'
import type { EnvelopeRequest, EnvelopeResponse } from '../protocol/messages/envelope.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type ResponseOf,
} from '../protocol/schema.ts'
import { addressBytes, addressText } from './cluster/address-bytes.ts'
import type { ControllerChannel } from './cluster/controller-channel.ts'
import { type ApiHandler, type ServedApi, serve } from './request-dispatcher.ts'
import type { Responder } from './responder.ts'

export interface ControllerForwardingOptions {
  readonly controller: Controller
  readonly channel: ControllerChannel
  readonly responder: Responder
  /** How long a request waits for a controller. */
  readonly timeoutMs: number
  readonly clientId: string
}

/** One of the APIs, as an Envelope finds it. */
interface Enveloped {
  readonly api: ApiSchema
  readonly answer: (
    reader: MessageReader,
    header: { readonly apiVersion: number; readonly correlationId: number },
    client: { readonly clientId: string | null; readonly address: string },
  ) => Promise<Buffer>
}

const SIZE_BYTES = 4

export class ControllerForwarding {
  readonly #options: ControllerForwardingOptions
  readonly #enveloped = new Map<number, Enveloped>()
  #nextCorrelationId = 0

  constructor(options: ControllerForwardingOptions) {
    this.#options = options
  }

  /** Serves an API here or by the controller. `handler` answers NOT_CONTROLLER if it must. */
  serve<A extends ApiSchema>(api: A, handler: ApiHandler<A>): ServedApi {
    const { controller, responder } = this.#options
    this.#enveloped.set(api.key, {
      api,
      answer: (reader, header, client) => answerEnveloped(api, handler, reader, header, client),
    })
    const here = serve(responder, api, handler)
    return {
      ...here,
      handle: (frame) => (controller.isActive ? here.handle(frame) : this.#forward(frame, api)),
    }
  }

  async #forward(frame: Frame, api: ApiSchema): Promise<void> {
    const { responder, channel, timeoutMs } = this.#options
    const requestData = responder.readBytes(frame)
    if (requestData === null) return
    const clientHostAddress = addressBytes(frame.connection.address)
    const response = await channel.forward(
      { requestData, requestPrincipal: null, clientHostAddress },
      timeoutMs,
    )
    if (response !== null && response.errorCode === 0 && response.responseData !== null) {
      responder.sendBytes(frame, response.responseData)
      return
    }
    // Whoever is the controller by now answers, and whoever is not says so.
    const enveloped = this.#enveloped.get(api.key) as Enveloped
    const reader = new MessageReader().reset(requestData, 0, requestData.length, false)
    const { clientId } = readRequestHeader(reader, isFlexible(api, frame.apiVersion))
    const { address } = frame.connection
    responder.sendBytes(frame, await enveloped.answer(reader, frame, { clientId, address }))
  }

  /** Carries out what another broker was asked. */
  async handleEnvelope(request: EnvelopeRequest): Promise<EnvelopeResponse> {
    if (!this.#options.controller.isActive) return failed(ErrorCode.NOT_CONTROLLER)
    const { requestData } = request
    try {
      const bytes = Buffer.from(requestData.buffer, requestData.byteOffset, requestData.byteLength)
      const reader = new MessageReader().reset(bytes, 0, bytes.length, false)
      const enveloped = bytes.length < 4 ? undefined : this.#enveloped.get(bytes.readInt16BE(0))
      if (enveloped === undefined) return failed(ErrorCode.INVALID_REQUEST)
      const apiVersion = bytes.readInt16BE(2)
      const { min, max } = parseVersions(enveloped.api.versions)
      if (apiVersion < min || apiVersion > max) return failed(ErrorCode.UNSUPPORTED_VERSION)
      const header = readRequestHeader(reader, isFlexible(enveloped.api, apiVersion))
      const responseData = await enveloped.answer(reader, header, {
        clientId: header.clientId,
        address: addressText(request.clientHostAddress),
      })
      return { responseData, errorCode: ErrorCode.NONE }
    } catch (error) {
      if (error instanceof MalformedMessageError) return failed(ErrorCode.INVALID_REQUEST)
      throw error
    }
  }

  /** A request of this broker itself to a controller elsewhere; null if none can be asked in time. */
  async ask<A extends ApiSchema>(
    api: A,
    apiVersion: number,
    request: RequestInput<A>,
    timeoutMs: number,
  ): Promise<ResponseOf<A> | null> {
    const { channel, clientId } = this.#options
    this.#nextCorrelationId = (this.#nextCorrelationId + 1) & 0x7fffffff
    const writer = new MessageWriter()
    const correlationId = this.#nextCorrelationId
    writeRequestFrame(writer, api, { apiVersion, correlationId, clientId }, request)
    const response = await channel.forward(
      {
        requestData: Buffer.from(writer.written.subarray(SIZE_BYTES)),
        requestPrincipal: null,
        clientHostAddress: addressBytes('127.0.0.1'),
      },
      timeoutMs,
    )
    const data = response?.errorCode === 0 ? response.responseData : null
    if (data === null) return null
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    const reader = new MessageReader().reset(bytes, 0, bytes.length, false)
    readResponseHeader(reader, api, apiVersion)
    return decodeResponse(api, apiVersion, reader)
  }
}

async function answerEnveloped<A extends ApiSchema>(
  api: A,
  handler: ApiHandler<A>,
  reader: MessageReader,
  header: { readonly apiVersion: number; readonly correlationId: number },
  client: { readonly clientId: string | null; readonly address: string },
): Promise<Buffer> {
  const { apiVersion, correlationId } = header
  const request = decodeRequest(api, apiVersion, reader)
  const response = await handler(request, {
    apiKey: api.key,
    apiVersion,
    correlationId,
    clientId: client.clientId,
    clientAddress: client.address,
    listenerName: '',
    clientSoftware: null,
  })
  const writer = new MessageWriter()
  writeResponseHeader(writer, api, apiVersion, correlationId)
  encodeResponse(api, apiVersion, writer, response)
  return Buffer.from(writer.written)
}

function failed(errorCode: number): EnvelopeResponse {
  return { responseData: null, errorCode }
}
