/** DeleteRecords that wait until every live replica begins where it asks for (KIP-107). */
import { ErrorCode } from '../protocol/error-codes.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { Partition } from './partition.ts'

interface Waiting {
  readonly offset: number
  readonly timer: Timer
  readonly resolve: (answer: [number, number]) => void
}

export class DeletionWaits {
  readonly #timers: TimerQueue
  readonly #isAlive: (brokerId: number) => boolean
  readonly #waiting = new Map<Partition, Set<Waiting>>()

  constructor(options: {
    readonly timers: TimerQueue
    readonly isAlive: (brokerId: number) => boolean
  }) {
    this.#timers = options.timers
    this.#isAlive = options.isAlive
  }

  /** [error code, low watermark], as soon as that is `offset` or more. */
  wait(partition: Partition, offset: number, timeoutMs: number): Promise<[number, number]> {
    const low = this.#lowWatermark(partition)
    if (low === null) return Promise.resolve([ErrorCode.NOT_LEADER_OR_FOLLOWER, -1])
    if (low >= offset) return Promise.resolve([0, low])
    return new Promise((resolve) => {
      const waiting: Waiting = {
        offset,
        resolve,
        timer: this.#timers.schedule(Math.max(0, timeoutMs), () => {
          const now = this.#lowWatermark(partition) ?? -1
          this.#end(partition, waiting, [ErrorCode.REQUEST_TIMED_OUT, now])
        }),
      }
      let those = this.#waiting.get(partition)
      if (those === undefined) {
        those = new Set()
        this.#waiting.set(partition, those)
      }
      those.add(waiting)
    })
  }

  /** A replica begins elsewhere now. */
  moved(partition: Partition): void {
    const low = this.#lowWatermark(partition)
    for (const waiting of [...(this.#waiting.get(partition) ?? [])]) {
      if (low === null) this.#end(partition, waiting, [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1])
      else if (low >= waiting.offset) this.#end(partition, waiting, [0, low])
    }
  }

  /** Those that are gone are not waited for. */
  brokersChanged(): void {
    for (const partition of [...this.#waiting.keys()]) this.moved(partition)
  }

  /** The partition is led no more by this broker. */
  ended(partition: Partition): void {
    for (const waiting of [...(this.#waiting.get(partition) ?? [])]) {
      this.#end(partition, waiting, [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1])
    }
  }

  #lowWatermark({ leader, logStart }: Partition): number | null {
    return leader === null ? null : leader.lowestLogStart(this.#isAlive, logStart)
  }

  #end(partition: Partition, waiting: Waiting, answer: [number, number]): void {
    waiting.timer.cancel()
    const those = this.#waiting.get(partition)
    those?.delete(waiting)
    if (those?.size === 0) this.#waiting.delete(partition)
    waiting.resolve(answer)
  }
}
