/**
 * Main's side of a shard: one Piscina of one thread, or no thread at all. Restarts it when it
 * dies; its owner (the ReplicaManager) opens the logs anew then.
 */
import type { Piscina } from 'piscina'
import { addon } from '../native/addon.ts'
import type { Logger } from '../util/logger.ts'
import type { ControlInput, ControlMessage, ControlName, ControlOutput } from './control.ts'
import { ShardOwner } from './shard-owner.ts'

export interface ShardOptions {
  readonly transport: number
  readonly threaded: boolean
  readonly decompressionMaxBytes: number
  readonly logger: Logger
  /** The shard's thread died and another one took over; every log of it is closed. */
  readonly restarted: () => Promise<void>
}

export class Shard {
  readonly id: number
  readonly #options: ShardOptions
  #pool: Piscina | null = null
  #owner: ShardOwner | null = null
  #main: Promise<void> = Promise.resolve()
  #stopping = false

  private constructor(id: number, options: ShardOptions) {
    this.id = id
    this.#options = options
  }

  static async start(options: ShardOptions): Promise<Shard> {
    const shard = new Shard(addon.createShard(options.transport), options)
    if (options.threaded) await shard.#startThread()
    else shard.#owner = new ShardOwner(shard.#start, true)
    return shard
  }

  get #start() {
    return { shard: this.id, decompressionMaxBytes: this.#options.decompressionMaxBytes }
  }

  async #startThread(): Promise<void> {
    const { Piscina: Pool } = await import('piscina')
    this.#pool = new Pool({
      filename: new URL('./worker.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: 1,
      concurrentTasksPerWorker: 64,
      idleTimeout: Number.POSITIVE_INFINITY,
      // The default parks an idle worker in Atomics.wait, and its event loop with it.
      atomics: 'disabled',
      recordTiming: false,
    })
    this.#runMain()
  }

  #runMain(): void {
    const pool = this.#pool as Piscina
    this.#main = pool.run(this.#start, { name: 'shardMain' }).then(
      () => undefined,
      (error: unknown) => {
        if (this.#stopping) return
        this.#options.logger.error(
          { shard: this.id, error: String(error) },
          'a shard died; restarting it',
        )
        this.#runMain()
        this.#options.restarted().catch((failure: unknown) => {
          this.#options.logger.error(
            { shard: this.id, error: String(failure) },
            'the logs of a restarted shard could not be opened',
          )
        })
      },
    )
  }

  /** Runs a control task on the shard's thread. Rejects when the thread dies meanwhile. */
  async run<N extends ControlName>(name: N, input: ControlInput<N>): Promise<ControlOutput<N>> {
    const message: ControlMessage = { shard: this.id, name, input }
    const output =
      this.#owner !== null
        ? await this.#owner.run(message)
        : await (this.#pool as Piscina).run(message, { name: 'control' })
    return output as ControlOutput<N>
  }

  async stop(): Promise<void> {
    this.#stopping = true
    if (this.#owner !== null) {
      this.#owner.detach()
      this.#owner = null
    } else if (this.#pool !== null) {
      await this.#pool.run(null, { name: 'shardStop' })
      await this.#main
      await this.#pool.destroy()
    }
    addon.removeShard(this.id)
  }
}
