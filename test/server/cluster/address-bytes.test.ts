/** Addresses of clients in an Envelope: 4 or 16 bytes, there and back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressBytes, addressText } from '../../../src/server/cluster/address-bytes.ts'

test('addresses of both kinds survive as bytes', () => {
  assert.deepEqual([...addressBytes('192.168.7.255')], [192, 168, 7, 255])
  assert.equal(addressText(addressBytes('192.168.7.255')), '192.168.7.255')
  const cases: readonly [string, string][] = [
    ['::', '0:0:0:0:0:0:0:0'],
    ['::1', '0:0:0:0:0:0:0:1'],
    ['fe80::a1%eth0', 'fe80:0:0:0:0:0:0:a1'],
    ['2001:db8::8:800:200c:417a', '2001:db8:0:0:8:800:200c:417a'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7:8'],
    ['::ffff:10.0.0.1', '0:0:0:0:0:ffff:a00:1'],
  ]
  for (const [text, expected] of cases) {
    assert.equal(addressBytes(text).length, 16, text)
    assert.equal(addressText(addressBytes(text)), expected)
  }
})

test('what is no address has none', () => {
  assert.deepEqual([...addressBytes('')], [0, 0, 0, 0])
  assert.deepEqual([...addressBytes('pipe')], [0, 0, 0, 0])
  assert.equal(addressText(Buffer.alloc(3)), '')
})
