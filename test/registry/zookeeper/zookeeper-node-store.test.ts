/**
 * The store on real ZooKeeper servers: the suite of all stores on every release that is supported,
 * and what only an ensemble can do to a session.
 */
import { after, before, describe } from 'node:test'
import type { ZooKeeperNodeStore } from '../../../src/registry/zookeeper/zookeeper-node-store.ts'
import {
  openZooKeeperStore,
  type ZooKeeperRegistryOptions,
} from '../../../src/registry/zookeeper/zookeeper-registry.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { systemRandom } from '../../../src/util/random.ts'
import { TimerQueue } from '../../../src/util/timer-queue.ts'
import { requirePeer } from '../../support/peers.ts'
import { until } from '../../support/until.ts'
import { ZOOKEEPER_PEERS, ZooKeeperEnsemble } from '../../support/zookeeper-ensemble.ts'
import { type StoreUnderTest, testNodeStore } from '../node-store-suite.ts'

const timers = new TimerQueue(systemClock)
after(() => timers.close())

let chroots = 0

function open(
  connect: string,
  options: Partial<ZooKeeperRegistryOptions> = {},
): Promise<ZooKeeperNodeStore> {
  return openZooKeeperStore({
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
  })
}

async function subjectOn(ensemble: ZooKeeperEnsemble): Promise<StoreUnderTest> {
  const connect = `${ensemble.connect}/suite/${chroots++}`
  const store = await open(connect)
  const other = await open(connect)
  return {
    store,
    other,
    settled: (promise) => promise,
    until,
    close: async () => {
      await store.close()
      await other.close()
    },
  }
}

for (const peer of ZOOKEEPER_PEERS) {
  describe(peer, { skip: requirePeer(peer) === null ? `${peer} is not installed` : false }, () => {
    let ensemble: ZooKeeperEnsemble
    before(async () => {
      ensemble = await ZooKeeperEnsemble.start(1, peer)
    })
    after(() => ensemble[Symbol.asyncDispose]())
    testNodeStore(peer, () => subjectOn(ensemble))
  })
}
