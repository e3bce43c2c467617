/** The add-on's CRC-32C against the standard check value and an independent implementation. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c as oracle } from '@node-rs/crc32'
import fc from 'fast-check'
import { addon } from '../../src/native/addon.ts'

test('crc32c gives the standard check value', () => {
  assert.equal(addon.crc32c(Buffer.from('123456789'), 0), 0xe3069283)
  assert.match(addon.crc32cImplementation(), /^(sse4\.2|armv8|portable)$/)
})

test('crc32c agrees with another implementation and chains', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20_000 }), fc.nat(), (bytes, cutAt) => {
      const cut = bytes.length === 0 ? 0 : cutAt % bytes.length
      const whole = addon.crc32c(bytes, 0)
      assert.equal(whole, oracle(Buffer.from(bytes)))
      assert.equal(
        addon.crc32c(bytes.subarray(cut), addon.crc32c(bytes.subarray(0, cut), 0)),
        whole,
      )
    }),
  )
})
