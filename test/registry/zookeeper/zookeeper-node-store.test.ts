/** The suite of all stores, on real servers of every ZooKeeper release that is supported. */
import { after, before, describe } from 'node:test'
import { until } from '../../support/until.ts'
import {
  skipWithoutZooKeeper,
  ZOOKEEPER_PEERS,
  ZooKeeperEnsemble,
} from '../../support/zookeeper-ensemble.ts'
import { type StoreUnderTest, testNodeStore } from '../node-store-suite.ts'
import { openStore, timers } from './open-store.ts'

after(() => timers.close())

let chroots = 0

async function subjectOn(ensemble: ZooKeeperEnsemble): Promise<StoreUnderTest> {
  const connect = `${ensemble.connect}/suite/${chroots++}`
  const store = await openStore(connect)
  const other = await openStore(connect)
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
  const skip = skipWithoutZooKeeper(peer)
  describe(peer, { skip }, () => {
    let ensemble: ZooKeeperEnsemble
    before(async () => {
      ensemble = await ZooKeeperEnsemble.start(1, peer)
    })
    after(() => ensemble[Symbol.asyncDispose]())
    testNodeStore(peer, () => subjectOn(ensemble))
  })
}
