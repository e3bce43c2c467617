/** xxHash-32 with seed 0: the checksums of lz4 frames. */

const PRIME_1 = 0x9e3779b1
const PRIME_2 = 0x85ebca77
const PRIME_3 = 0xc2b2ae3d
const PRIME_4 = 0x27d4eb2f
const PRIME_5 = 0x165667b1
const STRIPE_BYTES = 16

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}

function round(lane: number, bytes: Buffer, at: number): number {
  return Math.imul(rotate((lane + Math.imul(bytes.readInt32LE(at), PRIME_2)) | 0, 13), PRIME_1)
}

/** The hash of bytes that come in pieces. */
export class Xxhash32 {
  #lane1 = (PRIME_1 + PRIME_2) | 0
  #lane2 = PRIME_2 | 0
  #lane3 = 0
  #lane4 = -PRIME_1 | 0
  #total = 0
  /** The bytes that do not fill a stripe yet. */
  readonly #rest = Buffer.alloc(STRIPE_BYTES)
  #restBytes = 0

  update(bytes: Buffer): void {
    this.#total += bytes.length
    let at = 0
    if (this.#restBytes > 0) {
      at = Math.min(STRIPE_BYTES - this.#restBytes, bytes.length)
      bytes.copy(this.#rest, this.#restBytes, 0, at)
      this.#restBytes += at
      if (this.#restBytes < STRIPE_BYTES) return
      this.#stripe(this.#rest, 0)
      this.#restBytes = 0
    }
    for (; bytes.length - at >= STRIPE_BYTES; at += STRIPE_BYTES) this.#stripe(bytes, at)
    this.#restBytes = bytes.copy(this.#rest, 0, at)
  }

  #stripe(bytes: Buffer, at: number): void {
    this.#lane1 = round(this.#lane1, bytes, at)
    this.#lane2 = round(this.#lane2, bytes, at + 4)
    this.#lane3 = round(this.#lane3, bytes, at + 8)
    this.#lane4 = round(this.#lane4, bytes, at + 12)
  }

  /** An unsigned 32-bit number. */
  digest(): number {
    let hash =
      this.#total < STRIPE_BYTES
        ? PRIME_5
        : rotate(this.#lane1, 1) +
          rotate(this.#lane2, 7) +
          rotate(this.#lane3, 12) +
          rotate(this.#lane4, 18)
    hash = (hash + this.#total) | 0
    let at = 0
    for (; at + 4 <= this.#restBytes; at += 4) {
      hash = (hash + Math.imul(this.#rest.readInt32LE(at), PRIME_3)) | 0
      hash = Math.imul(rotate(hash, 17), PRIME_4)
    }
    for (; at < this.#restBytes; at += 1) {
      hash = (hash + Math.imul(this.#rest[at] as number, PRIME_5)) | 0
      hash = Math.imul(rotate(hash, 11), PRIME_1)
    }
    hash = Math.imul(hash ^ (hash >>> 15), PRIME_2)
    hash = Math.imul(hash ^ (hash >>> 13), PRIME_3)
    return (hash ^ (hash >>> 16)) >>> 0
  }
}

export function xxhash32(bytes: Buffer): number {
  const hash = new Xxhash32()
  hash.update(bytes)
  return hash.digest()
}
