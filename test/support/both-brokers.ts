/** Runs the same tests against our broker and against Apache Kafka. */
import { after, before, describe, test } from 'node:test'
import { ApacheKafka } from './apache-kafka.ts'
import { type BrokerUnderTest, type Overrides, ShardlogServer } from './broker.ts'
import { requirePeer, skipWithout } from './peers.ts'

/**
 * Declares the tests twice, each time with one running broker for all of them, which is started
 * before the first and removed after the last. Without Apache Kafka here its half is skipped.
 */
export function describeOnBoth(
  declare: (broker: () => BrokerUnderTest) => void,
  overrides: Overrides = {},
): void {
  for (const kind of ['shardlog', 'kafka'] as const) {
    if (kind === 'kafka' && requirePeer('kafka-server') === null) {
      test('against Apache Kafka', (t) => {
        skipWithout(t, 'kafka-server')
      })
      continue
    }
    describe(`against ${kind}`, () => {
      const broker = kind === 'kafka' ? new ApacheKafka() : new ShardlogServer()
      before(() => broker.start(overrides))
      after(() => broker[Symbol.asyncDispose]())
      declare(() => broker)
    })
  }
}
