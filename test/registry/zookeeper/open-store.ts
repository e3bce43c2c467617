/** Opens stores and registries on a real ensemble, as tests want them. */
import type { ClusterRegistry } from '../../../src/registry/cluster-registry.ts'
import type { ZooKeeperNodeStore } from '../../../src/registry/zookeeper/zookeeper-node-store.ts'
import {
  openZooKeeperRegistry,
  openZooKeeperStore,
  type ZooKeeperRegistryOptions,
} from '../../../src/registry/zookeeper/zookeeper-registry.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { systemRandom } from '../../../src/util/random.ts'
import { TimerQueue } from '../../../src/util/timer-queue.ts'

/** Unreferenced by nothing: close it after the tests of a file. */
export const timers = new TimerQueue(systemClock)

export function optionsFor(
  connect: string,
  options: Partial<ZooKeeperRegistryOptions> = {},
): ZooKeeperRegistryOptions {
  return {
    connect,
    sessionTimeoutMs: 6000,
    connectionTimeoutMs: null,
    inFlightMax: 1000,
    directory: null,
    timers,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...options,
  }
}

const opened = new Set<ZooKeeperNodeStore>()

export async function openStore(
  connect: string,
  options: Partial<ZooKeeperRegistryOptions> = {},
): Promise<ZooKeeperNodeStore> {
  const store = await openZooKeeperStore(optionsFor(connect, options))
  opened.add(store)
  return store
}

/** Closes what a test that failed has left open: the process would not end otherwise. */
export async function closeAll(): Promise<void> {
  for (const store of opened) await store.close()
  timers.close()
}

export function openRegistry(
  connect: string,
  options: Partial<ZooKeeperRegistryOptions> = {},
): Promise<ClusterRegistry> {
  return openZooKeeperRegistry(optionsFor(connect, options))
}
