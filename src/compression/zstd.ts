/**
 * zstd through `zstd-napi`, the only package that builds everywhere here; `node:zlib` has it from
 * Node 22 on, and this file is all that must change then.
 */
import { onFirstUse } from '../util/on-first-use.ts'
import { CorruptDataError, checkLimit } from './errors.ts'

interface DecompressionContext {
  decompressStream(
    out: Uint8Array,
    bytes: Uint8Array,
  ): [expected: number, produced: number, consumed: number]
  setParameter(parameter: number, value: number): void
}

interface Binding {
  DCtx: new () => DecompressionContext
  DParameter: { windowLogMax: number }
  compress(out: Uint8Array, bytes: Uint8Array, level: number): number
  compressBound(bytes: number): number
}

const zstd = onFirstUse<Binding>('zstd-napi/binding')

const WINDOW_BYTES = 256 * 1024
/**
 * The decoder may look back 128 MiB, as far as level 22 does and as Java's clients go along with. It
 * reserves what a frame announces, but only pages that output is written to become real.
 */
const WINDOW_LOG_MAX = 27

/** Windows of at most 256 KiB. Throws CorruptDataError and DecompressionLimitError. */
export function* decompressZstd(input: Uint8Array, outputBytesMax: number): Generator<Buffer> {
  const { DCtx, DParameter } = zstd()
  const context = new DCtx()
  context.setParameter(DParameter.windowLogMax, WINDOW_LOG_MAX)
  const window = Buffer.allocUnsafe(WINDOW_BYTES)
  let rest = input
  let total = 0
  // 0 once a frame is decoded and given out in full.
  let expected = 1
  while (rest.length > 0 || expected !== 0) {
    let produced: number
    let consumed: number
    try {
      ;[expected, produced, consumed] = context.decompressStream(window, rest)
    } catch (error) {
      throw new CorruptDataError(`not a zstd stream: ${(error as Error).message}`)
    }
    if (produced === 0 && consumed === 0) {
      throw new CorruptDataError('a zstd stream that ends too early')
    }
    rest = rest.subarray(consumed)
    total += produced
    checkLimit(total, outputBytesMax)
    if (produced > 0) yield window.subarray(0, produced)
  }
}

export function compressZstd(bytes: Buffer, level: number): Buffer {
  const binding = zstd()
  const out = Buffer.allocUnsafe(binding.compressBound(bytes.length))
  return out.subarray(0, binding.compress(out, bytes, level))
}
