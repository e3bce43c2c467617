/** Codecs: round trips, what no codec makes, and bombs. */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { compressFrameSync } from 'lz4-napi'
import { compressSync as compressSnappyBlock } from 'snappy'
import { Codec, compress, decompress, decompressWindows } from '../../src/compression/codec.ts'
import { CorruptDataError, DecompressionLimitError } from '../../src/compression/errors.ts'
import { Xxhash32, xxhash32 } from '../../src/compression/xxhash32.ts'

const codecs = Object.entries(Codec).filter(([, codec]) => codec !== Codec.NONE)
const options = { outputBytesMax: 16 << 20, magic: 2 }
const zstd = createRequire(import.meta.url)('zstd-napi') as {
  compress(bytes: Buffer, parameters?: { windowLog?: number; contentSizeFlag?: boolean }): Buffer
}

/** Walks all windows; `onWindow` looks at the memory while they are walked. */
function totalOf(
  codec: number,
  bytes: Buffer,
  outputBytesMax: number,
  onWindow: () => void,
): number {
  let total = 0
  for (const window of decompressWindows(codec, bytes, { outputBytesMax, magic: 2 })) {
    total += window.length
    onWindow()
  }
  return total
}

test('xxhash32 gives the values of its reference implementation', () => {
  assert.equal(xxhash32(Buffer.alloc(0)), 0x02cc5d05)
  assert.equal(xxhash32(Buffer.from('a')), 0x550d7456)
  assert.equal(xxhash32(Buffer.from('abc')), 0x32d153ff)
  assert.equal(xxhash32(Buffer.from('Nobody inspects the spammish repetition')), 0xe2293b2f)
})

test('xxhash32 of pieces is that of the whole', () => {
  void fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }), (pieces) => {
      const hash = new Xxhash32()
      for (const piece of pieces) hash.update(Buffer.from(piece))
      assert.equal(hash.digest(), xxhash32(Buffer.concat(pieces)))
    }),
  )
})

