/** Time, injected so that tests and the simulator own it. */
export interface Clock {
  /** Wall clock, ms since 1970. */
  nowMs(): number
  /** Never goes back; ms since an arbitrary start. */
  monotonicMs(): number
  /**
   * Only of a clock that is moved by hand: calls `listener` after each move, so that timers run
   * when they are due and not when real time has passed. Returns how to stop it.
   */
  onAdvance?(listener: () => void): () => void
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** A clock that only a test moves. */
export class ManualClock implements Clock {
  #nowMs: number
  #monotonicMs = 0
  readonly #listeners = new Set<() => void>()

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  onAdvance(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Moves the clock by `ms` and runs what is due then. */
  advance(ms: number): void {
    this.#nowMs += ms
    this.#monotonicMs += ms
    for (const listener of [...this.#listeners]) listener()
  }
}
