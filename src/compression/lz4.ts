/**
 * lz4 frames (LZ4 Frame Format 1.6.x), walked here block by block so that no announced size is
 * trusted. What some client could not read is refused: linked blocks, dictionaries and more than
 * one frame, which Java's clients do not know, and checksums and sizes that lie, which librdkafka
 * looks at.
 */
import { onFirstUse } from '../util/on-first-use.ts'
import { CorruptDataError, checkLimit } from './errors.ts'
import { Xxhash32, xxhash32 } from './xxhash32.ts'

const lz4 = onFirstUse<typeof import('lz4-napi')>('lz4-napi')

const MAGIC = 0x184d2204
const BLOCK_BYTES = 64 * 1024
const UNCOMPRESSED_BIT = 0x80000000
const VERSION = 1
const INDEPENDENT_BIT = 0x20
const BLOCK_CHECKSUM_BIT = 0x10
const CONTENT_BYTES_BIT = 0x08
const CONTENT_CHECKSUM_BIT = 0x04
const RESERVED_BIT = 0x02
const DICTIONARY_BIT = 0x01
/** Independent blocks, version 01, no checksums, no content size. */
const FLAGS = (VERSION << 6) | INDEPENDENT_BIT
/** Blocks of up to 64 KiB. */
const BLOCK_DESCRIPTOR = 4 << 4
/** No block grows more than this: a larger one needs no more room than its compressed bytes say. */
const RATIO_MAX = 255

class FrameReader {
  at = 0
  readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  take(count: number): Buffer {
    if (count > this.bytes.length - this.at) {
      throw new CorruptDataError('an lz4 frame that ends too early')
    }
    this.at += count
    return this.bytes.subarray(this.at - count, this.at)
  }

  uint32(): number {
    return this.take(4).readUInt32LE(0)
  }
}

interface FrameHeader {
  readonly flags: number
  readonly blockBytesMax: number
  /** -1: not announced. */
  readonly contentBytes: bigint
}

function readHeader(reader: FrameReader, brokenChecksum: boolean): FrameHeader {
  if (reader.uint32() !== MAGIC) throw new CorruptDataError('not an lz4 frame')
  const from = reader.at
  const flags = reader.take(1).readUInt8(0)
  const descriptor = reader.take(1).readUInt8(0)
  if (flags >> 6 !== VERSION || (flags & RESERVED_BIT) !== 0 || (descriptor & 0x8f) !== 0) {
    throw new CorruptDataError('an lz4 frame of an unknown version')
  }
  if ((flags & INDEPENDENT_BIT) === 0) throw new CorruptDataError('an lz4 frame with linked blocks')
  if ((flags & DICTIONARY_BIT) !== 0) {
    throw new CorruptDataError('an lz4 frame that wants a dictionary')
  }
  const sizeCode = descriptor >> 4
  if (sizeCode < 4) throw new CorruptDataError('an lz4 frame with an unknown block size')
  const contentBytes = (flags & CONTENT_BYTES_BIT) === 0 ? -1n : reader.take(8).readBigUInt64LE(0)
  const checked = reader.bytes.subarray(from, reader.at)
  const checksum = reader.take(1).readUInt8(0)
  if (!brokenChecksum && checksum !== ((xxhash32(checked) >>> 8) & 0xff)) {
    throw new CorruptDataError('an lz4 frame header with a wrong checksum')
  }
  return { flags, blockBytesMax: 1 << (8 + 2 * sizeCode), contentBytes }
}

/** A window per block, 4 MiB at most. Throws CorruptDataError and DecompressionLimitError. */
export function* decompressLz4(
  input: Uint8Array,
  outputBytesMax: number,
  brokenChecksum: boolean,
): Generator<Buffer> {
  const reader = new FrameReader(Buffer.from(input.buffer, input.byteOffset, input.byteLength))
  const { flags, blockBytesMax, contentBytes } = readHeader(reader, brokenChecksum)
  const contentHash = (flags & CONTENT_CHECKSUM_BIT) === 0 ? null : new Xxhash32()
  let total = 0
  for (let word = reader.uint32(); word !== 0; word = reader.uint32()) {
    const length = (word & ~UNCOMPRESSED_BIT) >>> 0
    if (length === 0 || length > blockBytesMax) {
      throw new CorruptDataError(`an lz4 block of ${length} bytes`)
    }
    const block = reader.take(length)
    if ((flags & BLOCK_CHECKSUM_BIT) !== 0 && reader.uint32() !== xxhash32(block)) {
      throw new CorruptDataError('an lz4 block with a wrong checksum')
    }
    const window = (word & UNCOMPRESSED_BIT) === 0 ? decompressBlock(block, blockBytesMax) : block
    total += window.length
    checkLimit(total, outputBytesMax)
    contentHash?.update(window)
    yield window
  }
  if (contentHash !== null && reader.uint32() !== contentHash.digest()) {
    throw new CorruptDataError('an lz4 frame with a wrong checksum')
  }
  if (contentBytes >= 0n && contentBytes !== BigInt(total)) {
    throw new CorruptDataError(`an lz4 frame of ${total} bytes that announced ${contentBytes}`)
  }
  if (reader.at < reader.bytes.length) throw new CorruptDataError('bytes behind an lz4 frame')
}

function decompressBlock(block: Buffer, bytesMax: number): Buffer {
  // The package wants the output size in front; it is only an upper bound of what comes out.
  const sized = Buffer.allocUnsafe(block.length + 4)
  sized.writeUInt32LE(Math.min(bytesMax, block.length * RATIO_MAX + 16), 0)
  block.copy(sized, 4)
  const { uncompressSync } = lz4()
  try {
    return uncompressSync(sized)
  } catch (error) {
    throw new CorruptDataError(`not an lz4 block: ${(error as Error).message}`)
  }
}

export function compressLz4(bytes: Buffer, brokenChecksum: boolean): Buffer {
  const header = Buffer.alloc(7)
  header.writeUInt32LE(MAGIC, 0)
  header[4] = FLAGS
  header[5] = BLOCK_DESCRIPTOR
  // Kafka's first lz4 clients took the checksum from the magic on; those of format 0 expect it so.
  header[6] = (xxhash32(header.subarray(brokenChecksum ? 0 : 4, 6)) >>> 8) & 0xff
  const parts: Buffer[] = [header]
  const { compressSync } = lz4()
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const plain = bytes.subarray(at, at + BLOCK_BYTES)
    const packed = compressSync(plain).subarray(4)
    const length = Buffer.alloc(4)
    const smaller = packed.length < plain.length
    length.writeUInt32LE(smaller ? packed.length : (plain.length | UNCOMPRESSED_BIT) >>> 0, 0)
    parts.push(length, smaller ? packed : plain)
  }
  parts.push(Buffer.alloc(4))
  return Buffer.concat(parts)
}
