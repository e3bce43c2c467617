/** Latencies for averages and percentiles, in Node's own HDR histogram. */
import { createHistogram } from 'node:perf_hooks'

/** In microseconds: a day. */
const MAX_US = 86_400_000_000
const FIGURES = 3

export class Latencies {
  readonly #histogram = createHistogram({ lowest: 1, highest: MAX_US, figures: FIGURES })
  #maxMs = 0
  #sumMs = 0

  get count(): number {
    return this.#histogram.count
  }

  get maxMs(): number {
    return this.#maxMs
  }

  get averageMs(): number {
    return this.count === 0 ? 0 : this.#sumMs / this.count
  }

  record(ms: number): void {
    this.#histogram.record(Math.min(MAX_US, Math.max(1, Math.round(ms * 1000))))
    this.#sumMs += ms
    if (ms > this.#maxMs) this.#maxMs = ms
  }

  /** The latency that `share` (above 0, at most 1) of all do not exceed, in ms. */
  percentile(share: number): number {
    if (this.count === 0) return 0
    return Math.min(this.#maxMs, this.#histogram.percentile(share * 100) / 1000)
  }
}
