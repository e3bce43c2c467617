/** xxHash-32 of up to 15 bytes with seed 0: what the header of an lz4 frame needs. */

const PRIME_1 = 0x9e3779b1
const PRIME_2 = 0x85ebca77
const PRIME_3 = 0xc2b2ae3d
const PRIME_4 = 0x27d4eb2f
const PRIME_5 = 0x165667b1

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

export function xxhash32(bytes: Buffer): number {
  if (bytes.length > 15) throw new RangeError('xxhash32 is for short inputs here')
  let hash = (PRIME_5 + bytes.length) | 0
  let at = 0
  for (; at + 4 <= bytes.length; at += 4) {
    hash = (hash + Math.imul(bytes.readUInt32LE(at), PRIME_3)) | 0
    hash = Math.imul(rotate(hash, 17), PRIME_4)
  }
  for (; at < bytes.length; at += 1) {
    hash = (hash + Math.imul(bytes[at] as number, PRIME_5)) | 0
    hash = Math.imul(rotate(hash, 11), PRIME_1)
  }
  hash = Math.imul(hash ^ (hash >>> 15), PRIME_2)
  hash = Math.imul(hash ^ (hash >>> 13), PRIME_3)
  return (hash ^ (hash >>> 16)) >>> 0
}
