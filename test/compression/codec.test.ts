/** Codecs: round trips, what no codec makes, and bombs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import { Codec, compress, decompress, decompressWindows } from '../../src/compression/codec.ts'
import { CorruptDataError, DecompressionLimitError } from '../../src/compression/errors.ts'
import { xxhash32 } from '../../src/compression/xxhash32.ts'

const codecs = Object.entries(Codec).filter(([, codec]) => codec !== Codec.NONE)
const options = { outputBytesMax: 16 << 20, magic: 2 }
const zstd = createRequire(import.meta.url)('zstd-napi') as {
  compress(bytes: Buffer): Buffer
}

test('xxhash32 gives the values of its reference implementation', () => {
  assert.equal(xxhash32(Buffer.alloc(0)), 0x02cc5d05)
  assert.equal(xxhash32(Buffer.from('a')), 0x550d7456)
  assert.equal(xxhash32(Buffer.from('abc')), 0x32d153ff)
})

for (const [name, codec] of codecs) {
  for (const magic of [0, 1, 2]) {
    test(`${name}, format ${magic}: what is compressed comes back`, () => {
      const sizes = [0, 1, 100, 65_535, 65_536, 65_537, 1_000_000]
      for (const size of sizes) {
        for (const fill of [() => 65, (i: number) => (i * 2654435761) >>> 24]) {
          const plain = Buffer.from(Array.from({ length: size }, (_, i) => fill(i)))
          const packed = compress(codec, plain, { magic })
          assert.ok(decompress(codec, packed, { ...options, magic }).equals(plain), `${size}`)
        }
      }
    })
  }

  test(`${name}: no mutation or truncation does more than throw`, () => {
    const packed = compress(codec, Buffer.from('some text, some text, '.repeat(500)), { magic: 2 })
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(packed.length - 1), fc.integer({ min: 0, max: 255 })), {
          maxLength: 8,
        }),
        fc.nat(packed.length),
        (changes, length) => {
          const bytes = Buffer.from(packed.subarray(0, length))
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          try {
            let total = 0
            for (const window of decompressWindows(codec, bytes, options)) total += window.length
            assert.ok(total <= options.outputBytesMax)
          } catch (error) {
            assert.ok(
              error instanceof CorruptDataError || error instanceof DecompressionLimitError,
              String(error),
            )
          }
        },
      ),
      { numRuns: 1000 },
    )
  })

  test(`${name}: one byte more than the limit is refused`, () => {
    const plain = Buffer.alloc(100_000, 1)
    const packed = compress(codec, plain, { magic: 2 })
    assert.equal(decompress(codec, packed, { outputBytesMax: 100_000, magic: 2 }).length, 100_000)
    assert.throws(
      () => decompress(codec, packed, { outputBytesMax: 99_999, magic: 2 }),
      DecompressionLimitError,
    )
  })
}

test('1 GB in 1 MB is refused in bounded memory, whatever the codec', () => {
  const bombs: [number, Buffer][] = [
    [Codec.GZIP, Buffer.concat(Array.from({ length: 16 }, () => gzipSync(Buffer.alloc(64 << 20))))],
    [Codec.ZSTD, zstd.compress(Buffer.alloc(1 << 29))],
    [Codec.LZ4, compress(Codec.LZ4, Buffer.alloc(200 << 20), { magic: 2 })],
    [Codec.SNAPPY, compress(Codec.SNAPPY, Buffer.alloc(20 << 20), { magic: 2 })],
  ]
  for (const [codec, bomb] of bombs) {
    const before = process.memoryUsage().rss
    assert.throws(() => {
      for (const window of decompressWindows(codec, bomb, options)) assert.ok(window.length > 0)
    }, DecompressionLimitError)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < 64 << 20, `codec ${codec} took ${grown} bytes`)
  }
})

test('lengths that lie are not allocated', () => {
  const snappy = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.alloc(100)])
  assert.throws(() => decompress(Codec.SNAPPY, snappy, options), CorruptDataError)
  const zstdLie = zstd.compress(Buffer.alloc(1000))
  assert.equal(decompress(Codec.ZSTD, zstdLie, options).length, 1000)
  const lz4 = compress(Codec.LZ4, Buffer.alloc(1000), { magic: 2 })
  lz4.writeUInt32LE(0x7fffffff, 7)
  assert.throws(() => decompress(Codec.LZ4, lz4, options), CorruptDataError)
})
