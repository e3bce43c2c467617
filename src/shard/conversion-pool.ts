/**
 * Threads that convert records for consumers of old formats, so that neither the main thread nor a
 * shard waits for it. Started by the first such fetch, gone again when there are none.
 */
import type { Piscina } from 'piscina'
import type { DownConversion } from '../log/slow-lane.ts'
import type { ConversionTask } from './conversion-worker.ts'

const THREADS_MAX = 2
const IDLE_MS = 30_000

export type ConversionOutcome =
  | { readonly kind: 'converted'; readonly bytes: Uint8Array }
  /** The first batch has a codec that the old format does not know. */
  | { readonly kind: 'unsupported' }
  | { readonly kind: 'corrupt' }

export class ConversionPool {
  #pool: Promise<Piscina> | null = null

  async convert(bytes: Uint8Array, options: DownConversion): Promise<ConversionOutcome> {
    this.#pool ??= startPool()
    const pool = await this.#pool
    const task: ConversionTask = { bytes, options }
    return (await pool.run(task, { name: 'convert' })) as ConversionOutcome
  }

  async close(): Promise<void> {
    const pool = await this.#pool
    this.#pool = null
    await pool?.destroy()
  }
}

async function startPool(): Promise<Piscina> {
  const { Piscina: Pool } = await import('piscina')
  return new Pool({
    filename: new URL('./conversion-worker.js', import.meta.url).href,
    minThreads: 0,
    maxThreads: THREADS_MAX,
    idleTimeout: IDLE_MS,
    recordTiming: false,
  })
}
