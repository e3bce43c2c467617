/** Codecs on the body of a batch of 100 records of 1 KiB that compresses about 3 to 1. */
import { Codec, compress, decompress } from '../../src/compression/codec.ts'
import { sampleBatch } from './samples.ts'
import type { Suite } from './suite.ts'

export const compressionSuite: Suite = {
  name: 'compression, 100 records of 1 KiB',
  async prepare() {
    const plain = sampleBatch(100, 1024).subarray(61)
    const work = Object.entries(Codec)
      .filter(([, codec]) => codec !== Codec.NONE)
      .flatMap(([name, codec]) => {
        const packed = compress(codec, plain, { magic: 2 })
        const bytes = plain.length
        const limits = { outputBytesMax: 1 << 24, magic: 2 }
        return [
          { name: `compress ${name}`, bytes, sync: () => compress(codec, plain, { magic: 2 }) },
          { name: `decompress ${name}`, bytes, sync: () => decompress(codec, packed, limits) },
        ]
      })
    return { work, end: async () => undefined }
  },
}
