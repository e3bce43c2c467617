/** Follows the list of live brokers and the registration of each of them. */
import type { RegisteredBroker, Unwatch } from './cluster-registry.ts'
import type { NodeStore } from './node-store.ts'
import { BROKER_IDS_PATH } from './paths.ts'

interface Brokers {
  watchBroker(brokerId: number, listener: (broker: RegisteredBroker | null) => void): Unwatch
}

/**
 * Calls `listener` with all live brokers, as soon as each that is listed has been read, and after
 * each change: a broker that registered anew is one with another epoch, even if it was never seen
 * missing. Returns how to stop it.
 */
export function watchBrokersOf(
  registry: Brokers,
  store: NodeStore,
  listener: (brokers: readonly RegisteredBroker[]) => void,
): Unwatch {
  /** undefined: listed, and not read yet. */
  const brokers = new Map<number, RegisteredBroker | null | undefined>()
  const watches = new Map<number, Unwatch>()
  const tell = (): void => {
    const found: RegisteredBroker[] = []
    for (const broker of brokers.values()) {
      if (broker === undefined) return
      if (broker !== null) found.push(broker)
    }
    listener(found.sort((a, b) => a.brokerId - b.brokerId))
  }
  const unwatchIds = store.watchChildren(BROKER_IDS_PATH, (names) => {
    const ids = new Set(names.filter((name) => /^\d{1,10}$/.test(name)).map(Number))
    for (const [id, unwatch] of watches) {
      if (ids.has(id)) continue
      unwatch()
      watches.delete(id)
      brokers.delete(id)
    }
    for (const id of ids) {
      if (watches.has(id)) continue
      brokers.set(id, undefined)
      watches.set(
        id,
        registry.watchBroker(id, (broker) => {
          brokers.set(id, broker)
          tell()
        }),
      )
    }
    tell()
  })
  return () => {
    unwatchIds()
    for (const unwatch of watches.values()) unwatch()
    watches.clear()
  }
}