for (const [name, codec] of codecs) {
  for (const magic of [0, 1, 2]) {
    test(`${name}, format ${magic}: what is compressed comes back`, () => {
      const sizes = [0, 1, 100, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 1 << 20]
      for (const size of sizes) {
        for (const fill of [() => 65, (i: number) => (i * 2654435761) >>> 24]) {
          const plain = Buffer.from(Array.from({ length: size }, (_, i) => fill(i)))
          const packed = compress(codec, plain, { magic })
          assert.ok(decompress(codec, packed, { ...options, magic }).equals(plain), `${size}`)
        }
      }
    })
  }

  test(`${name}: any bytes come back`, () => {
    // Bytes that repeat, so that there is something to look back at.
    const plain = fc
      .tuple(fc.uint8Array({ maxLength: 200 }), fc.nat(2000), fc.uint8Array({ maxLength: 3000 }))
      .map(([piece, count, rest]) =>
        Buffer.concat([...Array.from({ length: count }, () => piece), rest]),
      )
    void fc.assert(
      fc.property(plain, fc.constantFrom(0, 1, 2), (bytes, magic) => {
        const packed = compress(codec, bytes, { magic })
        assert.ok(decompress(codec, packed, { outputBytesMax: bytes.length, magic }).equals(bytes))
      }),
      { numRuns: 50 },
    )
  })

  test(`${name}: what ends too early is refused`, () => {
    const plain = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * i) >>> 7))
    const packed = compress(codec, plain, { magic: 2 })
    // A snappy stream has no end mark: between two blocks it may stop.
    const blockStarts = new Set<number>()
    if (codec === Codec.SNAPPY) {
      for (let at = 16; at < packed.length; at += 4 + packed.readInt32BE(at)) blockStarts.add(at)
    }
    for (let length = 0; length < packed.length; length += length < 64 ? 1 : 509) {
      if (blockStarts.has(length)) continue
      assert.throws(
        () => decompress(codec, packed.subarray(0, length), options),
        CorruptDataError,
        `${length} of ${packed.length} bytes`,
      )
    }
  })

  test(`${name}: no mutation or truncation does more than throw`, () => {
    const packed = compress(codec, Buffer.from('some text, some text, '.repeat(500)), { magic: 2 })
    void fc.assert(
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

/** What every codec makes of zeros, as far as its ratio goes. */
function bombs(): [codec: number, bomb: Buffer, bytes: number][] {
  const gzip = gzipSync(Buffer.alloc(64 << 20))
  const frame = zstd.compress(Buffer.alloc(1 << 29))
  const snappy = compressSnappyBlock(Buffer.alloc(20 << 20)) as Buffer
  return [
    [Codec.GZIP, Buffer.concat(Array.from({ length: 16 }, () => gzip)), 1 << 30],
    [Codec.ZSTD, Buffer.concat([frame, frame]), 1 << 30],
    [Codec.LZ4, compress(Codec.LZ4, Buffer.alloc(200 << 20), { magic: 2 }), 200 << 20],
    [Codec.LZ4, compressFrameSync(Buffer.alloc(200 << 20)), 200 << 20],
    [Codec.SNAPPY, compress(Codec.SNAPPY, Buffer.alloc(20 << 20), { magic: 2 }), 20 << 20],
    [Codec.SNAPPY, snappy, 20 << 20],
  ]
}

const GROWTH_MAX = 64 << 20

test('1 GB in 1 MB is refused in bounded memory, and walked in it where it is allowed', () => {
  for (const [codec, bomb, bytes] of bombs()) {
    assert.ok(bomb.length < 2 << 20, `codec ${codec}: ${bomb.length}`)
    const before = process.memoryUsage()
    let rss = before.rss
    const look = (): void => {
      rss = Math.max(rss, process.memoryUsage.rss())
    }
    const refused = () => totalOf(codec, bomb, options.outputBytesMax, look)
    assert.throws(refused, DecompressionLimitError)
    assert.equal(totalOf(codec, bomb, bytes, look), bytes)
    const grown = rss - before.rss
    const external = process.memoryUsage().external - before.external
    assert.ok(grown < GROWTH_MAX, `codec ${codec} took ${grown} bytes`)
    assert.ok(external < GROWTH_MAX, `codec ${codec} took ${external} bytes outside the heap`)
  }
})

test('lengths that lie are not allocated', () => {
  const before = process.memoryUsage()
  const snappyLie = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]), Buffer.alloc(100)])
  const xerialLie = compress(Codec.SNAPPY, Buffer.alloc(1000), { magic: 2 })
  xerialLie.writeInt32BE(0x7fffffff, 16)
  const lz4Lie = compress(Codec.LZ4, Buffer.alloc(1000), { magic: 2 })
  lz4Lie.writeUInt32LE(0x7fffffff, 7)
  // A frame of one segment that announces 2^60 bytes, and one that looks back 2^41.
  const zstdSize = Buffer.from('28b52ffde00000000000000010', 'hex')
  const zstdWindow = Buffer.from('28b52ffd00ff010000', 'hex')
  const lies: [number, Buffer][] = [
    [Codec.SNAPPY, snappyLie],
    [Codec.SNAPPY, xerialLie],
    [Codec.LZ4, lz4Lie],
    [Codec.ZSTD, Buffer.concat([zstdSize, Buffer.alloc(100)])],
    [Codec.ZSTD, zstdWindow],
  ]
  for (const [codec, bytes] of lies) {
    assert.throws(() => decompress(codec, bytes, options), CorruptDataError)
  }
  assert.ok(process.memoryUsage().rss - before.rss < GROWTH_MAX)
})

test('gzip: several members are one stream, what is behind them is not gzip', () => {
  const members = Buffer.concat(['one, ', '', 'two'].map((text) => gzipSync(text)))
  assert.equal(decompress(Codec.GZIP, members, options).toString(), 'one, two')
  const noise = Buffer.concat([members, Buffer.from('noise')])
  assert.throws(() => decompress(Codec.GZIP, noise, options), CorruptDataError)
  // The first member fills the window exactly.
  const full = Buffer.concat([gzipSync(Buffer.alloc(256 * 1024, 1)), gzipSync('rest')])
  assert.equal(decompress(Codec.GZIP, full, options).length, 256 * 1024 + 4)
  const torn = gzipSync('checked by its CRC')
  torn[torn.length - 8] = (torn[torn.length - 8] as number) ^ 1
  assert.throws(() => decompress(Codec.GZIP, torn, options), CorruptDataError)
})

test('gzip and zstd: a level changes the size, not the bytes', () => {
  const plain = Buffer.from(Array.from({ length: 50_000 }, (_, i) => `${i * i} `).join(''))
  for (const [codec, fast, best] of [
    [Codec.GZIP, 1, 9],
    [Codec.ZSTD, 1, 19],
  ] as const) {
    const large = compress(codec, plain, { magic: 2, level: fast })
    const small = compress(codec, plain, { magic: 2, level: best })
    assert.ok(small.length < large.length)
    assert.ok(decompress(codec, small, options).equals(plain))
    assert.ok(decompress(codec, large, options).equals(plain))
  }
})

