// Hot path.
/**
 * From a frame to its handler: checks API and version, decodes, calls, encodes. The API table says
 * what is served; what is not in it closes the connection, as in Apache Kafka.
 */
import { type Frame, ProtocolViolation } from '../network/request-handler.ts'
import { decodeRequest, isFlexible } from '../protocol/codec.ts'
import { API_VERSIONS_KEY, readRequestHeader } from '../protocol/headers.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestOf,
  type ResponseInput,
} from '../protocol/schema.ts'
import type { RequestContext } from './request-context.ts'
import type { Responder } from './responder.ts'

/** An API that is served. */
export interface ServedApi {
  readonly api: ApiSchema
  readonly minVersion: number
  readonly maxVersion: number
  readonly handle: (frame: Frame) => void | Promise<void>
}

export type ApiHandler<A extends ApiSchema> = (
  request: RequestOf<A>,
  context: RequestContext,
) => ResponseInput<A> | Promise<ResponseInput<A>>

/** Serves an API whose handler sees messages, in all versions that are known if none are given. */
export function serve<A extends ApiSchema>(
  responder: Responder,
  api: A,
  handler: ApiHandler<A>,
  versions = api.versions,
): ServedApi {
  const range = parseVersions(versions)
  return {
    api,
    minVersion: range.min,
    maxVersion: range.max,
    handle: (frame) => {
      const reader = responder.read(frame)
      if (reader === null) return
      const header = readRequestHeader(reader, isFlexible(api, frame.apiVersion))
      const request = decodeRequest(api, frame.apiVersion, reader)
      const context = contextOf(frame, header.clientId)
      const response = handler(request, context)
      if (context.clientSoftware !== null) {
        frame.connection.softwareName = context.clientSoftware.name
        frame.connection.softwareVersion = context.clientSoftware.version
      }
      if (!(response instanceof Promise)) {
        responder.respond(api, frame, response)
        return
      }
      return response.then((value) => responder.respond(api, frame, value))
    },
  }
}

/** Serves an API whose handler sees frames. */
export function serveFrames(
  api: ApiSchema,
  handle: (frame: Frame) => void | Promise<void>,
): ServedApi {
  const range = parseVersions(api.versions)
  return { api, minVersion: range.min, maxVersion: range.max, handle }
}

function contextOf(frame: Frame, clientId: string | null): RequestContext {
  const { connection } = frame
  return {
    apiKey: frame.apiKey,
    apiVersion: frame.apiVersion,
    correlationId: frame.correlationId,
    clientId,
    clientAddress: connection.address,
    listenerName: connection.listenerName,
    clientSoftware: null,
  }
}

export class RequestDispatcher {
  readonly #apis: (ServedApi | undefined)[] = []
  readonly #unsupportedApiVersions: (frame: Frame) => void

  /** `unsupportedApiVersions` answers ApiVersions requests newer than what is served. */
  constructor(apis: readonly ServedApi[], unsupportedApiVersions: (frame: Frame) => void) {
    for (const served of apis) this.#apis[served.api.key] = served
    this.#unsupportedApiVersions = unsupportedApiVersions
  }

  handle(frame: Frame): void | Promise<void> {
    const served = this.#apis[frame.apiKey]
    if (served === undefined) throw new ProtocolViolation(`api key ${frame.apiKey} is not served`)
    if (frame.apiVersion < served.minVersion || frame.apiVersion > served.maxVersion) {
      if (frame.apiKey === API_VERSIONS_KEY) {
        this.#unsupportedApiVersions(frame)
        return
      }
      throw new ProtocolViolation(
        `version ${frame.apiVersion} of ${served.api.name} is not served (${served.minVersion} to ${served.maxVersion} are)`,
      )
    }
    try {
      return served.handle(frame)
    } catch (error) {
      if (!(error instanceof MalformedMessageError)) throw error
      throw new ProtocolViolation(
        `a ${served.api.name} request of version ${frame.apiVersion} is malformed: ${error.message}`,
      )
    }
  }
}
