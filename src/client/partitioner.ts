// Hot path.
/** Where records without a key and without a partition go, for one topic. */
import type { Random } from '../util/random.ts'
import { InvalidArgumentError } from './errors.ts'

export const PARTITIONERS = ['sticky', 'round-robin'] as const

export type PartitionerName = (typeof PARTITIONERS)[number]

export interface Partitioner {
  /** One of `available`, partitions with a leader; of all `partitionCount` if there is none. */
  choose(available: readonly number[], partitionCount: number): number
  /** A record of so many bytes went to the partition chosen last; `isFull` says that its batch is. */
  took(bytes: number, isFull: boolean): void
}

export interface PartitionerOptions {
  readonly random: Random
  /** What the sticky one gives a partition before it goes to another. */
  readonly stickyBytes: number
}

/** Throws InvalidArgumentError for a name that is none. */
export function createPartitioner(name: string, options: PartitionerOptions): Partitioner {
  switch (name) {
    case 'sticky':
      return new StickyPartitioner(options)
    case 'round-robin':
      return new RoundRobinPartitioner(options.random)
    default:
      throw new InvalidArgumentError(
        `${JSON.stringify(name)} is none of the partitioners ${PARTITIONERS.join(', ')}`,
      )
  }
}

/**
 * Stays with a partition for a batch's worth of bytes, so that batches get full, and then goes to
 * one at random: over time every partition gets as many bytes (KIP-794).
 */
class StickyPartitioner implements Partitioner {
  readonly #random: Random
  readonly #stickyBytes: number
  #current = -1
  #bytes = 0

  constructor(options: PartitionerOptions) {
    this.#random = options.random
    this.#stickyBytes = options.stickyBytes
  }

  choose(available: readonly number[], partitionCount: number): number {
    const isUsable =
      this.#current >= 0 &&
      (available.length === 0 ? this.#current < partitionCount : available.includes(this.#current))
    if (!isUsable) {
      const { length } = available
      this.#bytes = 0
      this.#current =
        length === 0
          ? this.#random.integer(partitionCount)
          : (available[this.#random.integer(length)] as number)
    }
    return this.#current
  }

  took(bytes: number, isFull: boolean): void {
    this.#bytes += bytes
    // Not in the middle of a batch, which would go out half full; but not for ever either.
    const isEnough = this.#bytes >= this.#stickyBytes && isFull
    if (isEnough || this.#bytes >= 2 * this.#stickyBytes) this.#current = -1
  }
}

class RoundRobinPartitioner implements Partitioner {
  readonly #random: Random
  #next = -1

  constructor(random: Random) {
    this.#random = random
  }

  choose(available: readonly number[], partitionCount: number): number {
    const bound = available.length === 0 ? partitionCount : available.length
    // Many producers that start together should not all begin with the same.
    this.#next = this.#next < 0 ? this.#random.integer(bound) : (this.#next + 1) % bound
    return available.length === 0 ? this.#next : (available[this.#next] as number)
  }

  took(): void {
    // Every record moves it on: there is nothing to count.
  }
}
