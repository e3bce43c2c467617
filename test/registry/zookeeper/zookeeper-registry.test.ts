/** The registry on real ZooKeeper servers, the oldest and the newest: the suite of all of them. */
import { after, before, describe } from 'node:test'
import { until } from '../../support/until.ts'
import { skipWithoutZooKeeper, ZooKeeperEnsemble } from '../../support/zookeeper-ensemble.ts'
import { testClusterRegistry } from '../cluster-registry-suite.ts'
import { openRegistry, timers } from './open-store.ts'

after(() => timers.close())

for (const peer of ['zookeeper-3.5', 'zookeeper-3.9'] as const) {
  describe(peer, { skip: skipWithoutZooKeeper(peer) }, () => {
    let ensemble: ZooKeeperEnsemble
    let chroots = 0
    before(async () => {
      ensemble = await ZooKeeperEnsemble.start(1, peer)
    })
    after(() => ensemble[Symbol.asyncDispose]())

    testClusterRegistry(peer, async () => {
      const connect = `${ensemble.connect}/registry/${chroots++}`
      const registry = await openRegistry(connect)
      const other = await openRegistry(connect)
      return {
        registry,
        other,
        settled: (promise) => promise,
        until,
        close: async () => {
          await registry.close()
          await other.close()
        },
      }
    })
  })
}
