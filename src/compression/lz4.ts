/**
 * lz4 frames (LZ4 Frame Format 1.6.x), walked here block by block so that no announced size is
 * trusted; independent blocks only, which is what Kafka's Java clients can read.
 */
import { compressSync, uncompressSync } from 'lz4-napi'
import { CorruptDataError, checkLimit } from './errors.ts'
import { xxhash32 } from './xxhash32.ts'

const MAGIC = 0x184d2204
const SKIPPABLE_MAGIC = 0x184d2a50
const BLOCK_BYTES = 64 * 1024
const UNCOMPRESSED_BIT = 0x80000000
/** Independent blocks, version 01, no checksums, no content size. */
const FLAGS = 0x60
/** Blocks of up to 64 KiB. */
const BLOCK_DESCRIPTOR = 0x40

export function* decompressLz4(
  input: Uint8Array,
  outputBytesMax: number,
  brokenChecksum: boolean,
): Generator<Buffer> {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  let at = 0
  let total = 0
  const take = (count: number): number => {
    if (count > bytes.length - at) throw new CorruptDataError('an lz4 frame that ends too early')
    const from = at
    at += count
    return from
  }
  while (at < bytes.length) {
    const start = take(4)
    const magic = bytes.readUInt32LE(start)
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      take(bytes.readUInt32LE(take(4)))
      continue
    }
    if (magic !== MAGIC) throw new CorruptDataError('not an lz4 frame')
    const flags = bytes[take(1)] as number
    const descriptor = bytes[take(1)] as number
    if (flags >> 6 !== 1) throw new CorruptDataError('an lz4 frame of an unknown version')
    if ((flags & 0x20) === 0) throw new CorruptDataError('an lz4 frame with linked blocks')
    if ((flags & 0x01) !== 0) throw new CorruptDataError('an lz4 frame that wants a dictionary')
    const sizeCode = (descriptor >> 4) & 7
    if (sizeCode < 4) throw new CorruptDataError('an lz4 frame with an unknown block size')
    const blockBytesMax = 1 << (8 + 2 * sizeCode)
    if ((flags & 0x08) !== 0) take(8)
    const checked = bytes.subarray(start + 4, at)
    const checksum = bytes[take(1)] as number
    if (!brokenChecksum && checksum !== ((xxhash32(checked) >>> 8) & 0xff)) {
      throw new CorruptDataError('an lz4 frame header with a wrong checksum')
    }
    for (;;) {
      const word = bytes.readUInt32LE(take(4))
      if (word === 0) break
      const length = (word & ~UNCOMPRESSED_BIT) >>> 0
      if (length > blockBytesMax) throw new CorruptDataError(`an lz4 block of ${length} bytes`)
      const from = take(length)
      const block = bytes.subarray(from, from + length)
      const window =
        (word & UNCOMPRESSED_BIT) !== 0
          ? block
          : decompressBlock(block, blockBytesMax)
      total += window.length
      checkLimit(total, outputBytesMax)
      if ((flags & 0x10) !== 0) take(4)
      yield window
    }
    if ((flags & 0x04) !== 0) take(4)
  }
}

function decompressBlock(block: Buffer, bytesMax: number): Buffer {
  // The package wants the output size in front; it is only an upper bound of what comes out.
  const sized = Buffer.allocUnsafe(block.length + 4)
  sized.writeUInt32LE(Math.min(bytesMax, block.length * 255 + 16), 0)
  block.copy(sized, 4)
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
