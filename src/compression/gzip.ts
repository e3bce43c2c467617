/** gzip (RFC 1952), multi-member streams included. */
import { gunzipSync, gzipSync } from 'node:zlib'
import { CorruptDataError, DecompressionLimitError } from './errors.ts'

export function decompressGzip(bytes: Uint8Array, outputBytesMax: number): Buffer[] {
  try {
    return [gunzipSync(bytes, { maxOutputLength: Math.max(1, outputBytesMax) })]
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new DecompressionLimitError(`more than ${outputBytesMax} bytes when decompressed`)
    }
    throw new CorruptDataError(`not a gzip stream: ${(error as Error).message}`)
  }
}

export function compressGzip(bytes: Buffer): Buffer {
  return gzipSync(bytes)
}
