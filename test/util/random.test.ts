/** Seeded randomness repeats itself and keeps to its bounds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SeededRandom, systemRandom } from '../../src/util/random.ts'

test('the same seed gives the same numbers and bytes', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const [a, b] = [new SeededRandom(seed), new SeededRandom(seed)]
      for (let i = 0; i < 20; i += 1) assert.equal(a.integer(1000), b.integer(1000))
      assert.deepEqual(a.bytes(16), b.bytes(16))
    }),
  )
})

test('an integer is below its bound and every value comes up', () => {
  for (const random of [new SeededRandom(1), systemRandom]) {
    const seen = new Set<number>()
    for (let i = 0; i < 1000; i += 1) seen.add(random.integer(6))
    assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5])
    assert.equal(random.bytes(5).length, 5)
  }
})
