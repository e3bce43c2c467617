/** Request and response headers (protocol guide; KIP-482 for the flexible ones). */
import { encodeRequest, encodeResponse, isFlexible } from './codec.ts'
import type { MessageReader } from './message-reader.ts'
import type { MessageWriter } from './message-writer.ts'
import type { ApiSchema, RequestInput, ResponseInput } from './schema.ts'

export const API_VERSIONS_KEY = 18
export const CONTROLLED_SHUTDOWN_KEY = 7

export interface RequestHeader {
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
  readonly clientId: string | null
}

function skipTaggedFields(reader: MessageReader): void {
  for (let count = reader.unsignedVarint(); count > 0; count -= 1) {
    reader.unsignedVarint()
    reader.need(reader.unsignedVarint())
  }
}

/**
 * Reads a request header; `flexible` says whether it is header version 2.
 * Throws MalformedMessageError.
 */
export function readRequestHeader(reader: MessageReader, flexible: boolean): RequestHeader {
  const apiKey = reader.int16()
  const apiVersion = reader.int16()
  const correlationId = reader.int32()
  // Version 0 of ControlledShutdown is the one request with header version 0: no client id.
  if (apiKey === CONTROLLED_SHUTDOWN_KEY && apiVersion === 0) {
    return { apiKey, apiVersion, correlationId, clientId: null }
  }
  // Not compact even in header version 2.
  const clientId = reader.nullableString(false)
  if (flexible) skipTaggedFields(reader)
  return { apiKey, apiVersion, correlationId, clientId }
}

/** Writes the header of a request, in the header version that the API's version asks for. */
export function writeRequestHeader(
  writer: MessageWriter,
  api: ApiSchema,
  header: Omit<RequestHeader, 'apiKey'>,
): void {
  writer.int16(api.key)
  writer.int16(header.apiVersion)
  writer.int32(header.correlationId)
  if (api.key === CONTROLLED_SHUTDOWN_KEY && header.apiVersion === 0) return
  writer.string(header.clientId, false)
  if (isFlexible(api, header.apiVersion)) writer.unsignedVarint(0)
}

/** ApiVersions answers without tagged fields, so that a client can read it whatever it asked. */
function hasTaggedFields(api: ApiSchema, apiVersion: number): boolean {
  return api.key !== API_VERSIONS_KEY && isFlexible(api, apiVersion)
}

/** Writes the header of a response to a request of the API's version. */
export function writeResponseHeader(
  writer: MessageWriter,
  api: ApiSchema,
  apiVersion: number,
  correlationId: number,
): void {
  writer.int32(correlationId)
  if (hasTaggedFields(api, apiVersion)) writer.unsignedVarint(0)
}

/** Reads a response header and returns its correlation id. */
export function readResponseHeader(
  reader: MessageReader,
  api: ApiSchema,
  apiVersion: number,
): number {
  const correlationId = reader.int32()
  if (hasTaggedFields(api, apiVersion)) skipTaggedFields(reader)
  return correlationId
}

/** Leaves room for the size of a frame and returns the position where it goes. */
function beginFrame(writer: MessageWriter): number {
  return writer.room(4)
}

/** The size counts everything behind it, with payloads that are inserted later. */
function endFrame(writer: MessageWriter, start: number, payloadBytesBefore: number): void {
  const payloadBytes = writer.payloadBytes - payloadBytesBefore
  writer.patchInt32(start, writer.at - start - 4 + payloadBytes)
}

/**
 * Writes a whole request frame behind what the writer holds: size, header, body.
 * Throws as `encodeRequest`.
 */
export function writeRequestFrame<A extends ApiSchema>(
  writer: MessageWriter,
  api: A,
  header: Omit<RequestHeader, 'apiKey'>,
  value: RequestInput<A>,
): void {
  const payloadBytes = writer.payloadBytes
  const start = beginFrame(writer)
  writeRequestHeader(writer, api, header)
  encodeRequest(api, header.apiVersion, writer, value)
  endFrame(writer, start, payloadBytes)
}

/**
 * Writes a whole response frame behind what the writer holds: size, header, body. The size counts
 * the payloads that belong at the writer's cuts. Throws as `encodeResponse`.
 */
export function writeResponseFrame<A extends ApiSchema>(
  writer: MessageWriter,
  api: A,
  header: { readonly apiVersion: number; readonly correlationId: number },
  value: ResponseInput<A>,
): void {
  const payloadBytes = writer.payloadBytes
  const start = beginFrame(writer)
  writeResponseHeader(writer, api, header.apiVersion, header.correlationId)
  encodeResponse(api, header.apiVersion, writer, value)
  endFrame(writer, start, payloadBytes)
}
