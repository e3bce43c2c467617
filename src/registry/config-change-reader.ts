/**
 * Follows the announcements of changed configs: numbered nodes, each of which is told once, in
 * order. Those that everybody must have seen by now are removed.
 */
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import { ANY_VERSION, type ConfigEntity, RegistryError, type Unwatch } from './cluster-registry.ts'
import { decodeConfigChange } from './node-data.ts'
import type { NodeStore } from './node-store.ts'
import { CONFIG_CHANGES_PATH } from './paths.ts'

const NAME_PATTERN = /^config_change_(\d{10})$/
const KEPT_MS = 15 * 60_000

export interface ConfigChangeReaderOptions {
  readonly store: NodeStore
  readonly clock: Clock
  readonly logger: Logger
  readonly listener: (entity: ConfigEntity) => void
}

export class ConfigChangeReader {
  readonly #options: ConfigChangeReaderOptions
  #lastTold = -1
  #isStopped = false
  /** Readings follow each other. */
  #reading: Promise<void> = Promise.resolve()

  constructor(options: ConfigChangeReaderOptions) {
    this.#options = options
  }

  /** Returns how to stop it. */
  start(): Unwatch {
    const unwatch = this.#options.store.watchChildren(CONFIG_CHANGES_PATH, (names) => {
      const reading = this.#reading.then(() => this.#read(names))
      this.#reading = reading.catch(() => undefined)
      return reading
    })
    return () => {
      this.#isStopped = true
      unwatch()
    }
  }

  async #read(names: readonly string[]): Promise<void> {
    const { store, clock, listener } = this.#options
    for (const { name, number } of numbered(names)) {
      if (this.#isStopped) return
      const path = `${CONFIG_CHANGES_PATH}/${name}`
      const node = await store.get(path)
      if (number > this.#lastTold) {
        const entity = node === null ? null : this.#decode(path, node.data)
        if (entity !== null) listener(entity)
        this.#lastTold = number
      }
      if (node !== null && clock.nowMs() - node.createdMs > KEPT_MS) {
        await store.delete(path, ANY_VERSION)
      }
    }
  }

  #decode(path: string, data: string): ConfigEntity | null {
    try {
      return decodeConfigChange(path, data)
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      this.#options.logger.error({ err: error, path }, 'a node of the registry cannot be read')
      return null
    }
  }
}

function numbered(names: readonly string[]): { name: string; number: number }[] {
  return names
    .map((name) => ({ name, number: Number(NAME_PATTERN.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ number }) => Number.isInteger(number))
    .sort((a, b) => a.number - b.number)
}
