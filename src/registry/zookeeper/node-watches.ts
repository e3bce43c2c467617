/**
 * Watches that stay, made of ZooKeeper's, which fire once.
 *
 * Each reading sets the next watch in the same operation, so that no change is missed; a watch that
 * fires, and every new connection, reads again. Listeners hear a value when it differs from the
 * last one that they were told. Values are told in the order in which they were read.
 */
import type { Logger } from '../../util/logger.ts'
import type { Timer, TimerQueue } from '../../util/timer-queue.ts'
import { RegistryError } from '../cluster-registry.ts'
import type { ChildrenListener, StoredNode } from '../node-store.ts'

/** After a reading that failed although there is a connection. */
const RETRY_MS = 500

export interface NodeWatchesOptions {
  /** Both set a watch on the path. */
  readonly readNode: (path: string) => Promise<StoredNode | null>
  readonly readChildren: (path: string) => Promise<readonly string[]>
  readonly timers: TimerQueue
  readonly logger: Logger
}

/** One listener. Reads at most once at a time. */
interface Watch {
  readonly path: string
  /** Reads, and tells the listener what is new. */
  readonly look: () => Promise<void>
  isReading: boolean
  isDirty: boolean
  retry: Timer | null
}

export class NodeWatches {
  readonly #options: NodeWatchesOptions
  readonly #watches = new Map<string, Set<Watch>>()

  constructor(options: NodeWatchesOptions) {
    this.#options = options
  }

  addNode(path: string, listener: (node: StoredNode | null) => void): () => void {
    let told: StoredNode | null | undefined
    return this.#add(path, async (isLive) => {
      const node = await this.#options.readNode(path)
      const isSame =
        told !== undefined &&
        told?.creationId === node?.creationId &&
        told?.version === node?.version
      if (isSame || !isLive()) return
      told = node
      listener(node)
    })
  }

  addChildren(path: string, listener: ChildrenListener): () => void {
    let told: string | undefined
    return this.#add(path, async (isLive) => {
      const names = await this.#options.readChildren(path)
      const key = names.toSorted().join('/')
      if (told === key || !isLive()) return
      await listener(names)
      told = key
    })
  }

  /** A watch on the path has fired. */
  fired(path: string): void {
    for (const watch of this.#watches.get(path) ?? []) this.#read(watch)
  }

  /** Reads everything again: the watches went with the connection. */
  refresh(): void {
    for (const watches of this.#watches.values()) {
      for (const watch of watches) this.#read(watch)
    }
  }

  close(): void {
    for (const watches of this.#watches.values()) {
      for (const watch of watches) watch.retry?.cancel()
    }
    this.#watches.clear()
  }

  #add(path: string, look: (isLive: () => boolean) => Promise<void>): () => void {
    const isLive = (): boolean => this.#watches.get(path)?.has(watch) ?? false
    const watch: Watch = {
      path,
      look: () => look(isLive),
      isReading: false,
      isDirty: false,
      retry: null,
    }
    const others = this.#watches.get(path)
    if (others) others.add(watch)
    else this.#watches.set(path, new Set([watch]))
    this.#read(watch)
    return () => this.#remove(watch)
  }

  #remove(watch: Watch): void {
    watch.retry?.cancel()
    const watches = this.#watches.get(watch.path)
    watches?.delete(watch)
    if (watches?.size === 0) this.#watches.delete(watch.path)
  }

  #read(watch: Watch): void {
    watch.retry?.cancel()
    watch.retry = null
    if (watch.isReading) {
      watch.isDirty = true
      return
    }
    watch.isReading = true
    watch.isDirty = false
    watch
      .look()
      .catch((error: unknown) => this.#failed(watch, error))
      .finally(() => {
        watch.isReading = false
        if (watch.isDirty) this.#read(watch)
      })
  }

  /** The next connection reads again; so does a while, in case that this one stays. */
  #failed(watch: Watch, error: unknown): void {
    if (!(error instanceof RegistryError)) {
      // A listener's own failure is nobody's to handle here.
      queueMicrotask(() => {
        throw error
      })
      return
    }
    if (!this.#watches.get(watch.path)?.has(watch)) return
    this.#options.logger.debug({ err: error, path: watch.path }, 'a watched node cannot be read')
    watch.retry = this.#options.timers.schedule(RETRY_MS, () => this.#read(watch))
  }
}
