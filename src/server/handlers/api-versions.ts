/** ApiVersions: what is served, in which versions (KIP-35, KIP-511). */
import { ErrorCode } from '../../protocol/error-codes.ts'
import { ApiVersions, type ApiVersionsResponseInput } from '../../protocol/messages/api-versions.ts'
import { parseVersions } from '../../protocol/schema.ts'
import type { Handler } from '../services.ts'

export interface ServedRange {
  readonly apiKey: number
  readonly minVersion: number
  readonly maxVersion: number
}

const SOFTWARE_PATTERN = /^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$/

/** `ranges` is asked for at each request, so that the table may list this handler too. */
export function createApiVersionsHandler(
  ranges: () => readonly ServedRange[],
): Handler<typeof ApiVersions> {
  return (request, context) => {
    if (context.apiVersion >= 3) {
      const { clientSoftwareName: name, clientSoftwareVersion: version } = request
      if (!SOFTWARE_PATTERN.test(name) || !SOFTWARE_PATTERN.test(version)) {
        return { errorCode: ErrorCode.INVALID_REQUEST, apiKeys: [] }
      }
      context.clientSoftware = { name, version }
    }
    return { errorCode: ErrorCode.NONE, apiKeys: ranges() }
  }
}

/**
 * The answer to a version of ApiVersions that is not served. It must be encoded in version 0,
 * which every client reads; the body of the request is not looked at.
 */
export function unsupportedApiVersions(): ApiVersionsResponseInput {
  const { min, max } = parseVersions(ApiVersions.versions)
  return {
    errorCode: ErrorCode.UNSUPPORTED_VERSION,
    apiKeys: [{ apiKey: ApiVersions.key, minVersion: min, maxVersion: max }],
  }
}
