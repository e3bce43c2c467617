/** The hash of keys, held against that of Apache Kafka's own class. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { murmur2, partitionOfKey } from '../../src/client/murmur2.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { jarToRun, runJava } from '../support/java-program.ts'
import { testSeed } from '../support/seed.ts'

test('keys have the same hash as in Java', (t) => {
  const jar = jarToRun(t, '3.9.1')
  if (jar === null) return
  const random = new SeededRandom(testSeed())
  const keys = Array.from({ length: 2000 }, (_, i) => random.bytes(i % 70))
  const input = keys.map((key) => `${key.toString('hex')}\n`).join('')
  const expected = runJava(jar, 'Murmur2Oracle.java', Buffer.from(input))
  assert.deepEqual(
    keys.map((key) => String(murmur2(key))),
    String(expected).trimEnd().split('\n'),
  )
})

test('vectors that Java printed; every key has a partition', () => {
  const vectors = [
    ['', 275646681],
    ['a', -1563381124],
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
  ] as const
  for (const [key, hash] of vectors) assert.equal(murmur2(Buffer.from(key)), hash, key)
  for (let i = 0; i < 1000; i += 1) {
    const partition = partitionOfKey(Buffer.from(`key ${i}`), 7)
    assert.ok(partition >= 0 && partition < 7)
  }
})
