/** A queue that stays quick however long it gets: an array's `shift` moves all that is behind. */
export class Fifo<T> {
  #items: T[] = []
  #head = 0
  #taken = 0

  /** How many items have left the queue. */
  get taken(): number {
    return this.#taken
  }

  get length(): number {
    return this.#items.length - this.#head
  }

  get first(): T | undefined {
    return this.#items[this.#head]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#head += 1
    this.#taken += 1
    if (this.#head >= 512 && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
