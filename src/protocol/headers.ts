/** Request and response headers (protocol guide; KIP-482 for the flexible ones). */
import { isFlexible } from './codec.ts'
import type { MessageReader } from './message-reader.ts'
import type { MessageWriter } from './message-writer.ts'
import type { ApiSchema } from './schema.ts'

export const API_VERSIONS_KEY = 18

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

/** Reads a request header; `flexible` says whether it is header version 2. */
export function readRequestHeader(reader: MessageReader, flexible: boolean): RequestHeader {
  const apiKey = reader.int16()
  const apiVersion = reader.int16()
  const correlationId = reader.int32()
  // Not compact even in header version 2.
  const clientId = reader.nullableString(false)
  if (flexible) skipTaggedFields(reader)
  return { apiKey, apiVersion, correlationId, clientId }
}

export function writeRequestHeader(
  writer: MessageWriter,
  api: ApiSchema,
  header: Omit<RequestHeader, 'apiKey'>,
): void {
  writer.int16(api.key)
  writer.int16(header.apiVersion)
  writer.int32(header.correlationId)
  writer.string(header.clientId, false)
  if (isFlexible(api, header.apiVersion)) writer.unsignedVarint(0)
}

/** ApiVersions answers without tagged fields, so that a client can read it whatever it asked. */
function hasTaggedFields(api: ApiSchema, apiVersion: number): boolean {
  return api.key !== API_VERSIONS_KEY && isFlexible(api, apiVersion)
}

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
