/** gzip (RFC 1952), streams of several members included, inflated window by window. */
import { constants, createGunzip, gzipSync } from 'node:zlib'
import { CorruptDataError, checkLimit } from './errors.ts'

const WINDOW_BYTES = 256 * 1024

/**
 * What is under Node's zlib streams. It has no public synchronous face that stops between windows:
 * `gunzipSync` holds the whole output. zlib's own packages on npm stand on the same two names.
 */
interface SyncInflate {
  readonly _handle: {
    writeSync(
      flush: number,
      input: Uint8Array,
      inputAt: number,
      inputBytes: number,
      output: Uint8Array,
      outputAt: number,
      outputBytes: number,
    ): void
    onerror: (message: string) => void
  }
  /** After a write: bytes left of the output, bytes left of the input. */
  readonly _writeState: Uint32Array
  close(): void
}

/** Windows of at most 256 KiB. Throws CorruptDataError and DecompressionLimitError. */
export function* decompressGzip(bytes: Uint8Array, outputBytesMax: number): Generator<Buffer> {
  const inflate = createGunzip() as unknown as SyncInflate
  const handle = inflate._handle
  const state = inflate._writeState
  let failure: string | null = null
  handle.onerror = (message) => {
    failure = message
  }
  try {
    const window = Buffer.allocUnsafe(WINDOW_BYTES)
    let left = bytes.length
    let total = 0
    for (;;) {
      const from = bytes.length - left
      handle.writeSync(constants.Z_FINISH, bytes, from, left, window, 0, window.length)
      if (failure !== null) throw new CorruptDataError(`not a gzip stream: ${failure}`)
      const room = state[0] as number
      left = state[1] as number
      total += window.length - room
      checkLimit(total, outputBytesMax)
      if (room < window.length) yield window.subarray(0, window.length - room)
      if (room > 0) return
    }
  } finally {
    inflate.close()
  }
}

export function compressGzip(bytes: Buffer, level: number): Buffer {
  return gzipSync(bytes, { level })
}
