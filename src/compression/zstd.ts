/**
 * zstd through `zstd-napi`, the only package that builds everywhere here; `node:zlib` has it from
 * Node 22 on, and this file is all that must change then.
 */
import { createRequire } from 'node:module'
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

const binding = createRequire(import.meta.url)('zstd-napi/binding') as Binding

const WINDOW_BYTES = 1024 * 1024
const LEVEL = 3
/** The decoder keeps a window of the output: 8 MiB, which is what every level up to 19 stays in. */
const WINDOW_LOG_MAX = 23

export function* decompressZstd(input: Uint8Array, outputBytesMax: number): Generator<Buffer> {
  const context = new binding.DCtx()
  context.setParameter(binding.DParameter.windowLogMax, WINDOW_LOG_MAX)
  const window = Buffer.allocUnsafe(WINDOW_BYTES)
  let rest = input
  let total = 0
  let expected = -1
  for (;;) {
    let produced: number
    let consumed: number
    try {
      ;[expected, produced, consumed] = context.decompressStream(window, rest)
    } catch (error) {
      throw new CorruptDataError(`not a zstd stream: ${(error as Error).message}`)
    }
    rest = rest.subarray(consumed)
    total += produced
    checkLimit(total, outputBytesMax)
    if (produced > 0) yield window.subarray(0, produced)
    if (rest.length === 0 && produced < window.length) break
    if (produced === 0 && consumed === 0) break
  }
  if (expected !== 0) throw new CorruptDataError('a zstd stream that ends too early')
}

export function compressZstd(bytes: Buffer): Buffer {
  const out = Buffer.allocUnsafe(binding.compressBound(bytes.length))
  return out.subarray(0, binding.compress(out, bytes, LEVEL))
}