test('zstd: frames that look back 128 MiB are read, several frames are one stream', () => {
  const wide = zstd.compress(Buffer.from('wide'), { windowLog: 27, contentSizeFlag: false })
  const both = Buffer.concat([wide, zstd.compress(Buffer.from(' and narrow'))])
  assert.equal(decompress(Codec.ZSTD, both, options).toString(), 'wide and narrow')
})

test('snappy: a raw block, and framed streams one behind the other', () => {
  const raw = compressSnappyBlock('raw '.repeat(100_000)) as Buffer
  assert.equal(decompress(Codec.SNAPPY, raw, options).toString(), 'raw '.repeat(100_000))
  const framed = compress(Codec.SNAPPY, Buffer.from('framed'), { magic: 2 })
  const twice = decompress(Codec.SNAPPY, Buffer.concat([framed, framed]), options)
  assert.equal(twice.toString(), 'framedframed')
})

test('lz4: what other encoders add is checked, what Java cannot read is refused', () => {
  const plain = Buffer.from('lz4 frame, lz4 frame, '.repeat(10_000))
  for (const contentChecksum of [false, true]) {
    for (const blockChecksums of [false, true]) {
      const frame = compressFrameSync(plain, { contentChecksum, blockChecksums })
      assert.ok(decompress(Codec.LZ4, frame, options).equals(plain))
      if (!contentChecksum && !blockChecksums) continue
      // The last bytes are the content checksum, or before the end mark that of the last block.
      const at = frame.length - (contentChecksum ? 1 : 5)
      frame[at] = (frame[at] as number) ^ 1
      assert.throws(() => decompress(Codec.LZ4, frame, options), CorruptDataError)
    }
  }
  const own = compress(Codec.LZ4, plain, { magic: 2 })
  const skippable = Buffer.from('502a4d1804000000abababab', 'hex')
  const refused: [string, Buffer][] = [
    ['two frames', Buffer.concat([own, own])],
    ['a skippable frame before', Buffer.concat([skippable, own])],
    ['a byte behind', Buffer.concat([own, Buffer.alloc(1)])],
    ['linked blocks', withFlags(own, 0x40)],
    ['a dictionary', withFlags(own, 0x61)],
    ['another version', withFlags(own, 0xa0)],
    ['blocks of 16 KiB', withFlags(own, 0x60, 0x30)],
  ]
  for (const [what, bytes] of refused) {
    assert.throws(() => decompress(Codec.LZ4, bytes, options), CorruptDataError, what)
  }
})

/** The frame with another flag byte and a header checksum that fits it. */
function withFlags(frame: Buffer, flags: number, descriptor = 0x40): Buffer {
  const copy = Buffer.from(frame)
  copy[4] = flags
  copy[5] = descriptor
  copy[6] = (xxhash32(copy.subarray(4, 6)) >>> 8) & 0xff
  return copy
}

test('lz4: a content size that is announced must be right', () => {
  const own = compress(Codec.LZ4, Buffer.from('sized'), { magic: 2 })
  const sized = (announced: bigint): Buffer => {
    const header = Buffer.alloc(15)
    own.copy(header, 0, 0, 6)
    header[4] = 0x68
    header.writeBigUInt64LE(announced, 6)
    header[14] = (xxhash32(header.subarray(4, 14)) >>> 8) & 0xff
    return Buffer.concat([header, own.subarray(7)])
  }
  assert.equal(decompress(Codec.LZ4, sized(5n), options).toString(), 'sized')
  assert.throws(() => decompress(Codec.LZ4, sized(1n << 60n), options), CorruptDataError)
})

test('lz4: the header checksum of format 0 is the wrong one of the first clients', () => {
  const plain = Buffer.from('checked')
  const broken = compress(Codec.LZ4, plain, { magic: 0 })
  const right = compress(Codec.LZ4, plain, { magic: 1 })
  assert.notEqual(broken[6], right[6])
  for (const magic of [1, 2]) {
    const strict = { ...options, magic }
    assert.throws(() => decompress(Codec.LZ4, broken, strict), CorruptDataError)
    assert.ok(decompress(Codec.LZ4, right, strict).equals(plain))
  }
  const lenient = { ...options, magic: 0 }
  for (const bytes of [broken, right])
    assert.ok(decompress(Codec.LZ4, bytes, lenient).equals(plain))
})
