/**
 * Hands out producer ids. Blocks of them are taken from the controller before any id of a block is
 * given away, so that none is ever given twice; what is left of a block at a stop is lost.
 *
 * Main thread only.
 */

/** Ids `start` to `end`, both included, that are this broker's for good. */
export interface ProducerIdRange {
  readonly start: number
  readonly end: number
}

export class ProducerIdManager {
  readonly #allocate: () => Promise<ProducerIdRange>
  #nextId = 0
  /** The last id of the block; below `#nextId` when it is used up. */
  #lastId = -1
  #allocating: Promise<void> | null = null

  /** `allocate` takes the next block, or rejects. */
  constructor(options: { readonly allocate: () => Promise<ProducerIdRange> }) {
    this.#allocate = options.allocate
  }

  /** An id that no producer has had before. Rejects as `allocate` does if no block can be taken. */
  async next(): Promise<number> {
    while (this.#nextId > this.#lastId) {
      this.#allocating ??= this.#takeBlock().finally(() => {
        this.#allocating = null
      })
      await this.#allocating
    }
    return this.#nextId++
  }

  async #takeBlock(): Promise<void> {
    const { start, end } = await this.#allocate()
    this.#nextId = start
    this.#lastId = end
  }
}
