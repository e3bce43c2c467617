/**
 * Codecs and checksums for clients, each loaded when it is first needed: a tool that never meets
 * snappy never waits for it.
 */
import { crc32 } from 'node:zlib'
import type { Checksum } from '../protocol/record-batch.ts'
import { InvalidArgumentError, ProtocolError } from './errors.ts'

/** Ids as in the attributes of a batch. */
export const COMPRESSION_CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const

export type CompressionType = keyof typeof COMPRESSION_CODECS

/** Makes the body of a batch of format 2 smaller. */
export type Compress = (body: Buffer) => Buffer

/** Undoes it; `magic` is that of the batch around it. Throws ProtocolError for what is broken. */
export type Decompress = (codec: number, bytes: Buffer, magic: number) => Buffer

type Windows = (bytes: Buffer, magic: number) => Iterable<Buffer>

/** More than this from one batch is taken for an attack. */
const DECOMPRESSED_BYTES_MAX = 1 << 28

/** The id of a codec by its name. Throws InvalidArgumentError. */
export function codecOf(name: string): number {
  if (!Object.hasOwn(COMPRESSION_CODECS, name)) {
    const known = Object.keys(COMPRESSION_CODECS).join(', ')
    throw new InvalidArgumentError(`${JSON.stringify(name)} is none of the codecs ${known}`)
  }
  return COMPRESSION_CODECS[name as CompressionType]
}

/**
 * What compresses in a codec; null for codec 0. `level` is the codec's own default if left out.
 * Throws InvalidArgumentError for a codec that is none.
 */
export async function loadCompress(codec: number, level?: number): Promise<Compress | null> {
  switch (codec) {
    case COMPRESSION_CODECS.none:
      return null
    case COMPRESSION_CODECS.gzip: {
      const { compressGzip } = await import('../compression/gzip.ts')
      return (body) => compressGzip(body, level ?? -1)
    }
    case COMPRESSION_CODECS.snappy: {
      const { compressSnappy } = await import('../compression/snappy.ts')
      return compressSnappy
    }
    case COMPRESSION_CODECS.lz4: {
      const { compressLz4 } = await import('../compression/lz4.ts')
      return (body) => compressLz4(body, false)
    }
    case COMPRESSION_CODECS.zstd: {
      const { compressZstd } = await import('../compression/zstd.ts')
      return (body) => compressZstd(body, level ?? 3)
    }
    default:
      throw new InvalidArgumentError(`there is no codec ${codec}`)
  }
}

async function loadWindows(codec: number): Promise<Windows> {
  const most = DECOMPRESSED_BYTES_MAX
  switch (codec) {
    case COMPRESSION_CODECS.gzip: {
      const { decompressGzip } = await import('../compression/gzip.ts')
      return (bytes) => decompressGzip(bytes, most)
    }
    case COMPRESSION_CODECS.snappy: {
      const { decompressSnappy } = await import('../compression/snappy.ts')
      return (bytes) => decompressSnappy(bytes, most)
    }
    case COMPRESSION_CODECS.lz4: {
      const { decompressLz4 } = await import('../compression/lz4.ts')
      return (bytes, magic) => decompressLz4(bytes, most, magic === 0)
    }
    case COMPRESSION_CODECS.zstd: {
      const { decompressZstd } = await import('../compression/zstd.ts')
      return (bytes) => decompressZstd(bytes, most)
    }
    default:
      throw new ProtocolError(`records are compressed in codec ${codec}, which is not known here`)
  }
}

const loaded = new Map<number, Windows>()

/**
 * What decompresses the codecs, which are loaded here if they were not before. Throws ProtocolError
 * for a codec that is not known.
 */
export async function loadDecompress(codecs: Iterable<number>): Promise<Decompress> {
  for (const codec of codecs) {
    if (codec !== 0 && !loaded.has(codec)) loaded.set(codec, await loadWindows(codec))
  }
  return decompress
}

function decompress(codec: number, bytes: Buffer, magic: number): Buffer {
  if (codec === 0) return bytes
  const windowsOf = loaded.get(codec)
  if (windowsOf === undefined) throw new ProtocolError(`codec ${codec} is not loaded`)
  const windows: Buffer[] = []
  try {
    // A window is only valid until the next.
    for (const window of windowsOf(bytes, magic)) windows.push(Buffer.from(window))
  } catch (error) {
    throw new ProtocolError(`records cannot be decompressed: ${(error as Error).message}`, error)
  }
  return windows.length === 1 ? (windows[0] as Buffer) : Buffer.concat(windows)
}

/** CRC-32C, from the add-on. */
export async function loadCrc32c(): Promise<Checksum> {
  const { addon } = await import('../native/addon.ts')
  return addon.crc32c
}

/** CRC-32 as zlib has it, for record formats 0 and 1. */
export const legacyCrc32: Checksum = crc32
