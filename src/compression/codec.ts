/** Compression codecs of the record format, one face for all of them. */
import { CorruptDataError } from './errors.ts'
import { compressGzip, decompressGzip } from './gzip.ts'
import { compressLz4, decompressLz4 } from './lz4.ts'
import { compressSnappy, decompressSnappy } from './snappy.ts'
import { compressZstd, decompressZstd } from './zstd.ts'

/** Codec ids: bits 0 to 2 of the attributes of a batch. */
export const Codec = { NONE: 0, GZIP: 1, SNAPPY: 2, LZ4: 3, ZSTD: 4 } as const

export interface DecompressionOptions {
  /** The most bytes that may come out; more is a DecompressionLimitError. */
  readonly outputBytesMax: number
  /** Magic of the record format around it: 0 has lz4 frames with a wrong header checksum. */
  readonly magic: number
}

/**
 * Decompresses piece by piece: no window is larger than 4 MiB (but see decompressSnappy), and a
 * window is only valid until the next one is asked for. Lengths that the data announces are never allocated on trust. Whoever
 * stops before the end should `return()` the iterator, which frees the decoder at once. Throws
 * CorruptDataError and DecompressionLimitError, here or while the windows are walked.
 */
export function decompressWindows(
  codec: number,
  bytes: Uint8Array,
  options: DecompressionOptions,
): Iterable<Buffer> {
  switch (codec) {
    case Codec.NONE:
      return [Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)]
    case Codec.GZIP:
      return decompressGzip(bytes, options.outputBytesMax)
    case Codec.SNAPPY:
      return decompressSnappy(bytes, options.outputBytesMax)
    case Codec.LZ4:
      return decompressLz4(bytes, options.outputBytesMax, options.magic === 0)
    case Codec.ZSTD:
      return decompressZstd(bytes, options.outputBytesMax)
    default:
      throw new CorruptDataError(`there is no codec ${codec}`)
  }
}

/** Decompresses at once. Throws CorruptDataError and DecompressionLimitError. */
export function decompress(
  codec: number,
  bytes: Uint8Array,
  options: DecompressionOptions,
): Buffer {
  const windows: Buffer[] = []
  for (const window of decompressWindows(codec, bytes, options)) windows.push(Buffer.from(window))
  return windows.length === 1 ? (windows[0] as Buffer) : Buffer.concat(windows)
}

/** Levels that stand for each codec's own default; lz4 and snappy have only one. */
const GZIP_LEVEL = -1
const ZSTD_LEVEL = 3

export interface CompressionOptions {
  /** Magic of the record format around it: see DecompressionOptions. */
  readonly magic: number
  /** Of gzip (-1 to 9) or zstd (-131072 to 22); the codec's default if left out. */
  readonly level?: number | undefined
}

/** Compresses as Apache Kafka's own clients do, so that every client can read it. */
export function compress(codec: number, bytes: Buffer, options: CompressionOptions): Buffer {
  switch (codec) {
    case Codec.NONE:
      return bytes
    case Codec.GZIP:
      return compressGzip(bytes, options.level ?? GZIP_LEVEL)
    case Codec.SNAPPY:
      return compressSnappy(bytes)
    case Codec.LZ4:
      return compressLz4(bytes, options.magic === 0)
    case Codec.ZSTD:
      return compressZstd(bytes, options.level ?? ZSTD_LEVEL)
    default:
      throw new RangeError(`there is no codec ${codec}`)
  }
}
