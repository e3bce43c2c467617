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

const STEPS_PER_TURN = 32

export class World {
  readonly seed: number
  readonly #print: ((line: string) => void) | null
  #heap: Event[] = []
  #nowMs = 0
  #order = 0
  #digest = 0x811c9dc5
  #streams = 0
  #failure: { readonly error: unknown } | null = null
  #eventCount = 0

  /** `print` is given every line of the history. */
  constructor(seed: number, print: ((line: string) => void) | null = null) {
    this.seed = seed
    this.#print = print
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
    this.#print?.(`${this.#nowMs.toFixed(3).padStart(12)} ${who.padEnd(4)} ${what()}`)
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
    await this.#drive(() => this.#step(endMs))
    this.#nowMs = endMs
  }

  /** Lets time pass until the condition holds; whether it does within that time. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    const endMs = this.#nowMs + limitMs
    let isFulfilled = false
    await this.#drive(() => {
      isFulfilled = condition()
      return !isFulfilled && this.#step(endMs)
    })
    return isFulfilled
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

  /**
   * Calls `step` until it answers false, each time as an immediate of its own: everything that the
   * one before has made ready in promises has run by then. Many immediates share a turn of the loop.
   */
  #drive(step: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let left = 0
      let isOver = false
      const tick = (): void => {
        left -= 1
        if (isOver) return
        if (this.#failure !== null) {
          isOver = true
          reject(this.#failure.error)
        } else if (!step()) {
          isOver = true
          resolve()
        } else if (left === 0) refill()
      }
      const refill = (): void => {
        left = STEPS_PER_TURN
        for (let i = 0; i < STEPS_PER_TURN; i++) setImmediate(tick)
      }
      refill()
    })
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

/** What would end a process ends the run of the world instead; returns how to end that. */
export function failWith(world: World): () => void {
  const failed = (error: unknown): void => world.fail(error)
  process.on('unhandledRejection', failed)
  process.on('uncaughtException', failed)
  return () => {
    process.off('unhandledRejection', failed)
    process.off('uncaughtException', failed)
  }
}
