import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { readUuid, writeUuid } from '../../src/protocol/uuid-cache.ts'

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function written(text: string): Buffer {
  const bytes = Buffer.alloc(20)
  writeUuid(viewOf(bytes), 3, text)
  return bytes.subarray(3, 19)
}

test('uuids are the url-safe base64 of their bytes, remembered or not', () => {
  const all = Array.from({ length: 5000 }, () => randomBytes(16))
  // A few are asked for again and again between the many that displace them.
  const often = all.slice(0, 8)
  for (const one of all) {
    for (const bytes of [one, ...often]) {
      const text = bytes.toString('base64url')
      assert.equal(readUuid(viewOf(bytes), 0), text)
      assert.deepEqual(written(text), bytes)
    }
  }
})

test('the zero uuid is itself, also after others had its place', () => {
  for (let i = 0; i < 5000; i += 1) readUuid(viewOf(randomBytes(16)), 0)
  assert.equal(readUuid(viewOf(Buffer.alloc(16)), 0), ZERO_UUID)
  assert.deepEqual(written(ZERO_UUID), Buffer.alloc(16))
})

test('a text that is no uuid is refused', () => {
  for (const text of ['', 'short', '!'.repeat(22)]) {
    assert.throws(() => writeUuid(viewOf(Buffer.alloc(16)), 0, text), RangeError)
  }
})
