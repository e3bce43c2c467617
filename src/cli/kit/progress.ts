/** A line on a terminal that says how far long work is; nothing where nobody watches. */
import type { ToolIo } from './tool.ts'

const INTERVAL_MS = 100

export class Progress {
  readonly #io: Pick<ToolIo, 'stderr' | 'isTerminal'>
  readonly #what: string
  #shownMs = 0
  #shown = false

  constructor(io: Pick<ToolIo, 'stderr' | 'isTerminal'>, what: string) {
    this.#io = io
    this.#what = what
  }

  /** Says that `done` of `total` are done, at most ten times a second. */
  update(done: number, total: number | null = null): void {
    if (!this.#io.isTerminal) return
    const now = performance.now()
    if (this.#shown && now - this.#shownMs < INTERVAL_MS) return
    this.#shownMs = now
    this.#shown = true
    const of = total === null ? '' : ` of ${total} (${Math.floor((done / total) * 100)} %)`
    this.#io.stderr.write(`\r\u001B[K${this.#what}: ${done}${of}`)
  }

  /** Removes the line, so that what is printed next stands alone. */
  end(): void {
    if (this.#shown) this.#io.stderr.write('\r\u001B[K')
    this.#shown = false
  }
}
