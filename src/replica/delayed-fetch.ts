/**
 * Fetches that wait for bytes: parked by the published rows they read, woken when one of them
 * moves, answered at their deadline at the latest.
 */
import { published } from '../shard/published.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'

export interface WaitingFetch {
  /** Rows of the partitions it reads. */
  readonly rows: readonly number[]
  readonly maxWaitMs: number
  /**
   * Answers if there is enough now (or whatever there is, when `expired`); false to wait on. With a
   * row, no other one has moved since the attempt before.
   */
  attempt(expired: boolean, row?: number): boolean
}

/** Who keeps account of waiting fetches by itself, and asks for wake-ups with `wakeAt`. */
export interface RowFollower {
  advanced(row: number): void
  /** What the row's partition was is over. */
  expired(row: number): void
  /** The broker stops. */
  stopped(): void
}

interface Parked {
  readonly fetch: WaitingFetch
  timer: Timer | null
  done: boolean
}

export class FetchPurgatory {
  readonly #timers: TimerQueue
  readonly #byRow = new Map<number, Set<Parked>>()
  #follower: RowFollower | null = null
  #size = 0

  constructor(timers: TimerQueue) {
    this.#timers = timers
  }

  get size(): number {
    return this.#size
  }

  /** Has somebody told of every row that moves. */
  follow(follower: RowFollower): void {
    this.#follower = follower
  }

  /** Asks for word of the next move of a row; what is read behind this call is not missed. */
  wakeAt(row: number): void {
    published.wait(row)
  }

  /** Answers the fetch now if it can be, and parks it otherwise. Returns how to drop it. */
  answerOrPark(fetch: WaitingFetch): (() => void) | null {
    if (fetch.attempt(false)) return null
    const parked: Parked = { fetch, timer: null, done: false }
    for (const row of fetch.rows) {
      let waiting = this.#byRow.get(row)
      if (waiting === undefined) {
        waiting = new Set()
        this.#byRow.set(row, waiting)
      }
      waiting.add(parked)
    }
    this.#size += 1
    // Ask for the wake-up first and look again then: what came in between must not be missed.
    for (const row of fetch.rows) published.wait(row)
    if (fetch.attempt(false)) {
      this.#remove(parked)
      return null
    }
    parked.timer = this.#timers.schedule(fetch.maxWaitMs, () => {
      parked.timer = null
      this.#remove(parked)
      fetch.attempt(true)
    })
    return () => this.#remove(parked)
  }

  /** A row moved. */
  advanced(row: number): void {
    this.#follower?.advanced(row)
    const waiting = this.#byRow.get(row)
    if (waiting === undefined) return
    let left = false
    for (const parked of [...waiting]) {
      if (parked.done) continue
      if (parked.fetch.attempt(false, row)) this.#remove(parked)
      else left = true
    }
    if (!left) return
    published.wait(row)
    // The row may have moved again before it was asked to tell.
    for (const parked of [...waiting]) {
      if (!parked.done && parked.fetch.attempt(false, row)) this.#remove(parked)
    }
  }

  /** What these fetches read is not served any more: they answer with what there is. */
  expire(row: number): void {
    this.#follower?.expired(row)
    for (const parked of [...(this.#byRow.get(row) ?? [])]) {
      if (parked.done) continue
      this.#remove(parked)
      parked.fetch.attempt(true)
    }
  }

  /** Answers everything, because the broker stops. */
  expireAll(): void {
    this.#follower?.stopped()
    for (const row of [...this.#byRow.keys()]) this.expire(row)
  }

  #remove(parked: Parked): void {
    if (parked.done) return
    parked.done = true
    this.#size -= 1
    parked.timer?.cancel()
    for (const row of parked.fetch.rows) {
      const waiting = this.#byRow.get(row)
      waiting?.delete(parked)
      if (waiting?.size === 0) this.#byRow.delete(row)
    }
  }
}
