/** A program that prints lines, as an input to a test that waits for what they say. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class LineProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #closed: Promise<unknown>
  readonly #waiting = new Set<() => void>()
  #errors = ''
  #ended = false

  constructor(command: string, args: readonly string[], onLine: (line: string) => void) {
    this.#child = spawn(command, args)
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#errors = (this.#errors + chunk).slice(-16_384)
    })
    // A program that has ended is told by its exit, not by the broken pipe that follows.
    this.#child.stdin.on('error', () => undefined)
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      onLine(line)
      this.#wake()
    })
    this.#closed = once(this.#child, 'close').then(() => {
      this.#ended = true
      this.#wake()
    })
  }

  get errors(): string {
    return this.#errors
  }

  /** Resolves when `condition`, which its lines change, holds; throws when the program ends first. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#ended) throw new Error(`the program has ended:\n${this.#errors}`)
      await new Promise<void>((wake) => this.#waiting.add(wake))
    }
  }

  /** Writes a line to its standard input. */
  write(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  /** Ends it at once (SIGKILL) and waits until it has. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  /** Ends its standard input and waits for its end. */
  async finish(): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
  }

  /** Asks it to end (SIGTERM) and waits until it has. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#closed
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGKILL')
    await this.#closed
  }
}
