// Hot path.
/** MurmurHash2 as Apache Kafka's Java clients place keys with: the same key, the same partition. */

const SEED = 0x9747b28c
const MULTIPLIER = 0x5bd1e995

/** 32 bits, signed. */
export function murmur2(bytes: Uint8Array): number {
  const { length } = bytes
  let hash = SEED ^ length
  let at = 0
  for (const end = length & ~3; at < end; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    word = Math.imul(word, MULTIPLIER)
    word = Math.imul(word ^ (word >>> 24), MULTIPLIER)
    hash = Math.imul(hash, MULTIPLIER) ^ word
  }
  const rest = length - at
  if (rest > 0) {
    if (rest > 2) hash ^= (bytes[at + 2] as number) << 16
    if (rest > 1) hash ^= (bytes[at + 1] as number) << 8
    hash = Math.imul(hash ^ (bytes[at] as number), MULTIPLIER)
  }
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** The partition that Java's default partitioner gives a key. */
export function partitionOfKey(key: Uint8Array, partitionCount: number): number {
  // Not the absolute value: that of the lowest int32 is negative in Java.
  return (murmur2(key) & 0x7fffffff) % partitionCount
}
