/** Keeps a rate: says how long to wait before the next record is due. */

export class Pace {
  readonly #perSecond: number
  readonly #startMs: number

  /** Records per second; below 0 there is no limit. */
  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#startMs = performance.now()
  }

  /** Milliseconds until record number `sent` is due; 0 when it is. */
  waitMs(sent: number): number {
    if (this.#perSecond <= 0) return 0
    const dueMs = (sent / this.#perSecond) * 1000
    return Math.max(0, dueMs - (performance.now() - this.#startMs))
  }
}

/** Waits, or ends early when the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
