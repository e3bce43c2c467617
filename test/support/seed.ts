/** Random numbers that a failed run can be repeated with. */

/** SHARDLOG_TEST_SEED, or a seed that differs with every run. */
export function testSeed(): number {
  const given = process.env['SHARDLOG_TEST_SEED']
  return given === undefined ? Date.now() % 2 ** 31 : Number(given)
}

/** Numbers in [0, 1) that depend on the seed alone (a 32-bit xorshift). */
export function seededRandom(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state / 2 ** 32
  }
}
