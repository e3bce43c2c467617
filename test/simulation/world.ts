/**
 * The world that a simulation runs in: one queue of events in simulated time, and randomness from
 * one seed. Between two events everything that the first one set going in promises runs to its end,
 * so that one seed gives one history, whose digest tells whether two runs were the same.
 */
import { SeededRandom } from '../../src/util/random.ts'
import type { Timer } from '../../src/util/timer-queue.ts'

interface Event extends Timer {
  readonly atMs: number
  readonly order: number
  run: (() => void) | null
}

/** Wall clock of every process when the world begins, ms since 1970. */
export const FIRST_WALL_MS = 1_700_000_000_000

export class World {
  readonly seed: number
  readonly isTraced: boolean
  #heap: Event[] = []
  #nowMs = 0
  #order = 0
  #digest = 0x811c9dc5
  #streams = 0
  #failure: { readonly error: unknown } | null = null
  #eventCount = 0

  constructor(seed: number, options: { readonly isTraced?: boolean } = {}) {
    this.seed = seed
    this.isTraced = options.isTraced ?? false
  }

  get nowMs(): number {
    return this.#nowMs
  }

  get eventCount(): number {
    return this.#eventCount
  }

  /** Of everything that was traced until now. */
  get digest(): string {
    return this.#digest.toString(16).padStart(8, '0')
  }

  /** A stream of random numbers of its own: what others take does not change it. */
  stream(): SeededRandom {
    this.#streams += 1
    return new SeededRandom(Math.imul(this.seed, 0x9e3779b1) ^ Math.imul(this.#streams, 0x85ebca6b))
  }

  /** Has `run` called after so much simulated time. */
  schedule(delayMs: number, run: () => void): Timer {
    const event: Event = {
      // One that rounding would make none could be waited for again and again.
      atMs: this.#nowMs + (delayMs > 0 ? Math.max(delayMs, 0.001) : 0),
      order: this.#order++,
      run,
      cancel: () => {
        event.run = null
      },
    }
    this.#push(event)
    return event
  }

  /** Adds a line to the history. */
  trace(who: string, what: string): void {
    let hash = this.#digest
    for (let i = 0; i < what.length; i++) hash = Math.imul(hash ^ what.charCodeAt(i), 0x01000193)
    for (let i = 0; i < who.length; i++) hash = Math.imul(hash ^ who.charCodeAt(i), 0x01000193)
    this.#digest = Math.imul(hash ^ Math.floor(this.#nowMs * 1000), 0x01000193) >>> 0
    this.show(who, () => what)
  }

  /** Prints a line if the history is printed; it is no part of it. */
  show(who: string, what: () => string): void {
    if (!this.isTraced) return
    process.stdout.write(`${this.#nowMs.toFixed(3).padStart(12)} ${who.padEnd(4)} ${what()}\n`)
  }

  /** Ends the run with this error; the first one counts. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** A condition of the run itself is broken. */
  violated(what: string): void {
    this.trace('!!', what)
    this.fail(new Error(`${what} (at ${this.#nowMs.toFixed(3)} ms)`))
  }

  /** Lets so much time pass. */
  async runFor(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await this.#settle()
    while (this.#step(endMs)) await this.#settle()
    this.#nowMs = endMs
  }

  /** Lets time pass until the condition holds; whether it does within that time. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs
    await this.#settle()
    while (!condition()) {
      if (!this.#step(endMs)) return false
      await this.#settle()
    }
    return true
  }

  /** Lets time pass until the promise is settled; what it came to. */
  async settled<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    let isSettled = false
    const note = (): void => {
      isSettled = true
    }
    promise.then(note, note)
    if (!(await this.runUntil(() => isSettled, limitMs))) {
      throw new Error(`a promise is not settled after ${limitMs} ms`)
    }
    return promise
  }

  /** Everything that is ready in promises has run when the next immediate is called. */
  async #settle(): Promise<void> {
    await new Promise<void>((done) => {
      setImmediate(done)
    })
    if (this.#failure !== null) throw this.#failure.error
  }

  /** Runs the next event, if it is due by then. */
  #step(endMs: number): boolean {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || first.atMs > endMs) return false
      this.#pop()
      if (first.run === null) continue
      this.#nowMs = first.atMs
      this.#eventCount += 1
      const { run } = first
      first.run = null
      try {
        run()
      } catch (error) {
        this.fail(error)
      }
      return true
    }
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as Event, event)) break
      heap[at] = heap[parent] as Event
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      const right = child + 1
      if (right < heap.length && isBefore(heap[right] as Event, heap[child] as Event)) child = right
      if (isBefore(last, heap[child] as Event)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
