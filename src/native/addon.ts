/** The one door to the C++ add-on: loads it and gives its functions types. */
import { createRequire } from 'node:module'

interface Addon {
  /** CRC-32C of `bytes`, continuing from `seed` (0 at the start). */
  crc32c(bytes: Uint8Array, seed: number): number
  /** Which form of CRC-32C this CPU got: `sse4.2`, `armv8` or `portable`. */
  crc32cImplementation(): string
}

const require = createRequire(import.meta.url)

export const addon: Addon = require('../../../build/Release/shardlog.node')
