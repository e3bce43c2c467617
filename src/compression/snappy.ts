/**
 * snappy: raw blocks, and the framing of Java's snappy library ("xerial") that Kafka's Java
 * clients write: a 16-byte header, then blocks with their length in front.
 */
import { onFirstUse } from '../util/on-first-use.ts'
import { CorruptDataError, checkLimit } from './errors.ts'

const snappy = onFirstUse<typeof import('snappy')>('snappy')

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
const XERIAL_HEADER_BYTES = 16
const BLOCK_BYTES = 32 * 1024
/** Three bytes of a block make 64 at most: a header that announces more is a lie. */
const RATIO_MAX = 64 / 3

/**
 * A window per block: 32 KiB in Java's framing. A raw block, as librdkafka and Go's clients send it,
 * is one window, because a copy may look back to its start; it is at most 22 times its compressed
 * size. Throws CorruptDataError and DecompressionLimitError.
 */
export function* decompressSnappy(input: Uint8Array, outputBytesMax: number): Generator<Buffer> {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  if (!isXerial(bytes)) {
    yield decompressBlock(bytes, outputBytesMax)
    return
  }
  let left = outputBytesMax
  let at = XERIAL_HEADER_BYTES
  while (at < bytes.length) {
    // Streams may be appended to each other, header and all.
    if (isXerial(bytes.subarray(at))) {
      at += XERIAL_HEADER_BYTES
      continue
    }
    if (bytes.length - at < 4) throw new CorruptDataError('a snappy block without its length')
    const length = bytes.readInt32BE(at)
    at += 4
    if (length <= 0 || length > bytes.length - at) {
      throw new CorruptDataError(`a snappy block of ${length} bytes`)
    }
    const window = decompressBlock(bytes.subarray(at, at + length), left)
    at += length
    left -= window.length
    yield window
  }
}

function isXerial(bytes: Buffer): boolean {
  return (
    bytes.length >= XERIAL_HEADER_BYTES &&
    bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)
  )
}

function announcedLength(block: Buffer): number {
  let value = 0
  for (let i = 0; i < 5 && i < block.length; i += 1) {
    const byte = block[i] as number
    value += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return value
  }
  throw new CorruptDataError('a snappy block without a length')
}

function decompressBlock(block: Buffer, outputBytesMax: number): Buffer {
  const announced = announcedLength(block)
  if (announced > block.length * RATIO_MAX) {
    throw new CorruptDataError(`a snappy block of ${block.length} bytes announces ${announced}`)
  }
  checkLimit(announced, outputBytesMax)
  const { uncompressSync } = snappy()
  try {
    const result = uncompressSync(block, { asBuffer: true })
    return Buffer.isBuffer(result) ? result : Buffer.from(result)
  } catch (error) {
    throw new CorruptDataError(`not a snappy block: ${(error as Error).message}`)
  }
}

export function compressSnappy(bytes: Buffer): Buffer {
  const header = Buffer.alloc(XERIAL_HEADER_BYTES)
  XERIAL_MAGIC.copy(header)
  header.writeInt32BE(1, 8)
  header.writeInt32BE(1, 12)
  const parts: Buffer[] = [header]
  const { compressSync } = snappy()
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    const block = compressSync(bytes.subarray(at, at + BLOCK_BYTES))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length, 0)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}
