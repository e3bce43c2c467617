/** CRC-32C: the add-on's, as chosen for this CPU, beside an independent one. */
import { crc32c as independent } from '@node-rs/crc32'
import { addon } from '../../src/native/addon.ts'
import type { Suite } from './suite.ts'

export const crc32cSuite: Suite = {
  name: `CRC-32C (${addon.crc32cImplementation()})`,
  async prepare() {
    const work = [100, 1024, 16_384, 1_000_000].flatMap((bytes) => {
      const data = Buffer.alloc(bytes, 'shardlog')
      return [
        { name: `add-on, ${bytes} B`, bytes, sync: () => addon.crc32c(data, 0) },
        { name: `@node-rs/crc32, ${bytes} B`, bytes, sync: () => independent(data) },
      ]
    })
    return { work, end: async () => undefined }
  },
}
