/** Randomness, injected so that a test can repeat it. */

/** Loaded with its first use: it takes 4 ms, and a command-line tool may never need it. */
function crypto() {
  return process.getBuiltinModule('node:crypto')
}

export interface Random {
  /** An integer in [0, bound). */
  integer(bound: number): number
  bytes(count: number): Buffer
}

export const systemRandom: Random = {
  integer: (bound) => crypto().randomInt(bound),
  bytes: (count) => crypto().randomBytes(count),
}

/** mulberry32: small, fast, the same for the same seed. Not for secrets. */
export class SeededRandom implements Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }

  integer(bound: number): number {
    return Math.floor((this.#next() / 4294967296) * bound)
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.integer(256)))
  }
}
