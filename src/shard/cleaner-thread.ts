/**
 * A thread that compacts logs, so that neither the main thread nor a shard waits for it. Started
 * with the first log that is to be cleaned, gone again when there is none for a while: a broker
 * without compacted topics has none.
 */
import type { Piscina } from 'piscina'
import type { CleanedGroup, CleaningPlan, IndexedLog } from '../log/segment-cleaner.ts'
import type { CleanerTask } from './cleaner-worker.ts'

const IDLE_MS = 30_000

export interface CleanerThreadOptions {
  /** For the keys of a log. */
  readonly mapBytes: number
  readonly mapLoadFactor: number
  /** Of the buffers to read and to write with, together. */
  readonly ioBufferBytes: number
  /** Read and written, per second. */
  readonly bytesPerSecond: number
}

/** Tells a cleaner thread to stop what it does; also from another thread, at any time. */
export class CleaningAbort {
  readonly flag = new Int32Array(new SharedArrayBuffer(4))

  abort(): void {
    Atomics.store(this.flag, 0, 1)
    Atomics.notify(this.flag, 0)
  }

  get isAborted(): boolean {
    return Atomics.load(this.flag, 0) !== 0
  }
}

export type CleanerOutcome<T> =
  | { readonly kind: 'done'; readonly result: T }
  | { readonly kind: 'aborted'; readonly reason: string }
  /** The log is damaged, or has what cannot be cleaned. */
  | { readonly kind: 'corrupt'; readonly reason: string }
  /** The file system refused. */
  | { readonly kind: 'failed'; readonly reason: string }

/** One log at a time: `index`, then `clean` for each group, then `end`. */
export class CleanerThread {
  readonly #options: CleanerThreadOptions
  #pool: Promise<Piscina> | null = null

  constructor(options: CleanerThreadOptions) {
    this.#options = options
  }

  /** Begins with a log: notes its keys and says which segments are to become one. */
  index(plan: CleaningPlan, abort: CleaningAbort): Promise<CleanerOutcome<IndexedLog>> {
    return this.#run({ kind: 'index', plan, abort: abort.flag, options: this.#options })
  }

  /** Writes the `.cleaned` files of a group; on every other outcome than 'done' there are none. */
  clean(group: readonly number[]): Promise<CleanerOutcome<CleanedGroup>> {
    return this.#run({ kind: 'clean', group })
  }

  /** Removes the files of a group that was cleaned and is not wanted any more. */
  discard(group: readonly number[]): Promise<CleanerOutcome<null>> {
    return this.#run({ kind: 'discard', group })
  }

  /** Gives back the memory that the log took. */
  async end(): Promise<void> {
    if (this.#pool !== null) await this.#run({ kind: 'end' })
  }

  async close(): Promise<void> {
    const pool = await this.#pool
    this.#pool = null
    await pool?.destroy()
  }

  async #run<T>(task: CleanerTask): Promise<CleanerOutcome<T>> {
    this.#pool ??= startPool()
    const pool = await this.#pool
    return (await pool.run(task, { name: 'cleaner' })) as CleanerOutcome<T>
  }
}

async function startPool(): Promise<Piscina> {
  const { Piscina: Pool } = await import('piscina')
  return new Pool({
    filename: new URL('./cleaner-worker.js', import.meta.url).href,
    minThreads: 0,
    // What is noted of a log stays on the thread between its tasks.
    maxThreads: 1,
    idleTimeout: IDLE_MS,
    recordTiming: false,
  })
}
