/** A store whose writes can be told to fail: once, or for good as if its user had crashed. */
import { ANY_VERSION, RegistryError } from '../../src/registry/cluster-registry.ts'
import type { CreateOptions, NodeStore } from '../../src/registry/node-store.ts'

/**
 * `crash`: from that write on nothing works. `refuse`: that write is not made and says so.
 * `lose`: it is made, but its answer is lost.
 */
export type FaultKind = 'crash' | 'refuse' | 'lose'

export interface StoreFault {
  readonly kind: FaultKind
  /** Counted from 1. */
  readonly write: number
}

export class FaultyStore implements NodeStore {
  /** Writes that were asked for. */
  writes = 0
  fault: StoreFault | null = null
  /** A path whose changes are not told. */
  deafTo: string | null = null
  readonly #store: NodeStore

  constructor(store: NodeStore) {
    this.#store = store
  }

  get hasCrashed(): boolean {
    return this.fault?.kind === 'crash' && this.writes >= this.fault.write
  }

  get sessionTimeoutMs() {
    return this.#store.sessionTimeoutMs
  }

  get sessionState() {
    return this.#store.sessionState
  }

  onSessionState(listener: Parameters<NodeStore['onSessionState']>[0]) {
    return this.#store.onSessionState(listener)
  }

  async get(path: string) {
    this.#checkAlive()
    return this.#store.get(path)
  }

  async children(path: string) {
    this.#checkAlive()
    return this.#store.children(path)
  }

  async childNodes(path: string) {
    this.#checkAlive()
    return this.#store.childNodes(path)
  }

  create(path: string, data: string, options?: CreateOptions) {
    return this.#write(() => this.#store.create(path, data, options))
  }

  createSequential(prefix: string, data: string) {
    return this.#write(() => this.#store.createSequential(prefix, data))
  }

  set(path: string, data: string, expectedVersion: number) {
    return this.#write(() => this.#store.set(path, data, expectedVersion))
  }

  setOnce(path: string, data: string, expectedVersion: number) {
    return this.#write(() => this.#store.setOnce(path, data, expectedVersion))
  }

  delete(path: string, expectedVersion: number) {
    return this.#write(() => this.#store.delete(path, expectedVersion))
  }

  async deleteTree(path: string): Promise<void> {
    for (const name of await this.children(path)) await this.deleteTree(`${path}/${name}`)
    await this.delete(path, ANY_VERSION)
  }

  watchNode(path: string, listener: Parameters<NodeStore['watchNode']>[1]) {
    return this.#store.watchNode(path, (node) => {
      if (!this.hasCrashed && path !== this.deafTo) listener(node)
    })
  }

  watchChildren(path: string, listener: Parameters<NodeStore['watchChildren']>[1]) {
    return this.#store.watchChildren(path, async (names) => {
      if (!this.hasCrashed) await listener(names)
    })
  }

  /** The store belongs to whoever opened it. */
  async close(): Promise<void> {
    await Promise.resolve()
  }

  async #write<T>(write: () => Promise<T>): Promise<T> {
    const { fault } = this
    this.writes += 1
    const isFaulty = fault?.write === this.writes
    if (isFaulty && fault.kind === 'refuse') {
      throw new RegistryError('unavailable', 'refused by the test')
    }
    this.#checkAlive()
    const result = await write()
    if (isFaulty && fault.kind === 'lose') {
      throw new RegistryError('uncertain', 'the answer was lost by the test')
    }
    return result
  }

  #checkAlive(): void {
    if (this.hasCrashed) throw new RegistryError('unavailable', 'crashed by the test')
  }
}
