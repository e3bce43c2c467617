/** Time, injected so that tests and the simulator own it. */
export interface Clock {
  /** Wall clock, ms since 1970. */
  nowMs(): number
  /** Never goes back; ms since an arbitrary start. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** A clock that only a test moves. */
export class ManualClock implements Clock {
  #nowMs: number
  #monotonicMs = 0

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
    this.#monotonicMs += ms
  }
}
