/** An InternalLog in memory, whose appends a test may delay or fail. */
import type { AppendResult } from '../../src/network/internal-connection.ts'
import type { InternalLog } from '../../src/replica/internal-log.ts'
import type { ReadBatches } from '../../src/shard/log-reader.ts'

interface StoredBatch {
  readonly baseOffset: number
  readonly bytes: Buffer
}

export class MemoryInternalLog implements InternalLog {
  readonly #partitions = new Map<string, { batches: StoredBatch[]; end: number }>()
  /** Asked before each append: an error code other than 0 fails it. */
  failure: () => number = () => 0
  /** Awaited before an append answers; what is appended is in the log already. */
  delay: () => Promise<void> = () => Promise.resolve()

  #of(topic: string, partition: number) {
    const key = `${topic}-${partition}`
    let found = this.#partitions.get(key)
    if (found === undefined) {
      found = { batches: [], end: 0 }
      this.#partitions.set(key, found)
    }
    return found
  }

  async append(topic: string, partition: number, batch: Uint8Array): Promise<AppendResult> {
    const errorCode = this.failure()
    if (errorCode !== 0) {
      await this.delay()
      return { errorCode, baseOffset: -1 }
    }
    const log = this.#of(topic, partition)
    const bytes = Buffer.from(batch)
    const baseOffset = log.end
    bytes.writeBigInt64BE(BigInt(baseOffset), 0)
    log.end += bytes.readInt32BE(23) + 1
    log.batches.push({ baseOffset, bytes })
    await this.delay()
    return { errorCode: 0, baseOffset }
  }

  async read(
    topic: string,
    partition: number,
    offset: number,
    maxBytes: number,
  ): Promise<ReadBatches> {
    const found: Buffer[] = []
    let size = 0
    for (const { baseOffset, bytes } of this.#of(topic, partition).batches) {
      if (baseOffset < offset) continue
      if (size > 0 && size + bytes.length > maxBytes) break
      found.push(bytes)
      size += bytes.length
    }
    return { errorCode: 0, bytes: Buffer.concat(found) }
  }

  logStart(): number {
    return 0
  }

  /** Appends a whole batch as it is, as another broker may have written it. */
  put(topic: string, partition: number, batch: Buffer): void {
    void this.append(topic, partition, batch)
  }
}
