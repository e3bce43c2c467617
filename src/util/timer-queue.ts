/**
 * Many deadlines, one timer of the event loop. A binary heap by deadline; cancelling marks an
 * entry, which leaves the heap when it comes to the top, or when cancelled ones outnumber the rest.
 */
import type { Clock } from './clock.ts'

export interface Timer {
  cancel(): void
}

interface Entry extends Timer {
  readonly deadlineMs: number
  callback: (() => void) | null
}

export class TimerQueue {
  readonly #clock: Clock
  #heap: Entry[] = []
  #cancelled = 0
  #handle: NodeJS.Timeout | null = null
  #wakeMs = Number.POSITIVE_INFINITY
  readonly #unsubscribe: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
    this.#unsubscribe = clock.onAdvance?.(() => this.run())
  }

  get size(): number {
    return this.#heap.length - this.#cancelled
  }

  /** Of the clock below, monotonic. */
  get nowMs(): number {
    return this.#clock.monotonicMs()
  }

  /** Calls back once after the time, unless it is cancelled before. */
  schedule(delayMs: number, callback: () => void): Timer {
    const entry: Entry = {
      deadlineMs: this.#clock.monotonicMs() + delayMs,
      callback,
      cancel: () => {
        if (entry.callback === null) return
        entry.callback = null
        this.#cancelled += 1
        if (this.#cancelled > 64 && this.#cancelled > this.#heap.length / 2) this.#compact()
      },
    }
    this.#push(entry)
    this.#arm()
    return entry
  }

  /** Runs what is due. The event loop calls it, and a clock that is moved by hand. */
  run(): void {
    const now = this.#clock.monotonicMs()
    while (this.#heap.length > 0) {
      const first = this.#heap[0] as Entry
      if (first.callback === null) {
        this.#pop()
        this.#cancelled -= 1
        continue
      }
      if (first.deadlineMs > now) break
      this.#pop()
      const callback = first.callback
      first.callback = null
      callback()
    }
    this.#arm()
  }

  close(): void {
    this.#unsubscribe?.()
    if (this.#handle !== null) clearTimeout(this.#handle)
    this.#handle = null
    this.#heap = []
    this.#cancelled = 0
  }

  #arm(): void {
    const first = this.#heap[0]
    if (first === undefined || (this.#handle !== null && this.#wakeMs <= first.deadlineMs)) return
    if (this.#handle !== null) clearTimeout(this.#handle)
    this.#wakeMs = first.deadlineMs
    const delay = Math.max(0, Math.ceil(first.deadlineMs - this.#clock.monotonicMs()))
    this.#handle = setTimeout(
      () => {
        this.#handle = null
        this.run()
      },
      Math.min(delay, 0x7fffffff),
    )
  }

  #compact(): void {
    const live = this.#heap.filter((entry) => entry.callback !== null)
    this.#heap = []
    this.#cancelled = 0
    for (const entry of live) this.#push(entry)
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if ((heap[parent] as Entry).deadlineMs <= entry.deadlineMs) break
      heap[at] = heap[parent] as Entry
      at = parent
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Entry
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      const right = child + 1
      if (
        right < heap.length &&
        (heap[right] as Entry).deadlineMs < (heap[child] as Entry).deadlineMs
      ) {
        child = right
      }
      if ((heap[child] as Entry).deadlineMs >= last.deadlineMs) break
      heap[at] = heap[child] as Entry
      at = child
    }
    heap[at] = last
  }
}
