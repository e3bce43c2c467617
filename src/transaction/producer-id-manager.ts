/**
 * Hands out producer ids. Blocks of them are taken from the registry before any id of a block is
 * given away, so that none is ever given twice; what is left of a block at a stop is lost.
 *
 * Main thread only.
 */
import { type ClusterRegistry, RegistryError } from '../registry/cluster-registry.ts'

const BLOCK_IDS = 1000
/** Other brokers may take a block at the same time. */
const ATTEMPTS_MAX = 20

export class ProducerIdManager {
  readonly #registry: ClusterRegistry
  readonly #brokerId: number
  readonly #firstId: number
  #nextId = 0
  /** The last id of the block; below `#nextId` when it is used up. */
  #lastId = -1
  #allocating: Promise<void> | null = null

  /**
   * `firstId` begins the first block of a new registry. The logs may hold ids of an earlier one
   * (that of Apache Kafka, or one that was lost): an id given twice would make new records look
   * like duplicates, so a broker passes something that grows with time.
   */
  constructor(options: {
    readonly registry: ClusterRegistry
    readonly brokerId: number
    readonly firstId?: number
  }) {
    this.#firstId = options.firstId ?? 0
    this.#registry = options.registry
    this.#brokerId = options.brokerId
  }

  /** An id that no producer has had before. Throws RegistryError if no block can be taken. */
  async next(): Promise<number> {
    while (this.#nextId > this.#lastId) {
      this.#allocating ??= this.#allocate().finally(() => {
        this.#allocating = null
      })
      await this.#allocating
    }
    return this.#nextId++
  }

  async #allocate(): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const last = await this.#registry.producerIdBlock()
      const start = last === null ? this.#firstId : last.value.end + 1
      const end = start + BLOCK_IDS - 1
      if (!Number.isSafeInteger(end)) {
        throw new RegistryError('unavailable', 'there are no producer ids left')
      }
      const block = { brokerId: this.#brokerId, start, end }
      const written = await this.#registry.writeProducerIdBlock(block, last?.version ?? null)
      if (!written.ok) continue
      this.#nextId = start
      this.#lastId = end
      return
    }
    throw new RegistryError('unavailable', 'no block of producer ids could be taken')
  }
}
